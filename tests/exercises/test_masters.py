"""The masters: what students get, and that their checks catch the mistakes that learners make."""

import json
import re

import nbformat
import pytest

from exercises.grading.grade import grade
from exercises.grading.masters import MASTERS, STUDENT, masters, mutants, student_text, tag, with_answers

NAMES = sorted(path.stem for path in MASTERS.glob("*.ipynb"))
CASES = [(name, question, mistake) for name in NAMES for question, found in mutants(name).items() for mistake in found]


@pytest.fixture(scope="session")
def exercises():
    return masters()


def earned(notebook, exercises, folder) -> dict[str, float]:
    path = folder / "submission.ipynb"
    path.write_text(json.dumps(notebook))
    report = grade(path, exercises)
    assert not report.error
    return {question.id: question.points for question in report.questions}


def solutions(exercises, name) -> dict[str, str]:
    return {question.id: question.solution for question in exercises[name].questions}


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_student_notebook_is_what_the_master_generates(name):
    committed = (STUDENT / f"{name}.ipynb").read_text(encoding="utf-8")
    assert committed == student_text(MASTERS / f"{name}.ipynb"), "run `make exercises` and commit what it wrote"


def test_there_is_no_student_notebook_without_a_master():
    assert sorted(path.stem for path in STUDENT.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_student_notebook_holds_no_solution_and_no_hidden_test(name, exercises):
    text = (STUDENT / f"{name}.ipynb").read_text(encoding="utf-8")
    sources = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)", text)
    shown = {line.strip() for line in sources.splitlines()}
    for question in exercises[name].questions:
        solution = re.search(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", question.solution, flags=re.S)[1]
        assert not [line for line in map(str.strip, solution.splitlines()) if len(line) > 30 and line in shown], question.id
        for check in question.checks:
            assert check.hidden_lines, f"{check.id} has no hidden tests"
            visible = {line.strip() for line in check.visible.splitlines()}
            hidden = {
                check.source.splitlines()[number - 1].strip()
                for number in check.hidden_lines
                if number <= check.source.count("\n") + 1
            }
            assert visible - {""} <= shown and not {line for line in hidden - visible if len(line) > 48} & shown, check.id


@pytest.mark.parametrize("name", NAMES)
def test_each_master_is_complete(name, exercises):
    master = exercises[name]
    assert len(master.questions) >= 6 and len([case for case in CASES if case[0] == name]) >= 20
    assert {question.id for question in master.questions} == set(mutants(name))
    cells = nbformat.read(MASTERS / f"{name}.ipynb", as_version=4).cells
    ids = [tag(cell)["grade_id"] for cell in cells]
    assert len(ids) == len(set(ids)) and all(not cell.get("outputs") for cell in cells)
    prompts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert prompts.count("<details>") >= len(master.questions) and prompts.count("../../chapters/") >= len(master.questions)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_earns_full_marks_and_the_untouched_notebook_nothing(name, exercises, tmp_path):
    full = {question.id: question.points for question in exercises[name].questions}
    assert earned(with_answers(name, solutions(exercises, name)), exercises, tmp_path) == full
    assert earned(with_answers(name, {}), exercises, tmp_path) == dict.fromkeys(full, 0.0)


@pytest.mark.parametrize(("name", "question", "mistake"), CASES)
def test_a_mutant_loses_points_in_its_question_and_only_there(name, question, mistake, exercises, tmp_path):
    full = {each.id: each.points for each in exercises[name].questions}
    answers = solutions(exercises, name) | {question: mutants(name)[question][mistake]}
    found = earned(with_answers(name, answers), exercises, tmp_path)
    assert found[question] < full[question], "survived"
    assert {each: found[each] for each in found if each != question} == {each: full[each] for each in full if each != question}
