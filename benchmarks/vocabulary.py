"""Train the laptop preset with several vocabularies at equal operations: held-out bits per byte of each.

    python benchmarks/vocabulary.py [--sizes 1024 2048 4096 8192 16384] [--seeds 0 1 2] [--device cpu]

A larger vocabulary makes a token more expensive, so its run has fewer steps: all runs spend the operations, 6 (N + V D) per
token, of 500 steps with 4,096 ids. Uses the workspace ($LLMBOOK_HOME), so that a run that was stopped goes on; writes
benchmarks/results/vocabulary-<device>.json.
"""

import argparse
import json
from dataclasses import replace

import torch
from record import machine, write_record

from llmbook.architecture.transformer import count_parameters
from llmbook.data.held_out import SPLITS
from llmbook.preliminaries.settings import ModelConfig, Run, choose_preset
from llmbook.preliminaries.workspace import Workspace
from llmbook.tokenization.shards import open_shards
from llmbook.training.pretraining import prepare_shards, train_base_model
from llmbook.training.world import World

REFERENCE = (4096, 500)  # vocabulary and steps whose operations each run gets


def operations_per_token(model: ModelConfig) -> int:
    """Six for each weight. All are multiplied, since the embedding is tied to the head; the norms' are under one in a thousand."""
    return 6 * count_parameters(model)


def equal_operations(preset: Run, vocab_size: int, seed: int) -> Run:
    """The preset with another vocabulary and as many steps as the operations of `REFERENCE` pay for."""
    model, paying = (replace(preset.model, vocab_size=size) for size in (vocab_size, REFERENCE[0]))
    steps = round(REFERENCE[1] * operations_per_token(paying) / operations_per_token(model))
    tokenizer, training = replace(preset.tokenizer, vocab_size=vocab_size), replace(preset.training, steps=steps, seed=seed)
    return replace(preset, tokenizer=tokenizer, model=model, training=training)


def measure(workspace: Workspace, preset: Run, device: str) -> dict:
    """Train, and return what one row of the table needs."""
    tokenizer, shards = prepare_shards(workspace, preset)
    world = World(device=torch.device(device))
    artifact = train_base_model(workspace, tokenizer, shards, preset.model, preset.training, world)
    summary = json.loads(artifact.file("summary.json").read_text())
    train, held = (open_shards(shards, split) for split in SPLITS)
    bytes_per_token = train.text_bytes / len(train)
    return {
        "vocab_size": preset.model.vocab_size,
        "seed": preset.training.seed,
        "steps": preset.training.steps,
        "tokens": summary["tokens"],
        "text_bytes": round(summary["tokens"] * bytes_per_token),
        "bytes_per_token": round(bytes_per_token, 4),
        "operations": summary["tokens"] * operations_per_token(preset.model),
        "held_out_bytes": held.text_bytes,
        "held_out_bits_per_byte": round(summary["held_out_bits_per_byte"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16_384])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    preset, workspace, rows = choose_preset("laptop"), Workspace(), []
    if preset.model.tie_embeddings is not True:
        raise SystemExit("the operations of an untied model are not those of all its weights: change operations_per_token")
    print(f"{'V':>6}{'seed':>6}{'steps':>7}{'M tokens':>10}{'MB of text':>12}{'bits per byte':>15}")
    for seed in options.seeds:
        for size in options.sizes:
            row = measure(workspace, equal_operations(preset, size, seed), options.device)
            rows.append(row)
            print(
                f"{size:>6}{seed:>6}{row['steps']:>7}{row['tokens'] / 1e6:>10.2f}{row['text_bytes'] / 1e6:>12.2f}"
                f"{row['held_out_bits_per_byte']:>15.4f}",
                flush=True,
            )
    record = machine(options.device) | {"preset": "laptop", "source": preset.corpus.source, "rows": rows}
    print(write_record("vocabulary", options.device, record))


if __name__ == "__main__":
    main()
