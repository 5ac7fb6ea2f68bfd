"""Commands with workers, stopped in every way: one line, the right status, nobody left behind, and the next run goes on."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

# workers are started for small corpora, too
COMMAND = """
from llmbook.tokenization import shards, tokenizer
tokenizer.worth_starting = lambda workers, corpus, megabytes: workers
from llmbook.end_to_end.command_line import main
raise SystemExit(main())
"""
LIGHT = "from llmbook.end_to_end.command_line import main; raise SystemExit(main())"
STOPPED = "llmbook: stopped; run the same command again, finished stages and checkpoints are kept"


def press_twice(group, number):
    os.killpg(group, number)
    time.sleep(0.03)
    os.killpg(group, number)


WAYS = {
    "Ctrl-C": (os.killpg, signal.SIGINT, 130),
    "Ctrl-C twice": (press_twice, signal.SIGINT, 130),
    "SIGTERM": (os.kill, signal.SIGTERM, 143),
    "SIGKILL": (os.kill, signal.SIGKILL, -9),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("source"), random.Random(0)
    nouns = ["".join(rng.choice(("ba", "der", "lin", "to", "mer", "so", "ka")) for _ in range(5)) for _ in range(3000)]
    for number in range(12):
        lines = (" ".join(f"the {rng.choice(nouns)} of {rng.choice(nouns)} and" for _ in range(4)) + " that." for _ in range(1200))
        (folder / f"{number}.txt").write_text("\n".join(lines))
    return folder


def start(code, *words):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], start_new_session=True, **pipes)


def family(process):
    """The living processes of its session, without itself: numbers by command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if session == str(process.pid) and state not in "ZX" and path.parent.name != session:
            found.append(path.parent.name)
    return found


def wait_until(true, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stop(process, way):
    """Send the signal; everybody must end, and say one line at most."""
    send, number, status = WAYS[way]
    send(process.pid, number)
    try:
        errors = process.communicate(timeout=20)[1]
    except subprocess.TimeoutExpired:
        left = family(process)
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"left behind: {left}, {process.communicate()[1]}") from None
    deadline = time.monotonic() + 10
    while family(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert family(process) == [] and process.returncode == status, errors
    assert "Traceback" not in errors and "Process " not in errors
    said = [line for line in re.split(r"[\r\n]+", errors) if line.startswith("llmbook")]
    assert said == ([] if way == "SIGKILL" else [STOPPED])


def result(folder):
    return {path.name: path.read_bytes() for path in [*folder.glob("documents/*"), folder / "report.json"]}


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    finish(start(LIGHT, *data(source, out)))
    return result(out)


def data(source, out):
    return ["data", "--source", source, "--out", out, "--workspace", out.with_name("home"), "--workers", 2, "--tasks", 6]


def finish(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out, errors


@pytest.mark.parametrize(
    "way, moment",
    [
        ("Ctrl-C", ".work"),
        ("Ctrl-C twice", ".work/progress/*"),
        ("Ctrl-C", ".work/progress/*"),
        ("SIGTERM", ".work/progress/*"),
        ("SIGKILL", ".work/write/console-*.log"),
    ],
)
def test_data(source, undisturbed, tmp_path, way, moment):
    out = tmp_path / "out"
    process = start(LIGHT, *data(source, out))
    wait_until(lambda: any(out.glob(moment)) and len(family(process)) > (moment != ".work"), process)
    stop(process, way)
    assert not (out / "manifest.json").exists()
    finish(start(LIGHT, *data(source, out)))
    assert result(out) == undisturbed and not list(out.glob("**/*.partial")) and not (out / ".lock").exists()


@pytest.mark.parametrize(
    "command, place, way",
    [("tokenizer", "building/tokenizer-*[!k]", "Ctrl-C"), ("shards", "building/shards-*/.work/shards/console-*.log", "SIGKILL")],
)
def test_commands_that_count_and_encode(source, tmp_path, command, place, way):
    home = tmp_path / "home"
    words = [command, "--source", source, "--workspace", home, "--vocab-size", 400, "--workers", 2, "--tasks", 6]
    process = start(COMMAND, *words)
    wait_until(lambda: any(home.glob(place)) and len(family(process)) > 1, process)
    stop(process, way)
    assert "400" in finish(start(COMMAND, *words))[0]


# ---------------------------------------------------------------- two with one folder


def test_the_second_of_two_waits_and_uses_the_result(source, undisturbed, tmp_path):
    out = tmp_path / "out"
    both = [start(LIGHT, *data(source, out)) for _ in range(2)]
    (first, errors), (second, more) = map(finish, both)
    assert first == second and (errors + more).count("waiting for another process that is building out") <= 1
    assert result(out) == undisturbed
    manifests = sorted(path.name for path in out.iterdir())
    assert manifests == ["documents", "manifest.json", "removed.jsonl", "report.json", "settings.json", "waterfall.png"]


def test_who_waits_goes_on_when_the_first_is_killed_and_other_settings_are_refused(source, undisturbed, tmp_path):
    out = tmp_path / "out"
    first = start(LIGHT, *data(source, out))
    wait_until(lambda: any(out.glob(".work/filter/completions/*")), first)
    second, other = start(LIGHT, *data(source, out)), start(LIGHT, *data(source, out), "--no-quality")
    errors = other.communicate(timeout=60)[1]
    assert other.returncode == 2 and "out holds a corpus with another quality; name another folder" in errors
    os.set_blocking(second.stderr.fileno(), False)
    said = ""

    def waits():
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            said += os.read(second.stderr.fileno(), 2**16).decode()
        return "waiting for another process" in said or first.poll() is not None

    wait_until(waits, second)
    first.kill()
    first.communicate()
    os.set_blocking(second.stderr.fileno(), True)
    finish(second)
    assert result(out) == undisturbed


def test_a_run_ends_although_nobody_reads_its_error_stream(source, undisturbed, tmp_path):
    """tqdm keeps its lock when it cannot write; whoever shows the next bar would wait for it."""
    reader, writer = os.pipe()
    words = [str(word) for word in data(source, tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-c", LIGHT, *words], stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    try:
        status = process.wait(timeout=120)
    finally:
        process.kill()
    assert status != 0 or result(tmp_path / "out") == undisturbed
