"""Weights in the layout of `transformers`: read and written, equal in their logits, refused when anything does not fit."""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llmbook.architecture.pretrained import (
    config_from_huggingface,
    config_to_huggingface,
    load_huggingface,
    save_huggingface,
)
from llmbook.architecture.transformer import Transformer, build_caches, count_parameters
from llmbook.attention.rope import halves_to_pairs
from llmbook.preliminaries.settings import ExpertConfig, ModelConfig, RopeConfig

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"max_position_embeddings": 48, "initializer_range": 0.3, "pad_token_id": None, "eos_token_id": None, "bos_token_id": None}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12}
GPT2 = {"vocab_size": 97, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
GPT2 |= {"pad_token_id": None, "eos_token_id": None, "bos_token_id": None}


def llama(**changes):
    return lambda: transformers.LlamaConfig(**(SIZES | changes))


SHAPES = {
    "gpt2": lambda: transformers.GPT2Config(**GPT2),
    "gpt2 exact gelu, own width": lambda: transformers.GPT2Config(**GPT2, activation_function="gelu", n_inner=56),
    "gpt2 untied": lambda: transformers.GPT2Config(**GPT2, tie_word_embeddings=False),
    "llama": llama(),
    "llama tied, one key head": llama(num_key_value_heads=1, tie_word_embeddings=True),
    "llama with biases": llama(num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    "llama wide heads": llama(head_dim=16),
    "llama linear": llama(rope_parameters={"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}),
    "llama 3.1": llama(num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=dict(rope_theta=5e5, **LLAMA3)),
    "llama yarn": llama(rope_parameters=dict(rope_theta=1e4, **YARN)),
    "llama yarn with bounds": llama(rope_parameters=dict(rope_theta=1e4, beta_fast=16.0, beta_slow=2.0, **YARN)),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=16),
    "qwen3 tied": lambda: transformers.Qwen3Config(**SIZES, num_key_value_heads=4, head_dim=8, tie_word_embeddings=True),
    "mixtral": lambda: transformers.MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2),
    "mixtral one of three": lambda: transformers.MixtralConfig(
        **SIZES, num_key_value_heads=4, num_local_experts=3, num_experts_per_tok=1
    ),
}


def randomized(model, seed=0):
    """All parameters are random, norms and biases too, so that no exchange of names is hidden."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw) * 0.3
            parameter.copy_(1 + noise if "norm" in name.lower() or "ln_" in name else noise)
    return model.eval()


def built(name, seed=0):
    return randomized(transformers.AutoModelForCausalLM.from_config(SHAPES[name]()), seed)


def ids_of(seed=1, length=40):
    return torch.randint(97, (2, length), generator=torch.Generator().manual_seed(seed))


def check_equal(theirs, ours):
    ids = ids_of()
    with torch.no_grad():
        expected = theirs(ids).logits
        torch.testing.assert_close(ours(ids), expected, atol=1e-4, rtol=1e-4)
        caches = build_caches(ours.config, 2, 48)
        pieces = [ours(piece, caches=caches) for piece in ids.split((17, 1, 22), dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_both_directions(tmp_path, name):
    theirs = built(name)
    theirs.save_pretrained(tmp_path / "there")
    ours = load_huggingface(tmp_path / "there")
    assert not ours.training and sum(p.numel() for p in ours.parameters()) == count_parameters(ours.config)
    check_equal(theirs, ours)
    other = randomized(Transformer(ours.config), seed=5)
    save_huggingface(other, tmp_path / "back", shard_bytes=10_000)
    reader = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back").eval()
    assert type(reader) is type(theirs)
    check_equal(reader, other)
    again = load_huggingface(tmp_path / "back")
    assert again.config == ours.config
    for (a, x), (b, y) in zip(other.state_dict().items(), again.state_dict().items(), strict=True):
        assert a == b and torch.equal(x, y)


def test_files_of_earlier_years(tmp_path):
    """Names without their first word, masks and frequencies that were buffers, the tied matrix twice, `rope_scaling`."""
    theirs = built("gpt2")
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    tensors |= {"h.0.attn.bias": torch.ones(1, 1, 48, 48), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors")
    check_equal(theirs, load_huggingface(tmp_path))

    theirs = built("llama 3.1")
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, tmp_path / "model.safetensors")
    plain = json.loads((tmp_path / "config.json").read_text())
    rope = plain.pop("rope_parameters")
    plain["rope_theta"] = rope.pop("rope_theta")
    plain["rope_scaling"] = rope
    (tmp_path / "config.json").write_text(json.dumps(plain))
    check_equal(theirs, load_huggingface(tmp_path))


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_rotary_pairs_are_converted_both_ways(tmp_path, name):
    ours = randomized(Transformer(config_from_huggingface(SHAPES[name]().to_dict())))
    save_huggingface(ours, tmp_path / "halves")
    save_huggingface(ours, tmp_path / "pairs", rope_pairs=True)
    halves, pairs = (load_file(tmp_path / layout / "model.safetensors") for layout in ("halves", "pairs"))
    changed = {name for name in halves if not torch.equal(halves[name], pairs[name])}
    assert changed == {name for name in halves if any(part in name for part in ("q_proj", "k_proj", "q_norm", "k_norm"))}
    query = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(pairs[query], halves_to_pairs(halves[query], 4))
    again = load_huggingface(tmp_path / "pairs", rope_pairs=True)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))
    with torch.no_grad():
        assert (load_huggingface(tmp_path / "pairs")(ids_of()) - ours(ids_of())).abs().max() > 0.1


def test_the_books_own_model_is_a_qwen3_to_others(tmp_path):
    config = ModelConfig(vocab_size=97, context=48, width=32, layers=2, heads=4)
    ours = randomized(Transformer(config))
    save_huggingface(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    check_equal(theirs, ours)


def test_dtype_context_and_tokenizer(tmp_path):
    built("llama 3.1").save_pretrained(tmp_path / "there")
    short = load_huggingface(tmp_path / "there", torch.bfloat16, context=20)
    assert short.config.context == 20 and {p.dtype for p in short.parameters()} == {torch.bfloat16}
    whole = load_huggingface(tmp_path / "there", torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(short(ids_of(length=20)), whole(ids_of(length=20)))
    (tmp_path / "tokenizer.json").write_text("{}")
    save_huggingface(short, tmp_path / "back", tokenizer=tmp_path / "tokenizer.json")
    assert (tmp_path / "back" / "tokenizer.json").read_text() == "{}"
    assert json.loads((tmp_path / "back" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {t.dtype for t in load_file(tmp_path / "back" / "model.safetensors").values()} == {torch.bfloat16}
    built("gpt2").save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ValueError, match="context=20: this model has 48 positions"):
        load_huggingface(tmp_path / "gpt2", context=20)


def test_a_save_over_an_earlier_one_leaves_nothing_of_it(tmp_path):
    first, second = (randomized(Transformer(ModelConfig(97, 48, 32, 2, 4)), seed) for seed in (0, 1))
    save_huggingface(first, tmp_path, shard_bytes=20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2 and (tmp_path / "model.safetensors.index.json").exists()
    save_huggingface(second, tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert all(torch.equal(a, b) for a, b in zip(second.parameters(), load_huggingface(tmp_path).parameters()))


def test_shards_are_as_small_as_asked_or_of_one_tensor(tmp_path):
    save_huggingface(Transformer(ModelConfig(97, 48, 32, 2, 4)), tmp_path, shard_bytes=9000)
    for path in tmp_path.glob("*.safetensors"):
        tensors = load_file(path)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 9000
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    parameters = count_parameters(ModelConfig(97, 48, 32, 2, 4))
    assert index["metadata"]["total_size"] == 4 * parameters and len(index["weight_map"]) == 24


# ---------------------------------------------------------------- what is refused


def test_missing_extra_and_misshapen_tensors_in_one_error(tmp_path):
    built("qwen3").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.self_attn.q_norm.weight"]
    tensors["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
    tensors["lm_head.weight"] = torch.zeros(98, 32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError) as caught:
        load_huggingface(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  missing: model.layers.0.self_attn.q_norm.weight",
        "  not understood: model.layers.7.mlp.up_proj.weight",
        "  shape: lm_head.weight (98, 32), needed (97, 32)",
    ]


def test_a_long_list_of_problems_is_cut(tmp_path):
    built("llama").save_pretrained(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="and 10 more$"):
        load_huggingface(tmp_path)


def test_folders_that_are_no_models(tmp_path):
    with pytest.raises(ValueError, match="no readable config.json"):
        load_huggingface(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no readable config.json"):
        load_huggingface(tmp_path)
    (tmp_path / "config.json").write_text(SHAPES["llama"]().to_json_string(use_diff=False))
    with pytest.raises(ValueError, match="neither model.safetensors nor model.safetensors.index.json"):
        load_huggingface(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
    with pytest.raises(ValueError, match="files that are missing: gone.safetensors"):
        load_huggingface(tmp_path)


PLAIN = SHAPES["llama"]().to_dict() | {"rope_parameters": None}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "bert"}, "model_type='bert': choose one of gpt2, llama, qwen3, mixtral"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' .understood: 'silu'."),
        ({"mlp_bias": True}, "mlp_bias=True"),
        ({"model_type": "qwen3", "use_sliding_window": True}, "use_sliding_window=True"),
        ({"sliding_window": 8}, "sliding_window=8"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "without dynamic"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "without mscale"),
        ({"num_key_value_heads": 3}, "kv_heads=3"),
    ],
)
def test_shapes_that_are_not_understood(changes, message):
    with pytest.raises(ValueError, match=message):
        config_from_huggingface(PLAIN | changes)


def test_a_missing_field_is_named():
    plain = dict(PLAIN)
    del plain["num_hidden_layers"]
    with pytest.raises(ValueError, match="this llama config.json has no 'num_hidden_layers'"):
        config_from_huggingface(plain)


BASE = ModelConfig(vocab_size=97, context=48, width=32, layers=2, heads=4)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"value_embeddings": True}, "value_embeddings=True"),
        ({"stream_scalars": True}, "stream_scalars=True"),
        ({"qk_gain": True}, "qk_gain=True"),
        ({"ngram_rows": 8}, "ngram_rows=8"),
        ({"logit_cap": 5.0}, "logit_cap=5.0"),
        ({"norm_place": "post"}, "norm_place='post'"),
        ({"attention": "latent"}, "attention='latent'"),
        ({"feed_forward": "relu2"}, "feed_forward='relu2'"),
        ({"positions": "none"}, "positions='none'"),
        ({"bias": True}, "bias=True"),  # a Qwen3 has none in its feed-forward layer
        ({"rope": RopeConfig("ntk", 2.0)}, "rope="),
        ({"experts": ExpertConfig(4)}, "qk_norm=True"),
        ({"experts": ExpertConfig(4, shared=1), "qk_norm": False}, "experts="),
        ({"norm": "layer", "qk_norm": False}, "positions='rope'"),
        ({"norm": "layer", "positions": "learned", "feed_forward": "gelu", "bias": True}, "qk_norm=True"),
    ],
)
def test_shapes_that_no_family_has(changes, named):
    with pytest.raises(ValueError, match=r"no \w+ has .*this model cannot be saved as one") as caught:
        config_to_huggingface(replace(BASE, **changes))
    assert named in str(caught.value)


def test_an_open_vocabulary_and_a_wrong_size(tmp_path):
    with pytest.raises(ValueError, match="vocab_size=None"):
        config_to_huggingface(ModelConfig())
    with pytest.raises(ValueError, match="shard_bytes=0"):
        save_huggingface(Transformer(BASE), tmp_path, shard_bytes=0)
    assert list(tmp_path.iterdir()) == []
