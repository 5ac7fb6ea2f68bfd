"""Masters: notebooks with prompts, solutions and hidden tests, and what is read off them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent.parent
MASTERS, STUDENT = FOLDER / "masters", FOLDER / "student"
_HIDDEN = re.compile(r"^([ \t]*### BEGIN HIDDEN TESTS\n)(.*?)(^[ \t]*### END HIDDEN TESTS[ \t]*$)", flags=re.M | re.S)


def tag(cell) -> dict:
    """A cell's nbgrader metadata, or an empty dictionary."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Check:
    """A cell that earns points: its source with the hidden part, and the lines (from 1) that are hidden.

    A call that changes what it is given fails a check, unless the cell carries the tag `changes-arguments`.
    """

    id: str
    points: float
    source: str
    arguments_may_change: bool = False

    @cached_property
    def hidden_lines(self) -> range:
        match = _HIDDEN.search(self.source)
        if match is None:
            return range(0)
        first = self.source.count("\n", 0, match.start()) + 1
        return range(first, first + match[0].count("\n") + 1)

    @property
    def visible(self) -> str:
        """The source without its hidden part."""
        return _HIDDEN.sub("", self.source).rstrip("\n")


@dataclass(frozen=True)
class Question:
    """A question: its id (that of its solution cell), title, checks, and the names that its solution defines."""

    id: str
    title: str
    checks: tuple[Check, ...]
    names: tuple[str, ...]
    solution: str

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks)


@dataclass(frozen=True)
class Master:
    """A master notebook by its parts."""

    name: str
    setup: tuple[str, ...]
    questions: tuple[Question, ...]
    locked: frozenset[str]

    @property
    def points(self) -> float:
        return sum(question.points for question in self.questions)


def _defined(source: str) -> tuple[str, ...]:
    """The names that a cell defines at its top level."""
    names: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return tuple(names)


def read_master(path: Path) -> Master:
    """Read a master.

    Raises:
        ValueError: naming what it lacks.
    """
    notebook = nbformat.read(path, as_version=4)
    setup, questions, locked, title = [], [], set(), ""
    for cell in notebook.cells:
        grader = tag(cell)
        if grader.get("locked"):
            locked.add(grader["grade_id"])
        if cell.cell_type == "markdown":
            heading = re.search(r"^## (?:Question \d+: )?(.+?)(?: \(\d+ points?\))?$", cell.source, flags=re.M)
            title = heading[1] if heading else title
        elif grader.get("solution"):
            questions.append({"id": grader["grade_id"], "title": title, "solution": cell.source, "checks": []})
        elif grader.get("grade"):
            if not questions:
                raise ValueError(f"{path.name}: the check {grader['grade_id']} stands before the first solution")
            may_change = "changes-arguments" in cell.metadata.get("tags", [])
            questions[-1]["checks"].append(Check(grader["grade_id"], float(grader["points"]), cell.source, may_change))
        elif grader.get("locked"):
            setup.append(cell.source)
    for question in questions:
        if not question["checks"]:
            raise ValueError(f"{path.name}: question {question['id']} has no check")
    made = [Question(q["id"], q["title"], tuple(q["checks"]), _defined(q["solution"]), q["solution"]) for q in questions]
    return Master(path.stem, tuple(setup), tuple(made), frozenset(locked))


def masters() -> dict[str, Master]:
    """All masters of the book by name."""
    return {path.stem: read_master(path) for path in sorted(MASTERS.glob("*.ipynb"))}


def student_text(path: Path) -> str:
    """The student's version of a master as the text of a notebook: without solutions and hidden tests, checks locked."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearOutput, ClearSolutions, LockCells

    notebook = nbformat.read(path, as_version=4)
    for preprocessor in (LockCells(), ClearSolutions(), ClearOutput(), ClearHiddenTests()):
        notebook, _ = preprocessor.preprocess(notebook, {})
    for cell in notebook.cells:
        cell.source = cell.source.rstrip("\n")
    notebook.metadata["llmbook"] = {"exercise": path.stem}
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def write_students() -> list[Path]:
    """Write the student's version of every master, remove what has none, and return the paths."""
    STUDENT.mkdir(exist_ok=True)
    paths = []
    for master in sorted(MASTERS.glob("*.ipynb")):
        paths.append(STUDENT / master.name)
        paths[-1].write_text(student_text(master), encoding="utf-8")
    for stale in set(STUDENT.glob("*.ipynb")) - set(paths):
        stale.unlink()
    return paths


def _answers(path: Path) -> dict[str, dict[str, str]]:
    """The cells `# %% question: title` of a file: question -> title -> source of the solution cell."""
    parts = re.split(r"^# %% *(.+?): *(.+)$", path.read_text(encoding="utf-8"), flags=re.M)[1:]
    found: dict[str, dict[str, str]] = {}
    for question, title, source in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if title.strip() in found.setdefault(question.strip(), {}):
            raise ValueError(f"{path.name}: two answers to {question} are called {title!r}")
        found[question.strip()][title.strip()] = source.strip("\n")
    return found


def mutants(name: str) -> dict[str, dict[str, str]]:
    """The wrong answers beside a master: question -> name of the mistake -> source of the solution cell."""
    return _answers(MASTERS / f"{name}_mutants.py")


def alternatives(name: str) -> dict[str, dict[str, str]]:
    """The right answers beside a master that are not its own: question -> what differs -> source of the solution cell."""
    return _answers(MASTERS / f"{name}_alternatives.py")


def with_answers(name: str, answers: dict[str, str]) -> nbformat.NotebookNode:
    """The student's version with some questions answered: what a learner would hand in."""
    notebook = nbformat.reads(student_text(MASTERS / f"{name}.ipynb"), as_version=4)
    for cell in notebook.cells:
        if tag(cell).get("solution") and tag(cell)["grade_id"] in answers:
            cell.source = answers[tag(cell)["grade_id"]]
    return notebook
