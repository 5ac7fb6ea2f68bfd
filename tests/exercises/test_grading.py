"""The grader against submissions that go wrong, and against those that cheat."""

import dataclasses
import inspect
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_exercise import RIGHT, points, submission

from exercises.grading import command, sandbox
from exercises.grading.grade import grade
from exercises.grading.masters import Check

ALL, FIRST, NONE = {"double": 2, "counter": 3}, {"double": 2, "counter": 0}, {"double": 0, "counter": 0}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans are adopted on Linux only")
landlocked = pytest.mark.skipif(sandbox.landlock_version() == 0, reason="this system has no Landlock")


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


def status(report, question):
    return next(q.status for q in report.questions if q.id == question)


def test_right_answers_earn_full_marks_and_stubs_none(graded):
    report = graded(submission(RIGHT))
    assert points(report) == ALL and report.points == report.max_points == 5 and report.cells == []
    assert points(graded(submission({}))) == NONE


@pytest.mark.parametrize("question", ["double", "counter"])
def test_an_answer_to_one_question_only_earns_that(graded, question):
    report = graded(submission({question: RIGHT[question]}))
    assert points(report) == {**NONE, question: ALL[question]}
    assert all(q.status == "not attempted" for q in report.questions if q.id != question)


WRONG = {
    "raises": ("raise RuntimeError('no')", "error"),
    "loops forever": ("while True: pass", "time limit"),
    "swallows KeyboardInterrupt": ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "time limit"),
    "holds the GIL": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "time limit"),
    "ignores signals": ("import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass", "time limit"),
    "leaves": ("import os\nos._exit(0)", "stopped"),
    "exits": ("raise SystemExit", "error"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "stopped"),
    "prints without end": ("while True: print('x' * 10000)", "time limit|error"),
    "allocates without end": ("x = []\nwhile True: x.append(bytearray(1 << 26))", "error|memory limit|stopped|time limit"),
    "allocates a tensor": ("import torch\nx = torch.ones(1 << 32)", "error|memory limit"),
    "is not Python": ("def def def", "error"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_cell_that_goes_wrong_costs_only_its_own_question(graded, name):
    source, expected = WRONG[name]
    before = processes()
    start = time.monotonic()
    report = graded(submission({"double": RIGHT["double"], "counter": source}))
    assert points(report) == FIRST
    assert len(report.cells) == 1 and report.cells[0]["status"] in expected.split("|"), report.cells
    assert time.monotonic() - start < 20 and len(processes() - before) <= 2  # multiprocessing's own two


def test_allocation_by_many_small_pieces_is_stopped(graded):
    report = graded(submission({**RIGHT, "counter": "x = [[]]\nwhile True: x.append([None] * 100000)"}), cell_seconds=20)
    assert points(report) == FIRST and report.cells[0]["status"] in ("error", "memory limit", "stopped", "time limit")


def test_a_function_that_goes_wrong_when_called_costs_only_its_own_question(graded):
    for body, expected in (
        ("while True: pass", "time limit"),
        ("import os; os._exit(3)", "stopped"),
        ("return torch.ones(1 << 32)", "memory limit"),
        ("raise KeyError('x')", "error"),
        ("return None", "failed"),
        ("return x", "failed"),
    ):
        report = graded(submission({**RIGHT, "double": f"def double(x):\n    {body}"}))
        assert points(report) == {"double": 0, "counter": 3}, body
        assert status(report, "double") == expected, (body, report.questions[0])


def test_the_notebook_has_a_time_limit_of_its_own(graded):
    start = time.monotonic()
    report = graded(submission(RIGHT, before=("while True: pass",) * 9), notebook_seconds=5)
    assert report.points < 5 and time.monotonic() - start < 15
    assert {q.status for q in report.questions} == {"time limit"}


@linux
def test_no_process_is_left_behind(graded):
    daemon = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)"
    )
    sandbox.adopt_orphans()
    before = processes()
    assert (
        points(
            graded(
                submission(RIGHT, before=(daemon, "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)"))
            )
        )
        == ALL
    )
    time.sleep(0.2)
    left = [psutil.Process(pid).cmdline() for pid in processes() - before]
    assert not [command for command in left if "sleep" in command] and len(left) <= 2, left


@linux
def test_what_the_grading_process_has_started_itself_is_let_live(graded):
    sandbox.adopt_orphans()
    ours = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])"])
    try:
        while not psutil.Process(ours.pid).children():
            time.sleep(0.05)
        (theirs,) = psutil.Process(ours.pid).children()
        daemon = "import subprocess\nsubprocess.Popen(['sleep', '601'], start_new_session=True)"
        assert points(graded(submission(RIGHT, before=(daemon,)))) == ALL
        assert ours.poll() is None and theirs.is_running()
        assert not [child for child in psutil.Process().children(recursive=True) if child.cmdline() == ["sleep", "601"]]
    finally:
        for child in psutil.Process(ours.pid).children():
            child.kill()
        ours.kill()
        ours.wait()


def test_a_fork_bomb_is_stopped(graded):
    bomb = (
        "import os, time\nfor _ in range(200):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)\ntime.sleep(60)"
    )
    report = graded(submission(RIGHT, before=(bomb,)))
    assert points(report) == ALL and report.cells[0]["status"] in ("stopped", "time limit")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        '{"cells": 3}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
        "\x00\x01",
        json.dumps({"nbformat": 99, "cells": []}),
    ],
)
def test_what_is_no_notebook_gets_a_row_that_says_so(graded, text):
    report = graded(text)
    assert report.points == 0 and ("not a Jupyter notebook" in report.error or "no cell of it belongs" in report.error)


def test_deleted_and_edited_checks_are_restored(graded):
    book = submission({"double": RIGHT["double"], "counter": "class Counter: pass"})
    for cell in book.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source = "pass"
    assert points(graded(book)) == FIRST
    book.cells = [cell for cell in book.cells if not cell.metadata.get("nbgrader", {}).get("grade")]
    assert points(graded(book)) == FIRST


def test_forged_points_and_outputs_gain_nothing(graded):
    book = submission({"double": "def double(x):\n    return x"})
    book.metadata["llmbook"] = {"exercise": "small", "points": 5}
    for cell in book.cells:
        cell.metadata.get("nbgrader", {}).update(points=1000, checksum="0")
        cell.outputs = [{"output_type": "stream", "name": "stdout", "text": "passed 5 of 5"}]
    assert points(graded(book)) == NONE
    for cell in book.cells:  # a check that claims to be an answer is not run as one
        cell.metadata.get("nbgrader", {}).update(grade=False, solution=True)
    assert points(graded(book)) == NONE


def test_a_notebook_without_metadata_is_graded_when_the_exercise_is_named(tmp_path, exercises):
    book = submission(RIGHT)
    for cell in book.cells:
        cell.metadata.clear()
    path = tmp_path / "bare.ipynb"
    path.write_text(json.dumps(book))
    assert "name the exercise" in grade(path, exercises).error
    assert grade(path, exercises, "small").points == 5


ATTACKS = {
    "strips asserts through IPython": "import ast\nclass Strip(ast.NodeTransformer):\n"
    "    def visit_Assert(self, node): return ast.Pass()\n"
    "get_ipython().ast_transformers.append(Strip())\n"
    "get_ipython().input_transformers_cleanup.append(lambda lines: [l for l in lines if 'assert' not in l])",
    "patches torch": "import torch\ntorch.allclose = torch.equal = torch.isclose = lambda *a, **k: True\n"
    "torch.Tensor.__eq__ = lambda a, b: True\n"
    "torch.Tensor.allclose = lambda *a, **k: True",
    "patches builtins": "import builtins\nclass Yes(Exception): pass\nbuiltins.AssertionError = Yes\n"
    "builtins.all = builtins.any = lambda x: True\n"
    "builtins.abs = lambda x: 0\nbuiltins.print = lambda *a: None",
    "equal to everything": "class Any:\n    def __eq__(self, other): return True\n"
    "    def __bool__(self): return True\n    def __getattr__(self, n): return self\n"
    "    def __call__(self, *a, **k): return self\ndef double(x): return Any()\nCounter = Any()",
    "defines the names that checks use": "class torch:\n    allclose = staticmethod(lambda *a: True)\n"
    "    ones = full = randn = Generator = staticmethod(lambda *a, **k: None)\n"
    "double = lambda x: x\ngrading_seed = 0",
    "reads the caller's frames": "import sys\ndef double(x):\n    f = sys._getframe()\n    while f:\n"
    "        f.f_globals['passed'] = True\n        f = f.f_back\n    return x",
    "forges answers on every descriptor": "import os, struct, json\n"
    "body = json.dumps({'value': {'dict': {'value': True, 'request': 3}}, 'blobs': []}).encode()\n"
    "body = struct.pack('<Q', len(body)) + body\nfor fd in range(3, 64):\n"
    "    try: os.write(fd, struct.pack('!i', len(body)) + body)\n    except OSError: pass",
    "collects what the grader may hold": "import gc\nfor o in gc.get_objects():\n"
    "    if type(o).__name__ in ('Worker', 'Connection'):\n        o.shell = None",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_tampering_gains_nothing(graded, name):
    stubs = {"double": "def double(x):\n    return x", "counter": "class Counter:\n    count = 0\n    def add(self, n): return n"}
    report = graded(submission(stubs, ATTACKS[name]))
    assert report.points == 0, [(q.id, q.points, [c.reason for c in q.checks]) for q in report.questions]


@pytest.mark.parametrize("name", [n for n in ATTACKS if n.startswith(("strips", "patches builtins"))])
def test_a_right_answer_beside_an_attack_is_still_graded(graded, name):
    assert points(graded(submission(RIGHT, before=(ATTACKS[name],)))) == ALL


def test_hidden_inputs_differ_from_run_to_run(graded):
    remember = (
        "seen = {}\ndef double(x):\n"
        "    return torch.full((3,), 2.0) if x.shape == (3,) else 2 * torch.randn(4, generator=torch.Generator().manual_seed(0))"
    )
    report = graded(submission({**RIGHT, "double": remember}))
    check = report.questions[0].checks[0]
    assert check.status == "failed" and check.hidden and check.reason == "every number counts"


@landlocked
def test_the_master_cannot_be_read_by_the_submission(graded, exercises, tmp_path):
    master = str(tmp_path / "masters" / "small.ipynb")
    look = (
        "import pathlib, subprocess\nfound = []\n"
        f"for path in [{master!r}, {__file__!r}, '/etc/shadow']:\n"
        "    try: found.append(open(path).read())\n    except OSError: pass\n"
        f"found.append(subprocess.run(['cat', {master!r}], capture_output=True, text=True).stdout)\n"
        "def double(x):\n    return 2 * x if not any(found) else x\n"
    )
    assert points(graded(submission({"double": look}))) == FIRST
    tops = [str(Path(__file__).resolve().parents[3]), str(Path.home()), str(tmp_path.parent)]
    walk = (
        "import os, sys\n"
        "python = (sys.prefix, sys.base_prefix)\n"
        f"n = [p for top in {tops} for p, d, f in os.walk(top)\n"
        "     if not p.startswith(python) and any(x.endswith('.ipynb') for x in f)]\n"
    )
    assert points(graded(submission({"double": walk + "def double(x):\n    return 2 * x if not n else x"}))) == FIRST


@landlocked
def test_the_grader_cannot_be_signaled_or_reached(graded):
    kill = (
        "import os, signal\ntry:\n    ok = os.getppid() == 0  # in namespaces of its own it has no parent\n"
        "    ok or os.kill(os.getppid(), signal.SIGKILL)\nexcept PermissionError:\n    ok = True\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        net = (
            f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=1)\n"
            "    ok = False\nexcept OSError:\n    pass\n"
        )
        assert points(graded(submission({"double": kill + net + "def double(x):\n    return 2 * x if ok else x"}))) == FIRST


def test_the_only_socket_of_a_submission_is_its_connection(graded):
    count = (
        "import os, stat\nn = 0\nfor f in range(3, 512):\n    try:\n        n += stat.S_ISSOCK(os.fstat(f).st_mode)\n"
        "    except OSError:\n        pass\n"
    )
    assert points(graded(submission({"double": count + "def double(x):\n    return 2 * x if n == 1 else x"}))) == FIRST


def test_llmbook_cannot_be_imported(graded):
    report = graded(submission({**RIGHT, "double": "from llmbook.attention.causal import softmax"}))
    assert points(report) == {"double": 0, "counter": 3} and "solutions" in report.cells[0]["reason"]


def test_gradients_flow_through_a_call(exercises, graded):
    source = (
        "x = torch.tensor([1.0, 2.0], requires_grad=True)\ndouble(x).sum().backward()\nassert x.grad.tolist() == [2, 2]\n"
        "j = torch.autograd.functional.jacobian(double, torch.ones(2))\nassert j.tolist() == [[2, 0], [0, 2]]"
    )
    small = exercises["small"]
    question = dataclasses.replace(small.questions[0], checks=(Check("g", 1.0, source),))
    exercises["small"] = dataclasses.replace(small, questions=(question, *small.questions[1:]))
    assert points(graded(submission(RIGHT))) == {"double": 1, "counter": 3}
    assert points(graded(submission({**RIGHT, "double": "def double(x):\n    return 2 * x.detach()"}))) == {
        "double": 0,
        "counter": 3,
    }


def test_only_the_named_question_is_graded(graded, exercises):
    wrong = {"double": "raise RuntimeError('this answer is not run')", "counter": RIGHT["counter"]}
    report = graded(submission(wrong, "import os"), only=("counter",))
    assert points(report) == {"counter": 3} and report.points == report.max_points == 3 and report.cells == []
    assert points(graded(submission(wrong), only=("double",))) == {"double": 0}
    assert points(graded(submission(RIGHT), only=("counter", "double"))) == ALL
    for unknown in (("counter", "treble"), "counter"):
        with pytest.raises(ValueError, match="small has no question"):
            graded(submission(RIGHT), only=unknown)


def test_checks_behind_the_first_failure_are_left_out_on_demand(graded, exercises):
    small = exercises["small"]
    first = small.questions[0]
    checks = (Check("a", 1.0, "assert double(1) == 2"), Check("b", 1.0, "assert double(1) == 3"), Check("c", 1.0, "pass"))
    question = dataclasses.replace(first, checks=checks)
    exercises["small"] = dataclasses.replace(small, questions=(question, *small.questions[1:]))
    whole, part = graded(submission(RIGHT)), graded(submission(RIGHT), first_failure=True)
    assert points(whole) == {"double": 2, "counter": 3} and points(part) == {"double": 1, "counter": 3}
    assert [check.id for check in part.questions[0].checks] == ["a", "b"] and part.max_points == whole.max_points == 6


def test_a_submission_cannot_choose_what_is_graded(graded, monkeypatch):
    """`only` and `first_failure` are arguments for tests: no file, no environment and no option of the command sets them."""
    claims = {"only": ["double"], "first_failure": True, "questions": ["double"], "max_points": 2}
    book = submission({"double": RIGHT["double"]}, "only = ('double',)\nfirst_failure = True")
    book.metadata.update(claims, llmbook={"exercise": "small", **claims})
    for cell in book.cells:
        cell.metadata.update(claims)
        cell.metadata.get("nbgrader", {}).update(claims)
    for name in claims:
        monkeypatch.setenv(name.upper(), "double")
    report = graded(book)
    assert points(report) == FIRST and report.points == 2 and report.max_points == 5
    assert all(len(question.checks) == 1 for question in report.questions)


def test_the_command_grades_everything():
    parameters = inspect.signature(grade).parameters
    kinds = {name: (parameters[name].kind, parameters[name].default) for name in ("only", "first_failure")}
    assert kinds == {"only": (inspect.Parameter.KEYWORD_ONLY, None), "first_failure": (inspect.Parameter.KEYWORD_ONLY, False)}
    assert not {"only", "first_failure"} & {field.name for field in dataclasses.fields(command._Options)}


def test_grading_depends_on_nothing_but_the_seed(graded, monkeypatch):
    draws = iter((1, 1, 2))
    monkeypatch.setattr("exercises.grading.grade.secrets.randbits", lambda bits: next(draws))
    echo = "def double(x):\n    if x.shape == (4,):\n        raise ValueError(str(x.tolist()))\n    return 2 * x"
    one, same, other = (graded(submission({"double": echo})).as_dict() | {"seconds": 0} for _ in range(3))
    assert one == same != other and "ValueError" in one["questions"][0]["checks"][0]["reason"]
