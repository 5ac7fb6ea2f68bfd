"""The laws of CONTRIBUTING.md, checked on this book."""

from pathlib import Path

import pytest
from house import laws

from tools import toc

LAWS = [
    laws.law1_modules,
    laws.law2_order,
    laws.law3_names,
    laws.imports_exist,
    laws.law4_export,
    laws.law4_normal_form,
    laws.law5_truth,
    laws.no_machine_paths,
    laws.law7_static,
    laws.law7_imports,
    laws.law8_time,
    laws.law9_figures,
]


@pytest.fixture(scope="module")
def book() -> laws.Book:
    return laws.Book(laws.ROOT)


def test_the_book_has_notebooks_and_modules(book):
    assert len(book.notebooks) >= 10 and len(book.modules()) == sum(toc.exports(notebook.path) for notebook in book.notebooks)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, book):
    violations = law(book)
    if violations:
        pytest.fail(f"{law.__doc__}\n" + "\n".join(f"- {violation}" for violation in violations), pytrace=False)


def test_every_cited_source_is_in_references_bib_and_used():
    import re

    from pybtex.database import parse_file

    parse_file(laws.ROOT / "references.bib")  # raises, with the line, where a brace is missing
    keys = re.findall(r"^@\w+\{([^,\s]+),", (laws.ROOT / "references.bib").read_text(encoding="utf-8"), flags=re.M)
    assert len(keys) == len(set(keys)), "references.bib defines a key twice"
    pages = [*Path(laws.ROOT, "chapters").rglob("*.ipynb"), *Path(laws.ROOT, "chapters").rglob("*.md"), laws.ROOT / "index.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    cited = {key.strip() for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in group.split(",")}
    assert not cited - set(keys), f"cited but not in references.bib: {sorted(cited - set(keys))}"
    assert not set(keys) - cited, f"in references.bib but cited nowhere; remove: {sorted(set(keys) - cited)}"
