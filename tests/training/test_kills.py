"""A run of one process, killed with SIGKILL at twenty random moments, ends each time with the weights of an undisturbed run."""

import multiprocessing
import os
import random
import shutil
import signal
import time

import numpy as np
import torch

from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, TrainConfig
from llmbook.training.loader import TokenWindows
from llmbook.training.optimizers import build_optimizers
from llmbook.training.pretraining import save_model
from llmbook.training.trainer import Trainer, evaluate_bits, read_metrics

KILLS = 20
SHAPE = ModelConfig(vocab_size=64, context=16, width=32, layers=2, heads=2)
TEXT = np.random.default_rng(0).integers(0, 64, 3000).astype(np.uint16)
# A checkpoint is due after every step, so that many kills fall into the writing of one.
SETTINGS = TrainConfig(steps=25, batch_size=4, warmup_steps=2, evaluate_every=10, precision="float32", checkpoint_seconds=1e-6)


def train(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    windows, optimizers = TokenWindows(TEXT, 16, 4), build_optimizers(model, SETTINGS)

    def evaluate(model, whole):
        return {"bits": evaluate_bits(model, TEXT[:300], 400, context=16)}

    Trainer(model, windows, optimizers, SETTINGS, folder, evaluate=evaluate).run()
    save_model(model, folder)


def start(folder):
    process = multiprocessing.get_context("fork").Process(target=train, args=(folder,))
    process.start()
    return process


def result(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return (folder / "model.safetensors").read_bytes(), [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_twenty_of_twenty_kills_resume_bit_identically(tmp_path):
    train(tmp_path / "warm")  # what is imported here need not be imported by the forks
    began = time.monotonic()
    calm = start(tmp_path / "calm")
    calm.join()
    whole = time.monotonic() - began
    expected = result(tmp_path / "calm")
    rng, steps = random.Random(os.getpid()), []
    assert len(expected[1]) == SETTINGS.steps
    while len(steps) < KILLS:
        folder = tmp_path / f"run-{len(steps)}"
        process = start(folder)
        process.join(rng.random() * whole)
        process.kill()
        process.join()
        if process.exitcode == 0:  # it was faster than the kill, which does not count
            shutil.rmtree(folder)
            continue
        assert process.exitcode == -signal.SIGKILL
        steps.append(len(read_metrics(folder / "metrics.jsonl")))
        again = start(folder)
        again.join()
        assert again.exitcode == 0 and result(folder) == expected, f"killed after {steps[-1]} logged steps"
    assert len(set(steps)) > 3, f"the moments of the kills were hardly random: {steps}"
