"""The Sphinx extension that makes the book's pages out of its notebooks.

- MathJax is served from the page's own folder, so that formulas are typeset without a network.
- Cells that only import are folded in HTML.
- The cell that only names a notebook's module is dropped; an exported cell carries a badge with the module's name, which
  links to the definition in the module's source (HTML) or to the module's reference (PDF).
- A cell whose metadata says that it draws a figure shows the figure, and folds its code under it.
- Figures carry the number of their chapter; a table that a cell returns is set as one in the PDF.
- The directive `llmbook-api` writes the reference of one subpackage from its docstrings.
- The PDF shows what the HTML folds.
- Chapters of the PDF carry the number of their folder.
- The LaTeX preamble and title page of `theme/latex/` are put in place for the PDF.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

THEME = Path(__file__).resolve().parent
ROOT = THEME.parent
sys.path.append(str(ROOT))  # Sphinx finds this file by its folder; the tools lie beside it

from tools import toc  # noqa: E402

MATHJAX = "mathjax/es5/tex-mml-chtml.js"
# What tex-mml-chtml.js may load later: fonts, TeX extensions, the menu, accessibility.
MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml", "input/tex/extensions", "ui", "a11y", "sre")
APPENDIX = "guide/exercises"  # the first page after the last chapter
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


def dress_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Tidy what a page loads: no live code from a network, no MathJax address that it cannot work with."""
    if "script_files" in context:  # jupyter-book always adds thebe, whose scripts clash on every page
        context["script_files"] = [script for script in context["script_files"] if not is_thebe(script)]
    if "js_tag" not in context:
        return
    sphinx_tag, pathto = context["js_tag"], context["pathto"]

    def js_tag(script) -> str:
        """Sphinx appends `?v=checksum` to an address; MathJax would take it for part of its own folder."""
        filename = str(getattr(script, "filename", script))
        if filename.endswith(MATHJAX):
            return f'<script async="async" src="{pathto(filename, resource=True)}"></script>'
        return sphinx_tag(script)

    context["js_tag"] = js_tag


def is_thebe(script) -> bool:
    attributes = getattr(script, "attributes", {})
    return "thebe" in str(getattr(script, "filename", script)) or "THEBE" in str(attributes.get("body", ""))


# ---------------------------------------------------------------- notebook cells


def directives_of(source: str) -> tuple[dict[str, str], str]:
    """Split a cell's source into its leading `#|` directives and the code that follows."""
    lines, found = source.splitlines(), {}
    while lines and (match := DIRECTIVE.match(lines[0])):
        found[match[1]] = match[2].strip()
        lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def first_definition(code: str) -> str:
    """Return the name of the first function or class that a cell defines, or nothing."""
    match = re.search(r"^(?:def|class)\s+(\w+)", code, flags=re.M)
    return match[1] if match else ""


def only_imports(code: str) -> bool:
    """Does a cell import and do nothing else? Such cells are folded in HTML."""
    try:
        found = ast.parse(code).body
    except SyntaxError:  # a magic, or a shell line
        return False
    for node in [node for node in found if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]:
        found += [*node.body, *node.orelse]
        found.remove(node)
    return bool(found) and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in found)


def badge(module: str, definition: str, docname: str) -> nodes.Node:
    """Return the small line over an exported cell that names the module into which it goes."""
    name = nodes.literal(module, module)
    # Resolved per builder: HTML and PDF share the doctrees.
    target = addnodes.pending_xref("", name, refdomain="", reftype=MODULE, reftarget=module, refdoc=docname, refexplicit=True,
                                   definition=definition)  # fmt: skip
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
        if only_imports(code) and not cell.get("hide_mode"):
            cell.attributes |= {"hide_mode": "input", "prompt_show": "Imports", "prompt_hide": "Imports"}
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
            cell.parent.insert(position, badge(f"llmbook.{module}", first_definition(code), app.env.docname))


# ---------------------------------------------------------------- figures and tables


class FigureCode(nodes.Element):
    """The code of a figure, which is read after the figure: folded in HTML, small in the PDF."""


def visit_code_html(self, node: FigureCode) -> None:
    self.body.append('<details class="llmbook-figure-code"><summary>Code of this figure</summary>\n')


def depart_code_html(self, node: FigureCode) -> None:
    self.body.append("</details>\n")


def visit_code_latex(self, node: FigureCode) -> None:
    labels = [rf"\ref{{\detokenize{{{self.curfilestack[-1]}:{name}}}}}" for name in node["figures"]]
    self.body.append(rf"\begin{{llmbookfigurecode}}{{{' and '.join(labels)}}}" + "\n")


def depart_code_latex(self, node: FigureCode) -> None:
    self.body.append("\\end{llmbookfigurecode}\n")


def is_output(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code_output"


def dress_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Put the code of a cell that draws figures after them; take the figures out of the cell unless they are to be predicted."""
    for cell in [node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"]:
        figures = list(cell.findall(nodes.figure))
        if not figures:
            continue
        code = FigureCode("", figures=[figure["ids"][0] for figure in figures if figure["ids"]])
        code += nodes.container("", *[child for child in cell if not is_output(child)], classes=["cell"])
        cell.children = [child for child in cell if is_output(child)]
        parent, place = cell.parent, cell.parent.index(cell)
        parent.insert(place + 1, code)
        if "output" in cell.get("hide_mode", ""):
            cell["hide_mode"] = "output"
            continue
        cell.attributes.pop("hide_mode", None)
        for figure in figures:
            figure.parent.remove(figure)
            parent.insert(place, figure)
            place += 1
        if not any(len(output) for output in cell):  # nothing but figures
            parent.remove(cell)


def dress_tables(app: Sphinx, doctree: nodes.document) -> None:
    """Set the LaTeX of a table as it is: MyST-NB takes every LaTeX output for a formula."""
    for block in list(doctree.findall(nodes.math_block)):
        text = block.astext()
        if "text_latex" in block["classes"] and text.startswith(r"\begin{tabular}"):
            block.replace_self(nodes.raw("", f"\n\\begin{{llmbooktable}}\n{text}\n\\end{{llmbooktable}}\n", format="latex"))


def number_figures(app: Sphinx, env) -> None:
    """Number the figures of each chapter by its folder, as LaTeX does; the numbers on the disk stay as Sphinx made them."""
    count: dict[int, int] = {}
    for docname, kinds in env.toc_fignumbers.items():
        if not (match := re.match(r"chapters/(\d+)_", docname)):
            continue
        chapter = int(match[1])
        for name in kinds.get("figure", {}):
            count[chapter] = count.get(chapter, 0) + 1
            kinds["figure"][name] = (chapter, count[chapter])


def resolve_module(app: Sphinx, env, node, contnode):
    """Turn a badge's reference into a link: to the definition on viewcode's page of the module, or to its reference."""
    if node.get("reftype") != MODULE:
        return None
    module, docname = node["reftarget"], node["refdoc"]
    if app.builder.format != "html":
        target = env.get_domain("py").resolve_xref(env, docname, app.builder, "mod", module, node, contnode)
        return contnode if target is None else target
    shown = getattr(env, "_viewcode_modules", {}).get(module)
    if not shown:
        return contnode
    address = app.builder.get_relative_uri(docname, "_modules/" + module.replace(".", "/"))
    definition = node["definition"] if node["definition"] in shown[2] else ""  # an anchor exists for what the reference names
    return nodes.reference("", "", contnode, internal=True, refuri=address + (definition and f"#{definition}"))


def renew_module_pages(app: Sphinx):
    """Remove viewcode's pages before it makes them: it would keep them for an unchanged module in a changed theme."""
    shutil.rmtree(Path(app.outdir) / "_modules", ignore_errors=True)
    return []


def remove_orphans(app: Sphinx, error: Exception | None) -> None:
    """Delete the pages of notebooks that have been renamed or removed since an earlier build."""
    if error is None and app.builder.format == "html":
        chapters = Path(app.outdir) / "chapters"
        for page in chapters.rglob("*.html"):
            if page.relative_to(app.outdir).with_suffix("").as_posix() not in app.env.found_docs:
                page.unlink()


# ---------------------------------------------------------------- API reference


class ApiReference(SphinxDirective):
    """`{llmbook-api} attention`: every public name of a subpackage, by module, in the order of the book."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ROOT / "_toc.yml"))
        lines = []
        for notebook in toc.notebooks():
            module = toc.module_of(notebook)
            if module.split(".")[0] != self.arguments[0] or not toc.exports(notebook):
                continue
            lines += [f"## `{module.split('.')[-1]}`", "", f"Developed in [](/{notebook}.ipynb).", ""]
            lines += ["```{eval-rst}", f".. automodule:: llmbook.{module}", "   :members:", "```", ""]
        if not lines:
            raise self.error(f"no notebook of _toc.yml exports to llmbook.{self.arguments[0]}")
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.env.docname), self.content_offset, parent, match_titles=True)
        return parent.children


def dress_docstring(app: Sphinx, what: str, name: str, thing: object, options, lines: list[str]) -> None:
    """Set the labels of one-line sections in bold: `Source: ...` -> `**Source:** ...`."""
    lines[:] = [re.sub(r"^(Shapes|Raises|Source): (?=\S)", r"**\1:** ", line) for line in lines]


# ---------------------------------------------------------------- PDF


class ShowFolded(SphinxPostTransform):
    """Show in the PDF what the HTML folds: a transform of jupyter-book's would drop the inputs and outputs of these cells."""

    default_priority = 399  # jupyter-book's has 400
    formats = ("latex",)

    def run(self, **options) -> None:
        for cell in self.document.findall(nodes.container):
            cell["classes"] = [name for name in cell["classes"] if not name.startswith("tag_hide-")]


def configure(app: Sphinx, config) -> None:
    """Set what depends on where this file lies."""
    config.mathjax_path = MATHJAX
    config.nitpick_ignore_regex = [("py:.*", ".*")]  # annotations name the types of many libraries
    preamble = (THEME / "latex" / "preamble.tex").read_text(encoding="utf-8")
    title = (THEME / "latex" / "title.tex").read_text(encoding="utf-8")
    elements = {
        "papersize": "a4paper",
        "pointsize": "10pt",
        "fontpkg": (THEME / "latex" / "fonts.tex").read_text(encoding="utf-8"),
        "fncychap": "",
        "passoptionstopackages": r"\PassOptionsToPackage{nobottomtitles*}{titlesec}",
        "extraclassoptions": "openany,oneside",
        "babel": r"\usepackage[english]{babel}",
        "sphinxsetup": (THEME / "latex" / "sphinxsetup.tex").read_text(encoding="utf-8").strip(),
        "preamble": preamble,
        "maketitle": title,
        "figure_align": "htbp",
    }
    config.latex_elements = {**(config.latex_elements or {}), **elements}


def number_chapter(app: Sphinx, doctree: nodes.document) -> None:
    """In the PDF, give each chapter the number of its folder, the appendices letters, and the home page a heading."""
    docname = app.env.docname
    if match := re.fullmatch(r"chapters/(\d+)_\w+/index", docname):
        doctree.insert(0, nodes.raw("", f"\\setcounter{{chapter}}{{{int(match[1]) - 1}}}", format="latex"))
    elif docname == APPENDIX:
        doctree.insert(0, nodes.raw("", r"\appendix", format="latex"))
    elif docname == app.config.root_doc:
        heading = r"\chapter*{About this book}\markboth{About this book}{}\addcontentsline{toc}{chapter}{About this book}"
        title = next(doctree.findall(nodes.title))
        title.parent.insert(title.parent.index(title) + 1, nodes.raw("", heading, format="latex"))


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("config-inited", configure, priority=100)  # before sphinx-jupyterbook-latex appends to the preamble
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", dress_page, priority=900)
    app.connect("doctree-read", dress_cells)
    app.add_node(FigureCode, html=(visit_code_html, depart_code_html), latex=(visit_code_latex, depart_code_latex))
    app.connect("doctree-read", dress_figures)
    app.connect("doctree-read", dress_tables)
    app.connect("env-check-consistency", number_figures)
    app.connect("missing-reference", resolve_module)
    app.connect("html-collect-pages", renew_module_pages, priority=400)
    app.connect("build-finished", remove_orphans)
    app.add_directive("llmbook-api", ApiReference)
    app.add_post_transform(ShowFolded)
    app.connect("autodoc-process-docstring", dress_docstring, priority=400)  # before napoleon
    app.connect("doctree-read", number_chapter)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
