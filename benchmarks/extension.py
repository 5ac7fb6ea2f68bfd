"""Read four times further than a model was trained: its loss by position under each rule for the frequencies.

    python benchmarks/extension.py [--seeds 0 1 2] [--device cpu]

Trains small models without normalized queries and keys on windows of 128 tokens, and peers on windows of 512. The former then
read windows of 512 held-out tokens, each inside one document, first with the weights as they are, then after a short training
at 512. Two references: the peers, and the short models reading through a window of their own context that moves along. Takes
about 20 minutes of one core. Trainings and results are artifacts of the workspace ($LLMBOOK_HOME), so that a run that was
stopped goes on; writes benchmarks/results/extension-<device>.json.
"""

import argparse
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from record import machine, write_record
from torch import Tensor

from llmbook.architecture.transformer import Transformer, count_parameters
from llmbook.attention.extension import (
    interpolate_frequencies,
    interpolate_slow_frequencies,
    ntk_frequencies,
    yarn_frequencies,
    yarn_scale,
)
from llmbook.attention.rope import Rescale, RotaryEmbedding
from llmbook.data.held_out import SPLITS
from llmbook.preliminaries.settings import Run, choose_preset
from llmbook.preliminaries.workspace import Artifact, Workspace, write_atomic
from llmbook.tokenization.shards import ShardSet, open_shards
from llmbook.training.loader import TokenWindows
from llmbook.training.pretraining import load_model, prepare_shards, train_base_model
from llmbook.training.world import World

SHORT, FACTOR = 128, 4
LONG = FACTOR * SHORT
STEP_TOKENS, STEPS = 2048, 600
TUNING_STEPS, TUNING_WARMUP, TUNING_RATE = 60, 10, 3e-4
PER_DOCUMENT, BIN = 12, 32  # windows of a document that are read, at most; tokens whose losses are averaged


def chosen_run(context: int, seed: int) -> Run:
    """A Llama of 0.8 million parameters on the library's text, with as many tokens for any context."""
    preset = choose_preset("laptop")
    shape = {"width": 128, "layers": 3, "heads": 4, "qk_norm": False, "context": context}
    how = {"steps": STEPS, "batch_size": STEP_TOKENS // context, "seed": seed, "precision": "float32"}
    return replace(
        preset,
        tokenizer=replace(preset.tokenizer, vocab_size=1024),
        model=replace(preset.model, **shape),
        training=replace(preset.training, **how),
    )


def trained(workspace: Workspace, context: int, seed: int, device: str) -> Artifact:
    """The model of that context, trained or found."""
    run = chosen_run(context, seed)
    tokenizer, shards = prepare_shards(workspace, run)
    return train_base_model(workspace, tokenizer, shards, run.model, run.training, World(device=torch.device(device)))


def held_out_windows(held: ShardSet) -> Tensor:
    """Windows [W, LONG + 1] that lie in one document each, from the beginning of every document that is long enough."""
    found = []
    for number in range(held.document_ends[-1]):
        tokens = np.asarray(held.document(number)).astype(np.int64)
        starts = range(0, len(tokens) - LONG, LONG)
        found += [tokens[at : at + LONG + 1] for at in starts[:PER_DOCUMENT]]
    return torch.from_numpy(np.stack(found))


def rules() -> dict[str, tuple[Rescale | None, float]]:
    """Name to what changes frequencies, and by how much queries and keys are lengthened."""
    parts = {"factor": float(FACTOR), "trained_context": SHORT}
    return {
        "none": (None, 1.0),
        "linear": (partial(interpolate_frequencies, factor=float(FACTOR)), 1.0),
        "ntk": (partial(ntk_frequencies, factor=float(FACTOR)), 1.0),
        "llama3": (partial(interpolate_slow_frequencies, **parts), 1.0),
        "yarn, scale 1": (partial(yarn_frequencies, **parts), 1.0),
        "yarn": (partial(yarn_frequencies, **parts), yarn_scale(FACTOR)),
    }


def stretched(short: Transformer, rescale: Rescale | None, scale: float) -> Transformer:
    """A copy of a model that accepts LONG tokens, with other frequencies."""
    model = Transformer(replace(short.config, context=LONG)).to(short.output_weight.device)
    model.load_state_dict(short.state_dict())
    shape = short.config.width // short.config.heads, LONG, short.config.rope_base
    rotate = RotaryEmbedding(*shape, rescale=rescale, scale=scale)
    for block in model.blocks.values():
        block.attention.rotate = rotate
    return model


@torch.no_grad()
def token_losses(model: Transformer, rows: Tensor) -> Tensor:
    """Nats of each token but the first: [W, T + 1] -> [W, T]."""
    losses = []
    for some in rows.split(max(1, 16 * LONG // rows.shape[1])):
        logits = model(some[:, :-1])
        losses.append(F.cross_entropy(logits.transpose(1, 2), some[:, 1:], reduction="none"))
    return torch.cat(losses)


def by_position(losses: Tensor) -> list[float]:
    """Mean nats per token of each bin of positions: [W, T] -> T / BIN numbers."""
    return [round(x, 4) for x in losses.mean(0).unflatten(0, (-1, BIN)).mean(1).tolist()]


def moving_window(model: Transformer, rows: Tensor) -> list[float]:
    """As `by_position`, for a model that reads SHORT tokens at a time, moved on by BIN: from the second on, the last BIN count."""
    losses = []
    for start in range(0, LONG - SHORT + 1, BIN):
        part = token_losses(model, rows[:, start : start + SHORT + 1])
        losses.append(part if start == 0 else part[:, -BIN:])
    return by_position(torch.cat(losses, dim=1))


def tuned(model: Transformer, tokens: np.ndarray, seed: int) -> Transformer:
    """The model after TUNING_STEPS more steps on windows of its context."""
    context, device = model.config.context, model.output_weight.device
    windows = TokenWindows(tokens, context, STEP_TOKENS // context, seed=1000 + seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=TUNING_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    model.train()
    for step in range(TUNING_STEPS):
        share = min(1, (step + 1) / TUNING_WARMUP) * (1 - step / TUNING_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = TUNING_RATE * share
        ids, targets = (part.to(device) for part in windows.batch(step))
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def measure(short: Transformer, long: Transformer, shards: Artifact, seed: int) -> list[dict]:
    """The rows of one seed: who reads, after which training, and the nats per token by position."""
    train, held = (open_shards(shards, split) for split in SPLITS)
    windows = held_out_windows(held).to(short.output_weight.device)
    rows = [("trained at 512", "none", by_position(token_losses(long, windows)))]
    rows.append(("moving window", "none", moving_window(short, windows)))
    for name, rule in rules().items():
        model = stretched(short, *rule)
        rows.append((name, "none", by_position(token_losses(model.eval(), windows))))
        rows.append((name, "tuned", by_position(token_losses(tuned(model, train.tokens, seed), windows))))
    rows.append(("moving window", "tuned", moving_window(tuned(short, train.tokens, seed), windows)))
    return [{"seed": seed, "reader": name, "tuning": tuning, "nats": nats} for name, tuning, nats in rows]


def measured(workspace: Workspace, seed: int, device: str) -> list[dict]:
    """What `measure` returns for a seed, measured or found."""
    _, shards = prepare_shards(workspace, chosen_run(SHORT, seed))
    inputs = [shards, *(trained(workspace, context, seed, device) for context in (SHORT, LONG))]

    def builder(folder: Path) -> None:
        short, long = (load_model(model.path, device) for model in inputs[1:])
        write_atomic(folder / "rows.json", json.dumps(measure(short, long, shards, seed)))

    settings = {
        "rules": list(rules()),
        "tuning": [TUNING_STEPS, TUNING_WARMUP, STEP_TOKENS, TUNING_RATE],
        "read": [PER_DOCUMENT, BIN],
    }
    return json.loads(workspace.build("extension", settings, builder, inputs).file("rows.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    workspace, rows = Workspace(), []
    print(f"{'seed':>4} {'reader':16}{'tuning':>8}{'first 128':>12}{'129 to 256':>12}{'257 to 512':>12}")
    for seed in options.seeds:
        for row in measured(workspace, seed, options.device):
            rows.append(row)
            spans = (row["nats"][a:b] for a, b in ((0, 4), (4, 8), (8, 16)))
            means = "".join(f"{sum(span) / len(span):>12.3f}" for span in spans)
            print(f"{seed:>4} {row['reader']:16}{row['tuning']:>8}{means}", flush=True)
    run = chosen_run(SHORT, 0)
    _, shards = prepare_shards(workspace, run)
    vocab_size = open_shards(shards, "train").vocab_size
    shape = replace(run.model, vocab_size=vocab_size)
    record = machine(options.device) | {
        "source": run.corpus.source,
        "model": asdict(shape),
        "parameters": count_parameters(shape),
        "training": asdict(run.training),
        "tokens": STEPS * STEP_TOKENS,
        "tuning_steps": TUNING_STEPS,
        "tuning_tokens": TUNING_STEPS * STEP_TOKENS,
        "trained_context": SHORT,
        "context": LONG,
        "bin": BIN,
        "windows": len(held_out_windows(open_shards(shards, "held_out"))),
        "rows": rows,
    }
    print(write_record("extension", options.device, record))


if __name__ == "__main__":
    main()
