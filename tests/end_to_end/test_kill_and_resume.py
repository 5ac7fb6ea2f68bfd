"""`llmbook pretrain`, killed with SIGKILL at several moments and started again, against a run that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

STEPS = 40
COMMAND = [sys.executable, "-c", "from llmbook.end_to_end.command_line import main; raise SystemExit(main())"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("source"), random.Random(0)
    words = [f"{a}_{b}" for a in ("read", "write", "open", "close") for b in ("file", "line", "page", "door", "book")]
    for number in range(120):
        lines = "".join(f"    {rng.choice(words)} = {rng.choice(words)}({rng.choice(words)})\n" for _ in range(rng.randint(4, 40)))
        (folder / f"module_{number}.py").write_text(f"def {rng.choice(words)}({rng.choice(words)}):\n{lines}    return None\n")
    return folder


def start(source, workspace):
    options = ["--preset", "tiny", "--source", str(source), "--steps", str(STEPS), "--checkpoint-seconds", "0.2"]
    return subprocess.Popen(
        [*COMMAND, "pretrain", *options, "--workspace", str(workspace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def lines_written(workspace):
    return max((path.read_text().count("\n") for path in workspace.glob("building/base-*/metrics.jsonl")), default=0)


def kill_when(process, reached, timeout=120):
    """Send SIGKILL as soon as `reached()` is true; fail if the process ended before."""
    deadline = time.monotonic() + timeout
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the moment to kill never came"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def result(workspace):
    (model,) = (path for path in (workspace / "base").iterdir() if path.is_dir())
    rows = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    summary = json.loads((model / "summary.json").read_text())
    del summary["seconds"]
    return (model / "model.safetensors").read_bytes(), rows, summary, sorted(path.name for path in model.iterdir())


def test_killed_and_resumed_equals_undisturbed(source, tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    finish(start(source, calm))
    kill_when(start(source, rough), lambda: (rough / "building").exists())  # while text becomes tokens
    rng = random.Random(os.getpid())
    moments = [rng.randint(1, 9), rng.randint(11, 25), rng.randint(26, 38)]
    for lines in moments:
        kill_when(start(source, rough), lambda least=lines: lines_written(rough) >= least)
    earlier = {path: path.read_bytes() for path in rough.glob("shards/**/*") if path.is_file()}
    # the last kill falls between training and the finished artifact
    kill_when(start(source, rough), lambda: any(rough.glob("building/base-*/summary.json")) or any(rough.glob("base/*")))
    finish(start(source, rough))
    weights, rows, summary, files = result(rough)
    expected_weights, expected_rows, expected_summary, expected_files = result(calm)
    assert rows == expected_rows and len(rows) == STEPS, f"killed after lines {moments}"
    assert summary == expected_summary and files == expected_files
    assert weights == expected_weights
    assert earlier and all(path.read_bytes() == data for path, data in earlier.items())
    assert "bits per byte" in finish(start(source, rough))  # a finished run is only reported
