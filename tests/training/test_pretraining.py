"""The chain of artifacts, saved models, and prompts that end in a space."""

import json
from dataclasses import replace

import pytest
import torch

from llmbook.architecture.transformer import ModelConfig, Transformer
from llmbook.preliminaries.workspace import Workspace, WorkspaceError
from llmbook.tokenization.tokenizer import Tokenizer
from llmbook.training.pretraining import (
    PRESETS,
    choose_preset,
    complete_text,
    draw_healed,
    finish_training,
    heal_prompt,
    load_base_model,
    load_model,
    prepare_shards,
    pretrain,
    save_model,
    train_base_model,
    training_is_done,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for number in range(60):
        lines = "".join(f"    value_{number % 7} = item_{line % 5}(value_{line % 7})\n" for line in range(number % 9 + 3))
        (source / f"module_{number}.py").write_text(
            f"def function_{number}(value_{number % 7}):\n{lines}    return value_{number % 7}\n" * 4
        )
    tiny = PRESETS["tiny"]
    return replace(
        tiny,
        source=str(source),
        model=replace(tiny.model, vocab_size=320, context=32),
        training=replace(tiny.training, steps=30, precision="float32"),
    )


@pytest.fixture(scope="module")
def done(small, tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    return workspace, pretrain(workspace, small, progress=False)


def test_the_chain_leaves_a_usable_model(done, small):
    workspace, artifact = done
    summary = json.loads(artifact.file("summary.json").read_text())
    assert summary["steps"] == 30 and 0 < summary["held_out_bits_per_byte"] < 6
    assert not list(artifact.path.glob("checkpoint-*"))
    model, words = load_base_model(workspace)
    assert model.config.vocab_size == words.vocab_size == 320 and not model.training
    assert {item.kind for item in workspace.artifacts()} == {"corpus", "tokenizer", "shards", "model"}


def test_nothing_is_built_twice_and_changes_rebuild_what_follows(done, small):
    workspace, artifact = done
    before = {item.key for item in workspace.artifacts()}
    assert pretrain(workspace, small, progress=False).key == artifact.key
    tokenizer, shards = prepare_shards(workspace, small, progress=False)
    other = train_base_model(workspace, tokenizer, shards, small.model, replace(small.training, seed=1), progress=False)
    assert {item.key for item in workspace.artifacts()} == before | {other.key}
    weights = [load_model(item.path).state_dict()["embedding.tokens.weight"] for item in (artifact, other)]
    assert not torch.equal(*weights)


def test_the_same_run_gives_the_same_weights(done, small, tmp_path):
    again = pretrain(Workspace(tmp_path), small, progress=False)
    assert again.key == done[1].key
    files = done[1].manifest["files"]
    assert again.manifest["files"]["model.safetensors"] == files["model.safetensors"]


def test_a_kill_after_training_only_tidies_up(done, small, tmp_path):
    workspace, artifact = done
    tokenizer, _ = prepare_shards(workspace, small, progress=False)
    assert not training_is_done(tmp_path)
    finish_training(load_model(artifact.path), tmp_path, tokenizer, {"steps": 30})
    assert training_is_done(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not training_is_done(tmp_path)


def test_models_are_saved_whole(tmp_path):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocab_size=40, context=8, width=16, layers=1, heads=2, tie_embeddings=False))
    save_model(model, tmp_path)
    ids = torch.arange(8)[None]
    assert torch.equal(load_model(tmp_path)(ids), model(ids))


def test_models_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no model that can be loaded"):
        load_model(tmp_path)
    save_model(Transformer(ModelConfig(vocab_size=40, context=8, width=16, layers=1, heads=2)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"width": 32}))
    with pytest.raises(ValueError, match="size mismatch"):
        load_model(tmp_path)


def test_unknown_preset():
    with pytest.raises(ValueError, match="unknown preset 'huge': choose one of tiny, laptop"):
        choose_preset("huge")


def test_no_model_yet(tmp_path):
    with pytest.raises(WorkspaceError, match="no model"):
        load_base_model(Workspace(tmp_path))


def test_healing_allows_what_begins_with_the_last_token():
    tokens = [b"a", b" ", b" a", b"ab", b"<|end|>"]
    assert heal_prompt([0, 1], tokens, special=1) == ([0], [1, 2])
    assert heal_prompt([0], tokens, special=1) == ([], [0, 3])
    assert heal_prompt([3], [b"a", b"<", b"<|", b"<", b"<|end|>"], special=1)[1] == [1, 2, 3]


def test_drawing_among_the_allowed():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocab_size=40, context=8, width=16, layers=1, heads=2))
    for seed in range(20):
        drawn = draw_healed(model, torch.tensor([[1, 2]]), [5, 7], torch.Generator().manual_seed(seed), temperature=1.0)
        assert drawn[0, :2].tolist() == [1, 2] and int(drawn[0, 2]) in (5, 7)


@pytest.mark.parametrize("prompt", ["", "def ", "def", "é\u4e2d ", "<|endoftext|>", "x" * 300])
def test_completions_begin_with_the_prompt_and_repeat(done, prompt):
    model, words = load_base_model(done[0])
    first = complete_text(model, words, prompt, 20, seed=3)
    assert first.startswith(prompt) and first == complete_text(model, words, prompt, 20, seed=3)
    assert complete_text(model, words, prompt, 0) == prompt
    one_more = complete_text(model, words, prompt, 1, seed=3)
    assert len(one_more.encode()) - len(prompt.encode()) <= max(map(len, words.tokens))


def test_a_tokenizer_of_another_vocabulary(done):
    model, _ = load_base_model(done[0])
    with pytest.raises(ValueError, match="the tokenizer has 261 ids and the model 320"):
        complete_text(model, Tokenizer([]), "x")
