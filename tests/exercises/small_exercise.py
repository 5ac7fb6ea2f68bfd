"""A small exercise of two questions, and notebooks that answer it."""

import nbformat

CELLS = [
    ("setup", "locked", "import math\nimport torch\ngrading_seed = 0"),
    ("double", "solution", "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"),
    (
        "double-check",
        2,
        "assert torch.allclose(double(torch.ones(3)), torch.full((3,), 2.0)), 'twice one is two'\n"
        "### BEGIN HIDDEN TESTS\nx = torch.randn(4, generator=torch.Generator().manual_seed(grading_seed))\n"
        "assert torch.allclose(double(x), x + x), 'every number counts'\n### END HIDDEN TESTS",
    ),
    (
        "counter",
        "solution",
        "class Counter:\n    ### BEGIN SOLUTION\n    def __init__(self):\n        self.count = 0\n\n"
        "    def add(self, n):\n        self.count += n\n        return self.count\n    ### END SOLUTION",
    ),
    (
        "counter-check",
        3,
        "c = Counter()\nc.add(2)\nassert c.add(3) == 5 and c.count == 5, 'two and three are five'\n"
        "### BEGIN HIDDEN TESTS\nassert Counter().count == 0\n### END HIDDEN TESTS",
    ),
]
RIGHT = {
    "double": "def double(x):\n    return 2 * x",
    "counter": "class Counter:\n    def __init__(self):\n        self.count = 0\n    def add(self, n):\n"
    "        self.count += n\n        return self.count",
}


def notebook(cells):
    book = nbformat.v4.new_notebook()
    for grade_id, kind, source in cells:
        cell = nbformat.v4.new_code_cell(source, id=grade_id or None) if grade_id else nbformat.v4.new_code_cell(source)
        if grade_id:
            cell.metadata["nbgrader"] = {
                "grade_id": grade_id,
                "grade": isinstance(kind, int),
                "solution": kind == "solution",
                "locked": kind != "solution",
                "task": False,
                "schema_version": 3,
                "points": kind if isinstance(kind, int) else 0,
            }
        book.cells.append(cell)
    return book


def submission(answers: dict[str, str], *more: str, before: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    """A notebook with these answers; `more` are cells of the author's own at the end, `before` such at the start."""
    cells = [(None, "", source) for source in before]
    cells += [
        (i, kind, answers.get(i, "raise NotImplementedError()") if kind == "solution" else source) for i, kind, source in CELLS
    ]
    return notebook(cells + [(None, "", source) for source in more])


def points(report) -> dict[str, float]:
    return {question.id: question.points for question in report.questions}
