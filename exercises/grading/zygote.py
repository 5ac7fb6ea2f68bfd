"""The process from which submissions' processes are forked: it has imported torch and IPython and runs nothing else.

It is asked over a socket that only the grader holds. `multiprocessing` has such a server, too, but that one listens under a
name that a submission could find, and would run what it is sent outside of the sandbox.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


class Zygote:
    """The grader's side: start the process once, and ask it for forks. Waits until the process has imported what it needs."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "exercises.grading.zygote", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=_ROOT, stdin=subprocess.DEVNULL)
        theirs.close()
        atexit.register(self.close)
        self._hear()

    def close(self) -> None:
        """Hang up, on which the process ends."""
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)

    def alive(self) -> bool:
        return self.process.poll() is None

    def fork(self, folder: Path, memory_bytes: int, threads: int) -> tuple[int, Connection]:
        """Return the id of a new process for a submission and the grader's end of its connection."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self.socket, [json.dumps([str(folder), memory_bytes, threads]).encode()], [theirs.fileno()])
        theirs.close()
        return int(self._hear()), Connection(ours.detach())

    def _hear(self) -> bytes:
        answer = self.socket.recv(64)
        if not answer:
            raise RuntimeError("the process from which submissions are forked has ended")
        return answer


def _serve_forks(control: socket.socket) -> None:
    """Fork a submission's process for each request, until the grader hangs up."""
    from .worker import serve

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children; the kernel removes them
    gc.collect()
    gc.freeze()  # the children's garbage collectors need not look through torch, again and again
    control.sendall(b"ready")
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 8192, 1)
        if not message:
            return
        (descriptor,), (folder, memory_bytes, threads) = descriptors, json.loads(message)
        pid = os.fork()
        if pid == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                serve(Connection(descriptor), Path(folder), memory_bytes, threads)
            finally:
                os._exit(0)
        os.close(descriptor)
        control.sendall(f"{pid:>8}".encode())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        _serve_forks(ours)
