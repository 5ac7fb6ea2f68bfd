"""The tests of one master. Each master has a test module of its own, so that workers can share them.

    class TestMaster(MasterTests):
        name = "03_attention"

Hundreds of wrong answers are graded here. One of each question is graded with all other answers beside it, to show that it
costs nothing elsewhere. For the others only their own question is run, up to the check that catches them: questions do not use
each other's names, and the reference earns the same for a question alone, which is tested, too.
"""

import ast
import builtins
import json
import re
from functools import cache

import nbformat
import pytest

from exercises.grading.grade import QuestionResult, Report, grade
from exercises.grading.masters import MASTERS, STUDENT, Master, alternatives, masters, mutants, student_text, tag
from exercises.grading.sandbox import problem
from exercises.grading.session import Limits

LINK = re.compile(r"\]\(([^)#:]+)[^):]*\)")  # of Markdown, to a file

all_masters = cache(masters)
mistakes_of = cache(mutants)
others_of = cache(alternatives)


@cache
def student_notebook(name: str) -> str:
    """The student's version of a master, which takes nbgrader a moment to make."""
    return student_text(MASTERS / f"{name}.ipynb")


def cases(name: str, whole: bool) -> list[tuple[str, str]]:
    """Question and mistake of the mutants that are graded with the whole notebook, the first of each question, or of the others."""
    return [
        (question, mistake)
        for question, found in mistakes_of(name).items()
        for number, mistake in enumerate(found)
        if (number == 0) == whole
    ]


def rounds(name: str) -> range:
    """How often the whole notebook is graded until every other right answer of every question has been in it."""
    return range(max(map(len, others_of(name).values())))


def names_in(source: str) -> tuple[set[str], set[str]]:
    """The names that code binds anywhere or Python comes with, and those that it reads."""
    bound, read = set(dir(builtins)), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound, read


@cache
def headings_of(target: str) -> frozenset[str]:
    """The headings of a notebook to which a master links."""
    cells = nbformat.read(MASTERS / target, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return frozenset(re.findall(r"^#+ (.+?) *$", text, flags=re.M))


def is_caught(question: QuestionResult) -> bool:
    """Whether a wrong answer has lost points, and not because it was never run."""
    return question.points < question.max_points and question.status != "not attempted"


class MasterTests:
    """What holds for every master: what students get, and that its checks catch the mistakes that learners make."""

    name: str

    @property
    def master(self) -> Master:
        return all_masters()[self.name]

    @property
    def full(self) -> dict[str, float]:
        return {question.id: question.points for question in self.master.questions}

    @property
    def reference(self) -> dict[str, str]:
        return {question.id: question.solution for question in self.master.questions}

    def report(self, folder, answers: dict[str, str], **options) -> Report:
        """Grade the student's notebook with these answers in it."""
        notebook = json.loads(student_notebook(self.name))
        for cell in notebook["cells"]:
            if tag(cell).get("solution") and tag(cell)["grade_id"] in answers:
                cell["source"] = answers[tag(cell)["grade_id"]]
        path = folder / "submission.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        report = grade(path, all_masters(), limits=Limits(namespaces=not problem()), **options)
        assert not report.error
        return report

    def earned(self, folder, answers: dict[str, str], **options) -> dict[str, float]:
        return {question.id: question.points for question in self.report(folder, answers, **options).questions}

    def test_the_committed_student_notebook_is_what_the_master_generates(self):
        committed = (STUDENT / f"{self.name}.ipynb").read_text(encoding="utf-8")
        assert committed == student_notebook(self.name), "run `make exercises` and commit what it wrote"

    def test_the_student_notebook_holds_no_solution_and_no_hidden_test(self):
        text = (STUDENT / f"{self.name}.ipynb").read_text(encoding="utf-8")
        sources = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
        assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)", text)
        shown = {line.strip() for line in sources.splitlines()}
        for question in self.master.questions:
            solution = re.search(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", question.solution, flags=re.S)[1]
            assert not [line for line in map(str.strip, solution.splitlines()) if len(line) > 30 and line in shown], question.id
            for check in question.checks:
                assert check.hidden_lines, f"{check.id} has no hidden tests"
                visible = {line.strip() for line in check.visible.splitlines()}
                lines = check.source.splitlines()
                hidden = {lines[number - 1].strip() for number in check.hidden_lines if number <= len(lines)}
                assert visible - {""} <= shown and not {line for line in hidden - visible if len(line) > 48} & shown, check.id

    def test_the_master_is_complete(self):
        assert len(self.full) >= 6 and sum(map(len, mistakes_of(self.name).values())) >= 20
        assert set(self.full) == set(mistakes_of(self.name)) == set(others_of(self.name))
        cells = nbformat.read(MASTERS / f"{self.name}.ipynb", as_version=4).cells
        ids = [tag(cell)["grade_id"] for cell in cells]
        assert len(ids) == len(set(ids)) and all(not cell.get("outputs") for cell in cells)
        prompts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert prompts.count("<details>") >= len(self.full) and prompts.count("../../chapters/") >= len(self.full)

    def test_what_a_master_sends_its_readers_to_exists(self):
        """Every link leads to a notebook, and what a question says to read there is a heading of it."""
        cells = nbformat.read(MASTERS / f"{self.name}.ipynb", as_version=4).cells
        prompts = [cell.source for cell in cells if cell.cell_type == "markdown"]
        targets = {target for prompt in prompts for target in LINK.findall(prompt)}
        assert targets and not [target for target in targets if not (MASTERS / target).exists()]
        for prompt in prompts:
            _, _, reading = prompt.partition("\nRead: ")
            headings = {heading for target in LINK.findall(reading) for heading in headings_of(target)}
            sections = re.findall(r'"([^"]+)"', " ".join(reading.split()))
            assert set(sections) <= headings, sorted(set(sections) - headings)

    def test_no_answer_uses_the_names_of_another_question(self):
        given = set().union(*(names_in(source)[0] for source in self.master.setup))
        for question in self.master.questions:
            others = {name for other in self.master.questions if other.id != question.id for name in other.names}
            answers = (mistakes_of(self.name)[question.id], others_of(self.name)[question.id])
            for source in (question.solution, *(source for each in answers for source in each.values())):
                bound, read = names_in(source)
                assert not (read - bound) & others, f"{question.id}: {sorted((read - bound) & others)}"
                assert read <= bound | given, f"{question.id}: {sorted(read - bound - given)}"

    def test_the_reference_earns_full_marks_and_the_untouched_notebook_nothing(self, tmp_path):
        assert self.earned(tmp_path, self.reference) == self.full
        assert self.earned(tmp_path, {}) == dict.fromkeys(self.full, 0.0)

    def test_the_reference_earns_the_same_for_a_question_alone(self, question, tmp_path):
        assert self.earned(tmp_path, self.reference, only=(question,)) == {question: self.full[question]}

    def test_other_right_answers_earn_full_marks(self, number, tmp_path):
        """Those number `number` of all questions at once; a question that has no further one repeats its last."""
        chosen = {question: list(found.items())[min(number, len(found) - 1)] for question, found in others_of(self.name).items()}
        report = self.report(tmp_path, {question: source for question, (_, source) in chosen.items()})
        lost = {
            chosen[each.id][0]: [check.reason for check in each.checks if check.status != "passed"]
            for each in report.questions
            if each.points < each.max_points
        }
        assert not lost

    def test_a_mutant_loses_points_in_its_question_and_only_there(self, question, mistake, tmp_path):
        report = self.report(tmp_path, self.reference | {question: mistakes_of(self.name)[question][mistake]})
        found = {each.id: each for each in report.questions}
        assert is_caught(found.pop(question)), "survived"
        assert {other: each.points for other, each in found.items()} == {
            other: points for other, points in self.full.items() if other != question
        }

    def test_a_mutant_loses_points(self, question, mistake, tmp_path):
        answers = {question: mistakes_of(self.name)[question][mistake]}
        (found,) = self.report(tmp_path, answers, only=(question,), first_failure=True).questions
        assert found.id == question and is_caught(found), "survived"

    def test_grading_depends_on_nothing_but_the_seed(self, tmp_path, monkeypatch):
        answers = {question: list(found.values())[-1] for question, found in mistakes_of(self.name).items()}
        monkeypatch.setattr("exercises.grading.grade.secrets.randbits", lambda bits: 20_260_101)
        one, other = (self.report(tmp_path, answers, first_failure=True).as_dict() | {"seconds": 0} for _ in range(2))
        assert one == other and one["points"] < self.master.points


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give the tests of a master its questions and mutants."""
    name = metafunc.cls.name
    if "mistake" in metafunc.fixturenames:
        metafunc.parametrize(("question", "mistake"), cases(name, whole=metafunc.function.__name__.endswith("only_there")))
    elif "number" in metafunc.fixturenames:
        metafunc.parametrize("number", rounds(name))
    elif "question" in metafunc.fixturenames:
        metafunc.parametrize("question", mistakes_of(name))
