"""Short trainings of small models on the standard library, with which benchmarks compare the parts of a model."""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from llmbook.data.held_out import SPLITS
from llmbook.preliminaries.settings import choose_preset
from llmbook.preliminaries.workspace import Workspace
from llmbook.tokenization.shards import ShardSet, open_shards
from llmbook.training.loader import TokenWindows
from llmbook.training.objective import bits_per_byte, next_token_loss
from llmbook.training.optimizers import AdamW, split_parameters
from llmbook.training.pretraining import prepare_shards
from llmbook.training.schedule import clip_gradients, warmup_cosine
from llmbook.training.trainer import evaluate_bits

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # two-sided, for n values


def texts() -> tuple[ShardSet, ShardSet]:
    """What is learned from and what is held out: the standard library in the 512 tokens of the preset `tiny`."""
    _, shards = prepare_shards(Workspace(), choose_preset("tiny"), progress=False)
    train, held_out = (open_shards(shards, split) for split in SPLITS)
    return train, held_out


class KeptRuns:
    """Results of trainings in a file of the workspace, one line each, so that a benchmark that was stopped goes on."""

    def __init__(self, name: str):
        self.path = Workspace().root / "benchmarks" / f"{name}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.found = dict(map(json.loads, lines))

    def __call__(self, key: str, run: Callable[[], dict]) -> dict:
        """What `run` returns, or has returned before under this key, which names everything that decides it."""
        if key not in self.found:
            self.found[key] = run()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.found[key]]) + "\n")
        return self.found[key]


def interval(values: list[float]) -> dict:
    """The mean of one value per seed, and half the width of its 95 % interval by Student's t."""
    spread = statistics.stdev(values) / len(values) ** 0.5
    return {"mean": round(statistics.fmean(values), 4), "half_width": round(T_95[len(values)] * spread, 4)}


def unigram_bits(train: ShardSet, held_out: ShardSet, tokens: int = 512 * 64) -> float:
    """Held-out bits per byte of who knows how frequent each token is in training, and nothing else."""
    counts = np.bincount(np.asarray(train.tokens), minlength=train.vocab_size) + 1.0
    part = np.asarray(held_out.tokens[:tokens])
    nats = -np.log(counts / counts.sum())[part].sum()
    return round(bits_per_byte(float(nats), held_out.text_bytes * len(part) / len(held_out.tokens)), 4)


def train_small(
    build: Callable[[], nn.Module],
    train: ShardSet,
    held_out: ShardSet,
    *,
    seed: int,
    steps: int,
    learning_rate: float,
    warmup: int,
    context: int = 64,
    batch_size: int = 16,
    clip_norm: float = 1.0,
    windows: int = 512,
) -> dict:
    """Train what `build` makes by AdamW and a cosine; its losses in nats per token, held-out bits per byte and seconds.

    The seed decides the first weights and the order of the batches. Tables learn at the same rate as matrices; nothing decays.
    """
    torch.manual_seed(seed)
    model = build()
    parameters = [parameter for group in split_parameters(model).values() for parameter in group]
    optimizer, losses, start = AdamW(parameters, weight_decay=0.0), [], time.perf_counter()
    batches = TokenWindows(train.tokens, context, batch_size, seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = warmup_cosine(step, peak=learning_rate, warmup=warmup, total=steps)
        total, count = next_token_loss(model, batches.batch(step))
        optimizer.zero_grad()
        (total / count).backward()
        clip_gradients(parameters, clip_norm)
        optimizer.step()
        losses.append(float(total.detach() / count))
    seconds = time.perf_counter() - start
    bits = evaluate_bits(model, held_out.tokens, held_out.text_bytes, context=context, windows=windows)
    every = max(1, steps // 50)
    curve = [round(statistics.fmean(losses[at : at + every]), 4) for at in range(0, steps, every)]
    return {
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss": curve,
        "steps_per_point": every,
        "held_out_bits_per_byte": round(bits, 4),
        "seconds": round(seconds, 1),
    }
