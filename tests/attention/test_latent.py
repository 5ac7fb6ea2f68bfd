"""LatentAttention against the layers of DeepSeek in `transformers`, and its absorbed form against the plain one."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmbook.architecture.normalization import RMSNorm
from llmbook.attention.causal import attention, causal_mask, fused_attention, quickest_attention
from llmbook.attention.latent import LatentAttention, attend_absorbed
from llmbook.attention.multihead import MultiHeadAttention
from llmbook.attention.rope import RotaryEmbedding

SIZES = {"kv_rank": 20, "nope_width": 8, "rope_width": 4, "value_width": 6}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(seed=0, width=24, heads=3, context=64, **options):
    torch.manual_seed(seed)
    sizes = SIZES | {name: options.pop(name) for name in SIZES if name in options}
    rotate = RotaryEmbedding(sizes["rope_width"], context)
    return LatentAttention(width, heads, **{"rotate": rotate, "norm": RMSNorm} | sizes | options)


class Growing:
    """A cache that concatenates; `mask` hides keys of the filled part."""

    def __init__(self, hidden=None):
        self.k, self.v, self.length, self.hidden = [], [], 0, hidden

    def __call__(self, k, v):
        self.k.append(k)
        self.v.append(v)
        self.length += k.shape[-2]
        return torch.cat(self.k, dim=-2), torch.cat(self.v, dim=-2)

    @property
    def mask(self):
        return None if self.hidden is None else ~self.hidden[..., : self.length]


def masked_attention(q, k, v, is_causal, mask=None):
    """PyTorch's, with the causal mask of the last T positions; a query that sees no key gets zeros."""
    seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    seen = causal_mask(q.shape[-2], k.shape[-2]) if is_causal else seen
    seen = seen if mask is None else seen & mask
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return mixed.masked_fill(~seen.any(-1, keepdim=True), 0)


def theirs_of(ours, version, **options):
    """DeepSeek's layer in `transformers` with the weights of ours, and a function that calls it on x [B, T, D]."""
    modeling = pytest.importorskip(f"transformers.models.deepseek_v{version}.modeling_deepseek_v{version}")
    name, H = f"DeepseekV{version}", ours.heads
    K, R, V = SIZES["nope_width"], SIZES["rope_width"], SIZES["value_width"]
    config = getattr(modeling, f"{name}Config")(
        hidden_size=ours.width,
        num_attention_heads=H,
        num_key_value_heads=H,
        kv_lora_rank=ours.latent.out_features,
        q_lora_rank=None if isinstance(ours.query_latent, nn.Identity) else ours.query_latent.out_features,
        qk_nope_head_dim=K,
        qk_rope_head_dim=R,
        v_head_dim=V,
        max_position_embeddings=64,
        attn_implementation="eager",
        **options,
    )
    theirs = getattr(modeling, f"{name}Attention")(config, layer_idx=0)
    # the transformers layer may turn neighboring features as a pair where ours turns (i, i + R/2): the same after a
    # permutation of the rows that make rotary features
    interleaved = options.get("rope_interleave", True)
    order = torch.arange(R).reshape(2, -1).T.flatten() if interleaved else torch.arange(R)

    def reordered(query_weight):
        content, turned = query_weight.detach().unflatten(0, (H, K + R)).split((K, R), dim=1)
        return torch.cat((content, turned[:, order]), dim=1).flatten(0, 1)

    with torch.no_grad():
        if config.q_lora_rank is None:
            theirs.q_proj.weight.copy_(reordered(ours.query.weight))
        else:
            theirs.q_a_proj.weight.copy_(ours.query_latent.weight)
            theirs.q_a_layernorm.weight.copy_(ours.query_norm.weight)
            theirs.q_b_proj.weight.copy_(reordered(ours.query.weight))
        theirs.kv_a_proj_with_mqa.weight.copy_(torch.cat((ours.latent.weight, ours.rotary_key.weight[order])))
        theirs.kv_a_layernorm.weight.copy_(ours.latent_norm.weight)
        ups = [up.weight.unflatten(0, (H, -1)) for up in (ours.key, ours.value)]
        theirs.kv_b_proj.weight.copy_(torch.cat(ups, dim=1).flatten(0, 1))
        theirs.o_proj.weight.copy_(ours.out.weight)
    embedding = getattr(modeling, f"{name}RotaryEmbedding")(config)

    def call(x, positions=None):
        positions = torch.arange(x.shape[1])[None] if positions is None else positions
        hidden = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)[None, None]
        return theirs(x, position_embeddings=embedding(x, positions), attention_mask=hidden)[0]

    return theirs, call


@pytest.mark.parametrize("absorb", [None, False, True])
@pytest.mark.parametrize("q_rank", [None, 10])
@pytest.mark.parametrize(("version", "options"), [(3, {}), (3, {"rope_interleave": False}), (2, {})])
def test_matches_the_layers_of_deepseek(version, options, q_rank, absorb):
    ours = build(q_rank=q_rank, absorb=absorb)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.add_(0.3 * draw(*weight.shape, seed=5))
    _, call = theirs_of(ours, version, **options)
    for T in (1, 2, 9):
        x = draw(2, T, 24, seed=T)
        torch.testing.assert_close(ours(x), call(x), rtol=1e-5, atol=1e-5)
        positions = torch.arange(T)[None] + torch.tensor([[3], [40]])
        torch.testing.assert_close(ours(x, positions), call(x, positions), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("absorb", [False, True])
def test_gradients_match_those_of_deepseek(absorb):
    ours = build(q_rank=10, absorb=absorb)
    theirs, call = theirs_of(ours, 3, rope_interleave=False)
    x, other = (draw(2, 7, 24).requires_grad_() for _ in range(2))
    ours(x).square().sum().backward()
    call(other).square().sum().backward()
    ups = torch.cat([up.weight.grad.unflatten(0, (3, -1)) for up in (ours.key, ours.value)], dim=1).flatten(0, 1)
    pairs = [
        (x.grad, other.grad),
        (ours.query_latent.weight.grad, theirs.q_a_proj.weight.grad),
        (ours.query_norm.weight.grad, theirs.q_a_layernorm.weight.grad),
        (ours.query.weight.grad, theirs.q_b_proj.weight.grad),
        (torch.cat((ours.latent.weight.grad, ours.rotary_key.weight.grad)), theirs.kv_a_proj_with_mqa.weight.grad),
        (ours.latent_norm.weight.grad, theirs.kv_a_layernorm.weight.grad),
        (ups, theirs.kv_b_proj.weight.grad),
        (ours.out.weight.grad, theirs.o_proj.weight.grad),
    ]
    assert len(pairs) == 1 + len(list(theirs.parameters()))
    for mine, expected in pairs:
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def expanded(q, latents, rotary_keys, key_weight, value_weight, mask=None):
    """Brute force: each head, query and key by itself."""
    (B, H, T, _), S, K = q.shape, latents.shape[2], key_weight.shape[1]
    result = q.new_zeros(B, H, T, value_weight.shape[1])
    for b, h, t in itertools.product(range(B), range(H), range(T)):
        seen = [s for s in range(S - T + t + 1) if mask is None or mask.expand(B, 1, T, S)[b, 0, t, s]]
        if not seen:
            continue
        keys = [torch.cat((key_weight[h] @ latents[b, 0, s], rotary_keys[b, 0, s])) for s in seen]
        scores = torch.stack([q[b, h, t] @ key for key in keys]) / (K + rotary_keys.shape[-1]) ** 0.5
        values = torch.stack([value_weight[h] @ latents[b, 0, s] for s in seen])
        result[b, h, t] = torch.softmax(scores, dim=0) @ values
    return result


@settings(max_examples=40, deadline=None)
@given(
    B=st.integers(1, 2),
    H=st.integers(1, 3),
    T=st.sampled_from((1, 1, 2, 4)),
    past=st.integers(0, 5),
    widths=st.tuples(*[st.integers(1, 5)] * 4),
    attend=st.sampled_from((attention, fused_attention, quickest_attention)),
)
def test_absorbed_matches_brute_force(B, H, T, past, widths, attend):
    C, K, R, V = widths
    shapes = ((B, H, T, K + R), (B, 1, past + T, C), (B, 1, past + T, R), (H, K, C), (H, V, C))
    inputs = [draw(*shape, seed=seed).double() for seed, shape in enumerate(shapes)]
    result = attend_absorbed(*inputs, attend)
    assert result.shape == (B, H, T, V)
    torch.testing.assert_close(result, expanded(*inputs), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("T", [1, 3])
def test_absorbed_with_a_mask(T):
    shapes = ((2, 3, T, 7), (2, 1, 6, 5), (2, 1, 6, 3), (3, 4, 5), (3, 2, 5))
    inputs = [draw(*shape, seed=seed).double() for seed, shape in enumerate(shapes)]
    mask = draw(2, 1, T, 6) > 0
    mask[0, 0, 0] = False  # a query that sees nothing
    for one in (mask, mask[:1, :, :1], mask[0, 0]):
        result = attend_absorbed(*inputs, masked_attention, one)
        torch.testing.assert_close(result, expanded(*inputs, mask=one), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("q_rank", [None, 5])
@pytest.mark.parametrize("T", [1, 4])
def test_plain_and_absorbed_agree_with_gradients(T, q_rank):
    results = []
    for absorb in (False, True):
        layer = build(q_rank=q_rank, absorb=absorb).double()
        cache, x = Growing(), draw(2, 5 + T, 24).double().requires_grad_()
        layer(x[:, :5], cache=cache)
        y = layer(x[:, 5:], cache=cache)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))))
    for plain, absorbed in zip(*results, strict=True):
        torch.testing.assert_close(absorbed, plain, rtol=1e-9, atol=1e-10)


def test_gradients_by_finite_differences():
    shapes = ((1, 2, 2, 5), (1, 1, 3, 3), (1, 1, 3, 2), (2, 3, 3), (2, 2, 3))
    inputs = [draw(*shape, seed=seed).double().requires_grad_() for seed, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda *given: attend_absorbed(*given, attention), inputs)


@pytest.mark.parametrize("absorb", [None, False, True])
@pytest.mark.parametrize("q_rank", [None, 10])
def test_cached_equals_uncached_for_every_split(q_rank, absorb):
    layer, x = build(q_rank=q_rank, absorb=absorb).double(), draw(2, 6, 24).double()
    expected = build(q_rank=q_rank, absorb=False).double()(x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)
    for cuts in itertools.product((False, True), repeat=5):
        edges, cache = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), 6], Growing()
        parts = [layer(x[:, a:b], cache=cache) for a, b in itertools.pairwise(edges)]
        torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-10, atol=1e-10)
        assert {k.shape[1:2] + k.shape[3:] for k in cache.k} == {(1, 20)}
        assert {v.shape[1:2] + v.shape[3:] for v in cache.v} == {(1, 4)}
        assert sum(kept.nbytes for kept in cache.k + cache.v) == 2 * 6 * (20 + 4) * 8


def test_special_cases_are_multi_head_and_multi_query_attention():
    """With an identity latent, the content part is multi-head attention; the rotary part alone, multi-query."""
    D, H = 24, 3
    latent = LatentAttention(D, H, kv_rank=D, nope_width=8, rope_width=4, value_width=8)
    full = MultiHeadAttention(D, H)
    with torch.no_grad():
        latent.latent.weight.copy_(torch.eye(D))
        latent.rotary_key.weight.zero_()
        queries = full.query.weight.unflatten(0, (H, 8)) * (12 / 8) ** 0.5  # the scale of 8, not of 8 + 4
        latent.query.weight.copy_(F.pad(queries, (0, 0, 0, 4)).flatten(0, 1))
        for name in ("key", "value", "out"):
            getattr(latent, name).weight.copy_(getattr(full, name).weight)
    x = draw(2, 7, D)
    torch.testing.assert_close(latent(x), full(x), rtol=1e-5, atol=1e-6)

    shared = MultiHeadAttention(12, 3, 1)
    latent = LatentAttention(12, 3, kv_rank=12, nope_width=1, rope_width=4, value_width=4)
    with torch.no_grad():
        latent.latent.weight.copy_(torch.eye(12))
        latent.key.weight.zero_()
        queries = shared.query.weight.unflatten(0, (3, 4)) * (5 / 4) ** 0.5
        latent.query.weight.copy_(F.pad(queries, (0, 0, 1, 0)).flatten(0, 1))
        latent.rotary_key.weight.copy_(shared.key.weight)
        latent.value.weight.copy_(shared.value.weight.repeat(3, 1))
        latent.out.weight.copy_(shared.out.weight)
    x = draw(2, 7, 12)
    torch.testing.assert_close(latent(x), shared(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("absorb", [False, True])
@pytest.mark.parametrize("T", [1, 3])
def test_masks_of_caller_and_cache(T, absorb):
    """Hidden keys might as well not exist; a query that sees none gets zeros."""
    layer = build(absorb=absorb, attend=masked_attention)
    x, hidden = draw(2, 6, 24), torch.zeros(2, 1, 1, 6, dtype=torch.bool)
    hidden[..., 1] = True
    kept = torch.tensor([0, 2, 3, 4, 5])
    alone = build(absorb=absorb, attend=masked_attention)(x[:, kept], kept)[:, -T:]
    for cache_hides in (False, True):
        cache = Growing(hidden if cache_hides else None)
        layer(x[:, : 6 - T], cache=cache)
        last = layer(x[:, 6 - T :], cache=cache, mask=None if cache_hides else ~hidden)
        torch.testing.assert_close(last, alone, rtol=1e-5, atol=1e-6)
    cache, nothing_hidden = Growing(torch.ones_like(hidden)), torch.ones(1, 1, 1, 6, dtype=torch.bool)
    layer(x[:, : 6 - T], cache=cache)  # a mask of the caller replaces that of the cache
    replaced = layer(x[:, 6 - T :], cache=cache, mask=nothing_hidden)
    torch.testing.assert_close(replaced, layer(x)[:, 6 - T :], rtol=1e-5, atol=1e-6)
    nothing = layer(x[:, :T], mask=torch.zeros(1, 1, 1, T, dtype=torch.bool))
    assert torch.equal(nothing, torch.zeros(2, T, 24))


def test_what_attention_is_called_with():
    calls = []

    def attend(q, k, v, is_causal):
        calls.append((tuple(q.shape), tuple(k.shape), tuple(v.shape), is_causal))
        return attention(q, k, v, is_causal)

    x = draw(2, 5, 24)
    for absorb in (False, True):
        layer = build(attend=attend, absorb=absorb)
        for T in (5, 1):
            layer(x[:, :T])
    assert calls == [
        ((2, 3, 5, 12), (2, 3, 5, 12), (2, 3, 5, 6), True),
        ((2, 3, 1, 12), (2, 3, 1, 12), (2, 3, 1, 6), False),
        *(((2, 1, 3, 24), (2, 1, n, 24), (2, 1, n, 20), False) for n in (1, 2, 3, 4, 5, 1)),
    ]


def test_latents_are_not_copied():
    latents, seen = draw(2, 1, 6, 5), []

    def attend(q, k, v, is_causal):
        seen.append((v.data_ptr(), v.stride(), v.shape[2]))
        return attention(q, k, v, is_causal)

    for T in (1, 3):
        attend_absorbed(draw(2, 4, T, 7), latents, draw(2, 1, 6, 3), draw(4, 4, 5), draw(4, 2, 5), attend)
    assert seen == [(latents.data_ptr(), latents.stride(), n) for n in (6, 4, 5, 6)]


@pytest.mark.parametrize(("kv_rank", "heads"), [(20, 3), (4, 2), (7, 1)])
def test_the_form_is_chosen_by_operations(kv_rank, heads):
    """By the operations that PyTorch counts, for training, prefill, decoding, and between."""
    from torch.utils.flop_counter import FlopCounterMode

    def operations(absorb, T, past):
        layer = build(heads=heads, absorb=absorb, kv_rank=kv_rank, attend=attention, rotate=None)
        cache = Growing()
        cache(torch.zeros(1, 1, past, kv_rank), torch.zeros(1, 1, past, 4))
        with FlopCounterMode(display=False) as counter:
            layer(torch.zeros(1, T, 24), cache=cache)
        return counter.get_total_flops()

    chosen = {}
    for T, past in ((1, 0), (1, 1), (1, 30), (2, 60), (9, 30), (30, 30), (9, 0)):
        plain, absorbed, automatic = (operations(absorb, T, past) for absorb in (False, True, None))
        assert automatic in (plain, absorbed)
        chosen[T, past] = "plain" if automatic == plain else "absorbed"
        if chosen[T, past] == "absorbed":
            assert absorbed < plain
    assert chosen[1, 30] == chosen[2, 60] == "absorbed"
    assert chosen[9, 0] == chosen[30, 30] == "plain"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("absorb", [False, True])
def test_half_precision(dtype, absorb):
    layer, x, cache = build(q_rank=10, absorb=absorb), draw(2, 7, 24), Growing()
    with torch.no_grad():
        expected = layer(x)
        layer, x = layer.to(dtype), x.to(dtype)
        parts = [layer(x[:, :4], cache=cache), *(layer(x[:, t : t + 1], cache=cache) for t in range(4, 7))]
    result = torch.cat(parts, dim=1)
    assert result.dtype == dtype
    assert (result.float() - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("norm", [RMSNorm, None])
@pytest.mark.parametrize("absorb", [False, True])
def test_autocast(absorb, norm):
    layer, x, cache = build(norm=norm, absorb=absorb), draw(2, 5, 24), Growing()
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = [layer(x[:, :4], cache=cache), layer(x[:, 4:], cache=cache)]
    result = torch.cat(parts, dim=1)
    assert result.dtype == torch.bfloat16
    assert (result.float() - expected).abs().max() < 0.03 * expected.abs().max()


def test_non_contiguous_inputs_and_nothing_changed_in_place():
    layer, x = build(), draw(2, 24, 7)
    turned, before = x.transpose(1, 2), x.clone()
    weights = {name: weight.clone() for name, weight in layer.state_dict().items()}
    torch.testing.assert_close(layer(turned), layer(turned.contiguous()))
    memory = draw(2, 1, 12, 9), draw(2, 1, 12, 3)
    views = [m[:, :, 2:8] for m in memory]
    rest = draw(2, 4, 1, 7), draw(4, 4, 9), draw(4, 2, 9)
    one = attend_absorbed(rest[0], *views, *rest[1:])
    torch.testing.assert_close(one, attend_absorbed(rest[0], *(v.contiguous() for v in views), *rest[1:]))
    assert torch.equal(x, before)
    assert all(torch.equal(weight, weights[name]) for name, weight in layer.state_dict().items())


def test_only_distances_matter():
    layer, x = build(), draw(1, 9, 24)
    torch.testing.assert_close(layer(x), layer(x, torch.arange(9) + 40), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layer(x), layer(x, torch.arange(9) * 3), atol=1e-3)


def test_sizes_of_one_and_empty_batches():
    layer = LatentAttention(3, 1, kv_rank=1, q_rank=1, nope_width=1, rope_width=1, value_width=1)
    assert layer(draw(2, 4, 3)).shape == (2, 4, 3)
    for absorb in (False, True):
        layer = build(absorb=absorb, attend=attention)
        assert layer(draw(0, 4, 24)).shape == layer(draw(0, 4, 24)).shape == (0, 4, 24)
        with pytest.raises(ValueError, match="T=0 queries"):
            layer(draw(2, 0, 24))
    inputs = draw(2, 4, 3, 7), draw(2, 1, 2, 5), draw(2, 1, 2, 3), draw(4, 4, 5), draw(4, 2, 5)
    with pytest.raises(ValueError, match="T=3 queries to S=2 latents"):
        attend_absorbed(*inputs)


@pytest.mark.parametrize("absorb", [None, True])
def test_compiles_as_one_graph(absorb):
    layer, x = build(q_rank=10, absorb=absorb), draw(2, 5, 24)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


def test_parameters_as_counted():
    D, H, C, K, R, V, Q = 24, 3, 20, 8, 4, 6, 10
    rest = D * (C + R) + C * H * (K + V) + H * V * D + C
    count = sum(p.numel() for p in build().parameters())
    assert count == D * H * (K + R) + rest
    count = sum(p.numel() for p in build(q_rank=Q).parameters())
    assert count == D * Q + Q + Q * H * (K + R) + rest


def test_bad_arguments():
    for name in ("kv_rank", "nope_width", "rope_width", "value_width", "q_rank"):
        for size in (0, -3):
            with pytest.raises(ValueError, match=f"{name}={size}: .*at least 1"):
                LatentAttention(24, 3, **SIZES | {name: size})
    for name in ("width", "heads"):
        with pytest.raises(ValueError, match=f"{name}=0: .*at least 1"):
            build(**{name: 0})
    for shape in ((2, 5, 23), (5, 24), (1, 2, 5, 24)):
        with pytest.raises(ValueError, match=r"give \[B, T, D\] with D = 24"):
            build()(draw(*shape))
    with pytest.raises(ValueError, match="where do the new tokens stand"):
        build()(draw(1, 2, 24), cache=lambda k, v: (k, v))
    for absorb, T in itertools.product((False, True), (1, 2)):
        with pytest.raises(ValueError, match=r"mask \(2, 3, .*the same for all heads"):
            build(absorb=absorb)(draw(2, T, 24), mask=torch.ones(2, 3, T, T, dtype=torch.bool))
    with pytest.raises(ValueError, match="head width 4: the table is for 8"):
        build(rotate=RotaryEmbedding(8, 16))(draw(1, 2, 24))


def test_a_cache_without_length_works_with_positions_or_without_rotation():
    x = draw(1, 2, 24)
    layer = build()
    torch.testing.assert_close(layer(x, torch.arange(2), lambda k, v: (k, v)), layer(x))
    layer = build(rotate=None)
    torch.testing.assert_close(layer(x, cache=lambda k, v: (k, v)), layer(x))
