"""What the process that runs a submission may use: memory, processes, and, where Linux has Landlock, files and network.

Landlock is a part of the Linux kernel by which a process gives up rights for itself and its children, without being root.
Elsewhere only the limits hold; `isolation()` says which.
"""

from __future__ import annotations

import ctypes
import os
import resource
import site
import struct
import sys
from pathlib import Path

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # system calls, the same numbers on every architecture
_READ = 0b1101  # execute, read a file, read a folder
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI version -> number of rights over files that it knows
_READABLE = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/dev",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/passwd",
    "/etc/nsswitch.conf",
    "/etc/alternatives",
)
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER, _PR_SET_DUMPABLE = 38, 36, 4


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Return the version of Landlock's interface, or 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _libc().syscall(_CREATE, None, 0, 1))


def isolation() -> str:
    """Say in a few words what a submission is kept from on this machine."""
    version = landlock_version()
    if version == 0:
        return "time and memory limits only: this system has no Landlock, so a submission can read your files"
    return "time and memory limits; no files but Python's own" + (", no network" if version >= 4 else "") + (
        ", no signals to other processes" if version >= 6 else "")  # fmt: skip


def _python_folders() -> list[str]:
    """Return the folders from which this Python imports, but not the project itself."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    return sorted(folder for folder in folders | set(site.getsitepackages()) if os.path.isdir(folder))


def restrict_files(writable: Path) -> None:
    """Give up all files but Python's own (to read) and one folder (to write), and the network. Does nothing without Landlock."""
    version = landlock_version()
    if version == 0:
        return
    libc, known = _libc(), (1 << _RIGHTS_BY_ABI[max(v for v in _RIGHTS_BY_ABI if v <= version)]) - 1
    attributes = struct.pack("<QQQ", known, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    ruleset = libc.syscall(_CREATE, attributes, 8 if version < 4 else 16 if version < 6 else 24, 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "Landlock refused its rule set")
    rules = [(folder, _READ) for folder in (*_READABLE, *_python_folders())] + [(str(writable), known), ("/dev/null", _READ | 0b10)]
    for path, rights in rules:
        if not os.path.exists(path):
            continue
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            rights &= 0b111 | 1 << 14 & known | 1 << 15 & known  # rights over files only
        if libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("<Qi", rights & known, descriptor), 0):
            raise OSError(ctypes.get_errno(), f"Landlock refused the rule for {path}")
        os.close(descriptor)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock could not be switched on")
    os.close(ruleset)


def limit_resources(memory_bytes: int) -> None:
    """Cap what this process may allocate beyond what it has, and what its files may hold."""
    data = resource.RLIM_INFINITY
    status = Path("/proc/self/status")
    if status.exists():
        used = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmData"))
        data = used + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def adopt_orphans() -> None:
    """Become the parent of processes that a submission detaches, so that they can be found; forbid others to read our memory."""
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
