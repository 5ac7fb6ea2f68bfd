"""The tools behind `make book` and `make pdf`, where a mistake of theirs would hide a mistake of the book."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import build, portable, toc

ROOT = Path(__file__).resolve().parents[2]
THEME = ROOT / "theme"
sys.path.append(str(THEME))

from llmbook_theme import directives_of  # noqa: E402


def test_a_missing_glyph_code_in_the_margin_and_a_broken_link_are_reported():
    log = (
        "Missing character: There is no \u2603 (U+2603) in font DejaVu Sans Mono/OT:script=latn;language=dflt;!\n"
        "Overfull \\hbox (51.3pt too wide) in paragraph at lines 10--12\n"
        "Overfull \\hbox (0.4pt too wide) in paragraph at lines 20--22\n"
        "LaTeX Warning: Hyper reference `api/x::doc' on page 7 undefined on input line 9.\n"
    )
    assert build.latex_problems(log) == [
        "no glyph for \u2603 in DejaVu Sans Mono: see theme/latex/fonts.tex",
        "a line is 51 pt too wide in paragraph at lines 10--12: shorten it, or give it a place to break",
        "a link leads nowhere: api/x::doc",
    ]


@pytest.fixture(scope="module")
def small_tex(tmp_path_factory) -> str:
    """A book of one notebook, all of whose cells are folded in the HTML, as the `.tex` that the theme makes of it."""
    root = tmp_path_factory.mktemp("book")
    cells = []
    for tag in ("hide-input", "hide-output", "hide-cell"):
        kind, name = tag.split("-")
        source = f"def {kind}_{name}():\n    return 1\nprint('{kind} and {name}')"
        output = {"name": "stdout", "output_type": "stream", "text": f"printed under {tag}"}
        cells.append(
            {
                "cell_type": "code",
                "id": name,
                "execution_count": 1,
                "metadata": {"tags": [tag]},
                "outputs": [output],
                "source": source,
            }
        )
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Folded"}
    notebook = {"cells": [title, *cells], "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    (root / "folded.ipynb").write_text(json.dumps(notebook))
    (root / "index.md").write_text("# Home")
    (root / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: folded")
    config = "title: Small\nexecute: {execute_notebooks: 'off'}\nlatex: {latex_documents: {targetname: small.tex}}\n"
    (root / "_config.yml").write_text(config + f"sphinx: {{local_extensions: {{llmbook_theme: '{THEME}'}}}}\n")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", root, "--builder", "latex"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (root / "_build" / "latex" / "small.tex").read_text()


def test_the_pdf_shows_what_the_html_folds(small_tex):
    plain = re.sub(r"\\PYG\{[^}]*\}\{([^{}]*)\}", r"\1", small_tex.replace(r"\PYGZus{}", "_").replace(r"\PYGZhy{}", "-"))
    for tag in ("hide-input", "hide-output", "hide-cell"):
        assert f"def {tag.replace('-', '_')}():" in plain and f"printed under {tag}" in plain, tag


def test_code_that_is_missing_in_the_pdf_is_reported(small_tex, tmp_path):
    (tmp_path / "llmbook" / "part").mkdir(parents=True)
    module = tmp_path / "llmbook" / "part" / "folded.py"
    module.write_text("def hide_input(): pass\ndef hide_output(): pass\nclass Unseen:\n    def hide_cell(self): pass\n")
    module.with_name("other.py").write_text("def hide_input(): pass\nasync def _helper(): pass\n")
    assert build.unprinted(tmp_path / "llmbook", small_tex) == [
        "the code of `def hide_input` (llmbook/part/folded.py) is in the PDF less often than in the package",
        "the code of `class Unseen` (llmbook/part/folded.py) is not in the PDF",
        "the code of `def _helper` (llmbook/part/other.py) is not in the PDF",
    ]


def test_make_pdf_names_the_packages_when_latex_is_missing(tmp_path):
    command = [sys.executable, "-m", "tools.build", "pdf"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1 and "apt-get install" in done.stderr and "texlive-xetex" in done.stderr


@pytest.mark.parametrize("version", ["3.10.2", None])
def test_make_refuses_a_python_that_is_too_old_or_missing(tmp_path, version):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "python"
    if version:
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit 0\nexit 1\n')
        python.chmod(0o755)
    done = subprocess.run(["make", "book", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "Python 3.11 or newer" in done.stderr and not (tmp_path / ".venv").exists()
    assert (version or "not found") in done.stderr


def test_directives_are_taken_from_the_top_of_a_cell_only():
    assert directives_of("#| default_exp a.b") == ({"default_exp": "a.b"}, "")
    assert directives_of("#| export\nx = 1\n#| y") == ({"export": ""}, "x = 1\n#| y")
    assert directives_of("x = 1") == ({}, "x = 1")


def test_the_table_of_contents_is_read_in_its_order(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "root: index\nparts:\n  - chapters:\n      - file: chapters/01_a/index\n        sections:\n"
        "          - file: chapters/01_a/02_b.ipynb\n          - file: chapters/01_a/01_c\n  - chapters:\n      - file: end\n"
    )
    (tmp_path / "chapters" / "01_a").mkdir(parents=True)
    (tmp_path / "chapters" / "01_a" / "02_b.ipynb").touch()
    assert toc.entries(tmp_path) == ["index", "chapters/01_a/index", "chapters/01_a/02_b", "chapters/01_a/01_c", "end"]
    assert toc.notebooks(tmp_path) == ["chapters/01_a/02_b"] and toc.chapters(tmp_path) == ["chapters/01_a/index"]
    assert toc.module_of("chapters/01_a/02_b") == toc.module_of("chapters/01_a/02_b.ipynb") == "a.b"


def test_an_arithmetic_that_is_not_another_one_is_refused():
    usual = {"capability": "AVX512", "threads": 2, "digests": {"torch @": "1", "numpy exp": "2"}}
    other = {"capability": "DEFAULT", "threads": 1, "digests": {"torch @": "3", "numpy exp": "4"}}
    assert portable.difference(usual, other) == (
        "torch computes with DEFAULT on 1 thread, usually with AVX512; other last bits in torch @, numpy exp",
        True,
    )
    text, enough = portable.difference(usual, {**other, "digests": usual["digests"] | {"torch @": "3"}})
    assert text.endswith("other last bits in torch @, but the usual ones in numpy exp") and not enough
    text, enough = portable.difference({**usual, "capability": "DEFAULT"}, {**other, "digests": usual["digests"]})
    assert text.endswith("this machine has no other arithmetic") and enough


def test_a_strict_build_that_has_passed_is_not_repeated_until_something_changes(tmp_path, monkeypatch):
    built, target = [], tmp_path / "_build" / "index.html"
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "HTML", target)

    def build_html(flags: list[str]) -> int:
        built.append(flags)
        target.write_text("page")
        return int((tmp_path / "index.md").read_text() == "broken")

    monkeypatch.setattr(build, "build_html", build_html)
    steps = [("a", True, 1), ("a", True, 1), ("b", True, 2), ("broken", True, 3), ("broken", True, 4), ("a", False, 5),
             ("a", False, 6), ("a", True, 7), ("a", True, 7), ("a", False, 8), ("a", True, 9)]  # fmt: skip
    for text, strict, count in steps:
        (tmp_path / "index.md").write_text(text)
        status = build.build("html", build.STRICT if strict else [])
        assert (status, len(built)) == (int(text == "broken"), count), (text, strict)
    target.unlink()
    assert build.build("html", build.STRICT) == 0 and len(built) == 10
