"""Race pre-norm against post-norm, with and without a warmup, and RMSNorm against LayerNorm; time both norms.

    python benchmarks/normalization.py [--seeds 0 1 2] [--norm-seeds 0 1 2]

Small models learn the standard library in 512 tokens (`small_training.py`). The post-norm model is made of the same parts and has
the same first weights, Xavier's, so that a difference is one of order alone. Norms are timed in pairs, forward and backward,
against LayerNorm's kernel. Takes seven minutes on one quiet core and may be interrupted; writes
benchmarks/results/normalization-cpu.json.
"""

import argparse

import torch
import torch.nn.functional as F
from record import machine, paired, write_record
from small_training import KeptRuns, interval, texts, train_small, unigram_bits
from torch import Tensor, nn

from llmbook.architecture.normalization import layer_norm, rms_norm
from llmbook.architecture.transformer import Block, Transformer
from llmbook.preliminaries.settings import ModelConfig

PLAIN = {"vocab_size": 512, "context": 64, "norm": "layer", "feed_forward": "gelu", "qk_norm": False, "norm_eps": 1e-5}
DEEP = ModelConfig(width=64, layers=6, heads=2, **PLAIN)
SHALLOW = {"width": 96, "layers": 4, "heads": 3, "vocab_size": 512, "context": 64}
RACE = {"steps": 300, "learning_rate": 0.003}
WARMUP = 50
NORM_RACE = {"steps": 300, "learning_rate": 0.002, "warmup": 20}


class PostBlock(nn.Module):
    """The parts of a block in the order of 2017: each sum is normalized, and nothing passes unchanged."""

    def __init__(self, block: Block):
        super().__init__()
        self.attention, self.feed_forward = block.attention, block.feed_forward
        self.attention_norm, self.feed_forward_norm = block.attention_norm, block.feed_forward_norm

    def forward(self, x: Tensor, positions: Tensor | None = None, cache=None) -> Tensor:
        x = self.attention_norm(x + self.attention(x, positions, cache))
        return self.feed_forward_norm(x + self.feed_forward(x))


def build(order: str) -> Transformer:
    """A model with Xavier's first weights; as post-norm it ends with the norm of its last block."""
    model = Transformer(DEEP)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    nn.init.normal_(model.embedding.tokens.weight, std=DEEP.width**-0.5)
    if order == "post":
        model.blocks = nn.ModuleDict({name: PostBlock(block) for name, block in model.blocks.items()})
        model.norm = nn.Identity()
    return model


def race(seeds: list[int], train, held_out, kept: KeptRuns) -> dict:
    """Four combinations of order and warmup for each seed."""
    rows = []
    for seed in seeds:
        for order in ("pre", "post"):
            for warmup in (0, WARMUP):
                settings = RACE | {"seed": seed, "warmup": warmup}
                key = f"{order} {DEEP} {settings}"
                found = kept(key, lambda: train_small(lambda: build(order), train, held_out, **settings))  # noqa: B023
                rows.append({"order": order, "warmup": warmup} | found)
                print(f"{order:5}warmup {warmup:<4}seed {seed}{found['held_out_bits_per_byte']:>9.4f}", flush=True)
    summary = []
    for order in ("pre", "post"):
        for warmup in (0, WARMUP):
            bits = [row["held_out_bits_per_byte"] for row in rows if (row["order"], row["warmup"]) == (order, warmup)]
            summary.append({"order": order, "warmup": warmup, "held_out_bits_per_byte": interval(bits)})
    return {"summary": summary, "rows": rows}


def compare_norms(seeds: list[int], train, held_out, kept: KeptRuns) -> dict:
    """RMSNorm and LayerNorm in the laptop model's layers, of a smaller size."""
    rows = []
    for seed in seeds:
        for norm in ("rms", "layer"):
            config = ModelConfig(norm=norm, **SHALLOW)
            settings = NORM_RACE | {"seed": seed}
            key = f"{config} {settings}"
            found = kept(key, lambda: train_small(lambda: Transformer(config), train, held_out, **settings))  # noqa: B023
            rows.append({"norm": norm} | found)
            print(f"{norm:9}seed {seed}{found['held_out_bits_per_byte']:>9.4f}", flush=True)
    bits = {norm: [row["held_out_bits_per_byte"] for row in rows if row["norm"] == norm] for norm in ("rms", "layer")}
    differences = [a - b for a, b in zip(bits["rms"], bits["layer"], strict=True)]
    return {"rows": rows, "rms_minus_layer": interval(differences), "rms": interval(bits["rms"]), "layer": interval(bits["layer"])}


def both_passes(norm, x: Tensor, upstream: Tensor, *weights: Tensor) -> None:
    """One forward and one backward pass."""
    torch.autograd.grad(norm(x, *weights), (x, *weights), upstream)


def time_norms(rounds: int) -> list[dict]:
    """RMSNorm, by the book and by PyTorch, against LayerNorm."""
    cases = []
    for width in (256, 1024):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(4096, width, dtype=dtype).requires_grad_()
            upstream, weight = torch.randn_like(x), torch.ones(width, dtype=dtype, requires_grad=True)
            bias = torch.zeros(width, dtype=dtype, requires_grad=True)
            peer = lambda: both_passes(layer_norm, x, upstream, weight, bias)  # noqa: B023, E731
            torch_rms = lambda x, weight: F.rms_norm(x, (width,), weight, 1e-6)  # noqa: B023, E731
            for name, norm in (("rms_norm", rms_norm), ("F.rms_norm", torch_rms)):
                found = paired(lambda: both_passes(norm, x, upstream, weight), peer, rounds)  # noqa: B023
                cases.append({"norm": name, "width": width, "rows": 4096, "dtype": str(dtype).removeprefix("torch.")} | found)
                print(f"{name:12}{width:>6} {cases[-1]['dtype']:10}{found['time_ratio'][1]:>6.2f} of LayerNorm's time", flush=True)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--norm-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    (train, held_out), kept = texts(), KeptRuns("normalization")
    record = machine("cpu") | {"text": "stdlib, 512 tokens", "race": {"layers": DEEP.layers, "width": DEEP.width, **RACE}}
    record["race"]["unigram_bits_per_byte"] = unigram_bits(train, held_out)
    record["race"] |= race(options.seeds, train, held_out, kept)
    record["norms"] = {**SHALLOW, **NORM_RACE} | compare_norms(options.norm_seeds, train, held_out, kept)
    record["cost"] = {"ratios": "lower quartile, median, upper quartile", "cases": time_norms(options.rounds)}
    print(write_record("normalization", "cpu", record))


if __name__ == "__main__":
    main()
