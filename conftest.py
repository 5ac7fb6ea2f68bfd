"""Settings that every pytest run of the project needs, `pytest --nbval chapters` included."""

import json
import os
import re
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


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are numbered, not spelled: a compressed file holds the second it was made in, and workers compare the names."""
    return argname if isinstance(val, bytes) else None


# Seconds of the test files that take long, roughly: only their order matters. Notebooks store their own.
SECONDS = {
    "tests/book/test_pages.py": 150,
    "tests/book/test_pdf.py": 80,
    "tests/end_to_end/test_kill_and_resume.py": 60,
    "tests/house/test_laws.py": 20,
    "tests/house/test_bad_examples.py": 20,
}


def seconds_of(path: Path) -> float:
    """Return about how many seconds the tests of a file take."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    if path.suffix == ".ipynb":
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        return metadata.get("llmbook", {}).get("run", {}).get("seconds", 10)
    return SECONDS.get(name, 60 if name.startswith("tests/exercises/") else 5)


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
    """Say how many tests each part has, and how many wrong answers the graders have caught."""
    passed = (report.nodeid for report in terminalreporter.stats.get("passed", []))
    parts = Counter(match[0] for name in passed if (match := re.match(r"chapters|tests/\w+", name)))
    terminalreporter.write_line("passed: " + " · ".join(f"{part} {count}" for part, count in sorted(parts.items())))
    name = "test_a_mutant_loses_points"
    caught, survived = (
        sum(name in report.nodeid for report in terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed")
    )
    if caught + survived:
        terminalreporter.write_line(f"mutants: killed {caught} of {caught + survived}")
