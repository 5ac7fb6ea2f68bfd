"""Sampling against transformers' logits processors and against counted frequencies."""

import math

import pytest
import torch

from llmbook.architecture.generation import _divide, generate, keep_top_k, keep_top_p, sample_next
from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_logits(B=64, V=100):
    return torch.randn(B, V, generator=seeded()) * 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer(ModelConfig(vocab_size=40, context=16, width=32, layers=2, heads=4, init_std=0.3))


@pytest.mark.parametrize("k", [1, 2, 10, 99, 100, 1000])
def test_top_k_matches_transformers(k):
    transformers = pytest.importorskip("transformers")
    assert torch.equal(keep_top_k(some_logits(), k), transformers.TopKLogitsWarper(k)(None, some_logits()))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9, 0.99])
def test_top_p_matches_transformers(p):
    transformers = pytest.importorskip("transformers")
    assert torch.equal(keep_top_p(some_logits(), p), transformers.TopPLogitsWarper(p)(None, some_logits()))


def test_top_p_keeps_the_smallest_sufficient_set():
    logits, p = some_logits(20, 8), 0.7
    for row, kept in zip(logits.double().softmax(-1), keep_top_p(logits, p).isfinite(), strict=True):
        order = row.argsort(descending=True)
        need = next(n for n in range(1, 9) if row[order[:n]].sum() >= p)
        assert set(kept.nonzero().flatten().tolist()) == set(order[:need].tolist())


def test_edges():
    logits = torch.tensor([[1.0, 1.0, 0.0]])
    assert keep_top_k(logits, 1).isfinite().tolist() == [[True, True, False]]
    assert torch.equal(keep_top_p(some_logits(), 1.0), some_logits())
    masked = torch.tensor([[-torch.inf, 2.0, -torch.inf]])
    assert sample_next(masked, generator=seeded()).item() == 1


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ({}, lambda x: x),
        ({"temperature": 0.7}, lambda x: x / 0.7),
        ({"top_k": 3}, lambda x: keep_top_k(x, 3)),
        ({"temperature": 2.0, "top_k": 5, "top_p": 0.6}, lambda x: keep_top_p(keep_top_k(x / 2, 5), 0.6)),
    ],
)
def test_frequencies_follow_the_softmax(options, cut):
    n, logits = 50_000, torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0, -3.0]])
    p = cut(logits).double().softmax(-1)[0]
    counts = sample_next(logits.expand(n, -1), **options, generator=seeded(1)).bincount(minlength=6)
    assert ((counts - n * p).abs() <= 5 * (n * p * (1 - p)).sqrt()).all()


def test_greedy_and_determinism():
    logits = some_logits()
    assert torch.equal(sample_next(logits, 0), logits.argmax(-1))
    assert torch.equal(sample_next(logits, 0.0, top_k=1), sample_next(logits, 1.0, top_k=1))
    assert torch.equal(sample_next(logits, generator=seeded(3)), sample_next(logits, generator=seeded(3)))
    assert not torch.equal(sample_next(logits, generator=seeded(3)), sample_next(logits, generator=seeded(4)))
    assert sample_next(logits.bfloat16()).dtype == torch.int64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_k": -3}, "top_k=-3"),
        ({"top_k": 2.5}, "top_k=2.5"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"top_p": float("nan")}, "top_p=nan"),
    ],
)
def test_options_out_of_range(model, options, message):
    with pytest.raises(ValueError, match=message):
        sample_next(some_logits(), **options)
    with pytest.raises(ValueError, match=message):
        generate(model, torch.zeros(1, 1, dtype=torch.long), 2, **options)


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
        assert (sample_next(logits, temperature, generator=seeded()) == 0).all()
    for temperature in (1e20, 1e40, 1e300):
        for options, kept in (({}, 5), ({"top_k": 3}, 3), ({"top_k": 4, "top_p": 0.5}, 2)):
            counts = sample_next(logits, temperature, **options, generator=seeded()).bincount(minlength=6)
            assert (counts[kept:] == 0).all()
            assert ((counts[:kept] - 20_000 / kept).abs() < 5 * math.sqrt(20_000 / kept)).all()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_distribution_are_refused(temperature):
    for bad in (torch.nan, torch.inf):
        logits = some_logits(3, 5)
        logits[1, 2] = bad
        with pytest.raises(ValueError, match="in row 1 is not finite"):
            sample_next(logits, temperature)
    with pytest.raises(ValueError, match="in row 0 is not finite"):
        sample_next(torch.full((2, 5), -torch.inf), temperature)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_generator_of_another_device_is_refused():
    with pytest.raises(ValueError, match="logits on cuda, generator on cpu"):
        sample_next(some_logits().cuda(), generator=seeded())


def test_generate_is_the_loop_that_it_claims(model):
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    expected = ids
    with torch.no_grad():
        for _ in range(30):
            logits = model(expected[:, -16:])[:, -1]
            expected = torch.cat((expected, logits.argmax(-1, keepdim=True)), dim=1)
    result = generate(model, ids, 30, temperature=0)
    assert result.shape == (2, 33) and torch.equal(result, expected)
    assert not result.requires_grad


def test_generate_is_deterministic_and_leaves_the_global_generator_alone(model):
    ids, state = torch.tensor([[1, 2, 3]]), torch.get_rng_state()
    runs = [generate(model, ids, 20, top_p=0.9, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_stop(model):
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    free = generate(model, ids, 20, temperature=0)
    stop = int(free[0, 8])
    stopped = generate(model, ids, 20, temperature=0, stop_id=stop)
    assert stopped.shape[1] <= 23
    for row, full in zip(stopped[:, 3:].tolist(), free[:, 3:].tolist(), strict=True):
        end = full.index(stop) + 1 if stop in full else len(full)
        assert row[:end] == full[: min(end, len(row))] and all(token == stop for token in row[end:])


def test_generate_edges(model):
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(generate(model, ids, 0), ids)
    with pytest.raises(ValueError, match="max_new_tokens=-1"):
        generate(model, ids, -1)
    with pytest.raises(ValueError, match="T of at least 1"):
        generate(model, ids[:, :0], 1)
    with pytest.raises(ValueError, match="token id 40"):
        generate(model, torch.tensor([[40]]), 1)
