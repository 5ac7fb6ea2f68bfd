"""What reaches a submission, what comes back, and what must not cost a right answer its points."""

import dataclasses

import pytest
from small_exercise import RIGHT, notebook, points, submission

from exercises.grading.masters import Check

ALL = {"double": 2, "counter": 3}
IN_PLACE = {
    "a tensor": ("double(torch.ones(3))", "x.mul_(2)", "argument 1 (x)"),
    "a keyword": ("double(x=torch.ones(3))", "x[0] = 2", "the argument x"),
    "whether it learns": ("double(torch.ones(3))", "x.requires_grad_()", "argument 1 (x)"),
    "a transposed tensor": ("double(torch.ones(3, 2).T)", "x.relu_().zero_()", "argument 1 (x)"),
    "a list": ("double([3, 1])", "x.sort()", "argument 1 (x[0])"),
    "a list in a dictionary": ("double({'ids': [1]})", "x['ids'].append(2)", "argument 1 (x['ids'])"),
    "a set": ("double({1, 2})", "x.add(3)", "argument 1 (x)"),
    "an array": ("double(torch.ones(3).numpy())", "x += 1", "argument 1 (x)"),
    "then differentiates": ("double(torch.ones(3), torch.ones(3, requires_grad=True))", "x.add_(1)", "argument 1 (x)"),
}


def with_check(exercises, source, arguments_may_change=False):
    """Let the first question have this check instead of its own."""
    small = exercises["small"]
    question = dataclasses.replace(small.questions[0], checks=(Check("double-check", 2.0, source, arguments_may_change),))
    exercises["small"] = dataclasses.replace(small, questions=(question, *small.questions[1:]))


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_changed_argument_fails_the_check(exercises, graded, name):
    call, body, named = IN_PLACE[name]
    with_check(exercises, call)
    source = f"def double(x, y=0):\n    {body}\n    return y * 1"
    check = graded(submission({**RIGHT, "double": source})).questions[0].checks[0]
    assert check.status == "failed" and f"double changes {named} in place" in check.reason
    with_check(exercises, call, arguments_may_change=True)
    assert points(graded(submission({**RIGHT, "double": source}))) == ALL


def test_a_change_is_seen_in_calls_of_methods_and_of_what_was_returned(exercises, graded):
    with_check(exercises, "double(1).append([1, 2])")
    source = "class Log:\n    def append(self, items):\n        items.pop()\ndef double(x):\n    return Log()"
    check = graded(submission({**RIGHT, "double": source})).questions[0].checks[0]
    assert "the call changes argument 1 (items) in place" in check.reason


def test_what_a_function_may_change_is_let_pass(exercises, graded):
    with_check(exercises, "x = torch.ones(3)\nassert torch.equal(double(x), 2 * x) and double([1]) == [1, 1]")
    for source in (
        "def double(x):\n    x = x + x\n    return x",  # a new name for a new value
        "seen = []\ndef double(x):\n    seen.append(x)\n    return x + x",
        "def double(x):\n    x = x.clone().mul_(2) if hasattr(x, 'clone') else [*x, *x]\n    return x",
    ):
        assert points(graded(submission({**RIGHT, "double": source}))) == ALL, source


def test_a_tag_of_the_check_allows_changes(tmp_path):
    from exercises.grading.masters import read_master

    book = notebook([("a", "solution", "def a(x): pass"), ("a-1", 1, "a([])"), ("a-2", 1, "a([])")])
    book.cells[2].metadata["tags"] = ["changes-arguments"]
    path = tmp_path / "tagged.ipynb"
    path.write_text(__import__("json").dumps(book))
    assert [check.arguments_may_change for check in read_master(path).questions[0].checks] == [False, True]


@pytest.mark.parametrize(
    "made",
    ["torch.ones(2, 3).T", "torch.ones(4, 5)[:, ::2]", "torch.ones(3, 1).expand(3, 5)", "torch.ones(9)[1:].view(2, 4)[:, 1:3]"],
)
def test_an_input_reaches_the_submission_as_it_lies_in_memory(exercises, graded, made):
    with_check(exercises, f"x = {made}\nassert double(x) == [*x.stride(), x.storage_offset(), int(x.is_contiguous())], 'other'")
    look = "def double(x):\n    return [*x.stride(), x.storage_offset(), int(x.is_contiguous())]"
    assert points(graded(submission({**RIGHT, "double": look}))) == ALL
    with_check(exercises, f"x = {made}\nassert torch.equal(double(x), x + x)")
    flat = "def double(x):\n    return (x.view(-1) * 2).view(x.shape)"  # which works for contiguous inputs only
    assert points(graded(submission({**RIGHT, "double": flat}))) == {"double": 0, "counter": 3}
    assert points(graded(submission(RIGHT))) == ALL


RETURNS = {
    "a named tuple": "import collections\nT = collections.namedtuple('T', 'a b')\ndef double(x): return T(2, [x])",
    "a NamedTuple": "from typing import NamedTuple\nclass T(NamedTuple):\n    a: int\n    b: list\ndef double(x): return T(2, [x])",
    "a subclass of tuple": "class T(tuple): pass\ndef double(x): return T((2, [x]))",
    "numbers of NumPy": "import numpy as np\ndef double(x): return (np.int64(2), [np.int32(x)])",
    "an IntEnum": "import enum\nclass E(enum.IntEnum):\n    TWO = 2\ndef double(x): return (E.TWO, [x])",
    "a subclass of list": "class L(list): pass\ndef double(x): return 2, L([x])",
}


@pytest.mark.parametrize("name", RETURNS)
def test_relatives_of_plain_types_are_as_good(exercises, graded, name):
    source = (
        "got = double(1)\nassert type(got) is tuple and got == (2, [1]) and type(got[0]) is int and type(got[1]) is list, repr(got)"
    )
    with_check(exercises, source)
    report = graded(submission({**RIGHT, "double": RETURNS[name]}))
    assert points(report) == ALL, report.questions[0].checks


@pytest.mark.parametrize("made", ["OrderedDict(a=1)", "defaultdict(int, a=1)", "Counter('a')", "UserDict(a=1).data"])
def test_relatives_of_dictionaries_are_as_good(exercises, graded, made):
    with_check(exercises, "assert double(1) == {'a': 1} and double(2)['a'] == 1 and type(double(3)) is dict")
    assert points(graded(submission({**RIGHT, "double": f"from collections import *\ndef double(x): return {made}"}))) == ALL


RAISES = {
    "the asked one": "raise ValueError('no')",
    "a subclass": "class Mine(ValueError): pass\n    raise Mine('no')",
    "a subclass with arguments of its own": "class Mine(ValueError):\n        def __init__(self, a, b): super().__init__(a + b)\n"
    "    raise Mine('n', 'o')",
    "a subclass of two": "class Mine(KeyError, ValueError): pass\n    raise Mine('no')",
    "a subclass of two that do not go together": "class Mine(ValueError, OSError): pass\n    raise Mine('no')",
    "UnicodeDecodeError": "b'\\xff'.decode()",
    "UnicodeEncodeError": "'\\ud800'.encode()",
    "JSONDecodeError": "import json; json.loads('no')",
    "named like a builtin": "class KeyError(ValueError): pass\n    raise KeyError('no')",
    "without a text": "class Mine(ValueError):\n        def __str__(self): raise RuntimeError\n    raise Mine",
}


@pytest.mark.parametrize("name", RAISES)
def test_an_error_of_the_asked_type_or_of_one_derived_from_it_is_caught(exercises, graded, name):
    with_check(exercises, "try:\n    double(1)\n    assert False, 'nothing raised'\nexcept ValueError:\n    pass")
    report = graded(submission({**RIGHT, "double": f"def double(x):\n    {RAISES[name]}"}))
    assert points(report) == ALL, report.questions[0].checks


@pytest.mark.parametrize(
    "raised", ["TypeError('no')", "ExceptionGroup('no', [ValueError()])", "Exception('no')", "SystemExit", "KeyboardInterrupt"]
)
def test_an_error_of_another_type_is_not(exercises, graded, raised):
    with_check(exercises, "try:\n    double(1)\nexcept ValueError:\n    pass")
    report = graded(submission({**RIGHT, "double": f"def double(x):\n    raise {raised}"}))
    assert points(report) == {"double": 0, "counter": 3} and report.questions[0].status == "error"


@pytest.mark.parametrize(
    "first_lines",
    [
        "!pip install numpy",
        "!exit 1",
        "files = !ls\n",
        "%pip install numpy",
        "%matplotlib inline",
        "%load_ext autoreload\n%autoreload 2",
        "%cd /nowhere",
        "%no_such_magic 3",
        "%%time",
        "%%capture",
        "%%no_such_magic --with options",
        "%config InlineBackend.figure_format = 'retina'",
        "import math\nmath.sqrt?",
        "# a comment\n\n%env A=1",
    ],
)
def test_a_cell_with_a_command_of_the_notebook_is_still_an_answer(graded, first_lines):
    report = graded(submission({**RIGHT, "double": f"{first_lines}\n{RIGHT['double']}"}))
    assert points(report) == ALL and report.cells == [], report.cells


STUB = "def {}(x):\n    raise NotImplementedError()"
NAMES = {
    "a helper named like a later question's function, which is a stub": (
        {"double": "def Counter(x):\n    return x + x\ndef double(x):\n    return Counter(x)", "counter": STUB.format("Counter")},
        {"double": 2, "counter": 0},
    ),
    "a helper named like a later question's function": (
        {"double": "def Counter(x):\n    return x + x\ndef double(x):\n    return Counter(x)", "counter": RIGHT["counter"]},
        ALL,
    ),
    "a helper named like an earlier question's function": (
        {"double": RIGHT["double"], "counter": f"def double(x):\n    return 1\n{RIGHT['counter']}"},
        ALL,
    ),
    "a helper that another question defines differently": (
        {
            "double": "def _twice(x):\n    return 2 * x\ndef double(x):\n    return _twice(x)",
            "counter": f"def _twice(x):\n    return None\n{RIGHT['counter']}",
        },
        ALL,
    ),
    "a helper that a later cell replaces by a number": (
        {"double": "two = 2\ndef double(x):\n    return two * x"},
        {**ALL, "counter": 0},
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_one_question_cost_no_other(graded, name):
    answers, expected = NAMES[name]
    report = graded(submission(answers, "two = double = None"))
    assert points(report) == expected, report.questions


def test_an_answer_at_the_end_counts(graded):
    wrong = {**RIGHT, "double": "def double(x):\n    return x"}
    assert points(graded(submission(wrong, RIGHT["double"]))) == ALL
    assert points(graded(submission({"counter": RIGHT["counter"]}, RIGHT["double"]))) == ALL
    later = {**RIGHT, "double": "def double(x):\n    return factor * x"}  # which nothing defines yet
    assert points(graded(submission(later, "factor = 2"))) == ALL
    assert points(graded(submission({**RIGHT, "double": "del Counter"}))) == {"double": 0, "counter": 3}


def test_checks_are_found_by_their_text_where_their_names_are_gone(graded, exercises):
    """A helper of the first question is named like the second's function, in a notebook whose metadata an editor has removed."""
    answers, _ = NAMES["a helper named like a later question's function"]
    book = submission(answers)
    for cell in book.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            check = next(c for q in exercises["small"].questions for c in q.checks if c.id == cell.metadata["nbgrader"]["grade_id"])
            cell.source = check.visible
            cell.metadata.clear()
    assert points(graded(book)) == ALL


def test_the_end_is_tried_only_where_names_mean_something_else(graded, monkeypatch):
    from exercises.grading import grade

    ran = []
    real = grade._run_check
    monkeypatch.setattr(grade, "_run_check", lambda check, *rest: ran.append(check.id) or real(check, *rest))
    wrong = {**RIGHT, "double": "def double(x):\n    return x"}
    graded(submission(wrong, "a = 1"))
    assert ran == ["double-check", "counter-check"]
    graded(submission(wrong, "double = 1"))
    assert ran[2:] == ["double-check", "counter-check", "double-check"]
