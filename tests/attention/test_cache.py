"""KVCache: what it returns, holds, forgets and refuses, and that no split of a text changes a logit."""

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.architecture.transformer import Transformer
from llmbook.attention.cache import KVCache, kv_cache_bytes
from llmbook.attention.causal import attention
from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.rope import RotaryEmbedding
from llmbook.preliminaries.settings import ModelConfig

SMALL = ModelConfig(vocab_size=50, context=24, width=32, layers=2, heads=4, kv_heads=2)


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def build_model(**changes):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**(vars(SMALL) | {"init_std": 0.2} | changes)))
    return model.requires_grad_(False)


def build_caches(model, batch, capacity=24, **options):
    config = model.config
    shape = (batch, config.kv_heads or config.heads, capacity, config.width // config.heads)
    return [KVCache(*shape, **options) for _ in range(config.layers)]


def cat_oracle(parts):
    return torch.cat(parts, dim=-2)


@given(sizes=st.lists(st.integers(0, 4), max_size=6), shape=st.tuples(*[st.integers(1, 3)] * 4))
@settings(max_examples=60, deadline=None)
def test_equals_concatenation(sizes, shape):
    B, G, K, V = shape
    cache = KVCache(B, G, sum(sizes), K, V)
    held = (cache.keys.data_ptr(), cache.values.data_ptr())
    parts = [(draw(B, G, T, K, seed=i), draw(B, G, T, V, seed=-i)) for i, T in enumerate(sizes)]
    for i, (k, v) in enumerate(parts):
        before = k.clone(), v.clone()
        keys, values = cache(k, v)
        assert torch.equal(keys, cat_oracle([k for k, _ in parts[: i + 1]]))
        assert torch.equal(values, cat_oracle([v for _, v in parts[: i + 1]]))
        assert cache.length == keys.shape[-2] == sum(sizes[: i + 1])
        assert torch.equal(k, before[0]) and torch.equal(v, before[1])
        assert keys.numel() == 0 or (keys.data_ptr(), values.data_ptr()) == held
    assert cache.mask is None
    assert (cache.keys.data_ptr(), cache.values.data_ptr()) == held


def test_earlier_views_stay_valid():
    cache, (k, v) = KVCache(1, 1, 4, 2), (draw(1, 1, 3, 2), draw(1, 1, 3, 2, seed=1))
    first, _ = cache(k, v)
    kept = first.clone()
    cache(draw(1, 1, 1, 2, seed=2), draw(1, 1, 1, 2, seed=3))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_and_bytes(dtype):
    cache = KVCache(2, 3, 5, 4, 6, dtype)
    k, v = cache(draw(2, 3, 5, 4, dtype=dtype), draw(2, 3, 5, 6, dtype=dtype))
    assert k.dtype == v.dtype == dtype
    assert cache.nbytes == 2 * 3 * 5 * (4 + 6) * dtype.itemsize
    assert cache.nbytes == sum(x.untyped_storage().nbytes() for x in (cache.keys, cache.values))
    assert KVCache(1, 1, 1, 1).keys.dtype == torch.get_default_dtype()


def test_formula_equals_the_bytes_of_a_model():
    model = build_model()
    caches = build_caches(model, 3, dtype=torch.bfloat16)
    assert kv_cache_bytes(2, 2, 24, 8, batch=3) == sum(cache.nbytes for cache in caches)
    single = build_caches(model, 1, dtype=torch.float32)
    assert kv_cache_bytes(2, 2, 24, 8, bytes_per_number=4) == sum(cache.nbytes for cache in single)
    # Llama 3.1 8B: 128 KiB per token, 16 GiB at its full context of 131,072
    assert kv_cache_bytes(32, 8, 1, 128) == 128 * 2**10
    assert kv_cache_bytes(32, 8, 2**17, 128) == 16 * 2**30


def test_non_contiguous_input():
    k = draw(2, 5, 3, 4).transpose(1, 2)
    cache = KVCache(2, 3, 5, 4)
    keys, _ = cache(k, k)
    assert not k.is_contiguous() and torch.equal(keys, k)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layer_is_the_same_for_every_prefix_split(kv_heads, dtype):
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 4, kv_heads, rotate=RotaryEmbedding(8, 9)).to(dtype).requires_grad_(False)
    x = draw(2, 9, 32, dtype=dtype)
    whole = layer(x)
    for prefix in range(10):
        cache = KVCache(2, kv_heads, 9, 8, dtype=dtype)
        parts = [layer(x[:, :prefix], cache=cache)] if prefix else []
        parts += [layer(x[:, t : t + 1], cache=cache) for t in range(prefix, 9)]
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=tolerance)


@pytest.mark.parametrize("changes", [{}, {"positions": "learned", "norm": "layer", "feed_forward": "gelu"}, {"kv_heads": 1}])
def test_logits_are_the_same_for_every_prefix_split(changes):
    model = build_model(**changes)
    ids = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(1))
    whole = model(ids)
    for prefix in range(1, 12):
        caches = build_caches(model, 2)
        parts = [model(ids[:, :prefix], caches=caches), model(ids[:, prefix:], caches=caches)]
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)
        assert {cache.length for cache in caches} == {12}


@given(cuts=st.sets(st.integers(1, 11)))
@settings(max_examples=15, deadline=None)
def test_logits_are_the_same_for_every_split(cuts):
    model = build_model()
    ids = torch.randint(50, (1, 12), generator=torch.Generator().manual_seed(2))
    caches, edges = build_caches(model, 1), [0, *sorted(cuts), 12]
    parts = [model(ids[:, a:b], caches=caches) for a, b in zip(edges, edges[1:])]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_padded_rows_equal_rows_alone(positions):
    model = build_model(positions=positions)
    texts = [torch.randint(50, (1, n), generator=torch.Generator().manual_seed(n)) for n in (7, 3, 1)]
    padding = torch.tensor([0, 4, 6])
    ids = torch.stack([torch.cat([torch.zeros(p, dtype=torch.int64), text[0]]) for p, text in zip(padding.tolist(), texts)])
    caches = build_caches(model, 3, padding=padding)
    new = torch.randint(50, (3, 2), generator=torch.Generator().manual_seed(9))
    first = model(ids, caches[0].positions(7), caches)
    steps = [model(new[:, t : t + 1], caches[0].positions(1), caches) for t in range(2)]
    assert caches[0].mask.shape == (3, 1, 1, 9)
    for row, text in enumerate(texts):
        alone = model(torch.cat([text, new[row : row + 1]], 1))[0]
        batched = torch.cat([first[row], *(step[row] for step in steps)])[padding[row] :]
        torch.testing.assert_close(batched, alone, rtol=0, atol=1e-5)


def test_positions_and_mask_of_padding():
    cache = KVCache(3, 1, 6, 2, padding=torch.tensor([0, 2, 6]))
    assert cache.mask.shape == (3, 1, 1, 0)
    assert cache.positions(4).tolist() == [[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 0, 0]]
    cache(draw(3, 1, 4, 2), draw(3, 1, 4, 2))
    assert cache.mask[:, 0, 0].int().tolist() == [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert cache.positions(2).tolist() == [[4, 5], [2, 3], [0, 0]]
    cache.truncate(3)
    assert cache.mask.shape == (3, 1, 1, 3) and cache.positions(1).tolist() == [[3], [1], [0]]
    cache.select(torch.tensor([False, True, True]))
    assert cache.mask[:, 0, 0].int().tolist() == [[0, 0, 1], [0, 0, 0]]
    assert KVCache(1, 1, 3, 1).positions(2).tolist() == [0, 1]


def test_a_mask_may_be_set():
    cache = KVCache(2, 1, 4, 2)
    cache.mask = torch.tensor([True, False, True, True]).expand(1, 1, 1, 4)
    cache(draw(2, 1, 2, 2), draw(2, 1, 2, 2))
    assert cache.mask.tolist() == [[[[True, False]]]]
    assert cache.positions(2).tolist() == [[1, 2]]
    cache.select([1])
    assert cache.mask.tolist() == [[[[True, False]]]]
    cache.mask = None
    assert cache.mask is None


def test_truncate_forgets():
    cache = KVCache(1, 2, 5, 3)
    k = draw(1, 2, 5, 3)
    cache(k, k)
    cache.truncate(2)
    other = draw(1, 2, 2, 3, seed=5)
    keys, _ = cache(other, other)
    assert torch.equal(keys, torch.cat([k[:, :, :2], other], 2))
    cache.truncate(0)
    assert cache(other, other)[0].shape[-2] == 2


@pytest.mark.parametrize(
    "rows", [[2, 0, 1], [1], [0, 0, 2, 1, 1], [2, 2, 2], [], torch.tensor([1, 0]), torch.tensor([True, False, True])]
)
def test_select_equals_indexing(rows):
    k, v, more = draw(3, 2, 4, 5), draw(3, 2, 4, 6, seed=1), draw(3, 2, 1, 5, seed=2)
    cache = KVCache(3, 2, 6, 5, 6)
    cache(k, v)
    memory = cache.keys.data_ptr()
    cache.select(rows)
    index = torch.as_tensor(rows) if len(rows) else torch.zeros(0, dtype=torch.int64)
    index = index.nonzero()[:, 0] if index.dtype == torch.bool else index
    keys, values = cache(more[index], draw(3, 2, 1, 6, seed=3)[index])
    assert torch.equal(keys, torch.cat([k, more], 2)[index])
    assert torch.equal(values[:, :, :4], v[index])
    assert cache.capacity == 6 and cache.keys.is_contiguous()
    assert (cache.keys.data_ptr() == memory) == (len(index) == 3)


def test_inference_mode_inside_and_outside():
    k = draw(1, 1, 1, 2)
    with torch.inference_mode():
        inside = KVCache(1, 1, 3, 2)
        inside(k, k)
        inside.select([0, 0])
    with torch.no_grad():
        both = torch.cat([k, k])
        assert inside(both, both)[0].shape == (2, 1, 2, 2)  # allocated in one mode, used in another
    with torch.inference_mode():
        assert inside(torch.cat([k, k]), torch.cat([k, k]))[0].shape == (2, 1, 3, 2)


def test_gradients_are_refused_and_constants_are_not():
    cache, k = KVCache(1, 1, 3, 2), draw(1, 1, 1, 2)
    for pair in ((k.clone().requires_grad_(), k), (k, k.clone().requires_grad_())):
        with pytest.raises(ValueError, match="with a gradient.*no_grad"):
            cache(*pair)
        with torch.no_grad():
            cache(*pair)
    assert cache.length == 2 and not cache.keys.requires_grad
    cache(k, k)
    # a constant past is fine: gradients of queries flow through remembered keys
    q = draw(1, 1, 1, 2, seed=4).requires_grad_()
    attention(q, cache.keys, cache.values, False).sum().backward()
    assert q.grad is not None


def test_refused_calls_change_nothing():
    cache, k = KVCache(2, 2, 4, 3, 5), draw(2, 2, 3, 3)
    cache(k, draw(2, 2, 3, 5))
    before = cache.keys.clone()
    wrong = [
        (draw(2, 2, 2, 3), draw(2, 2, 2, 5), r"2 positions after 3 exceed the capacity of 4: .* at least 5, or truncate"),
        (draw(2, 4, 1, 3), draw(2, 2, 1, 5), r"keys \(2, 4, 1, 3\): this cache takes \[B, G, T, K\] with B=2, G=2, K=3"),
        (draw(1, 2, 1, 3), draw(2, 2, 1, 5), r"keys \(1, 2, 1, 3\)"),
        (draw(2, 1, 3), draw(2, 2, 1, 5), r"keys \(2, 1, 3\)"),
        (draw(2, 2, 1, 3), draw(2, 2, 1, 3), r"values \(2, 2, 1, 3\): .* K=5"),
        (draw(2, 2, 1, 3), draw(2, 2, 0, 5), r"1 keys and 0 values: give one value per key"),
        (
            draw(2, 2, 1, 3, dtype=torch.float64),
            draw(2, 2, 1, 5),
            r"keys of torch.float64 on cpu, cache of torch.float32 .*dtype=torch.float64",
        ),
        (draw(2, 2, 1, 3), draw(2, 2, 1, 5, dtype=torch.bfloat16), r"values of torch.bfloat16"),
    ]
    for k, v, message in wrong:
        with pytest.raises(ValueError, match=message):
            cache(k, v)
    assert cache.length == 3 and torch.equal(cache.keys, before)


def test_messages():
    cache = KVCache(2, 1, 4, 2)
    for call, message in (
        (lambda: KVCache(2, 1, -1, 2), r"\(2, 1, -1, 2, 2\).*negative"),
        (lambda: kv_cache_bytes(1, 1, -3, 1), r"\(1, 1, -3, 1, 1, 2\) of caches: none may be negative"),
        (lambda: cache.truncate(1), "length 1: this cache holds 0 positions"),
        (lambda: cache.truncate(-1), "length -1"),
        (lambda: cache.select([2]), r"row 2: this cache has rows 0 \.\. 1"),
        (lambda: cache.select([-1]), "row -1"),
        (lambda: cache.select([0.5]), r"rows torch.float32 \(1,\).*boolean \[2\]"),
        (lambda: cache.select([True]), r"rows torch.bool \(1,\)"),
        (lambda: cache.select([[0]]), r"rows torch.int64 \(1, 1\)"),
        (lambda: KVCache(2, 1, 4, 2, padding=torch.tensor([1])), r"padding torch.int64 \(1,\): give int64 \[2\]"),
        (lambda: KVCache(1, 1, 4, 2, padding=torch.tensor([1.0])), "padding torch.float32"),
        (lambda: KVCache(1, 1, 4, 2, padding=torch.tensor([5])), r"padding of 5: a row has 0 \.\. 4"),
        (lambda: KVCache(1, 1, 4, 2, padding=torch.tensor([-1])), "padding of -1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_empty_and_zero_sizes():
    assert KVCache(0, 1, 4, 2)(draw(0, 1, 4, 2), draw(0, 1, 4, 2))[0].shape == (0, 1, 4, 2)
    with pytest.raises(ValueError, match="capacity of 0"):
        KVCache(1, 1, 0, 2)(draw(1, 1, 1, 2), draw(1, 1, 1, 2))


def test_compiles_without_a_break():
    layer = MultiHeadAttention(16, 2, 1, rotate=RotaryEmbedding(8, 16), attend=attention).requires_grad_(False)
    x = draw(1, 8, 16)
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    cache = KVCache(1, 1, 8, 8)
    parts = [compiled(x[:, :3], cache=cache)]
    parts += [compiled(x[:, t : t + 1], cache=cache) for t in range(3, 8)]
    torch.testing.assert_close(torch.cat(parts, 1), layer(x), rtol=0, atol=1e-5)
    assert counter.frame_count <= 3  # the prompt, the first single token, and one for every further length
