"""Figures and tables: contrast on both pages, colors, files that repeat, and what the helpers insist on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.preliminaries.plotting import COLORS, INK, _pdf, _svg, contrast, figure, label, luminance, table

PAGES = ("#ffffff", "#121212")
colors = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


@pytest.fixture
def drawing():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        yield plt
    plt.close("all")


@settings(deadline=None)
@given(colors, colors)
def test_contrast_is_symmetric_and_bounded(a, b):
    assert contrast(a, b) == contrast(b, a)
    assert 1 <= contrast(a, b) <= 21.0001 and contrast(a, a) == 1


def test_contrast_of_published_examples():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # WebAIM and W3C name these as the limits of AA for text and for large text on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#949494", "#ffffff") == pytest.approx(3.03, abs=0.01)
    assert luminance("#ff0000") == pytest.approx(0.2126)


@pytest.mark.parametrize("color", [*COLORS, INK])
@pytest.mark.parametrize("page", PAGES)
def test_every_color_reads_on_both_pages(color, page):
    assert contrast(color, page) >= 3


@pytest.mark.parametrize("color", ["red", "#fff", "", "#1234567", "#gggggg"])
def test_other_notations_are_refused(color):
    with pytest.raises(ValueError):
        luminance(color)


def test_figures_are_transparent_and_follow_the_style(drawing):
    fig, ax = figure()
    ax.plot([0, 1], [0, 1], label="line")
    label(ax, "step", "loss (nats)", title="A title")
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())
    assert pixels[0, 0, 3] == 0, "the corner of the figure is not transparent"
    assert ax.lines[0].get_color() == COLORS[0]
    assert ax.xaxis.label.get_color() == INK and ax.get_ylabel() == "loss (nats)" and ax.get_title(loc="left") == "A title"
    assert ax.legend().get_texts()[0].get_color() == INK


def test_rows_and_columns_give_an_array_of_axes(drawing):
    fig, axes = figure(6, 4, rows=2, columns=3)
    assert axes.shape == (2, 3) and tuple(fig.get_size_inches()) == (6, 4)


@pytest.mark.parametrize("size", [(0, 1), (1, -1), (float("nan"), 1), (1, 1, 0), (1, 1, 1, 0)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="positive"):
        figure(*size)


def test_both_axes_need_a_name(drawing):
    _, ax = figure()
    for x, y in (("", "loss"), ("step", "  ")):
        with pytest.raises(ValueError, match="unit"):
            label(ax, x, y)


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys, llmbook.preliminaries.plotting; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ---------------------------------------------------------------- drawings


def clouded(plt, points: int, **look):
    fig, ax = figure()
    ax.plot([i % 141 for i in range(points)], [i % 211 for i in range(points)], **look)
    return fig


def test_the_same_figure_is_the_same_file(drawing):
    def draw():
        fig, ax = figure()
        ax.plot([0, 1, 2], [1, 3, 2], "o-", label="line")
        ax.legend()
        label(ax, "step", "loss (nats)")
        return _svg(fig), _pdf(fig)

    first, second = draw(), draw()
    assert first == second and first[1].startswith(b"%PDF-")
    tree = ElementTree.fromstring(first[0])
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<dc:date>" not in first[0] and b"CreationDate" not in first[1] and "<text" not in first[0]


@pytest.mark.parametrize(
    "points, look, pixels",
    [(300, {"marker": "o"}, False), (3000, {"marker": "o"}, True), (3000, {}, False), (30_000, {}, True)],
)
def test_very_many_marks_are_stored_as_pixels(drawing, points, look, pixels):
    assert ("<image" in _svg(clouded(drawing, points, **look))) == pixels


def test_scatter_and_mesh_count_their_marks(drawing):
    for count, pixels in ((10, False), (60, True)):
        fig, (left, right) = figure(columns=2)
        left.scatter(*np.indices((count, count)))
        right.pcolormesh(np.indices((count, count)).sum(0))
        _svg(fig)
        assert [ax.collections[0].get_rasterized() for ax in (left, right)] == [pixels, pixels]


def test_a_notebook_stores_drawings_and_no_pixels():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    code = "from llmbook.preliminaries.plotting import figure\nimport matplotlib.pyplot as plt\n"
    cells = [code, "fig, ax = figure()\nax.plot([0, 1])\nplt.show()", "fig, ax = figure()"]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    nbclient.NotebookClient(nb, kernel_name="python3", extra_arguments=["--log-level=40"]).execute(env=environment)
    for cell in nb.cells[1:]:
        assert [set(output["data"]) for output in cell.outputs if "image/svg+xml" in output.get("data", {})] == [
            {"image/svg+xml", "application/pdf", "text/plain"}
        ]
        assert not any("image/png" in output.get("data", {}) for output in cell.outputs)


# ---------------------------------------------------------------- tables


class Cells(HTMLParser):
    """The cells of an HTML table, row by row, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.rows, self.sides = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.sides.append(dict(attributes)["style"])

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


line_text = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=12).map(str.strip)


@settings(deadline=None)
@given(st.lists(st.lists(line_text, min_size=3, max_size=3), min_size=1, max_size=4))
def test_html_says_what_the_cells_say(lines):
    parser = Cells()
    parser.feed(table(lines[0], lines[1:])._repr_html_())
    assert [[cell.strip() for cell in row] for row in parser.rows] == lines


def test_latex_prints_special_characters_as_they_are(tmp_path):
    if not shutil.which("xelatex") or not shutil.which("pdftotext"):
        pytest.skip("needs XeLaTeX and pdftotext")
    cells = ["a_b", "50 %", "x^2 ~ y", "{$ \\ &}", "a--b <c> 'd' \"e\" `f`", "#1"]
    text = table(cells, [cells])._repr_latex_()
    head = (
        "\\documentclass[landscape]{article}\\usepackage{fontspec}\\usepackage{textcomp}\\pagestyle{empty}\\begin{document}\\tiny\n"
    )
    (tmp_path / "t.tex").write_text(f"{head}{text}\n\\end{{document}}\n")
    subprocess.run(["xelatex", "-interaction=batchmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)
    out = subprocess.run(["pdftotext", "-layout", "t.pdf", "-"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    for cell in cells:
        assert out.count(cell) == 2, (cell, out)


def test_text_of_a_table_is_aligned():
    shown = repr(table(["name", "ms"], [["loop", "12.30"], ["tiles", 5]]))
    assert shown == "name      ms\n-----  -----\nloop   12.30\ntiles      5"


@pytest.mark.parametrize(
    "cells, side",
    [
        ([1, 2.5], "r"),
        (["-1", "+2", "3 %", "", "–"], "r"),
        (["1.2 to 1.4", ".5"], "r"),
        (["a", 1], "l"),
        ([], "l"),
        ([None], "l"),
    ],
)
def test_columns_of_numbers_stand_to_the_right(cells, side):
    assert table(["x"], [[cell] for cell in cells]).align == side
    assert table(["x"], [[cell] for cell in cells], align="c").align == "c"


@pytest.mark.parametrize(
    "header, rows, align, message",
    [
        ([], [], None, "columns"),
        (["a", "b"], [[1]], None, "does not fit"),
        (["a"], [[1, 2]], None, "does not fit"),
        (["a"], [["two\nlines"]], None, "one line"),
        (["a"], [[1]], "lr", "align"),
        (["a"], [[1]], "x", "align"),
        (["a"], [[1]], "", "align"),
    ],
)
def test_impossible_tables_are_refused(header, rows, align, message):
    with pytest.raises(ValueError, match=message):
        table(header, rows, align)
