"""Checkpoints: atomic, verified, without pickle where whole, refused where they do not fit."""

import json
import logging

import pytest
import torch
from torch import nn

from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, TrainConfig
from llmbook.training.checkpoints import Checkpoints
from llmbook.training.objective import next_token_loss
from llmbook.training.optimizers import build_optimizers

SHAPE = ModelConfig(vocab_size=30, context=8, width=16, layers=2, heads=2)
IDS = torch.arange(24).view(3, 8)


def fresh(seed=0, shape=SHAPE, **settings):
    torch.manual_seed(seed)
    model = Transformer(shape)
    return model, build_optimizers(model, TrainConfig(**settings))


def steps(model, optimizers, count):
    for _ in range(count):
        model.zero_grad()
        next_token_loss(model, (IDS, IDS + 1))[0].backward()
        for optimizer in optimizers:
            optimizer.step()


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_next_steps_are_the_same(tmp_path, optimizer, tied):
    shape = ModelConfig(vocab_size=30, context=8, width=16, layers=2, heads=2, tie_embeddings=tied)
    model, optimizers = fresh(0, shape, optimizer=optimizer)
    steps(model, optimizers, 3)
    Checkpoints(tmp_path).save(3, model, optimizers, {"seconds": 1.0})
    steps(model, optimizers, 3)
    other, its = fresh(1, shape, optimizer=optimizer)
    peaks = [group["lr"] for o in its for group in o.param_groups]
    assert Checkpoints(tmp_path).load(other, its)["seconds"] == 1.0
    assert [group["lr"] for o in its for group in o.param_groups] == peaks
    steps(other, its, 3)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other)))


@pytest.mark.parametrize("make", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), torch.optim.Adam])
def test_optimizers_of_torch(tmp_path, make):
    model, _ = fresh()
    optimizers = [make(model.parameters())]
    steps(model, optimizers, 3)
    Checkpoints(tmp_path).save(3, model, optimizers, {})
    steps(model, optimizers, 2)
    other, _ = fresh(1)
    its = [make(other.parameters())]
    Checkpoints(tmp_path).load(other, its)
    steps(other, its, 2)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other)))


def test_a_weight_that_never_had_a_gradient(tmp_path):
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    optimizers = build_optimizers(model, TrainConfig(optimizer="adamw"))

    def step(model, optimizers):
        model.zero_grad()
        model["used"](torch.ones(1, 2)).sum().backward()
        optimizers[0].step()

    step(model, optimizers)
    Checkpoints(tmp_path).save(1, model, optimizers, {})
    other = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    its = build_optimizers(other, TrainConfig(optimizer="adamw"))
    Checkpoints(tmp_path).load(other, its)
    for each, own in ((model, optimizers), (other, its)):
        each.zero_grad()
        (each["used"](torch.ones(1, 2)).sum() + each["idle"](torch.ones(1, 2)).sum()).backward()
        own[0].step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def test_keeps_two_and_passes_over_damaged_ones(tmp_path, caplog):
    model, optimizers = fresh()
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        steps(model, optimizers, 1)
        checkpoints.save(step, model, optimizers, {})
    assert checkpoints.steps() == [3, 2] and len(list(tmp_path.iterdir())) == 2
    path = checkpoints.path(3) / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        assert checkpoints.load(model, optimizers)["step"] == 2
    assert "checkpoint-00000003 is damaged" in caplog.text
    for break_it in ("{", "[]", '{"files": 3}', '{"files": {"other": {}}}'):
        (checkpoints.path(2) / "facts.json").write_text(break_it)
        assert checkpoints.load(model, optimizers) is None
    checkpoints.clear()
    assert checkpoints.steps() == [] and checkpoints.load(model, optimizers) is None


def test_no_pickle_and_no_half_checkpoint(tmp_path, monkeypatch):
    model, optimizers = fresh()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, model, optimizers, {})
    data = (checkpoints.path(1) / "state.safetensors").read_bytes()
    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # a safetensors header
    assert sorted(path.name for path in checkpoints.path(1).iterdir()) == ["facts.json", "state.safetensors"]

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2, model, optimizers, {})
    monkeypatch.undo()
    assert checkpoints.steps() == [1] and checkpoints.load(model, optimizers)["step"] == 1
    checkpoints.save(2, model, optimizers, {})
    assert checkpoints.steps() == [2, 1] and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "shape, message",
    [
        (ModelConfig(vocab_size=30, context=8, width=16, layers=3, heads=2), "lacks .'model.blocks.2"),
        (ModelConfig(vocab_size=30, context=8, width=16, layers=1, heads=2), "the model lacks .'model.blocks.1|'optimizer"),
        (ModelConfig(vocab_size=30, context=8, width=32, layers=2, heads=2), r"is \(16, 16\) in the checkpoint and \(32, 32\)"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, shape, message):
    model, optimizers = fresh()
    Checkpoints(tmp_path).save(1, model, optimizers, {})
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path).load(*fresh(0, shape))


def test_the_folder_may_be_text(tmp_path):
    model, optimizers = fresh()
    Checkpoints(str(tmp_path)).save(1, model, optimizers, {})
    assert Checkpoints(str(tmp_path)).load(model, optimizers)["step"] == 1
