"""Exact resume, accumulation, checkpoints that survive damage, evaluation against PyTorch's loss."""

import errno
import json
import logging
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import llmbook.training.trainer as module
from llmbook.architecture.transformer import ModelConfig, Transformer
from llmbook.preliminaries.workspace import WorkspaceFull
from llmbook.training.loader import TokenWindows
from llmbook.training.optimizers import build_optimizers
from llmbook.training.trainer import (
    MetricsLog,
    TrainConfig,
    Trainer,
    TrainingDiverged,
    accumulate_gradients,
    autocast_to,
    checkpoint_names,
    evaluate_bits,
    fastest_precision,
    load_checkpoint,
    machine_choices,
    progress_bar,
    read_metrics,
    restore_training_state,
    save_checkpoint,
    training_state,
)

SHAPE = ModelConfig(vocab_size=64, context=16, width=32, layers=1, heads=2)
TEXT = np.random.default_rng(0).integers(0, 64, 3000).astype(np.uint16)
SETTINGS = {"steps": 12, "batch_size": 4, "warmup_steps": 2, "checkpoint_every": 5, "evaluate_every": 4, "evaluation_windows": 8}


def trainer(folder, **settings):
    torch.manual_seed(0)
    config = TrainConfig(**(SETTINGS | settings))
    return Trainer(Transformer(SHAPE), TokenWindows(TEXT, 16, config.batch_size), config, folder, held_out=(TEXT[:500], 700))


def curve(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("stop_at", [3, 5, 11])
def test_resume_is_exact(tmp_path, precision, optimizer, stop_at):
    options = {"precision": precision, "optimizer": optimizer, "learning_rate": 0.01}
    whole = trainer(tmp_path / "whole", **options)
    summary = whole.run()
    first = trainer(tmp_path / "parts", **options)
    log = MetricsLog(first.folder, 0)
    for _ in range(stop_at):
        first.advance(log, None)
    log.close()
    with open(first.folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 99, "lo')  # cut off by the kill
    second = trainer(tmp_path / "parts", **options)
    assert second.step == stop_at // 5 * 5
    resumed = second.run()
    assert resumed["held_out_bits_per_byte"] == summary["held_out_bits_per_byte"]
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole") and len(curve(tmp_path / "whole")) == 12
    for a, b in zip(whole.model.parameters(), second.model.parameters()):
        assert torch.equal(a, b)


def test_random_layers_resume_exactly(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    optimizers = build_optimizers(model, "adamw", 0.01, 0.01, 0.1)

    def step():
        model.zero_grad()
        model(torch.ones(3, 4)).square().sum().backward()
        optimizers[0].step()
        return [p.clone() for p in model.parameters()]

    step()
    save_checkpoint(tmp_path, training_state(model, optimizers), {"step": 1})
    expected = step()
    restore_training_state(load_checkpoint(tmp_path)[0], model, optimizers)
    assert all(torch.equal(a, b) for a, b in zip(step(), expected))


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_accumulation_is_the_mean_over_the_batch(micro):
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    inputs, targets = TokenWindows(TEXT, 16, 4).batch(0)
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    assert accumulate_gradients(model, inputs, targets, micro) == pytest.approx(expected.item(), rel=1e-5)
    for parameter, gradient in zip(model.parameters(), wanted):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("count", [500, 512, 7])
def test_evaluation_against_torch(count):
    torch.manual_seed(0)
    model, tokens = Transformer(SHAPE), TEXT[:count]
    row = torch.from_numpy(np.concatenate([tokens[-1:], tokens]).astype(np.int64))
    with torch.no_grad():
        nats = sum(
            F.cross_entropy(model(row[None, a : a + 16][:, : count - a])[0], row[a + 1 : a + 17], reduction="sum").item()
            for a in range(0, count, 16)
        )
    assert evaluate_bits(model, tokens, 900, batch_size=3) == pytest.approx(nats / np.log(2) / 900, rel=1e-5)
    assert model.training


def test_a_part_of_the_text_takes_a_part_of_the_bytes():
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    part = evaluate_bits(model, TEXT[:320], 640, windows=10)
    assert part == pytest.approx(evaluate_bits(model, np.append(TEXT[:160], TEXT[319]), 322), rel=0.02)


def test_keeps_two_checkpoints_and_passes_over_damaged_ones(tmp_path, caplog):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, {"x": torch.tensor(float(step))}, {"step": step})
    assert checkpoint_names(tmp_path) == ["checkpoint-00000003", "checkpoint-00000002"]
    assert len(list(tmp_path.iterdir())) == 4
    path = tmp_path / "checkpoint-00000003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        state, facts = load_checkpoint(tmp_path)
    assert facts["step"] == 2 and state["x"] == 2 and "checkpoint-00000003 is damaged" in caplog.text
    (tmp_path / "checkpoint-00000002.json").write_text("{")
    assert load_checkpoint(tmp_path) is None


def test_checkpoints_hold_no_pickle(tmp_path):
    trainer(tmp_path).run()
    assert not any(path.suffix in (".pt", ".pth", ".pkl") for path in tmp_path.rglob("*"))
    data = (tmp_path / "checkpoint-00000012.safetensors").read_bytes()
    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # a safetensors header


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    real = os.fsync

    def full(descriptor):
        if run.step > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceFull, match="no space left"):
        run.run()
    monkeypatch.undo()
    assert load_checkpoint(tmp_path)[1]["step"] == 5
    assert trainer(tmp_path).run()["steps"] == 12


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    run = trainer(tmp_path)
    with torch.no_grad():
        run.model.embedding.tokens.weight[:] = float("nan")
    with pytest.raises(TrainingDiverged, match="step 0: loss nan"):
        run.run()
    assert checkpoint_names(tmp_path) == []


def test_windows_of_other_sizes_are_refused(tmp_path):
    config = TrainConfig(**(SETTINGS | {"batch_size": 8}))
    with pytest.raises(ValueError, match="do not fit batch_size=8"):
        Trainer(Transformer(SHAPE), TokenWindows(TEXT, 16, 4), config, tmp_path)
    with pytest.raises(ValueError, match="model context of 16"):
        Trainer(Transformer(SHAPE), TokenWindows(TEXT, 32, 8), config, tmp_path)
    with pytest.raises(ValueError, match="micro-batches of 3"):
        accumulate_gradients(Transformer(SHAPE), *TokenWindows(TEXT, 16, 4).batch(0), 3)


def test_machine_choices_are_made_once(tmp_path):
    first = machine_choices(tmp_path, "auto", "cpu")
    assert first["precision"] in ("float32", "bfloat16")
    other = {"float32": "bfloat16", "bfloat16": "float32"}[first["precision"]]
    assert machine_choices(tmp_path, other, "cpu") == first


@pytest.mark.parametrize("bfloat16_seconds, chosen", [(0.2, "bfloat16"), (0.69, "bfloat16"), (0.71, "float32"), (4.0, "float32")])
def test_the_faster_precision_is_chosen(monkeypatch, bfloat16_seconds, chosen):
    times = {torch.float32: 1.0, torch.bfloat16: bfloat16_seconds}
    monkeypatch.setattr(module, "product_seconds", lambda device, dtype: times[dtype])
    assert fastest_precision("cpu") == chosen


def test_autocast_and_bar():
    product = torch.ones(2, 2)
    with autocast_to("cpu", "bfloat16"):
        assert (product @ product).dtype == torch.bfloat16
    with autocast_to("cpu", "float32"):
        assert (product @ product).dtype == torch.float32
    assert progress_bar(3, 0, shown=False) is None


def test_metrics_reach_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer(tmp_path).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [item.step for item in events.Scalars("loss")] == list(range(12))
    assert [item.step for item in events.Scalars("held_out_bits_per_byte")] == [3, 7, 11]
    losses = [row["loss"] for row in curve(tmp_path)]
    np.testing.assert_allclose([item.value for item in events.Scalars("loss")], losses, rtol=1e-5)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"steps": 0}, "steps=0"),
        ({"warmup_steps": 600}, "warmup_steps=600"),
        ({"micro_batch_size": 3}, "micro_batch_size=3"),
        ({"precision": "float16"}, "'float16': choose"),
        ({"optimizer": "sgd"}, "'sgd': choose"),
        ({"clip_norm": 0}, "clip_norm=0"),
        ({"final_fraction": 2}, "final_fraction=2"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"learning_rate": float("nan")}, "nan"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)
