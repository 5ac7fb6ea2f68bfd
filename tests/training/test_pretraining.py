"""The chain of artifacts, trainings that begin and finish, saved models, and kinds."""

import json
import multiprocessing
import time
from dataclasses import replace

import pytest
import torch

import llmbook.training.pretraining as module
from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import PRESETS, CorpusConfig, ExpertConfig, ModelConfig
from llmbook.preliminaries.workspace import Workspace, WorkspaceBusy, WorkspaceError
from llmbook.training.pretraining import (
    _is_done,
    _write_result,
    check_device,
    load_base_model,
    load_model,
    prepare_shards,
    pretrain,
    save_model,
    train_base_model,
)
from llmbook.training.world import World


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
        corpus=CorpusConfig(str(source)),
        tokenizer=replace(tiny.tokenizer, vocab_size=320),
        model=replace(tiny.model, context=32),
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
    model, tokenizer = load_base_model(workspace)
    assert model.config.vocab_size == tokenizer.vocab_size == 320 and not model.training
    assert {item.kind for item in workspace.artifacts()} == {"corpus", "tokenizer", "shards", "base"}


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


def test_how_often_to_save_and_to_measure_builds_nothing(done, small):
    workspace, artifact = done
    often = replace(
        small.training, evaluate_every=1, evaluation_windows=3, checkpoint_seconds=0.1, micro_batch_size=2, parallel="fsdp"
    )
    assert pretrain(workspace, replace(small, training=often), progress=False).key == artifact.key


def test_a_kill_after_training_only_tidies_up(done, small, tmp_path):
    workspace, artifact = done
    tokenizer, _ = prepare_shards(workspace, small, progress=False)

    class Trained:
        model, folder, world = load_model(artifact.path), tmp_path, World()

    assert not _is_done(tmp_path)
    _write_result(Trained, tokenizer, {"steps": 30})
    assert _is_done(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not _is_done(tmp_path)


def test_two_trainings_of_the_same_are_not_mixed(done, small):
    workspace, _ = done
    tokenizer, shards = prepare_shards(workspace, small, progress=False)
    other, fork = replace(small.training, seed=7), multiprocessing.get_context("fork")
    begun = fork.Event()

    def begin():
        settings = {"model": replace(small.model, vocab_size=320), "training": other}
        workspace.begin("base", settings, [tokenizer, shards])
        begun.set()
        time.sleep(60)

    first = fork.Process(target=begin)
    first.start()
    try:
        assert begun.wait(20)
        with pytest.raises(WorkspaceBusy, match=f"process {first.pid} "):
            train_base_model(workspace, tokenizer, shards, small.model, other, progress=False)
    finally:
        first.kill()
        first.join()
    assert train_base_model(workspace, tokenizer, shards, small.model, other, progress=False).kind == "base"


def test_a_failure_in_training_gives_the_folder_to_the_next_attempt(done, small, monkeypatch):
    workspace, _ = done
    tokenizer, shards = prepare_shards(workspace, small, progress=False)
    arguments = workspace, tokenizer, shards, small.model, replace(small.training, seed=8, checkpoint_seconds=1e-6)
    advance, seen = module.Trainer.advance, []

    def failing(self):
        seen.append(self.step)
        if len(seen) == 11:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(module.Trainer, "advance", failing)
    with pytest.raises(KeyboardInterrupt):
        train_base_model(*arguments, progress=False)
    artifact = train_base_model(*arguments, progress=False)
    assert seen[:11] == list(range(11)) and seen[11:] == list(range(10, 30))
    assert not list(artifact.path.glob("*checkpoint-*")) and "owner.json" not in artifact.manifest["files"]


def test_a_damaged_model_is_trained_again(small, done, tmp_path):
    workspace = Workspace(tmp_path)
    artifact = pretrain(workspace, small, progress=False)
    (artifact.path / "model.safetensors").write_bytes(b"no model")
    again = pretrain(workspace, small, progress=False)
    assert again.manifest["files"]["model.safetensors"] == done[1].manifest["files"]["model.safetensors"]


def test_minutes_are_measured_once_and_stored(small, tmp_path, monkeypatch):
    import llmbook.training.trainer as trainer

    monkeypatch.setattr(trainer, "_seconds_per_step", lambda run: 0.5)
    timed = replace(small, training=replace(small.training, minutes=0.1))
    artifact = pretrain(Workspace(tmp_path), timed, progress=False)
    assert json.loads(artifact.file("summary.json").read_text())["steps"] == 12
    assert json.loads(artifact.file("run.json").read_text())["steps"] == 12


def test_the_newest_of_another_kind_is_not_the_base_model(done):
    workspace, artifact = done
    workspace.build("chat", {}, lambda folder: (folder / "model.safetensors").write_bytes(b"x"))
    base, _ = load_base_model(workspace, artifact.key)
    assert load_base_model(workspace)[0].config == base.config


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", "", "cuda:x"])
def test_devices_that_are_not_there(device):
    with pytest.raises(ValueError, match="give cpu, or cuda where PyTorch finds a GPU"):
        check_device(device)


OPTIONS = {
    "latent, experts": {"attention": "latent", "experts": ExpertConfig(4, shared=1, dense_layers=1, scoring="sigmoid")},
    "all extras": {
        "logit_cap": 15.0,
        "qk_gain": True,
        "stream_scalars": True,
        "value_embeddings": True,
        "ngram_rows": 500,
        "window": 9,
        "sinks": 1,
    },
    "post-norm, squared ReLU": {"norm_place": "post", "norm": "layer", "feed_forward": "relu2", "bias": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_kind_of_model_is_trained_stored_and_found_again(done, small, name):
    workspace, _ = done
    run = replace(small, model=replace(small.model, **OPTIONS[name]))
    artifact = pretrain(workspace, run, progress=False)
    summary = json.loads(artifact.file("summary.json").read_text())
    assert 0 < summary["held_out_bits_per_byte"] < 6
    model = load_model(artifact.path)
    assert model.config == replace(run.model, vocab_size=320)
    assert pretrain(workspace, run, progress=False).path == artifact.path


def test_experts_are_trained_with_the_balancing_loss(done, small, tmp_path):
    workspace, _ = done
    seen = {}
    for balance in (0.0, 0.5):
        shape = replace(small.model, vocab_size=320, experts=ExpertConfig(4, balance=balance))
        _, shards = prepare_shards(workspace, small)
        folder = tmp_path / str(balance)
        folder.mkdir()
        trainer = module._language_model_trainer(shards, shape, small.training, folder, World(), False)
        inputs = torch.randint(320, (4, 32), generator=torch.Generator().manual_seed(0))
        seen[balance] = trainer.loss(trainer.model, (inputs, inputs))[0] / inputs.numel()
    assert 0.4 < seen[0.5] - seen[0.0] < 0.5 * 2 * 4  # per layer, from balance to balance * E


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


def test_no_model_yet(tmp_path):
    with pytest.raises(WorkspaceError, match="no base"):
        load_base_model(Workspace(tmp_path))
