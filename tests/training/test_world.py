"""Processes that agree, share sums, wait for rank 0, fail with one message, and hold a model together."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, TrainConfig
from llmbook.training.checkpoints import Checkpoints
from llmbook.training.loader import TokenWindows
from llmbook.training.optimizers import build_optimizers
from llmbook.training.trainer import Trainer, accumulate_gradients, evaluate_bits, read_metrics
from llmbook.training.world import World, WorldError, bare_model, distribute_model, fork_world, open_world

SHAPE = ModelConfig(vocab_size=50, context=8, width=16, layers=2, heads=2)
TEXT = np.random.default_rng(0).integers(0, 50, 700).astype(np.uint16)
# Muon, because AdamW divides by second moments that are nearly zero at first, and drifts apart in any two orders of adding.
SETTINGS = TrainConfig(steps=6, batch_size=12, warmup_steps=2, evaluate_every=3, precision="float32")


def masked_batch(rows=12):
    inputs, targets = TokenWindows(TEXT, 8, rows).batch(0)
    for row in range(rows):
        targets[row, row % 9 :] = -100  # from no target at all to all of them
    return inputs, targets


def fresh(tied=True):
    torch.manual_seed(0)
    return Transformer(ModelConfig(vocab_size=50, context=8, width=16, layers=2, heads=2, tie_embeddings=tied))


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def test_alone_everything_is_itself(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with open_world() as world:
        assert world == World() and world.agree(3) == 3 and world.first(lambda: "x") == "x"
        assert world.sum(torch.tensor([2.0])).item() == 2
    model = fresh()
    assert distribute_model(model, "fsdp", World()) is model and bare_model(model) is model
    with pytest.raises(ValueError, match="strategy='zero': choose ddp or fsdp"):
        distribute_model(model, "zero", World())


def test_sums_numbers_and_order(tmp_path):
    def work():
        with open_world() as world:
            total = world.sum(torch.tensor([1.0 + world.rank])).item()
            number = world.agree(7.5 if world.rank == 0 else -1.0), world.agree(5 if world.rank == 0 else -1)

            def build():
                if world.rank == 0:
                    time.sleep(0.2)
                    (tmp_path / "built").write_text("done")
                return (tmp_path / "built").read_text()

            return total, number, world.first(build), world.first(lambda: world.rank)

    assert fork_world(work, 3) == [(6.0, (7.5, 5), "done", rank) for rank in range(3)]


@pytest.mark.parametrize("where", ["sum", "first", "agree"])
def test_a_failure_is_the_message_of_all(where):
    def fail():
        with open_world() as world:
            if world.rank == 0:
                raise ValueError("this is why")
            {"sum": lambda: world.sum(torch.ones(1)), "first": lambda: world.first(int), "agree": lambda: world.agree(1)}[where]()

    with pytest.raises(WorldError) as raised:
        fork_world(fail, 3)
    lines = str(raised.value).splitlines()
    assert len(lines) == 3 and all("this is why" in line for line in lines) and "Connection" not in str(raised.value)


def test_a_process_that_dies_is_named():
    def die():
        os._exit(3)

    with pytest.raises(WorldError, match="process 0 died\nprocess 1 died"):
        fork_world(die, 2)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_gradients_of_unequal_masked_micro_batches_are_those_of_the_whole_batch(strategy, tied):
    inputs, targets = masked_batch()
    model = fresh(tied)
    F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}

    def work():
        with open_world() as world:
            model, mine = distribute_model(fresh(tied), strategy, world), slice(world.data_rank, None, world.data_size)
            totals = world.sum(accumulate_gradients(model, (inputs[mine], targets[mine]), rows=4))
            factor = world.data_size / totals[1]
            return {name: (whole(p.grad) * factor).tolist() for name, p in bare_model(model).named_parameters()}

    for found in fork_world(work, 2):
        for name, gradient in expected.items():
            torch.testing.assert_close(torch.tensor(found[name]), gradient, atol=1e-6, rtol=1e-4)


def start(folder, world, strategy, settings=SETTINGS):
    model = distribute_model(fresh(), strategy, world)
    windows = TokenWindows(TEXT, 8, settings.batch_size, 0, world.data_rank, world.data_size)

    def evaluate(model, part):
        return {"bits": evaluate_bits(model, TEXT[:200], 250, context=8, batch_size=3, world=world)}

    return Trainer(model, windows, build_optimizers(model, settings), settings, folder, evaluate=evaluate, world=world)


def rows_of(folder):
    return [{k: row[k] for k in ("loss", "norm", "bits") if k in row} for row in read_metrics(Path(folder) / "metrics.jsonl")]


@pytest.mark.parametrize("strategy, size", [("ddp", 2), ("fsdp", 2), ("fsdp", 3)])
def test_a_run_in_several_processes_is_that_of_one(tmp_path, strategy, size):
    alone = start(tmp_path / "alone", World(), strategy)
    alone.run()

    def work():
        with open_world() as world:
            run = start(tmp_path / "many", world, strategy)
            run.run()
            return [whole(p).tolist() for p in run.model.parameters()]

    weights = fork_world(work, size)
    assert all(found == weights[0] for found in weights)
    for row, expected in zip(rows_of(tmp_path / "many"), rows_of(tmp_path / "alone"), strict=True):
        assert row == pytest.approx(expected, abs=1e-4)
    for found, expected in zip(weights[0], alone.model.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(found), expected.detach(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("before, after", [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_checkpoints_are_read_into_any_number_of_processes(tmp_path, before, after):
    def train(size, steps, save):
        def work():
            with open_world() as world:
                run = start(tmp_path / "run", world, "fsdp")
                first = run.step
                for _ in range(steps):
                    run.advance()
                if save:
                    run.save()
                run.checkpoints.load(run.model, run.optimizers)  # what is there can be read where it was written
                return first, [whole(p).tolist() for p in run.model.parameters()]

        return fork_world(work, size)[0] if size > 1 else work()

    _, written = train(before, 3, save=True)
    step, read = train(after, 0, save=False)
    assert step == 3 and read == written  # cut anew, not computed anew


def test_damage_is_judged_once_for_all(tmp_path):
    def work():
        with open_world() as world:
            run = start(tmp_path, world, "fsdp")
            for _ in (1, 2):
                run.advance()
                run.save()
            if world.rank == 0:
                victim = next(run.checkpoints.path(2).glob("__1_*"))
                victim.write_bytes(victim.read_bytes()[:-1])
            world.agree(0)
            return Checkpoints(tmp_path, world).load(run.model, run.optimizers)["step"]

    assert fork_world(work, 2) == [1, 1]


def test_nobody_passes_before_all_have_come(tmp_path):
    def work():
        with open_world() as world:
            if world.rank == 1:
                time.sleep(0.3)
                (tmp_path / "late").write_text("here")
            world.wait()
            return (tmp_path / "late").exists()

    assert fork_world(work, 3) == [True] * 3
