"""The one reader of the table of contents, `_toc.yml`: the order of reading, of import and of execution."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def entries(root: Path = ROOT) -> list[str]:
    """Return the files of a book's table of contents without `.ipynb`, home page first, in reading order."""
    import yaml

    found: list[str] = []

    def visit(node) -> None:
        if isinstance(node, dict):
            found.extend(node[key].removesuffix(".ipynb") for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections"):
                visit(node.get(key))
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    return found


def notebooks(root: Path = ROOT) -> list[str]:
    """Return those entries that are notebooks: `chapters/03_attention/01_causal`."""
    return [entry for entry in entries(root) if (root / f"{entry}.ipynb").exists()]


def exports(notebook: str) -> bool:
    """Whether a notebook has a module: all have one but those numbered 00, which only show."""
    return not Path(notebook).name.startswith("00_")


def chapters(root: Path = ROOT) -> list[str]:
    """Return the first pages of the chapters: `chapters/03_attention/index`."""
    return [entry for entry in entries(root) if re.fullmatch(r"chapters/\w+/index", entry)]


def module_of(notebook: str) -> str:
    """Return the module of a notebook, without `llmbook.`: `chapters/03_attention/01_causal` -> `attention.causal`."""
    return ".".join(re.sub(r"^\d+_", "", part) for part in notebook.removesuffix(".ipynb").split("/")[1:])
