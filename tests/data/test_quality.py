"""The quality rules against datatrove's Gopher filter (all documents, three splitters, fuzz), at each threshold, on the library."""

from __future__ import annotations

import random
import re
import sys
import textwrap
import warnings
from collections import Counter

import pytest
from datatrove.pipeline.filters import gopher_quality_filter as theirs
from datatrove.utils.text import split_into_words as spacy_words
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import make_document, stdlib_documents
from llmbook.data.quality import (
    CODE_RULES,
    GOPHER_RULES,
    Removal,
    Rule,
    _alphabetic_word_share,
    _alphanumeric_share,
    _generated_marks,
    _number_share,
    _proper_words,
    broken_rule,
    code_rejection,
    gopher_rejection,
    quality_rejection,
    split_words,
)

GOOD = "it was the best of times and it was the worst of times so we have to be content with that much " * 4

# datatrove's reasons, in its order, and the rule of ours that stands for each.
OUR_NAME = {
    "gopher_short_doc": "word count",
    "gopher_long_doc": "word count",
    "gopher_below_avg_threshold": "mean word length",
    "gopher_above_avg_threshold": "mean word length",
    "gopher_too_many_hashes": "hash signs per word",
    "gopher_too_many_ellipsis": "ellipses per word",
    "gopher_too_many_bullets": "bullet lines",
    "gopher_too_many_end_ellipsis": "lines ending in an ellipsis",
    "gopher_below_alpha_threshold": "alphabetic words",
    "gopher_enough_stop_words": "stop words",
}


class Theirs:
    """datatrove's filter with the words given from outside; counts what it compared."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.filter, self.words = theirs.GopherQualityFilter(), []
        patch.setattr(theirs, "split_into_words", lambda text, language: self.words)

    def rejection(self, text: str, words: list[str]) -> str | None:
        self.words = words
        verdict = self.filter.filter(make_document(text, "x.txt"))
        return None if verdict is True else OUR_NAME[verdict[1]]


@pytest.fixture
def datatrove_filter(monkeypatch):
    return Theirs(monkeypatch)


@pytest.fixture(scope="module")
def library():
    return list(stdlib_documents())


@pytest.fixture(scope="module")
def spaced(library):
    """Every document of the library with spaCy's words; a minute on a slow core."""
    return [(document, spacy_words(document.text)) for document in library]


# ---------------------------------------------------------------- the same decisions as datatrove


SPLITTERS = {
    "ours": split_words,
    "white space": str.split,
    "single marks": lambda text: re.findall(r"\w+|[^\w\s]", text),
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_every_document_of_the_library_with_words_of_ours(name, library, datatrove_filter):
    cases = [(document.text, SPLITTERS[name](document.text)) for document in library]
    equal = sum(gopher_rejection(*case) == datatrove_filter.rejection(*case) for case in cases)
    print(f"{name}: {len(cases)} documents, {equal} decisions and reasons equal")
    assert equal == len(cases) > 500


def test_every_document_of_the_library_with_spacys_words(spaced, datatrove_filter):
    equal = sum(
        gopher_rejection(document.text, words) == datatrove_filter.rejection(document.text, words) for document, words in spaced
    )
    print(f"spaCy: {len(spaced)} documents, {equal} decisions and reasons equal")
    assert equal == len(spaced) > 500


def test_datatrove_as_it_is(library):
    """No patch at all: datatrove splits by itself, we take the words that its splitter gives."""
    judge = theirs.GopherQualityFilter()
    for document in library[::20]:
        verdict = judge.filter(document)
        expected = None if verdict is True else OUR_NAME[verdict[1]]
        assert gopher_rejection(document.text, spacy_words(document.text)) == expected, document.id


def test_our_words_and_spacys_hardly_ever_decide_differently(spaced):
    pairs = [(gopher_rejection(document.text), gopher_rejection(document.text, words)) for document, words in spaced]
    decisions = [document.id for (document, _), (a, b) in zip(spaced, pairs, strict=True) if (a is None) != (b is None)]
    print(f"{len(pairs)} documents, decisions differ for {decisions}, reasons for {sum(a != b for a, b in pairs)}")
    assert len(decisions) <= 0.01 * len(pairs) and sum(a != b for a, b in pairs) < 0.2 * len(pairs)


USUAL = "the of and to be cat dog sees tree river bureaucratically incomprehensible".split()
ODD = "a I 42 3.14 # #tag ... … • - 1 ** １ !? ...... ##".split()


def random_text(draw: random.Random) -> str:
    """Lines of usual and odd words, at rates around each threshold."""
    usual, odd = draw.sample(USUAL, draw.randint(1, 6)), draw.sample(ODD, 3)
    rate, often = draw.choice([0, 0.05, 0.1, 0.2, 0.4]), draw.choice([0.3, 0.8, 0.9, 0.95, 1])
    start, end = draw.choice(["", "- ", " • "]), draw.choice(["", " ...", "…", "… "])
    lines = []
    for _ in range(draw.randint(0, 30)):
        line = " ".join(draw.choice(odd if draw.random() < rate else usual) for _ in range(draw.randint(0, 14)))
        lines.append(start + line + end if draw.random() < often else line)
    return draw.choice(["\n", "\r\n", "\n\n", "\u2028", "\x0b"]).join(lines)


def mutated(text: str, draw: random.Random) -> str:
    """A piece of a real document with words dropped, lines repeated, and symbols put in."""
    start = draw.randrange(len(text))
    lines = text[start : start + draw.randint(200, 3000)].splitlines()
    if draw.random() < 0.5:
        lines = lines * draw.randint(1, 4) + [lines[0]] * draw.randint(0, 20) if lines else []
    if draw.random() < 0.5:
        keep, put = draw.random(), draw.choice(["#", "...", "…", "•", "1", "-- --", "\u00e9t\u00e9", ""])
        lines = [" ".join(word if draw.random() < keep else put for word in line.split()) for line in lines]
    if draw.random() < 0.4:
        often, before, after = draw.random(), draw.choice(["- ", "• ", "* "]), draw.choice(["", "…", "..."])
        lines = [before + line + after if draw.random() < often else line for line in lines]
    return "\n".join(lines)


@pytest.mark.parametrize("name", SPLITTERS)
def test_two_thousand_awkward_texts(name, datatrove_filter):
    draw = random.Random(5)
    cases = [(text, SPLITTERS[name](text)) for text in (random_text(draw) for _ in range(2000))]
    expected = [datatrove_filter.rejection(*case) for case in cases]
    equal = sum(gopher_rejection(*case) == verdict for case, verdict in zip(cases, expected, strict=True))
    print(f"{name}: {len(cases)} texts, {equal} equal, {Counter(expected)}")
    assert equal == len(cases) and len(set(expected)) == 9


@pytest.mark.parametrize("name", SPLITTERS)
def test_two_thousand_mutations_of_real_documents(name, library, datatrove_filter):
    draw = random.Random(6)
    prose = [document for document in library if document.metadata["kind"] == "prose"]
    texts = [mutated(draw.choice(draw.choice([prose, library])).text, draw) for _ in range(2000)]
    cases = [(text, SPLITTERS[name](text)) for text in texts]
    expected = [datatrove_filter.rejection(*case) for case in cases]
    equal = sum(gopher_rejection(*case) == verdict for case, verdict in zip(cases, expected, strict=True))
    print(f"{name}: {len(cases)} texts, {equal} equal, {Counter(expected)}")
    assert equal == len(cases) and len(set(expected)) >= 6


def test_awkward_texts_with_spacys_words(datatrove_filter):
    draw = random.Random(7)
    for text in [random_text(draw) for _ in range(200)]:
        words = spacy_words(text)
        assert gopher_rejection(text, words) == datatrove_filter.rejection(text, words), text


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.text(alphabet="the of#.…•- \n\t１1_é", max_size=400), st.integers(0, 4))
def test_any_unicode(noise, marks, repeats):
    text = noise + "\n".join([marks + " the cat and dog"] * 12 * repeats)
    with pytest.MonkeyPatch.context() as patch:
        judge = Theirs(patch)
        for split in SPLITTERS.values():
            assert gopher_rejection(text, split(text)) == judge.rejection(text, split(text))


@pytest.mark.parametrize("text", ["", "\n", "\n\n \n", " ", "...", "#" * 60, "• " * 60, "１ " * 60, "-\n" * 60, "\u2028" * 9])
def test_empty_and_nearly_empty(text, datatrove_filter):
    for split in SPLITTERS.values():
        assert gopher_rejection(text, split(text)) == datatrove_filter.rejection(text, split(text)) is not None


def test_at_each_threshold_to_a_word(datatrove_filter):
    """Counts one by one across every threshold, where a `<` for a `<=` shows."""
    seen = Counter()
    for count in range(0, 140):
        plain = ["that", "cats", "with" if count % 5 else "sees", "dogs"] if count % 3 else ["of", "to", "have", "that"]
        fill = [plain[n % 4] for n in range(count)]
        for other in ("#", "...", "…", "12", "a", "incomprehensibilities"):
            for extra in (count // 9, count // 9 + 1, count // 4, count // 4 + 1):
                words = fill + [other] * extra
                for text in (" ".join(words), "\n".join(words), "- " + "\n- ".join(words)):
                    ours = gopher_rejection(text, words)
                    assert ours == datatrove_filter.rejection(text, words), (count, other, extra)
                    seen[ours] += 1
    assert len(seen) == 9 and sum(seen.values()) > 9000
    for length in (99_999, 100_000, 100_001):
        text = "the and cat dog " * 25_001
        words = text.split()[:length]
        assert gopher_rejection(text, words) == datatrove_filter.rejection(text, words)


def test_where_they_differ_without_words():
    """Without its lower limit datatrove divides by zero, or passes a NaN; ours says which rule is broken."""
    unlimited = theirs.GopherQualityFilter(min_doc_words=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ZeroDivisionError):
            unlimited.filter(make_document("", "x.txt"))
        assert unlimited.filter(make_document("!!! ???", "x.txt")) == (False, "gopher_below_alpha_threshold")
    assert broken_rule("", GOPHER_RULES[1:]) == broken_rule("!!! ???", GOPHER_RULES[1:]) == "mean word length"


# ---------------------------------------------------------------- each rule by itself


def lines(pattern: str, count: int) -> str:
    return "\n".join([pattern] * count)


# For each rule a text just outside its range, and one just inside that differs in nothing else.
PROSE_CASES = {
    "word count": ("the and " * 24 + "cat", "the and " * 25),
    "mean word length": ("of to be the " * 30, "of to have that " * 30),
    "hash signs per word": ("# " * 12 + "the and cat dog " * 25, "# " * 11 + "the and cat dog " * 25),
    "ellipses per word": ("... " * 12 + "the and cat dog " * 25, "... " * 11 + "the and cat dog " * 25),
    "bullet lines": (
        lines("- the cat and dog", 20),
        lines("- the cat and dog", 18) + "\n" + lines("the cat and dog", 2),
    ),
    "lines ending in an ellipsis": (
        lines("the cat and the dog and the cow …", 7) + "\n" + lines("the cat and the dog and the cow", 13),
        lines("the cat and the dog and the cow …", 6) + "\n" + lines("the cat and the dog and the cow", 14),
    ),
    "alphabetic words": ("the and cat dog 1234 5678 " * 20, "the and cat dog 1234 " * 20),
    "stop words": ("the cat sees dogs " * 20, "the cat and dog " * 20),
}


@pytest.mark.parametrize("rule", PROSE_CASES)
def test_each_prose_rule_at_its_threshold(rule, datatrove_filter):
    assert list(PROSE_CASES) == [known.name for known in GOPHER_RULES]
    outside, inside = PROSE_CASES[rule]
    assert gopher_rejection(GOOD) is None
    for split in SPLITTERS.values():
        if "..." in outside and split is SPLITTERS["single marks"]:
            continue
        assert gopher_rejection(outside, split(outside)) == datatrove_filter.rejection(outside, split(outside)) == rule
        assert gopher_rejection(inside, split(inside)) is datatrove_filter.rejection(inside, split(inside)) is None


@pytest.mark.parametrize("rule", PROSE_CASES)
def test_no_prose_rule_is_superfluous(rule):
    """A filter that forgets one rule lets that rule's case pass."""
    others = [other for other in GOPHER_RULES if other.name != rule]
    assert broken_rule(PROSE_CASES[rule][0], others) is None


def test_the_papers_thresholds():
    ranges = {rule.name: (rule.low, rule.high) for rule in GOPHER_RULES}
    assert ranges["word count"] == (50, 100_000) and ranges["mean word length"] == (3, 10)
    assert ranges["hash signs per word"] == ranges["ellipses per word"] == (0, 0.1)
    assert ranges["bullet lines"] == (0, 0.9) and ranges["lines ending in an ellipsis"] == (0, 0.3)
    assert ranges["alphabetic words"][0] == 0.8 and ranges["stop words"][0] == 2


def test_words():
    assert split_words("don't stop: 3.14 (é_1)…!") == ["don", "'", "t", "stop", ":", "3", ".", "14", "(", "é_1", ")…!"]
    assert split_words("") == [] == split_words(" \n\t\u2003")
    assert split_words("a b") is split_words("a b")
    assert _proper_words(["--", "•", "１", "_", "a", "…", "4"]) == ["•", "a", "4"]


def test_alphabetic_share_is_of_words_not_of_characters():
    text = "a b c 1234567890 d"
    assert _alphabetic_word_share(text, text.split()) == 0.8


def test_seven_rules_remove_one_long_document():
    """The solution of an exercise: long enough, and wrong in everything else."""
    text = "- # 12 ...\n" * 300
    assert len(split_words(text)) == 1200 and len(_proper_words(split_words(text))) == 300
    broken = [rule.name for rule in GOPHER_RULES if broken_rule(text, [rule])]
    assert broken == [rule.name for rule in GOPHER_RULES if rule.name != "word count"]


def test_words_must_be_a_list():
    with pytest.raises(ValueError, match="must be a list"):
        gopher_rejection("the cat", "the cat")


def test_a_measurement_that_is_no_number_breaks_its_rule():
    assert broken_rule("x", [Rule("odd", lambda text, words: float("nan"), 0, 1)]) == "odd"


# ---------------------------------------------------------------- code


FUNCTION = "def area(radius):\n    return 3.14 * radius ** 2  # of a circle with this radius in meters\n"
CODE_CASES = {
    "word count": ("import os\n", FUNCTION * 2),
    "longest line": (FUNCTION * 20 + "x = '" + "a b " * 249 + "'", FUNCTION * 20 + "x = '" + "a b " * 248 + "'"),
    "mean line length": (lines("name = other_name + " + "name " * 17, 20), lines("name = other_name + " + "name " * 15, 20)),
    "alphanumeric characters": (lines("[(a, _, _), ( . . ), [ ]] + [{}]", 20), lines("[(names, abcdef, _), ( . ), [ ]]", 20)),
    "numbers": (lines("first, second = 1, 2", 5) + "\n" + lines("abcd = 3", 20), lines("first, second = 1, other", 20)),
    "generated": ("# do not edit\n" + FUNCTION * 4, "\n" * 5 + "# do not edit\n" + FUNCTION * 4),
}


@pytest.mark.parametrize("rule", CODE_CASES)
def test_each_code_rule_at_its_threshold(rule):
    outside, inside = CODE_CASES[rule]
    assert list(CODE_CASES) == [known.name for known in CODE_RULES]
    assert code_rejection(outside) == rule and code_rejection(inside) is None
    assert broken_rule(outside, [other for other in CODE_RULES if other.name != rule]) is None


def test_shares():
    assert _number_share("a 1 b2 0x3", []) == 0.5 and _number_share("+ - *", []) == 0
    assert _alphanumeric_share("a1 é!", []) == 0.6 and _alphanumeric_share("", []) == 0


@pytest.mark.parametrize(
    "head",
    [
        "# Auto-generated by x.py",
        "# autogenerated",
        "/* This file is AUTOMATICALLY GENERATED */",
        "# Generated by x",
        "DO NOT EDIT",
    ],
)
def test_generated_files_say_so(head):
    assert _generated_marks(head, []) == _generated_marks("\n\n\n\n" + head, []) == 1
    assert _generated_marks("\n\n\n\n\n" + head, []) == 0
    assert code_rejection(head + "\n" + FUNCTION * 4) == "generated"
    assert code_rejection(f'{head}\n"""{textwrap.fill(GOOD, 70)}"""\n') is None


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_verdict(text):
    names = {rule.name for rule in (*GOPHER_RULES, *CODE_RULES)} | {None}
    assert gopher_rejection(text) in names and code_rejection(text) in names


# ---------------------------------------------------------------- the stage


def test_the_kind_chooses_the_rules():
    assert quality_rejection(make_document(FUNCTION * 4, "a.py")) is None
    assert quality_rejection(make_document(FUNCTION * 4, "a.txt")) is not None
    assert quality_rejection(make_document(GOOD, "a.txt")) is None
    assert Removal("a.txt", "word count", "prose", 5).bytes == 5


def test_the_splitter_is_an_argument():
    text = "the hedgehog and (seven) of the neighbor's (stones) - " * 20
    assert quality_rejection(make_document(text, "a.txt")) is None
    assert quality_rejection(make_document(text, "a.txt"), split=split_words) == "alphabetic words"


def test_the_stage_leaves_the_document_alone(library):
    for document in library[:30]:
        before = (document.text, dict(document.metadata))
        quality_rejection(document)
        assert (document.text, document.metadata) == before


def test_nearly_all_of_the_standard_library_stays(library):
    gone = {document.id: reason for document in library if (reason := quality_rejection(document))}
    sizes = {document.id: document.metadata["bytes"] for document in library}
    assert len(gone) < 0.06 * len(library) and sum(sizes[name] for name in gone) < 0.01 * sum(sizes.values())
    if sys.version_info < (3, 13):
        assert {"encodings/rot_13.py", "stringprep.py", "token.py"} <= gone.keys()
    assert not {"os.py", "textwrap.py", "turtle.py", "statistics.py", "pydoc_data/topics.py", "LICENSE.txt"} & gone.keys()
    assert set(gone.values()) <= {"word count", "numbers", "alphabetic words", "stop words", "generated"}


def test_prose_rules_drop_nearly_all_code_when_marks_are_words(library):
    code = [document.text for document in library if document.metadata["kind"] == "code"]
    kept = sum(gopher_rejection(text) is None for text in code)
    by_spaces = sum(gopher_rejection(text, text.split()) is None for text in code)
    assert kept < 0.02 * len(code) and 0.5 * len(code) < by_spaces < 0.68 * len(code)
