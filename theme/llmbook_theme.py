"""The Sphinx extension that makes the book's pages out of its notebooks.

- MathJax is served from the page's own folder, so that formulas are typeset without a network.
- The cell that only names a notebook's module is dropped; an exported cell carries a badge with the module's name, which
  in HTML links to a page with that module's source.
- The LaTeX preamble and title page of `theme/latex/` are put in place for the PDF.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
THEME = Path(__file__).resolve().parent
ROOT = THEME.parent
MATHJAX = "mathjax/es5/tex-mml-chtml.js"
# What tex-mml-chtml.js may load later: fonts, TeX extensions, the menu, accessibility.
MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml", "input/tex/extensions", "ui", "a11y", "sre")
MODULE = "llmbook-module"  # the type of the badges' references
DIRECTIVE = re.compile(r"^#\|\s*(\w+):?\s*(.*)$")


# ---------------------------------------------------------------- MathJax without a network


def mathjax_folder() -> Path:
    spec = importlib.util.find_spec("mathjax")
    if spec is None or spec.origin is None:
        raise RuntimeError("MathJax is missing: pip install django-static-mathjax (it is part of the `book` extra)")
    return Path(spec.origin).parent / "static" / "mathjax" / "es5"


def copy_mathjax(app: Sphinx) -> None:
    """Copy the parts of MathJax that the pages use into the output's static folder, once."""
    if app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax" / "es5"
    for part in MATHJAX_PARTS:
        if (target / part).exists():
            continue
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        else:
            shutil.copy2(source / part, target / part)


def plain_mathjax_address(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Keep Sphinx from appending `?v=checksum` to MathJax's address: MathJax would take it for part of its own folder."""
    if "js_tag" not in context:
        return
    sphinx_tag, pathto = context["js_tag"], context["pathto"]

    def js_tag(script) -> str:
        filename = str(getattr(script, "filename", script))
        if filename.endswith(MATHJAX):
            return f'<script async="async" src="{pathto(filename, resource=True)}"></script>'
        return sphinx_tag(script)

    context["js_tag"] = js_tag


# ---------------------------------------------------------------- notebook cells


def directives_of(source: str) -> tuple[dict[str, str], str]:
    """Split a cell's source into its leading `#|` directives and the code that follows."""
    lines, found = source.splitlines(), {}
    while lines and (match := DIRECTIVE.match(lines[0])):
        found[match[1]] = match[2].strip()
        lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def badge(module: str, docname: str) -> nodes.Node:
    """Return the small line over an exported cell that names the module into which it goes."""
    name = nodes.literal(module, module)
    # Resolved per builder: HTML and PDF share the doctrees.
    target = addnodes.pending_xref("", name, refdomain="", reftype=MODULE, reftarget=module, refdoc=docname, refexplicit=True)
    return nodes.container("", nodes.paragraph("", "", nodes.Text("exported to "), target), classes=["llmbook-export"])


def dress_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Drop `default_exp` cells and replace `#| export` lines by badges."""
    module = None
    for cell in list(doctree.findall(nodes.container)):
        if cell.get("nb_element") != "cell_code":
            continue
        block = next(cell.findall(nodes.literal_block), None)
        if block is None:
            continue
        directives, code = directives_of(block.astext())
        if not directives:
            continue
        module = directives.get("default_exp", module)
        if not code:
            cell.parent.remove(cell)
            continue
        block.children = [nodes.Text(code)]
        block.rawsource = code
        if "export" in directives and module:
            position = cell.parent.index(cell)
            cell["classes"].append("llmbook-exported")
            cell.parent.insert(position, badge(f"llmbook.{module}", app.env.docname))


def module_file(module: str) -> str:
    return module.replace(".", "/") + ".py"


def resolve_module(app: Sphinx, env, node, contnode):
    """Turn a badge's reference into a link to the module's source page, or into plain text outside HTML."""
    if node.get("reftype") != MODULE:
        return None
    if app.builder.name != "html" or not (ROOT / module_file(node["reftarget"])).exists():
        return contnode
    target = "_source/" + module_file(node["reftarget"]).removesuffix(".py")
    return nodes.reference("", "", contnode, internal=True, refuri=app.builder.get_relative_uri(node["refdoc"], target))


def source_pages(app: Sphinx):
    """Yield one page per module of llmbook with its highlighted source."""
    for path in sorted((ROOT / "llmbook").rglob("*.py")):
        if path.name.startswith("_"):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        code = app.builder.highlighter.highlight_block(path.read_text(encoding="utf-8"), "python", linenos=False)
        intro = "<p>Generated from the notebook named in its first lines; edit the notebook, never this file.</p>"
        body = f"<h1><code>{module}</code></h1>{intro}{code}"
        yield "_source/" + module_file(module).removesuffix(".py"), {"title": module, "body": body}, "page.html"


# ---------------------------------------------------------------- PDF


def configure(app: Sphinx, config) -> None:
    """Set what depends on where this file lies."""
    config.mathjax_path = MATHJAX
    preamble = (THEME / "latex" / "preamble.tex").read_text(encoding="utf-8")
    title = (THEME / "latex" / "title.tex").read_text(encoding="utf-8")
    elements = {
        "papersize": "a4paper",
        "pointsize": "10pt",
        "fontpkg": (THEME / "latex" / "fonts.tex").read_text(encoding="utf-8"),
        "fncychap": "",
        "extraclassoptions": "openany,oneside",
        "babel": r"\usepackage[english]{babel}",
        "sphinxsetup": (THEME / "latex" / "sphinxsetup.tex").read_text(encoding="utf-8").strip(),
        "preamble": preamble,
        "maketitle": title,
        "figure_align": "htbp",
    }
    config.latex_elements = {**(config.latex_elements or {}), **elements}


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", configure, priority=100)  # before sphinx-jupyterbook-latex appends to the preamble
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", plain_mathjax_address, priority=900)
    app.connect("doctree-read", dress_cells)
    app.connect("missing-reference", resolve_module)
    app.connect("html-collect-pages", source_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
