"""`python -m exercises.grading` on a folder of submissions."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from exercises.grading.command import main
from exercises.grading.masters import masters, student_text, tag, with_answers
from exercises.grading.sandbox import problem

ROOT = Path(__file__).resolve().parents[2]
NAME = "02_tokenization"  # its checks take milliseconds, so that a short time limit is long enough
EQUAL_TO_EVERYTHING = """class Same(list):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
def utf8_encode(points):
    return Same()"""


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Grade a correct, a wrong, a raising, a looping and a tampering submission, and one that is no notebook."""
    folder = tmp_path_factory.mktemp("course") / "handed in"
    (folder / "late").mkdir(parents=True)
    right = {question.id: question.solution for question in masters()[NAME].questions}

    def hand_in(name, answers):
        (folder / name).write_text(json.dumps(with_answers(NAME, answers)))

    hand_in("Ada's notebook (final) 2.ipynb", right)
    hand_in("wrong.ipynb", right | {"utf8": "def utf8_encode(points):\n    return []"})
    hand_in("raising.ipynb", right | {"utf8": "raise RuntimeError('<b>no</b>')"})
    hand_in("looping.ipynb", right | {"utf8": "import time\nwhile True: time.sleep(0.1)"})
    hand_in("late/tampering.ipynb", {"utf8": EQUAL_TO_EVERYTHING})
    (folder / "=essay.ipynb").write_text("Dear teacher,")
    command = [sys.executable, "-m", "exercises.grading", str(folder), "--cell-seconds", "10", "--no-hidden-source"]
    command += ["--unsafe-without-namespaces"] if problem() else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder.parent / "graded"


def test_each_submission_gets_what_it_earned(graded):
    table, out = graded
    rows = {row["file"]: row for row in json.loads((out / "report.json").read_text())["submissions"]}
    full = masters()[NAME].points
    lost = full - masters()[NAME].questions[0].points
    expected = {
        "Ada's notebook (final) 2.ipynb": full,
        "wrong.ipynb": lost,
        "raising.ipynb": lost,
        "looping.ipynb": lost,
        "late/tampering.ipynb": 0,
        "=essay.ipynb": 0,
    }
    assert {name: row["points"] for name, row in rows.items()} == expected
    assert rows["looping.ipynb"]["cells"][0]["status"] == "time limit" and "not a Jupyter notebook" in rows["=essay.ipynb"]["error"]
    checks = {question.id: [check.id for check in question.checks] for question in masters()[NAME].questions}
    for name in set(rows) - {"=essay.ipynb"}:  # whatever fails, all questions are graded and all checks run
        assert {each["id"]: [check["id"] for check in each["checks"]] for each in rows[name]["questions"]} == checks
        assert rows[name]["max_points"] == full
    first = rows["wrong.ipynb"]["questions"][0]
    assert first["status"] != "correct" and all(check["reason"] for check in first["checks"] if check["status"] != "passed")
    assert f"{full:g}/{full:g}" in table and "not graded" in table


def test_marks_can_be_imported(graded):
    rows = list(csv.DictReader((graded[1] / "marks.csv").read_text().splitlines()))
    assert [row["points"] for row in rows if row["file"].startswith("Ada")] == [f"{masters()[NAME].points:g}"]
    assert any(row["file"] == "'=essay.ipynb" for row in rows)  # no formula for a spreadsheet


def test_feedback_explains_escapes_and_keeps_hidden_tests_out(graded):
    page = (graded[1] / "report.html").read_text()
    assert "&lt;b&gt;no&lt;/b&gt;" in page and "<b>no</b>" not in page and "not attempted" in page
    assert "grading_seed +" not in page and "BEGIN HIDDEN" not in page and "http" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is not a folder"),
        (["tests", "--exercise", "42_nothing"], "there is no exercise"),
        (["tests/exercises"], "holds no file"),
        (["exercises/student", "--out", "README.md/graded"], "cannot be written"),
        (["exercises/student", "--out", "README.md"], "cannot be written"),
        (["tests", "--only", "softmax"], "Unrecognized options"),
        (["tests", "--first-failure"], "Unrecognized options"),
    ],
)
def test_mistakes_of_the_caller_get_a_sentence(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["grading", *arguments])
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and message in capsys.readouterr().err


def test_the_student_notebook_has_a_stub_for_every_question():
    notebook = json.loads(student_text(ROOT / "exercises" / "masters" / f"{NAME}.ipynb"))
    stubs = ["".join(cell["source"]) for cell in notebook["cells"] if tag(cell).get("solution")]
    assert len(stubs) == len(masters()[NAME].questions) and all("raise NotImplementedError()" in stub for stub in stubs)
