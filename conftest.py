"""Settings that every pytest run of the project needs, `pytest --nbval chapters` included."""

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# Artifacts of notebooks and tests stay in the project; `make test` sets the same.
os.environ.setdefault("LLMBOOK_HOME", str(ROOT / ".workspace"))
os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

# A shell starts what runs in its background without ears for Ctrl-C, and programs inherit that: those that tests interrupt, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are numbered, not spelled: a compressed file holds the second it was made in, and workers compare the names."""
    return argname if isinstance(val, bytes) else None


# Seconds of the test files that take long, roughly: only their order matters. Notebooks store their own.
SECONDS = {
    "tests/book/test_pages.py": 330,
    "tests/book/test_pdf.py": 230,
    "tests/data/test_pipeline.py": 160,
    "tests/end_to_end/test_torchrun.py": 80,
    "tests/exercises/test_master_01_data.py": 75,
    "tests/data/test_repetition.py": 55,
    "tests/data/test_quality.py": 50,
    "tests/exercises/test_attacks.py": 65,
    "tests/exercises": 40,
    "tests/training": 35,
    "tests/end_to_end": 35,
    "tests/tokenization/test_shards.py": 30,
    "tests/tokenization/test_bpe.py": 30,
    "tests/data": 20,
    "tests/tokenization": 20,
    "tests/house": 20,
}


def seconds_of(path: Path) -> float:
    """Return about how many seconds the tests of a file take."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    if path.suffix == ".ipynb":
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        return metadata.get("llmbook", {}).get("run", {}).get("seconds", 10)
    return SECONDS.get(name, SECONDS.get(name.rpartition("/")[0], 5))


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no worker is left alone with one of them at the end."""
    seconds = {path: seconds_of(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: (-seconds[item.path], str(item.path)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Tests open no windows. The kernels of notebooks inherit the environment, and must not see this: figures are shown there."""
    if item.path.suffix == ".ipynb":
        os.environ.pop("MPLBACKEND", None)
    else:
        os.environ["MPLBACKEND"] = "Agg"


def pytest_terminal_summary(terminalreporter):
    """Say how many tests each part has, which files took longest, and how many wrong answers the graders have caught."""
    seconds = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "duration")):
        seconds[report.nodeid.split("::")[0]] += report.duration
    if sum(seconds.values()) > 120:
        longest = " · ".join(f"{name} {total:.0f} s" for name, total in seconds.most_common(10))
        terminalreporter.write_line(f"took longest: {longest}")
    passed = (report.nodeid for report in terminalreporter.stats.get("passed", []))
    parts = Counter(match[0] for name in passed if (match := re.match(r"chapters|tests/\w+", name)))
    if len(parts) > 1:
        terminalreporter.write_line("passed: " + " · ".join(f"{part} {count}" for part, count in sorted(parts.items())))
    name = "test_a_mutant_loses_points"
    caught, survived = (
        sum(name in report.nodeid for report in terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed")
    )
    if caught + survived:
        terminalreporter.write_line(f"mutants: killed {caught} of {caught + survived}")
