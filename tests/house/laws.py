"""The laws of CONTRIBUTING.md as functions: each takes a book and returns its violations, each saying what to do.

Nothing here imports the package or executes a notebook, apart from `law7_imports`, which imports every module in a
process of its own.
"""

from __future__ import annotations

import ast
import json
import os
import re
import statistics
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tools import execute as normaliser
from tools import export as exporter
from tools import toc

ROOT = Path(__file__).resolve().parents[2]
MAX_EXEMPT_SHARE = 0.15
MAX_CELL_LINES = 40
MAX_CLASS_LINES = 80  # of a cell that holds one class and nothing else
MAX_MEDIAN_LINES = 6
MAX_COLUMNS = 92
MAX_SIGNIFICANT_DIGITS = 4
MAX_SECONDS = 60
MAX_MINUTES_TOGETHER = 25


# ---------------------------------------------------------------- reading a book


@dataclass
class Cell:
    """A code cell: its place among all cells of the notebook (from 1), code, tags, outputs, metadata and directives."""

    number: int
    source: str
    tags: list[str]
    outputs: list[dict]
    metadata: dict = field(default_factory=dict)
    directives: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self):
        for line in self.source.splitlines():
            if match := re.match(r"^\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*?)\s*$", line):
                self.directives.append((match[1], match[2]))

    @property
    def exported(self) -> bool:
        return ("export", "") in self.directives

    @property
    def exempt(self) -> bool:
        return normaliser.EXEMPT in self.tags

    @property
    def lines(self) -> int:
        return sum(bool(line.strip()) for line in self.source.splitlines())

    def tree(self) -> ast.Module:
        """Return the parsed code; IPython magics and shell lines count as nothing."""
        lines = ["pass" if re.match(r"^\s*[%!]", line) else line for line in self.source.splitlines()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse("\n".join(lines))


@dataclass
class Notebook:
    """A notebook: its path relative to the book, its stored text, its code cells."""

    path: str
    text: str

    def __post_init__(self):
        self.nb = json.loads(self.text)
        self.cells = [
            Cell(
                number,
                normaliser.joined(cell["source"]),
                normaliser.tags_of(cell),
                cell.get("outputs", []),
                cell.get("metadata", {}),
            )
            for number, cell in enumerate(self.nb["cells"], 1)
            if cell["cell_type"] == "code" and normaliser.joined(cell["source"]).strip()
        ]

    @property
    def module(self) -> str:
        """The module that the path demands: numbers dropped, folders mirrored."""
        return toc.module_of(self.path)

    def at(self, cell: Cell) -> str:
        return f"{self.path}, cell {cell.number}"


@dataclass
class Book:
    """A folder that holds chapters/, llmbook/ and _toc.yml."""

    root: Path

    def __post_init__(self):
        chapters = self.root / "chapters"
        paths = sorted(p for p in chapters.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        found = [Notebook(p.relative_to(self.root).as_posix(), p.read_text(encoding="utf-8")) for p in paths]
        self.toc = toc.entries(self.root)
        order = {entry: position for position, entry in enumerate(self.toc)}
        self.order = {n.path: order[n.path.removesuffix(".ipynb")] for n in found if n.path.removesuffix(".ipynb") in order}
        self.notebooks = sorted(found, key=lambda n: (self.order.get(n.path, len(order)), n.path))

    def modules(self) -> list[str]:
        package = self.root / "llmbook"
        files = (p.relative_to(package).with_suffix("") for p in sorted(package.rglob("*.py")))
        return [".".join(p.parts) for p in files if not p.name.startswith("_")]


def _broken_cells(notebook: Notebook) -> list[str]:
    found = []
    for cell in notebook.cells:
        try:
            cell.tree()
        except SyntaxError as error:
            found.append(f"{notebook.at(cell)}: not Python ({error.msg}, line {error.lineno}); correct it")
    return found


# ---------------------------------------------------------------- Law 1: one notebook is one module


def law1_modules(book: Book) -> list[str]:
    """One notebook is one module, at the mirrored path."""
    found = []
    for notebook in book.notebooks:
        parts = Path(notebook.path).with_suffix("").parts[1:]
        if len(parts) != 2 or not all(re.fullmatch(r"\d\d_[a-z][a-z0-9_]*", part) for part in parts):
            found.append(f"{notebook.path}: name it chapters/NN_folder/NN_name.ipynb, in lower case with underscores")
        declared = [(cell, value) for cell in notebook.cells for name, value in cell.directives if name == "default_exp"]
        if not toc.exports(notebook.path):
            marked = [cell for cell in notebook.cells if cell.directives]
            found += [f"{notebook.at(cell)}: a notebook numbered 00 exports nothing; give it another number" for cell in marked]
            continue
        if len(declared) != 1:
            found.append(f"{notebook.path}: has {len(declared)} `#| default_exp` lines; exactly one names the module")
        for cell, value in declared:
            if value != notebook.module:
                found.append(
                    f"{notebook.at(cell)}: `default_exp {value}` does not mirror the path; write `#| default_exp {notebook.module}`"
                )
            if cell.lines != 1 or cell is not notebook.cells[0]:
                found.append(f"{notebook.at(cell)}: `#| default_exp` stands alone in the first code cell; move it there")
        for cell in notebook.cells:
            for name, value in cell.directives:
                if name == "export" and value:
                    found.append(
                        f"{notebook.at(cell)}: `#| export {value}` writes into another module; write plain `#| export`, "
                        "and give other code a notebook of its own"
                    )
                elif name not in ("export", "default_exp"):
                    found.append(f"{notebook.at(cell)}: `#| {name}` is not used here; only `#| default_exp` and `#| export` are")
            if cell.exported and not re.match(r"#\| export\s*(\n|$)", cell.source):
                found.append(f"{notebook.at(cell)}: write `#| export` as the cell's first line, in exactly this form")
        found += [message for cell in notebook.cells if cell.exported for message in _patches(notebook, cell)]
        if not any(cell.exported for cell in notebook.cells):
            found.append(f"{notebook.path}: exports nothing; mark the cells of its module with `#| export`")
    with_notebook = {notebook.module: notebook.path for notebook in book.notebooks if toc.exports(notebook.path)}
    modules = set(book.modules())
    for module in sorted(modules - with_notebook.keys()):
        found.append(f"llmbook/{module.replace('.', '/')}.py has no notebook; write one, or remove it with `make export`")
    for module in sorted(with_notebook.keys() - modules):
        found.append(f"{with_notebook[module]}: its module llmbook.{module} does not exist; run `make export`")
    return found


def _patches(notebook: Notebook, cell: Cell) -> list[str]:
    try:
        tree = cell.tree()
    except SyntaxError:
        return []
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", []):
            name = ast.unparse(decorator).split("(")[0].split(".")[-1]
            if name.startswith("patch"):
                return [
                    f"{notebook.at(cell)}: `@{name}` re-opens a class; define the method in the class, or pass a function "
                    "or class by argument from a new module"
                ]
    return []


# ---------------------------------------------------------------- Law 2: the table of contents is a topological sort


def imported_modules(tree: ast.AST, known: set[str]) -> list[tuple[str, int]]:
    """Return (module of llmbook without the prefix, relative level) for every import in a tree, functions included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name.removeprefix("llmbook."), 0) for alias in node.names if alias.name.startswith("llmbook.")]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                found.append((module, node.level))
            elif module == "llmbook" or module.startswith("llmbook."):
                base = module.removeprefix("llmbook").removeprefix(".")
                for alias in node.names:
                    deeper = f"{base}.{alias.name}".removeprefix(".")
                    found.append((deeper if deeper in known else base, 0))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            found += [(name.removeprefix("llmbook."), 0) for name in names if name.startswith("llmbook.")]
    return list(dict.fromkeys(found))


def law2_order(book: Book) -> list[str]:
    """A notebook imports only from modules whose notebooks stand earlier in the table of contents."""
    found = []
    for notebook in book.notebooks:
        if notebook.path not in book.order:
            found.append(f"{notebook.path}: is not in _toc.yml; add it after everything that it imports")
    for entry in book.toc:
        if not any((book.root / f"{entry}{ending}").exists() for ending in ("", ".md", ".ipynb")):
            found.append(f"_toc.yml: {entry} does not exist; write it or remove the line")
    for entry in sorted({entry for entry in book.toc if book.toc.count(entry) > 1}):
        found.append(f"_toc.yml: {entry} is listed twice; keep one")
    exporting = [notebook for notebook in book.notebooks if toc.exports(notebook.path)]
    place = {notebook.module: book.order[notebook.path] for notebook in exporting if notebook.path in book.order}
    known = {notebook.module for notebook in book.notebooks}
    for notebook in book.notebooks:
        found += _broken_cells(notebook)
        for cell in notebook.cells:
            try:
                imports = imported_modules(cell.tree(), known)
            except SyntaxError:
                continue
            for module, level in imports:
                if level:
                    found.append(
                        f"{notebook.at(cell)}: relative import of `{'.' * level}{module}`; write `from llmbook.x.y import z`"
                    )
                elif module == notebook.module:
                    found.append(f"{notebook.at(cell)}: imports its own module; the notebook defines these names itself")
                elif module not in place:
                    found.append(f"{notebook.at(cell)}: imports llmbook.{module}, which no notebook of _toc.yml exports")
                elif not toc.exports(notebook.path):
                    continue  # nothing can depend on it, so it may show what comes later
                elif notebook.path in book.order and place[module] >= book.order[notebook.path]:
                    found.append(
                        f"{notebook.at(cell)}: imports llmbook.{module}, whose notebook stands later in _toc.yml; move one of "
                        "the two, or pass the thing in by argument"
                    )
    return found


# ---------------------------------------------------------------- Law 3: one definition per public name


def defined_names(tree: ast.Module, assignments: bool) -> list[str]:
    """Return the names that the top level of a cell defines: functions, classes and, if asked, assigned names."""
    found = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif assignments and isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            found += [name.id for name in names if isinstance(name.ctx, ast.Store)]
    return found


def law3_names(book: Book) -> list[str]:
    """One definition per public name in the whole package."""
    found, owner = [], {}
    for notebook in book.notebooks:
        for cell in (cell for cell in notebook.cells if cell.exported):
            try:
                names = defined_names(cell.tree(), assignments=True)
            except SyntaxError:
                continue
            for name in (name for name in names if not name.startswith("_")):
                if name in owner:
                    found.append(f"{notebook.at(cell)}: exports `{name}`, which {owner[name]} exports already; rename one")
                else:
                    owner[name] = notebook.at(cell)
    for notebook in book.notebooks:
        for cell in (cell for cell in notebook.cells if not cell.exported):
            try:
                names = defined_names(cell.tree(), assignments=True)
            except SyntaxError:
                continue
            for name in (name for name in names if name in owner):
                found.append(
                    f"{notebook.at(cell)}: defines `{name}` without exporting it, but {owner[name]} exports that name; give "
                    "the other version or variable its own name"
                )
    return found


def imports_exist(book: Book) -> list[str]:
    """What tests, benchmarks and the grader import from the package is there: some of it runs once in months."""
    found, names = [], {}
    for module in book.modules():
        body = ast.parse(module_path(book, module).read_text(encoding="utf-8")).body
        names[module] = set(defined_names(ast.Module(body, []), assignments=True))
        names[module] |= {
            (alias.asname or alias.name) for node in body if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names
        }
    packages = {"", *(module.rpartition(".")[0] for module in names)}
    for path in sorted(path for folder in ("tests", "benchmarks", "exercises") for path in (book.root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "llmbook"):
                continue
            module = node.module.removeprefix("llmbook").removeprefix(".")
            for name in (alias.name for alias in node.names):
                if name not in names.get(module, ()) and not (module in packages and f"{module}.{name}".removeprefix(".") in names):
                    found.append(
                        f"{path.relative_to(book.root)}, line {node.lineno}: imports `{name}` from {node.module}, which does not "
                        "define it; import it from where it is now"
                    )
    return found


# ---------------------------------------------------------------- Law 4: re-exporting and re-executing change nothing


def law4_export(book: Book) -> list[str]:
    """Exporting the notebooks again gives exactly the package that is there."""
    return exporter.differences(book.root)


def law4_normal_form(book: Book) -> list[str]:
    """Every notebook is stored as the normaliser stores it, executed, without errors."""
    found = []
    for notebook in book.notebooks:
        if not normaliser.is_normal(notebook.text):
            found.append(f"{notebook.path}: is not in normal form; run `make execute NB={notebook.path}` and commit the result")
        for cell in notebook.cells:
            for output in cell.outputs:
                if output["output_type"] == "error" and normaliser.MAY_RAISE not in cell.tags:
                    found.append(
                        f"{notebook.at(cell)}: stores an error ({output['ename']}); catch it and print its message, or tag the "
                        f"cell `{normaliser.MAY_RAISE}`"
                    )
                if output["output_type"] == "stream" and output["name"] == "stderr":
                    found.append(f"{notebook.at(cell)}: stores stderr; silence the progress bar or cure the warning")
    return found


# ---------------------------------------------------------------- Law 5: what is shown is true


FORBIDDEN_TAGS = {
    "nbval-skip": "run the cell",
    "skip-execution": "run the cell",
    "nbval-raises-exception": f"use `{normaliser.MAY_RAISE}`",
    **dict.fromkeys(
        [f"remove{joint}{part}" for joint in "-_" for part in ("cell", "input", "output")],
        "what runs is shown; fold it with `hide-input` or `hide-output` if it is long",
    ),
}


def significant_digits(number: str) -> int:
    """Count the significant digits of a decimal number as printed; zeros at its end do not count."""
    mantissa = re.split("[eE]", number.lstrip("+-"))[0]
    return len(mantissa.rstrip("0").replace(".", "").lstrip("0"))


def long_decimals(text: str) -> list[str]:
    """Return the decimal numbers in a text that show more digits than another machine would repeat."""
    numbers = re.findall(r"(?<![\w.])[-+]?\d+\.\d*(?:[eE][-+]?\d+)?(?![\w.])", text)
    return [number for number in numbers if significant_digits(number) > MAX_SIGNIFICANT_DIGITS]


def output_texts(cell: Cell) -> list[str]:
    """Return every text that nbval compares, or that glue puts into the prose."""
    texts = []
    for output in cell.outputs:
        if output["output_type"] == "stream":
            texts.append(normaliser.joined(output["text"]))
        for mime, value in output.get("data", {}).items():
            if "text/" in mime:
                texts.append(normaliser.joined(value))
    return texts


def has_assert(cell: Cell) -> bool:
    """Does the cell execute an assert, outside of what it defines?"""

    def visit(node: ast.AST) -> bool:
        if isinstance(node, ast.Assert):
            return not isinstance(node.test, ast.Constant)
        inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        return any(visit(child) for child in ast.iter_child_nodes(node) if not isinstance(child, inner))

    try:
        return visit(cell.tree())
    except SyntaxError:
        return False


def is_one_class(cell: Cell) -> bool:
    try:
        return [type(node) for node in cell.tree().body] == [ast.ClassDef]
    except SyntaxError:
        return False


def law5_truth(book: Book) -> list[str]:
    """Every output is compared, or exempt by one tag and supported by an assert; cells are short."""
    found = []
    for notebook in book.notebooks:
        cells = notebook.cells
        exempt = [cell for cell in cells if cell.exempt]
        if cells and len(exempt) > MAX_EXEMPT_SHARE * len(cells):
            found.append(
                f"{notebook.path}: {len(exempt)} of {len(cells)} code cells are exempt from comparison, more than "
                f"{MAX_EXEMPT_SHARE:.0%}; print something that every machine repeats, or assert it as a band"
            )
        for position, cell in enumerate(cells):
            if cell.exempt and not any(has_assert(near) for near in cells[max(0, position - 1) : position + 2]):
                found.append(
                    f"{notebook.at(cell)}: is exempt from comparison, but no assert in it or in the code cell before or after "
                    "supports what it shows; add one"
                )
            for tag, advice in FORBIDDEN_TAGS.items():
                if tag in cell.tags:
                    found.append(f"{notebook.at(cell)}: the tag `{tag}` is not used here; {advice}")
            if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE_)\w+", cell.source):
                found.append(
                    f"{notebook.at(cell)}: a comment switches nbval off; only the tag `{normaliser.EXEMPT}` exempts, and only "
                    "from the comparison"
                )
            if cell.lines > (limit := MAX_CLASS_LINES if is_one_class(cell) else MAX_CELL_LINES):
                found.append(f"{notebook.at(cell)}: has {cell.lines} lines, more than {limit}; split it")
            found += _long_lines(notebook, cell)
            if not cell.exempt:
                found += _volatile_outputs(notebook, cell)
        if cells and statistics.median(cell.lines for cell in cells) > MAX_MEDIAN_LINES:
            found.append(
                f"{notebook.path}: its code cells have a median of {statistics.median(c.lines for c in cells):g} lines, more than "
                f"{MAX_MEDIAN_LINES}; split the long ones"
            )
    return found


def _long_lines(notebook: Notebook, cell: Cell) -> list[str]:
    """Return the lines of code that a page or the PDF would break."""
    return [
        f"{notebook.at(cell)}, line {number}: has {len(line)} columns, more than {MAX_COLUMNS}; break it inside brackets, split "
        "a string into adjacent ones, or name a part of it"
        for number, line in enumerate(cell.source.splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]


def _volatile_outputs(notebook: Notebook, cell: Cell) -> list[str]:
    """Return what a compared cell stores although other machines will not repeat it."""
    found = []
    for text in output_texts(cell):
        for number in long_decimals(text):
            found.append(
                f"{notebook.at(cell)}: prints {number}, more than {MAX_SIGNIFICANT_DIGITS} significant digits, which another "
                'machine may not repeat; format it, for example f"{x:.3g}"'
            )
        if match := re.search(r"\b(?:at|object) 0x[0-9a-fA-F]{6,}", text):
            found.append(f"{notebook.at(cell)}: prints a memory address ({match[0]}); print something of the object instead")
    if any(mime.startswith("image/") for output in cell.outputs for mime in output.get("data", {})):
        found.append(f"{notebook.at(cell)}: stores a picture, which nbval does not compare; tag it `{normaliser.EXEMPT}`")
    return found


MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:root|home|work|tmp|var/folders|Users)/[\w.-]+")


def no_machine_paths(book: Book) -> list[str]:
    """No stored output names a folder of the machine on which it was made."""
    found = []
    for notebook in book.notebooks:
        for cell in notebook.cells:
            for match in (MACHINE_PATH.search(text) for text in output_texts(cell)):
                if match:
                    found.append(f"{notebook.at(cell)}: its output names the machine's path {match[0]}; print the name only")
    return found


# ---------------------------------------------------------------- Law 7: light imports

# Module (or a folder of modules) -> what its top level may import besides the standard library and llmbook. The longest
# matching entry counts. Anything else is imported inside the function that needs it.
MAY_IMPORT: dict[str, set[str]] = {
    "preliminaries.settings": set(),
    "preliminaries.workspace": {"filelock"},
    "preliminaries.plotting": set(),
    "preliminaries.measuring": set(),
    "preliminaries.processes": set(),
    "data": {"datatrove", "datasketch", "numpy", "tqdm"},
    "data.held_out": set(),
    "tokenization.text": {"regex"},
    "tokenization.bpe": {"regex"},
    "tokenization.encoding": {"regex"},
    "tokenization.tokenizer": {"tokenizers", "regex"},
    "tokenization.vocabulary": {"numpy", "regex"},
    "tokenization.shards": {"numpy"},
    "attention": {"torch", "numpy"},
    "architecture": {"torch", "numpy"},
    "training": {"torch", "numpy"},
    "scaling": {"torch", "numpy"},
    "inference": {"torch", "numpy"},
    "alignment": {"torch", "numpy"},
    "end_to_end": {"tyro"},
}

# What no import of a module may need, unless its entry above allows it.
BLOCKED = (
    "IPython ipykernel jupyter jupyter_core nbdev nbclient nbformat myst_nb sphinx matplotlib tensorboard tyro transformers "
    "datatrove datasketch tokenizers tqdm filelock regex pytest pyarrow selectolax warcio zstandard datasets ray spacy trafilatura "
    "py3langid"
).split()


def allowed_imports(module: str) -> set[str] | None:
    """Return what the module's top level may import, or None if the table says nothing about it."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in MAY_IMPORT:
            return MAY_IMPORT[prefix]
    return None


def top_level_imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports that run when the module is imported; those under `if TYPE_CHECKING:` do not."""
    found, queue = [], list(tree.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            queue += [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.excepthandler))]
    return found


def module_path(book: Book, module: str) -> Path:
    return book.root / "llmbook" / (module.replace(".", "/") + ".py")


def llmbook_imports(book: Book, module: str) -> set[str]:
    """Return the modules of llmbook that a module's top level imports, directly."""
    known, found = set(book.modules()), set()
    for node in top_level_imports(ast.parse(module_path(book, module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = module.split(".")[: -node.level]
            base = ".".join([*package, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        else:
            found |= {name for name, _ in imported_modules(ast.Module([node], []), known)}
    return found & known


def needs(book: Book, module: str) -> set[str]:
    """Return everything that importing a module may load: its own allowance and that of the modules that it imports."""
    seen, queue = set(), [module]
    while queue:
        if (current := queue.pop()) not in seen:
            seen.add(current)
            queue += llmbook_imports(book, current)
    return set().union(*(allowed_imports(name) or set() for name in seen))


def law7_static(book: Book) -> list[str]:
    """The top level of a module imports only what the table allows."""
    found = []
    for module in book.modules():
        allowed = allowed_imports(module)
        if allowed is None:
            found.append(f"llmbook.{module}: is not in the table MAY_IMPORT of tests/house/laws.py; say there what it may import")
            continue
        for node in top_level_imports(ast.parse(module_path(book, module).read_text(encoding="utf-8"))):
            relative = isinstance(node, ast.ImportFrom) and node.level
            names = [] if relative else [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in allowed | {"llmbook", "__future__"}:
                    found.append(
                        f"llmbook.{module}: imports `{name}` at its top level, which it may not need "
                        f"({sorted(allowed) or 'nothing'} allowed); import it inside the function that uses it"
                    )
    return found


_PROBE = """
import importlib, json, sys
blocked, modules = set(sys.argv[1].split(",")), sys.argv[2:]
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name.split(".")[0])
sys.meta_path.insert(0, Blocker())
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except BaseException as error:
        failed[module] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""


def blocked_for(book: Book, module: str) -> tuple[str, ...]:
    """Return the packages that are blocked while a module is imported; an empty name stands for `llmbook` itself."""
    permitted = needs(book, module) if module else set()
    blocked = set(BLOCKED) | {"torch", "numpy"}
    if permitted & {"datatrove", "datasketch", "tokenizers", "torch"}:
        blocked -= {"numpy"}
    if permitted & {"datatrove", "datasketch", "tokenizers"}:
        blocked -= {"tqdm", "filelock", "regex"}  # these packages bring their own dependencies
    return tuple(sorted(blocked - permitted))


def law7_imports(book: Book) -> list[str]:
    """Each module imports in a fresh process where everything that it may not need is blocked."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for module in ["", *book.modules()]:
        groups.setdefault(blocked_for(book, module), []).append(f"llmbook.{module}".rstrip("."))
    environment = {**os.environ, "PYTHONPATH": str(book.root), "PYTHONDONTWRITEBYTECODE": "1"}
    failed = {}
    for blocked, names in groups.items():
        command = [sys.executable, "-c", _PROBE, ",".join(blocked), *names]
        done = subprocess.run(command, env=environment, cwd=book.root, capture_output=True, text=True)
        failed |= json.loads(done.stdout) if done.returncode == 0 else dict.fromkeys(names, done.stderr[-200:])
    return [
        f"{name}: does not import with only what it may need ({reason}); move the import into the function"
        for name, reason in failed.items()
    ]


# ---------------------------------------------------------------- Law 8: a notebook is run while one waits


def law8_time(book: Book) -> list[str]:
    """A notebook takes at most a minute on two cores, all of them together less than 25."""
    found, together = [], 0.0
    for notebook in book.notebooks:
        seconds = normaliser.stored_run(notebook.nb).get("seconds")
        if seconds is None:
            found.append(f"{notebook.path}: stores no seconds; run `make execute NB={notebook.path}` and commit the result")
        elif seconds > MAX_SECONDS:
            found.append(
                f"{notebook.path}: took {seconds:g} s, more than {MAX_SECONDS}; make it smaller, or record a benchmark in "
                "benchmarks/ and quote it. If the machine was busy, measure again: `make execute TIMES=1 NB=...`"
            )
        together += seconds or 0
    if together >= 60 * MAX_MINUTES_TOGETHER:
        found.append(
            f"all notebooks together took {together / 60:.1f} minutes, not less than {MAX_MINUTES_TOGETHER}; shorten the longest"
        )
    return found


# ---------------------------------------------------------------- Law 9: a figure speaks alone


MIN_CAPTION_WORDS = 6
DRAWINGS = {"image/svg+xml", "application/pdf"}
PIXELS = re.compile(r"pixels-because-[a-z0-9-]+")  # the tag of a cell that stores a picture of pixels, with its reason


def pictures(cell: Cell) -> list[set[str]]:
    """Return the forms in which each picture of a cell is stored."""
    forms = ({mime for mime in output.get("data", {}) if mime.startswith("image/") or mime in DRAWINGS} for output in cell.outputs)
    return [form for form in forms if form]


def law9_figures(book: Book) -> list[str]:
    """Every figure has a caption, a name that the text refers to and a text alternative, and is stored as a drawing."""
    found, owner = [], {}
    for notebook in book.notebooks:
        prose = "\n".join(normaliser.joined(cell["source"]) for cell in notebook.nb["cells"] if cell["cell_type"] == "markdown")
        referred = set(re.findall(r"\{numref\}`(?:[^`<]*<)?([\w-]+)>?`", prose))
        for cell in notebook.cells:
            drawn, at = pictures(cell), notebook.at(cell)
            settings = cell.metadata.get("mystnb", {})
            figure = settings.get("figure", {})
            caption, name = (str(figure.get(key) or "").strip() for key in ("caption", "name"))
            alt = str(settings.get("image", {}).get("alt") or "").strip()
            if not drawn:
                if figure:
                    found.append(
                        f"{at}: has the caption of a figure but stores none; draw it here, or remove `mystnb` from its metadata"
                    )
                continue
            if len(drawn) > 1:
                found.append(f"{at}: stores {len(drawn)} pictures, which would share one name; draw one figure in a cell")
            if len(caption.split()) < MIN_CAPTION_WORDS:
                found.append(f"{at}: its figure has no caption of a sentence; say in `mystnb.figure.caption` what to see")
            if not re.fullmatch(r"fig(-[a-z0-9]+)+", name):
                found.append(f"{at}: its figure has no name; write `mystnb.figure.name`, as in fig-rope-angles, not {name!r}")
            elif name in owner:
                found.append(f"{at}: its figure is named {name}, as that of {owner[name]}; rename one")
            else:
                owner[name] = at
                if name not in referred:
                    found.append(
                        f"{at}: no text of the notebook refers to its figure; write {{numref}}`{name}` where it is discussed"
                    )
            if len(alt.split()) < MIN_CAPTION_WORDS or alt == caption:
                found.append(
                    f"{at}: its figure has no text alternative of its own; describe in `mystnb.image.alt` what a reader who does "
                    "not see it should know"
                )
            missing = DRAWINGS - set().union(*drawn)
            pixels = set().union(*drawn) - DRAWINGS
            if (missing or pixels) and not any(PIXELS.fullmatch(tag) for tag in cell.tags):
                found.append(
                    f"{at}: stores {', '.join(sorted(pixels)) or 'no ' + ', '.join(sorted(missing))}; make the figure with "
                    "`figure()` of llmbook.preliminaries.plotting, which stores SVG and PDF, or tag the cell "
                    "`pixels-because-<reason>`"
                )
    return found
