"""Record the laptop preset: held-out bits per byte after its minutes of training, and what the model writes.

    python benchmarks/pretrain.py [--preset laptop] [--device cpu]

Runs `llmbook pretrain` from nothing in a temporary workspace, prints the curve and writes
benchmarks/results/pretrain-<device>.json.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict

import torch
from record import machine, write_record

from llmbook.architecture.transformer import count_parameters
from llmbook.inference.completion import complete_text
from llmbook.preliminaries.settings import choose_preset
from llmbook.preliminaries.workspace import Workspace
from llmbook.tokenization.shards import open_shards
from llmbook.training.pretraining import load_base_model, prepare_shards, train_base_model
from llmbook.training.trainer import read_metrics
from llmbook.training.world import World

PROMPT = "def "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    preset = choose_preset(options.preset)
    with tempfile.TemporaryDirectory() as folder:
        workspace, start = Workspace(folder), time.perf_counter()
        tokenizer, shards = prepare_shards(workspace, preset)
        preparation = time.perf_counter() - start
        world = World(device=torch.device(options.device))
        artifact = train_base_model(workspace, tokenizer, shards, preset.model, preset.training, world)
        wall = time.perf_counter() - start
        summary = json.loads(artifact.file("summary.json").read_text())
        rows = read_metrics(artifact.file("metrics.jsonl"))
        train, held_out = (open_shards(shards, split) for split in ("train", "held_out"))
        model, its_tokenizer = load_base_model(workspace, artifact.key, options.device)
        sample = complete_text(model, its_tokenizer, PROMPT, 120, seed=0, temperature=0.8, top_k=50, top_p=None)
    curve = [
        {"step": row["step"] + 1, "seconds": round(row["seconds"], 1), "bits_per_byte": round(row["held_out_bits_per_byte"], 4)}
        for row in rows
        if "held_out_bits_per_byte" in row
    ]
    record = machine(options.device) | {
        "preset": options.preset,
        "source": preset.corpus.source,
        "precision": summary["precision"],
        "model": asdict(model.config),
        "training": asdict(preset.training),
        "parameters": count_parameters(model.config),
        "vocab_size": model.config.vocab_size,
        "tokens": summary["tokens"],
        "seconds": round(summary["seconds"], 1),
        "preparation_seconds": round(preparation, 1),
        "wall_seconds": round(wall, 1),
        "train_bytes": train.text_bytes,
        "train_tokens": len(train),
        "held_out_bytes": held_out.text_bytes,
        "held_out_documents": len(held_out.offsets),
        "held_out_bits_per_byte": round(summary["held_out_bits_per_byte"], 4),
        "held_out_curve": curve,
        "losses": [round(row["loss"], 4) for row in rows],
        "prompt": PROMPT,
        "sample": sample,
    }
    print(f"{'step':>6}{'seconds':>10}{'bits per byte':>16}")
    for point in curve:
        print(f"{point['step']:>6}{point['seconds']:>10}{point['bits_per_byte']:>16}")
    print(f"{summary['held_out_bits_per_byte']:.4f} on all of the held-out text; the rows above read its beginning")
    print(write_record("pretrain" if options.preset == "laptop" else f"pretrain-{options.preset}", options.device, record))


if __name__ == "__main__":
    main()
