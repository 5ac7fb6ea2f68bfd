"""Rotary positions and their two layouts against transformers, complex numbers and float64."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.rope import (
    RotaryEmbedding,
    halves_to_pairs,
    pairs_to_halves,
    rope_frequencies,
    rope_table,
    rotate,
)


def half_speed(frequencies):
    return frequencies / 2


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
        (lambda: RotaryEmbedding(8, 32, scale=0.0), "scale 0.0"),
        (lambda: rope_table(4, 8, scale=math.inf), "scale inf"),
        (lambda: rope_table(4, 8, scale=math.nan), "scale nan"),
        (lambda: rope_table(4, 8, scale=-1.0), "scale -1.0"),
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
    rope = RotaryEmbedding(8, 32, rescale=half_speed, scale=1.5)
    for twin in (copy.deepcopy(rope), pickle.loads(pickle.dumps(rope))):
        assert torch.equal(twin(x), rope(x))


# ---------------------------------------------------------------- Other frequencies, and a scale


def test_rescale_of_a_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"rescale gave \(3,\): it must return \[4\]"):
        RotaryEmbedding(8, 16, rescale=lambda frequencies: frequencies[1:])


def test_rescaled_frequencies_are_those_of_the_table():
    cos, sin = rope_table(100_000, 128, 5e5, rescale=half_speed)
    angles = 99_999 * rope_frequencies(128, 5e5) / 2
    torch.testing.assert_close(cos[-1].double(), angles.cos(), rtol=0, atol=1e-7)
    torch.testing.assert_close(sin[-1].double(), angles.sin(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.2302585])
def test_scale_lengthens_what_is_rotated_and_is_rounded_once(scale):
    x, rope = draw(2, 3, 50, 8).double(), RotaryEmbedding(8, 50, scale=scale)
    torch.testing.assert_close(rope(x), scale * RotaryEmbedding(8, 50)(x), rtol=1e-6, atol=1e-6)
    angles = torch.outer(torch.arange(50).double(), rope_frequencies(8))
    assert torch.equal(rope.table(torch.device("cpu"))[0], (scale * angles.cos()).float())


def test_a_changed_table_stays_float32_and_unsaved():
    x = draw(1, 2, 9, 8)
    rope = RotaryEmbedding(8, 32, rescale=half_speed, scale=1.1)
    expected = rope(x)
    assert not rope.state_dict() and torch.equal(rope.half()(x), expected)
    assert all(part.dtype == torch.float32 for part in rope.table(torch.device("cpu")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_a_cpu():
    x, positions = draw(2, 3, 7, 16), torch.arange(40, 47)
    rope = RotaryEmbedding(16, 64, rescale=half_speed, scale=1.1)
    for dtype in (torch.float32, torch.bfloat16):
        typed = x.to(dtype)
        there = rope(typed.cuda(), positions.cuda())
        assert there.is_cuda and there.dtype == dtype
        torch.testing.assert_close(there.cpu(), rope(typed, positions))


# ---------------------------------------------------------------- Layouts


def complex_rotation(x, base=10_000.0):
    """Neighboring features as complex numbers, as in Meta's released code; x [..., T, K], float64."""
    T, K = x.shape[-2:]
    angles = torch.outer(torch.arange(T).double(), base ** (-torch.arange(0, K, 2).double() / K))
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def gptj_rotation(x):
    """The rotation of GPT-J in transformers; x [B, H, T, K]."""
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    T, K = x.shape[-2:]
    sin, cos = gptj.create_sinusoidal_positions(T, K).chunk(2, dim=-1)
    return gptj.apply_rotary_pos_emb(x.transpose(1, 2), sin[None], cos[None]).transpose(1, 2)


@pytest.mark.parametrize("K", [2, 4, 6, 64])
def test_features_in_pairs_are_turned_like_those_of_gptj(K):
    x = draw(2, 3, 20, K)
    halves = pairs_to_halves(x.movedim(-1, 0), heads=1).movedim(0, -1)
    turned = RotaryEmbedding(K, 20)(halves)
    ours = halves_to_pairs(turned.movedim(-1, 0), heads=1).movedim(0, -1)
    torch.testing.assert_close(ours, gptj_rotation(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.double(), complex_rotation(x.double()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("H", "G", "K"), [(4, 2, 8), (3, 1, 6), (1, 1, 2)])
def test_converted_projections_give_the_scores_of_the_other_layout(H, G, K):
    x, D, rope = draw(2, 9, 12), 12, RotaryEmbedding(K, 9)
    weights = draw(H * K, D, seed=1), draw(G * K, D, seed=2)
    biases = draw(H * K, seed=3), draw(G * K, seed=4)
    scores = []
    for convert, turn in ((lambda rows, heads: rows, gptj_rotation), (pairs_to_halves, rope)):
        parts = []
        for weight, bias, heads in zip(weights, biases, (H, G), strict=True):
            projected = x @ convert(weight, heads).T + convert(bias, heads)
            parts.append(turn(projected.unflatten(-1, (heads, K)).transpose(1, 2)))
        scores.append(parts[0] @ parts[1].repeat_interleave(H // G, dim=1).mT)
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-4)


def test_conversion_is_the_permutation_of_transformers():
    """What `permute` does in transformers' converter of Llama weights, written down by a view."""
    weight = draw(3 * 8, 5)
    assert torch.equal(pairs_to_halves(weight, 3), weight.view(3, 4, 2, 5).transpose(1, 2).reshape(24, 5))
    assert pairs_to_halves(torch.arange(8), 1).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert halves_to_pairs(torch.arange(8), 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert pairs_to_halves(torch.arange(8), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("shape", [(24, 5), (24,), (24, 2, 3), (24, 0)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_both_conversions_undo_each_other_on_a_copy(shape, dtype):
    weight = draw(*shape).to(dtype)
    kept = weight.clone()
    for there, back in ((pairs_to_halves, halves_to_pairs), (halves_to_pairs, pairs_to_halves)):
        moved = there(weight, 3)
        assert moved.dtype == dtype and moved.is_contiguous()
        assert torch.equal(back(moved, 3), kept)
        moved.zero_()
        assert torch.equal(weight, kept)


def test_conversion_of_a_slice_and_its_gradient():
    weight = draw(5, 48)[:, ::2].T  # neither contiguous nor row by row
    assert torch.equal(pairs_to_halves(weight, 3), pairs_to_halves(weight.contiguous(), 3))
    leaf, upstream = draw(24, 5).requires_grad_(), draw(24, 5, seed=1)
    pairs_to_halves(leaf, 3).backward(upstream)
    assert torch.equal(leaf.grad, halves_to_pairs(upstream, 3))


@pytest.mark.parametrize("K", [2, 4])
def test_even_a_permutation_that_moves_nothing_is_a_copy(K):
    weight = draw(3 * K, 5)
    for convert in (pairs_to_halves, halves_to_pairs):
        convert(weight, 3).zero_()
        assert weight.abs().min() > 0


@pytest.mark.parametrize(("rows", "heads"), [(24, 5), (24, 0), (9, 3), (0, 1), (24, -2)])
def test_rows_that_are_no_heads_are_refused(rows, heads):
    for convert in (pairs_to_halves, halves_to_pairs):
        with pytest.raises(ValueError, match=f"{rows} rows are not {heads} heads"):
            convert(torch.zeros(rows, 2), heads)
