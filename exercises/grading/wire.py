"""Values between the grader and the process that runs a submission: plain data and tensors, and nothing that runs.

A message is a JSON header, its length before it, and the bytes of the tensors behind it. What is neither plain data nor a
tensor stays where it is and travels as a handle, a number. The grader reads messages that a submission may have forged, so
reading checks every size and never executes what it reads: there is no pickle here.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

import torch

MAX_BYTES = 1 << 30  # of one message
_PLAIN = frozenset({type(None), bool, int, float, str})  # what JSON's values become
_EXACT = 1 << 53  # integers below this are written as they are
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.bool, torch.complex64, torch.complex128)}  # fmt: skip


class WireError(RuntimeError):
    """A message that is not one: damaged, too large, or forged."""


def pack(value: Any, handle: Callable[[Any], dict]) -> bytes:
    """Write plain data and tensors as one message; `handle` stands in for anything else by a small dictionary."""
    blobs: list[bytes] = []

    def encode(item: Any) -> Any:
        if item is None or isinstance(item, (bool, str)):
            return item
        if type(item) is int:
            return item if abs(item) < _EXACT else {"int": str(item)}
        if type(item) is float:
            return item if math.isfinite(item) else {"float": str(item)}
        if isinstance(item, torch.Tensor) and str(item.dtype).removeprefix("torch.") in DTYPES and item.layout == torch.strided:
            plain = item.detach().cpu().contiguous()
            blobs.append(plain.view(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
            return {"tensor": str(item.dtype).removeprefix("torch."), "shape": list(item.shape), "grad": item.requires_grad}
        if isinstance(item, torch.dtype):
            return {"dtype": str(item).removeprefix("torch.")}
        if type(item) in (list, tuple, torch.Size):
            # Small integers are most of what long lists hold, and a call for each would be most of the time.
            parts = [part if type(part) is int and -_EXACT < part < _EXACT else encode(part) for part in item]
            return {"list" if type(item) is list else "tuple": parts}
        if type(item) is dict and all(isinstance(key, str) for key in item):
            return {"dict": {key: encode(part) for key, part in item.items()}}
        return {"handle": handle(item)}

    header = json.dumps({"value": encode(value), "blobs": [len(blob) for blob in blobs]}).encode()
    if len(header) + sum(map(len, blobs)) > MAX_BYTES:
        raise WireError(f"a result of more than {MAX_BYTES >> 20} MiB")
    return b"".join([struct.pack("<Q", len(header)), header, *blobs])


def unpack(message: bytes, handle: Callable[[dict], Any]) -> Any:
    """Read what `pack` wrote.

    Raises:
        WireError: for anything else.
    """
    try:
        (length,) = struct.unpack_from("<Q", message)
        header = json.loads(message[8 : 8 + length])
        sizes, position = iter(header["blobs"]), 8 + length

        def decode(item: Any) -> Any:
            nonlocal position
            if not isinstance(item, dict):
                if type(item) in _PLAIN:
                    return item
                raise WireError("an unknown kind of value")
            if "tensor" in item:
                dtype, shape, size = DTYPES[item["tensor"]], [int(n) for n in item["shape"]], int(next(sizes))
                blob, position = message[position : position + size], position + size
                if min(shape, default=0) < 0 or len(blob) != math.prod(shape) * dtype.itemsize:
                    raise WireError("a tensor whose bytes do not fit its shape")
                flat = torch.frombuffer(bytearray(blob), dtype=torch.uint8).view(dtype) if blob else torch.empty(0, dtype=dtype)
                return flat.reshape(shape).requires_grad_(bool(item["grad"]) and dtype.is_floating_point)
            if len(item) != 1:
                raise WireError("an unknown kind of value")
            ((kind, content),) = item.items()
            if kind == "int":
                return int(content)
            if kind == "float":
                return float(content)
            if kind == "dtype":
                return DTYPES[content]
            if kind in ("list", "tuple"):
                parts = [part if type(part) in _PLAIN else decode(part) for part in content]
                return parts if kind == "list" else tuple(parts)
            if kind == "dict":
                return {str(key): decode(part) for key, part in content.items()}
            if kind == "handle":
                return handle(content)
            raise WireError("an unknown kind of value")

        return decode(header["value"])
    except WireError:
        raise
    except (KeyError, TypeError, ValueError, StopIteration, RecursionError, RuntimeError, struct.error) as error:
        raise WireError(f"a message that cannot be read ({type(error).__name__})") from None


def tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dictionaries, in order."""
    found: list[torch.Tensor] = []

    def look(parts: Iterable[Any]) -> None:
        for part in parts:
            if type(part) in _PLAIN:
                continue
            if isinstance(part, torch.Tensor):
                found.append(part)
            elif isinstance(part, (list, tuple)):
                look(part)
            elif isinstance(part, dict):
                look(part.values())

    look((value,))
    return found
