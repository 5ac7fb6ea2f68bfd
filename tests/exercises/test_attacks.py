"""What submissions have tried, or might: each attack ends in its time, tells nothing, leaves nothing, and changes nobody's marks.

An attack is a cell of a submission. `bad` becomes true in it where the attack works; the answer below it is then wrong.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from small_exercise import RIGHT, points, submission

from exercises.grading import sandbox
from exercises.grading.masters import Check

ALL = {"double": 2, "counter": 3}
LOST = {"double": 0, "counter": 3}
boxed = pytest.mark.skipif(bool(sandbox.problem()), reason=f"no namespaces: {sandbox.problem()}")
UNLESS_BAD = "def double(x):\n    return x if bad else 2 * x"


def own(attack: str) -> str:
    """A cell that tries something; an error of the system means that it was refused."""
    body = textwrap.indent(textwrap.dedent(attack), "    ")
    return f"import ctypes, os, signal, socket, struct, subprocess, sys, time\nbad = False\ntry:\n{body}\nexcept OSError:\n    pass"


def with_check(exercises, source):
    small = exercises["small"]
    question = dataclasses.replace(small.questions[0], checks=(Check("double-check", 2.0, source),))
    exercises["small"] = dataclasses.replace(small, questions=(question, *small.questions[1:]))


# ---------------------------------------------------------------- other processes

# Tried on the victim's number, on the parent, and on every process that can be seen. `many(f)`: whether f raised nothing for one.
MANY = """
libc = ctypes.CDLL(None, use_errno=True)
others = {VICTIM, os.getppid(), *(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) > 1)} - {0, os.getpid()}
def many(act):
    worked = False
    for other in others:
        try:
            worked |= act(other) is not False
        except (OSError, ValueError):
            pass
    return worked
"""
REACHING = {
    "limits (prlimit)": "import resource\nbad = many(lambda p: resource.prlimit(p, resource.RLIMIT_NOFILE, (16, 16)))",
    "limits (a bare system call)": "new = struct.pack('QQ', 16, 16)\nbad = many(lambda p: libc.syscall(302, p, 7, new, None) == 0)",
    "priority": "bad = many(lambda p: os.setpriority(os.PRIO_PROCESS, p, 19))",
    "priority of groups": "bad = many(lambda p: os.setpriority(os.PRIO_PGRP, p, 19))",
    "priority of the user": "os.setpriority(os.PRIO_USER, os.getuid(), 19)",
    "input and output priority": "bad = many(lambda p: libc.syscall(251, 1, p, 3 << 13) == 0)",
    "affinity": "bad = many(lambda p: os.sched_setaffinity(p, {0}))",
    "scheduling": "bad = many(lambda p: os.sched_setscheduler(p, os.SCHED_IDLE, os.sched_param(0)))",
    "signals": "bad = many(lambda p: os.kill(p, signal.SIGSTOP))",
    "signals to groups": "bad = many(lambda p: os.killpg(p, signal.SIGSTOP))",
    "signals by pidfd": "bad = many(lambda p: signal.pidfd_send_signal(os.pidfd_open(p), signal.SIGSTOP))",
    "descriptors (pidfd_getfd)": "bad = many(lambda p: libc.syscall(438, os.pidfd_open(p), 1, 0) >= 0)",
    "tracing": "bad = many(lambda p: libc.ptrace(0x4206, p, 0, 0) == 0)",
    "memory (process_vm_readv)": "room = ctypes.create_string_buffer(8)\nlocal = struct.pack('QQ', ctypes.addressof(room), 8)\n"
    "bad = many(lambda p: libc.process_vm_readv(p, local, 1, local, 1, 0) > 0)",
    "memory (/proc/.../mem)": "bad = many(lambda p: open(f'/proc/{p}/mem', 'r+b'))",
    "who gets killed for memory": "bad = many(lambda p: open(f'/proc/{p}/oom_score_adj', 'w').write('1000'))",
    "namespaces": "bad = many(lambda p: libc.setns(os.pidfd_open(p), 0x20000) == 0)",
    "root folders": "bad = many(lambda p: os.listdir(f'/proc/{p}/root'))",
}


@boxed
@pytest.mark.parametrize("name", REACHING)
def test_other_processes_cannot_be_reached(graded, name):
    with subprocess.Popen(["sleep", "600"]) as victim:
        watched = [psutil.Process(), psutil.Process(victim.pid)]

        def state():
            return [
                (p.nice(), p.ionice(), p.cpu_affinity(), p.rlimit(psutil.RLIMIT_NOFILE), os.sched_getscheduler(p.pid), p.status() == "stopped")
                for p in watched
            ]  # fmt: skip

        before = state()
        report = graded(
            submission({**RIGHT, "double": UNLESS_BAD}, before=(own(MANY.replace("VICTIM", str(victim.pid)) + REACHING[name]),))
        )
        assert points(report) == ALL and report.cells == [], report
        assert state() == before
        victim.kill()


@boxed
def test_only_its_own_processes_can_be_seen(graded):
    look = own("bad = len([p for p in os.listdir('/proc') if p.isdigit()]) != 2 or os.getppid() != 0")
    assert points(graded(submission({**RIGHT, "double": UNLESS_BAD}, before=(look,)))) == ALL


@boxed
def test_the_environment_of_the_grader_is_not_inherited(graded, monkeypatch):
    from exercises.grading import session

    monkeypatch.setenv("API_TOKEN", "a-secret-of-the-teacher")
    session.end_zygote()  # so that the next one is started with it
    read = own("text = open('/proc/self/environ').read() + str(dict(os.environ))\nbad = 'a-secret' in text or not text")
    assert points(graded(submission({**RIGHT, "double": UNLESS_BAD}, before=(read,)))) == ALL


# ---------------------------------------------------------------- what outlives a submission

# How to leave a message and how to find it. Both work in one process without a sandbox, which is tested, too.
LEAVING = {
    "shared memory (System V)": (
        "libc.shmat.restype = ctypes.c_void_p\ni = libc.shmget(0x5EC4E7, 64, 0o1666)\nctypes.memmove(libc.shmat(i, None, 0), b'answer', 7)",
        "libc.shmat.restype = ctypes.c_void_p\ni = libc.shmget(0x5EC4E7, 64, 0)\nfound = i >= 0 and ctypes.string_at(libc.shmat(i, None, 0)) == b'answer'",
        "libc.shmctl(libc.shmget(0x5EC4E7, 64, 0), 0, None)",
    ),
    "message queues (System V)": (
        "i = libc.msgget(0x5EC4E7, 0o1666)\nlibc.msgsnd(i, struct.pack('l8s', 1, b'answer'), 8, 0o4000)",
        "room = ctypes.create_string_buffer(16)\nfound = libc.msgrcv(libc.msgget(0x5EC4E7, 0), room, 8, 0, 0o4000) == 8",
        "libc.msgctl(libc.msgget(0x5EC4E7, 0), 0, None)",
    ),
    "semaphores (System V)": (
        "libc.semctl(libc.semget(0x5EC4E7, 1, 0o1666), 0, 16, 7)",
        "found = libc.semctl(libc.semget(0x5EC4E7, 1, 0), 0, 12) == 7",
        "libc.semctl(libc.semget(0x5EC4E7, 1, 0), 0, 0)",
    ),
    "shared memory (POSIX)": (
        "import _posixshmem\nos.write(_posixshmem.shm_open('/5EC4E7', os.O_CREAT | os.O_RDWR, mode=0o666), b'answer')",
        "import _posixshmem\nfound = os.read(_posixshmem.shm_open('/5EC4E7', os.O_RDONLY, mode=0), 6) == b'answer'",
        "_posixshmem.shm_unlink('/5EC4E7')",
    ),
    "message queues (POSIX)": (
        "libc.mq_send(libc.mq_open(b'/5EC4E7', 0o102, 0o666, None), b'answer', 6, 0)",
        "found = libc.mq_open(b'/5EC4E7', 2) >= 0",
        "libc.mq_unlink(b'/5EC4E7')",
    ),
    "files in /tmp": ("open('/tmp/5EC4E7', 'w').write('answer')", "found = open('/tmp/5EC4E7').read() == 'answer'", "os.unlink('/tmp/5EC4E7')"),
    "files in /var/tmp": ("open('/var/tmp/5EC4E7', 'w').write('answer')", "found = os.path.exists('/var/tmp/5EC4E7')", "os.unlink('/var/tmp/5EC4E7')"),
    "files in /dev/shm": ("open('/dev/shm/5EC4E8', 'w').write('answer')", "found = os.path.exists('/dev/shm/5EC4E8')", "os.unlink('/dev/shm/5EC4E8')"),
    "files beside it": ("open('5EC4E7', 'w').write('answer')", "found = os.path.exists('5EC4E7')", "os.unlink('5EC4E7')"),
    "the home folder": (
        "open(os.path.expanduser('~/5EC4E7'), 'w').write('answer')",
        "found = os.path.exists(os.path.expanduser('~/5EC4E7'))",
        "os.unlink(os.path.expanduser('~/5EC4E7'))",
    ),
    "Python's folders": (
        "open(sys.prefix + '/5EC4E7', 'w').write('answer')",
        "found = os.path.exists(sys.prefix + '/5EC4E7')",
        "os.unlink(sys.prefix + '/5EC4E7')",
    ),
    "an abstract socket": (
        "s = socket.socket(socket.AF_UNIX)\ns.bind('\\0' + '5EC4E7')\ns.listen()\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(20)\n    os._exit(0)",
        "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + '5EC4E7')\nfound = True",
        "pass",
    ),
    "a port": (
        "s = socket.create_server(('127.0.0.1', 47123))\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(20)\n    os._exit(0)",
        "socket.create_connection(('127.0.0.1', 47123), 1)\nfound = True",
        "pass",
    ),
    "a port (UDP)": (
        "s = socket.socket(type=socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 47124))\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(20)\n    os._exit(0)",
        "s = socket.socket(type=socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 47124))\ns.send(b'?')\ntime.sleep(0.1)\ns.send(b'?')\nfound = True",
        "pass",
    ),
    "keys of the user": (
        "libc.syscall(248, b'user', b'5EC4E7', b'answer', 6, -4)",
        "found = libc.syscall(249, b'user', b'5EC4E7', None, -4) > 0",
        "libc.syscall(250, 21, libc.syscall(249, b'user', b'5EC4E7', None, -4))",
    ),
    "keys of the session": (
        "libc.syscall(248, b'user', b'5EC4E8', b'answer', 6, -3)",
        "found = libc.syscall(249, b'user', b'5EC4E8', None, -3) > 0",
        "libc.syscall(250, 21, libc.syscall(249, b'user', b'5EC4E8', None, -3))",
    ),
    "the host's name": ("socket.sethostname('5EC4E7')", "found = socket.gethostname() == '5EC4E7'", None),
    "a process with a name": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        libc.prctl(15, b'5EC4E7', 0, 0, 0)\n        time.sleep(20)\n    os._exit(0)\ntime.sleep(0.3)",
        "found = '5EC4E7' in [open(f'/proc/{p}/comm').read().strip() for p in os.listdir('/proc') if p.isdigit()]",
        "pass",
    ),
}  # fmt: skip
LIBC = "libc = ctypes.CDLL(None, use_errno=True)\nfound = False\n"


@boxed
@pytest.mark.parametrize("name", LEAVING)
def test_nothing_is_left_for_the_next_submission(graded, name):
    leave, find, _ = LEAVING[name]
    assert points(graded(submission(RIGHT, before=(own(LIBC + leave),)))) == ALL
    hunt = own(LIBC + find + "\nbad = found")
    assert points(graded(submission({**RIGHT, "double": UNLESS_BAD}, before=(hunt,)))) == ALL


@boxed
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
@pytest.mark.parametrize("name", [name for name, (_, _, clear) in LEAVING.items() if clear])
def test_what_is_left_without_a_sandbox_is_found(name, tmp_path):
    """Otherwise the test above would say nothing."""
    leave, find, clear = LEAVING[name]
    if "keys" in name or "POSIX" in name and "queues" in name:
        pytest.skip("needs a kernel and a library that have them")
    script = "import ctypes, os, signal, socket, struct, sys, time\n" + LIBC + leave + "\n"
    search = "import ctypes, os, signal, socket, struct, sys, time\n" + LIBC + find + f"\nprint(found)\n{clear}"
    first = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    first.wait(20)
    try:
        assert subprocess.run([sys.executable, "-c", search], cwd=tmp_path, capture_output=True, text=True).stdout == "True\n"
    finally:
        for process in psutil.process_iter():
            if process.pid > first.pid and "5EC4E7" in " ".join(process.cmdline() if process.status() != "zombie" else []):
                process.kill()


# ---------------------------------------------------------------- memory

FILLING = {
    "memfd": "held = [os.memfd_create(str(i)) for i in range(48)]\nfor f in held:\n    used += os.write(f, bytes(60 << 20))",
    "a bare memfd": "f = [ctypes.CDLL(None).syscall(319, b'x', 0) for i in range(48)]\nfor i in f:\n    used += os.write(i, bytes(60 << 20))",
    "/dev/shm": "for i in range(48):\n    used += open(f'/dev/shm/{i}', 'wb', 0).write(bytes(60 << 20))",
    "/tmp": "for i in range(48):\n    used += open(f'/tmp/{i}', 'wb', 0).write(bytes(60 << 20))",
    "/dev": "for i in range(48):\n    used += open(f'/dev/{i}', 'wb', 0).write(bytes(60 << 20))",
    "/": "for i in range(48):\n    used += open(f'/{i}', 'wb', 0).write(bytes(60 << 20))",
    "shared memory": "libc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\nfor i in range(6):\n"
    "    n = libc.shmget(0, 1 << 29, 0o1600)\n    if n < 0: break\n    ctypes.memset(libc.shmat(n, None, 0), 1, 1 << 29)\n    used += 1 << 29",
    "a shared mapping": "import mmap\nheld = []\nfor i in range(48):\n    m = mmap.mmap(-1, 60 << 20)\n    m.write(bytes(60 << 20))\n    held.append(m)\n    used += 60 << 20\ntime.sleep(0.3)",
    "children that share a mapping": "import mmap\nm = mmap.mmap(-1, 3 << 30)\nfor i in range(2):\n    if os.fork() == 0:\n"
    "        for j in range(48): m[j * (60 << 20) : (j + 1) * (60 << 20)] = bytes(60 << 20)\n        time.sleep(60)\nused = 3 << 30\ntime.sleep(20)",
    "children": "for i in range(6):\n    if os.fork() == 0:\n        held = bytearray(500 << 20)\n        time.sleep(60)\n        os._exit(0)\nused = 3 << 30\ntime.sleep(20)",
    "sockets": "held = []\nwhile True:\n    a, b = socket.socketpair()\n    held += [a, b]\n    a.setblocking(False)\n"
    "    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)\n    try:\n        while True: used += a.send(bytes(1 << 16))\n    except BlockingIOError: pass",
    "pipes": "import fcntl\nheld = []\nwhile True:\n    a, b = os.pipe()\n    held += [a, b]\n    fcntl.fcntl(b, 1031, 1 << 20)\n    os.set_blocking(b, False)\n"
    "    try:\n        while True: used += os.write(b, bytes(1 << 16))\n    except BlockingIOError: pass",
    "empty files": "for i in range(400_000):\n    os.close(os.open(f'/tmp/{i}', os.O_CREAT))\n    used += 8 << 10",
    "threads": "import threading\nfor i in range(100_000):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    used += 1 << 16",
    "raised limits": "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (-1, -1))\nused = 3 << 30",
}  # fmt: skip


@boxed
@pytest.mark.parametrize("name", FILLING)
def test_memory_has_a_limit(exercises, graded, name):
    """With a limit of 1 GiB nothing holds 1.7 GB: it is refused, or the cell is stopped."""
    fill = "used = 0\n" + own("raised = None").replace(
        "    raised = None", textwrap.indent(f"global used\n{FILLING[name]}", "    ")
    )
    fill = fill.replace("except OSError:", "except (OSError, RuntimeError, MemoryError, ValueError):").replace(
        "    global used\n", ""
    )
    with_check(exercises, "assert double(1) < 1_700_000_000, f'{double(1):,} bytes'")
    report = graded(submission({**RIGHT, "double": "def double(x):\n    return used"}, before=(fill,)), cell_seconds=20)
    stopped = [cell["status"] for cell in report.cells]
    assert stopped in (["memory limit"], ["stopped"]) if stopped else points(report) == ALL, report


# ---------------------------------------------------------------- terminals and descriptors

OPENING = {
    "the terminal": "os.open('/dev/tty', os.O_RDWR)\nbad = True",
    "the console": "os.open('/dev/console', os.O_RDWR)\nbad = True",
    "other terminals": "bad = any(name.isdigit() for name in os.listdir('/dev/pts'))",
    "descriptors of the grader": "bad = any(os.path.exists(f'/proc/self/fd/{f}') and os.readlink(f'/proc/self/fd/{f}') != '/dev/null' for f in range(3))",
    "more descriptors than one": "n = [f for f in range(3, 256) if os.path.lexists(f'/proc/self/fd/{f}')]\nbad = len(n) != 1",
    "pushing input (TIOCSTI)": "import fcntl\nfor f in range(4):\n    try:\n        fcntl.ioctl(f, 0x5412, b'x')\n        bad = True\n    except OSError: pass",
    "disks": "bad = any(name.startswith(('sd', 'vd', 'nvme', 'loop', 'mem', 'kmsg', 'fuse', 'kvm')) for name in os.listdir('/dev'))",
    "settings of the kernel": "writable = []\nfor top, _, names in os.walk('/proc'):\n    for name in names:\n"
    "        try:\n            os.close(os.open(os.path.join(top, name), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))\n            bad = True\n"
    "        except OSError: pass",
    "a namespace with rights": "import ctypes\nbad = ctypes.CDLL(None).unshare(0x10000000) == 0",
    "a namespace with rights (clone)": "bad = subprocess.run(['/usr/bin/unshare', '-Ur', 'true'], capture_output=True).returncode == 0",
    "rights": "bad = any(line.split()[1].strip('0') for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'CapBnd', 'CapInh')))",
    "rights by a program": "bad = os.path.exists('/usr/bin/su') and b'uid=0' in subprocess.run(['/usr/bin/su', '-c', 'id'], capture_output=True, stdin=subprocess.DEVNULL).stdout",
    "the project": f"bad = any(os.path.exists(p) for p in {[str(sandbox.ROOT / part) for part in ('exercises', 'chapters', 'llmbook', '.git')]})",
    "the network": "import fcntl\nnames = [n for _, n in socket.if_nameindex()]\nbad = names != ['lo']",
}  # fmt: skip


@boxed
@pytest.mark.parametrize("name", OPENING)
def test_nothing_of_the_machine_is_open(graded, name):
    report = graded(submission({**RIGHT, "double": UNLESS_BAD}, before=(own(OPENING[name]),)))
    assert points(report) == ALL and report.cells == [], report


# ---------------------------------------------------------------- time and answers

DRIP = """import os, struct, time
def double(x):
    fd = next(f for f in range(3, 99) if os.path.lexists(f'/proc/self/fd/{f}') and 'socket' in os.readlink(f'/proc/self/fd/{f}'))
    os.write(fd, struct.pack('<Q', LENGTH))
    while True:
        os.write(fd, b' ' * SIZE)
        time.sleep(0.01)
"""
ENDLESS = {
    "a child in a session of its own keeps the connection": "import os, time\ndef double(x):\n    if os.fork() == 0:\n        os.setsid()\n"
    "        if os.fork() == 0:\n            time.sleep(3600)\n    os._exit(0)",
    "the parent of such a child goes on": "import os, time\ndef double(x):\n    if os.fork() == 0:\n        os.setsid()\n    time.sleep(3600)",
    "it stops itself": "import os, signal\ndef double(x):\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "it stops everybody": "import os, signal\ndef double(x):\n    os.kill(-1, signal.SIGSTOP)\n    os.kill(0, signal.SIGSTOP)",
    "it ignores all signals": "import signal, time\ndef double(x):\n    for s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
    "    while True: time.sleep(9)",
    "it ends the first process": "import os, signal\ndef double(x):\n    for s in (15, 1, 9): os.kill(1, s)\n    while True: pass",
    "an answer that drips": DRIP.replace("LENGTH", "1 << 20").replace("SIZE", "1"),
    "an answer without end": DRIP.replace("LENGTH", "1 << 26").replace("SIZE", "10"),
    "an answer of an exabyte": DRIP.replace("LENGTH", "1 << 60").replace("SIZE", "1"),
    "it closes the connection": "import os, time\ndef double(x):\n    os.closerange(0, 256)\n    time.sleep(3600)",
    "a bomb of forks": "import os\ndef double(x):\n    while True: os.fork()",
    "a bomb of forks in new sessions": "import os\ndef double(x):\n    while True:\n        if os.fork() == 0: os.setsid()",
    "a bomb of programs": "import subprocess\ndef double(x):\n    subprocess.Popen(['/bin/sh', '-c', 'b() { b | b & }; b; sleep 60'])\n    while True: pass",
    "a bomb of threads": "import threading, time\ndef double(x):\n    while True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "a deadlock": "import threading\ndef double(x):\n    threading.Lock().acquire() and threading.Event().wait()",
    "recursion without end": "import sys\ndef double(x):\n    sys.setrecursionlimit(10**9)\n    return double(x)",
    "a tensor of 300 MB": "def double(x):\n    return torch.ones(300 << 18)",
    "a tensor of 1 GB": "def double(x):\n    return torch.zeros(1 << 28).expand(1 << 28)",
    "a tensor that is expanded to a terabyte": "def double(x):\n    return torch.ones(1).expand(1 << 38)",
    "a list of 60 MB": "def double(x):\n    return [0.5] * 15_000_000",
    "lists in lists": "def double(x):\n    return [[]] * 5_000_000",
    "a text of 300 MB": "def double(x):\n    return 'x' * 300_000_000",
    "a list in itself": "def double(x):\n    y = []\n    y.append(y)\n    return y",
    "5,000 lists in each other": "def double(x):\n    y = []\n    for _ in range(5000): y = [y]\n    return y",
    "an error of 300 MB": "def double(x):\n    raise ValueError('x' * 300_000_000)",
    "an error whose text never ends": "class E(ValueError):\n    def __str__(self):\n        while True: pass\ndef double(x):\n    raise E",
    "a million handles": "def double(x):\n    return [object() for _ in range(1_000_000)]",
}  # fmt: skip


@boxed
@pytest.mark.parametrize("name", ENDLESS)
def test_every_run_ends_in_its_time(graded, name):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    report = graded(submission({**RIGHT, "double": f"import torch\n{ENDLESS[name]}"}), cell_seconds=1)
    assert points(report) == LOST, report
    assert time.monotonic() - start < 12
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 700 << 10  # KiB
    left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before and c.status() != "zombie"]
    assert len(left) <= 1, left  # the process from which submissions are forked


HOSTILE = {
    "an integer of 5,000 digits": "10**5000",
    "not a number": "float('nan')",
    "infinity": "float('-inf')",
    "half a surrogate pair": "'\\ud800'",
    "what steers a terminal": "'\\x1b]0;owned\\x07\\x1b[2J'",
    "text from right to left": "'\\u202eabc'",
    "HTML": "'<script>alert(1)</script>'",
    "a long text": "'x' * 10_000_000",
    "tensors of no element": "torch.zeros(0, 5)",
    "a tensor of NaN": "torch.full((3,), float('nan'))",
    "a complex tensor": "torch.ones(3, dtype=torch.complex64)",
    "bytes": "b'\\xff'",
    "a type": "int",
    "itself": "double",
    "an iterator": "iter([1])",
    "equal to everything": "type('E', (), {'__eq__': lambda s, o: True, '__bool__': lambda s: True})()",
    "a list equal to everything": "type('L', (list,), {'__eq__': lambda s, o: True})()",
    "a float equal to everything": "type('F', (float,), {'__eq__': lambda s, o: True})(1)",
    "a tensor class of its own": "torch.ones(3).as_subclass(type('T', (torch.Tensor,), {}))",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_cost_their_own_question_only(exercises, graded, name):
    with_check(exercises, "got = double(torch.ones(3))\nassert repr(got) == 'right', f'got {got!r}'[:10_000_000]")
    report = graded(submission({**RIGHT, "double": f"import torch\ndef double(x):\n    return {HOSTILE[name]}"}))
    assert points(report) == LOST
    text = json.dumps(report.as_dict(), ensure_ascii=False)
    assert len(text.encode()) < 10_000 and not set("\x1b\x07\u202e") & set(text)


@pytest.mark.parametrize("raised", ["'\\ud800'", "'\\x1b[2J'", "'\\x00'", "b'\\xff'", "'x' * 10**7", "'\\u202e'"])
def test_errors_can_be_written_down(graded, raised):
    report = graded(submission({"counter": RIGHT["counter"]}, before=(f"raise ValueError({raised})", f"print({raised})")))
    assert points(report) == LOST and [cell["cell"] for cell in report.cells] == [1, 3]  # the third is the stub
    assert len(json.dumps(report.as_dict(), ensure_ascii=False).encode()) < 10_000


def test_a_check_that_does_not_end_with_what_it_was_given_is_stopped(exercises, graded):
    with_check(exercises, "for _ in range(double(1)):\n    try:\n        pass\n    except Exception:\n        pass")
    start = time.monotonic()
    report = graded(submission({**RIGHT, "double": "def double(x):\n    return 10**15"}), cell_seconds=0.3)
    assert points(report) == LOST and report.questions[0].status == "time limit" and time.monotonic() - start < 10
