"""What the process that runs a submission may use: files, processes, network, memory.

On Linux each submission runs in namespaces of its own, which `bwrap` makes and which end with it. Where they cannot be made,
Landlock, a part of the kernel by which a process gives up rights for itself and its children, keeps it from files and TCP,
and elsewhere only the limits hold. `isolation()` says which, and `problem()` why there are no namespaces.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import select
import shutil
import signal
import site
import struct
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("/tmp")  # of a submission in its namespaces
MAX_PROCESSES = 32
MAX_FILES, MAX_SOCKETS = 20_000, 256
_TMP_BYTES, _SHM_BYTES = 256 << 20, 64 << 20
_START_SECONDS = 30.0
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # system calls, the same numbers on every architecture
_READ = 0b1101  # execute, read a file, read a folder
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI version -> number of rights over files that it knows
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/sys/devices/system/cpu", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts",
           "/etc/passwd", "/etc/nsswitch.conf", "/etc/alternatives")  # fmt: skip
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 38, 36, 4, 22, 24
# mount, cgroup, uts, ipc, user, pid, net; as flags of setns
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
# By architecture: its name for the kernel, and the numbers of system calls that are refused: what holds memory that no limit
# counts (memfd_create, memfd_secret, shmget, msgget, semget, mq_open, io_uring_setup), keys, what reaches into other processes
# (ptrace, process_vm_readv, process_vm_writev, perf_event_open, bpf, userfaultfd), what changes where and how urgently something
# runs (setpriority, ioprio_set, sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr), namespaces (unshare,
# setns, mount), and personality. The last number is prlimit64's, which is refused for other processes only.
_REFUSED = {
    "x86_64": (
        0xC000003E,
        (
            319,
            447,
            29,
            68,
            64,
            240,
            425,
            248,
            249,
            250,
            101,
            310,
            311,
            298,
            321,
            323,
            141,
            251,
            142,
            144,
            203,
            314,
            272,
            308,
            165,
            135,
        ),
        302,
    ),
    "aarch64": (
        0xC00000B7,
        (
            279,
            447,
            194,
            186,
            190,
            180,
            425,
            217,
            218,
            219,
            117,
            270,
            271,
            241,
            280,
            282,
            140,
            30,
            118,
            119,
            122,
            274,
            97,
            268,
            40,
            92,
        ),
        261,
    ),
}


class NoSandbox(RuntimeError):
    """There are no namespaces for a submission; the message says why."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Return the version of Landlock's interface, or 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _libc().syscall(_CREATE, None, 0, 1))


def isolation(namespaces: bool = True) -> str:
    """Say in a few words what a submission is kept from on this machine."""
    if namespaces:
        return (
            "each in namespaces of its own (bwrap): its own processes, files, network and shared memory; limits of time and memory"
        )
    version = landlock_version()
    if version == 0:
        return "time and memory limits only: this system has no Landlock, so a submission can read your files"
    return "time and memory limits; no files but Python's own" + (", no network" if version >= 4 else "") + (
        ", no signals to other processes" if version >= 6 else "")  # fmt: skip


@cache
def problem() -> str:
    """Say why submissions cannot have namespaces of their own here, or return ""."""
    if not sys.platform.startswith("linux"):
        return "namespaces are a part of Linux"
    if shutil.which("bwrap") is None:
        return "the program bwrap is not installed (Debian, Ubuntu and Fedora: the package bubblewrap)"
    try:
        box = Box()
    except NoSandbox as error:
        return str(error)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                box_entered(box.handle)
                os._exit(0)
            finally:
                os._exit(1)
        return "the kernel refuses to enter the namespaces that bwrap has made" if os.waitpid(pid, 0)[1] else ""
    finally:
        box.close()


def _python_folders() -> list[str]:
    """Return the folders from which this Python imports, but not the project itself."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    folders |= set(site.getsitepackages())
    return sorted(folder for folder in folders | set(map(os.path.realpath, folders)) if os.path.isdir(folder))


def _bwrap_command() -> list[str]:
    """The command that makes the namespaces: Python's and the system's folders to read, and two small ones in memory to write."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000", "--cap-drop",
               "ALL", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--hostname", "submission"]  # fmt: skip
    for path in _SYSTEM:
        if os.path.islink(path) and os.path.isdir(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            command += ["--ro-bind", path, path]
    python = [folder for folder in _python_folders() if not folder.startswith("/usr/") and folder != "/usr"]
    for folder in python:
        command += ["--ro-bind", folder, folder]
    if any(ROOT.is_relative_to(folder) for folder in ("/usr", *python)):  # the masters lie there
        command += ["--tmpfs", str(ROOT)]
        for folder in _python_folders():
            command += ["--ro-bind", folder, folder] if Path(folder).is_relative_to(ROOT) else []
        command += ["--remount-ro", str(ROOT)]
    # Under root a submission has root's number outside, without its rights; /proc/sys asks for the number only.
    command += [
        "--proc",
        "/proc",
        "--remount-ro",
        "/proc",
        "--dev",
        "/dev",
        "--size",
        str(_SHM_BYTES),
        "--tmpfs",
        "/dev/shm",
        "--remount-ro",
        "/dev",
    ]
    return [*command, "--size", str(_TMP_BYTES), "--tmpfs", str(HOME), "--remount-ro", "/", "--chdir", str(HOME)]


class Box:
    """Namespaces for one submission. They live as long as their first process, which waits for us; with it the kernel ends all.

    Raises:
        NoSandbox: if they cannot be made.
    """

    def __init__(self):
        reading, writing = os.pipe()
        wait = ["/bin/sh", "-c", "trap '' CHLD; echo; read -r line"]  # where children are ignored the kernel removes dead ones
        command = [*_bwrap_command(), "--info-fd", str(writing), "--", *wait]
        try:
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            self.process = subprocess.Popen(command, **pipes, pass_fds=[writing], start_new_session=True)
        except OSError as error:
            os.close(reading)
            raise NoSandbox(f"bwrap cannot be started ({error.strerror})") from None
        finally:
            os.close(writing)
        with open(reading, "rb") as told:
            ready = select.select([self.process.stdout], [], [], _START_SECONDS)[0] and self.process.stdout.readline()
            if not ready:
                self.process.kill()
                raise NoSandbox("bwrap says: " + self.process.communicate()[1].decode(errors="replace").strip()[:500])
            self.first = json.loads(told.read())["child-pid"]
        self.handle = os.pidfd_open(self.first)
        self.root = os.open(f"/proc/{self.first}/root", os.O_PATH)
        self.proc = os.open("proc", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.root)

    def kill(self) -> None:
        """End every process in the namespaces."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def close(self) -> None:
        """End every process in the namespaces and wait until they are gone."""
        self.kill()
        select.select([self.handle], [], [], 10)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError):
                stream.close()
        for descriptor in (self.handle, self.root, self.proc):
            os.close(descriptor)

    def excess(self, memory_bytes: int) -> tuple[str, str] | None:
        """Say of what there is too much in the namespaces, as a status and a sentence; None if all is well."""
        numbers = [name for name in os.listdir(self.proc) if name.isdigit()]
        if len(numbers) > MAX_PROCESSES + 1:
            return "stopped", f"more than {MAX_PROCESSES} processes were started"
        if sum(self._bytes(name, "statm") for name in numbers) > memory_bytes and (
            sum(self._bytes(name, "smaps_rollup") for name in numbers) > memory_bytes):  # fmt: skip
            return "memory limit", ""
        for folder in (HOME.name, "dev/shm"):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.root)
            try:
                found = os.fstatvfs(descriptor)
            finally:
                os.close(descriptor)
            if found.f_files - found.f_ffree > MAX_FILES:
                return "stopped", f"more than {MAX_FILES} files were made"
        if (sockets := self._sockets()) > MAX_SOCKETS:
            return "stopped", f"{sockets} sockets were opened"
        return None

    def _text(self, name: str) -> str:
        try:
            with open(os.open(name, os.O_RDONLY, dir_fd=self.proc), encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:  # the process is gone, or hides
            return ""

    def _bytes(self, process: str, kind: str) -> int:
        """The memory of a process: what is in memory, or, slow to find out, its share of it."""
        text = self._text(f"{process}/{kind}")
        if kind == "smaps_rollup":
            for line in text.splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
            return self._bytes(process, "statm")
        return int(text.split()[1]) * resource.getpagesize() if text else 0

    def _sockets(self) -> int:
        words = self._text("1/net/sockstat").split()
        return int(words[2]) if words[:2] == ["sockets:", "used"] else 0


def box_entered(handle: int) -> None:
    """Enter the namespaces of a process, given as a descriptor. Children of this process are then born into them."""
    if _libc().setns(handle, _NAMESPACES):
        raise OSError(ctypes.get_errno(), "the namespaces cannot be entered")


def drop_rights() -> None:
    """Give up all capabilities for good, and the system calls that a submission has no use for."""
    libc = _libc()
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.capset(struct.pack("<Ii", 0x20080522, 0), bytes(24)) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the rights cannot be given up")
    refuse_calls()


def refuse_calls() -> None:
    """Let the kernel refuse the system calls above. Does nothing on other systems and architectures."""
    if not sys.platform.startswith("linux") or platform.machine() not in _REFUSED:
        return
    machine, refused, prlimit = _REFUSED[platform.machine()]
    allow, refuse = 0x7FFF0000, 0x00050001  # the second with the error EPERM
    load, equal, above, give = 0x20, 0x15, 0x35, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, refuse), (load, 0, 0, 0)]
    program += [(above, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # calls of x32 have numbers of their own
    for number in refused:
        program += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    program += [(equal, 0, 3, prlimit), (load, 0, 0, 16), (equal, 1, 0, 0), (give, 0, 0, refuse), (give, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
    filters = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refuses the filter of system calls")


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
    readable = (*_SYSTEM, "/dev", "/proc/cpuinfo", "/proc/meminfo", *_python_folders())
    rules = [(folder, _READ) for folder in readable] + [(str(writable), known), ("/dev/null", _READ | 0b10)]
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


def limit_memory(memory_bytes: int) -> None:
    """Cap what this process may allocate beyond what it has."""
    status = Path("/proc/self/status")
    if status.exists():
        used = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes, used + memory_bytes))


def limit_resources(memory_bytes: int) -> None:
    """Cap what this process may allocate beyond what it has, what its files may hold, and how many it may have open."""
    limit_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    for name in ("RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE"):
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (0, 0))


def adopt_orphans() -> None:
    """Become the parent of processes that a submission detaches, so that they can be found."""
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def hide_memory() -> None:
    """Forbid other processes of the same user to read our memory."""
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def let_be_ended_first() -> None:
    """When the machine's memory is at its end, the kernel shall end this process and its children rather than the grader."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
