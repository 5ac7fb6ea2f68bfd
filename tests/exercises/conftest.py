"""Grading of answers to a small exercise."""

import gc
import json
from pathlib import Path

import nbformat
import pytest
from small_exercise import CELLS, notebook

from exercises.grading.grade import grade
from exercises.grading.masters import read_master
from exercises.grading.sandbox import problem
from exercises.grading.session import Limits

pytest.register_assert_rewrite("master_tests")  # before its first import


@pytest.fixture(scope="session", autouse=True)
def _collected_once():
    """Spare the garbage collector what pytest and torch hold: checks make long lists, and each would have it look again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def exercises(tmp_path) -> dict:
    folder = tmp_path / "masters"
    folder.mkdir()
    nbformat.write(notebook(CELLS), folder / "small.ipynb")
    return {"small": read_master(folder / "small.ipynb")}


@pytest.fixture
def graded(tmp_path, exercises):
    """Grade a notebook, or the text of a file, under limits of seconds; `only` and `first_failure` as of `grade`."""

    def run(what, only=None, first_failure=False, **limits):
        path = Path(tmp_path) / "anything at all.ipynb"
        path.write_text(what if isinstance(what, str) else json.dumps(what))
        given = {"cell_seconds": 3, "notebook_seconds": 30, "memory_bytes": 1 << 30, "namespaces": not problem()}
        limits = Limits(**{**given, **limits})
        return grade(path, exercises, limits=limits, only=only, first_failure=first_failure)

    return run


def pytest_generate_tests(metafunc):
    from master_tests import MasterTests, parametrize

    if metafunc.cls is not None and issubclass(metafunc.cls, MasterTests):
        parametrize(metafunc)
