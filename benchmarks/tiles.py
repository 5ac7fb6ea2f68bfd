"""Time attention in tiles against the two matrix products and PyTorch's fused kernel, forward and backward.

    python benchmarks/tiles.py [--device cpu] [--rounds 15]

The work is causal self-attention of T positions, with heads * T kept, so that every length has the same number of outputs.
In each round all ways do the same work, one after the other, in an order that rotates; a comparison is the median over the
rounds of the ratio of two times. A second part varies the tile at one length. Prints a table and writes
benchmarks/results/tiles-<device>.json.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from attention import seconds
from record import machine, write_record

from llmbook.attention.causal import attention, fused_attention
from llmbook.attention.tiles import tiled_attention

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
HEADS_TIMES_LENGTH, WIDTH = 8192, 64
DTYPES = (torch.float32, torch.bfloat16)
WAYS = {"explicit": attention, "tiled": tiled_attention, "fused": fused_attention}
TILE_LENGTH = 2048
TILES = ((32, 32), (64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048), (128, 256), (256, 128))


def compare(ways: dict[str, Callable], T: int, dtype: torch.dtype, device: str, rounds: int) -> list[dict[str, float]]:
    """Seconds of each way in each round, two rounds to warm up left out."""
    shape, options = (1, HEADS_TIMES_LENGTH // T, T, WIDTH), {"dtype": dtype, "device": device}
    leaves = [torch.randn(shape, **options).requires_grad_() for _ in range(3)]
    upstream, order, rows = torch.randn(shape, **options), list(ways), []
    for _ in range(rounds + 2):
        rows.append({name: seconds(ways[name], leaves, upstream) for name in order})
        order = order[1:] + order[:1]
    return rows[2:]


def milliseconds(rows: list[dict[str, float]], name: str) -> float:
    return float(f"{1000 * statistics.median(row[name] for row in rows):.3g}")


def ratio(rows: list[dict[str, float]], a: str, b: str) -> list[float]:
    """Lower quartile, median and upper quartile of the time of a over that of b."""
    return [round(x, 3) for x in statistics.quantiles([row[a] / row[b] for row in rows], n=4)]


def by_length(device: str, rounds: int) -> list[dict]:
    """All ways at every length, in both dtypes."""
    cases = []
    print(f"{'':10}{'T':>6}{'heads':>7}{'explicit':>11}{'tiled':>11}{'fused':>11}   explicit/tiled   tiled/fused")
    for dtype in DTYPES:
        for T in LENGTHS:
            rows = compare(WAYS, T, dtype, device, rounds)
            case = {"dtype": str(dtype).removeprefix("torch."), "T": T, "heads": HEADS_TIMES_LENGTH // T, "width": WIDTH}
            case["milliseconds"] = {name: milliseconds(rows, name) for name in WAYS}
            case["explicit_over_tiled"] = ratio(rows, "explicit", "tiled")
            case["tiled_over_fused"] = ratio(rows, "tiled", "fused")
            cases.append(case)
            times = "".join(f"{time:>8.4g} ms" for time in case["milliseconds"].values())
            ratios = f"{case['explicit_over_tiled'][1]:>17.2f}{case['tiled_over_fused'][1]:>14.2f}"
            print(f"{case['dtype']:10}{T:>6}{case['heads']:>7}{times}{ratios}", flush=True)
    return cases


def by_tile(device: str, rounds: int) -> list[dict]:
    """One length with tiles of several sizes, against the explicit way, in float32."""
    ways = {"explicit": attention} | {str(tile): partial(tiled_attention, tile=tile) for tile in TILES}
    rows = compare(ways, TILE_LENGTH, torch.float32, device, rounds)
    cases = [{"T": TILE_LENGTH, "tile": tile, "tiled_over_explicit": ratio(rows, str(tile), "explicit")} for tile in TILES]
    print(f"tiles at T={TILE_LENGTH}: tiled/explicit")
    for case in cases:
        print(f"{str(case['tile']):14}{case['tiled_over_explicit'][1]:>6.2f}")
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    record = machine(options.device) | {"rounds": options.rounds, "ratios": "lower quartile, median, upper quartile"}
    record["tiles"] = by_tile(options.device, options.rounds)
    record["cases"] = by_length(options.device, options.rounds)
    print(write_record("tiles", options.device, record))


if __name__ == "__main__":
    main()
