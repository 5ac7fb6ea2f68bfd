"""What every benchmark writes beside its numbers, and where."""

import json
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from llmbook.preliminaries.measuring import compare_calls
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
        "date": datetime.now(UTC).date().isoformat(),
        "device": gpu or processor(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
    }


def paired(ours: Callable, peer: Callable, rounds: int) -> dict:
    """Median seconds of both, and the quartiles of ours / peer, in at least two rounds, as a record holds them."""
    found = compare_calls(ours, peer, rounds=max(2, rounds))
    return {
        "ours_s": float(f"{found.ours_seconds:.4g}"),
        "peer_s": float(f"{found.peer_seconds:.4g}"),
        "time_ratio": [float(f"{ratio:.3g}") for ratio in found.quartiles],
    }


def write_record(name: str, device: str, record: dict) -> Path:
    """Write results/<name>-<device>.json, the device being `cpu` or the GPU's name in lower case, and return its path."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    suffix = re.sub("[^a-z0-9]+", "-", gpu.lower()) if gpu else device.split(":")[0]
    path = RESULTS / f"{name}-{suffix}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps(record, indent=1) + "\n")
    return path
