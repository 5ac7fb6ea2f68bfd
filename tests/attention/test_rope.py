"""Rotary positions and their stretched frequencies against transformers, complex numbers and float64."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.rope import (
    RotaryEmbedding,
    check_positions,
    interpolate_frequencies,
    interpolate_slow_frequencies,
    rope_frequencies,
    rope_table,
    rotate,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("base", [100.0, 10_000.0, 500_000.0])
def test_matches_transformers(base):
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = transformers.LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    q, k = draw(2, 4, 128, 16), draw(2, 2, 128, 16, seed=1)
    positions = torch.arange(128).flip(0).expand(2, -1)
    cos, sin = llama.LlamaRotaryEmbedding(config)(q, positions)
    expected = llama.apply_rotary_pos_emb(q, k, cos, sin)
    rope = RotaryEmbedding(16, 128, base)
    for ours, theirs in zip((rope(q, positions), rope(k, positions[0])), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


def test_matches_complex_multiplication():
    x = draw(2, 3, 50, 8).double()
    angles = torch.outer(torch.arange(50).double(), 10_000.0 ** (-torch.arange(4).double() / 4))
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    ours = RotaryEmbedding(8, 50)(x)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, torch.cat((turned.real, turned.imag), dim=-1), rtol=1e-5, atol=1e-5)


def test_frequencies_and_table():
    frequencies = rope_frequencies(64, 10_000.0)
    assert frequencies.dtype == torch.float64 and frequencies.shape == (32,)
    torch.testing.assert_close(frequencies, 10_000.0 ** (-torch.arange(32).double() / 32), rtol=1e-15, atol=0)
    cos, sin = rope_table(200_000, 8)
    torch.testing.assert_close(cos**2 + sin**2, torch.ones(200_000, 4))
    torch.testing.assert_close(cos[:, 0].double(), torch.arange(200_000).double().cos(), rtol=0, atol=1e-7)
    angles = torch.outer(torch.arange(200_000).double(), 10.0 ** -torch.arange(4).double())
    torch.testing.assert_close(sin.double(), angles.sin(), rtol=0, atol=1e-7)


def test_the_last_row_of_a_long_table_is_exact():
    cos, sin = rope_table(131_072, 128, 5e5)
    for i, (c, s) in enumerate(zip(cos[-1].tolist(), sin[-1].tolist(), strict=True)):
        angle = 131_071 * 5e5 ** (-2 * i / 128)  # Python's floats: what transformers takes in float32
        assert abs(c - math.cos(angle)) < 1e-7 and abs(s - math.sin(angle)) < 1e-7


def test_rescaled_frequencies_stay_float64():
    by_parts = partial(interpolate_slow_frequencies, factor=8.0, trained_context=8192)
    for rescale in (by_parts, partial(interpolate_frequencies, factor=8.0)):
        frequencies = rescale(rope_frequencies(128, 5e5))
        assert frequencies.dtype == torch.float64
        cos, _ = rope_table(100_000, 128, 5e5, rescale=rescale)
        torch.testing.assert_close(cos[-1].double(), (99_999 * frequencies).cos(), rtol=0, atol=1e-7)


def test_given_positions_are_used():
    x, rope = draw(2, 3, 4, 8), RotaryEmbedding(8, 32)
    whole = rope(x.repeat(1, 1, 8, 1))  # position p of 32 carries row p % 4
    torch.testing.assert_close(rope(x, torch.arange(20, 24)), whole[:, :, 20:24])
    rows = torch.tensor([[0, 1, 2, 3], [28, 29, 30, 31]])
    torch.testing.assert_close(rope(x, rows)[1], whole[1, :, 28:])
    torch.testing.assert_close(rope(x, rows)[0], whole[0, :, :4])


def test_bfloat16_is_rounded_once():
    x = draw(1, 2, 300, 64).bfloat16()
    exact = RotaryEmbedding(64, 300)(x.double())
    result = RotaryEmbedding(64, 300)(x)
    assert result.dtype == torch.bfloat16
    assert ((result.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-6).all()


def test_table_is_not_saved_and_stays_float32():
    x, rope = draw(1, 2, 9, 8), RotaryEmbedding(8, 32)
    assert not rope.state_dict()
    expected = rope(x)
    assert torch.equal(rope.bfloat16()(x), expected)
    with torch.device("meta"):
        assert torch.equal(RotaryEmbedding(8, 32).to_empty(device="cpu")(x), expected)


def test_another_device_gets_its_own_table():
    x, rope = draw(1, 2, 9, 8), RotaryEmbedding(8, 32)
    assert rope(x.to("meta")).is_meta
    assert not rope(x).is_meta


def test_a_table_first_used_for_inference_serves_training():
    x, rope = draw(1, 2, 9, 8), RotaryEmbedding(8, 32)
    with torch.inference_mode():
        rope(x)
        rope(x.to("meta"))  # a device whose table is copied here
    assert not any(part.is_inference() for part in rope.table(torch.device("meta")))
    rope(x.requires_grad_()).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rope_frequencies(7), "head width 7"),
        (lambda: rope_frequencies(0), "head width 0"),
        (lambda: rope_frequencies(8, 1.0), "base 1.0"),
        (lambda: rope_frequencies(8, float("nan")), "base nan"),
        (lambda: rope_frequencies(8, math.inf), "base inf"),
        (lambda: rope_table(0, 8), "context 0"),
        (lambda: RotaryEmbedding(9, 32), "head width 9"),
    ],
)
def test_impossible_tables(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("T", "positions", "message"),
    [
        (17, None, "17 tokens exceed the context of 16"),
        (2, [15, 16], "position 16 lies outside 0 .. 15"),
        (2, [-1, 0], "position -1 lies outside"),
        (2, [1, 2, 3], r"\(3,\): give int64 \[T\] or \[B, T\], here \[2\] or \[1, 2\]"),
        (2, 3, r"\(\): give int64"),
        (2, [0.0, 1.0], "float32"),
    ],
)
def test_positions_outside_the_table(T, positions, message):
    with pytest.raises(ValueError, match=message):
        RotaryEmbedding(8, 16)(draw(1, 1, T, 8), None if positions is None else torch.tensor(positions))


def test_rotate_keeps_products_of_equal_distance():
    q, k = draw(2, 1, 1, 1, 16).double()
    cos, sin = rope_table(60, 16)
    products = rotate(q.expand(1, 1, 60, 16), cos, sin) @ rotate(k.expand(1, 1, 60, 16), cos, sin).mT
    for distance in (-5, 0, 11):
        diagonal = products[0, 0].diagonal(distance)
        assert diagonal.max() - diagonal.min() < 1e-5


# ---------------------------------------------------------------- Properties


@settings(max_examples=40, deadline=None)
@given(m=st.integers(0, 400), n=st.integers(0, 400), shift=st.integers(0, 100), pairs=st.integers(1, 16))
def test_only_the_distance_counts(m, n, shift, pairs):
    rope = RotaryEmbedding(2 * pairs, 501)
    q, k = draw(2, 1, 1, 1, 2 * pairs).double()

    def score(a, b):
        return float((rope(q, torch.tensor([a])) * rope(k, torch.tensor([b]))).sum())

    assert score(m, n) == pytest.approx(score(m + shift, n + shift), abs=1e-5)


def test_turning_forth_and_back_gives_the_vector():
    x = draw(1, 2, 50, 8).double()
    cos, sin = rope_table(50, 8)
    torch.testing.assert_close(rotate(rotate(x, cos, sin), cos, -sin), x, rtol=1e-6, atol=1e-6)


def test_gradients_are_turned_back():
    x = draw(1, 1, 9, 8).double().requires_grad_()
    upstream = draw(1, 1, 9, 8, seed=1).double()
    cos, sin = rope_table(9, 8)
    rotate(x, cos, sin).backward(upstream)
    torch.testing.assert_close(x.grad, rotate(upstream, cos, -sin))


@pytest.mark.parametrize("size", [1, 6, 10])
def test_a_table_of_another_width_is_refused(size):
    cos, sin = rope_table(5, 8)
    with pytest.raises(ValueError, match=f"head width {size}: the table is for 8"):
        rotate(draw(1, 1, 5, size), cos, sin)
    with pytest.raises(ValueError, match="head width 8: the table is for 2"):
        rotate(draw(1, 1, 5, 8), *rope_table(5, 2))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_positions_that_would_index_as_a_mask_are_refused(dtype):
    with pytest.raises(ValueError, match=str(dtype)):
        check_positions(torch.zeros(4, dtype=dtype), 1, 4, 4)


def test_int32_positions_are_positions():
    x, rope = draw(1, 2, 3, 8), RotaryEmbedding(8, 16)
    assert torch.equal(rope(x, torch.tensor([4, 9, 2], dtype=torch.int32)), rope(x, torch.tensor([4, 9, 2])))


# ---------------------------------------------------------------- In a layer


SHAPES = [(3, 8), (1, 3, 8), (2, 3, 8), (1, 2, 3, 8), (2, 1, 3, 8), (4, 2, 3, 8), (2, 5, 3, 3, 8), (3, 3, 3, 8)]
PLACES = [(3,), (1, 3), (2, 3), (3, 3), (4, 3), (1, 1, 3), (2, 1, 3), (), (1,), (2,), (3, 1), (0, 3)]


def test_every_combination_of_dimensions_is_turned_row_by_row_or_refused():
    rope = RotaryEmbedding(8, 16)
    for shape in SHAPES:
        for place in PLACES:
            x, positions = draw(*shape), torch.randint(16, place, generator=torch.Generator().manual_seed(1))
            B = shape[0] if len(shape) > 2 else 1
            if place not in ((3,), (1, 3), (B, 3)):
                with pytest.raises(ValueError, match="give int64"):
                    rope(x, positions)
                continue
            turned = rope(x, positions)
            assert turned.shape == x.shape
            rows = positions.expand(B, 3)
            for index in torch.cartesian_prod(*(torch.arange(n) for n in shape[:-1])).reshape(-1, len(shape) - 1).tolist():
                place_of = rows[index[0] if len(shape) > 2 else 0, index[-1]]
                alone = rope(x[tuple(index)][None], place_of[None])[0]
                assert torch.equal(turned[tuple(index)], alone)


def test_a_table_of_another_width_broadcasts_nothing_in_a_layer():
    """Rows of positions for another number of texts, which once made a result of another shape."""
    layer = MultiHeadAttention(16, heads=2, rotate=RotaryEmbedding(8, 8))
    with pytest.raises(ValueError, match="here .3. or .1, 3."):
        layer(draw(1, 3, 16), torch.zeros(2, 3, dtype=torch.long))


def growing_cache():
    kept = []

    def remember(k, v):
        kept.append((k, v))
        return tuple(torch.cat(part, dim=-2) for part in zip(*kept, strict=True))

    return remember


@pytest.mark.parametrize("chunks", [[1] * 6, [4, 1, 1], [2, 3, 1]])
def test_step_by_step_is_all_at_once_with_the_right_positions_only(chunks):
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(16, heads=2, kv_heads=1, rotate=RotaryEmbedding(8, 8)), draw(2, 6, 16)
    for placed in (True, False):
        cache, outputs, start = growing_cache(), [], 0
        for T in chunks:
            positions = torch.arange(start, start + T) if placed else torch.arange(T)
            outputs.append(layer(x[:, start : start + T], positions, cache))
            start += T
        assert torch.allclose(torch.cat(outputs, dim=1), layer(x), atol=1e-6) == placed


def test_a_cache_continues_at_its_length_or_is_refused():
    torch.manual_seed(0)
    layer, x, cache = MultiHeadAttention(16, heads=2, rotate=RotaryEmbedding(8, 8)), draw(2, 6, 16), growing_cache()
    with pytest.raises(ValueError, match="give the cache a `length`"):
        layer(x, cache=cache)
    outputs, cache.length = [], 0
    for part in x.split((3, 1, 2), dim=1):
        outputs.append(layer(part, cache=cache))
        cache.length += part.shape[1]
    torch.testing.assert_close(torch.cat(outputs, dim=1), layer(x), rtol=1e-4, atol=1e-6)
    layer.rotate = None  # without rotation nobody asks where a token stands
    layer(x, cache=growing_cache())


def test_rows_at_different_places_keep_their_scores():
    rope = RotaryEmbedding(8, 32)
    q, k = draw(2, 2, 3, 6, 8)
    rows = torch.stack((torch.arange(6), torch.arange(20, 26)))
    torch.testing.assert_close(rope(q, rows) @ rope(k, rows).mT, rope(q) @ rope(k).mT, rtol=1e-4, atol=1e-4)


def test_copies_and_pickles_rotate_alike():
    x = draw(1, 2, 9, 8)
    rope = RotaryEmbedding(8, 32, rescale=partial(interpolate_frequencies, factor=2.0))
    for twin in (copy.deepcopy(rope), pickle.loads(pickle.dumps(rope))):
        assert torch.equal(twin(x), rope(x))


# ---------------------------------------------------------------- Longer contexts


def stretched(rope_type, K, base, **parameters):
    """Return transformers' rotary embedding of one head."""
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    rope = {"rope_type": rope_type, "rope_theta": base, **parameters}
    config = transformers.LlamaConfig(hidden_size=K, num_attention_heads=1, max_position_embeddings=4096, rope_parameters=rope)
    return llama, llama.LlamaRotaryEmbedding(config)


CASES = [
    ("linear", 64, 10_000.0, partial(interpolate_frequencies, factor=4.0), {"factor": 4.0}),
    ("linear", 8, 100.0, partial(interpolate_frequencies, factor=1.5), {"factor": 1.5}),
    (
        "llama3",
        128,
        500_000.0,
        partial(interpolate_slow_frequencies, factor=8.0, trained_context=8192),
        {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    ),
    (
        "llama3",
        64,
        500_000.0,
        partial(interpolate_slow_frequencies, factor=32.0, trained_context=8192),
        {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    ),
    (
        "llama3",
        32,
        10_000.0,
        partial(interpolate_slow_frequencies, factor=3.0, trained_context=100, low=0.5, high=9.0),
        {"factor": 3.0, "low_freq_factor": 0.5, "high_freq_factor": 9.0, "original_max_position_embeddings": 100},
    ),
]


@pytest.mark.parametrize(("rope_type", "K", "base", "rescale", "parameters"), CASES)
def test_stretched_frequencies_match_transformers(rope_type, K, base, rescale, parameters):
    _, theirs = stretched(rope_type, K, base, **parameters)
    ours = rescale(rope_frequencies(K, base))
    assert ours.dtype == torch.float64 and ours.shape == (K // 2,)
    torch.testing.assert_close(ours.float(), theirs.inv_freq, rtol=2e-6, atol=0)


@pytest.mark.parametrize(("rope_type", "K", "base", "rescale", "parameters"), CASES)
def test_stretched_rotation_matches_transformers(rope_type, K, base, rescale, parameters):
    llama, theirs = stretched(rope_type, K, base, **parameters)
    q, positions = draw(1, 1, 500, K), torch.arange(500)[None]
    expected, _ = llama.apply_rotary_pos_emb(q, q, *theirs(q, positions))
    rope = RotaryEmbedding(K, 500, base, rescale=rescale)
    torch.testing.assert_close(rope(q), expected, rtol=1e-4, atol=5e-4)  # transformers takes angles in float32
    plain = RotaryEmbedding(K, 500, base)(q)
    assert (plain - expected).abs().max() > 0.01


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


def test_factor_one_changes_nothing():
    frequencies = rope_frequencies(32)
    assert torch.equal(interpolate_frequencies(frequencies, 1.0), frequencies)
    torch.testing.assert_close(interpolate_slow_frequencies(frequencies, 1.0, 64), frequencies)


def test_rescale_leaves_its_argument_alone():
    frequencies = rope_frequencies(32)
    kept = frequencies.clone()
    interpolate_frequencies(frequencies, 2.0)
    interpolate_slow_frequencies(frequencies, 2.0, 64)
    assert torch.equal(frequencies, kept)


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, math.nan, math.inf])
def test_impossible_factors(factor):
    for call in (interpolate_frequencies, partial(interpolate_slow_frequencies, trained_context=64)):
        with pytest.raises(ValueError, match=f"factor {factor}"):
            call(rope_frequencies(8), factor=factor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trained_context": 0}, "trained_context 0"),
        ({"trained_context": 64, "low": 4.0, "high": 4.0}, "low 4.0, high 4.0"),
        ({"trained_context": 64, "low": 0.0}, "low 0.0"),
        ({"trained_context": 64, "high": math.nan}, "high nan"),
    ],
)
def test_impossible_parts(arguments, message):
    with pytest.raises(ValueError, match=message):
        interpolate_slow_frequencies(rope_frequencies(8), 2.0, **arguments)


def test_rescale_of_a_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"rescale gave \(3,\): it must return \[4\]"):
        RotaryEmbedding(8, 16, rescale=lambda frequencies: frequencies[1:])


def test_a_stretched_table_stays_float32_and_unsaved():
    x = draw(1, 2, 9, 8)
    rope = RotaryEmbedding(8, 32, rescale=partial(interpolate_frequencies, factor=2.0))
    expected = rope(x)
    assert not rope.state_dict() and torch.equal(rope.half()(x), expected)
    assert all(part.dtype == torch.float32 for part in rope.table(torch.device("cpu")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_a_cpu():
    x, positions = draw(2, 3, 7, 16), torch.arange(40, 47)
    rope = RotaryEmbedding(16, 64, rescale=partial(interpolate_frequencies, factor=4.0))
    for dtype in (torch.float32, torch.bfloat16):
        typed = x.to(dtype)
        there = rope(typed.cuda(), positions.cuda())
        assert there.is_cuda and there.dtype == dtype
        torch.testing.assert_close(there.cpu(), rope(typed, positions))
