"""Grade one submission: run its cells in one process, and the master's checks here, on what that process answers."""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import math
import os
import secrets
import signal
import stat
import threading
import time
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import torch

from . import sandbox
from .masters import Check, Master, Question, tag
from .session import DEFAULT_LIMITS, Limits, Remote, Session, Stopped, StudentError, start_zygote

_SEED_NAME = "grading_seed"
_MAX_BYTES = 64 << 20  # of a notebook
_CALLS_PER_CHECK = 5  # a check may take as long as so many calls at their limit


@dataclass
class CheckResult:
    """What a check found. `status`: passed, failed, not attempted, error, time limit, memory limit, stopped."""

    id: str
    points: float
    max_points: float
    status: str
    reason: str = ""
    hidden: bool = False  # the reason comes from the part that students do not see
    undefined: bool = False  # it found no definition of a name


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


def plain_text(text: str, length: int = 4000) -> str:
    """Text that can be shown and stored anywhere: not endless, and without what steers terminals or turns the line around.

    Such characters, and halves of surrogate pairs, which no encoding can store, are spelled out.
    """
    text = text if len(text) <= length else f"{text[:length]} ... ({len(text)} characters)"
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else ascii(character)[1:-1]
        for character in text
    )


def _bytes_of(path: Path) -> bytes:
    """The bytes of a file that is one: no link to another, no pipe that waits for its writer, no device.

    Raises:
        _NotASubmission: saying what it is instead.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise _NotASubmission("a symbolic link: hand in the notebook itself")
        if stat.S_ISDIR(found.st_mode):
            raise _NotASubmission("a folder, not a notebook")
        if not stat.S_ISREG(found.st_mode):
            raise _NotASubmission("not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:  # which may be another file by now
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _NotASubmission("not a regular file")
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _NotASubmission(f"cannot be read ({error.strerror})") from None
    if len(content) > _MAX_BYTES:
        raise _NotASubmission(f"larger than {_MAX_BYTES >> 20} MiB: clear the outputs, and save again")
    return content


def _cells_of(content: bytes) -> tuple[Any, list[tuple[str, str, dict]]]:
    """Return which exercise a notebook says it belongs to, and kind, source and nbgrader's metadata of each of its cells."""
    book = json.loads(content)  # in UTF-8, 16 or 32, with or without a mark at the beginning
    if isinstance(book["nbformat"], int) and book["nbformat"] < 4:
        book = nbformat.convert(nbformat.from_dict(book), 4)
    cells = []
    for cell in book["cells"]:
        source = cell.get("source", "")
        source = source if isinstance(source, str) else "".join(line for line in source if isinstance(line, str))
        cells.append((str(cell.get("cell_type")), source, tag(cell)))
    metadata = book.get("metadata")
    claimed = metadata.get("llmbook") if isinstance(metadata, dict) else None
    return claimed.get("exercise") if isinstance(claimed, dict) else None, cells


def _read_submission(
    path: Path, exercises: dict[str, Master], exercise: str | None = None, only: Collection[str] | None = None
) -> tuple[str, list[_Item]]:
    """Return which exercise a notebook belongs to, and what is run of it, in order.

    With `only`, the ids of some questions, the answers to all others are left out.

    Raises:
        _NotASubmission: saying why the file cannot be graded.
    """
    content = _bytes_of(path)
    try:
        claimed, cells = _cells_of(content)
    except Exception as error:
        raise _NotASubmission(f"not a Jupyter notebook ({type(error).__name__})") from None
    if exercise is None:
        ids = {str(grader.get("grade_id")) for _, _, grader in cells}
        overlap = {name: len(ids & {question.id for question in master.questions}) for name, master in exercises.items()}
        best = max(overlap, key=overlap.get, default=None)
        claims = isinstance(claimed, str) and claimed in exercises
        exercise = claimed if claims else best if best and overlap[best] else None
    if exercise is None:
        raise _NotASubmission("no cell of it belongs to an exercise; name the exercise with EXERCISE=")
    if exercise not in exercises:
        raise _NotASubmission(f"there is no exercise {exercise!r}")
    master = exercises[exercise]
    return exercise, _items(cells, master, only)


@dataclass(frozen=True)
class _Item:
    """A step of grading: a cell of the submission's author, or the place of a check."""

    source: str = ""
    check: str = ""


def _items(cells: list[tuple[str, str, dict]], master: Master, only: Collection[str] | None) -> list[_Item]:
    """The cells that are run, and between them the places at which a reader would run the checks, in the notebook's order.

    A check stands where the submission has it; one that was removed stands behind its question's cell. Its own text is
    never run.
    """
    wanted = [question for question in master.questions if only is None or question.id in only]
    checks = {check.id: check for question in master.questions for check in question.checks}
    by_text = {check.visible.strip(): check.id for check in checks.values()}
    left_out = {question.id for question in master.questions} - {question.id for question in wanted}
    graded = {check.id for question in wanted for check in question.checks}
    items: list[_Item] = []
    behind: dict[str, int] = {}
    for kind, source, grader in cells:
        name = str(grader.get("grade_id"))
        if kind != "code" or not source.strip() or name in left_out:
            continue
        if check := name if name in checks else by_text.get(source.strip()):
            items += [_Item(check=check)] if check in graded else []
        elif not grader.get("grade") and name not in master.locked:
            items.append(_Item(source=source))
            behind[name] = len(items)
    placed = {item.check for item in items}
    for question in sorted((q for q in wanted if q.id in behind), key=lambda q: -behind[q.id]):
        missing = [_Item(check=check.id) for check in question.checks if check.id not in placed]
        items[behind[question.id] : behind[question.id]] = missing
    return items


class _Submission:
    """Runs a submission's cells up to a place, again without the guilty one when one of them ends the process."""

    def __init__(self, items: list[_Item], setup: tuple[str, ...], limits: Limits):
        self.items, self.setup, self.limits = items, setup, limits
        self.end = time.monotonic() + limits.notebook_seconds
        self.skip: set[int] = set()
        self.problems: dict[int, dict[str, Any]] = {}
        self.session: Session | None = None
        self.place = 0
        cells = [number for number, item in enumerate(items) if item.source]
        self.number_of = {number: count for count, number in enumerate(cells, 1)}

    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def ready(self, place: int) -> Session:
        """A process in which the cells before a place have run, and perhaps some behind it."""
        while True:
            if self.seconds_left() <= 0:
                raise Stopped("time limit", f"the notebook's time limit of {self.limits.notebook_seconds:g} s was reached")
            if self.session is None or self.session.closed.is_set():
                self.session, self.place = Session(self.limits, self.seconds_left), 0
                for source in self.setup:
                    self.session.request("cell", source=source)
            if self._advance(self.session, place):
                return self.session

    def _advance(self, session: Session, place: int) -> bool:
        """Run the cells before a place. False if one of them has ended the process."""
        while self.place < place:
            number = self.place
            item, self.place = self.items[number], number + 1
            if item.check:
                session.request("mark", mark=item.check)
            elif number not in self.skip:
                try:
                    session.request("cell", source=item.source)
                except Stopped as stop:
                    self.skip.add(number)
                    self._note(number, stop.status, str(stop))
                    return False
                except Exception as error:
                    self._note(number, "error", _text_of(error))
        return True

    def _note(self, number: int, status: str, reason: str) -> None:
        self.problems[number] = {"cell": self.number_of[number], "status": status, "reason": plain_text(reason)}

    def means_something_else(self, check: str) -> bool:
        """Whether a name means at the end of the notebook something else than where the check stands."""
        return bool(self.ready(len(self.items)).request("renamed", mark=check)["value"])

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def _text_of(error: BaseException) -> str:
    where = getattr(error, "where", "")
    name = "" if isinstance(error, StudentError) else f"{getattr(error, 'type_name', type(error).__name__)}: "
    return f"{name}{error}" + (f" (at {where})" if where else "")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "not enough memory" in str(error)


class _TooLong(BaseException):
    """A check has not ended in time; no `except Exception` of it shall stop that."""


@contextlib.contextmanager
def _time_limit(seconds: float):
    """Raise `_TooLong` here after so many seconds, whatever the code does in Python. Only the main thread can be interrupted so."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number, frame):
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run_check(check: Check, master: Master, submission: _Submission, place: int, seed: int, names: tuple[str, ...]) -> CheckResult:
    """Run one check in this process, with stand-ins for what the submission has defined before a place."""
    result = CheckResult(check.id, 0.0, check.points, "failed")
    filename, seconds = f"<{check.id}>", _CALLS_PER_CHECK * submission.limits.cell_seconds
    linecache.cache[filename] = (len(check.source), None, check.source.splitlines(keepends=True), filename)
    try:
        session = submission.ready(place)
        session.arguments_may_change = check.arguments_may_change
        space: dict[str, Any] = {"__name__": "checks"}
        for source in master.setup:
            exec(compile(source, "<setup>", "exec"), space)
        space[_SEED_NAME] = seed
        there = session.request("names", names=list(names))["names"]
        space.update({name: Remote(session, {}, name) for name in names if name in there})
        torch.manual_seed(seed)
        with contextlib.redirect_stdout(io.StringIO()), _time_limit(seconds):
            exec(compile(check.source, filename, "exec"), space)
        result.status, result.points = "passed", check.points
    except Stopped as stop:
        result.status, result.reason = stop.status, str(stop)
    except _TooLong:
        result.status, result.reason = "time limit", f"the check did not end within {seconds:g} s with what it was given"
        submission.close()  # perhaps in the middle of an answer
    except NotImplementedError:
        result.status, result.reason = "not attempted", "the function still raises NotImplementedError"
    except Exception as error:
        result.hidden = _line_of(error, filename) in check.hidden_lines
        if _is_out_of_memory(error):
            result.status, result.reason = "memory limit", "the memory limit was reached"
        elif isinstance(error, AssertionError) and not hasattr(error, "remote"):
            result.reason = str(error) or "the check does not hold"
        elif isinstance(error, NameError):
            result.undefined = True
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
    result.reason = plain_text(result.reason)
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
    """Grade one file. Returns a report whatever the file is; what went wrong stands in it.

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
        NoSandbox: if submissions shall have namespaces of their own and there are none; the message says why.
    """
    start = time.monotonic()
    try:
        name, items = _read_submission(path, exercises, exercise, only)
    except _NotASubmission as error:
        return Report(plain_text(path.name), exercise or "", error=plain_text(str(error)))
    if limits.namespaces and (why := sandbox.problem()):
        raise sandbox.NoSandbox(why)
    master = exercises[name]
    questions = [question for question in master.questions if only is None or question.id in only]
    if only is not None and (unknown := sorted(set(only) - {question.id for question in questions})):
        raise ValueError(f"{name} has no question {', '.join(map(repr, unknown))}")
    report = Report(plain_text(path.name), name, max_points=math.fsum(question.points for question in questions))
    start_zygote()  # before the clock of the submission runs
    submission = _Submission(items, master.setup, limits)
    try:
        results = _run_checks(questions, master, submission, secrets.randbits(31), first_failure)
    finally:
        submission.close()
    for question in questions:
        found = [results[check.id] for check in question.checks if check.id in results]
        points = sum(result.points for result in found)
        report.questions.append(QuestionResult(question.id, question.title, points, question.points, _status_of(found), found))
    report.points = math.fsum(question.points for question in report.questions)
    report.cells = [submission.problems[number] for number in sorted(submission.problems)]
    report.seconds = round(time.monotonic() - start, 2)
    return report


def _run_checks(
    questions: list[Question], master: Master, submission: _Submission, seed: int, first_failure: bool
) -> dict[str, CheckResult]:
    """Run each check where it stands, and where that fails once more at the end of the notebook if names mean something else there.

    A helper may have the name of a function that a later question asks for, and a better answer may stand at the end: what
    holds at one of the two places holds.
    """
    results: dict[str, CheckResult] = {}
    question_of = {check.id: (question, check) for question in questions for check in question.checks}

    def passed(check: Check) -> bool:
        return check.id in results and results[check.id].status == "passed"

    def run(question: Question, check: Check, place: int) -> CheckResult:
        return _run_check(check, master, submission, place, seed, question.names)

    for place, item in enumerate(submission.items):
        if item.check:
            question, check = question_of[item.check]
            before = question.checks[: question.checks.index(check)]
            if not passed(check) and not (first_failure and any(each.id in results and not passed(each) for each in before)):
                results[check.id] = run(question, check, place)
    end = len(submission.items)
    for question in questions:
        for check in question.checks:
            found = results.get(check.id)
            if found is None:
                results[check.id] = run(question, check, end)
            elif found.status != "passed" and _may_hold_at_the_end(submission, found):
                again = run(question, check, end)
                if again.status == "passed" or found.status == "not attempted":
                    results[check.id] = again
            if first_failure and not passed(check):
                break
    return results


def _may_hold_at_the_end(submission: _Submission, result: CheckResult) -> bool:
    """Whether a check that failed where it stands is worth another try."""
    if result.undefined:
        return True
    try:
        return submission.means_something_else(result.id)
    except Exception:  # the process is gone, or its time is up
        return False


def _status_of(results: list[CheckResult]) -> str:
    """One word for a question: correct, partly correct, or what its first failing check says."""
    failing = [result for result in results if result.status != "passed"]
    if not failing:
        return "correct"
    return "partly correct" if len(failing) < len(results) else failing[0].status
