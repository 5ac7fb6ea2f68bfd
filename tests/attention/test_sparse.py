"""Windows, strides and rolling caches against brute force, Mistral's attention in transformers, and each other."""

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.architecture.transformer import Transformer
from llmbook.attention.cache import KVCache
from llmbook.attention.causal import attention, causal_mask, fused_attention
from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.rope import RotaryEmbedding
from llmbook.attention.sparse import SlidingWindow, WindowCache, _banded, _block_keys, strided_mask, window_mask
from llmbook.preliminaries.settings import ModelConfig


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def coin(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6


sizes = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda two: (two[0], sum(two)))  # T, S


@given(sizes=sizes, window=st.integers(1, 12), sinks=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_window_mask_is_brute_force(sizes, window, sinks):
    T, S = sizes
    rows = [[s <= p and (p - s < window or s < sinks) for s in range(S)] for p in range(S - T, S)]
    assert window_mask(T, S, window, sinks).tolist() == rows


@given(sizes=sizes, stride=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_strided_mask_is_brute_force(sizes, stride):
    T, S = sizes
    rows = [[s <= p and (p - s < stride or (p - s) % stride == 0) for s in range(S)] for p in range(S - T, S)]
    assert strided_mask(T, S, stride).tolist() == rows


def test_strided_mask_is_the_union_of_the_papers_two_heads():
    S, stride = 30, 5
    first = [[max(0, i - stride) <= j <= i for j in range(S)] for i in range(S)]
    second = [[j <= i and (i - j) % stride == 0 for j in range(S)] for i in range(S)]
    assert torch.equal(strided_mask(S, S, stride), torch.tensor(first) | torch.tensor(second))


def test_window_mask_is_that_of_transformers():
    masking = pytest.importorskip("transformers.masking_utils")
    inside = masking.sliding_window_causal_mask_function(3)
    expected = [[bool(inside(0, 0, torch.tensor(p), torch.tensor(s))) for s in range(8)] for p in range(8)]
    assert window_mask(8, 8, 3).tolist() == expected


@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(0, 30)).map(lambda two: (two[0], sum(two))),
    window=st.integers(1, 50),
    sinks=st.integers(0, 5),
    block=st.integers(1, 20),
    masked=st.sampled_from([None, (1,), (-1,), (1, -1), (2, 1, 1, -1), (2, 3, -2, -1), (-2, -1), (-2, 1)]),
)
@settings(max_examples=120, deadline=None)
def test_blocks_equal_the_mask(sizes, window, sinks, block, masked):
    T, S = sizes
    q, k, v = draw(2, 3, T, 4), draw(2, 3, S, 4, seed=1), draw(2, 3, S, 5, seed=2)
    mask = None
    if masked is not None:
        mask = coin(*({-1: S, -2: T}.get(size, size) for size in masked), seed=3)
    near = window_mask(T, S, window, sinks)
    expected = attention(q, k, v, mask=near if mask is None else near & mask)
    torch.testing.assert_close(_banded(q, k, v, window, sinks, attention, mask, block), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(SlidingWindow(window, sinks)(q, k, v, True, mask), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "T, S, window, sinks", [(300, 300, 7, 0), (257, 300, 50, 3), (64, 400, 64, 1), (1, 300, 5, 2), (200, 200, 300, 0)]
)
def test_exported_way_equals_the_mask(T, S, window, sinks):
    q, k, v = draw(1, 2, T, 8), draw(1, 2, S, 8, seed=1), draw(1, 2, S, 8, seed=2)
    expected = attention(q, k, v, mask=window_mask(T, S, window, sinks))
    for attend in (attention, fused_attention):
        torch.testing.assert_close(SlidingWindow(window, sinks, attend)(q, k, v), expected, rtol=1e-5, atol=1e-5)
    keys = coin(S, seed=4)
    masked = attention(q, k, v, mask=window_mask(T, S, window, sinks) & keys)
    torch.testing.assert_close(SlidingWindow(window, sinks)(q, k, v, mask=keys), masked, rtol=1e-5, atol=1e-5)


def test_blocks_compute_no_more_than_they_say():
    seen = []

    def spy(q, k, v, is_causal, mask=None):
        seen.append(q.shape[:-1].numel() * k.shape[-2])
        return attention(q, k, v, is_causal, mask)

    SlidingWindow(64, 2, spy)(*(draw(3, 1000, 4, seed=i) for i in range(3)))
    assert seen == [3 * 1024 * (2 + 64 + 64 - 1)]


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (2, 1, 3, 5, 4)])
def test_any_leading_dimensions(shape):
    q, k, v = (draw(*shape, seed=i) for i in range(3))
    expected = attention(q, k, v, mask=window_mask(5, 5, 2))
    torch.testing.assert_close(_banded(q, k, v, 2, 0, attention, None, 2), expected)
    torch.testing.assert_close(SlidingWindow(2)(q, k, v), expected)


def test_rows_that_are_heads_stand_at_the_last_position():
    q, k, v = draw(2, 3, 4, 8), draw(2, 3, 9, 8, seed=1), draw(2, 3, 9, 8, seed=2)
    for sinks in (0, 2):
        near = window_mask(1, 9, 3, sinks)
        expected = attention(q, k, v, False, near)
        torch.testing.assert_close(SlidingWindow(3, sinks)(q, k, v, False), expected)
        for mask in (coin(2, 1, 1, 9), coin(9), torch.tensor(True), coin(2, 1, 1, 1)):
            torch.testing.assert_close(SlidingWindow(3, sinks)(q, k, v, False, mask), attention(q, k, v, False, near & mask))


@pytest.mark.parametrize("T", [1, 6, 200])
def test_blind_queries_get_zeros(T):
    q, k, v = (draw(1, 1, n, 4, seed=n) for n in (T, 200, 200))
    for attend in (attention, fused_attention):
        mixed = SlidingWindow(4, attend=attend)(q, k, v, mask=torch.zeros(200, dtype=torch.bool))
        assert torch.equal(mixed, torch.zeros_like(q))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_dtypes(dtype, tolerance):
    q, k, v = (draw(1, 2, 200, 8, seed=i, dtype=dtype) for i in range(3))
    exact = attention(q.double(), k.double(), v.double(), mask=window_mask(200, 200, 20, 1))
    mixed = SlidingWindow(20, 1)(q, k, v)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.double(), exact, rtol=0, atol=tolerance)


def test_gradients_and_no_change_in_place():
    leaves = [draw(1, 2, 150, 4, seed=i, dtype=torch.float64).transpose(1, 2).contiguous().transpose(1, 2) for i in range(3)]
    assert not leaves[0].is_contiguous()
    gradients = []
    for attend in (SlidingWindow(9, 2, attention), lambda *x: attention(*x, mask=window_mask(150, 150, 9, 2))):
        inputs = [x.clone().requires_grad_() for x in leaves]
        before = [x.detach().clone() for x in inputs]
        attend(*inputs).square().sum().backward()
        assert all(torch.equal(x, old) for x, old in zip(inputs, before))
        gradients.append([x.grad for x in inputs])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs)


def test_inside_mistral():
    modeling = pytest.importorskip("transformers.models.mistral.modeling_mistral")
    config = modeling.MistralConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=5, max_position_embeddings=64, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = modeling.MistralModel(config).eval().requires_grad_(False)
    attention_of = theirs.layers[0].self_attn
    base = 10000.0
    ours = MultiHeadAttention(32, 4, 2, rotate=RotaryEmbedding(8, 64, base), attend=SlidingWindow(5)).requires_grad_(False)
    for name, part in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("out", "o_proj")):
        getattr(ours, name).weight.copy_(getattr(attention_of, part).weight)
    heard = {}
    attention_of.register_forward_hook(
        lambda module, args, kwargs, out: heard.update(x=kwargs["hidden_states"], y=out[0]), with_kwargs=True
    )
    ids = torch.randint(40, (2, 23), generator=torch.Generator().manual_seed(0))
    theirs(ids, use_cache=False)
    torch.testing.assert_close(ours(heard["x"]), heard["y"], rtol=1e-4, atol=1e-5)


def read_layer(layer, x, sizes, cache):
    with torch.no_grad():
        return torch.cat([layer(part, cache=cache) for part in x.split(sizes, dim=1)], dim=1)


@given(
    parts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    window=st.integers(1, 8),
    sinks=st.integers(0, 4),
    kv_heads=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=80, deadline=None)
def test_rolling_equals_uncached_for_every_split(parts, window, sinks, kv_heads):
    torch.manual_seed(0)
    plain = MultiHeadAttention(32, 4, kv_heads, rotate=RotaryEmbedding(8, 80))
    local = MultiHeadAttention(32, 4, kv_heads, rotate=RotaryEmbedding(8, 80), attend=SlidingWindow(window, sinks))
    local.load_state_dict(plain.state_dict())
    x = draw(2, sum(parts), 32)
    with torch.no_grad():
        whole = local(x)
    for layer in (plain, local):
        cache = WindowCache(2, kv_heads, window, 8, sinks=sinks)
        torch.testing.assert_close(read_layer(layer, x, parts, cache), whole, rtol=0, atol=1e-5)
        assert cache.length == sum(parts)
    growing = KVCache(2, kv_heads, sum(parts), 8)
    torch.testing.assert_close(read_layer(local, x, parts, growing), whole, rtol=0, atol=1e-5)


def test_whole_model_with_a_window():
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=50, context=24, width=32, layers=2, heads=4, kv_heads=2, init_std=0.2)
    model = Transformer(config, attend=SlidingWindow(3, 1)).requires_grad_(False)
    ids = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(1))
    whole = model(ids)
    assert not torch.allclose(whole, Transformer(config)(ids), atol=1e-2)
    for prefix in range(1, 12):
        caches = [WindowCache(2, 2, 3, 8, sinks=1) for _ in range(2)]
        parts = [model(ids[:, a:b], caches=caches) for a, b in ((0, prefix), *((t, t + 1) for t in range(prefix, 12)))]
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)


def test_memory_is_fixed_and_single_steps_copy_nothing():
    cache = WindowCache(2, 3, 4, 5, 6, torch.bfloat16, sinks=1)
    assert cache.nbytes == 2 * 3 * 5 * (5 + 6) * 2
    places = (cache.memory.keys.data_ptr(), cache.memory.values.data_ptr())
    for t in range(12):
        k, v = cache(torch.full((2, 3, 1, 5), t).bfloat16(), torch.full((2, 3, 1, 6), t).bfloat16())
        assert (k.data_ptr(), v.data_ptr()) == places and cache.mask is None
        expected = {s for s in range(t + 1) if t - s < 4 or s < 1}
        assert set(k[0, 0, :, 0].tolist()) == set(v[1, 2, :, 0].tolist()) == expected and k.shape[-2] == len(expected)


def test_several_at_once_come_in_order():
    cache, numbers = WindowCache(1, 1, 3, 1, sinks=2), torch.arange(20.0).view(1, 1, 20, 1)
    for a, b, seen in (
        (0, 2, [0, 1]),
        (2, 3, [0, 1, 2]),
        (3, 9, [*range(9)]),
        (9, 11, [0, 1, 7, 8, 9, 10]),
        (11, 20, [0, 1, *range(9, 20)]),
    ):
        k, _ = cache(numbers[:, :, a:b], numbers[:, :, a:b])
        assert k.flatten().tolist() == seen
        if cache.mask is not None:
            assert cache.mask.shape == (1, 1, b - a, len(seen))


def test_rows_and_length():
    cache, k = WindowCache(3, 1, 2, 1, sinks=1), draw(3, 1, 5, 1)
    cache(k[:, :, :2], k[:, :, :2])
    cache.truncate(1)
    assert cache.length == 1
    assert torch.equal(cache(k[:, :, 1:2], k[:, :, 1:2])[0], k[:, :, :2])
    for t in range(2, 5):
        cache(k[:, :, t : t + 1], k[:, :, t : t + 1])
    cache.select([2, 0, 0, 1])
    more = draw(4, 1, 1, 1, seed=1)
    keys, _ = cache(more, more)
    expected = torch.cat([k[[2, 0, 0, 1]][:, :, [0, 4]], more], 2)
    assert torch.equal(keys.sort(2).values, expected.sort(2).values) and cache.length == 6
    cache.truncate(6)
    assert cache(more[:, :, :0], more[:, :, :0])[0].shape[-2] == 3 and cache.length == 6


def test_inference_mode_and_gradients():
    k = draw(1, 1, 3, 2)
    with torch.inference_mode():
        cache = WindowCache(1, 1, 2, 2)
        cache(k, k)
    with torch.no_grad():
        cache(k[:, :, :1], k[:, :, :1])
    with pytest.raises(ValueError, match="with a gradient"):
        cache(k.clone().requires_grad_(), k)


def test_messages():
    q, k = draw(1, 1, 200, 4), draw(1, 1, 200, 4)
    full = WindowCache(1, 1, 2, 1)
    full(draw(1, 1, 3, 1), draw(1, 1, 3, 1))
    local = SlidingWindow(3)
    for call, message in (
        (lambda: window_mask(3, 3, 0), "window=0: a token sees at least itself"),
        (lambda: window_mask(3, 3, 1, -1), "sinks=-1"),
        (lambda: window_mask(4, 3, 1), "T=4 queries to S=3 keys"),
        (lambda: strided_mask(3, 3, 0), "stride=0"),
        (lambda: strided_mask(4, 3, 1), "T=4 queries to S=3 keys"),
        (lambda: SlidingWindow(0), "window=0"),
        (lambda: SlidingWindow(1, -2), "sinks=-2"),
        (lambda: WindowCache(1, 1, 0, 4), "window=0"),
        (lambda: WindowCache(1, -1, 2, 4), "negative"),
        (lambda: full.truncate(2), "length 2: this cache holds 2 of its 3 positions and cannot go back"),
        (lambda: WindowCache(1, 1, 2, 1).truncate(1), "length 1: this cache holds 0"),
        (lambda: full(draw(1, 1, 1, 2), draw(1, 1, 1, 1)), r"keys \(1, 1, 1, 2\)"),
        (lambda: local(q, k, k[:, :, :100]), "one value per key"),
        (lambda: local(q, k[:, :, :100], k[:, :, :100]), "T=200 queries to S=100"),
        (lambda: local(q, k.expand(2, 1, 200, 4), k), "same leading dimensions"),
        (lambda: local(q, k[..., :3], k), "same width"),
        (lambda: local(q, k, k, True, torch.ones(3, 3, dtype=torch.bool)), r"mask torch.bool \(3, 3\): give a boolean one"),
        (lambda: local(q, k, k, True, torch.ones(200)), "mask torch.float32"),
        (lambda: local(q[:, :, :1], k, k, False, torch.ones(199, dtype=torch.bool)), r"\(199,\)"),
        (lambda: local(q, k, k, True, torch.ones(1, 1, 1, 1, 200, dtype=torch.bool)), r"\(1, 1, 1, 1, 200\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_empty_queries_and_batches():
    assert SlidingWindow(2)(draw(1, 2, 0, 4), draw(1, 2, 5, 4), draw(1, 2, 5, 4), False).shape == (1, 2, 0, 4)
    assert SlidingWindow(2)(draw(0, 200, 4), draw(0, 200, 4), draw(0, 200, 4)).shape == (0, 200, 4)


def test_every_key_of_a_block_is_one_that_some_query_may_need():
    queries, keys, visible = _block_keys(10, 12, 3, 0, 4, torch.device("cpu"))
    assert queries.shape == (3, 4) and keys.shape == (3, 6) and visible.shape == (3, 4, 6)
    assert visible.any(1).sum() >= keys.numel() - 6 and visible.sum(-1).max() == 3


def test_compiles_without_a_break():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    local, x = SlidingWindow(8, 1, attention), [draw(1, 2, 150, 4, seed=i) for i in range(3)]
    compiled = torch.compile(local, backend=counter, fullgraph=True)
    torch.testing.assert_close(compiled(*x), local(*x))
    assert counter.frame_count == 1
    assert torch.equal(torch.compile(window_mask, backend="eager", fullgraph=True)(3, 9, 2, 1), window_mask(3, 9, 2, 1))
    assert torch.equal(torch.compile(strided_mask, backend="eager", fullgraph=True)(9, 9, 20), causal_mask(9, 9))
