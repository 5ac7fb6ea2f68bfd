"""Settings that every pytest run of the project needs, `pytest --nbval chapters` included."""

import os
from pathlib import Path

# Artifacts of notebooks and tests stay in the project; `make test` sets the same.
os.environ.setdefault("LLMBOOK_HOME", str(Path(__file__).parent / ".workspace"))
os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are numbered, not spelled: a compressed file holds the second it was made in, and workers compare the names."""
    return argname if isinstance(val, bytes) else None


def pytest_terminal_summary(terminalreporter):
    """Say how many wrong answers the graders have caught."""
    name = "test_a_mutant_loses_points"
    caught, survived = (
        sum(name in report.nodeid for report in terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed")
    )
    if caught + survived:
        terminalreporter.write_line(f"mutants: killed {caught} of {caught + survived}")
