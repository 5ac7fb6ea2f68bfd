"""The process that runs a submission: it answers the grader's requests and is trusted with nothing.

It starts as a fork of a process that has only imported torch and IPython, gives up its rights, and then runs cells, calls what
they define, and sends back plain data. Whatever a submission does to this process, it can change only its own answers.
"""

from __future__ import annotations

import builtins
import importlib.abc
import os
import sys
import tempfile
import threading  # noqa: F401  imported before the rights are given up
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell

from . import sandbox, wire


class _NoBook(importlib.abc.MetaPathFinder):
    """Answers `import llmbook` by saying why there is none."""

    def find_spec(self, name, path=None, target=None):
        if name == "llmbook" or name.startswith("llmbook."):
            raise ModuleNotFoundError("llmbook holds the solutions and cannot be imported while a submission is graded", name=name)


class Worker:
    """Holds the submission's names, and the objects that the grader knows by a number."""

    def __init__(self, shell: InteractiveShell):
        self.shell = shell
        self.objects: list[object] = []
        self.calls: dict[int, tuple[list, list]] = {}  # what a backward pass needs

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

    def fetch(self, message: dict) -> dict:
        return {"value": self.target(message)}

    def attribute(self, message: dict) -> dict:
        return {"value": getattr(self.target(message), message["attribute"])}

    def length(self, message: dict) -> dict:
        return {"value": len(self.target(message))}

    def call(self, message: dict) -> dict:
        args, kwargs = message["args"], message["kwargs"]
        result = self.target(message)(*args, **kwargs)
        outputs = wire.tensors_in(result)
        if any(output.requires_grad for output in outputs):
            self.calls[message["request"]] = (wire.tensors_in([args, kwargs]), outputs)
        return {"value": result}

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


def _describe(error: BaseException) -> dict:
    """An error as plain text, with the builtin type that it is or derives from, and where in a cell it was raised."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "ipykernel" in frame.filename or "<ipython" in frame.filename
    ]
    where = f"line {frames[-1].lineno}: {frames[-1].line or ''}".strip() if frames else ""
    return {
        "kind": kinds[0] if kinds else "Exception",
        "type": type(error).__name__,
        "message": str(error)[:2000],
        "where": where[:300],
    }


def serve(connection: Connection, folder: Path, memory_bytes: int, threads: int) -> None:
    """Be the process of one submission, which may write to `folder` only, until the grader hangs up."""
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    os.chdir(folder)
    os.environ.clear()
    home = dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"), str(folder))
    os.environ.update(home, MPLBACKEND="Agg", PATH="/usr/bin:/bin", OMP_NUM_THREADS=str(threads))
    tempfile.tempdir = str(folder)
    torch.set_num_threads(threads)
    sys.path[:] = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.meta_path.insert(0, _NoBook())
    HistoryManager.enabled = False
    worker = Worker(InteractiveShell(user_ns={"__name__": "__main__"}))
    sandbox.limit_resources(memory_bytes)
    sandbox.restrict_files(folder)
    connection.send_bytes(wire.pack({"ready": True}, worker.handle))
    while True:
        try:
            message = wire.unpack(connection.recv_bytes(), worker.local)
        except EOFError:
            return
        try:
            reply = getattr(worker, message["do"])(message)
            packed = wire.pack({**reply, "request": message["request"]}, worker.handle)
        except BaseException as error:  # a submission may raise anything
            packed = wire.pack({"error": _describe(error), "request": message["request"]}, worker.handle)
        connection.send_bytes(packed)
