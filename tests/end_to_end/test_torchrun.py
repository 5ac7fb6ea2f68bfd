"""torchrun and `llmbook pretrain` in two processes: they follow one process, survive SIGKILL, and fail with one message."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

STEPS = 30
OPTIONS = ["--training.precision", "float32", "--training.steps", str(STEPS), "--training.checkpoint-seconds", "0.5"]
MAIN = "from llmbook.end_to_end.command_line import main\nif __name__ == '__main__':\n    raise SystemExit(main())\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "llmbook_main.py"
    path.write_text(MAIN)
    return path


def altered(path, batch):
    """The program with the lines `batch` before each of its calls of `TokenWindows.batch`."""
    path.write_text(
        "import os, time, llmbook.training.loader as loader\n"
        "original = loader.TokenWindows.batch\n"
        "def batch(self, step):\n"
        f"    {batch}\n"
        "    return original(self, step)\n"
        "loader.TokenWindows.batch = batch\n" + MAIN
    )
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("source"), random.Random(0)
    names = [f"{a}_{b}" for a in ("read", "write", "open", "close") for b in ("file", "line", "page", "door", "book")]
    for number in range(120):
        lines = "".join(f"    {rng.choice(names)} = {rng.choice(names)}({rng.choice(names)})\n" for _ in range(rng.randint(4, 40)))
        (folder / f"module_{number}.py").write_text(f"def {rng.choice(names)}({rng.choice(names)}):\n{lines}    return None\n")
    return folder


def launch(program, source, workspace, processes, *options):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    words = [
        "pretrain",
        "--preset",
        "tiny",
        "--corpus.source",
        str(source),
        "--workspace",
        str(workspace),
        "--workers",
        "1",
        *OPTIONS,
        *options,
    ]
    return subprocess.Popen(
        [sys.executable, *torchrun, str(program), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out


def kill_all(process):
    """SIGKILL for torchrun and its workers, which it has put into sessions of their own."""
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in started:
        each.send_signal(signal.SIGKILL)
    psutil.wait_procs(started)
    process.communicate()


def result(workspace):
    (model,) = (workspace / "base").iterdir()
    rows = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    return (model / "model.safetensors").read_bytes(), [(row["step"], row["loss"], row["norm"]) for row in rows]


@pytest.fixture(scope="module")
def alone(program, source, tmp_path_factory):
    """The workspace of a run of one process."""
    workspace = tmp_path_factory.mktemp("alone")
    finish(launch(program, source, workspace, 1))
    return workspace


def with_shards(alone, folder):
    """A workspace that has everything but the model."""
    shutil.copytree(alone, folder, ignore=shutil.ignore_patterns("base"))
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_follow_one_and_resume_after_sigkill(program, source, alone, tmp_path, parallel):
    calm, rough = (with_shards(alone, tmp_path / name) for name in ("calm", "rough"))
    option = ("--training.parallel", parallel)
    assert "bits per byte" in finish(launch(program, source, calm, 2, *option))
    weights, rows = result(calm)
    single_weights, single = result(alone)
    assert len(rows) == STEPS and max(abs(a[1] - b[1]) for a, b in zip(rows, single, strict=True)) < 1e-4
    assert len(weights) == len(single_weights)

    slow = altered(tmp_path / "slow.py", "time.sleep(0.05)")  # 30 steps take longer than a checkpoint is away
    process = launch(slow, source, rough, 2, *option)
    deadline = time.monotonic() + 120
    while not any(rough.glob("building/base-*/checkpoint-*")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-3000:]
        time.sleep(0.005)
    kill_all(process)
    kept = [int(path.name.removeprefix("checkpoint-")) for path in rough.glob("building/base-*/checkpoint-*")]
    assert 0 < max(kept) < STEPS
    finish(launch(program, source, rough, 2, *option))
    assert result(rough) == (weights, rows)


def test_a_failure_in_one_process_is_the_message_of_all(source, alone, tmp_path):
    failing = "if os.environ['RANK'] == '1' and step == 3: raise ValueError('a broken row on rank 1')"
    program = altered(tmp_path / "failing.py", failing)
    process = launch(program, source, with_shards(alone, tmp_path / "w"), 2)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "a broken row on rank 1" in err
    assert "Connection closed" not in err
