"""The process from which submissions' processes are forked: it has imported torch and IPython and runs nothing else.

It is asked over a socket that only the grader holds. `multiprocessing` has such a server, too, but that one listens under a
name that a submission could find, and would run what it is sent outside of the sandbox. To import torch anew within each
submission's namespaces would take seconds; a fork that enters them takes milliseconds.
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
from pathlib import Path

from . import sandbox


class Zygote:
    """The grader's side: start the process once, and ask it for forks. Waits until the process has imported what it needs."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        self.owner = os.getpid()
        command = [sys.executable, "-m", "exercises.grading.zygote", str(theirs.fileno())]
        # Its environment can be read by every submission: the user's keys and names stay out of it.
        known = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "PYTHONHASHSEED") if name in os.environ}
        known |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=sandbox.ROOT, stdin=subprocess.DEVNULL, env=known)
        theirs.close()
        atexit.register(self.close)
        self._hear()

    def close(self) -> None:
        """Hang up, on which the process ends."""
        self.socket.close()
        if os.getpid() == self.owner:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)

    def alive(self) -> bool:
        """Whether forks can be asked for. A process that was forked from the owner learns it when it asks."""
        return self.socket.fileno() >= 0 and (os.getpid() != self.owner or self.process.poll() is None)

    def fork(self, home: Path, box: sandbox.Box | None, memory_bytes: int, threads: int) -> tuple[int, socket.socket]:
        """Return the id of a new process for a submission, in these namespaces if any, and the grader's end of its connection."""
        ours, theirs = socket.socketpair()
        given = [theirs.fileno()] + ([box.handle] if box else [])
        socket.send_fds(self.socket, [json.dumps([str(home), memory_bytes, threads]).encode()], given)
        theirs.close()
        return int(self._hear()), ours

    def _hear(self) -> bytes:
        answer = self.socket.recv(64)
        if not answer:
            raise RuntimeError("the process from which submissions are forked has ended")
        if answer.startswith(b"!"):
            raise sandbox.NoSandbox(answer[1:].decode())
        return answer


def _serve_forks(control: socket.socket) -> None:
    """Fork a submission's process for each request, until the grader hangs up."""
    from .worker import serve

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children; the kernel removes them
    sandbox.adopt_orphans()
    sandbox.hide_memory()
    gc.collect()
    gc.freeze()  # the children's garbage collectors need not look through torch, again and again
    control.sendall(b"ready")
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 8192, 2)
        if not message:
            return
        (home, memory_bytes, threads), (connection, *namespaces) = json.loads(message), descriptors
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                if not namespaces:
                    control.close()
                elif not _born_inside(control, namespaces[0]):
                    os._exit(0)
                serve(socket.socket(fileno=connection), Path(home), memory_bytes, threads, bool(namespaces))
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        if not namespaces:
            control.sendall(f"{pid:>8}".encode())


def _born_inside(control: socket.socket, namespaces: int) -> bool:
    """Enter the namespaces and fork once more, since only a child is in the new process namespace. True in that child."""
    try:
        sandbox.let_be_ended_first()
        sandbox.box_entered(namespaces)
    except OSError as error:
        control.sendall(f"!{error.strerror}"[:60].encode())
        return False
    os.close(namespaces)
    pid = os.fork()
    if pid:
        control.sendall(f"{pid:>8}".encode())
    control.close()
    return pid == 0


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        _serve_forks(ours)
