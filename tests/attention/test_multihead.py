"""MultiHeadAttention against torch.nn.MultiheadAttention and against itself with tied weights."""

import pytest
import torch
from torch import nn

from llmbook.attention.causal import attention, fused_attention
from llmbook.attention.multihead import MultiHeadAttention, merge_heads, repeat_heads, split_heads
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

    def attend(q, k, v):
        calls.append((q.shape, k.shape))
        return attention(q, k, v)

    layer = MultiHeadAttention(32, 4, 2, rotate=RotaryEmbedding(8, 16), qk_norm=nn.LayerNorm, attend=attend)
    plain = MultiHeadAttention(32, 4, 2)
    plain.load_state_dict({name: w for name, w in layer.state_dict().items() if "norm" not in name})
    x = draw(1, 9, 32)
    assert not torch.allclose(layer(x), plain(x), atol=1e-3)
    assert calls == [((1, 4, 9, 8), (1, 4, 9, 8))]


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


@pytest.mark.parametrize(("arguments", "message"), [
    ((10, 4), "width 10 is not divisible by 4 heads"), ((8, 0), "by 0 heads"), ((8, -2), "by -2 heads"),
    ((24, 6, 4), "6 heads are not divisible by 4 key/value heads"), ((24, 6, 0), "by 0 key/value heads"),
    ((24, 2, 4), "2 heads are not divisible by 4 key/value heads")])
def test_head_counts_that_do_not_divide(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(*arguments)


def test_wrong_width():
    with pytest.raises(ValueError, match="must be the width, 24"):
        MultiHeadAttention(24, 6)(draw(1, 2, 23))
    with pytest.raises(ValueError, match="width 24 is not divisible by 5 heads"):
        split_heads(draw(1, 2, 24), 5)
