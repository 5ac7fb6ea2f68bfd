"""Values between the grader and the process that runs a submission: plain data and tensors, and nothing that runs.

A message is a JSON header, its length before it, and the bytes of tensors behind it. What is neither plain data nor a tensor
nor an array stays where it is and travels as a handle, a number. The grader reads messages that a submission may have forged,
so reading checks every size before anything is made of it, and never executes what it reads: there is no pickle here.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

MAX_BYTES = 1 << 30  # of a request
MAX_ANSWER_BYTES = 1 << 27  # of what a submission answers
MAX_HEADER_BYTES = 1 << 24  # of the part of an answer that is no tensor
_PLAIN = frozenset({type(None), bool, int, float, str})  # what JSON's values become
_EXACT = 1 << 53  # integers below this are written as they are
_SLACK_BYTES = 1 << 20  # what the layout of a tensor may cost beyond four times its numbers
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.complex128)}  # fmt: skip


class WireError(RuntimeError):
    """A message that is not one: damaged, too large, or forged."""


def send(connection: socket.socket, message: bytes) -> None:
    """Send a message, its length before it. A timeout of the socket is one for the whole message."""
    connection.sendall(struct.pack("<Q", len(message)) + message if len(message) < 1 << 16 else struct.pack("<Q", len(message)))
    if len(message) >= 1 << 16:
        connection.sendall(message)


def receive(connection: socket.socket, limit: int, deadline: float | None = None) -> bytearray:
    """Receive one message.

    Args:
        connection: where it comes from.
        limit: bytes that it may have.
        deadline: by `time.monotonic`, for the whole message, however slowly it drips.

    Raises:
        EOFError: if the other side has hung up.
        TimeoutError: at the deadline.
        WireError: if the message is longer than the limit.
    """

    def fill(size: int) -> bytearray:
        found, position = bytearray(size), 0
        while position < size:
            if deadline is not None:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                if time.monotonic() > deadline:
                    raise TimeoutError
            count = connection.recv_into(memoryview(found)[position:])
            if count == 0:
                raise EOFError
            position += count
        return found

    (length,) = struct.unpack("<Q", fill(8))
    if length > limit:
        raise WireError(f"a value of more than {limit >> 20} MiB")
    return fill(length)


def _layout(tensor: torch.Tensor) -> list[int] | None:
    """The offset and strides of a tensor that does not lie in its memory from the first byte on, row by row.

    None for others, and where the layout would need much more memory than the numbers, or puts two numbers in one place.
    """
    if tensor.is_contiguous() and tensor.storage_offset() == 0 or tensor.numel() == 0:
        return None
    span, offset = 1, tensor.storage_offset()
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1 and s > 0):
        if stride < span:
            return None
        span += stride * (size - 1)
    room = 4 * tensor.numel() * tensor.element_size() + _SLACK_BYTES
    if span * tensor.element_size() > room:
        return None
    return [offset if (offset + span) * tensor.element_size() <= room else 0, *tensor.stride()]


def _once(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without the repetitions of its expanded dimensions."""
    for dim, (stride, size) in enumerate(zip(tensor.stride(), tensor.shape, strict=True)):
        tensor = tensor.narrow(dim, 0, 1) if stride == 0 and size > 1 else tensor
    return tensor


def _laid_out(values: torch.Tensor, shape: list[int], layout: list[int]) -> torch.Tensor:
    """Make a tensor of this layout. The places between its numbers hold zeros, never what stood there on the other side."""
    offset, *strides = layout
    span = 1 + sum(stride * (size - 1) for stride, size in zip(strides, shape, strict=True))
    flat = torch.zeros(offset + span, dtype=values.dtype)
    flat.as_strided(values.shape, strides, offset).copy_(values)
    return flat.as_strided(shape, strides, offset)


def _key(item: Any) -> bool:
    """Whether something can be a key of a dictionary or an element of a set in a message."""
    return isinstance(item, (str, int, float, bytes, type(None))) or isinstance(item, tuple) and all(map(_key, item))


def pack(value: Any, handle: Callable[[Any], dict], limit: int = MAX_BYTES) -> bytes:
    """Write plain data, tensors and arrays as one message; `handle` stands in for anything else by a small dictionary.

    What derives from a plain type travels as that type: a named tuple as a tuple, a `Counter` as a dictionary, a number of
    NumPy's as a number of Python's. Tensors keep their strides.

    Raises:
        WireError: if the message is longer than the limit.
    """
    blobs: list[bytes] = []
    size = 0

    def add(blob: bytes) -> None:
        nonlocal size
        size += len(blob)
        if size > limit:
            raise WireError(f"a value of more than {limit >> 20} MiB")
        blobs.append(blob)

    def encode(item: Any) -> Any:
        if item is None or type(item) in (bool, str):
            return item
        if isinstance(item, np.generic) and item.dtype.kind in "biufcSU":
            item = item.item()
        if isinstance(item, bool):
            return item
        if isinstance(item, int):
            plain = int(item)
            return plain if abs(plain) < _EXACT else {"int": hex(plain)}
        if isinstance(item, float):
            plain = float(item)
            return plain if math.isfinite(plain) else {"float": repr(plain)}
        if isinstance(item, str):
            return str.__str__(item)
        if isinstance(item, complex):
            return {"complex": [encode(item.real), encode(item.imag)]}
        if isinstance(item, (bytes, bytearray)):
            add(bytes(item))
            return {"bytes" if isinstance(item, bytes) else "bytearray": None}
        if isinstance(item, torch.Tensor) and str(item.dtype).removeprefix("torch.") in DTYPES and item.layout == torch.strided:
            return encode_tensor(item)
        if isinstance(item, np.ndarray) and item.dtype.kind in "biufc" and str(item.dtype) in DTYPES:
            item = item if item.flags.writeable and min(item.strides, default=0) >= 0 else item.copy()
            return {"array": encode_tensor(torch.from_numpy(np.asarray(item)))}
        if isinstance(item, torch.dtype):
            return {"dtype": str(item).removeprefix("torch.")}
        if isinstance(item, (list, tuple)):
            # Small integers are most of what long lists hold, and a call for each would be most of the time.
            parts = [part if type(part) is int and -_EXACT < part < _EXACT else encode(part) for part in item]
            return {"list" if isinstance(item, list) else "tuple": parts}
        if isinstance(item, (set, frozenset)) and all(map(_key, item)):
            return {"set" if isinstance(item, set) else "frozenset": [encode(part) for part in item]}
        if isinstance(item, dict):
            if all(type(key) is str for key in item):
                return {"dict": {key: encode(part) for key, part in item.items()}}
            if all(map(_key, item)):
                return {"map": [[encode(key), encode(part)] for key, part in item.items()]}
        return {"handle": handle(item)}

    def encode_tensor(item: torch.Tensor) -> dict:
        found = item.detach().cpu().resolve_conj().resolve_neg()
        layout = _layout(found)
        plain = (_once(found) if layout else found).contiguous()
        plain = plain.clone(memory_format=torch.contiguous_format) if plain.numel() == 1 else plain  # strides of its own
        if plain.numel() * plain.element_size() + size > limit:
            raise WireError(f"a value of more than {limit >> 20} MiB")
        add(plain.view(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
        coded = {"tensor": str(item.dtype).removeprefix("torch."), "shape": list(item.shape), "grad": item.requires_grad}
        return coded | ({"layout": layout} if layout else {})

    header = json.dumps({"value": encode(value), "blobs": [len(blob) for blob in blobs]}).encode()
    if len(header) + size > limit:
        raise WireError(f"a value of more than {limit >> 20} MiB")
    return b"".join([struct.pack("<Q", len(header)), header, *blobs])


def unpack(message: bytes, handle: Callable[[dict], Any], layouts: bool = True, header_limit: int = MAX_BYTES) -> Any:
    """Read what `pack` wrote. Without `layouts`, every tensor lies row by row, so that it is no larger than what was sent.

    Raises:
        WireError: for anything else.
    """
    view = memoryview(message)
    try:
        (length,) = struct.unpack_from("<Q", message)
        if length > header_limit:
            raise WireError(f"a value with more than {header_limit >> 20} MiB beside its tensors")
        header = json.loads(bytes(view[8 : 8 + length]))
        sizes, position = iter(header["blobs"]), 8 + length

        def next_blob() -> memoryview:
            nonlocal position
            size = int(next(sizes))
            if not 0 <= size <= len(view) - position:
                raise WireError("a value whose bytes are missing")
            blob, position = view[position : position + size], position + size
            return blob

        def tensor(item: dict) -> torch.Tensor:
            dtype, shape, blob = DTYPES[item["tensor"]], [int(n) for n in item["shape"]], next_blob()
            layout = [int(n) for n in item["layout"]] if layouts and item.get("layout") else None
            sent = [1 if n > 1 and s == 0 else n for n, s in zip(shape, layout[1:], strict=True)] if layout else shape
            if len(shape) > 64 or min(shape, default=0) < 0 or len(blob) != math.prod(sent) * dtype.itemsize:
                raise WireError("a tensor whose bytes do not fit its shape")
            flat = torch.frombuffer(bytearray(blob), dtype=torch.uint8).view(dtype) if len(blob) else torch.empty(0, dtype=dtype)
            made = _laid_out(flat.reshape(sent), shape, layout) if layout else flat.reshape(shape)
            return made.requires_grad_(bool(item["grad"]) and (dtype.is_floating_point or dtype.is_complex))

        def decode(item: Any) -> Any:
            if not isinstance(item, dict):
                if type(item) in _PLAIN:
                    return item
                raise WireError("an unknown kind of value")
            if "tensor" in item:
                return tensor(item)
            if len(item) != 1:
                raise WireError("an unknown kind of value")
            ((kind, content),) = item.items()
            if kind == "int" and "0x" in content[:3]:
                return int(content, 16)
            if kind == "float":
                return float(content)
            if kind == "complex":
                real, imaginary = map(decode, content)
                return complex(real, imaginary)
            if kind in ("bytes", "bytearray"):
                return bytes(next_blob()) if kind == "bytes" else bytearray(next_blob())
            if kind == "array":
                return tensor({**content, "grad": False}).numpy()
            if kind == "dtype":
                return DTYPES[content]
            if kind in ("list", "tuple"):
                parts = [part if type(part) in _PLAIN else decode(part) for part in content]
                return parts if kind == "list" else tuple(parts)
            if kind in ("set", "frozenset"):
                return (set if kind == "set" else frozenset)(decode(part) for part in content)
            if kind == "dict":
                return {str(key): decode(part) for key, part in content.items()}
            if kind == "map":
                return {decode(key): decode(part) for key, part in content}
            if kind == "handle":
                return handle(content)
            raise WireError("an unknown kind of value")

        return decode(header["value"])
    except WireError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, StopIteration, TypeError, ValueError,
            struct.error) as error:  # fmt: skip
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


def may_change(value: Any) -> bool:
    """Whether a value, or a part of it, can be changed in place."""
    return isinstance(value, (torch.Tensor, np.ndarray, list, dict, set, bytearray)) or (
        isinstance(value, tuple) and any(map(may_change, value)))  # fmt: skip


def change(before: Any, after: Any) -> str | None:
    """Say where a value differs from what it was, as "" or "[0]['key']"; None if it does not. NaN is equal to itself."""
    if type(before) is not type(after):
        return ""
    if isinstance(before, torch.Tensor):
        same = (before.shape, before.stride(), before.dtype, before.requires_grad) == (
            after.shape, after.stride(), after.dtype, after.requires_grad)  # fmt: skip
        return None if same and _equal(before.detach(), after.detach()) else ""
    if isinstance(before, np.ndarray):
        same = (before.shape, before.strides, before.dtype) == (after.shape, after.strides, after.dtype)
        return None if same and np.array_equal(before, after, equal_nan=before.dtype.kind in "fc") else ""
    if isinstance(before, (list, tuple)):
        if len(before) != len(after):
            return ""
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            if one is not other and (found := change(one, other)) is not None:
                return f"[{place}]{found}"
        return None
    if isinstance(before, dict):
        if list(before) != list(after):
            return ""
        for key, one in before.items():
            if (found := change(one, after[key])) is not None:
                return f"[{key!r}]{found}"
        return None
    if type(before) in (int, str, bool, float, set, frozenset, bytes, bytearray, complex):
        return None if before == after or before != before and after != after else ""
    return None  # an object of the submission's own, whose state is its own affair


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN at the same places."""
    one, other = _once(one), _once(other)
    if torch.equal(one, other):
        return True
    if not (one.is_floating_point() or one.is_complex()):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
