"""Attention against PyTorch's, float64 and brute force."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmbook.attention import causal
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
        F.scaled_dot_product_attention(*leaves, attn_mask=torch.ones(3, 5).tril(2).bool()).square().sum(), leaves
    )
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


def chosen(monkeypatch, T, S, dtype):
    """The name of the function that `quickest_attention` calls; nothing is computed."""
    for name in ("attention", "fused_attention"):
        monkeypatch.setattr(causal, name, lambda *_, name=name: name)
    q, k = (torch.zeros(1, dtype=dtype).expand(1, 1, n, 4) for n in (T, S))
    return quickest_attention(q, k, k)


@pytest.mark.parametrize(
    ("T", "S", "dtype", "name"),
    [
        (9, 9, torch.bfloat16, "attention"),
        (512, 512, torch.bfloat16, "attention"),
        (512, 513, torch.bfloat16, "fused_attention"),
        (1, 9000, torch.bfloat16, "attention"),
        (9, 9, torch.float32, "fused_attention"),
        (9, 9, torch.float16, "fused_attention"),
    ],
)
def test_quickest_chooses_by_dtype_and_number_of_scores(monkeypatch, T, S, dtype, name):
    assert chosen(monkeypatch, T, S, dtype) == name


@pytest.mark.parametrize("attend", ALL)
@pytest.mark.parametrize(("T", "S"), [(6, 6), (4, 6), (1, 6)])
def test_no_future_key_or_value_has_influence(attend, T, S):
    q, k, v = (x[0, 0] for x in qkv(T, S, dtype=torch.float64))
    for jacobian in torch.autograd.functional.jacobian(attend, (q, k, v))[1:]:
        found = jacobian.abs().sum((1, 3))
        assert found[~causal_mask(T, S)].eq(0).all()
        assert found[causal_mask(T, S)].gt(0).sum() >= int(causal_mask(T, S).sum()) - int(T == S)


def saved_bytes(attend, *inputs):
    """What the forward pass keeps for the backward pass, each storage once."""
    storages = {}

    def keep(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        kept_alive = attend(*inputs)
    assert kept_alive.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("leading", [(), (6,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize(("T", "S"), [(512, 512), (128, 512)])
def test_fused_stores_no_scores_whatever_the_number_of_dimensions(leading, T, S):
    q, k, v = (draw(*leading, n, 16).requires_grad_() for n in (T, S, S))
    H, mask = math.prod(leading), 0 if T == S else T * S * 4
    assert saved_bytes(fused_attention, q, k, v) <= H * ((2 * T + 2 * S) * 16 + T) * 4 + mask
    assert saved_bytes(attention, q, k, v) >= H * T * S * 4
    torch.testing.assert_close(fused_attention(q, k, v), attention(q, k, v))


def test_a_single_query_gets_no_mask(monkeypatch):
    monkeypatch.setattr(causal, "causal_mask", lambda *_: pytest.fail("a mask that hides nothing"))
    q, k, v = qkv(1, 7)
    torch.testing.assert_close(fused_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("attend", ALL)
@pytest.mark.parametrize(("T", "S"), [(0, 0), (0, 3), (1, 0)])
def test_nothing_to_ask_or_to_see(attend, T, S):
    with pytest.raises(ValueError, match=f"T={T} queries to S={S} keys"):
        attend(*qkv(T, S))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("attend", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("T", "S"), [(65, 65), (7, 65), (1, 65)])
def test_on_a_gpu(attend, dtype, T, S):
    q, k, v = (x.to("cuda", dtype) for x in qkv(T, S, K=64, V=64))
    exact = attention(q.double().cpu(), k.double().cpu(), v.double().cpu())
    assert (attend(q, k, v).cpu().double() - exact).abs().max() < (0.05 if dtype != torch.float32 else 0.01)


@pytest.mark.parametrize("attend", ALL)
def test_shapes_that_do_not_fit(attend):
    q, k, v = qkv(4, 4)
    for wrong, rule in (
        ((q[..., :7], k, v), "same width"),
        ((q, k, v[..., :3, :]), "one value per key"),
        ((q[:1], k, v), "leading dimensions"),
        ((q[0], k, v), "leading dimensions"),
        ((q, k[:, :1], v[:, :1]), "leading dimensions"),
    ):
        with pytest.raises(ValueError, match=rule):
            attend(*wrong)
