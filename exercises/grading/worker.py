"""The process that runs a submission: it answers the grader's requests and is trusted with nothing.

It starts as a fork of a process that has only imported torch and IPython, gives up its rights, and then runs cells, calls what
they define, and sends back plain data. Whatever a submission does to this process, it can change only its own answers.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.abc
import inspect
import os
import socket
import sys
import tempfile
import threading  # noqa: F401  imported before the rights are given up
import traceback
from pathlib import Path

import torch
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList

from . import sandbox, wire


class _NoBook(importlib.abc.MetaPathFinder):
    """Answers `import llmbook` by saying why there is none."""

    def find_spec(self, name, path=None, target=None):
        if name == "llmbook" or name.startswith("llmbook."):
            raise ModuleNotFoundError("llmbook holds the solutions and cannot be imported while a submission is graded", name=name)


def _shell() -> InteractiveShell:
    """A shell in which nothing that only helps its user costs an answer: commands of the system do nothing, magics may fail."""
    HistoryManager.enabled = False
    shell = InteractiveShell(user_ns={"__name__": "__main__"})
    run_line, run_cell = shell.run_line_magic, shell.run_cell_magic

    def line_magic(name, line, *args, **kwargs):
        with contextlib.suppress(Exception):
            return None if name in _OUTSIDE else run_line(name, line, *args, **kwargs)

    def cell_magic(name, line, cell):
        if name in _OUTSIDE:
            return None
        if shell.find_cell_magic(name) is None:  # of a library that is not here: what stands below it counts
            return shell.ex(cell)
        return run_cell(name, line, cell)

    shell.run_line_magic, shell.run_cell_magic = line_magic, cell_magic
    shell.system = shell.system_raw = shell.system_piped = lambda command: None
    shell.getoutput = lambda command, *args, **kwargs: SList([])
    return shell


_OUTSIDE = frozenset({"sx", "system", "pip", "conda", "mamba", "micromamba", "uv", "bash", "sh", "script", "!"})


class Worker:
    """Holds the submission's names, and the objects that the grader knows by a number."""

    def __init__(self, shell: InteractiveShell):
        self.shell = shell
        self.objects: list[object] = []
        self.calls: dict[int, tuple[list, list]] = {}  # what a backward pass needs
        self.raw = b""  # the request that is being answered
        self.marks: dict[str, dict[str, object]] = {}  # what names meant when a check was reached

    def handle(self, value: object) -> dict:
        self.objects.append(value)
        return {"number": len(self.objects) - 1, "type": type(value).__name__, "callable": callable(value)}

    def target(self, message: dict) -> object:
        if "name" in message:
            return self.shell.user_ns[message["name"]]
        return self.objects[int(message["number"])]

    def local(self, content: dict) -> object:
        return self.objects[int(content["number"])]

    def cell(self, message: dict) -> dict:
        done = self.shell.run_cell(message["source"], store_history=False, silent=True)
        error = done.error_before_exec or done.error_in_exec
        return {"error": _describe(error)} if error is not None else {}

    def names(self, message: dict) -> dict:
        return {"names": [name for name in message["names"] if name in self.shell.user_ns]}

    def mark(self, message: dict) -> dict:
        """Remember what the names mean at this place of the notebook."""
        hidden = ("In", "Out", "exit", "quit", "get_ipython")
        self.marks[message["mark"]] = {
            name: value for name, value in self.shell.user_ns.items() if not name.startswith("_") and name not in hidden
        }
        return {}

    def renamed(self, message: dict) -> dict:
        """Say whether a name means something else than at that place."""
        now = self.shell.user_ns
        return {"value": any(now.get(name) is not value for name, value in self.marks[message["mark"]].items())}

    def attribute(self, message: dict) -> dict:
        return {"value": getattr(self.target(message), message["attribute"])}

    def length(self, message: dict) -> dict:
        return {"value": len(self.target(message))}

    def call(self, message: dict) -> dict:
        args, kwargs = message["args"], message["kwargs"]
        target = self.target(message)
        result = target(*args, **kwargs)
        if message.get("keeps") and (changed := self.changed(target, args, kwargs)):
            return {"value": None, "changed": changed}
        outputs = wire.tensors_in(result)
        if any(output.requires_grad for output in outputs):
            self.calls[message["request"]] = (wire.tensors_in([args, kwargs]), outputs)
        return {"value": result}

    def changed(self, target: object, args: list, kwargs: dict) -> str:
        """Name the argument that a call has changed in place, or return "". What it was is read from the request once more."""
        if not any(map(wire.may_change, (*args, *kwargs.values()))):
            return ""
        before = wire.unpack(self.raw, self.local)
        for number, (one, other) in enumerate(zip(before["args"], args, strict=True)):
            if (place := wire.change(one, other)) is not None:
                name = _parameter(target, number)
                return f"argument {number + 1}" + (f" ({name}{place})" if name else f" (at {place})" if place else "")
        for name, one in before["kwargs"].items():
            if (place := wire.change(one, kwargs.get(name))) is not None:
                return f"the argument {name}{place}"
        return ""

    def backward(self, message: dict) -> dict:
        inputs, outputs = self.calls[message["call"]]
        pairs = [(output, gradient) for output, gradient in zip(outputs, message["gradients"], strict=True) if gradient is not None]
        leaves = [leaf for leaf in inputs if leaf.requires_grad]
        outputs, gradients = [output for output, _ in pairs], [gradient for _, gradient in pairs]
        found = iter(torch.autograd.grad(outputs, leaves, gradients, retain_graph=True, allow_unused=True))
        return {"value": [next(found) if leaf.requires_grad else None for leaf in inputs]}

    def forget(self, message: dict) -> dict:
        """Drop what the last check has left behind."""
        self.objects.clear()
        self.calls.clear()
        return {}


def _parameter(target: object, number: int) -> str:
    """The name of a positional parameter, or "" where it has none."""
    with contextlib.suppress(Exception):
        found = list(inspect.signature(target).parameters.values())
        if number < len(found) and found[number].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            return found[number].name
    return ""


def _describe(error: BaseException) -> dict:
    """An error as plain text, with the builtin types that it has or derives from, and where in a cell it was raised."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "ipykernel" in frame.filename or "<ipython" in frame.filename
    ]
    where = f"line {frames[-1].lineno}: {frames[-1].line or ''}".strip() if frames else ""
    try:
        only = error.args[0] if len(error.args) == 1 and isinstance(error, KeyError) else None  # whose text is a repr
        message = only if isinstance(only, str) else str(error)
    except BaseException:  # the text of an error is the submission's, too
        message = "an error without a text"
    return {"kinds": kinds, "type": type(error).__name__, "message": message[:2000], "where": where[:300]}


def serve(connection: socket.socket, home: Path, memory_bytes: int, threads: int, boxed: bool) -> None:
    """Be the process of one submission until the grader hangs up.

    It may write to `home` only, which in namespaces (`boxed`) is a folder of its own in memory.
    """
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    os.close(quiet)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # to print something costs nothing
    os.chdir(home)
    os.environ.clear()
    folders = dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"), str(home))
    os.environ.update(
        folders, MPLBACKEND="Agg", PATH="/usr/bin:/bin", OMP_NUM_THREADS=str(threads), USER="student", LOGNAME="student"
    )
    tempfile.tempdir = str(home)
    torch.set_num_threads(threads)
    sys.path[:] = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.meta_path.insert(0, _NoBook())
    worker = Worker(_shell())
    sandbox.limit_resources(memory_bytes)
    if boxed:
        sandbox.drop_rights()
    else:
        sandbox.refuse_calls()
        sandbox.restrict_files(home)
    wire.send(connection, wire.pack({"ready": True}, worker.handle))
    while True:
        try:
            worker.raw = wire.receive(connection, wire.MAX_BYTES)
        except EOFError:
            return
        message = wire.unpack(worker.raw, worker.local)
        try:
            reply = getattr(worker, message["do"])(message)
            packed = wire.pack({**reply, "request": message["request"]}, worker.handle, wire.MAX_ANSWER_BYTES)
        except BaseException as error:  # a submission may raise anything
            packed = wire.pack({"error": _describe(error), "request": message["request"]}, worker.handle)
        wire.send(connection, packed)
