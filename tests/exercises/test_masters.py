"""All masters together; what holds for each is in master_tests.py."""

from pathlib import Path

from master_tests import MasterTests, cases

from exercises.grading.masters import MASTERS, STUDENT

NAMES = sorted(path.stem for path in MASTERS.glob("*.ipynb"))
LEAST = 499  # mutants; the number must not fall


def test_there_is_no_student_notebook_without_a_master():
    assert sorted(path.stem for path in STUDENT.glob("*.ipynb")) == NAMES


def test_every_master_has_a_test_module():
    modules = {path.stem.removeprefix("test_master_") for path in Path(__file__).parent.glob("test_master_*.py")}
    assert modules == set(NAMES), "a master's module holds a TestMaster with its name, see master_tests.py"
    for name in NAMES:
        text = (Path(__file__).parent / f"test_master_{name}.py").read_text(encoding="utf-8")
        assert f'class TestMaster(MasterTests):\n    name = "{name}"\n' in text


def test_every_mutant_is_graded_once_and_none_was_dropped():
    every = [(name, *case) for name in NAMES for whole in (True, False) for case in cases(name, whole)]
    assert len(every) == len(set(every)) >= LEAST
    assert {(name, question) for name, question, _ in every} == {
        (name, question) for name in NAMES for question, _ in cases(name, whole=True)
    }
    assert MasterTests.test_a_mutant_loses_points and MasterTests.test_a_mutant_loses_points_in_its_question_and_only_there
