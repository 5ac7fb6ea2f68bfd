"""Rotary positions against transformers, complex numbers and float64."""

import pytest
import torch

from llmbook.attention.rope import RotaryEmbedding, rope_frequencies, rope_table, rotate


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("base", [100.0, 10_000.0, 500_000.0])
def test_matches_transformers(base):
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=128,
                                      rope_parameters={"rope_type": "default", "rope_theta": base})
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
    assert frequencies.dtype == torch.float32 and frequencies.shape == (32,)
    torch.testing.assert_close(frequencies.double(), 10_000.0 ** (-torch.arange(32).double() / 32), rtol=1e-6, atol=0)
    cos, sin = rope_table(200_000, 8)
    torch.testing.assert_close(cos**2 + sin**2, torch.ones(200_000, 4))
    torch.testing.assert_close(cos[:, 0].double(), torch.arange(200_000).double().cos(), rtol=0, atol=1e-7)


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
    rope(x.requires_grad_()).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(("call", "message"), [
    (lambda: rope_frequencies(7), "head width 7"), (lambda: rope_frequencies(0), "head width 0"),
    (lambda: rope_frequencies(8, 1.0), "base 1.0"), (lambda: rope_frequencies(8, float("nan")), "base nan"),
    (lambda: rope_table(0, 8), "context 0"), (lambda: RotaryEmbedding(9, 32), "head width 9")])
def test_impossible_tables(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("T", "positions", "message"), [
    (17, None, "17 tokens exceed the context of 16"), (2, [15, 16], "position 16 lies outside 0 .. 15"),
    (2, [-1, 0], "position -1 lies outside"), (2, [1, 2, 3], "T=2"), (2, [0.0, 1.0], "float32")])
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
