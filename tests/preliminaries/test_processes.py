"""Families of real processes, stopped in every way: no traceback, nobody left behind."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from llmbook.preliminaries import processes
from llmbook.preliminaries.processes import Terminated, interrupts_held, sigterm_raises, worker_count, worker_pool

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")

PROGRAM = """
import os, sys, time
from llmbook.preliminaries import processes
from llmbook.preliminaries.processes import end_with_parent, sigterm_raises, worker_pool

def begin(parent):
    processes._killed_by_kernel = lambda: False
    end_with_parent(parent)

if __name__ == "__main__":
    if "thread" in sys.argv:
        processes.end_with_parent = begin
    try:
        with sigterm_raises(), worker_pool(3) as pool:
            waiting = [pool.submit(time.sleep, 60) for _ in range(2)]
            if "starting" not in sys.argv:
                print(len([pool.submit(abs, n).result() for n in range(3)]), flush=True)
            print("now", flush=True)
            waiting[0].result()
    except KeyboardInterrupt as stop:
        raise SystemExit({"KeyboardInterrupt": 130, "Terminated": 143}[type(stop).__name__])
"""
WAYS = {
    "Ctrl-C": (os.killpg, signal.SIGINT, 130),
    "SIGTERM": (os.kill, signal.SIGTERM, 143),
    "SIGTERM to all": (os.killpg, signal.SIGTERM, 143),
    "SIGKILL": (os.kill, signal.SIGKILL, -9),
}


def start(tmp_path, *words):
    (tmp_path / "program.py").write_text(PROGRAM)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, str(tmp_path / "program.py"), *words], start_new_session=True, **pipes)
    while process.stdout.readline() not in ("now\n", ""):
        pass
    return process


def errors_after_all_ended(process, seconds=10):
    """What was written to the error stream, which ends when the last process that holds it has ended."""
    try:
        return process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AssertionError("a process was left behind") from None


@pytest.mark.parametrize(
    "way, words",  # a worker that is being started while its parent is killed may say that it is gone
    [(way, word.split()) for way in WAYS for word in ("", "starting", "thread") if (way, word) != ("SIGKILL", "starting")],
)
def test_all_end_together_and_in_silence(tmp_path, way, words):
    send, number, status = WAYS[way]
    process = start(tmp_path, *words)
    if words == ["starting"]:
        time.sleep(0.05 if way == "Ctrl-C" else 0.1)  # workers import
    send(process.pid, number)
    errors = errors_after_all_ended(process)
    assert process.returncode == status
    assert "Traceback" not in errors and "Process " not in errors


def test_killed_while_workers_start(tmp_path):
    process = start(tmp_path, "starting")
    process.kill()
    errors_after_all_ended(process)


def test_a_second_ctrl_c_changes_nothing(tmp_path):
    process = start(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    for _ in range(5):
        time.sleep(0.01)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    errors_after_all_ended(process)
    assert process.returncode != 0


def test_signals_wait_while_a_worker_starts_even_with_another_thread(tmp_path):
    """The thread does not block Ctrl-C, so that Python hears it at once."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    heard = []
    before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            heard.clear()
            with interrupts_held():
                os.kill(os.getpid(), number)
                time.sleep(0.05)
                assert heard == []
            assert heard == [number]
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        done.set()
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux")
def test_a_worker_whose_parent_ended_before_the_request_ends():
    code = "from llmbook.preliminaries.processes import end_with_parent; end_with_parent(1 << 30); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""


def test_a_pool_computes_and_passes_errors_on():
    with worker_pool(2) as pool:
        assert [task.result() for task in [pool.submit(divmod, n, 3) for n in range(7)]] == [divmod(n, 3) for n in range(7)]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), worker_pool(2) as pool:
        waiting = pool.submit(time.sleep, 60)
        pool.submit(divmod, 1, 0).result()
    assert time.monotonic() - began < 30 and not waiting.running()  # nobody waited for the sleeper


def test_a_worker_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="a worker was ended from outside"), worker_pool(2) as pool:
        pool.submit(os._exit, 9).result()


def test_workers_hear_no_ctrl_c_and_the_parent_hears_it_late():
    with worker_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("SIGINT"))
    try:
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            heard.append("held")
        assert heard == ["held", "SIGINT"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_is_an_exception_inside_and_what_it_was_outside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), sigterm_raises():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) == before
    seen = []

    def elsewhere():
        with sigterm_raises():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


def test_how_many_workers(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert worker_count(None) == 3 and worker_count(1) == 1 and worker_count(64) == 64
    for count in (0, -1, 65, 10**9):
        with pytest.raises(ValueError, match=f"workers={count}: give a whole number from 1 to 64"):
            worker_count(count)
    assert worker_count(5000, local=False) == 5000
    with pytest.raises(ValueError, match="at least 1"):
        worker_count(0, local=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert worker_count(None) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    assert worker_count(384) == 384
    assert processes.worker_count is worker_count
