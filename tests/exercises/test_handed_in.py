"""The command on a folder with everything that can be handed in by mistake or on purpose: a row for each, and marks for all."""

import csv
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from small_exercise import CELLS, RIGHT, notebook, submission

from exercises.grading import command, sandbox
from exercises.grading.grade import plain_text
from exercises.grading.report import page_names

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from pathlib import Path
from exercises.grading import command
from exercises.grading.masters import read_master
master = read_master(Path(sys.argv.pop(1)))
command.masters = lambda: {"small": master}
command._GRACE_SECONDS = 4
sys.exit(command.main())
"""
NESTED = 2500


def right(**changes) -> dict:
    return json.loads(nbformat.writes(submission(RIGHT))) | changes


def wrong(source: str, **answers) -> dict:
    """A notebook with a right answer to the second question, and this to the first."""
    return json.loads(nbformat.writes(submission({**RIGHT, "double": source, **answers})))


def without(book: dict, *keys: str) -> dict:
    return {key: value for key, value in book.items() if key not in keys}


def with_ids(make) -> dict:
    book = right()
    for cell in book["cells"]:
        cell["id"] = make(cell["id"])
    return book


def with_cells(*more: dict) -> dict:
    book = right()
    return book | {"cells": [*more, *book["cells"]]}


CODE = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [], "execution_count": None}
# By file name: what is written (text, bytes or a notebook), the points, and what the reason must say.
FILES = {
    "right.ipynb": (right(), 5, ""),
    "UPPER.IPYNB": (right(), 5, ""),
    "a mark first.ipynb": (b"\xef\xbb\xbf" + json.dumps(right()).encode(), 5, ""),
    "utf-16.ipynb": (json.dumps(right()).encode("utf-16"), 5, ""),
    "no metadata.ipynb": (without(right(), "metadata"), 5, ""),
    "no minor version.ipynb": (without(right(), "nbformat_minor"), 5, ""),
    "metadata is a list.ipynb": (right(metadata=[1]), 5, ""),
    "exercise is a list.ipynb": (right(metadata={"llmbook": {"exercise": ["small"]}}), 5, ""),
    "exercise is a dictionary.ipynb": (right(metadata={"llmbook": {"exercise": {}}}), 5, ""),
    "exercise is a number.ipynb": (right(metadata={"llmbook": {"exercise": 7}}), 5, ""),
    "exercise is unknown.ipynb": (right(metadata={"llmbook": {"exercise": "../../etc"}}), 5, ""),
    "llmbook is a list.ipynb": (right(metadata={"llmbook": [{}]}), 5, ""),
    "ids with half a pair.ipynb": (with_ids(lambda name: "\ud800"), 5, ""),
    "ids are lists.ipynb": (with_ids(lambda name: [name]), 5, ""),
    "cells without metadata.ipynb": (with_cells(without(CODE, "metadata"), CODE | {"metadata": [3]}), 5, ""),
    "grade ids are lists.ipynb": (with_cells(CODE | {"metadata": {"nbgrader": {"grade_id": [1], "grade": {}}}}), 5, ""),
    "nbgrader is a list.ipynb": (with_cells(CODE | {"metadata": {"nbgrader": [1]}}), 5, ""),
    "source is a number.ipynb": (with_cells(CODE | {"source": ["1", 2, None]}), 5, ""),
    "source has half a pair.ipynb": (with_cells(CODE | {"source": "'\ud800'"}), 5, ""),
    "a null byte.ipynb": (with_cells(CODE | {"source": "1\x00"}), 5, ""),
    "kind is a list.ipynb": (with_cells(CODE | {"cell_type": []}), 5, ""),
    "raises half a pair.ipynb": (wrong("raise ValueError('\ud800')"), 3, ""),
    "raises half a pair when called.ipynb": (wrong("def double(x):\n    raise ValueError('\\ud800')"), 3, ""),
    "<img src=x onerror=alert(1)>.ipynb": (wrong("def double(x):\n    raise ValueError('<script>alert(1)</script>')"), 3, ""),
    "steers \x1b[2J terminals.ipynb": (wrong("def double(x):\n    raise ValueError('\\x1b[2J')"), 3, ""),
    "line\nbreak.ipynb": (right(), 5, ""),
    "\u202eleft.ipynb": (right(), 5, ""),
    "=HYPERLINK().ipynb": (right(), 5, ""),
    " =1+1.ipynb": (right(), 5, ""),
    b"latin-1 \xe9.ipynb": (right(), 5, ""),
    b"\xff\xfe.ipynb": (wrong("raise RuntimeError"), 3, ""),
    "loops.ipynb": (wrong("while True: pass"), 3, ""),
    "keeps the connection.ipynb": (
        wrong("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3600)\nos._exit(0)"),
        3,
        "",
    ),
    "forks.ipynb": (wrong("import os\nwhile True: os.fork()"), 3, ""),
    "kills.ipynb": (wrong("import os\nfor p in range(1, 70000):\n    try: os.kill(p, 9)\n    except OSError: pass"), 3, ""),
    "hides a check.ipynb": (wrong("def double(x):\n    return 10**5000"), 3, ""),
    "empty.ipynb": ("", 0, "not a Jupyter notebook"),
    "text.ipynb": ("Dear teacher,", 0, "not a Jupyter notebook"),
    "bytes.ipynb": (bytes(range(256)), 0, "not a Jupyter notebook"),
    "a list.ipynb": ("[]", 0, "not a Jupyter notebook"),
    "a number.ipynb": ("1e999", 0, "not a Jupyter notebook"),
    "deep.ipynb": ('{"cells":' + "[" * 200_000, 0, "not a Jupyter notebook"),
    "cells is a number.ipynb": (right(cells=3), 0, "not a Jupyter notebook"),
    "cells are numbers.ipynb": (right(cells=[1, 2]), 0, "not a Jupyter notebook"),
    "version 99.ipynb": (right(nbformat=99), 5, ""),
    "version is a list.ipynb": (right(nbformat=[4]), 5, ""),
    "version 3.ipynb": (right(nbformat=3), 0, "not a Jupyter notebook"),
    "of nobody.ipynb": (json.loads(nbformat.writes(notebook([(None, "", "1")]))), 0, "no cell of it belongs"),
    "in/other/folders/right.ipynb": (right(), 5, ""),
    "a folder.ipynb/right.ipynb": (right(), 5, ""),
}
MADE = {  # by other means, below
    "a folder.ipynb": "a folder, not a notebook",
    ".ipynb": "a folder, not a notebook",
    "the master.ipynb": "a symbolic link",
    "a friend.ipynb": "a symbolic link",
    "broken.ipynb": "a symbolic link",
    "in a circle.ipynb": "a symbolic link",
    "linked": "a symbolic link",
    "a link to a folder.ipynb": "a symbolic link",
    "a pipe.ipynb": "not a regular file",
    "a socket.ipynb": "not a regular file",
    "of 200 MB.ipynb": "larger than 64 MiB",
}


def shown(name: str | bytes) -> str:
    return plain_text(os.fsdecode(name).replace("\n", " "))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    if sandbox.problem():
        pytest.skip(sandbox.problem())
    place = tmp_path_factory.mktemp("course")
    folder = place / "in"
    folder.mkdir()
    nbformat.write(notebook(CELLS), place / "small.ipynb")
    for name, (content, _, _) in FILES.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content = json.dumps(content) if isinstance(content, dict) else content
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    solved = place / "solved.ipynb"
    solved.write_text(json.dumps(right()))
    (folder / ".ipynb").mkdir()
    (folder / ".ipynb_checkpoints").mkdir()
    shutil.copy(solved, folder / ".ipynb_checkpoints" / "right-checkpoint.ipynb")
    (folder / "the master.ipynb").symlink_to(solved)
    (folder / "a friend.ipynb").symlink_to("right.ipynb")
    (folder / "broken.ipynb").symlink_to("nowhere")
    (folder / "in a circle.ipynb").symlink_to("in a circle.ipynb")
    (folder / "linked").symlink_to(place)
    (folder / "a link to a folder.ipynb").symlink_to("in")
    os.mkfifo(folder / "a pipe.ipynb")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # the paths of sockets are short
    listener.bind("a socket.ipynb")
    with open(folder / "of 200 MB.ipynb", "wb") as file:
        file.truncate(200 << 20)
    try:
        os.mkdir("nested")
        os.chdir("nested")
        for _ in range(NESTED):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.ipynb").write_text(json.dumps(right()))
    finally:
        os.chdir(here)
    out = place / "out"
    out.mkdir()
    (out / "feedback").symlink_to(folder)  # which the grader must not write into
    arguments = [str(place / "small.ipynb"), str(folder), "--out", str(out), "--cell-seconds", "2", "--memory-gib", "1"]
    start = time.monotonic()
    try:
        done = subprocess.run([sys.executable, "-c", RUN, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    finally:
        listener.close()
        subprocess.run(["rm", "-rf", folder / "nested"], check=True)  # too deep for Python's own
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((out / "report.json").read_text(encoding="utf-8"))["submissions"]
    return done.stdout, out, {row["file"]: row for row in rows}, time.monotonic() - start, folder


@pytest.mark.parametrize("name", FILES, ids=lambda name: shown(name).replace("/", "-"))
def test_what_can_be_graded_is_and_the_rest_has_a_reason(outcome, name):
    _, points, reason = FILES[name]
    row = outcome[2][shown(name)]
    assert row["points"] == points and reason in row["error"] and bool(reason) == bool(row["error"]), row


@pytest.mark.parametrize("name", MADE)
def test_what_is_no_file_has_a_row_that_says_so(outcome, name):
    row = outcome[2][name]
    assert row["points"] == 0 and MADE[name] in row["error"], row


def test_folders_in_folders_end_in_a_row(outcome):
    deep = [row for name, row in outcome[2].items() if name.startswith("nested")]
    assert len(deep) == 1 and "folders in each other" in deep[0]["error"] and deep[0]["points"] == 0


def test_there_is_a_row_for_everything_and_nothing_else(outcome):
    table, out, rows, seconds, folder = outcome
    assert len(rows) == len(FILES) + len(MADE) + 1 and not any("checkpoint" in name for name in rows)
    marks = list(csv.DictReader((out / "marks.csv").read_text(encoding="utf-8").splitlines()))
    assert len(marks) == len(rows) and sum(float(row["points"]) for row in marks) == sum(row["points"] for row in rows.values())
    assert not (set("\x1b\u202e") & set(table.replace("\x1b[", ""))) and "owned" not in table
    assert not list(folder.glob("*.html")) and not (out / "feedback").is_symlink()


def test_marks_have_no_apostrophe_in_empty_cells_and_no_formula(outcome):
    rows = list(csv.reader((outcome[1] / "marks.csv").read_text(encoding="utf-8").splitlines()))
    cells = [cell for row in rows for cell in row]
    assert "'" not in cells and "" in cells and not [cell for cell in cells if re.match(r"\s*[=+@-]", cell)]
    assert {"'=HYPERLINK().ipynb", "' =1+1.ipynb"} <= {row[0] for row in rows}


def test_each_submission_has_a_page_of_its_own(outcome):
    _, out, rows, _, _ = outcome
    assert len({row["page"] for row in rows.values()}) == len(rows) == len(list((out / "feedback").iterdir()))
    for name, row in rows.items():
        page = out / row["page"]
        assert stat.S_ISREG(os.lstat(page).st_mode) and re.fullmatch(r"feedback/\d+-[A-Za-z0-9-]+\.html", row["page"])
        text = page.read_text(encoding="utf-8")
        others = [other for other in rows if other not in name and name not in other and len(other) > 12]
        assert not [other for other in others if other in text]
        assert "<script" not in text and "<img" not in text and "http" not in text


def test_the_grading_of_all_ends_in_time(outcome):
    assert outcome[3] < 120


def test_hidden_tests_are_not_shown_for_what_was_not_attempted(graded, exercises, tmp_path):
    report = graded(submission({"double": "def double(x):\n    return x"}))
    for hidden_source in (True, False):
        command._write_all(tmp_path, [report], exercises, hidden_source, {})
        for name in ("report.html", "feedback/1-anything-at-all.html"):
            text = (tmp_path / name).read_text()
            assert ("grading_seed" in text) == hidden_source  # of the question that was answered wrongly
            assert "Counter().count == 0" not in text and "two and three are five" in text  # of the other


def test_names_of_pages_are_harmless_and_different():
    from exercises.grading.grade import Report

    names = page_names(
        [Report(name, "") for name in ("../../x.ipynb", "a/b.ipynb", "a-b.ipynb", "é", ".ipynb", "x" * 500, "CON.ipynb")]
    )
    assert len({name.casefold() for name in names}) == 7 and all(
        re.fullmatch(r"[0-9]-[A-Za-z0-9-]{1,60}\.html", name) for name in names
    )


def test_without_namespaces_nothing_is_graded_unless_that_is_asked_for(tmp_path, monkeypatch, capsys, exercises):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "right.ipynb").write_text(json.dumps(right()))
    monkeypatch.setattr(sandbox, "problem", lambda: "the kernel refuses")
    monkeypatch.setattr(command, "masters", lambda: exercises)
    arguments = ["grading", str(folder), "--out", str(tmp_path / "out"), "--cell-seconds", "10"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 2
    said = capsys.readouterr().err
    assert "the kernel refuses" in said and "--unsafe-without-namespaces" in said and not (tmp_path / "out").exists()
    monkeypatch.setattr(sys, "argv", [*arguments, "--unsafe-without-namespaces"])
    assert command.main() == 0
    assert "WARNING" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["submissions"][0]["points"] == 5 and "namespaces" not in report["isolation"]
