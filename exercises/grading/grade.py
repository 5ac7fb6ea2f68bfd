"""Grade one submission: run its cells in one process, and the master's checks here, on what that process answers."""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import math
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import torch

from .masters import Check, Master, tag
from .session import DEFAULT_LIMITS, Limits, Remote, Session, Stopped, StudentError, start_zygote

_SEED_NAME = "grading_seed"


@dataclass
class CheckResult:
    """What a check found. `status`: passed, failed, not attempted, error, time limit, memory limit, stopped."""

    id: str
    points: float
    max_points: float
    status: str
    reason: str = ""
    hidden: bool = False  # the reason comes from the part that students do not see


@dataclass
class QuestionResult:
    id: str
    title: str
    points: float
    max_points: float
    status: str
    checks: list[CheckResult]


@dataclass
class Report:
    """What a submission earned. `error` says why nothing could be graded; `cells` lists cells that were stopped or raised."""

    file: str
    exercise: str
    points: float = 0.0
    max_points: float = 0.0
    questions: list[QuestionResult] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _NotASubmission(ValueError):
    """A file that cannot be graded; the message says why."""


def _read_submission(
    path: Path, exercises: dict[str, Master], exercise: str | None = None, only: Collection[str] | None = None
) -> tuple[str, list[str]]:
    """Return which exercise a notebook belongs to, and the sources of the cells that its author wrote, in order.

    With `only`, the ids of some questions, the answers to all others are left out.

    Raises:
        _NotASubmission: saying why the file cannot be graded.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        notebook = nbformat.from_dict(nbformat.convert(nbformat.from_dict(content), 4))
        cells = [(cell.cell_type, "".join(cell.source), tag(cell)) for cell in notebook.cells]
    except Exception as error:
        raise _NotASubmission(f"not a Jupyter notebook ({type(error).__name__})") from None
    if exercise is None:
        claimed = notebook.metadata.get("llmbook", {})
        claimed = claimed.get("exercise") if isinstance(claimed, dict) else None
        ids = {str(grader.get("grade_id")) for _, _, grader in cells}
        overlap = {name: len(ids & {question.id for question in master.questions}) for name, master in exercises.items()}
        best = max(overlap, key=overlap.get, default=None)
        exercise = claimed if claimed in exercises else best if best and overlap[best] else None
    if exercise is None:
        raise _NotASubmission("no cell of it belongs to an exercise; name the exercise with EXERCISE=")
    if exercise not in exercises:
        raise _NotASubmission(f"there is no exercise {exercise!r}")
    master = exercises[exercise]
    not_run = {check.id for question in master.questions for check in question.checks} | master.locked
    if only is not None:
        not_run |= {question.id for question in master.questions} - set(only)
    return exercise, [
        source
        for kind, source, grader in cells
        if kind == "code" and source.strip() and not grader.get("grade") and str(grader.get("grade_id")) not in not_run
    ]


class _Submission:
    """Runs a submission's cells, again without the guilty one when one of them ends the process."""

    def __init__(self, cells: list[str], setup: tuple[str, ...], limits: Limits):
        self.cells, self.setup, self.limits = cells, setup, limits
        self.end = time.monotonic() + limits.notebook_seconds
        self.skip: set[int] = set()
        self.problems: dict[int, dict[str, Any]] = {}
        self.session: Session | None = None

    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def ready(self) -> Session:
        """A process in which the cells have run."""
        while self.session is None or self.session.closed.is_set():
            if self.seconds_left() <= 0:
                raise Stopped("time limit", f"the notebook's time limit of {self.limits.notebook_seconds:g} s was reached")
            self.session = Session(self.limits, self.seconds_left)
            self._run_cells(self.session)
        return self.session

    def _run_cells(self, session: Session) -> None:
        for source in self.setup:
            session.request("cell", source=source)
        for number, source in enumerate(self.cells):
            if number in self.skip:
                continue
            try:
                session.request("cell", source=source)
            except Stopped as stop:
                self.skip.add(number)
                self.problems[number] = {"cell": number + 1, "status": stop.status, "reason": str(stop)}
                return
            except Exception as error:
                self.problems[number] = {"cell": number + 1, "status": "error", "reason": _text_of(error)}

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def _text_of(error: BaseException) -> str:
    where = getattr(error, "where", "")
    name = "" if isinstance(error, StudentError) else f"{type(error).__name__}: "
    return f"{name}{error}" + (f" (at {where})" if where else "")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _run_check(check: Check, master: Master, submission: _Submission, seed: int, names: tuple[str, ...]) -> CheckResult:
    """Run one check in this process, with stand-ins for what the submission defines."""
    result = CheckResult(check.id, 0.0, check.points, "failed")
    filename = f"<{check.id}>"
    linecache.cache[filename] = (len(check.source), None, check.source.splitlines(keepends=True), filename)
    try:
        session = submission.ready()
        space: dict[str, Any] = {"__name__": "checks"}
        for source in master.setup:
            exec(compile(source, "<setup>", "exec"), space)
        space[_SEED_NAME] = seed
        there = session.request("names", names=list(names))["names"]
        space.update({name: Remote(session, {}, name) for name in names if name in there})
        torch.manual_seed(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(check.source, filename, "exec"), space)
        result.status, result.points = "passed", check.points
    except Stopped as stop:
        result.status, result.reason = stop.status, str(stop)
    except NotImplementedError:
        result.status, result.reason = "not attempted", "the function still raises NotImplementedError"
    except Exception as error:
        result.hidden = _line_of(error, filename) in check.hidden_lines
        if _is_out_of_memory(error):
            result.status, result.reason = "memory limit", "the memory limit was reached"
        elif isinstance(error, AssertionError) and not hasattr(error, "remote"):
            result.reason = str(error) or "the check does not hold"
        elif isinstance(error, NameError):
            raised = [
                problem for problem in submission.problems.values() if not problem["reason"].startswith("NotImplementedError")
            ]
            result.status = "error" if raised else "not attempted"
            result.reason = str(error) + (", since a cell of yours raised an error or was stopped, see above" if raised else "")
        else:
            result.status = "error" if hasattr(error, "remote") else "failed"
            result.reason = _text_of(error)
    finally:
        if submission.session is not None and not submission.session.closed.is_set():
            try:
                submission.session.request("forget")
            except Exception:
                submission.session.close()
    return result


def _line_of(error: BaseException, filename: str) -> int:
    """The line of a check's source at which an error passed."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == filename else line
        trace = trace.tb_next
    return line


def grade(
    path: Path,
    exercises: dict[str, Master],
    exercise: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    only: Collection[str] | None = None,
    first_failure: bool = False,
) -> Report:
    """Grade one file. Always returns a report; what went wrong stands in it.

    `only` and `first_failure` are for the tests of masters, which grade hundreds of wrong answers; the command passes neither,
    and nothing in a file can set them.

    Args:
        path: the notebook.
        exercises: the masters by name.
        exercise: to which of them the notebook belongs; by default, what it says or its cells show.
        limits: what it may take.
        only: ids of the questions that are graded; the answers to others are not run, and the report leaves these out.
        first_failure: leave out the checks of a question behind the first that fails, so that it may earn less than it would.

    Raises:
        ValueError: naming what in `only` is no question of the exercise.
    """
    start = time.monotonic()
    try:
        name, cells = _read_submission(path, exercises, exercise, only)
    except _NotASubmission as error:
        return Report(path.name, exercise or "", error=str(error))
    master = exercises[name]
    questions = [question for question in master.questions if only is None or question.id in only]
    if only is not None and (unknown := sorted(set(only) - {question.id for question in questions})):
        raise ValueError(f"{name} has no question {', '.join(map(repr, unknown))}")
    report = Report(path.name, name, max_points=math.fsum(question.points for question in questions))
    start_zygote()  # before the clock of the submission runs
    submission = _Submission(cells, master.setup, limits)
    seed = secrets.randbits(31)
    try:
        for question in questions:
            results = []
            for check in question.checks:
                results.append(_run_check(check, master, submission, seed, question.names))
                if first_failure and results[-1].status != "passed":
                    break
            points = sum(result.points for result in results)
            report.questions.append(
                QuestionResult(question.id, question.title, points, question.points, _status_of(results), results)
            )
    finally:
        submission.close()
    report.points = math.fsum(question.points for question in report.questions)
    report.cells = [submission.problems[number] for number in sorted(submission.problems)]
    report.seconds = round(time.monotonic() - start, 2)
    return report


def _status_of(results: list[CheckResult]) -> str:
    """One word for a question: correct, partly correct, or what its first failing check says."""
    failing = [result for result in results if result.status != "passed"]
    if not failing:
        return "correct"
    return "partly correct" if len(failing) < len(results) else failing[0].status
