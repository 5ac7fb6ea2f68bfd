"""Grade every notebook in a folder, offline: a table, report.json, marks.csv and an HTML page with feedback.

Submissions run in processes of their own, with limits of time and memory and without access to your files where the system
allows that. Run `python -m exercises.grading --help` for the options.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from . import sandbox
from .grade import Report, grade
from .masters import Master, masters
from .session import DEFAULT_LIMITS, Limits


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
        workers: notebooks graded at the same time; default: one per core.
    """

    submissions: Annotated[Path, tyro.conf.Positional]
    exercise: str | None = None
    out: Path | None = None
    hidden_source: bool = True
    cell_seconds: float = DEFAULT_LIMITS.cell_seconds
    notebook_seconds: float = DEFAULT_LIMITS.notebook_seconds
    memory_gib: float = DEFAULT_LIMITS.memory_bytes / 2**30
    workers: int = 0


def _submissions_in(folder: Path) -> list[Path]:
    """The notebooks of a folder, in order, without Jupyter's checkpoints."""
    found = (path for path in folder.rglob("*.ipynb") if path.is_file() and ".ipynb_checkpoints" not in path.parts)
    return sorted(found, key=lambda path: str(path.relative_to(folder)).casefold())


def _prepare() -> None:
    """Make a process of the pool ready: one thread, and the parent of whatever submissions detach."""
    import torch

    torch.set_num_threads(1)
    sandbox.adopt_orphans()


def _grade_all(
    paths: list[Path], exercises: dict[str, Master], exercise: str | None, limits: Limits, workers: int, done
) -> list[Report]:
    """Grade files in parallel and return the reports in the order of the files; `done(report)` is called for each."""
    reports: dict[Path, Report] = {}

    def run(some: list[Path], count: int) -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(count, len(some)) or 1, mp_context=context, initializer=_prepare) as pool:
            futures = {pool.submit(grade, path, exercises, exercise, limits): path for path in some}
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
                    reports[path] = Report(path.name, exercise or "", error="the grader itself was ended while it graded this")
                    done(reports[path])
    return [reports[path] for path in paths]


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
        writer.writerow([f"'{cell}" if cell[:1] in "=+-@\t" else cell for cell in cells])  # a spreadsheet would run a formula
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
    paths = _submissions_in(options.submissions)
    if not paths:
        print(f"{options.submissions} holds no file that ends in .ipynb", file=sys.stderr)
        return 2
    return _grade_and_report(options, exercises, paths)


def _grade_and_report(options: _Options, exercises: dict[str, Master], paths: list[Path]) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from .report import html_report

    console = Console()
    limits = Limits(options.cell_seconds, options.notebook_seconds, int(options.memory_gib * 2**30))
    workers = options.workers or os.cpu_count() or 1
    console.print(f"{len(paths)} notebooks, {workers} at a time; {sandbox.isolation()}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("grading", total=len(paths))
        reports = _grade_all(paths, exercises, options.exercise, limits, workers, lambda report: progress.advance(task))
    for report, path in zip(reports, paths, strict=True):
        report.file = str(path.relative_to(options.submissions))
    _print_table(reports, console)
    out = options.out or options.submissions.resolve().parent / "graded"
    out.mkdir(parents=True, exist_ok=True)
    content = {"isolation": sandbox.isolation(), "limits": vars(limits), "submissions": [report.as_dict() for report in reports]}
    _write(out / "report.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    _write(out / "marks.csv", _marks_csv(reports))
    _write(out / "report.html", html_report(reports, exercises, options.hidden_source))
    console.print(f"Feedback: {out / 'report.html'}; also report.json and marks.csv there.", soft_wrap=True)
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from llmbook.preliminaries.workspace import write_atomic

    write_atomic(path, text)
