"""The feedback as one HTML page that needs nothing else: no script, no style sheet, no network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .grade import Report
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


def html_report(reports: list[Report], exercises: dict[str, Master], hidden_source: bool) -> str:
    """Feedback for all submissions: a table, then for each the questions, what each check said, and its source."""
    sources = {}
    for master in exercises.values():
        for question in master.questions:
            for check in question.checks:
                sources[master.name, check.id] = check.source if hidden_source else check.visible
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    return environment.get_template("report.html.jinja").render(reports=reports, sources=sources, words=_WORDS)
