"""The quality rules against datatrove's Gopher filter, against hand-made texts at each threshold, and on the library."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import make_document, stdlib_documents
from llmbook.data.quality import (
    CODE_RULES,
    PROSE_RULES,
    broken_rule,
    code_rejection,
    filter_quality,
    number_share,
    prose_rejection,
    quality_rejection,
)

GOOD = "it was the best of times and it was the worst of times so we have to be content with that much " * 4


def test_good_prose_passes():
    assert prose_rejection(GOOD) is None


def lines(pattern: str, count: int) -> str:
    return "\n".join([pattern] * count)


# For each rule a text just outside its range, and one just inside that differs in nothing else.
PROSE_CASES = {
    "word count": ("the and " * 24 + "cat", "the and " * 25),
    "mean word length": ("of to be the " * 30, "of to have that " * 30),
    "hash signs per word": ("# " * 12 + "the and cat dog " * 25, "# " * 10 + "the and cat dog " * 25),
    "ellipses per word": ("... " * 12 + "the and cat dog " * 25, "... " * 10 + "the and cat dog " * 25),
    "bullet lines": (
        lines("- the cat and dog", 20),
        lines("- the cat and dog", 18) + "\n" + lines("the cat and dog", 2),
    ),
    "lines ending in an ellipsis": (
        lines("the cat and the dog and the cow …", 8) + "\n" + lines("the cat and the dog and the cow", 12),
        lines("the cat and the dog and the cow …", 6) + "\n" + lines("the cat and the dog and the cow", 14),
    ),
    "alphabetic words": ("the and cat dog 1234 5678 " * 20, "the and cat dog 1234 " * 20),
    "stop words": ("the cat sees dogs " * 20, "the cat and dog " * 20),
}


def test_every_prose_rule_has_a_case():
    assert set(PROSE_CASES) == {rule.name for rule in PROSE_RULES}


@pytest.mark.parametrize("rule", PROSE_CASES)
def test_each_prose_rule_at_its_threshold(rule):
    outside, inside = PROSE_CASES[rule]
    assert prose_rejection(outside) == rule
    assert prose_rejection(inside) is None


@pytest.mark.parametrize("rule", PROSE_CASES)
def test_no_prose_rule_is_superfluous(rule):
    """A filter that forgets one rule lets that rule's case pass."""
    others = [other for other in PROSE_RULES if other.name != rule]
    assert broken_rule(PROSE_CASES[rule][0], others) is None


def test_very_long_documents_and_words_are_removed():
    assert prose_rejection("the and cat " * 33_334) == "word count"
    assert prose_rejection("the and " + "incomprehensibilities " * 60) == "mean word length"


words = st.sampled_from(
    "the be to of and that have with cat elephant bureaucratically a I x1 42 1984 3.14 #tag # ... … wait... … 99".split()
)
text_lines = st.tuples(
    st.sampled_from(["", "- ", "• "]), st.lists(words, min_size=1, max_size=12), st.sampled_from(["", " ...", " …"])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(text_lines, min_size=5, max_size=25), st.integers(1, 6))
def test_the_same_verdict_as_datatrove(rows, repeats):
    """datatrove's Gopher filter, with its word splitter (which needs a language package) replaced by white space."""
    from datatrove.pipeline.filters import gopher_quality_filter as theirs

    text = "\n".join(start + " ".join(row) + end for start, row, end in rows * repeats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "split_into_words", lambda text, language: text.split())
        verdict = theirs.GopherQualityFilter().filter(make_document(text, "x"))
    assert (prose_rejection(text) is None) == (verdict is True), (prose_rejection(text), verdict)


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_verdict(text):
    names = {rule.name for rule in (*PROSE_RULES, *CODE_RULES)} | {None}
    assert prose_rejection(text) in names and code_rejection(text) in names


FUNCTION = "def area(radius):\n    return 3.14 * radius ** 2  # of a circle with this radius in meters\n"
CODE_CASES = {
    "word count": ("import os\n", FUNCTION * 2),
    "longest line": (FUNCTION * 20 + "x = '" + "a b " * 249 + "'", FUNCTION * 20 + "x = '" + "a b " * 248 + "'"),
    "mean line length": (
        lines("name = other_name + " + "name " * 17, 20),
        lines("name = other_name + " + "name " * 15, 20),
    ),
    "letters": (
        lines("[(a, _, _), ( . . ), [ ]] + [{}]", 20),
        lines("[(name, _, _), ( name . name ), [ ]] + [{}]", 20),
    ),
    "numbers": (lines("first, second = 1, 2", 5) + "\n" + lines("abcd = 3", 20), lines("first, second = 1, other", 20)),
}


@pytest.mark.parametrize("rule", CODE_CASES)
def test_each_code_rule_at_its_threshold(rule):
    outside, inside = CODE_CASES[rule]
    assert {rule for rule in CODE_CASES} == {rule.name for rule in CODE_RULES}
    assert code_rejection(outside) == rule and code_rejection(inside) is None
    assert broken_rule(outside, [other for other in CODE_RULES if other.name != rule]) is None


def test_number_share_counts_tokens():
    assert number_share("a 1 b2 0x3") == 0.5 and number_share("+ - *") == 0


def test_the_kind_chooses_the_rules():
    assert quality_rejection(make_document(FUNCTION * 4, "a.py")) is None
    assert quality_rejection(make_document(FUNCTION * 4, "a.txt")) is not None


def test_the_filter_keeps_order_and_reports():
    documents = [
        make_document(text, name)
        for text, name in ((GOOD, "a.txt"), ("short", "b.txt"), (GOOD, "c.txt"), ("x", "d.py"))
    ]
    removed = []
    assert [document.id for document in filter_quality(documents, removed)] == ["a.txt", "c.txt"]
    assert removed == [("b.txt", "word count", "prose", 5), ("d.py", "word count", "code", 1)]
    assert len(list(filter_quality(documents))) == 2


@pytest.fixture(scope="module")
def library():
    return list(stdlib_documents())


def test_nearly_all_of_the_standard_library_stays(library):
    removed = []
    kept = list(filter_quality(library, removed))
    assert len(kept) + len(removed) == len(library) and len(removed) < 0.06 * len(library)
    assert sum(item.bytes for item in removed) < 0.01 * sum(document.metadata["bytes"] for document in library)
    names = {item.id for item in removed}
    if sys.version_info < (3, 13):
        assert {"encodings/rot_13.py", "stringprep.py"} <= names
    assert not {"os.py", "textwrap.py", "turtle.py", "statistics.py", "pydoc_data/topics.py", "LICENSE.txt"} & names
    assert set(Counter(item.reason for item in removed)) <= {"word count", "numbers", "alphabetic words", "stop words"}
