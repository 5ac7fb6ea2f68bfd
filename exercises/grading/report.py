"""The feedback as HTML pages that need nothing else: no script, no style sheet, no network."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .grade import CheckResult, Report
from .masters import Master

_WORDS = {
    "passed": "passed",
    "failed": "not yet right",
    "not attempted": "not attempted",
    "error": "your code raised an error",
    "time limit": "stopped at the time limit",
    "memory limit": "stopped at the memory limit",
    "stopped": "the process ended",
}


def page_names(reports: list[Report]) -> list[str]:
    """A file name for the page of each submission: its number, and what is harmless of its name."""
    width = len(str(len(reports)))
    stems = (re.sub(r"[^A-Za-z0-9-]+", "-", re.sub(r"(?i)\.ipynb$", "", report.file)).strip("-")[-60:] for report in reports)
    return [f"{number:0{width}}-{stem or 'submission'}.html" for number, stem in enumerate(stems, 1)]


def _render(template: str, exercises: dict[str, Master], hidden_source: bool, **values) -> str:
    checks = {(m.name, check.id): check for m in exercises.values() for question in m.questions for check in question.checks}

    def source(exercise: str, check: CheckResult) -> str:
        """What may be shown of a check. Hidden tests of what was not attempted would only give the answer away."""
        found = checks[exercise, check.id]
        return found.source if hidden_source and check.status != "not attempted" else found.visible

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    return environment.get_template(template).render(source=source, words=_WORDS, **values)


def html_report(reports: list[Report], exercises: dict[str, Master], hidden_source: bool, pages: list[str]) -> str:
    """The page for the teacher: a table, then for each submission the questions, what each check said, and its source."""
    return _render("report.html.jinja", exercises, hidden_source, reports=reports, pages=pages)


def html_page(report: Report, exercises: dict[str, Master], hidden_source: bool) -> str:
    """The page of one submission, which says nothing of others."""
    return _render("page.html.jinja", exercises, hidden_source, report=report)
