"""Time the three ways to compute attention: two matrix products, the fused kernel, and PyTorch's function called directly.

    python benchmarks/attention.py [--device cpu] [--rounds 15]

Two shapes of work: forward and backward through T positions, with B * H * T kept, and one new query against S remembered
keys, forward only. In each round all three do the same work, one after the other, in an order that rotates; a comparison
is the median over the rounds of the ratio of two times. Prints a table and writes benchmarks/results/attention-<device>.json.
"""

import argparse
import statistics

import torch
import torch.nn.functional as F
from record import machine, write_record
from torch import Tensor

from llmbook.attention.causal import attention, fused_attention
from llmbook.preliminaries.measuring import call_seconds

TRAIN_LENGTHS = (64, 128, 256, 384, 512, 1024, 2048, 4096)
DECODE_LENGTHS = (256, 512, 1024, 2048, 4096)
DTYPES = (torch.float32, torch.bfloat16)
HEADS_TIMES_LENGTH, DECODE_HEADS, WIDTH = 8192, 8, 64


def torch_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's function as an expert would call it: a single query needs no mask."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[-2] > 1)


WAYS = {"explicit": attention, "fused": fused_attention, "torch": torch_attention}


def run(attend, leaves: list[Tensor], upstream: Tensor | None) -> None:
    """One forward pass and, given the gradient of its output, one backward pass."""
    output = attend(*leaves)
    if upstream is not None:
        output.backward(upstream)


def seconds(attend, leaves: list[Tensor], upstream: Tensor | None) -> float:
    """One pass, without the time to forget the gradients of the one before it."""
    for leaf in leaves:
        leaf.grad = None
    return call_seconds(run, attend, leaves, upstream, repeats=1, warmup=0)


def compare(T: int, S: int, heads: int, dtype: torch.dtype, device: str, rounds: int) -> dict:
    """Times in milliseconds and ratios for one shape; T == S trains, T == 1 decodes."""
    options = {"dtype": dtype, "device": device}
    leaves = [torch.randn(1, heads, n, WIDTH, **options).requires_grad_(T == S) for n in (T, S, S)]
    upstream = torch.randn(1, heads, T, WIDTH, **options) if T == S else None
    order, rows = list(WAYS), []
    for _ in range(rounds + 2):
        row = {name: seconds(WAYS[name], leaves, upstream) for name in order}
        rows, order = [*rows, row], order[1:] + order[:1]
    rows = rows[2:]

    def ratio(a: str, b: str) -> list[float]:
        return [round(x, 3) for x in statistics.quantiles([row[a] / row[b] for row in rows], n=4)]

    return {
        "dtype": str(dtype).removeprefix("torch."),
        "T": T,
        "S": S,
        "heads": heads,
        "width": WIDTH,
        "milliseconds": {name: float(f"{1000 * statistics.median(row[name] for row in rows):.3g}") for name in WAYS},
        "explicit_over_fused": ratio("explicit", "fused"),
        "fused_over_torch": ratio("fused", "torch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    record = machine(options.device) | {"rounds": options.rounds, "ratios": "lower quartile, median, upper quartile", "cases": []}
    shapes = [(T, T, HEADS_TIMES_LENGTH // T, 1) for T in TRAIN_LENGTHS] + [(1, S, DECODE_HEADS, 10) for S in DECODE_LENGTHS]
    print(f"{'':10}{'T':>6}{'S':>6}{'explicit':>11}{'fused':>11}{'torch':>11}   explicit/fused   fused/torch")
    for dtype in DTYPES:
        for T, S, heads, more in shapes:
            case = compare(T, S, heads, dtype, options.device, options.rounds * more)
            record["cases"].append(case)
            times = "".join(f"{case['milliseconds'][name]:>8.4g} ms" for name in WAYS)
            print(
                f"{case['dtype']:10}{T:>6}{S:>6}{times}{case['explicit_over_fused'][1]:>17.2f}{case['fused_over_torch'][1]:>14.2f}",
                flush=True,
            )
    print(write_record("attention", options.device, record))


if __name__ == "__main__":
    main()
