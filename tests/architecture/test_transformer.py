"""The whole model against transformers' Llama and GPT-2 with copied weights, and the count against the model."""

import dataclasses

import pytest
import torch

from llmbook.architecture.transformer import ModelConfig, Transformer, count_parameters, initialize_weights
from llmbook.attention.causal import attention, fused_attention

SMALL = ModelConfig(vocab_size=50, context=24, width=32, layers=2, heads=4, ff_width=48)
GPT2 = dataclasses.replace(SMALL, norm="layer", feed_forward="gelu", positions="learned", bias=True, qk_norm=False)


def small(**fields):
    torch.manual_seed(0)
    return Transformer(dataclasses.replace(SMALL, **fields))


def some_ids(B=2, T=24):
    return torch.randint(50, (B, T), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_matches_llama(kv_heads, tied):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            max_position_embeddings=24,
            rms_norm_eps=1e-6,
            tie_word_embeddings=tied,
        )
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = small(kv_heads=kv_heads, qk_norm=False, tie_embeddings=tied)
    names = {
        "model.embed_tokens": "embedding.tokens",
        "model.layers": "blocks",
        "self_attn.q_proj": "attention.query",
        "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value",
        "self_attn.o_proj": "attention.out",
        "post_attention_layernorm": "feed_forward_norm",
        "input_layernorm": "attention_norm",
        "mlp.gate_proj": "feed_forward.gate",
        "mlp.up_proj": "feed_forward.up",
        "mlp.down_proj": "feed_forward.down",
        "model.norm": "norm",
        "lm_head": "head",
    }
    weights = {}
    for name, weight in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        weights[name] = weight
    if tied:
        weights.pop("head.weight", None)
    ours.load_state_dict(weights)
    ids, positions = some_ids(T=12), torch.arange(12, 24)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(ids, positions), theirs(ids, position_ids=positions[None]).logits, rtol=1e-4, atol=1e-4)
    assert count_parameters(ours.config) == theirs.num_parameters()


def test_matches_gpt2():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=50, n_positions=24, n_embd=32, n_layer=2, n_head=4, n_inner=48, layer_norm_epsilon=1e-6)
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = Transformer(GPT2)
    weights = {
        "embedding.tokens.weight": theirs.transformer.wte.weight,
        "embedding.positions.weight": theirs.transformer.wpe.weight,
        "norm.weight": theirs.transformer.ln_f.weight,
        "norm.bias": theirs.transformer.ln_f.bias,
    }
    for layer, block in enumerate(theirs.transformer.h):
        for kind in ("weight", "bias"):
            parts = getattr(block.attn.c_attn, kind).chunk(3, dim=-1)  # Conv1D stores the transposed matrix
            found = dict(zip(("attention.query", "attention.key", "attention.value"), parts, strict=True))
            found |= {
                "attention.out": getattr(block.attn.c_proj, kind),
                "feed_forward.up": getattr(block.mlp.c_fc, kind),
                "feed_forward.down": getattr(block.mlp.c_proj, kind),
            }
            found |= {"attention_norm": getattr(block.ln_1, kind), "feed_forward_norm": getattr(block.ln_2, kind)}
            weights |= {f"blocks.{layer}.{name}.{kind}": part.T if part.ndim == 2 else part for name, part in found.items()}
    ours.load_state_dict(weights)
    torch.testing.assert_close(ours(some_ids()), theirs(some_ids()).logits, rtol=1e-4, atol=1e-4)
    assert count_parameters(GPT2) == theirs.num_parameters()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kv_heads": 1},
        {"kv_heads": 2, "tie_embeddings": False},
        {"qk_norm": False},
        {"bias": True},
        {"ff_width": None},
        {"norm": "layer"},
        {"feed_forward": "gelu"},
        {"feed_forward": "gelu", "bias": True, "ff_width": None},
        {"positions": "learned"},
        {"norm": "layer", "qk_norm": True, "bias": True, "kv_heads": 2, "positions": "learned"},
    ],
)
def test_count_is_the_sum_over_parameters(fields):
    model = small(**fields)
    assert count_parameters(model.config) == sum(p.numel() for p in model.parameters())
    model(some_ids()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_published_counts():
    gpt2_xl = ModelConfig(
        50257, 1024, 1600, 48, 25, norm="layer", feed_forward="gelu", positions="learned", bias=True, qk_norm=False
    )
    llama3_8b = ModelConfig(128256, 8192, 4096, 32, 32, kv_heads=8, ff_width=14336, qk_norm=False, tie_embeddings=False)
    assert count_parameters(gpt2_xl) == 1_557_611_200
    assert count_parameters(llama3_8b) == 8_030_261_248


@pytest.mark.parametrize("fields", [{}, {"positions": "learned", "norm": "layer"}, {"kv_heads": 1}])
def test_no_logit_depends_on_a_later_token(fields):
    model, ids = small(**fields), some_ids(B=1)
    for t in (0, 11, 23):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % 50
        moved = (model(ids) != model(changed)).any(-1)[0]
        assert not moved[:t].any() and moved[t]


@pytest.mark.parametrize("fields", [{}, {"kv_heads": 2}, {"positions": "learned"}])
def test_caches_give_the_same_logits(fields):
    model, ids = small(**fields), some_ids()

    def remember():
        kept = []

        def cache(k, v):
            kept.append((k, v))
            return tuple(torch.cat(parts, dim=2) for parts in zip(*kept, strict=True))

        return cache

    caches = [remember() for _ in model.blocks]
    parts = [model(ids[:, a:b], torch.arange(a, b), caches) for a, b in ((0, 10), (10, 11), (11, 24))]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-5)


def test_positions_per_row():
    model, ids = small(positions="learned"), some_ids(T=3)
    rows = torch.tensor([[0, 1, 2], [7, 8, 9]])
    torch.testing.assert_close(model(ids, rows)[1], model(ids, rows[1])[1])
    assert not torch.allclose(model(ids, rows)[1], model(ids)[1])


def test_attention_functions_agree():
    ids, config = some_ids(), SMALL
    torch.manual_seed(0)
    one = Transformer(config, attend=attention)
    two = Transformer(config, attend=fused_attention)
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(ids), two(ids), rtol=1e-4, atol=1e-5)


def test_autocast_stays_close():
    model, ids = small(init_std=0.1), some_ids()
    exact = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids)
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).abs().max() < 0.03 * exact.abs().max()
    logits.float().square().mean().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_initialization():
    model = small(width=128, layers=8, vocab_size=500)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all()
        else:
            expected = 0.02 / 4 if name.endswith(("attention.out.weight", "feed_forward.down.weight")) else 0.02
            assert abs(parameter.std().item() / expected - 1) < 0.05, name
    assert all((p == 0).all() for name, p in Transformer(GPT2).named_parameters() if name.endswith("bias"))


def test_same_seed_same_weights_and_meta_device():
    one, two = small(), small()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    with torch.device("meta"):
        empty = Transformer(SMALL)
    empty.to_empty(device="cpu")
    initialize_weights(empty, 0.02, 0.01)
    empty.load_state_dict(one.state_dict())
    assert torch.equal(empty(some_ids()), one(some_ids()))


def test_tied_embeddings_are_saved_once():
    assert "head.weight" not in small().state_dict()
    model = small(tie_embeddings=False)
    assert model.head.weight.data_ptr() != model.embedding.tokens.weight.data_ptr()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 250}, "width 250 is not divisible by 4 heads"),
        ({"kv_heads": 3}, "4 heads are not divisible by 3 key/value"),
        ({"width": 36}, "head width 9"),
        ({"layers": 0}, "layers=0"),
        ({"context": -1}, "context=-1"),
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"heads": 2.0}, "heads=2.0"),
        ({"kv_heads": 0}, "kv_heads=0"),
        ({"ff_width": 0}, "ff_width=0"),
        ({"norm": "batch"}, "norm='batch'.*rms, layer"),
        ({"feed_forward": "relu"}, "feed_forward='relu'"),
        ({"positions": "none"}, "positions='none'"),
        ({"rope_base": 1.0}, "base 1.0"),
        ({"norm_eps": 0.0}, "norm_eps=0.0"),
        ({"init_std": float("nan")}, "init_std=nan"),
    ],
)
def test_impossible_shapes(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields)


def test_odd_head_width_is_fine_without_rope():
    assert ModelConfig(width=36, positions="learned").head_width == 9


@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize(
    ("ids", "at", "message"),
    [
        (torch.zeros(1, 25, dtype=torch.long), None, "25 tokens exceed the context of 24"),
        (torch.tensor([[0, 50]]), None, "token id 50 lies outside 0 .. 49"),
        (torch.tensor([[-1, 0]]), None, "token id -1 lies outside"),
        (torch.zeros(1, 0, dtype=torch.long), None, "T of at least 1"),
        (torch.zeros(3, dtype=torch.long), None, "int64"),
        (torch.zeros(1, 3), None, "float32"),
        (torch.zeros(1, 2, dtype=torch.long), torch.tensor([23, 24]), "position 24 lies outside 0 .. 23"),
        (torch.zeros(1, 2, dtype=torch.long), torch.tensor([0]), "T=2"),
    ],
)
def test_inputs_out_of_range(positions, ids, at, message):
    with pytest.raises(ValueError, match=message):
        small(positions=positions)(ids, at)
