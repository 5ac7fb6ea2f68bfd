"""The grader's side of a submission's process: requests with a time limit, and stand-ins for what the submission defines."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from . import wire
from .zygote import Zygote

_POLL_SECONDS = 0.05
_START_SECONDS = 60.0
_MAX_PROCESSES = 32
_FORKED_BYTES = 400 << 20  # what a process holds before a submission runs in it, shared with its siblings


@dataclass(frozen=True)
class Limits:
    """What a submission may take: seconds per cell and per check, seconds in all, bytes of memory, threads."""

    cell_seconds: float = 60.0
    notebook_seconds: float = 600.0
    memory_bytes: int = 4 << 30
    threads: int = 1


DEFAULT_LIMITS = Limits()


class Stopped(RuntimeError):
    """The submission's process is gone; `status` says why: "time limit", "memory limit" or "stopped"."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class ArgumentChanged(AssertionError):
    """A call has changed what it was given, which a check does not ask for."""


class StudentError(Exception):
    """An error in the submission's code whose type Python does not come with."""


_ZYGOTES: list[Zygote] = []  # one in each grading process, from its first submission on
_BYSTANDERS: set[psutil.Process] = set()  # children of this process from before the submission, such as a browser of other tests
_LEFT: set[psutil.Process] = set()  # what a submission had detached and could not be ended


def start_zygote() -> Zygote:
    """The process from which submissions are forked. The first call takes seconds, which no submission should pay for."""
    if not _ZYGOTES or not _ZYGOTES[0].alive():
        _ZYGOTES[:] = [Zygote()]
    return _ZYGOTES[0]


class Session:
    """One process of a submission. Every request has a deadline, after which the process and its children are killed."""

    def __init__(self, limits: Limits, seconds_left: Callable[[], float]):
        self.limits, self.seconds_left = limits, seconds_left
        self.arguments_may_change = False  # set for the checks of functions whose task that is
        self.numbers = itertools.count()
        self.reason: tuple[str, str] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="submission-")).resolve()
        zygote = start_zygote()
        _BYSTANDERS.clear()
        _BYSTANDERS.update(set(psutil.Process().children()) - _LEFT)
        self.pid, self.connection = zygote.fork(self.folder, limits.memory_bytes, limits.threads)
        self.seconds = _START_SECONDS
        self.deadline = time.monotonic() + self.seconds
        self.closed = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        self._receive()

    def _watch(self) -> None:
        """Kill the process when it is late, large, or has too many children."""
        while not self.closed.wait(_POLL_SECONDS):
            if time.monotonic() > self.deadline:
                return self._kill("time limit", f"the time limit of {self.seconds:g} s was reached")
            with contextlib.suppress(psutil.Error):
                family = [psutil.Process(self.pid)]
                family += family[0].children(recursive=True)
                if len(family) > _MAX_PROCESSES:
                    return self._kill("stopped", f"more than {_MAX_PROCESSES} processes were started")
                cap = self.limits.memory_bytes + _FORKED_BYTES
                if sum(member.memory_info().rss for member in family) > cap and sum(map(_own_bytes, family)) > cap:
                    return self._kill("memory limit", f"the memory limit of {self.limits.memory_bytes / 2**30:g} GiB was reached")

    def _kill(self, status: str = "stopped", message: str = "") -> None:
        self.reason = self.reason or (status, message)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _receive(self) -> dict:
        try:
            message = self.connection.recv_bytes(wire.MAX_BYTES + (1 << 20))
        except (EOFError, OSError):
            status, text = self.reason or ("stopped", "the process ended, as by os._exit or a crash")
            self.close()
            raise Stopped(status, text) from None
        try:
            reply = wire.unpack(message, lambda content: Remote(self, content))
            if not isinstance(reply, dict):
                raise wire.WireError("a message that is no answer")
            return reply
        except wire.WireError as error:
            self.close()
            raise Stopped("stopped", f"the process sent {error}") from None

    def request(self, do: str, **content: Any) -> dict:
        """Ask the process to do something and return its answer.

        Raises:
            Stopped: when there is no answer in time, or no process any more.
            Exception: the error that the process reports, of the builtin type that it has or derives from.
        """
        number = next(self.numbers)
        self.seconds = round(max(min(self.limits.cell_seconds, self.seconds_left()), 0.0), 1)
        self.deadline = time.monotonic() + self.seconds
        packed = wire.pack({"do": do, "request": number, **content}, _remote_handle)
        try:
            self.connection.send_bytes(packed)
        except OSError:
            pass  # the answer below says why
        reply = self._receive()
        self.deadline = time.monotonic() + 24 * 3600
        if reply.get("request") != number:
            self.close()
            raise Stopped("stopped", "the process sent an answer to another question")
        if "error" in reply:
            raise _rebuild(reply["error"])
        return reply

    def call(self, target: dict, args: tuple, kwargs: dict) -> dict:
        """Call something there.

        Raises:
            ArgumentChanged: if the call has changed an argument in place, unless the check allows that.
        """
        reply = self.request("call", **target, args=list(args), kwargs=kwargs, keeps=not self.arguments_may_change)
        if changed := reply.get("changed"):
            name = f"{target['name']} changes" if "name" in target else "the call changes"
            raise ArgumentChanged(f"{name} {str(changed)[:200]} in place. Leave what you are given as it is: work on a copy.")
        return reply

    def close(self) -> None:
        """Kill the process and whatever it has started, and remove its folder."""
        self.closed.set()
        self._kill()
        with contextlib.suppress(OSError):
            self.connection.close()
        _sweep()
        shutil.rmtree(self.folder, ignore_errors=True)


def _own_bytes(process: psutil.Process) -> int:
    """The memory that a process does not share with the one from which it was forked; slow to find out."""
    return process.memory_full_info().uss


def _sweep() -> None:
    """Kill what a submission has detached, which the kernel makes children of this process."""
    strays: list[psutil.Process] = []
    for _ in range(3):
        strays = _strays()
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        if not strays:
            break
        psutil.wait_procs(strays, timeout=2)
    _LEFT.clear()
    _LEFT.update(strays)


def _strays() -> list[psutil.Process]:
    """Descendants of this process that are neither its helpers nor of children that it had before the submission."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        helps = _is_helper(child)
        if child in _BYSTANDERS and not helps:
            continue
        found += [] if helps else [child]
        with contextlib.suppress(psutil.Error):
            found += child.children(recursive=True)
    return found


def _is_helper(process: psutil.Process) -> bool:
    """Whether a process is not a submission's: the one that forks them, or multiprocessing's tracker of resources."""
    from multiprocessing import resource_tracker as tracker

    return process.pid in {getattr(tracker._resource_tracker, "_pid", None), *(zygote.process.pid for zygote in _ZYGOTES)}


_TAKES_MORE = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError, BaseExceptionGroup)  # than a message


def _rebuild(error: Any) -> Exception:
    """Make an exception of the builtin types that a submission's error has or derives from. Only its text is taken over."""
    error = error if isinstance(error, dict) else {}
    message, name = str(error.get("message", "")), str(error.get("type"))[:200]
    given = error.get("kinds")
    kinds = [getattr(builtins, str(kind), None) for kind in (given if isinstance(given, list) else [])[:50]]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _TAKES_MORE)]
    bases = [kind for kind in kinds if not any(issubclass(other, kind) for other in kinds if other is not kind)]
    bases = list(dict.fromkeys(bases))
    if not bases or bases == [Exception]:
        found: Exception = StudentError(f"{name}: {message}")
    else:
        try:
            found = (bases[0] if len(bases) == 1 else type("Several", tuple(bases), {}))(message)
        except TypeError:  # types that do not go together
            found = bases[0](message)
    found.where, found.type_name, found.remote = str(error.get("where", "")), name, True
    return found


def _remote_handle(value: Any) -> dict:
    if isinstance(value, Remote):
        return {"number": value._content["number"]}
    raise TypeError(f"a check passed a {type(value).__name__} to the submission: only plain data and tensors can be passed")


class Remote:
    """Something in the submission's process that is neither plain data nor a tensor: a function, a class, an object of it."""

    def __init__(self, session: Session, content: Any, name: str | None = None):
        content = content if isinstance(content, dict) else {}
        self._session, self._content, self._name = session, content, name

    def _target(self) -> dict:
        return {"name": self._name} if self._name is not None else {"number": self._content.get("number", 0)}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors = wire.tensors_in([list(args), kwargs])
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            box: dict = {}
            outputs = _Call.apply(self, args, kwargs, box, *tensors)
            return _put_back(box["result"], iter(outputs if isinstance(outputs, tuple) else (outputs,)))
        return self._session.call(self._target(), args, kwargs)["value"]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._session.request("attribute", **self._target(), attribute=name)["value"]

    def __len__(self) -> int:
        return self._session.request("length", **self._target())["value"]

    def __bool__(self) -> bool:
        raise TypeError("the submission returned an object where a plain value or a tensor was expected")

    __iter__ = None
    __hash__ = None

    def __eq__(self, other: object) -> bool:
        raise TypeError("the submission returned an object where a plain value or a tensor was expected")


class _Call(torch.autograd.Function):
    """A call into the submission's process through which gradients flow: the backward pass is asked for over there."""

    @staticmethod
    def forward(ctx, remote, args, kwargs, box, *tensors):
        reply = remote._session.call(remote._target(), args, kwargs)
        ctx.session, ctx.call, box["result"] = remote._session, reply["request"], reply["value"]
        outputs = tuple(tensor.detach() for tensor in wire.tensors_in(reply["value"]))
        flags = [tensor.requires_grad for tensor in wire.tensors_in(reply["value"])]
        ctx.mark_non_differentiable(*(output for output, flag in zip(outputs, flags, strict=True) if not flag))
        ctx.flags = flags
        return outputs

    @staticmethod
    def backward(ctx, *gradients):
        given = [gradient if flag else None for gradient, flag in zip(gradients, ctx.flags, strict=True)]
        found = ctx.session.request("backward", call=ctx.call, gradients=given)["value"]
        return None, None, None, None, *found


def _put_back(value: Any, tensors) -> Any:
    """The same nested value with its tensors replaced, in order."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {key: _put_back(part, tensors) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_put_back(part, tensors) for part in value)
    return value
