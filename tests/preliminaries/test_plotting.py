"""The style of the figures: contrast on both pages, colors, and what the helpers insist on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.preliminaries.plotting import COLORS, INK, contrast, figure, label, luminance

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
