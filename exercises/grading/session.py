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
from .sandbox import HOME, MAX_PROCESSES, Box
from .zygote import Zygote

_POLL_SECONDS = 0.05
_START_SECONDS = 60.0
_FORKED_BYTES = 400 << 20  # what a process holds before a submission runs in it, shared with its siblings


@dataclass(frozen=True)
class Limits:
    """What a submission may take: seconds per cell and per call, seconds in all, bytes of memory, threads.

    Without `namespaces`, submissions run beside each other and are kept apart by Landlock only, where there is that.
    """

    cell_seconds: float = 60.0
    notebook_seconds: float = 600.0
    memory_bytes: int = 4 << 30
    threads: int = 1
    namespaces: bool = True


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


def start_zygote() -> Zygote:
    """The process from which submissions are forked. The first call takes seconds, which no submission should pay for."""
    if not _ZYGOTES or not _ZYGOTES[0].alive():
        _ZYGOTES[:] = [Zygote()]
    return _ZYGOTES[0]


def end_zygote() -> None:
    """End the process from which submissions are forked, and what is left of them; the next submission gets another."""
    for zygote in _ZYGOTES:
        _end_children(zygote.process.pid)
        with contextlib.suppress(psutil.Error):
            psutil.Process(zygote.process.pid).kill()
        zygote.close()
    _ZYGOTES.clear()


class Session:
    """One process of a submission. Every request has a deadline, after which the process and all that it has started are killed.

    Raises:
        NoSandbox: if the submission shall have namespaces of its own and there are none.
    """

    def __init__(self, limits: Limits, seconds_left: Callable[[], float]):
        self.limits, self.seconds_left = limits, seconds_left
        self.arguments_may_change = False  # set for the checks of functions whose task that is
        self.numbers = itertools.count()
        self.reason: tuple[str, str] | None = None
        self.zygote = start_zygote()
        self.box = Box() if limits.namespaces else None
        self.folder = None if self.box else Path(tempfile.mkdtemp(prefix="submission-")).resolve()
        self.closed = threading.Event()
        self.pid, self.connection = 0, None
        try:
            self.pid, self.connection = self.zygote.fork(self.folder or HOME, self.box, limits.memory_bytes, limits.threads)
            self.watch = threading.Thread(target=self._watch, daemon=True)
            self.watch.start()
            self.seconds = _START_SECONDS
            self._receive(time.monotonic() + self.seconds)
        except BaseException:
            self.close()
            raise

    def _watch(self) -> None:
        """Kill the process when it is large or has too many children."""
        cap = self.limits.memory_bytes + _FORKED_BYTES
        while not self.closed.wait(_POLL_SECONDS):
            with contextlib.suppress(psutil.Error, OSError):
                if found := self.box.excess(cap) if self.box else _excess(self.pid, cap):
                    status, message = found
                    limit = f"the memory limit of {self.limits.memory_bytes / 2**30:g} GiB was reached"
                    return self._kill(status, message or limit)

    def _kill(self, status: str = "stopped", message: str = "") -> None:
        self.reason = self.reason or (status, message)
        if self.box is not None:
            return self.box.kill()
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _receive(self, deadline: float) -> dict:
        try:
            message = wire.receive(self.connection, wire.MAX_ANSWER_BYTES + (1 << 16), deadline)
            reply = wire.unpack(message, lambda content: Remote(self, content), False, wire.MAX_HEADER_BYTES)
            if not isinstance(reply, dict):
                raise wire.WireError("a message that is no answer")
            return reply
        except TimeoutError:
            self._kill("time limit", f"the time limit of {self.seconds:g} s was reached")
            problem = self.reason
        except (EOFError, OSError):
            self.closed.wait(2 * _POLL_SECONDS if self.reason is None else 0)  # perhaps it is being killed for a reason
            problem = self.reason or ("stopped", "the process ended, as by os._exit or a crash")
        except wire.WireError as error:
            problem = "stopped", f"the process sent {error}"
        self.close()
        raise Stopped(*problem)

    def request(self, do: str, **content: Any) -> dict:
        """Ask the process to do something and return its answer.

        Raises:
            Stopped: when there is no answer in time, or no process any more.
            Exception: the error that the process reports, of the builtin types that it has or derives from.
        """
        if self.closed.is_set():
            raise Stopped(*self.reason or ("stopped", "the process has ended"))
        number = next(self.numbers)
        packed = wire.pack({"do": do, "request": number, **content}, _remote_handle)
        self.seconds = round(max(min(self.limits.cell_seconds, self.seconds_left()), 0.0), 1)
        deadline = time.monotonic() + self.seconds
        with contextlib.suppress(OSError):  # the answer below says why
            self.connection.settimeout(max(self.seconds, 0.001))
            wire.send(self.connection, packed)
        reply = self._receive(deadline)
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
        """Kill the process and whatever it has started, and remove what it has written."""
        if self.closed.is_set():
            return
        self.closed.set()
        self._kill()
        if self.connection is not None:
            self.connection.close()
            self.watch.join(5)
        if self.box is not None:
            self.box.close()
        else:
            _end_children(self.zygote.process.pid)
            shutil.rmtree(self.folder, ignore_errors=True)


def _excess(pid: int, memory_bytes: int) -> tuple[str, str] | None:
    """Say of what a process and its children have too much, as a status and a sentence; None if all is well."""
    family = [psutil.Process(pid)]
    family += family[0].children(recursive=True)
    if len(family) > MAX_PROCESSES:
        return "stopped", f"more than {MAX_PROCESSES} processes were started"
    if sum(member.memory_info().rss for member in family) > memory_bytes and sum(map(_own_bytes, family)) > memory_bytes:
        return "memory limit", ""
    return None


def _own_bytes(process: psutil.Process) -> int:
    """The memory that a process does not share with the one from which it was forked; slow to find out."""
    return process.memory_full_info().uss


def _end_children(pid: int) -> None:
    """Kill what a submission without namespaces has started, which the kernel makes children of the zygote."""
    for _ in range(3):
        try:
            found = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return
        for each in found:
            with contextlib.suppress(psutil.Error):
                each.kill()
        if not found or not psutil.wait_procs(found, timeout=2)[1]:
            return


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
