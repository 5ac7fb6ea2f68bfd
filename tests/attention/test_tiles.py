"""Attention in tiles against PyTorch's, float64, brute force and finite differences."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from llmbook.attention import tiles
from llmbook.attention.causal import attention, causal_mask
from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.tiles import tiled_attention

TILES = [(1, 1), (2, 3), (5, 2), (4, 4), (64, 64)]
SHAPES = [(7, 7), (3, 7), (1, 7), (1, 1), (8, 8), (2, 9)]


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def qkv(T, S, K=8, V=5, dtype=torch.float64, leading=(2, 3)):
    return [draw(*leading, n, K, dtype=dtype, seed=seed) for seed, (n, K) in enumerate(((T, K), (S, K), (S, V)))]


def expected(q, k, v, visible):
    """PyTorch's own, with zeros where a query sees nothing; `visible` is [..., T, S]."""
    sees = visible.any(-1, keepdim=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible | ~sees) * sees


def some_mask(*shape, share=0.5):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share


def gradients(output, leaves):
    return torch.autograd.grad(output, leaves, draw(*output.shape, seed=9).to(output.dtype))


def same(ours, theirs, **options):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **options)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("is_causal", [True, False])
def test_matches_torch_forward_and_backward(T, S, is_causal, tile):
    leaves = [x.requires_grad_() for x in qkv(T, S)]
    visible = causal_mask(T, S) if is_causal else torch.ones(T, S, dtype=torch.bool)
    ours, theirs = tiled_attention(*leaves, is_causal, tile=tile), expected(*leaves, visible)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    same(gradients(ours, leaves), gradients(theirs, leaves), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(ours, attention(*leaves, is_causal), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tile", [(2, 3), (64, 64)])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 1, 5, 7), (5, 7), (3, 1, 7), (7,), (), (5, 1), (2, 1, 1, 7), (1, 1, 5, 1)])
@pytest.mark.parametrize("is_causal", [True, False])
def test_masks_of_every_shape(shape, is_causal, tile):
    leaves, mask = [x.requires_grad_() for x in qkv(5, 7)], some_mask(*shape)
    visible = mask.expand(2, 3, 5, 7) & (causal_mask(5, 7) if is_causal else True)
    ours, theirs = tiled_attention(*leaves, is_causal, mask, tile=tile), expected(*leaves, visible)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    same(gradients(ours, leaves), gradients(theirs, leaves), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("tile", [(2, 3), (64, 64)])
def test_a_query_that_sees_nothing_gets_zeros_and_gives_no_gradient(tile):
    q, k, v = (x.requires_grad_() for x in qkv(5, 7))
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[1], mask[:, 2] = False, False
    output = tiled_attention(q, k, v, False, mask, tile=tile)
    dq, dk, dv = gradients(output, (q, k, v))
    assert output[..., 1, :].eq(0).all() and output[..., 0, :].ne(0).all()
    assert dq[..., 1, :].eq(0).all() and dk[..., 2, :].eq(0).all() and dv[..., 2, :].eq(0).all()
    assert all(x.isfinite().all() for x in (dq, dk, dv))
    nothing = tiled_attention(q, k, v, False, torch.tensor(False), tile=tile)
    assert nothing.eq(0).all() and all(x.eq(0).all() for x in gradients(nothing, (q, k, v)))


@pytest.mark.parametrize("tile", [(1, 2), (3, 2), (9, 9)])
@pytest.mark.parametrize("is_causal", [True, False])
def test_gradcheck(tile, is_causal):
    leaves = [x.requires_grad_() for x in qkv(4, 5, K=3, V=2, leading=(2,))]
    mask = some_mask(2, 4, 5, share=0.7)
    assert torch.autograd.gradcheck(lambda *x: tiled_attention(*x, is_causal, tile=tile), leaves)
    assert torch.autograd.gradcheck(lambda *x: tiled_attention(*x, is_causal, mask, tile=tile), leaves)


@pytest.mark.parametrize("leading", [(), (1,), (6,), (1, 2, 3), (0,), (2, 0)])
def test_any_leading_dimensions(leading):
    leaves = [x.requires_grad_() for x in qkv(5, 6, leading=leading)]
    ours, theirs = tiled_attention(*leaves, tile=(2, 4)), expected(*leaves, causal_mask(5, 6))
    assert ours.shape == (*leading, 5, 5)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    same(gradients(ours, leaves), gradients(theirs, leaves), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("T", "S"), [(0, 4), (4, 0), (0, 0)])
def test_nothing_to_ask_or_to_see(T, S):
    leaves = [x.requires_grad_() for x in qkv(T, S)]
    output = tiled_attention(*leaves, is_causal=False)
    assert output.shape == (2, 3, T, 5) and output.eq(0).all()
    assert all(dx.shape == x.shape and dx.eq(0).all() for dx, x in zip(gradients(output, leaves), leaves, strict=True))
    with pytest.raises(ValueError, match=f"T={T} queries to S={S} keys"):
        tiled_attention(*leaves)


def test_many_tiles_of_the_default_size():
    leaves = [x.requires_grad_() for x in qkv(300, 700, K=4, V=4, leading=(2,))]
    ours, theirs = tiled_attention(*leaves), expected(*leaves, causal_mask(300, 700))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    same(gradients(ours, leaves), gradients(theirs, leaves), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_extreme_scores(dtype, order):
    """Scores from -10,000 to 10,000, the largest in the last tile, in the first, or anywhere."""
    T, K = 40, 4
    scores = torch.linspace(-1e4, 1e4, T, dtype=torch.float64)
    mixed = torch.randperm(T, generator=torch.Generator().manual_seed(0))
    scores = {"rising": scores, "falling": scores.flip(0), "mixed": scores[mixed]}[order]
    q, k = torch.zeros(T, K, dtype=dtype), torch.zeros(T, K, dtype=dtype)
    q[:, 0], k[:, 0] = math.sqrt(K), scores.to(dtype)
    leaves = [q.requires_grad_(), k.requires_grad_(), draw(T, 3, dtype=dtype).requires_grad_()]
    ours, theirs = tiled_attention(*leaves, tile=(7, 6)), attention(*(x.double() for x in leaves))
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)
    assert all(x.isfinite().all() for x in gradients(ours, leaves))


@pytest.mark.parametrize("fill", [-1e4, 1e4, -3e38])
def test_rows_of_equal_extreme_scores_are_means(fill):
    v = draw(9, 2, dtype=torch.float32)
    output = tiled_attention(torch.ones(1, 1), torch.full((9, 1), fill), v, False, tile=(1, 2))
    torch.testing.assert_close(output, v.mean(0, keepdim=True))


def test_what_is_not_a_number_stays_visible():
    q, k, v = qkv(3, 3, leading=())
    k[1, 0] = torch.nan
    assert tiled_attention(q, k, v, tile=(2, 1)).isnan().any(-1).tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_only_what_it_returns(dtype):
    leaves = [x.requires_grad_() for x in qkv(65, 65, K=32, V=32, dtype=dtype)]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    ours, theirs = tiled_attention(*leaves, tile=(16, 8)), attention(*exact)
    assert ours.dtype == dtype
    error = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), theirs, rtol=0.6 * error, atol=1e-6)
    upstream = draw(*ours.shape, seed=9).to(dtype)
    found = torch.autograd.grad(ours, leaves, upstream)
    for a, b in zip(found, torch.autograd.grad(theirs, exact, upstream.double()), strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=error, atol=2 * error)


def test_dtypes_may_differ():
    q, k, v = (x.requires_grad_() for x in qkv(6, 6, dtype=torch.float32))
    narrow = [x.detach().bfloat16().requires_grad_() for x in (k, v)]
    output = tiled_attention(q, *narrow)
    torch.testing.assert_close(output, attention(q, *(x.float() for x in narrow)))
    assert [x.dtype for x in gradients(output, (q, *narrow))] == [torch.float32, torch.bfloat16, torch.bfloat16]


def test_autocast_does_not_round_the_tiles():
    leaves = [x.requires_grad_() for x in qkv(9, 9, dtype=torch.float32)]
    plain = tiled_attention(*leaves)
    with torch.autocast("cpu", torch.bfloat16):
        cast = tiled_attention(*leaves)
        assert torch.equal(cast, plain)
        same(gradients(cast, leaves), gradients(plain, leaves), rtol=0, atol=0)


def test_views_and_inputs_stay_as_they_are():
    leaves = [draw(2, 9, 3, 8, seed=seed).transpose(-3, -2).requires_grad_() for seed in range(3)]
    solid = [x.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for x in leaves]
    mask, before = some_mask(9, 9).T, some_mask(9, 9).T.clone()
    ours, theirs = (tiled_attention(*x, True, mask, tile=(4, 2)) for x in (leaves, solid))
    torch.testing.assert_close(ours, theirs)
    same(gradients(ours, leaves), gradients(theirs, solid))
    assert torch.equal(mask, before) and all(torch.equal(a, b) for a, b in zip(leaves, solid, strict=True))


def test_an_expanded_gradient():
    leaves = [x.requires_grad_() for x in qkv(5, 5)]
    same(torch.autograd.grad(tiled_attention(*leaves).sum(), leaves), torch.autograd.grad(attention(*leaves).sum(), leaves))


def test_only_some_inputs_need_gradients():
    q, k, v = qkv(5, 5)
    tiled_attention(q, k.requires_grad_(), v).sum().backward()
    assert k.grad is not None and q.grad is None and v.grad is None
    assert not tiled_attention(*qkv(2, 2)).requires_grad


def test_it_can_be_differentiated_once():
    leaves = [x.requires_grad_() for x in qkv(3, 3)]
    first = torch.autograd.grad(tiled_attention(*leaves).square().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first[0].sum().backward()


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (5, 2), (20, 20)])
@pytest.mark.parametrize("share", [None, 0.05, 0.95])
def test_visible_tiles_against_brute_force(size, share):
    T, S = 7, 11
    for past in (S - T, None):
        whole = causal_mask(T, S) if past is not None else torch.ones(T, S, dtype=torch.bool)
        mask = None if share is None else some_mask(2, 1, T, S, share=share)
        whole = whole if mask is None else whole & mask
        for rows, columns in itertools.product(tiles._tiles(T, size[0]), tiles._tiles(S, size[1])):
            found = tiles._visible(rows, columns, past, mask, torch.device("cpu"))
            exact = whole[..., rows, columns]
            assert torch.equal(torch.as_tensor(found).expand(exact.shape), exact)
            if mask is None:
                assert (found is False, found is True) == (not exact.any(), bool(exact.all()))


def count_scores(monkeypatch, call):
    """How many scores are computed, forward and backward."""
    sizes, compute = [], tiles._scores

    def counted(q, k, visible, leading):
        sizes.append(q.shape[-2] * k.shape[-2])
        return compute(q, k, visible, leading)

    monkeypatch.setattr(tiles, "_scores", counted)
    call().sum().backward()
    return sum(sizes)


def test_tiles_of_the_future_and_hidden_tiles_are_skipped(monkeypatch):
    leaves = [x.requires_grad_() for x in qkv(32, 32, leading=())]
    assert count_scores(monkeypatch, lambda: tiled_attention(*leaves, False, tile=(4, 4))) == 2 * 1024
    assert count_scores(monkeypatch, lambda: tiled_attention(*leaves, tile=(4, 4))) == 2 * 16 * 36
    window = torch.ones(32, 32, dtype=torch.bool).triu(-3)
    assert count_scores(monkeypatch, lambda: tiled_attention(*leaves, True, window, tile=(4, 4))) == 2 * 16 * 15


def allocated(call):
    """The most bytes that PyTorch's allocator has given out at one time, as its profiler saw."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def test_memory_grows_with_the_length_not_with_its_square():
    peaks = []
    for T in (512, 1024):
        leaves = [x.requires_grad_() for x in qkv(T, T, K=16, V=16, dtype=torch.float32, leading=(1,))]
        peaks.append(allocated(lambda leaves=leaves: tiled_attention(*leaves, tile=(64, 64)).sum().backward()))
    assert peaks[1] < 2.1 * peaks[0] and peaks[1] < 1024 * 16 * 4 * 6 + 64 * 64 * 4 * 5
    assert peaks[1] < 1024 * 1024 * 4 / 5


def test_the_forward_pass_keeps_no_scores():
    kept = {}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    leaves = [x.requires_grad_() for x in qkv(300, 300, K=16, V=16, dtype=torch.float32)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = tiled_attention(*leaves)
    assert output.requires_grad and sum(kept.values()) == 6 * 300 * 4 * (4 * 16 + 1)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_in_a_layer(kv_heads):
    torch.manual_seed(0)
    x, layer = draw(2, 7, 16), MultiHeadAttention(16, 4, kv_heads).double()
    theirs = layer(x)
    layer.attend = tiled_attention
    torch.testing.assert_close(layer(x), theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer(x[:, :1]), theirs[:, :1], rtol=1e-10, atol=1e-12)


def test_a_compiler_can_record_it():
    leaves = [x.requires_grad_() for x in qkv(6, 6, dtype=torch.float32)]
    compiled = torch.compile(lambda *x: tiled_attention(*x, True, some_mask(6, 6), tile=(4, 4)), backend="eager")
    ours, theirs = compiled(*leaves), tiled_attention(*leaves, True, some_mask(6, 6), tile=(4, 4))
    torch.testing.assert_close(ours, theirs)
    same(gradients(ours, leaves), gradients(theirs, leaves))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu(dtype):
    leaves = [x.to("cuda", dtype).requires_grad_() for x in qkv(65, 130, K=64, V=64)]
    exact = [x.detach().cpu().double().requires_grad_() for x in leaves]
    mask = some_mask(65, 130)
    ours, theirs = (tiled_attention(*x, True, mask.to(x[0].device), tile=(32, 48)) for x in (leaves, exact))
    assert (ours.cpu().double() - theirs).abs().max() < 0.01
    found, wanted = torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(theirs.sum(), exact)
    for a, b in zip(found, wanted, strict=True):
        assert (a.cpu().double() - b).abs().max() < 0.1


def test_shapes_that_do_not_fit():
    q, k, v = qkv(4, 4)
    for wrong, rule in (
        ((q[..., :7], k, v), "same width"),
        ((q, k, v[..., :3, :]), "one value per key"),
        ((q[:1], k, v), "leading dimensions"),
        ((q[0], k, v), "leading dimensions"),
        ((q[0, 0, 0], k[0, 0, 0], v[0, 0, 0]), "leading dimensions"),
        ((q, k[..., :3, :], v[..., :3, :]), "T=4 queries to S=3 keys"),
        ((q.long(), k.long(), v.long()), "torch.int64, torch.int64, torch.int64: needs floating-point"),
    ):
        with pytest.raises(ValueError, match=rule):
            tiled_attention(*wrong)


@pytest.mark.parametrize("tile", [(0, 4), (4, -1), (4,), (1, 2, 3)])
def test_tiles_that_are_none(tile):
    with pytest.raises(ValueError, match="give two numbers from 1"):
        tiled_attention(*qkv(4, 4), tile=tile)


def test_masks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"a mask of torch.float32: needs booleans"):
        tiled_attention(*qkv(4, 4), mask=torch.zeros(4, 4))
    for shape in ((4, 3), (3, 4), (2, 2, 4, 4), (5, 2, 3, 4, 4)):
        with pytest.raises(ValueError, match=r"a mask .* for scores \(2, 3, 4, 4\)"):
            tiled_attention(*qkv(4, 4), mask=torch.ones(shape, dtype=torch.bool))
