"""Grade every notebook in a folder, offline: a table, report.json, marks.csv and an HTML page with feedback.

Submissions run in processes of their own, with limits of time and memory and without access to your files where the system
allows that. Run `python -m exercises.grading --help` for the options.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import multiprocessing
import os
import re
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from . import sandbox
from .grade import Report, grade, plain_text
from .masters import Master, masters
from .session import DEFAULT_LIMITS, Limits, end_zygote, start_zygote

PAGES = "feedback"  # the folder of the pages to hand out
_MAX_DEPTH = 40
_CHECKS_BYTES = 6 << 30  # which the checks of one notebook may allocate
_GRACE_SECONDS = 120.0  # after a notebook's time, until its grading is ended from outside
_FORMULA = re.compile(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


@dataclass(frozen=True)
class _Options:
    """Grade every notebook in a folder.

    Args:
        submissions: folder of notebooks, whatever their names; folders inside it are searched, too.
        exercise: name of the exercise, such as 03_attention; default: what each notebook says or its questions show.
        out: folder for report.json, marks.csv and report.html; default: a folder "graded" beside the submissions' folder.
        hidden_source: show the source of hidden checks in the feedback; the messages are shown in any case.
        cell_seconds: time limit of a cell, and of each call that a check makes.
        notebook_seconds: time limit of a notebook.
        memory_gib: memory that a notebook may take.
        workers: notebooks graded at the same time; default: one per core, if their memory suffices.
        unsafe_without_namespaces: grade where submissions cannot have namespaces of their own (no Linux, no bwrap, or a system
            that refuses them). A submission may then reach others, the grader and your files; the first line says what holds.
    """

    submissions: Annotated[Path, tyro.conf.Positional]
    exercise: str | None = None
    out: Path | None = None
    hidden_source: bool = True
    cell_seconds: float = DEFAULT_LIMITS.cell_seconds
    notebook_seconds: float = DEFAULT_LIMITS.notebook_seconds
    memory_gib: float = DEFAULT_LIMITS.memory_bytes / 2**30
    workers: int = 0
    unsafe_without_namespaces: bool = False


@dataclass(frozen=True)
class _Found:
    """Something in the submissions' folder that gets a row: a notebook, or what cannot be one, with the reason."""

    name: str  # below the folder
    path: Path
    problem: str = ""


def _submissions_in(folder: Path) -> list[_Found]:
    """What looks like a notebook in a folder and the folders in it, in order, without Jupyter's checkpoints.

    Links are not followed: they could lead to a master, or to what somebody else has handed in.
    """
    found: list[_Found] = []
    folders = [("", 0)]
    while folders:
        below, depth = folders.pop()
        try:
            with os.scandir(folder / below) as entries:
                inside = list(entries)
        except OSError as error:
            found.append(_Found(below or ".", folder / below, f"a folder that cannot be read ({error.strerror})"))
            continue
        for entry in inside:
            name, path = os.path.join(below, entry.name), folder / below / entry.name
            looks = entry.name.lower().endswith(".ipynb")
            if entry.is_symlink():
                if looks or _is_folder(path):
                    found.append(_Found(name, path, "a symbolic link: hand in what it leads to"))
            elif entry.is_dir(follow_symlinks=False):
                if looks:
                    found.append(_Found(name, path, "a folder, not a notebook"))
                if entry.name != ".ipynb_checkpoints" and depth < _MAX_DEPTH:
                    folders.append((name, depth + 1))
                elif depth == _MAX_DEPTH:
                    found.append(_Found(name, path, f"more than {_MAX_DEPTH} folders in each other: what is in here is not graded"))
            elif looks:
                found.append(_Found(name, path))
    return sorted(found, key=lambda each: (each.name.casefold(), each.name))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to itself
        return False


def _prepare(started) -> None:
    """Make a process of the pool ready: one thread, and a core of its own, so that no submission slows others down."""
    import torch

    torch.set_num_threads(1)
    sandbox.adopt_orphans()
    sandbox.hide_memory()
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def _grade_apart(path: Path, exercises: dict[str, Master], exercise: str | None, limits: Limits) -> Report:
    """Grade one file in a fork of this process, so that nothing which it makes of the checks costs more than its own row."""
    if not sys.platform.startswith("linux"):
        return grade(path, exercises, exercise, limits)
    start_zygote()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            sandbox.limit_memory(_CHECKS_BYTES)
            theirs.send(_graded(path, exercises, exercise, limits))
        finally:
            os._exit(0)
    theirs.close()
    seconds = limits.notebook_seconds + _GRACE_SECONDS
    try:
        report = ours.recv() if ours.poll(seconds) else f"the checks had not ended {seconds:g} s after their beginning"
    except (EOFError, OSError):
        report = "the grader itself was ended while it graded this"
    finally:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if isinstance(report, str):
        end_zygote()
        return Report(plain_text(path.name), exercise or "", error=report)
    return report


def _graded(path: Path, exercises: dict[str, Master], exercise: str | None, limits: Limits) -> Report:
    """Grade one file; an error of the grader's own is a row, too."""
    try:
        return grade(path, exercises, exercise, limits)
    except sandbox.NoSandbox as error:
        return Report(plain_text(path.name), exercise or "", error=plain_text(f"not graded, as it could not be isolated: {error}"))
    except Exception as error:
        return Report(
            plain_text(path.name), exercise or "", error=plain_text(f"the grader failed with {type(error).__name__}: {error}")
        )


def _grade_all(
    paths: list[Path], exercises: dict[str, Master], exercise: str | None, limits: Limits, workers: int, done
) -> dict[Path, Report]:
    """Grade files in parallel and return their reports; `done(report)` is called for each."""
    reports: dict[Path, Report] = {}

    def run(some: list[Path], count: int) -> None:
        context = multiprocessing.get_context("spawn")
        started = context.Value("i", 0)
        with ProcessPoolExecutor(min(count, len(some)) or 1, mp_context=context, initializer=_prepare, initargs=(started,)) as pool:
            futures = {pool.submit(_grade_apart, path, exercises, exercise, limits): path for path in some}
            for future in as_completed(futures):
                reports[futures[future]] = future.result()
                done(reports[futures[future]])

    try:
        run(paths, workers)
    except BrokenProcessPool:  # a grader died; give each remaining notebook one of its own
        for path in paths:
            if path not in reports:
                try:
                    run([path], 1)
                except BrokenProcessPool:
                    reports[path] = Report(
                        plain_text(path.name), exercise or "", error="the grader itself was ended while it graded this"
                    )
                    done(reports[path])
    return reports


def _workers(limits: Limits) -> int:
    """How many notebooks can be graded at once: one per core, if each can have its memory."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // (limits.memory_bytes + (1 << 30))))


def _marks_csv(reports: list[Report]) -> str:
    """One row per file: points, maximum, and the points of each question."""
    ids = list(dict.fromkeys(question.id for report in reports for question in report.questions))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "exercise", "points", "max_points", *ids, "error"])
    for report in reports:
        points = {question.id: f"{question.points:g}" for question in report.questions}
        cells = [
            report.file,
            report.exercise,
            f"{report.points:g}",
            f"{report.max_points:g}",
            *(points.get(i, "") for i in ids),
            report.error,
        ]
        writer.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in cells])  # a spreadsheet would run a formula
    return text.getvalue()


def _print_table(reports: list[Report], console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Points by question" if reports else "no notebooks")
    for heading in ("file", "points", "questions", "seconds"):
        table.add_column(heading, justify="right" if heading in ("points", "seconds") else "left")
    for report in reports:
        if report.error:
            table.add_row(Text(report.file), "0", Text(f"not graded: {report.error}", style="red"), f"{report.seconds:.1f}")
            continue
        right = sum(question.status == "correct" for question in report.questions)
        summary = Text(f"{right} of {len(report.questions)} correct\n", style="green" if right else "")
        for question in report.questions:
            if question.status != "correct":
                points = f"{question.id} {question.points:g}/{question.max_points:g} {question.status}\n"
                summary.append(points, style="yellow" if question.points else "red")
        summary.rstrip()
        table.add_row(Text(report.file), f"{report.points:g}/{report.max_points:g}", summary, f"{report.seconds:.1f}")
    console.print(table)


def main() -> int:
    options = tyro.cli(_Options, prog="python -m exercises.grading", description=__doc__)
    if not options.submissions.is_dir():
        print(f"{options.submissions} is not a folder: name the folder that holds the notebooks", file=sys.stderr)
        return 2
    exercises = masters()
    if options.exercise is not None and options.exercise not in exercises:
        print(f"there is no exercise {options.exercise!r}; there are {', '.join(exercises)}", file=sys.stderr)
        return 2
    found = _submissions_in(options.submissions)
    if not found:
        print(f"{options.submissions} holds no file that ends in .ipynb", file=sys.stderr)
        return 2
    if (why := sandbox.problem()) and not options.unsafe_without_namespaces:
        print(
            f"Submissions cannot be kept from each other and from your files here: {why}. Nothing was graded. With "
            "--unsafe-without-namespaces they run nevertheless, which is right for notebooks that you trust, such as your own.",
            file=sys.stderr,
        )
        return 2
    return _grade_and_report(options, exercises, found)


def _grade_and_report(options: _Options, exercises: dict[str, Master], found: list[_Found]) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    namespaces = not sandbox.problem()
    limits = Limits(options.cell_seconds, options.notebook_seconds, int(options.memory_gib * 2**30), namespaces=namespaces)
    workers = options.workers or _workers(limits)
    isolation = sandbox.isolation(namespaces)
    if not namespaces:
        print(f"WARNING: no namespaces ({sandbox.problem()}). Grade only what you trust.", file=sys.stderr)
    console.print(f"{len(found)} notebooks, {workers} at a time; {isolation}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    paths = [each.path for each in found if not each.problem]
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("grading", total=len(paths))
        graded = _grade_all(paths, exercises, options.exercise, limits, workers, lambda report: progress.advance(task))
    reports = [graded[each.path] if not each.problem else Report("", options.exercise or "", error=each.problem) for each in found]
    for report, each in zip(reports, found, strict=True):
        report.file = plain_text(each.name.replace("\n", " ").replace("\t", " "), 1000)
        report.error = plain_text(report.error)
    _print_table(reports, console)
    out = options.out or options.submissions.resolve().parent / "graded"
    _write_all(out, reports, exercises, options.hidden_source, {"isolation": isolation, "limits": vars(limits)})
    written = f"{out / 'report.html'}, and a page for each notebook in {out / PAGES}; also report.json and marks.csv there."
    console.print(f"Feedback: {written}", soft_wrap=True)
    return 0


def _write_all(out: Path, reports: list[Report], exercises: dict[str, Master], hidden_source: bool, about: dict) -> None:
    """Write marks, the page for the teacher, and a page for each submission that can be handed out."""
    from .report import html_page, html_report, page_names

    names = page_names(reports)
    out.mkdir(parents=True, exist_ok=True)
    rows = [report.as_dict() | {"page": f"{PAGES}/{name}"} for report, name in zip(reports, names, strict=True)]
    _write(out / "report.json", json.dumps({**about, "submissions": rows}, indent=1, ensure_ascii=False) + "\n")
    _write(out / "marks.csv", _marks_csv(reports))
    _write(out / "report.html", html_report(reports, exercises, hidden_source, [f"{PAGES}/{name}" for name in names]))
    pages = out / PAGES
    if pages.is_symlink() or pages.is_file():
        pages.unlink()
    pages.mkdir(exist_ok=True)
    for report, name in zip(reports, names, strict=True):
        _write(pages / name, html_page(report, exercises, hidden_source))
    for stale in set(pages.glob("*.html")) - {pages / name for name in names}:
        stale.unlink()


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from llmbook.preliminaries.workspace import write_atomic

    write_atomic(path, text)
