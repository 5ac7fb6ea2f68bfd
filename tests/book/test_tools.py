"""The tools behind `make book` and `make pdf`, where a mistake of theirs would hide a mistake of the book."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "theme" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_missing_glyph_code_in_the_margin_and_a_broken_link_are_reported():
    log = (
        "Missing character: There is no \u2603 (U+2603) in font DejaVu Sans Mono/OT:script=latn;language=dflt;!\n"
        "Overfull \\hbox (51.3pt too wide) in paragraph at lines 10--12\n"
        "Overfull \\hbox (0.4pt too wide) in paragraph at lines 20--22\n"
        "LaTeX Warning: Hyper reference `api/x::doc' on page 7 undefined on input line 9.\n"
    )
    assert tool("build").latex_problems(log) == [
        "no glyph for \u2603 in DejaVu Sans Mono: see theme/latex/fonts.tex",
        "a line is 51 pt too wide in paragraph at lines 10--12: shorten it, or give it a place to break",
        "a link leads nowhere: api/x::doc",
    ]


def test_make_pdf_names_the_packages_when_latex_is_missing(tmp_path):
    command = [sys.executable, ROOT / "theme" / "build.py", "pdf"]
    done = subprocess.run(command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
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
    split = tool("llmbook_theme").directives_of
    assert split("#| default_exp a.b") == ({"default_exp": "a.b"}, "")
    assert split("#| export\nx = 1\n#| y") == ({"export": ""}, "x = 1\n#| y")
    assert split("x = 1") == ({}, "x = 1")
