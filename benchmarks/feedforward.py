"""Compare feed-forward layers with equal parameters and equal tokens: ReLU, GELU, squared ReLU and SwiGLU.

    python benchmarks/feedforward.py [--seeds 0 1 2] [--rates 0.0015 0.003] [--scales 0.02 0.1]

Small models learn the standard library in 512 tokens (`small_training.py`). Each variant first looks for its learning rate and its
scale of first weights, with a seed that is not used again, and then runs once per seed; within a seed all variants see the same
batches, so their differences from GELU are paired. Takes eight minutes on one quiet core and may be interrupted; writes
benchmarks/results/feedforward-cpu.json.
"""

import argparse
from dataclasses import replace

import torch.nn.functional as F
from record import machine, write_record
from small_training import KeptRuns, interval, texts, train_small

from llmbook.architecture.feedforward import FeedForward, SwiGLU, gelu_tanh, squared_relu, swiglu_width
from llmbook.architecture.transformer import Transformer, initialize_weights
from llmbook.preliminaries.settings import ModelConfig

WIDTH, LAYERS = 96, 4
SHAPE = ModelConfig(vocab_size=512, context=64, width=WIDTH, layers=LAYERS, heads=3, feed_forward="gelu")
TRAINING = {"steps": 300, "warmup": 20}
SEARCH_SEED = 100


def layer_of(kind: str) -> FeedForward | SwiGLU:
    """A layer without bias of 8 D * D parameters."""
    if kind == "swiglu":
        return SwiGLU(WIDTH, swiglu_width(WIDTH))  # 256, exactly 8/3 of the width
    return FeedForward(WIDTH, 4 * WIDTH, bias=False, activation={"relu": F.relu, "gelu": gelu_tanh, "relu2": squared_relu}[kind])


KINDS = ("relu", "gelu", "relu2", "swiglu")


def build(kind: str, shape: ModelConfig) -> Transformer:
    """A small Llama with this kind of feed-forward layer."""
    model = Transformer(shape)
    for block in model.blocks.values():
        block.feed_forward = layer_of(kind)
    initialize_weights(model, shape.init_std, shape.init_std / (2 * LAYERS) ** 0.5)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0015, 0.003])
    parser.add_argument("--scales", type=float, nargs="+", default=[0.02, 0.1])
    options = parser.parse_args()
    (train, held_out), kept = texts(), KeptRuns("feedforward")

    def run(kind: str, seed: int, rate: float, scale: float) -> dict:
        shape, settings = replace(SHAPE, init_std=scale), TRAINING | {"seed": seed, "learning_rate": rate}
        key = f"{kind} {shape} {settings}"
        found = kept(key, lambda: train_small(lambda: build(kind, shape), train, held_out, **settings))
        print(f"{kind:8}scale {scale:<6}rate {rate:<8}seed {seed:<5}{found['held_out_bits_per_byte']:>8.4f}", flush=True)
        return {"kind": kind, "learning_rate": rate, "init_std": scale} | found

    names = ("kind", "learning_rate", "init_std", "held_out_bits_per_byte")
    search = [run(kind, SEARCH_SEED, rate, scale) for scale in options.scales for kind in KINDS for rate in options.rates]
    search, best = [{name: row[name] for name in names} for row in search], {}
    for row in sorted(search, key=lambda row: row["held_out_bits_per_byte"]):
        best.setdefault(row["kind"], (row["learning_rate"], row["init_std"]))
    rows = [run(kind, seed, *best[kind]) for seed in options.seeds for kind in KINDS]
    bits = {kind: [row["held_out_bits_per_byte"] for row in rows if row["kind"] == kind] for kind in KINDS}
    summary = [
        {
            "kind": kind,
            "learning_rate": best[kind][0],
            "init_std": best[kind][1],
            "parameters": next(row["parameters"] for row in rows if row["kind"] == kind),
            "held_out_bits_per_byte": interval(bits[kind]),
            "minus_gelu": interval([a - b for a, b in zip(bits[kind], bits["gelu"], strict=True)]),
        }
        for kind in KINDS
    ]
    print(f"{'':8}{'bits per byte':>18}{'minus GELU':>18}")
    for row in summary:
        both = (row["held_out_bits_per_byte"], row["minus_gelu"])
        print(f"{row['kind']:8}" + "".join(f"{x['mean']:>10.4f} ± {x['half_width']:.4f}" for x in both))
    shape = {"width": WIDTH, "layers": LAYERS, "heads": SHAPE.heads, "vocab_size": 512, "context": 64, "batch_size": 16}
    record = machine("cpu") | {"text": "stdlib, 512 tokens", "shape": shape, **TRAINING}
    record |= {"search_seed": SEARCH_SEED, "search": search, "summary": summary, "rows": rows}
    print(write_record("feedforward", "cpu", record))


if __name__ == "__main__":
    main()
