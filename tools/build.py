"""Render the book from the outputs stored in its notebooks.

    python -m tools.build html [jupyter-book flags]
    python -m tools.build pdf  [jupyter-book flags]

With `-W -n --keep-going` every warning is an error, as on every commit. The PDF also fails on a missing glyph, on code that
runs out of the margin, and if the code of an exported function or class is not in it. A build with these flags that has passed
is not repeated until something has changed. Builds wait for each other: HTML and PDF share Sphinx's doctrees.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html" / "index.html"
PDF = ROOT / "_build" / "latex" / "llmbook.pdf"
PACKAGES = ROOT / "theme" / "latex" / "packages.txt"
TOOLS = ("xelatex", "latexmk", "xindy")
STRICT = ["-W", "-n", "--keep-going"]
SOURCES = ("chapters", "llmbook", "api", "guide", "theme", "tools", "_config.yml", "_toc.yml", "index.md", "references.md",
           "references.bib", "constraints.txt")  # fmt: skip
MAX_OVERFULL_POINTS = 2.0  # what sticks out less than a millimeter is not seen


def jupyter_book(flags: list[str], log: Path) -> int:
    """Run jupyter-book with its output in `log`; return its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if "-W" in flags and "--all" not in flags:
        flags = [*flags, "--all"]  # a page that is up to date would not repeat its warnings
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(ROOT), *flags]
    with log.open("w", encoding="utf-8") as file:
        return subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=clean_environment()).returncode


def clean_environment() -> dict[str, str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning", "max_print_line": "1000"}
    environment.setdefault("SOURCE_DATE_EPOCH", "1767225600")  # pages and PDF carry no build date
    return environment


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def latex_problems(log: str) -> list[str]:
    """Return what a LaTeX log says about missing glyphs, boxes that leave the margin, and links without a target."""
    glyphs = sorted(set(re.findall(r"Missing character: There is no (.+?) (?:\(.*?\) )?in font (.+?)[/:!]", log)))
    found = [f"no glyph for {character} in {font}: see theme/latex/fonts.tex" for character, font in glyphs]
    for points, where in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) ([^\n]*)", log):
        if float(points) > MAX_OVERFULL_POINTS:
            found.append(f"a line is {float(points):.0f} pt too wide {where}: shorten it, or give it a place to break")
    for target in sorted(set(re.findall(r"(?:Hyper reference|Reference|Citation) [`']([^']+)' (?:on page \S+ )?undefined", log))):
        found.append(f"a link leads nowhere: {target}")
    return found


def definitions(module: Path) -> list[str]:
    """Return what a module defines at its top level: `def attention`, `class Linear`."""
    kinds = {ast.FunctionDef: "def", ast.AsyncFunctionDef: "def", ast.ClassDef: "class"}
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return [f"{kinds[type(node)]} {node.name}" for node in tree.body if type(node) in kinds]


# A line of highlighted code that defines a function or class at the top level, as Pygments writes it into a `.tex`.
PRINTED = re.compile(
    r"^(?:\\PYG\{k\}\{async\}\\PYG\{\+w\}\{ \})?\\PYG\{k\}\{(def|class)\}\\PYG\{\+w\}\{ \}"
    r"\\PYG\{n\+\w+\}\{((?:\w|\\PYGZus\{\})+)\}",
    flags=re.M,
)


def unprinted(package: Path, tex: str) -> list[str]:
    """Return the functions and classes of a package whose code is not in a `.tex`; the reference of the package does not count."""
    printed = Counter(" ".join(found).replace(r"\PYGZus{}", "_") for found in PRINTED.findall(tex))
    modules = [path for path in sorted(package.rglob("*.py")) if path.name != "__init__.py" and path.name != "_modidx.py"]
    wanted = [(definition, module) for module in modules for definition in definitions(module)]
    found, needed = [], Counter(definition for definition, _ in wanted)
    for definition, module in wanted:
        if printed[definition] < needed.pop(definition, 0):
            how = "in the PDF less often than in the package" if printed[definition] else "not in the PDF"
            found.append(f"the code of `{definition}` ({module.relative_to(package.parent)}) is {how}")
    return found


def report(log: Path, status: int) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace"))
    log.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    warnings = list(dict.fromkeys(line for line in lines if re.search(r"WARNING|ERROR|threw an exception", line)))
    for line in warnings[:60]:
        print(line.replace(f"{ROOT}/", ""), file=sys.stderr)
    if status:
        if not warnings:
            print("\n".join(lines[-40:]), file=sys.stderr)
        print(f"jupyter-book failed with {len(warnings)} warnings; its whole log is {log.relative_to(ROOT)}", file=sys.stderr)


def state_of_sources() -> str:
    """Return a digest of everything from which the pages are made."""
    digest = hashlib.sha256()
    for source in SOURCES:
        path = ROOT / source
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            if not {"__pycache__", ".ipynb_checkpoints"} & set(file.parts):
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def build(kind: str, flags: list[str]) -> int:
    """Build the HTML or the PDF, unless the same strict build has passed already; return an exit status."""
    import filelock

    target, passed = {"html": HTML, "pdf": PDF}[kind], ROOT / "_build" / f"{kind}.passed"
    passed.parent.mkdir(exist_ok=True)
    with filelock.FileLock(passed.with_name(".lock")):
        state = state_of_sources() + str(flags)
        if "-W" in flags and target.exists() and passed.exists() and passed.read_text() == state:
            print(f"Nothing has changed since {target.relative_to(ROOT)} was built without a warning")
            return 0
        passed.unlink(missing_ok=True)
        status = {"html": build_html, "pdf": build_pdf}[kind](flags)
        if status == 0 and "-W" in flags:
            passed.write_text(state)
        return status


def build_html(flags: list[str]) -> int:
    log = ROOT / "_build" / "html.log"
    status = jupyter_book(flags, log)
    report(log, status)
    if status == 0:
        print(f"The book is ready. Open {HTML.relative_to(ROOT)} in a browser:\n  {HTML.as_uri()}")
    return status


def build_pdf(flags: list[str]) -> int:
    if missing := missing_tools():
        packages = " ".join(PACKAGES.read_text(encoding="utf-8").split())
        print(f"The PDF needs {', '.join(missing)}, which this machine lacks. On Debian and Ubuntu:", file=sys.stderr)
        print(f"  apt-get install --no-install-recommends {packages}", file=sys.stderr)
        return 1
    log = ROOT / "_build" / "pdf.log"
    status = jupyter_book(["--builder", "pdflatex", *flags], log)
    report(log, status)
    if status:
        return status
    problems = latex_problems(PDF.with_suffix(".log").read_text(encoding="utf-8", errors="replace"))
    problems += unprinted(ROOT / "llmbook", PDF.with_suffix(".tex").read_text(encoding="utf-8"))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"The PDF is ready: {PDF.relative_to(ROOT)}")
    return 1 if problems and "-W" in flags else 0


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in ("html", "pdf"):
        print(__doc__, file=sys.stderr)
        return 2
    return build(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
