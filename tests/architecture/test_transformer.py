"""The whole model against transformers' Llama and GPT-2 with copied weights, and the count against the model."""

import dataclasses
import json
import os
import socket
from dataclasses import asdict, replace
from typing import get_args, get_type_hints

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from llmbook.architecture.transformer import (
    ATTENTIONS,
    FEED_FORWARDS,
    NORMS,
    Transformer,
    build_caches,
    count_operations,
    count_parameters,
    initialize_weights,
)
from llmbook.attention.causal import attention, fused_attention
from llmbook.attention.multihead import MultiHeadAttention
from llmbook.preliminaries.settings import ExpertConfig, LatentConfig, ModelConfig, RopeConfig

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


class Remember:
    """The smallest cache: it concatenates, and knows its length."""

    def __init__(self):
        self.kept, self.length = [], 0

    def __call__(self, k, v):
        self.kept.append((k, v))
        self.length += k.shape[2]
        return tuple(torch.cat(parts, dim=2) for parts in zip(*self.kept, strict=True))


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("fields", [{}, {"kv_heads": 2}, {"positions": "learned"}])
def test_caches_give_the_same_logits(fields, placed):
    model, ids = small(**fields), some_ids()
    caches, parts = [Remember() for _ in model.blocks], []
    for a, b in ((0, 10), (10, 11), (11, 24)):
        parts.append(model(ids[:, a:b], torch.arange(a, b) if placed else None, caches))
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="25 tokens exceed the context of 24"):
        model(ids[:, :1], caches=caches)


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_a_cache_without_length_needs_positions(positions):
    model, ids, pairs = small(positions=positions), some_ids(T=1), []

    def cache(k, v):
        pairs.append((k, v))
        return k, v

    with pytest.raises(ValueError, match="Pass positions, or give the cache a `length`"):
        model(ids, caches=[cache, cache])
    assert not pairs
    model(ids, torch.tensor([0]), [cache, cache])
    with pytest.raises(ValueError, match="1 caches for 2 layers"):
        model(ids, torch.tensor([0]), [cache])
    with pytest.raises(ValueError, match="0 caches for 2 layers"):
        model(ids, caches=[])


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
        ({"width": 250}, "width=250"),
        ({"kv_heads": 3}, "kv_heads=3"),
        ({"width": 36}, "head_width=9"),
        ({"attention": "sparse"}, "attention='sparse'"),
        ({"layers": 0}, "layers=0"),
        ({"context": -1}, "context=-1"),
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"heads": 2.0}, "heads=2.0"),
        ({"kv_heads": 0}, "kv_heads=0"),
        ({"ff_width": 0}, "ff_width=0"),
        ({"norm": "batch"}, "norm='batch'.*rms, layer"),
        ({"feed_forward": "relu"}, "feed_forward='relu'"),
        ({"positions": "alibi"}, "positions='alibi'"),
        ({"rope_base": 1.0}, "rope_base=1.0"),
        ({"norm_eps": 0.0}, "norm_eps=0.0"),
        ({"init_std": float("nan")}, "init_std=nan"),
    ],
)
def test_impossible_shapes(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields)


def test_odd_head_width_is_fine_without_rope():
    assert ModelConfig(width=36, positions="learned").width == 36 and ModelConfig(width=36, positions="none").width == 36


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
        (torch.zeros(1, 2, dtype=torch.long), torch.tensor([0]), "here .2. or .1, 2."),
        (torch.zeros(1, 2, dtype=torch.long), torch.zeros(3, 2, dtype=torch.long), "here .2. or .1, 2."),
    ],
)
def test_inputs_out_of_range(positions, ids, at, message):
    with pytest.raises(ValueError, match=message):
        small(positions=positions)(ids, at)


# ---------------------------------------------------------------- One door


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_gets_states_and_output_weight(tied):
    model, ids = small(tie_embeddings=tied), some_ids()
    states, weight = model(ids, head=lambda states, weight: (states, weight))
    assert states.shape == (2, 24, 32) and weight is model.output_weight
    assert weight is (model.embedding.tokens if tied else model.head).weight
    assert torch.equal(F.linear(states, weight), model(ids))
    assert torch.equal(model(ids, head=lambda x, w: x[:, -1] @ w.T), (states[:, -1] @ weight.T))


def test_states_may_enter_in_place_of_ids():
    model, ids = small(), some_ids()
    assert torch.equal(model(model.embedding(ids)), model(ids))
    with pytest.raises(ValueError, match="the last dimension must be the width, 32"):
        model(torch.zeros(1, 3, 31))


def test_every_choice_of_the_settings_has_a_builder():
    hints = get_type_hints(ModelConfig)
    for field, builders in (("norm", NORMS), ("feed_forward", FEED_FORWARDS), ("attention", ATTENTIONS)):
        assert set(get_args(hints[field])) == set(builders)


def test_tables_are_marked():
    for fields, tables in (
        ({"tie_embeddings": False}, {"embedding.tokens", "head"}),
        ({"positions": "learned"}, {"embedding.tokens", "embedding.positions"}),
    ):
        marks = {name: getattr(module, "parameter_group", None) for name, module in small(**fields).named_modules()}
        assert {name for name, mark in marks.items() if mark == "tables"} == tables


def test_a_model_needs_a_vocabulary():
    for build in (Transformer, count_parameters):
        with pytest.raises(ValueError, match="vocab_size=None leaves the vocabulary to a tokenizer"):
            build(ModelConfig())


# ---------------------------------------------------------------- Cut, compiled, sharded


def stage_of(model, layers, first, last):
    """A copy of some layers of a model, as a pipeline would hold it."""
    stage = Transformer(model.config)
    for layer in set(range(model.config.layers)) - set(layers):
        del stage.blocks[str(layer)]
    if not last:
        stage.norm = stage.head = None
    if not first and (not last or model.head is not None):
        stage.embedding = None
    stage.load_state_dict({name: model.state_dict()[name] for name in stage.state_dict()})
    return stage


@pytest.mark.parametrize("fields", [{}, {"tie_embeddings": False, "kv_heads": 2}, {"positions": "learned"}])
def test_stages_give_the_logits_of_the_whole(fields):
    model, ids = small(layers=4, **fields), some_ids()
    stages = [stage_of(model, (0,), True, False), stage_of(model, (1, 2), False, False), stage_of(model, (3,), False, True)]
    caches = [[Remember() for _ in stage.blocks] for stage in stages]
    outputs = []
    for piece in (ids, *ids.split((13, 11), dim=1)):
        x = piece
        for stage, cache in zip(stages, caches, strict=True):
            x = stage(x, caches=cache if piece is not ids else None)
        outputs.append(x)
    assert torch.equal(outputs[0], model(ids))
    torch.testing.assert_close(torch.cat(outputs[1:], dim=1), model(ids), rtol=1e-4, atol=1e-5)
    names = [set(stage.state_dict()) for stage in stages]
    assert set().union(*names) == set(model.state_dict())
    assert names[0] & names[2] == ({"embedding.tokens.weight"} if model.head is None else set()) | (
        {"embedding.positions.weight"} if "positions" in fields else set()
    )
    assert not names[0] & names[1] and not names[1] & names[2]


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_of_stages_are_those_of_the_whole(tied):
    model, ids = small(tie_embeddings=tied), some_ids()
    model(ids).square().sum().backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    stages = [stage_of(model, (0,), True, False), stage_of(model, (1,), False, True)]
    stages[1](stages[0](ids)).square().sum().backward()
    found = {}
    for stage in stages:
        for name, p in stage.named_parameters():
            found[name] = found.get(name, 0) + p.grad
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_incomplete_stages_say_what_is_missing():
    model = small(tie_embeddings=False)
    model.head = None
    with pytest.raises(ValueError, match="no head and no tied embedding"):
        model(some_ids())
    model.embedding = None
    with pytest.raises(ValueError, match="no embedding: give states"):
        model(some_ids())


def counted_compile(model, graphs, **options):
    """Compile without breaks, with a backend that only counts what it is given."""
    torch._dynamo.reset()

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return torch.compile(model, fullgraph=True, backend=backend, **options)


@pytest.mark.parametrize("fields", [{}, {"kv_heads": 2, "positions": "learned", "tie_embeddings": False}])
def test_compiles_without_breaks(fields):
    """One graph for each length, or for all, whatever the checks and the choice of a kernel do."""
    model, graphs = small(layers=1, **fields), []
    compiled = counted_compile(model, graphs, dynamic=False)
    for ids in (some_ids(), some_ids(T=8)):
        assert torch.equal(compiled(ids), model(ids))
        compiled(ids).sum().backward()
    assert len(graphs) == 2
    compiled(some_ids(T=8), torch.arange(3, 11), head=lambda x, w: x[:, -1] @ w.T)
    assert len(graphs) == 3
    compiled = counted_compile(model, graphs, dynamic=True)
    for T in (8, 9, 15, 24):
        assert torch.equal(compiled(some_ids(T=T)), model(some_ids(T=T)))
    assert len(graphs) == 4


class Slots:
    """A cache of fixed size: the filled part of it is handed out."""

    def __init__(self, config, B=2):
        self.k, self.v = torch.zeros(2, B, config.heads, config.context, config.width // config.heads)
        self.length = 0

    def __call__(self, k, v):
        start, self.length = self.length, self.length + k.shape[2]
        self.k[:, :, start : self.length], self.v[:, :, start : self.length] = k, v
        return self.k[:, :, : self.length], self.v[:, :, : self.length]


@torch.no_grad()
def test_compiles_without_breaks_through_caches():
    model, ids, graphs = small(layers=1), some_ids(), []
    compiled = counted_compile(model, graphs)
    caches = [Slots(model.config) for _ in model.blocks]
    parts = [compiled(part, caches=caches) for part in ids.split((10, 1, 1, 1, 11), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-5)
    assert len(graphs) < 5  # not one for each length that a cache has


def initialize_sharded(rank, port):
    """Build on the meta device, shard, materialize, initialize: the values are those of one process."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo")
    whole = small()
    with torch.device("meta"):
        sharded = Transformer(SMALL)
    mesh = init_device_mesh("cpu", (2,))
    for module in (*sharded.blocks.values(), sharded):
        fully_shard(module, mesh=mesh)
    sharded.to_empty(device="cpu")
    for model in (whole, sharded):
        torch.manual_seed(1)
        initialize_weights(model, 0.02, 0.01)
    for (name, parameter), part in zip(whole.named_parameters(), sharded.parameters(), strict=True):
        assert part.to_local().shape[0] == parameter.shape[0] // 2
        assert torch.equal(part.full_tensor(), parameter), name
    torch.testing.assert_close(sharded(some_ids()), whole(some_ids()))
    torch.distributed.destroy_process_group()


def test_sharded_weights_start_as_those_of_one_process():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    ranks = [context.Process(target=initialize_sharded, args=(rank, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
        process.kill()
    assert [process.exitcode for process in ranks] == [0, 0]


# ---------------------------------------------------------------- by configuration


VARIANTS = {
    "plain": {},
    "grouped, wide heads": {"kv_heads": 2, "head_width": 16},
    "latent": {"attention": "latent"},
    "latent, all widths": {"attention": "latent", "latent": LatentConfig(24, 12, 10, 6, 14)},
    "window": {"window": 5},
    "window and sinks": {"window": 5, "sinks": 2},
    "post-norm": {"norm_place": "post", "norm": "layer"},
    "experts": {"experts": ExpertConfig(4)},
    "experts, bent": {"experts": ExpertConfig(3, 1), "feed_forward": "relu2", "bias": True},
    "deepseek": {
        "attention": "latent",
        "latent": LatentConfig(kv_rank=16, q_rank=12),
        "experts": ExpertConfig(4, shared=2, dense_layers=1, width=24, scoring="sigmoid", scale=2.5),
        "tie_embeddings": False,
    },
    "gelu": {"feed_forward": "gelu_exact", "bias": True},
    "learned": {"positions": "learned"},
    "none": {"positions": "none"},
    "linear": {"rope": RopeConfig("linear", 4.0)},
    "ntk": {"rope": RopeConfig("ntk", 4.0)},
    "yarn": {"rope": RopeConfig("yarn", 4.0, slow=0.5, fast=4.0)},
    "llama3": {"rope": RopeConfig("llama3", 8.0, trained_context=16)},
    "cap": {"logit_cap": 3.0},
    "gain": {"qk_gain": True},
    "scalars": {"stream_scalars": True},
    "value embeddings": {"value_embeddings": True, "kv_heads": 2},
    "n-grams": {"ngram_rows": 64},
    "all extras": {
        "logit_cap": 9.0,
        "qk_gain": True,
        "stream_scalars": True,
        "value_embeddings": True,
        "ngram_rows": 64,
        "window": 7,
        "tie_embeddings": False,
    },
}


def variant(name, seed=0):
    """A small model of a shape, all of whose parameters are random."""
    config = ModelConfig(**({"vocab_size": 50, "context": 32, "width": 32, "layers": 3, "heads": 4} | VARIANTS[name]))
    model, draw = Transformer(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_shape_counts_caches_and_learns(name):
    model = variant(name)
    config, ids = model.config, torch.randint(50, (2, 20), generator=torch.Generator().manual_seed(1))
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config)
    with torch.no_grad():
        expected = model(ids)
        for split in ((20,), (7, 13), (1,) * 20, (12, 1, 1, 6)):
            caches = build_caches(config, 2, 20)
            parts = [model(part, caches=caches) for part in ids.split(split, dim=1)]
            torch.testing.assert_close(torch.cat(parts, dim=1), expected, atol=1e-5, rtol=1e-5)
        changed = ids.clone()
        changed[:, 11] = (changed[:, 11] + 1) % 50
        moved = (model(changed) - expected).abs().amax(dim=(0, 2))
        assert (moved[:11] < 1e-6).all() and moved[11] > 1e-4
    model.train()(ids).square().mean().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    assert {part for part in idle if ".experts." not in part} == set()


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_by_formula_are_those_counted(name):
    if "window" in name or "extras" in name:
        return  # whose blocks leave scores out
    model = variant(name)
    explicit = Transformer(model.config, attend=attention).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        explicit(torch.zeros(2, 20, dtype=torch.int64))
    assert counter.get_total_flops() == 40 * count_operations(model.config, T=20)


def test_published_sizes():
    qwen3 = ModelConfig(151936, 40960, 1024, 28, 16, kv_heads=8, head_width=128, ff_width=3072)
    plain = {"qk_norm": False, "tie_embeddings": False}
    mixtral = ModelConfig(32000, 32768, 4096, 32, 32, kv_heads=8, ff_width=14336, experts=ExpertConfig(8), **plain)
    assert count_parameters(qwen3) == 596_049_920
    assert count_parameters(mixtral) == 46_702_792_704
    assert count_parameters(mixtral, active=True) == 12_879_925_248


def rebuilt(model, **changes):
    other = Transformer(replace(model.config, **changes)).eval()
    other.load_state_dict(model.state_dict(), strict=False)
    return other


def test_a_window_is_that_mask_and_sinks_stay_in_sight():
    """With one layer, a token sees what the mask lets through and nothing else."""
    config = ModelConfig(vocab_size=50, context=32, width=32, layers=1, heads=4, window=5, sinks=2, init_std=0.3)
    torch.manual_seed(0)
    model, ids = Transformer(config).eval(), torch.randint(50, (1, 20))
    with torch.no_grad():
        expected = model(ids)
        for place in range(20):
            changed = ids.clone()
            changed[:, place] = (changed[:, place] + 1) % 50
            moved = (model(changed) - expected).abs().amax(dim=(0, 2)) > 1e-6
            sees = [place <= t and (t - place < 5 or place < 2) for t in range(20)]
            assert moved.tolist() == sees


def test_extras_begin_as_if_they_were_not_there():
    torch.manual_seed(0)
    plain = Transformer(ModelConfig(vocab_size=50, context=32, width=32, layers=3, heads=4)).eval()
    ids = torch.randint(50, (2, 20))
    with torch.no_grad():
        for changes in ({"stream_scalars": True}, {"qk_gain": True}, {"ngram_rows": 64}, {"logit_cap": 1e6}):
            assert torch.allclose(rebuilt(plain, **changes)(ids), plain(ids), atol=1e-5)


def test_extras_by_hand():
    """Each against its formula, on a model of one block."""
    config = ModelConfig(vocab_size=50, context=32, width=32, layers=1, heads=4, stream_scalars=True, logit_cap=2.0)
    torch.manual_seed(0)
    model, ids = Transformer(config).eval(), torch.randint(50, (2, 9))
    plain = rebuilt(model, stream_scalars=False, logit_cap=None)
    block, first = model.blocks["0"], model.embedding(ids)
    with torch.no_grad():
        block.extras.stream.copy_(torch.tensor([0.5, 2.0]))
        states = plain.blocks["0"](2.5 * first)
        logits = plain.norm(states) @ plain.output_weight.T
        assert torch.allclose(model(ids), 2 * torch.tanh(logits / 2), atol=1e-5)

    valued = rebuilt(plain, value_embeddings=True)
    with torch.no_grad():
        valued.blocks["0"].extras.value.fill_(3.0)
        layer, x = valued.blocks["0"].attention, valued.blocks["0"].attention_norm(first)
        more = 3 * valued.values.weight[ids]
        layer_alone = rebuilt(plain).blocks["0"].attention
        kept = layer_alone.value.forward
        layer_alone.value.forward = lambda x: kept(x) + more
        assert torch.allclose(layer(x, more_values=more), layer_alone(x), atol=1e-6)
        added = first + layer_alone(x)
        expected = added + plain.blocks["0"].feed_forward(plain.blocks["0"].feed_forward_norm(added))
        assert torch.allclose(valued(ids, head=lambda states, _: states), plain.norm(expected), atol=1e-5)


def test_gain_is_a_factor_of_each_heads_queries():
    torch.manual_seed(0)
    layer = MultiHeadAttention(32, 4, qk_gain=True)
    other = MultiHeadAttention(32, 4)
    other.load_state_dict({name: tensor for name, tensor in layer.state_dict().items() if name != "gain"})
    gain, x = torch.tensor([0.5, 1.0, 2.0, -3.0]), torch.randn(2, 7, 32)
    with torch.no_grad():
        layer.gain.copy_(gain)
        other.query.weight.mul_(gain.repeat_interleave(8)[:, None])
        assert torch.allclose(layer(x), other(x), atol=1e-5)


def test_post_norm_by_hand():
    config = ModelConfig(vocab_size=50, context=32, width=32, layers=2, heads=4, norm_place="post", norm="layer")
    torch.manual_seed(0)
    model, ids = Transformer(config).eval(), torch.randint(50, (2, 9))
    with torch.no_grad():
        x = model.embedding(ids)
        for block in model.blocks.values():
            x = F.layer_norm(x + block.attention(x), (32,), block.attention_norm.weight, block.attention_norm.bias, 1e-6)
            x = F.layer_norm(x + block.feed_forward(x), (32,), block.feed_forward_norm.weight, block.feed_forward_norm.bias, 1e-6)
        assert torch.allclose(model(ids), x @ model.output_weight.T, atol=1e-5)
        assert isinstance(model.norm, torch.nn.Identity)


def test_a_capped_model_is_loud_with_a_head_that_knows_no_cap():
    model, ids = variant("cap"), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(TypeError):
        model(ids, head=lambda states, weight: states @ weight.T)
    assert model(ids).abs().max() < 3


def test_bytes_of_latent_caches():
    config = variant("deepseek").config
    assert sum(cache.nbytes for cache in build_caches(config, 2, 10)) == 3 * 2 * 10 * (16 + 4) * 4


@pytest.mark.parametrize("name", ["deepseek", "all extras", "experts"])
def test_a_model_from_the_meta_device_is_ready_after_initialization(name):
    config = variant(name).config
    torch.manual_seed(3)
    expected = Transformer(config)
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device="cpu")
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.fill_(7.0)
    torch.manual_seed(3)
    fresh = Transformer(config)  # takes the same numbers from the generator first
    torch.manual_seed(4)
    initialize_weights(model, config.init_std, config.init_std / (2 * config.layers) ** 0.5)
    torch.manual_seed(4)
    initialize_weights(fresh, config.init_std, config.init_std / (2 * config.layers) ** 0.5)
    for (a, x), (b, y) in zip(model.state_dict().items(), fresh.state_dict().items(), strict=True):
        assert a == b and torch.equal(x, y)
    assert expected.state_dict().keys() == model.state_dict().keys()


def test_settings_of_a_shape_survive_json():
    for name in VARIANTS:
        config = variant(name).config
        assert ModelConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("name", ["window", "qk_gain", "value_embeddings", "bias"])
def test_what_latent_attention_has_not(name):
    with pytest.raises(ValueError, match=f"{name}=.*latent attention has none"):
        ModelConfig(attention="latent", **{name: 3 if name == "window" else True})


def test_caches_of_another_number_are_refused():
    model, ids = variant("n-grams"), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="3 caches for 4 layers"):
        model(ids, caches=build_caches(model.config, 1, 8)[:-1])


def test_routers_are_tables_to_the_optimizers():
    model = variant("experts")
    assert {name for name, module in model.named_modules() if getattr(module, "parameter_group", "") == "tables"} == {
        "embedding.tokens",
        *(f"blocks.{layer}.feed_forward.router" for layer in range(3)),
    }
