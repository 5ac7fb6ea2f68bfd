"""MultiHeadAttention against PyTorch's and Llama's layers, and its path without copies against both."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmbook.attention.causal import attention, fused_attention, quickest_attention
from llmbook.attention.multihead import MultiHeadAttention, attend_grouped, merge_heads, next_positions, repeat_heads, split_heads
from llmbook.attention.rope import RotaryEmbedding


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_split_and_merge():
    x = draw(2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    assert torch.equal(heads[:, 1], x[..., 4:8])
    assert torch.equal(merge_heads(heads), x)
    assert heads.data_ptr() == x.data_ptr()


def test_repeat_matches_transformers():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    x = draw(2, 3, 5, 4)
    for repeats in (1, 2, 4):
        assert torch.equal(repeat_heads(x, repeats), llama.repeat_kv(x, repeats))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [1, 3, 6])
def test_matches_torch(heads, bias):
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(24, heads, bias=bias), nn.MultiheadAttention(24, heads, bias=bias, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        if bias:
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.bias.copy_(ours.out.bias)
    x = draw(2, 7, 24)
    expected, _ = theirs(x, x, x, attn_mask=torch.ones(7, 7).triu(1).bool(), need_weights=False)
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
def test_grouped_equals_multi_head_with_repeated_weights(kv_heads):
    torch.manual_seed(0)
    grouped, full = MultiHeadAttention(24, 6, kv_heads), MultiHeadAttention(24, 6)
    with torch.no_grad():
        full.query.weight.copy_(grouped.query.weight)
        full.out.weight.copy_(grouped.out.weight)
        for name in ("key", "value"):
            weight = getattr(grouped, name).weight.unflatten(0, (kv_heads, 4))
            getattr(full, name).weight.copy_(weight.repeat_interleave(6 // kv_heads, dim=0).flatten(0, 1))
    x = draw(2, 7, 24)
    torch.testing.assert_close(grouped(x), full(x), rtol=1e-5, atol=1e-6)


def test_plugs_are_used():
    torch.manual_seed(0)
    calls = []

    def attend(q, k, v, is_causal):
        calls.append((q.shape, k.shape, is_causal))
        return attention(q, k, v, is_causal)

    layer = MultiHeadAttention(32, 4, 2, rotate=RotaryEmbedding(8, 16), qk_norm=nn.LayerNorm, attend=attend)
    plain = MultiHeadAttention(32, 4, 2)
    plain.load_state_dict({name: w for name, w in layer.state_dict().items() if "norm" not in name})
    x = draw(1, 9, 32)
    assert not torch.allclose(layer(x), plain(x), atol=1e-3)
    assert calls == [((1, 4, 9, 8), (1, 4, 9, 8), True)]
    layer(x[:, :1])
    assert calls[1:] == [((1, 2, 2, 8), (1, 2, 1, 8), False)]


def test_positions_shift_nothing_but_distances_matter():
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 4, rotate=RotaryEmbedding(8, 64), attend=fused_attention)
    x = draw(1, 9, 32)
    torch.testing.assert_close(layer(x), layer(x, torch.arange(9) + 40), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layer(x), layer(x, torch.arange(9) * 3), atol=1e-3)


def test_cache_lengthens_keys():
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 4, 2, rotate=RotaryEmbedding(8, 64))
    x, kept = draw(2, 9, 32), []

    def cache(k, v):
        kept.append((k, v))
        return torch.cat([k for k, _ in kept], dim=2), torch.cat([v for _, v in kept], dim=2)

    parts = [layer(x[:, :5], torch.arange(5), cache), layer(x[:, 5:], torch.arange(5, 9), cache)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-4, atol=1e-6)


def grouped_oracle(q, k, v):
    """PyTorch's grouped attention, with the causal mask of the last T positions."""
    T, S = q.shape[-2], k.shape[-2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True))


@settings(max_examples=60, deadline=None)
@given(
    B=st.integers(1, 3),
    G=st.integers(1, 4),
    repeats=st.integers(1, 4),
    T=st.sampled_from((1, 1, 2, 5)),
    past=st.integers(0, 9),
    K=st.sampled_from((2, 8)),
    attend=st.sampled_from((attention, fused_attention)),
)
def test_grouped_attention_matches_torch(B, G, repeats, T, past, K, attend):
    q = draw(B, G * repeats, T, K).double()
    k, v = (draw(B, G, past + T, K, seed=seed).double() for seed in (1, 2))
    result = attend_grouped(q, k, v, attend)
    assert result.shape == (B, T, G * repeats * K)
    torch.testing.assert_close(result, grouped_oracle(q, k, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("G", [6, 3, 2, 1])
def test_gradients_of_grouped_attention(G, T):
    leaves = [x.double().requires_grad_() for x in (draw(2, 6, T, 4), draw(2, G, 7, 4, seed=1), draw(2, G, 7, 4, seed=2))]
    ours = torch.autograd.grad(attend_grouped(*leaves, attention).square().sum(), leaves)
    theirs = torch.autograd.grad(grouped_oracle(*leaves).square().sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_one_query_copies_neither_keys_nor_values():
    k, v, seen = draw(2, 2, 9, 4), draw(2, 2, 9, 4, seed=1), []

    def attend(q, k, v, is_causal):
        seen.append((k.data_ptr(), v.data_ptr(), q.shape, is_causal))
        return attention(q, k, v, is_causal)

    attend_grouped(draw(2, 6, 1, 4), k, v, attend)
    assert seen == [(k.data_ptr(), v.data_ptr(), (2, 2, 3, 4), False)]


def test_one_query_over_views_of_a_longer_cache():
    """A cache hands out the filled part of its memory, which is not contiguous."""
    memory = draw(2, 3, 2, 20, 4)
    k, v, q = memory[:, 0, :, :7], memory[:, 1, :, :7], draw(2, 5, 8, 4).transpose(1, 2)[..., :1, :]
    for attend in (attention, fused_attention, quickest_attention):
        torch.testing.assert_close(attend_grouped(q, k, v, attend), grouped_oracle(q, k, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("G", [8, 4, 1])
def test_one_token_at_a_time_equals_all_at_once(G, dtype):
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 8, G, rotate=RotaryEmbedding(4, 16), qk_norm=nn.LayerNorm, bias=True).to(dtype)
    x, kept = draw(2, 9, 32).to(dtype), []

    def cache(k, v):
        kept.append((k, v))
        return torch.cat([k for k, _ in kept], dim=2), torch.cat([v for _, v in kept], dim=2)

    with torch.no_grad():
        steps = torch.cat([layer(x[:, t : t + 1], torch.tensor([t]), cache) for t in range(9)], dim=1)
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
        torch.testing.assert_close(steps, layer(x), **tolerance)
    assert kept[0][0].shape == (2, G, 1, 4)


@pytest.mark.parametrize("G", [6, 3, 2, 1])
def test_matches_the_layer_of_llama(G):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=24, num_attention_heads=6, num_key_value_heads=G, attn_implementation="sdpa")
    theirs, ours = llama.LlamaAttention(config, layer_idx=0), MultiHeadAttention(24, 6, G)
    for name, part in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        getattr(theirs, f"{part}_proj").weight = getattr(ours, name).weight
    for T in (7, 1):
        x, unturned = draw(2, T, 24), (torch.ones(2, T, 4), torch.zeros(2, T, 4))  # cosines and sines of the angle 0
        expected, _ = theirs(x, position_embeddings=unturned, attention_mask=None)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-6)


def test_a_view_instead_of_a_transpose_is_not_causal():
    """The mistake of the notebook: its shape is right, and output 0 reads token 2."""

    def output(cut, x):
        return merge_heads(attention(cut(x), cut(x), cut(x)))

    for cut, leaks in ((lambda x: split_heads(x, 2), False), (lambda x: x.view(1, 2, 4, 2), True)):
        x = draw(1, 4, 4)
        changed = x.clone()
        changed[:, 2] += 1
        assert torch.equal(output(cut, x)[:, 0], output(cut, changed)[:, 0]) is not leaks


@pytest.mark.parametrize("G", [4, 2, 1])
def test_operations_are_as_counted(G):
    from torch.utils.flop_counter import FlopCounterMode

    D, T, H = 32, 20, 4
    for heads in (H, 2 * H):
        with FlopCounterMode(display=False) as counter:
            MultiHeadAttention(D, heads, G, attend=attention)(draw(3, T, D))
        per_token = 2 * D * D + 2 * D * G * (D // heads) + 2 * T * D
        assert counter.get_total_flops() == 2 * 3 * T * per_token


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 4), "width 10 is not divisible by 4 heads"),
        ((8, 0), "by 0 heads"),
        ((8, -2), "by -2 heads"),
        ((24, 6, 4), "6 heads are not divisible by 4 key/value heads"),
        ((24, 6, 0), "by 0 key/value heads"),
        ((24, 2, 4), "2 heads are not divisible by 4 key/value heads"),
    ],
)
def test_head_counts_that_do_not_divide(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(*arguments)


def test_grouped_heads_that_do_not_divide():
    for T in (1, 3):
        with pytest.raises(ValueError, match="6 heads are not divisible by 4 key/value heads"):
            attend_grouped(draw(2, 6, T, 4), draw(2, 4, 5, 4), draw(2, 4, 5, 4))


def test_next_positions():
    assert next_positions(None, 3) is None
    cache = SimpleNamespace(length=5)
    assert next_positions(cache, 3).tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="where do the new tokens stand"):
        next_positions(lambda k, v: (k, v), 3)


def test_wrong_width():
    with pytest.raises(ValueError, match="must be the width, 24"):
        MultiHeadAttention(24, 6)(draw(1, 2, 23))
    with pytest.raises(ValueError, match="width 24 is not divisible by 5 heads"):
        split_heads(draw(1, 2, 24), 5)
