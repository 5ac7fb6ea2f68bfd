"""The repetition rules against datatrove's filter (whole library, fuzzed texts), its helpers, and limits by hand."""

from __future__ import annotations

import random
from collections import Counter
from unittest.mock import patch

import datatrove.pipeline.filters.gopher_repetition_filter as theirs
import pytest
from datatrove.data import Document
from datatrove.utils.text import split_into_words
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import make_document, stdlib_documents
from llmbook.data.quality import broken_rule, split_words
from llmbook.data.repetition import (
    REPETITION_RULES,
    _suspect_starts,
    duplicate_characters,
    duplicate_ngram_share,
    duplicate_share,
    repetition_rejection,
    repetition_rule,
    text_lines,
    text_paragraphs,
    top_ngram_share,
)

THEIR_NAMES = {
    "duplicate paragraphs": "dup_para_frac",
    "characters in duplicate paragraphs": "dup_para_char_frac",
    "duplicate lines": "dup_line_frac",
    "characters in duplicate lines": "dup_line_char_frac",
    **{f"top {n}-gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicate {n}-grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
    "empty": "empty",
}
FILTER = theirs.GopherRepetitionFilter()


def their_rule(text: str) -> str | None:
    answer = FILTER.filter(Document(text=text, id=""))
    return None if answer is True else answer[1]


def our_rule(text: str, words: list[str] | None = None) -> str | None:
    reason = repetition_rule(text, words)
    return reason and THEIR_NAMES[reason]


@pytest.fixture
def same_words():
    """datatrove's filter splits words as ours does."""
    with patch.object(theirs, "split_into_words", lambda text, language: split_words(text)):
        yield


@pytest.fixture(scope="module")
def library() -> list[Document]:
    return list(stdlib_documents())


# ---------------------------------------------------------------- the whole corpus


def test_the_library_is_judged_alike_with_our_words(library, same_words):
    assert len(library) > 500
    different = [d.id for d in library if our_rule(d.text) != their_rule(d.text)]
    assert different == []


def test_the_library_is_judged_alike_with_spacys_words(library):
    """datatrove remembers the words of its last five texts, so each text is split once."""
    reasons = Counter()
    for document in library:
        reason = their_rule(document.text)
        assert our_rule(document.text, split_into_words(document.text)) == reason, document.id
        reasons[reason] += 1
    assert reasons[None] > 0.5 * len(library) and len(reasons) >= 6


# ---------------------------------------------------------------- fuzzed texts

VOCABULARY = "the of to a b ab aa x1 42 é 漢字 🙂 \U0010ffff ... -- # can not cannot it's e.g. word longerword".split()


def fuzzed_text(draw: random.Random) -> str:
    """Lines from a small stock, some said again, joined by one or more line ends."""
    vocabulary = [*draw.sample(VOCABULARY, draw.randint(2, 9)), *(f"w{k}" for k in range(draw.choice((0, 0, 40, 400))))]
    new_line = lambda: " ".join(draw.choices(vocabulary, k=draw.randint(1, 25)))  # noqa: E731
    again, glue = draw.choice((0.0, 0.1, 0.25, 0.4, 0.7)), draw.choice(("\n", "\n\n", " \n", "\n\n\n", "\r\n", "  "))
    said = [new_line()]
    for _ in range(draw.randint(0, 30)):
        said.append(draw.choice(said) if draw.random() < again else new_line())
    edge = draw.choice(("", "", "\n", "\n\n", " "))
    return edge + glue.join(said) + draw.choice((edge, "\n", ""))


def test_2500_fuzzed_texts_are_judged_alike(same_words):
    draw, reasons = random.Random(5), Counter()
    for text in (fuzzed_text(draw) for _ in range(2500)):
        reason = their_rule(text)
        assert our_rule(text) == reason, repr(text)
        reasons[reason] += 1
    assert min(reasons[name] for name in (None, "dup_para_frac", "dup_line_frac", "top_2_gram")) > 50
    assert reasons["dup_para_char_frac"] > 5 and reasons["dup_line_char_frac"] > 20 and reasons["duplicated_5_n_grams"] > 20


def test_1000_fuzzed_texts_are_judged_alike_with_spacys_words():
    draw = random.Random(6)
    for text in (fuzzed_text(draw) for _ in range(1000)):
        assert our_rule(text, split_into_words(text)) == their_rule(text), repr(text)


@given(st.text(alphabet="ab .\n\té𐀀\u2028", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_judged_alike(text):
    with patch.object(theirs, "split_into_words", lambda text, language: split_words(text)):
        assert our_rule(text) == their_rule(text)


# ---------------------------------------------------------------- each measurement against datatrove's helper

some_words = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa", "é", "🙂", "abc"]), max_size=60)


@given(some_words, st.integers(1, 10))
@settings(max_examples=300, deadline=None)
def test_ngram_shares_count_what_datatrove_counts(words, n):
    text = "x" * 1000
    assert duplicate_ngram_share(text, words, n) * 1000 == pytest.approx(theirs.find_all_duplicate(words, n))
    ngrams = theirs.get_n_grams(words, n)
    expected = theirs.find_top_duplicate(ngrams) if ngrams else 0
    assert top_ngram_share(text, words, n) * 1000 == pytest.approx(expected)


@settings(deadline=None)
@given(some_words.filter(bool))
def test_duplicates_count_what_datatrove_counts(parts):
    elements, characters = theirs.find_duplicates(parts)
    assert (duplicate_share(parts), duplicate_characters(parts)) == (elements / len(parts), characters)


@given(some_words, st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_suspects_miss_no_repetition(words, n):
    if len(words) <= n:
        return
    ends = [len("".join(words[:k])) for k in range(len(words) + 1)]
    ngrams = ["".join(words[k : k + n]) for k in range(len(words) - n + 1)]
    repeated = {k for k, ngram in enumerate(ngrams) if ngrams.count(ngram) > 1}
    assert repeated <= set(_suspect_starts("".join(words), ends, n))


def test_a_false_suspect_is_no_duplicate():
    """Anagrams have the same sum of cubes and are told apart by their letters."""
    words = "ab cd ef gh ij ba dc fe hg ji".split()
    assert _suspect_starts("".join(words), list(range(0, 21, 2)), 5) == [0, 1, 2, 3, 4, 5]
    assert duplicate_ngram_share("x", words, 5) == 0


def test_other_borders_between_the_same_letters_are_a_duplicate():
    words = "can not it is so cannot it is s o".split()
    assert "".join(words[:5]) == "".join(words[5:])
    assert duplicate_ngram_share("x" * 100, words, 5) == pytest.approx(theirs.find_all_duplicate(words, 5) / 100)
    assert theirs.find_all_duplicate(words, 5) == 12


# ---------------------------------------------------------------- limits, by hand


def unlike(count: int, start: int = 0) -> list[str]:
    """Words of four letters, all different."""
    return [f"{k:04x}" for k in range(0x1000 + start, 0x1000 + start + count)]


def repeating(n_words: int, fresh: int) -> str:
    """A run of n words, again at the end, `fresh` other words around."""
    run = unlike(n_words)
    return " ".join([*run, *unlike(fresh, 5000), *run])


@pytest.mark.parametrize("n, limit", [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)])
def test_duplicate_ngrams_at_their_limit(n, limit):
    """4n duplicate characters in a text of exactly 4n / limit pass; one character less does not."""
    words = [*unlike(n), *unlike(1, 3000), *unlike(n)]
    exact = round(4 * n / limit)
    rule = next(rule for rule in REPETITION_RULES if rule.name == f"duplicate {n}-grams")
    share = rule.measure("x" * exact, words)
    assert (share > rule.high) == (4 * n / exact > limit)
    assert rule.measure("x" * (exact - 1), words) > rule.high
    assert rule.measure("x" * (exact + 1), words) < rule.high
    assert rule.high == limit


@pytest.mark.parametrize("n, limit", [(2, 0.20), (3, 0.18), (4, 0.16)])
def test_top_ngrams_at_their_limit(n, limit):
    words = unlike(n) * 3
    occupied = 3 * (5 * n - 1)
    rule = next(rule for rule in REPETITION_RULES if rule.name == f"top {n}-gram")
    assert rule.high == limit
    assert rule.measure("x" * (int(occupied / limit) - 1), words) > limit
    assert rule.measure("x" * (int(occupied / limit) + 1), words) < limit


def test_shares_of_lines_and_paragraphs_at_their_limit():
    thirty, more = ["a"] * 4 + unlike(6), ["a"] * 5 + unlike(6)
    for glue, name in (("\n\n", "duplicate paragraphs"), ("\n", "duplicate lines")):
        rule = next(rule for rule in REPETITION_RULES if rule.name == name)
        assert rule.measure(glue.join(thirty), []) == 0.3 == rule.high < rule.measure(glue.join(more), [])
    fifth = ["x" * 20, "x" * 20]
    for glue, name in (("\n\n", "characters in duplicate paragraphs"), ("\n", "characters in duplicate lines")):
        rule = next(rule for rule in REPETITION_RULES if rule.name == name)
        rest = "y" * (60 - 2 * len(glue))
        assert rule.measure(glue.join([*fifth, rest]), []) == 0.2 == rule.high
        assert rule.measure(glue.join([*fifth, rest[1:]]), []) > rule.high


def without(name: str) -> list:
    return [rule for rule in REPETITION_RULES if rule.name != name]


@pytest.mark.parametrize("name", [rule.name for rule in REPETITION_RULES])
def test_a_filter_that_forgets_a_rule_is_noticed(name):
    """Among fuzzed texts is one that only this rule removes, or that it removes first."""
    draw = random.Random(11)
    texts = [fuzzed_text(draw) for _ in range(600)] + [repeating(n, fresh) for n in range(5, 40) for fresh in range(10, 400, 6)]
    assert any(repetition_rule(text) == name != broken_rule(text, without(name)) for text in texts)


def test_the_ends_of_a_text_count_as_lines_but_not_as_paragraphs():
    assert text_lines("\na\nb\n") == ["", "a", "b", ""]
    assert text_paragraphs("\n\na\n\nb\n\n") == ["a", "b"]
    assert duplicate_share(text_lines("\na\nb\n")) == 0.25


@pytest.mark.parametrize(
    "sentence", ["buy the best {} and all the {} you want to {}.", "now it is {} in this old {} that we saw {}"]
)
@pytest.mark.parametrize("choices", [10, 20])
def test_one_word_drawn_in_four_does_not_hide_a_repeated_sentence(sentence, choices):
    draw = random.Random(choices)
    text = " ".join(sentence.format(*(f"word{draw.randrange(choices)}" for _ in range(3))) for _ in range(60))
    share = duplicate_ngram_share(text, split_words(text), 5)
    assert repetition_rule(text) is not None and 0.4 < share < 0.8


def test_one_occurrence_is_enough_for_the_top_ngram():
    assert repetition_rule("hello world") == "top 2-gram"
    assert repetition_rule("hello") is None
    assert repetition_rule("") == "empty"
    assert repetition_rule(" ") is None


def test_words_must_be_a_list():
    with pytest.raises(ValueError, match="words must be a list"):
        repetition_rule("a text", "a text")


# ---------------------------------------------------------------- the stage


def test_the_stage_judges_prose_only():
    loop = "buy now\n" * 20
    prose, code = make_document(loop, "a.txt"), make_document(loop, "a.py")
    assert repetition_rejection(prose) == repetition_rule(loop) == "duplicate lines"
    assert repetition_rejection(code) is None
    assert prose.text == loop
