"""C4's rules against datatrove's filters (whole library, fuzzed texts): decision, reason and the text that is left."""

from __future__ import annotations

import random
from collections import Counter
from unittest.mock import patch

import datatrove.pipeline.filters.c4_filters as theirs
import pytest
from datatrove.data import Document
from datatrove.utils.text import split_into_sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.c4 import (
    C4_RULES,
    c4_filter,
    c4_rejection,
    judge_line,
    paragraph_rejection,
    split_sentences,
)
from llmbook.data.documents import make_document, stdlib_documents

THEIR_NAMES = {
    "lorem ipsum": "lorem_ipsum",
    "curly bracket": "curly_bracket",
    "fewer than 5 sentences": "too_few_sentences",
    "fewer than 3 sentences": "too_few_sentences",
    None: None,
}


def their_result(text: str, **options) -> tuple[str, str | None]:
    document = Document(text=text, id="")
    answer = theirs.C4QualityFilter(**options).filter(document)
    return document.text, None if answer is True else answer[1]


def our_result(text: str, **options) -> tuple[str, str | None]:
    kept, reason = c4_filter(text, **options)
    return kept, THEIR_NAMES[reason]


@pytest.fixture
def same_sentences():
    """datatrove's filter splits sentences as ours does."""
    with patch.object(theirs, "split_into_sentences", lambda text, language: split_sentences(text)):
        yield


@pytest.fixture(scope="module")
def library() -> list[Document]:
    return list(stdlib_documents())


# ---------------------------------------------------------------- the whole corpus


@pytest.mark.parametrize("end_punctuation", [True, False])
def test_the_library_is_cleaned_alike_with_our_sentences(library, same_sentences, end_punctuation):
    assert len(library) > 500
    for document in library:
        expected = their_result(document.text, filter_no_terminal_punct=end_punctuation)
        assert our_result(document.text, end_punctuation=end_punctuation) == expected, document.id


@pytest.mark.parametrize("end_punctuation", [True, False])
def test_the_library_is_cleaned_alike_with_spacys_sentences(library, end_punctuation):
    reasons = Counter()
    for document in library:
        expected = their_result(document.text, filter_no_terminal_punct=end_punctuation)
        found = our_result(document.text, end_punctuation=end_punctuation, sentences=split_into_sentences)
        assert found == expected, document.id
        reasons[expected[1]] += 1
    assert {None, "curly_bracket", "too_few_sentences"} <= set(reasons)


# ---------------------------------------------------------------- fuzzed texts

PIECES = (
    "The cat sat on the mat.",
    "Who is there?",
    'She said "no"',
    "Home",
    "Read more...",
    "Please enable JavaScript to go on.",
    "We use cookies to serve you better.",
    "Our Privacy Policy has changed!",
    "Lorem ipsum dolor sit amet.",
    "function f() { return 1; }",
    "It is {{name}} who wrote this.",
    "A fact.[12] Another fact [citation needed]",
    "A fact at the end. [3]",
    "[1][2] [3] [edit] .",
    "One two",
    "Two words.",
    "x" * 1001 + " is a long word here.",
    "x" * 1000 + " is just short enough.",
    "Mr. Smith, e.g. J. Smith, came at 5 p.m. and left. Then he ran!",
    "Dots... and more dots. And an end.",
    "  indented text ends here.  ",
    "Ünïcode «quotes» and 漢字。",
    "It ends 'so'",
)
GLUES = ("\n", "\n\n", "\r\n", "\x0b", "\x1c", "\u2028", " ", "\x85", "\f\n")


def fuzzed_text(draw: random.Random) -> str:
    pieces = draw.sample(PIECES, draw.randint(1, 10))
    tame = draw.random() < 0.6
    chosen = [p for p in draw.choices(pieces, k=draw.randint(0, 14)) if not tame or ("{" not in p and "ipsum" not in p)]
    glue = draw.choice(GLUES)
    mixed = (draw.choice(GLUES) if draw.random() < 0.1 else glue for _ in chosen)
    return draw.choice(("", " ", "\n")) + "".join(part + end for part, end in zip(chosen, mixed, strict=True))


OPTIONS = [
    ({}, {}),
    ({"end_punctuation": False}, {"filter_no_terminal_punct": False}),
    ({"min_sentences": 3}, {"min_num_sentences": 3}),
]


@pytest.mark.parametrize("ours, others", OPTIONS)
def test_2500_fuzzed_texts_are_cleaned_alike(same_sentences, ours, others):
    draw, reasons = random.Random(3), Counter()
    for text in (fuzzed_text(draw) for _ in range(2500)):
        expected = their_result(text, **others)
        assert our_result(text, **ours) == expected, repr(text)
        reasons[expected[1]] += 1
    assert min(reasons[name] for name in (None, "lorem_ipsum", "curly_bracket", "too_few_sentences")) > 100


@pytest.mark.parametrize("ours, others", OPTIONS)
def test_500_fuzzed_texts_are_cleaned_alike_with_spacys_sentences(ours, others):
    draw = random.Random(4)
    for text in (fuzzed_text(draw) for _ in range(500)):
        assert our_result(text, sentences=split_into_sentences, **ours) == their_result(text, **others), repr(text)


@given(st.lists(st.sampled_from(["a", "b c", ".", "?", "...", "'", "[1]", "[edit]", "{", "\n", "\u2028", " ", "javascript"])))
@settings(max_examples=300, deadline=None)
def test_any_text_is_cleaned_alike(pieces):
    text = "".join(pieces)
    with patch.object(theirs, "split_into_sentences", lambda text, language: split_sentences(text)):
        assert our_result(text) == their_result(text)
        assert our_result(text, end_punctuation=False) == their_result(text, filter_no_terminal_punct=False)


@settings(deadline=None)
@given(st.lists(st.integers(195, 205), max_size=6), st.sampled_from(["\n", "\n\n", "\r\n"]))
def test_paragraphs_as_in_datatrove(lengths, glue):
    document = make_document(glue.join("x" * n for n in lengths) or " ", "a.txt")
    assert (paragraph_rejection(document) is None) == (theirs.C4ParagraphFilter().filter(document) is True)


# ---------------------------------------------------------------- each rule, by hand

GOOD = "\n".join(f"This is good sentence number {word}." for word in "one two three four five".split())


def test_good_text_is_left_as_it_is():
    assert c4_filter(GOOD) == (GOOD, None)


# A bad line, and the nearest line that keeps the rule.
LINES = {
    "word of over 1000 characters": ("see " + "x" * 1001 + " here.", "see " + "x" * 1000 + " here."),
    "no end mark": ("This heading has no mark", "This heading has a mark!"),
    "fewer than 3 words": ("Only two.", "Only three words."),
    "lorem ipsum": ("Then LOREM IPSUM follows here.", "Then lorem, ipsum follows here."),
    "javascript": ("Please enable JavaScript now.", "Please enable Java Script now."),
    "curly bracket": ("A set is {1, 2}.", "A set is 1, 2}."),
    "policy": ("This site uses Cookies a lot.", "This site bakes cookies a lot."),
}


def test_every_rule_has_a_case():
    assert set(LINES) == {rule.name for rule in C4_RULES}


@pytest.mark.parametrize("rule", C4_RULES, ids=lambda rule: rule.name)
def test_each_rule_takes_its_line_or_page(rule):
    bad, good = LINES[rule.name]
    assert judge_line(bad)[1] is rule and judge_line(good)[1] is None
    assert c4_filter(f"{GOOD}\n{good}") == (f"{GOOD}\n{good}", None)
    expected = (f"{GOOD}\n{bad}", rule.name) if rule.page else (GOOD, None)
    assert c4_filter(f"{GOOD}\n{bad}") == expected


@pytest.mark.parametrize("line", ["wait...", "wait and see...", 'wait and see..."', "It ends here .", "So it ends.[1]"])
def test_end_marks(line):
    assert (judge_line(f"now {line} ")[1] is None) == (not line.endswith("..."))


def test_the_mark_is_looked_for_where_the_citation_was():
    """As in datatrove: the space before a citation stays, and the mark is not at the end any more."""
    assert judge_line("This is a fact.[1]") == ("This is a fact.", None)
    assert judge_line("This is a fact. [1]")[1].name == "no end mark"


def test_words_are_counted_with_the_citations():
    assert judge_line("[1] [2] fact.") == ("  fact.", None)


def test_a_page_rule_sees_only_lines_that_came_so_far():
    assert c4_filter(f"{GOOD}\nif (x) {{ return")[1] is None
    assert c4_filter(f"{GOOD}\nThis javascript {{ ends here.")[1] is None
    assert c4_filter(f"{GOOD}\nif (x) {{ return", end_punctuation=False)[1] == "curly bracket"


def test_four_sentences_are_too_few_and_five_are_not():
    four = GOOD.rsplit("\n", 1)[0]
    assert c4_filter(four) == (four, "fewer than 5 sentences")
    assert c4_filter(four, min_sentences=4) == (four, None)
    assert c4_filter("One is here. Two is here. Three is here. Four is here. Five is here.")[1] is None


def test_the_splitter_is_an_argument():
    assert c4_filter(GOOD, sentences=lambda line: [])[1] == "fewer than 5 sentences"
    assert c4_filter("Only one sentence here.", sentences=list)[1] is None


def test_the_least_number_of_words_counts_a_line_and_not_a_sentence():
    line = "Buy our watches now. They are the best. Order one today. Do not wait! Hurry!"
    assert c4_filter(line) == (line, None)
    assert c4_filter(line.replace(". ", ".\n").replace("! ", "!\n"))[1] == "fewer than 5 sentences"


# ---------------------------------------------------------------- sentences

SENTENCES = {
    "One. Two! Three? Four": 4,
    "Mr. Smith met Dr. Jones at 5 p.m. in town.": 1,
    "Use a tool, e.g. this one, i.e. that.": 1,
    "J. R. Smith wrote it. It is good.": 2,
    "Version 3.11 is out. See file.py for more.": 2,
    'He said "no." Then he left.': 2,
    "Wait... what?": 1,
    "(It is so.) Then it is not.": 2,
    "no mark at all": 1,
    "": 1,
}


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_by_hand(text):
    assert len(split_sentences(text)) == SENTENCES[text]
    assert len(split_into_sentences(text)) == SENTENCES[text]


@settings(deadline=None)
@given(st.text(alphabet="aB .!?'\")…\n", max_size=80))
def test_sentences_add_up_to_the_text(text):
    parts = split_sentences(text)
    assert "".join(parts) == text
    assert all(part and not part[0].isspace() for part in parts[1:])


# ---------------------------------------------------------------- the stages


def test_the_stage_rewrites_prose_and_leaves_code():
    text = f"Home | About\n{GOOD}\nRead more..."
    prose, code = make_document(text, "a.txt"), make_document(text, "a.py")
    assert c4_rejection(prose) is None and prose.text == GOOD
    assert c4_rejection(code) is None and code.text == text


def test_a_rejected_document_keeps_its_text():
    document = make_document(f"{GOOD}\nA set is {{1}}.", "a.txt")
    before = document.text
    assert c4_rejection(document) == "C4: curly bracket" and document.text == before


def test_the_stage_without_end_marks():
    text = f"A heading without mark\n{GOOD}"
    document = make_document(text, "a.txt")
    assert c4_rejection(document, end_punctuation=False) is None and document.text == text


def test_the_paragraph_stage_judges_prose_only():
    assert paragraph_rejection(make_document(GOOD, "a.txt")) == "C4: fewer than 3 paragraphs"
    assert paragraph_rejection(make_document(GOOD, "a.py")) is None
    assert paragraph_rejection(make_document("\n".join(["x" * 200] * 3), "a.txt")) is None
