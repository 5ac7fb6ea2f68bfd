"""What every benchmark writes beside its numbers, and where."""

import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch

from llmbook.preliminaries.workspace import write_atomic

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """The name of the CPU model, as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


def machine(device: str) -> dict:
    """Date, name of the device, CPU threads and versions."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": gpu or processor(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
    }


def seconds(function: Callable) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(ours: Callable, peer: Callable, rounds: int) -> dict:
    """Median seconds of both, and the quartiles of ours / peer, over rounds that alternate in order, after one that does not count."""
    times, order = {"ours": [], "peer": []}, [("ours", ours), ("peer", peer)]
    for _ in range(rounds + 1):
        for key, function in order:
            times[key].append(seconds(function))
        order.reverse()
    pairs = list(zip(times["ours"][1:], times["peer"][1:], strict=True))
    ratios = statistics.quantiles([a / b for a, b in pairs], n=4) if len(pairs) > 1 else [pairs[0][0] / pairs[0][1]] * 3
    ours_s, peer_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "ours_s": float(f"{ours_s:.4g}"),
        "peer_s": float(f"{peer_s:.4g}"),
        "time_ratio": [float(f"{ratio:.3g}") for ratio in ratios],
    }


def write_record(name: str, device: str, record: dict) -> Path:
    """Write results/<name>-<device>.json, the device being `cpu` or the GPU's name in lower case, and return its path."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    suffix = re.sub("[^a-z0-9]+", "-", gpu.lower()) if gpu else device.split(":")[0]
    path = RESULTS / f"{name}-{suffix}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps(record, indent=1) + "\n")
    return path
