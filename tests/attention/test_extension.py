"""Rules for longer contexts against those of transformers, closed forms and each other."""

import math
import pickle
from functools import partial

import pytest
import torch

from llmbook.attention.extension import (
    interpolate_frequencies,
    interpolate_slow_frequencies,
    ntk_frequencies,
    yarn_frequencies,
    yarn_scale,
)
from llmbook.attention.rope import RotaryEmbedding, rope_frequencies, rope_table

RULES = [
    interpolate_frequencies,
    ntk_frequencies,
    partial(interpolate_slow_frequencies, trained_context=64),
    partial(yarn_frequencies, trained_context=64),
]
NAMES = ["linear", "ntk", "llama3", "yarn"]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def llama_config(rope_type, K, base, context=4096, **parameters):
    transformers = pytest.importorskip("transformers")
    rope = {"rope_type": rope_type, "rope_theta": base, **parameters}
    return transformers.LlamaConfig(hidden_size=K, num_attention_heads=1, max_position_embeddings=context, rope_parameters=rope)


def theirs(rope_type, K, base, *, length=None, context=4096, **parameters):
    """Frequencies and attention factor as transformers computes them, in float32."""
    rope = pytest.importorskip("transformers.modeling_rope_utils")
    config = llama_config(rope_type, K, base, context, **parameters)
    return rope.ROPE_INIT_FUNCTIONS[rope_type](config, seq_len=length)


def compare(ours, expected):
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours.float(), expected, rtol=5e-6, atol=0)


# ---------------------------------------------------------------- Frequencies and factors of transformers


@pytest.mark.parametrize(("K", "base", "factor"), [(64, 1e4, 4.0), (8, 100.0, 1.5), (2, 1e4, 8.0), (128, 5e5, 1.0)])
def test_linear(K, base, factor):
    expected, attention_factor = theirs("linear", K, base, factor=factor)
    compare(interpolate_frequencies(rope_frequencies(K, base), factor), expected)
    assert attention_factor == 1.0


@pytest.mark.parametrize(("K", "base"), [(64, 1e4), (4, 100.0), (128, 5e5)])
@pytest.mark.parametrize(("length", "factor"), [(4096, 2.0), (8192, 1.0), (20_000, 1.0), (8192, 2.0), (100, 4.0)])
def test_dynamic(K, base, length, factor):
    """There the stretch is f T / L - (f - 1) for a text of T tokens, and 1 up to the trained L."""
    expected, attention_factor = theirs("dynamic", K, base, length=length, factor=factor)
    stretch = max(1.0, factor * length / 4096 - (factor - 1))
    compare(ntk_frequencies(rope_frequencies(K, base), stretch), expected)
    assert attention_factor == 1.0


LLAMA = [
    (128, 5e5, 8.0, 8192, 1.0, 4.0),
    (64, 5e5, 32.0, 8192, 1.0, 4.0),
    (32, 1e4, 3.0, 100, 0.5, 9.0),
    (2, 1e4, 4.0, 64, 1.0, 4.0),
]


@pytest.mark.parametrize(("K", "base", "factor", "trained", "low", "high"), LLAMA)
def test_llama3(K, base, factor, trained, low, high):
    bounds = {"low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": trained}
    expected, attention_factor = theirs("llama3", K, base, factor=factor, **bounds)
    compare(interpolate_slow_frequencies(rope_frequencies(K, base), factor, trained, low, high), expected)
    assert attention_factor == 1.0


YARN = [
    (128, 1e4, 16.0, 4096, {}),
    (64, 1e4, 4.0, 2048, {}),
    (32, 1e4, 4.0, 128, {}),
    (32, 1e4, 1.0, 128, {}),
    (64, 1.5e5, 32.0, 4096, {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}),
    (64, 1e4, 40.0, 4096, {"beta_fast": 16.0, "beta_slow": 2.0}),
    (4, 1e4, 2.0, 64, {}),
    (16, 50.0, 8.0, 5000, {}),
    (8, 100.0, 2.0, 7, {"beta_fast": 1.01, "beta_slow": 1.0}),
]


@pytest.mark.parametrize(("K", "base", "factor", "trained", "more"), YARN)
def test_yarn(K, base, factor, trained, more):
    expected, attention_factor = theirs("yarn", K, base, factor=factor, original_max_position_embeddings=trained, **more)
    how = {"slow": more.get("beta_slow", 1.0), "fast": more.get("beta_fast", 32.0), "truncate": more.get("truncate", True)}
    ours = yarn_frequencies(rope_frequencies(K, base), factor, trained, **how)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours.float(), expected, rtol=2e-5, atol=0)
    assert yarn_scale(factor) == pytest.approx(attention_factor, rel=1e-12)


@pytest.mark.parametrize(("mscale", "mscale_all_dim"), [(1.0, 1.0), (0.707, 1.0), (1.0, 0.5)])
def test_yarn_with_the_two_weights_of_deepseek(mscale, mscale_all_dim):
    weights = {"mscale": mscale, "mscale_all_dim": mscale_all_dim}
    _, expected = theirs("yarn", 64, 1e4, factor=40.0, original_max_position_embeddings=4096, **weights)
    assert yarn_scale(40.0, mscale) / yarn_scale(40.0, mscale_all_dim) == pytest.approx(expected, rel=1e-12)


ROTATIONS = [
    ("linear", interpolate_frequencies, {}, 1.0),
    ("llama3", partial(interpolate_slow_frequencies, trained_context=100), {"low_freq_factor": 1.0, "high_freq_factor": 4.0}, 1.0),
    ("yarn", partial(yarn_frequencies, trained_context=100), {}, yarn_scale(4.0)),
]


@pytest.mark.parametrize(("rope_type", "rule", "more", "scale"), ROTATIONS)
def test_scores_match_transformers(rope_type, rule, more, scale):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama_config(rope_type, 32, 1e4, factor=4.0, original_max_position_embeddings=100, **more)
    q, k = draw(2, 1, 2, 400, 32)
    turned = llama.apply_rotary_pos_emb(q, k, *llama.LlamaRotaryEmbedding(config)(q, torch.arange(400)[None]))
    rope = RotaryEmbedding(32, 400, rescale=partial(rule, factor=4.0), scale=scale)
    for ours, expected in zip((rope(q), rope(k)), turned, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)  # transformers takes angles in float32
    assert (RotaryEmbedding(32, 400)(q) - turned[0]).abs().max() > 0.1


# ---------------------------------------------------------------- Closed forms


@pytest.mark.parametrize(("K", "base", "factor"), [(4, 100.0, 3.0), (64, 1e4, 4.0), (128, 5e5, 32.0)])
def test_ntk_is_a_larger_base(K, base, factor):
    ours = ntk_frequencies(rope_frequencies(K, base), factor)
    torch.testing.assert_close(ours, rope_frequencies(K, base * factor ** (K / (K - 2))), rtol=1e-12, atol=0)
    torch.testing.assert_close(ours[-1], rope_frequencies(K, base)[-1] / factor, rtol=1e-12, atol=0)
    assert ours[0] == 1


def test_interpolated_positions_are_the_trained_ones():
    cos, sin = rope_table(64, 16, rescale=partial(interpolate_frequencies, factor=4.0))
    for long, short in zip((cos, sin), rope_table(16, 16), strict=True):
        torch.testing.assert_close(long[::4], short, rtol=1e-5, atol=1e-5)


def test_by_parts_lies_between_its_neighbors():
    frequencies = rope_frequencies(64)
    turns = 512 * frequencies / (2 * math.pi)
    changed = interpolate_slow_frequencies(frequencies, 4.0, 512)
    assert torch.equal(changed[turns >= 4], frequencies[turns >= 4])
    torch.testing.assert_close(changed[turns <= 1], frequencies[turns <= 1] / 4)
    between = (turns > 1) & (turns < 4)
    assert between.any()
    assert (changed[between] < frequencies[between]).all() and (changed[between] > frequencies[between] / 4).all()
    assert (changed.diff() < 0).all()


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_keeps_fast_pairs_and_slows_slow_ones(truncate):
    frequencies = rope_frequencies(128)
    turns = 4096 * frequencies / (2 * math.pi)
    slowdown = frequencies / yarn_frequencies(frequencies, 16.0, 4096, truncate=truncate)
    inward = 1 if truncate else 0  # rounding moves each end by less than a pair
    first_between, first_slow = int((turns >= 32).sum()), int((turns > 1).sum())
    torch.testing.assert_close(slowdown[: first_between - inward], torch.ones(first_between - inward).double())
    torch.testing.assert_close(slowdown[first_slow + inward :], torch.full((64 - first_slow - inward,), 16.0).double())
    assert (slowdown.diff() >= 0).all() and (slowdown[first_between + 1 : first_slow - 1] < 16).all()


def test_yarn_without_rounding_is_linear_in_the_logarithm_of_the_turns():
    frequencies = rope_frequencies(64)
    turns = 1000 * frequencies / (2 * math.pi)
    keep = ((turns.log() - math.log(2)) / (math.log(9) - math.log(2))).clamp(0, 1)
    expected = keep * frequencies + (1 - keep) * frequencies / 8
    ours = yarn_frequencies(frequencies, 8.0, 1000, slow=2.0, fast=9.0, truncate=False)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


def test_a_context_without_a_single_turn_slows_all_but_the_first_pair():
    frequencies = rope_frequencies(16)
    slowdown = frequencies / yarn_frequencies(frequencies, 4.0, 3)
    assert slowdown[0] == 1 and torch.allclose(slowdown[1:], torch.tensor(4.0).double())


def test_scale_of_yarn():
    assert yarn_scale(1.0) == 1.0
    assert yarn_scale(math.e) == pytest.approx(1.1)
    assert yarn_scale(math.e**2, weight=0.5) == pytest.approx(1.1)
    assert yarn_scale(32.0, weight=0.0) == 1.0


def test_scores_grow_by_the_square_of_the_scale():
    q, k = draw(2, 1, 1, 9, 8).double()
    plain, scaled = (RotaryEmbedding(8, 9, scale=scale) for scale in (1.0, yarn_scale(16.0)))
    torch.testing.assert_close(scaled(q) @ scaled(k).mT, yarn_scale(16.0) ** 2 * (plain(q) @ plain(k).mT), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- Every rule


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_factor_one_changes_nothing(rule):
    frequencies = rope_frequencies(32)
    torch.testing.assert_close(rule(frequencies, factor=1.0), frequencies, rtol=1e-15, atol=0)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_stay_and_the_argument_is_left_alone(rule, dtype):
    frequencies = torch.stack((rope_frequencies(32), torch.zeros(16))).to(dtype).mT.flatten()[::2]  # strided
    kept = frequencies.clone()
    changed = rule(frequencies, factor=2.0)
    assert changed.shape == (16,) and changed.dtype == dtype
    torch.testing.assert_close(changed.double(), rule(rope_frequencies(32), factor=2.0), rtol=1e-5, atol=0)
    assert torch.equal(frequencies, kept)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_no_pair_is_slowed_by_more_than_the_factor_or_sped_up(rule):
    frequencies = rope_frequencies(64)
    slowdown = frequencies / rule(frequencies, factor=5.0)
    assert (slowdown > 1 - 1e-12).all() and (slowdown < 5 + 1e-12).all()
    torch.testing.assert_close(slowdown[-1], torch.tensor(5.0).double())


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_in_a_rotary_embedding_that_is_pickled(rule):
    rope, x = RotaryEmbedding(32, 100, rescale=partial(rule, factor=2.0)), draw(1, 1, 100, 32)
    assert torch.equal(pickle.loads(pickle.dumps(rope))(x), rope(x))


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("rule", [*RULES, lambda _, factor: yarn_scale(factor)], ids=[*NAMES, "scale"])
def test_impossible_factors(rule, factor):
    with pytest.raises(ValueError, match=f"factor {factor}: a context grows"):
        rule(rope_frequencies(8), factor=factor)


PARTS = [
    (interpolate_slow_frequencies, {"trained_context": 0}, "trained_context 0"),
    (interpolate_slow_frequencies, {"trained_context": 64, "low": 4.0, "high": 4.0}, "low 4.0, high 4.0: .* 0 < low < high"),
    (interpolate_slow_frequencies, {"trained_context": 64, "low": 0.0}, "low 0.0"),
    (interpolate_slow_frequencies, {"trained_context": 64, "high": math.nan}, "high nan"),
    (interpolate_slow_frequencies, {"trained_context": 64, "high": math.inf}, "high inf"),
    (yarn_frequencies, {"trained_context": -1}, "trained_context -1"),
    (yarn_frequencies, {"trained_context": 64, "slow": 33.0}, "slow 33.0, fast 32.0: .* 0 < slow < fast"),
    (yarn_frequencies, {"trained_context": 64, "fast": math.nan}, "fast nan"),
]


@pytest.mark.parametrize(("rule", "arguments", "message"), PARTS)
def test_impossible_parts(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(rope_frequencies(8), 2.0, **arguments)


@pytest.mark.parametrize("rule", [ntk_frequencies, partial(yarn_frequencies, trained_context=64)])
@pytest.mark.parametrize("pairs", [0, 1])
def test_rules_that_need_two_pairs(rule, pairs):
    with pytest.raises(ValueError, match=f"{pairs} frequencies: .* head width of at least 4"):
        rule(torch.ones(pairs).double(), factor=2.0)
