"""Exact resume, accumulation, evaluation against PyTorch's loss, other objectives, failures that say what to do."""

import errno
import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import llmbook.training.trainer as module
from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, TrainConfig
from llmbook.preliminaries.workspace import WorkspaceFull
from llmbook.training.loader import TokenWindows
from llmbook.training.optimizers import build_optimizers
from llmbook.training.trainer import (
    Trainer,
    TrainingDiverged,
    _progress_bar,
    accumulate_gradients,
    autocast_to,
    evaluate_bits,
    fastest_precision,
    machine_choices,
    micro_batches,
    read_metrics,
)

SHAPE = ModelConfig(vocab_size=64, context=16, width=32, layers=1, heads=2)
TEXT = np.random.default_rng(0).integers(0, 64, 3000).astype(np.uint16)
SETTINGS = TrainConfig(steps=12, batch_size=4, warmup_steps=2, evaluate_every=4, evaluation_windows=8, precision="float32")


def evaluate(model, whole):
    windows = None if whole else SETTINGS.evaluation_windows
    return {"held_out_bits_per_byte": evaluate_bits(model, TEXT[:500], 700, context=16, windows=windows)}


def trainer(folder, **settings):
    torch.manual_seed(0)
    config, model = replace(SETTINGS, **settings), Transformer(SHAPE)
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    optimizers = build_optimizers(model, config, dtype)
    return Trainer(model, TokenWindows(TEXT, 16, config.batch_size), optimizers, config, folder, evaluate=evaluate)


def curve(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resume_is_exact(tmp_path, precision, optimizer, monkeypatch):
    options = {"precision": precision, "optimizer": optimizer, "learning_rate": 0.01}
    whole = trainer(tmp_path / "whole", **options)
    summary = whole.run()
    for stop_at in (3, 5, 11):
        folder = tmp_path / f"parts{stop_at}"
        first = trainer(folder, **options)
        advance = first.advance
        monkeypatch.setattr(first, "advance", lambda f=first, a=advance, n=stop_at: _advance_and_save(f, a, n))
        with pytest.raises(KeyboardInterrupt):
            first.run()
        with open(folder / "metrics.jsonl", "a") as file:
            file.write('{"step": 99, "lo')  # cut off by the kill
        second = trainer(folder, **options)
        assert second.step == stop_at // 5 * 5
        resumed = second.run()
        assert resumed["held_out_bits_per_byte"] == summary["held_out_bits_per_byte"]
        assert resumed["tokens"] == summary["tokens"] == 12 * 4 * 16
        assert curve(folder) == curve(tmp_path / "whole") and len(curve(folder)) == 12
        for a, b in zip(whole.model.parameters(), second.model.parameters()):
            assert torch.equal(a, b)


def _advance_and_save(run, advance, stop_at):
    """Take a step; make a checkpoint due every fifth, and fail after `stop_at` of them."""
    if run.step == stop_at:
        raise KeyboardInterrupt
    row = advance()
    run.due = run.step % 5 == 0
    return row


def test_random_layers_resume_exactly_without_a_stored_generator(tmp_path):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

        def forward(self, x):
            return self.layers(x)

    class Ones:
        def batch(self, step):
            return torch.ones(3, 4)

    def start(folder):
        torch.manual_seed(1)
        model = Noisy()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        loss = lambda model, batch: (model(batch).square().sum(), torch.tensor(12))  # noqa: E731
        return Trainer(model, Ones(), [optimizer], SETTINGS, folder, loss=loss)

    whole, part = start(tmp_path / "a"), start(tmp_path / "b")
    whole.run()
    for _ in range(4):
        part.advance()
    part.save()
    torch.rand(7)  # somebody else draws in between
    rest = start(tmp_path / "b")
    rest.run()
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), rest.model.parameters()))


@pytest.mark.parametrize("rows", [None, 1, 3, 4])
def test_accumulation_is_that_of_the_whole_batch(rows):
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    inputs, targets = TokenWindows(TEXT, 16, 8).batch(0)
    targets[0], targets[1, 1:], targets[5, ::2] = -100, -100, -100
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    total, count = accumulate_gradients(model, (inputs, targets), rows=rows)
    assert (total / count).item() == pytest.approx(expected.item(), rel=1e-6) and count == (targets != -100).sum()
    for parameter, gradient in zip(model.parameters(), wanted):
        torch.testing.assert_close(parameter.grad / count, gradient, atol=1e-6, rtol=1e-4)


def test_a_step_takes_the_gradient_of_the_whole_batch_through_uneven_micro_batches(tmp_path):
    class Masked:
        def batch(self, step):
            inputs, targets = TokenWindows(TEXT, 16, 8).batch(step)
            targets[:3] = -100
            targets[3, 1:] = -100
            return inputs, targets

    runs = []
    for rows in (None, 3):
        torch.manual_seed(0)
        model, config = Transformer(SHAPE), replace(SETTINGS, micro_batch_size=rows, batch_size=8)
        run = Trainer(model, Masked(), [torch.optim.SGD(model.parameters(), lr=0.1)], config, tmp_path / str(rows))
        run.run()
        runs.append((run, curve(tmp_path / str(rows))))
    for a, b in zip(runs[0][0].model.parameters(), runs[1][0].model.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert [row["loss"] for row in runs[0][1]] == pytest.approx([row["loss"] for row in runs[1][1]], abs=1e-6)


def test_micro_batches_of_any_nest():
    batch = {"pair": (torch.arange(5), [torch.arange(10).view(5, 2)]), "name": "kept"}
    pieces = list(micro_batches(batch, 2))
    assert [piece["pair"][0].tolist() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert torch.equal(torch.cat([piece["pair"][1][0] for piece in pieces]), batch["pair"][1][0]) and pieces[0]["name"] == "kept"
    with pytest.raises(ValueError, match="at least one tensor"):
        list(micro_batches({"name": "nothing"}, 2))


def test_a_batch_without_any_target_is_an_error_and_not_nan(tmp_path):
    class Nothing:
        def batch(self, step):
            inputs, targets = TokenWindows(TEXT, 16, 4).batch(step)
            return inputs, torch.full_like(targets, -100)

    torch.manual_seed(0)
    model = Transformer(SHAPE)
    run = Trainer(model, Nothing(), build_optimizers(model, SETTINGS), SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="step 0: no target counts"):
        run.run()


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
    found = evaluate_bits(model, tokens, 900, context=16, batch_size=3)
    assert found == pytest.approx(nats / np.log(2) / 900, rel=1e-5)


def test_evaluation_leaves_the_model_in_training_mode_and_without_gradients(tmp_path):
    run, seen = trainer(tmp_path), []
    run.evaluate = lambda model, whole: seen.append((model.training, torch.is_grad_enabled())) or {"x": 1.0}
    assert run.measure(whole=True) == {"x": 1.0} and seen == [(False, False)] and run.model.training


def test_a_part_of_the_text_takes_a_part_of_the_bytes():
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    part = evaluate_bits(model, TEXT[:320], 640, context=16, windows=10)
    assert part == pytest.approx(evaluate_bits(model, np.append(TEXT[:160], TEXT[319]), 322, context=16), rel=0.02)


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    for _ in range(5):
        run.advance()
    run.save()
    real = os.fsync

    def full(descriptor):
        if run.step > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceFull, match="no space left"):
        run.run()
    monkeypatch.undo()
    assert trainer(tmp_path).step == 5
    assert trainer(tmp_path).run()["steps"] == 12


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    run = trainer(tmp_path)
    with torch.no_grad():
        run.model.embedding.tokens.weight[:] = float("nan")
    with pytest.raises(TrainingDiverged, match="step 0: loss nan"):
        run.run()
    assert run.checkpoints.steps() == []


def test_checkpoints_are_due_by_the_clock_whatever_the_speed(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    run, saved = trainer(tmp_path, checkpoint_seconds=30), []
    save = run.save
    monkeypatch.setattr(run, "save", lambda: saved.append(run.step) or save())
    advance = run.advance

    def slow():
        row = advance()
        now[0] += 7  # seconds a step
        return row

    monkeypatch.setattr(run, "advance", slow)
    run.run()
    assert saved == [6, 12]  # after step 5 the clock says 35 s, and the step that is under way then is saved with it
    assert max(b - a for a, b in zip([0, *saved], saved)) * 7 <= 30 + 2 * 7


def test_minutes_fix_the_number_of_steps_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_seconds_per_step", lambda run: 2.0)
    assert trainer(tmp_path, minutes=0.5).steps == 15
    monkeypatch.setattr(module, "_seconds_per_step", lambda run: 99.0)
    again = trainer(tmp_path, minutes=0.5)
    assert again.steps == 15 and again.run()["steps"] == 15
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 15


def test_measuring_the_speed_changes_nothing(tmp_path, capsys):
    torch.manual_seed(0)
    plain = trainer(tmp_path / "plain")
    plain.run()
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    parts = TokenWindows(TEXT, 16, 4), build_optimizers(model, SETTINGS), SETTINGS, tmp_path / "measured"
    measured = Trainer(model, *parts, evaluate=evaluate, progress=True)
    assert "step 0 of 12" in capsys.readouterr().out and measured.choices["seconds_per_step"] > 0
    measured.progress = False
    measured.run()
    for a, b in zip(plain.model.parameters(), measured.model.parameters()):
        assert torch.equal(a, b)


def test_what_changes_the_last_bits_is_said_when_a_run_goes_on(tmp_path, caplog):
    machine_choices(tmp_path, SETTINGS)
    choices = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(choices | {"torch": "1.0", "processes": 4}))
    machine_choices(tmp_path, replace(SETTINGS, micro_batch_size=2))
    for text in ("torch 1.0", "processes 4", "micro_batch_size None"):
        assert f"begun with {text}" in caplog.text


def test_machine_choices_are_made_once(tmp_path):
    first = machine_choices(tmp_path, replace(SETTINGS, precision="auto"))
    assert first["precision"] in ("float32", "bfloat16")
    other = {"float32": "bfloat16", "bfloat16": "float32"}[first["precision"]]
    assert machine_choices(tmp_path, replace(SETTINGS, precision=other)) == first


@pytest.mark.parametrize("bfloat16_seconds, chosen", [(0.2, "bfloat16"), (0.69, "bfloat16"), (0.71, "float32"), (4.0, "float32")])
def test_the_faster_precision_is_chosen(monkeypatch, bfloat16_seconds, chosen):
    times = {torch.float32: 1.0, torch.bfloat16: bfloat16_seconds}
    monkeypatch.setattr(module, "_product_seconds", lambda device, dtype: times[dtype])
    assert fastest_precision("cpu") == chosen


def test_autocast_and_bar(capsys):
    product = torch.ones(2, 2)
    with autocast_to("cpu", "bfloat16"):
        assert (product @ product).dtype == torch.bfloat16
    with autocast_to("cpu", "float32"):
        assert (product @ product).dtype == torch.float32
    with _progress_bar(3, 0, shown=False) as move:
        move(1.0, 2.0)
    with _progress_bar(3, 1, shown=True) as move:
        move(1.25, 2000.0)
    assert "2/3" in (text := capsys.readouterr().err) and "loss 1.250, 2,000 tokens/s" in text


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


def test_a_schedule_of_ones_own_and_stateful_batches(tmp_path):
    class Counting(TokenWindows):
        """Batches that depend on how many there were, as rollouts do."""

        given = 0

        def batch(self, step):
            self.given += 1
            return super().batch(self.given - 1)

        def state(self):
            return {"given": self.given}

        def restore(self, state):
            self.given = state["given"]

    def start(folder):
        torch.manual_seed(0)
        model = Transformer(SHAPE)
        parts = Counting(TEXT, 16, 4), build_optimizers(model, SETTINGS), SETTINGS, folder
        return Trainer(model, *parts, schedule=lambda step: 0.25)

    whole, part = start(tmp_path / "whole"), start(tmp_path / "part")
    whole.run()
    assert {row["learning_rate"] for row in curve(tmp_path / "whole")} == {0.25 * SETTINGS.learning_rate}
    for _ in range(7):
        part.advance()
    part.save()
    rest = start(tmp_path / "part")
    assert rest.batches.given == 7
    rest.run()
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), rest.model.parameters()))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_through_the_same_door(tmp_path, backend):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    plain, compiled = trainer(tmp_path / "plain", steps=3), trainer(tmp_path / "compiled", steps=3)
    counter = CompileCounterWithBackend(backend)
    compiled.model.compile(backend=counter, dynamic=False)
    losses = [[run.advance()["loss"] for _ in range(2)] for run in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert counter.frame_count == 1, "0: the loss goes past forward; more: it breaks the graph, or each step compiles anew"
