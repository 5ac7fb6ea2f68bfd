"""Sampling against transformers' logits processors and chi-square tests; generation against a loop that remembers nothing."""

import dataclasses
import itertools
import math

import pytest
import torch

from llmbook.architecture import generation
from llmbook.architecture.generation import (
    _choose,
    _divide,
    _draw,
    _Reader,
    _Stops,
    _window_start,
    build_caches,
    cut_at_stop,
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repeats,
    sample_next,
)
from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, SamplingConfig

GREEDY = SamplingConfig(temperature=0)
SMALL = ModelConfig(vocab_size=40, context=16, width=32, layers=2, heads=4, init_std=0.3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_logits(B=64, V=100, dtype=torch.float32):
    return (torch.randn(B, V, generator=seeded()) * 3).to(dtype)


def tied_logits(dtype=torch.float32):
    """Rows in which most values occur several times."""
    return torch.randint(-4, 5, (64, 30), generator=seeded()).to(dtype)


def build(**fields):
    torch.manual_seed(0)
    return Transformer(dataclasses.replace(SMALL, **fields))


@pytest.fixture(scope="module")
def model():
    return build()


def some_prompts(*lengths, vocab_size=40, seed=0):
    draw = seeded(seed)
    return [torch.randint(vocab_size, (length,), generator=draw) for length in lengths]


def lists(texts):
    return [text.tolist() for text in texts]


# ---------------------------------------------------------------- the rules against transformers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("given", [some_logits, tied_logits])
@pytest.mark.parametrize("k", [1, 2, 10, 29, 30, 1000])
def test_top_k_matches_transformers(k, given, dtype):
    transformers = pytest.importorskip("transformers")
    logits = given(dtype=dtype)
    before = logits.clone()
    ours = keep_top_k(logits, k)
    assert ours.dtype == dtype and torch.equal(ours, transformers.TopKLogitsWarper(k)(None, logits))
    assert torch.equal(logits, before)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9, 0.99])
def test_top_p_matches_transformers(p):
    transformers = pytest.importorskip("transformers")
    assert torch.equal(keep_top_p(some_logits(), p), transformers.TopPLogitsWarper(p)(None, some_logits()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("p", [0.05, 0.31, 0.52, 0.87])
def test_top_p_keeps_as_many_of_equals_as_transformers(p, dtype):
    transformers = pytest.importorskip("transformers")
    logits = tied_logits(dtype=dtype)
    ours, theirs = keep_top_p(logits, p), transformers.TopPLogitsWarper(p)(None, logits.float())
    assert ours.dtype == dtype
    assert torch.equal(ours.float().sort(-1).values, theirs.sort(-1).values)  # which of equals stays is up to their sort
    assert torch.equal(ours, keep_top_p(logits.float(), p).to(dtype))


def test_top_p_keeps_the_smallest_sufficient_set():
    logits, p = some_logits(20, 8), 0.7
    for row, kept in zip(logits.double().softmax(-1), keep_top_p(logits, p).isfinite(), strict=True):
        order = row.argsort(descending=True)
        need = next(n for n in range(1, 9) if row[order[:n]].sum() >= p)
        assert set(kept.nonzero().flatten().tolist()) == set(order[:need].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("given", [some_logits, tied_logits])
@pytest.mark.parametrize("p", [1e-6, 0.013, 0.11, 0.57, 0.93, 1.0])
def test_min_p_matches_transformers(p, given, dtype):
    transformers = pytest.importorskip("transformers")
    logits = given(dtype=dtype)
    ours = keep_min_p(logits, p)
    assert ours.dtype == dtype
    assert torch.equal(ours.float(), transformers.MinPLogitsWarper(p)(None, logits.float()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 4.0])
def test_the_penalty_matches_transformers(penalty, dtype):
    transformers = pytest.importorskip("transformers")
    logits, ids = some_logits(dtype=dtype), torch.randint(100, (64, 20), generator=seeded(1))
    seen = torch.zeros(64, 100, dtype=torch.bool).scatter_(1, ids, True)
    theirs = transformers.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(penalize_repeats(logits, seen, penalty), theirs)
    assert torch.equal(penalize_repeats(logits, seen & False, penalty), logits)


@pytest.mark.parametrize("seed", range(4))
def test_all_rules_together_come_in_the_order_of_transformers(seed):
    transformers = pytest.importorskip("transformers")
    ids = torch.randint(100, (64, 20), generator=seeded(seed))
    seen = torch.zeros(64, 100, dtype=torch.bool).scatter_(1, ids, True)
    options = {"temperature": 1.7, "top_k": 20, "top_p": 0.8, "min_p": 0.07, "repetition_penalty": 1.4}
    config = transformers.GenerationConfig(do_sample=True, **options)
    mixin = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=100, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    rules = mixin._get_logits_processor(config, input_ids_seq_length=20)
    p = rules(ids, some_logits()).double().softmax(-1)
    sampling, n = SamplingConfig(**options), 64
    numbers = torch.arange(n, dtype=torch.float64) / n + 1 / (2 * n)  # a grid in place of chance
    for number in numbers[::8]:
        drawn = _choose(some_logits(), sampling, number.expand(64), seen)
        reached = p.cumsum(-1)
        at = reached.gather(1, drawn[:, None])[:, 0]
        assert (at > number - 1e-6).all()
        assert (at - p.gather(1, drawn[:, None])[:, 0] <= number + 1e-6).all()
        assert (p.gather(1, drawn[:, None]) > 0).all()


def test_edges_of_the_rules():
    logits = torch.tensor([[1.0, 1.0, 0.0]])
    assert keep_top_k(logits, 1).isfinite().tolist() == [[True, True, False]]
    assert keep_min_p(logits, 1.0).isfinite().tolist() == [[True, True, False]]
    assert keep_top_p(logits, 1e-9).isfinite().tolist() == [[True, False, False]]
    for rule in (keep_top_p, keep_min_p):
        assert torch.equal(rule(some_logits(), 1.0 if rule is keep_top_p else 1e-30), some_logits())
    masked = torch.tensor([[-torch.inf, 2.0, -torch.inf]])
    assert sample_next(masked, generator=seeded()).item() == 1
    for options in ({"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}):
        assert sample_next(masked, SamplingConfig(**options), seeded()).item() == 1
    every = some_logits().T  # not contiguous
    for rule, value in ((keep_top_k, 5), (keep_top_p, 0.6), (keep_min_p, 0.2)):
        assert torch.equal(rule(every, value), rule(every.contiguous(), value))
        assert torch.equal(rule(every[0], value), rule(every, value)[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: keep_top_k(x, 0), "top_k=0"),
        (lambda x: keep_top_k(x, 2.5), "top_k=2.5"),
        (lambda x: keep_top_p(x, 0.0), "top_p=0.0"),
        (lambda x: keep_top_p(x, 1.1), "top_p=1.1"),
        (lambda x: keep_top_p(x, math.nan), "top_p=nan"),
        (lambda x: keep_min_p(x, 0.0), "min_p=0.0"),
        (lambda x: keep_min_p(x, 2), "min_p=2"),
        (lambda x: penalize_repeats(x, x > 0, 0.0), "repetition_penalty=0.0"),
        (lambda x: penalize_repeats(x, x > 0, math.inf), "repetition_penalty=inf"),
        (lambda x: sample_next(x, generator=[seeded()]), "1 generators for 64 rows"),
    ],
)
def test_values_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(some_logits())


# ---------------------------------------------------------------- draws


def p_value(counts, p):
    """Of Pearson's test; zero if something was drawn that has no probability."""
    if counts[p == 0].any():
        return 0.0
    counts, expected = counts[p > 0].double(), counts.sum() * p[p > 0]
    if len(counts) == 1:
        return 1.0
    half = torch.tensor((len(counts) - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(half, ((counts - expected) ** 2 / expected).sum() / 2).item()


def test_p_values_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for counts in ([60, 40], [10, 20, 30, 41], [5, 5, 5, 90]):
        found = p_value(torch.tensor(counts), torch.full((len(counts),), 1 / len(counts), dtype=torch.float64))
        assert found == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-9)


OPTIONS = [
    {},
    {"temperature": 0.7},
    {"temperature": 3.0},
    {"top_k": 3},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 0.7, "temperature": 0.5},
    {"temperature": 2.0, "top_k": 5, "top_p": 0.6},
    {"temperature": 1.5, "top_k": 6, "top_p": 0.95, "min_p": 0.2, "repetition_penalty": 1.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_frequencies_pass_a_chi_square_test(options):
    """The expected probabilities are those of transformers' processors, in float64."""
    transformers = pytest.importorskip("transformers")
    n, logits = 100_000, torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0, -3.0, 1.6]], dtype=torch.float64)
    seen, x = torch.tensor([[True, False, False, True, True, False, False]]), logits
    rules = {
        "repetition_penalty": transformers.RepetitionPenaltyLogitsProcessor,
        "temperature": transformers.TemperatureLogitsWarper,
        "top_k": transformers.TopKLogitsWarper,
        "top_p": transformers.TopPLogitsWarper,
        "min_p": transformers.MinPLogitsWarper,
    }
    for name, rule in rules.items():
        if name in options:
            x = rule(options[name])(seen.nonzero()[:, 1][None], x)
    sampling = SamplingConfig(**options)
    rows = logits.float().expand(n, -1)
    counts = sample_next(rows, sampling, seeded(1), seen.expand(n, -1)).bincount(minlength=7)
    assert p_value(counts, x.softmax(-1)[0]) > 0.001
    assert p_value(counts, (x * 1.3).softmax(-1)[0]) < 1e-6  # colder by a third


def test_every_row_draws_from_its_own_distribution():
    n = 60_000
    rows = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, -torch.inf, 0.0]]).repeat(n, 1)
    drawn = sample_next(rows, generator=seeded()).reshape(n, 3)
    for row in range(3):
        p = rows[row].double().softmax(-1)
        assert p_value(drawn[:, row].bincount(minlength=3), p) > 0.001
    pairs = (3 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=9)  # and independently
    p = torch.outer(rows[0].double().softmax(-1), rows[1].double().softmax(-1)).flatten()
    assert p_value(pairs, p) > 0.001


@pytest.mark.parametrize("V", [1, 2, 3, 1000, 50_257])
def test_a_draw_is_the_first_sum_above_the_number(V):
    logits = some_logits(8, V)
    logits[:, 1::3] = -torch.inf
    numbers = torch.rand(8, generator=seeded(), dtype=torch.float64)
    p = logits.double().softmax(-1)
    for row in range(8):
        for number in (0.0, float(numbers[row]), 1 - 2**-53):
            token = int(_draw(logits[row : row + 1], torch.tensor([number], dtype=torch.float64)))
            assert p[row, token] > 0
            assert p[row, :token].sum() - 1e-6 <= number <= p[row, : token + 1].sum() + 1e-6
    assert int(_draw(torch.full((1, V), torch.nan), numbers[:1])) < V


def test_greedy_and_determinism():
    logits = some_logits()
    assert torch.equal(sample_next(logits, GREEDY), logits.argmax(-1))
    assert torch.equal(sample_next(logits, SamplingConfig(0.0, top_k=1)), sample_next(logits, SamplingConfig(top_k=1)))
    assert torch.equal(sample_next(logits, generator=seeded(3)), sample_next(logits, generator=seeded(3)))
    assert not torch.equal(sample_next(logits, generator=seeded(3)), sample_next(logits, generator=seeded(4)))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert sample_next(logits.to(dtype)).dtype == torch.int64
    assert sample_next(logits[:0], generator=[]).shape == (0,)
    single = [int(sample_next(logits[row : row + 1], generator=seeded(row))) for row in range(64)]
    assert sample_next(logits, generator=[seeded(row) for row in range(64)]).tolist() == single
    penalized = SamplingConfig(0, repetition_penalty=100.0)
    assert torch.equal(sample_next(logits, penalized), logits.argmax(-1))  # nothing is known to have occurred
    top = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, logits.argmax(-1, keepdim=True), True)
    assert torch.equal(sample_next(logits, penalized, seen=top), logits.masked_fill(top, -torch.inf).argmax(-1))


TEMPERATURES = [5e-324, 1e-300, 1e-45, 1e-40, 1e-30, 1e-3, 0.7, 1.0, 1e4, 1e30, 1e40, 1e300, 1.7e308]


def test_probabilities_at_any_temperature_are_those_of_float64():
    rows = torch.cat((some_logits(), some_logits() * 1e6, some_logits().abs() * -1e20, torch.zeros(1, 100)))
    masked = rows.clone()
    masked[:, ::3] = -torch.inf
    for dtype in (torch.float32, torch.bfloat16):
        for logits in (rows.to(dtype), masked.to(dtype)):
            for temperature in TEMPERATURES:
                exact = logits.double()
                exact = ((exact - exact.amax(-1, keepdim=True)) / temperature).softmax(-1)
                torch.testing.assert_close(_divide(logits, temperature).double().softmax(-1), exact, rtol=1e-4, atol=1e-6)


def test_extreme_temperatures_are_greedy_or_uniform():
    logits = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0, -torch.inf]]).expand(20_000, -1)
    for temperature in (5e-324, 1e-40, 1e-10):
        assert (sample_next(logits, SamplingConfig(temperature), seeded()) == 0).all()
    for temperature in (1e20, 1e40, 1e300):
        for options, kept in (({}, 5), ({"top_k": 3}, 3), ({"top_k": 4, "top_p": 0.5}, 2), ({"min_p": 1.0}, 1)):
            counts = sample_next(logits, SamplingConfig(temperature, **options), seeded()).bincount(minlength=6)
            p = torch.zeros(6, dtype=torch.float64)
            p[:kept] = 1 / kept
            assert p_value(counts, p) > 0.001 or kept == 1


@pytest.mark.parametrize("sampling", [GREEDY, SamplingConfig()])
def test_logits_that_are_no_distribution_are_refused(sampling):
    for bad in (torch.nan, torch.inf):
        logits = some_logits(3, 5)
        logits[1, 2] = bad
        with pytest.raises(ValueError, match="in row 1 is not finite"):
            sample_next(logits, sampling)
    with pytest.raises(ValueError, match="in row 0 is not finite"):
        sample_next(torch.full((2, 5), -torch.inf), sampling)


# ---------------------------------------------------------------- generation


def continue_slowly(model, prompt, n, choose=lambda logits, text: int(logits.argmax())):
    """One prompt, everything read anew for each token."""
    text, context = prompt.tolist(), model.config.context
    half = max(1, context // 2)
    with torch.no_grad():
        for _ in range(n):
            start = 0
            while len(text) - start > context:
                start += half
            logits = model(torch.tensor([text[start:]]))[0, -1]
            text.append(choose(logits, text))
    return text


@pytest.mark.parametrize("context", [1, 2, 3, 16, 17])
def test_windows_depend_on_the_length_alone(context):
    for length in range(1, 100):
        start, half = _window_start(length, context), max(1, context // 2)
        assert start % half == 0 and 1 <= length - start <= context
        assert start == 0 or length - (start - half) > context  # the first that fits


VARIANTS = [
    {},
    {"kv_heads": 2},
    {"kv_heads": 1, "qk_norm": False},
    {"positions": "learned", "norm": "layer", "feed_forward": "gelu", "bias": True},
    {"context": 1},
    {"context": 2},
    {"context": 5, "layers": 3},
    {"context": 200},
]


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_every_mix_of_lengths_is_each_prompt_alone(fields):
    model = build(**fields)
    for lengths in ((3, 3), (9, 1), (30, 7, 15, 16, 17, 1)):
        prompts = some_prompts(*lengths)
        expected = [continue_slowly(model, prompt, 20) for prompt in prompts]
        assert lists(generate(model, prompts, 20, GREEDY)) == expected


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_logits_of_padded_rows_are_those_of_each_alone(fields):
    model = build(**fields)
    lengths = (11, 1, 16, 4)
    texts = torch.zeros(4, 41, dtype=torch.long)
    begins = [16 - length for length in lengths]
    for row, prompt in enumerate(some_prompts(*(length + 25 for length in lengths))):
        texts[row, begins[row] :] = prompt
    read = _Reader(model, begins, 41)
    with torch.no_grad():
        for end in range(16, 41):
            found = read(texts, end)
            for row, begin in enumerate(begins):
                text = texts[row, begin:end]
                alone = model(text[_window_start(len(text), model.config.context) :][None])[0, -1]
                torch.testing.assert_close(found[row], alone, rtol=1e-5, atol=1e-5)


def test_a_text_in_two_calls_is_the_text_in_one(model):
    prompts = some_prompts(3, 12)
    once = generate(model, prompts, 50, GREEDY)
    assert lists(generate(model, generate(model, prompts, 23, GREEDY), 27, GREEDY)) == lists(once)


def test_generate_matches_transformers():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rms_norm_eps=1e-6,
            tie_word_embeddings=False,
            pad_token_id=0,
            eos_token_id=None,
        )
    ).eval()
    torch.manual_seed(1)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    config = ModelConfig(50, 64, 32, 2, 4, kv_heads=2, ff_width=48, qk_norm=False, tie_embeddings=False)
    ours = Transformer(config)
    names = {
        "model.embed_tokens": "embedding.tokens",
        "model.layers": "blocks",
        "self_attn.q_proj": "attention.query",
        "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value",
        "self_attn.o_proj": "attention.out",
        "post_attention_layernorm": "feed_forward_norm",
        "input_layernorm": "attention_norm",
        "mlp": "feed_forward",
        "model.norm": "norm",
        "lm_head": "head",
    }
    weights = {}
    for name, weight in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        weights[name.replace("gate_proj", "gate").replace("up_proj", "up").replace("down_proj", "down")] = weight
    ours.load_state_dict(weights)
    prompts = some_prompts(5, 11, 1, 8, vocab_size=50)
    padded, mask = torch.zeros(4, 11, dtype=torch.long), torch.zeros(4, 11, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        padded[row, 11 - len(prompt) :], mask[row, 11 - len(prompt) :] = prompt, 1
    expected = theirs.generate(padded, attention_mask=mask, max_new_tokens=40, do_sample=False)
    assert lists(text[-40:] for text in generate(ours, prompts, 40, GREEDY)) == expected[:, 11:].tolist()
    for prompt in prompts:  # alone, since transformers counts padding as seen
        options = {"max_new_tokens": 40, "do_sample": False, "repetition_penalty": 1.3}
        [expected] = theirs.generate(prompt[None], attention_mask=torch.ones_like(prompt[None]), **options)
        [found] = generate(ours, [prompt], 40, SamplingConfig(0, repetition_penalty=1.3))
        assert found.tolist() == expected.tolist()


def test_the_penalty_counts_each_row_and_no_padding(model):
    sampling = SamplingConfig(0, repetition_penalty=2.0)
    prompts = some_prompts(2, 9, 30)

    def choose(logits, text):
        seen = torch.zeros(1, 40, dtype=torch.bool)
        seen[0, text] = True
        return int(penalize_repeats(logits[None], seen, 2.0).argmax())

    expected = [continue_slowly(model, prompt, 25, choose) for prompt in prompts]
    assert lists(generate(model, prompts, 25, sampling)) == expected
    assert lists(generate(model, prompts, 25, GREEDY)) != expected


def test_a_tensor_of_prompts_and_other_forms(model):
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    expected = lists(generate(model, ids, 9, GREEDY))
    before = ids.clone()
    assert lists(generate(model, list(ids.int()), 9, GREEDY)) == expected
    assert lists(generate(model, [[1, 2, 3], [4, 5, 6]], 9, GREEDY)) == expected
    assert torch.equal(ids, before)
    assert lists(generate(model, ids, 0)) == ids.tolist()
    assert generate(model, ids[:0], 5) == [] and generate(model, [], 5) == []
    assert all(text.dtype == torch.int64 for text in generate(model, ids.int(), 1))


def test_the_result_can_be_trained_on(model):
    ids = torch.tensor([[1, 2, 3]])
    text = generate(model, ids, 5)[0]
    assert not text.is_inference() and not text.requires_grad
    model(text[None]).sum().backward()
    text += 1
    model.zero_grad()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    model = build(kv_heads=2).to(dtype)
    prompts = some_prompts(3, 7)
    texts = generate(model, prompts, 30, GREEDY)
    assert [len(text) for text in texts] == [33, 37]
    if dtype == torch.float64:
        assert lists(texts) == [continue_slowly(model, prompt, 30) for prompt in prompts]


# ---------------------------------------------------------------- seeds


SAMPLED = SamplingConfig(temperature=1.2, top_p=0.95)


def test_the_same_seed_gives_the_same_batch_and_other_generators_are_left_alone(model):
    prompts, state = some_prompts(3, 5), torch.get_rng_state()
    runs = [lists(generate(model, prompts, 20, SAMPLED, generator=seeded(seed))) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.get_rng_state(), state)
    longer = lists(generate(model, prompts, 30, SAMPLED, generator=seeded(0)))
    assert [text[:-10] for text in longer] == runs[0]
    torch.manual_seed(5)
    first = lists(generate(model, prompts, 20, SAMPLED))
    torch.manual_seed(5)
    assert lists(generate(model, prompts, 20, SAMPLED)) == first


def test_with_a_generator_per_row_a_text_does_not_depend_on_its_neighbors(model):
    prompts = some_prompts(4, 1, 20, 9, 13)
    alone = [generate(model, [prompt], 30, SAMPLED, generator=seeded(n))[0].tolist() for n, prompt in enumerate(prompts)]
    for order in ((0, 1, 2, 3, 4), (4, 2, 0), (3, 1)):
        chosen = [prompts[n] for n in order]
        together = generate(model, chosen, 30, SAMPLED, generator=[seeded(n) for n in order])
        assert lists(together) == [alone[n] for n in order]
    stops = list(range(0, 40, 9))  # some rows leave early
    ended = [generate(model, [prompt], 30, SAMPLED, generator=seeded(n), stop_ids=stops)[0] for n, prompt in enumerate(prompts)]
    generators = [seeded(n) for n in range(5)]
    assert lists(generate(model, prompts, 30, SAMPLED, generator=generators, stop_ids=stops)) == lists(ended)
    with pytest.raises(ValueError, match="2 generators for 5 rows"):
        generate(model, prompts, 3, SAMPLED, generator=[seeded(), seeded()])


def test_sampled_texts_follow_the_model(model):
    """The distribution of two tokens after a prompt, by 8,000 rows of one batch."""
    n, prompt = 8_000, torch.tensor([1, 2, 3])
    with torch.no_grad():
        first = model(prompt[None])[0, -1].double().softmax(-1)
        after = model(torch.cat((prompt.expand(40, 3), torch.arange(40)[:, None]), 1))[:, -1].double().softmax(-1)
    p = (first[:, None] * after).flatten()
    texts = torch.stack(generate(model, prompt.expand(n, 3), 2, generator=seeded(2)))
    counts = (40 * texts[:, 3] + texts[:, 4]).bincount(minlength=1600)
    likely = p * n >= 5
    grouped = torch.cat((counts[likely], counts[~likely].sum()[None]))
    assert p_value(grouped, torch.cat((p[likely], p[~likely].sum()[None]))) > 0.001


# ---------------------------------------------------------------- stops


def cut(text, prompt_length, stops):
    for n in range(prompt_length, len(text)):
        if text[n] in stops:
            return text[: n + 1]
    return text


@pytest.mark.parametrize("stops", [(5,), (5, 17, 30), tuple(range(40)), (), (1000,)])
def test_stop_ids_end_each_row(model, stops):
    prompts = some_prompts(3, 1, 12, 20, 7, 7)
    free = lists(generate(model, prompts, 40, SAMPLED, generator=seeded()))
    generators = [seeded(n) for n in range(6)]
    free = lists(generate(model, prompts, 40, SAMPLED, generator=generators))
    generators = [seeded(n) for n in range(6)]
    found = lists(generate(model, prompts, 40, SAMPLED, generator=generators, stop_ids=stops))
    assert found == [cut(text, len(prompt), stops) for text, prompt in zip(free, prompts, strict=True)]


def test_rows_that_have_stopped_are_not_computed(model, monkeypatch):
    sizes = []
    forward = Transformer.forward
    monkeypatch.setattr(Transformer, "forward", lambda self, ids, *rest: sizes.append(ids.shape) or forward(self, ids, *rest))
    prompts = some_prompts(3, 1, 12, 7)
    free = generate(model, prompts, 12, SAMPLED, generator=[seeded(n) for n in range(4)])
    sizes.clear()
    stops = [int(free[1][1]), int(free[0][5])]
    found = generate(model, prompts, 12, SAMPLED, generator=[seeded(n) for n in range(4)], stop_ids=stops)
    live = [sum(len(text) - len(prompt) > n for text, prompt in zip(found, prompts, strict=True)) for n in range(12)]
    assert [shape[0] for shape in sizes] == [rows for rows in live if rows] and live[0] == 4 > live[1]
    assert sum(shape[1] > 1 for shape in sizes) <= 3  # the prompts, and full windows


PIECES = ["a", "b", "ab", "ba", "c", "é", "\n", "bc", "  ", "abc"]


def spell(ids):
    return "".join(PIECES[number % 10] for number in ids)


@pytest.mark.parametrize("strings", [["ab"], ["bab", "cc"], ["\n"], ["c\na", "éé"], ["é"], ["never so"], ["abcabcab", "  a"]])
def test_stop_strings_are_found_where_they_first_end(model, strings):
    prompts = some_prompts(3, 1, 12, 20)
    free = lists(generate(model, prompts, 60, generator=[seeded(n) for n in range(4)]))
    texts = lists(generate(model, prompts, 60, generator=[seeded(n) for n in range(4)], stop_strings=strings, decode=spell))
    for text, full, prompt in zip(texts, free, prompts, strict=True):
        T = len(prompt)
        ends = (n for n in range(T + 1, len(full) + 1) if any(string in spell(full[T:n]) for string in strings))
        assert text == full[: next(ends, len(full))]
        shown = cut_at_stop(spell(text[T:]), strings)
        assert spell(full[T:]).startswith(shown) and not any(string in shown for string in strings)
        assert len(text) == len(full) or shown != spell(text[T:])


@pytest.mark.parametrize("every", [2, 7, 16, 1000])
def test_looking_seldom_as_on_a_gpu_finds_the_same_stops(model, monkeypatch, every):
    prompts = some_prompts(3, 1, 12, 20)
    options = {"stop_ids": (5, 17), "stop_strings": ["abc", "cb"], "decode": spell}
    expected = generate(model, prompts, 60, generator=[seeded(n) for n in range(4)], **options)
    monkeypatch.setattr(generation, "_look_every", lambda device: every)
    found = generate(model, prompts, 60, generator=[seeded(n) for n in range(4)], **options)
    assert lists(found) == lists(expected) and len({len(text) for text in found}) > 1


def test_stop_strings_across_the_bytes_of_a_character():
    data = "aé中!".encode()

    def decode(ids):
        return bytes(data[number] for number in ids).decode(errors="replace")

    for string, end in (("é", 3), ("é中", 6), ("中!", 7), ("a", 1), ("x", None)):
        assert _Stops(frozenset(), (string,), decode).find(list(range(len(data)))) == end


def test_stops_are_searched_in_new_tokens_alone_and_only_once():
    stops = _Stops(frozenset([3]), ("ba",), spell)
    assert stops.find([0, 1, 4]) is None and stops.find([1, 0]) == 2 and stops.find([0, 3]) == 2
    for ids in itertools.product(range(4), repeat=5):
        end = stops.find(list(ids))
        for looked in range(6 if end is None else end):
            assert stops.find(list(ids), looked) == end
    assert _Stops(frozenset(), (), None).reach == 1


def test_cut_at_stop():
    assert cut_at_stop("one. two. three", [" t", ". "]) == "one"
    assert cut_at_stop("one", ["x"]) == "one" == cut_at_stop("one", [])
    assert cut_at_stop("", ["x"]) == "" == cut_at_stop("xx", ["x"])


# ---------------------------------------------------------------- what is refused, and what it costs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
        ({"prompts": torch.zeros(1, 0, dtype=torch.long)}, "prompt 0 is torch.int64 .* T of at least 1"),
        ({"prompts": torch.zeros(3, dtype=torch.long)}, "prompt 0 is torch.int64 \\(\\)"),
        ({"prompts": [torch.zeros(3)]}, "prompt 0 is torch.float32"),
        ({"prompts": [torch.tensor([1]), torch.tensor([40])]}, "prompt 1: token id 40 lies outside 0 .. 39"),
        ({"prompts": [torch.tensor([-1])]}, "token id -1"),
        ({"stop_strings": ["a"]}, "give the tokenizer's decode"),
        ({"stop_strings": "ab", "decode": spell}, "stop_strings='ab': give a list"),
        ({"stop_strings": ["a", ""], "decode": spell}, "not empty"),
    ],
)
def test_generate_refuses(model, options, message):
    with pytest.raises(ValueError, match=message):
        generate(model, **({"prompts": torch.tensor([[1, 2]]), "max_new_tokens": 2} | options))


def test_a_model_that_has_diverged_is_named():
    model = build()
    with torch.no_grad():
        model.norm.weight.fill_(torch.nan)
    for sampling in (GREEDY, SAMPLED):
        with pytest.raises(ValueError, match="the model has diverged"):
            generate(model, torch.tensor([[1, 2]]), 3, sampling)
    model = build(positions="learned")
    with torch.no_grad():
        model.embedding.positions.weight[5] = torch.nan
    for sampling in (GREEDY, SAMPLED):
        assert len(generate(model, torch.tensor([[1, 2]]), 4, sampling)[0]) == 6
        with pytest.raises(ValueError, match="later logits are not finite"):
            generate(model, torch.tensor([[1, 2]]), 5, sampling)


def test_caches_have_the_shape_of_the_model():
    caches = build_caches(dataclasses.replace(SMALL, kv_heads=2), 3, 9, torch.bfloat16)
    assert len(caches) == 2 and all(cache.length == 0 for cache in caches)
    k = torch.randn(3, 2, 9, 8).bfloat16()
    kept, values = caches[0](k, -k)
    assert torch.equal(kept, k) and torch.equal(values, -k) and kept.dtype == torch.bfloat16


def test_each_token_is_read_once(model, monkeypatch):
    read = []
    forward = Transformer.forward
    monkeypatch.setattr(Transformer, "forward", lambda self, ids, *rest: read.append(ids.shape[1]) or forward(self, ids, *rest))
    generate(model, torch.tensor([[1, 2, 3]]), 13, GREEDY)
    assert read == [3] + [1] * 12
    read.clear()
    generate(model, torch.tensor([[1, 2, 3]]), 100, GREEDY)
    assert read == [3] + [1] * 13 + ([9] + [1] * 7) * 10 + [9, 1, 1, 1, 1, 1][: 100 - 14 - 80]
