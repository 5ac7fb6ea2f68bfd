"""Attention against PyTorch's, float64 and brute force."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmbook.attention.causal import attention, causal_mask, fused_attention, quickest_attention, softmax

ALL = [attention, fused_attention, quickest_attention]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def qkv(T, S, K=8, V=8, dtype=torch.float32):
    return draw(2, 3, T, K, dtype=dtype), draw(2, 3, S, K, dtype=dtype, seed=1), draw(2, 3, S, V, dtype=dtype, seed=2)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_matches_torch(dim):
    x = draw(4, 5, 6, dtype=torch.float64) * 50
    torch.testing.assert_close(softmax(x, dim), torch.softmax(x, dim), rtol=1e-12, atol=0)


def test_softmax_survives_large_and_masked_scores():
    x = torch.tensor([1e30, 1e30, -math.inf, -1e30])
    assert softmax(x).tolist() == [0.5, 0.5, 0.0, 0.0]


def test_mask_is_aligned_to_the_last_key():
    for T, S in ((1, 1), (1, 5), (3, 3), (2, 5)):
        mask = causal_mask(T, S)
        assert mask.dtype == torch.bool
        assert mask.tolist() == [[s <= S - T + t for s in range(S)] for t in range(T)]


@pytest.mark.parametrize(("T", "S"), [(0, 3), (4, 3), (-1, 2)])
def test_mask_refuses_queries_without_keys(T, S):
    with pytest.raises(ValueError, match=f"T={T} queries to S={S} keys"):
        causal_mask(T, S)


@pytest.mark.parametrize("attend", ALL)
@pytest.mark.parametrize(("T", "S"), [(7, 7), (3, 7), (1, 7), (1, 1)])
@pytest.mark.parametrize("is_causal", [True, False])
def test_matches_torch_in_float64(attend, T, S, is_causal):
    q, k, v = qkv(T, S, V=5, dtype=torch.float64)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T) if is_causal else None
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attend(q, k, v, is_causal), expected, rtol=1e-10, atol=1e-12)


def test_more_queries_than_keys_need_no_mask():
    q, k, v = qkv(7, 3)
    expected = F.scaled_dot_product_attention(q, k, v)
    for attend in ALL:
        torch.testing.assert_close(attend(q, k, v, is_causal=False), expected)
        with pytest.raises(ValueError, match="T=7 queries to S=3 keys"):
            attend(q, k, v)


@pytest.mark.parametrize("attend", ALL)
def test_gradients_in_float64(attend):
    leaves = [x.requires_grad_() for x in qkv(3, 5, K=4, V=2, dtype=torch.float64)]
    if attend is attention:
        assert torch.autograd.gradcheck(attend, leaves)
    ours = torch.autograd.grad(attend(*leaves).square().sum(), leaves)
    theirs = torch.autograd.grad(
        F.scaled_dot_product_attention(*leaves, attn_mask=torch.ones(3, 5).tril(2).bool()).square().sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("attend", ALL)
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_stays_within_its_rounding(attend, autocast):
    q, k, v = qkv(65, 65, K=32, V=32)
    exact = attention(q.double(), k.double(), v.double())
    if autocast:
        with torch.autocast("cpu", torch.bfloat16):
            result = attend(q, k, v)
    else:
        result = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert (result.double() - exact).abs().max() < 0.05
    assert (result.double() - exact).abs().mean() < 0.004


@pytest.mark.parametrize("attend", ALL)
def test_views_and_plain_matrices(attend):
    q, k, v = (x.transpose(-3, -2) for x in (draw(2, 9, 3, 8), draw(2, 9, 3, 8, seed=1), draw(2, 9, 3, 8, seed=2)))
    torch.testing.assert_close(attend(q, k, v), attend(q.contiguous(), k.contiguous(), v.contiguous()))
    torch.testing.assert_close(attend(q[0, 0], k[0, 0], v[0, 0]), attend(q, k, v)[0, 0])


def test_quickest_chooses_by_dtype_and_length():
    q, k, v = (x.bfloat16() for x in qkv(9, 9))
    assert torch.equal(quickest_attention(q, k, v), attention(q, k, v))
    q, k, v = (draw(1, 1, T, 4, dtype=torch.bfloat16) for T in (2, 1025, 1025))
    assert torch.equal(quickest_attention(q, k, v), fused_attention(q, k, v))


@pytest.mark.parametrize("attend", ALL)
def test_shapes_that_do_not_fit(attend):
    q, k, v = qkv(4, 4)
    for wrong, rule in (((q[..., :7], k, v), "same width"), ((q, k, v[..., :3, :]), "one value per key"),
                        ((q[:1], k, v), "leading dimensions"), ((q[0], k, v), "leading dimensions"),
                        ((q, k[:, :1], v[:, :1]), "leading dimensions")):
        with pytest.raises(ValueError, match=rule):
            attend(*wrong)
