"""Measures of a vocabulary against brute force over encoded texts, `tokenizers`, and numbers by hand."""

from collections import Counter

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.tokenization.bpe import count_pretokens, learn_merges, token_bytes
from llmbook.tokenization.encoding import Encoder
from llmbook.tokenization.text import GPT2_PATTERN, GPT4_PATTERN, ID_OF_BYTE, visible_token
from llmbook.tokenization.vocabulary import (
    _embedding_share,
    _logit_bytes,
    _parallel_texts,
    _token_lengths,
    bytes_per_token,
    choose_vocabulary,
    encoded_counts,
    fertility,
    flops_per_byte,
    prefix_merges,
    premiums,
    token_totals,
    tokens_per_character,
    undertrained_tokens,
    undo_merges,
)

TEXTS = [
    "def frame(self, *args):\n        return self.frames[0] + aaaa\n\n\n",
    "The name of the game: don't frame the frames! 1234 12 1 aaaaaaa  aaa\n",
    "Größe, κόσμος, 世界 и мир 🎉\n\tif x:\n\t\treturn None\n",
] * 3
LETTERS = st.text(alphabet="aab é\n'世", max_size=60)


def learned(texts, size, pattern=GPT2_PATTERN):
    return list(learn_merges(count_pretokens(texts, pattern=pattern), size - 256))


def brute_counts(texts, merges, pattern=GPT2_PATTERN):
    encoder = Encoder(merges, pattern)
    found = Counter(number for text in texts for number in encoder.encode(text))
    return np.array([found[number] for number in range(256 + len(merges))])


def rust_encoder(merges):
    names = [visible_token(token) for token in token_bytes(merges)]
    vocabulary = {name: number for number, name in enumerate(names)}
    model = tokenizers.models.BPE(vocabulary, [(names[a], names[b]) for a, b in merges])
    rust = tokenizers.Tokenizer(model)
    rust.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda text: rust.encode(text).ids


# ---------------------------------------------------------------- counts at every size


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN])
def test_counts_are_those_of_the_encoded_texts(pattern):
    merges = learned(TEXTS, 330, pattern)
    counts = encoded_counts(count_pretokens(TEXTS, pattern=pattern), merges, pattern)
    assert counts.dtype == np.int64 and counts.shape == (256 + len(merges),)
    assert (counts == brute_counts(TEXTS, merges, pattern)).all()


def test_every_smaller_vocabulary_from_one_encoding():
    merges = learned(TEXTS, 360)
    counts = encoded_counts(count_pretokens(TEXTS), merges)
    totals = token_totals(counts, merges)
    assert totals.shape == (len(merges) + 1,)
    for k in range(len(merges) + 1):
        smaller = brute_counts(TEXTS, merges[:k])
        assert (undo_merges(counts, merges, 256 + k)[: 256 + k] == smaller).all()
        assert totals[k] == smaller.sum()
    assert totals[0] == sum(len(text.encode()) for text in TEXTS)


def test_rust_counts_the_same_tokens():
    merges = learned(TEXTS, 340)
    totals = token_totals(encoded_counts(count_pretokens(TEXTS), merges), merges)
    for k in (0, 1, 17, 50, len(merges)):
        encode = rust_encoder(merges[:k])
        assert totals[k] == sum(len(encode(text)) for text in TEXTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(LETTERS, min_size=1, max_size=4), st.data())
def test_undoing_merges_on_other_text_than_they_were_learned_from(train, other, data):
    merges = learned(train, 290)
    counts = encoded_counts(count_pretokens(other), merges)
    k = data.draw(st.integers(0, len(merges)))
    assert (undo_merges(counts, merges, 256 + k)[: 256 + k] == brute_counts(other, merges[:k])).all()
    assert token_totals(counts, merges)[k] == brute_counts(other, merges[:k]).sum()


def test_undone_entries_above_the_size_say_how_often_a_merge_was_applied():
    a, b = ID_OF_BYTE[ord("a")], ID_OF_BYTE[ord("b")]
    merges = [(a, b), (256, 256)]
    counts = encoded_counts({"abab": 3, "ab": 2, "c": 5}, merges)
    assert counts[[256, 257]].tolist() == [2, 3]
    assert undo_merges(counts, merges, 256)[[a, b, 256, 257]].tolist() == [8, 8, 8, 3]
    assert token_totals(counts, merges).tolist() == [21, 13, 10]
    assert counts[256] == 2  # the argument is not changed


def test_a_merge_of_a_token_with_itself_counts_twice():
    a = ID_OF_BYTE[ord("a")]
    merges = [(a, a), (256, a)]
    counts = encoded_counts({"aaa": 1, "aaaaa": 10}, merges)
    for k in range(3):
        assert (undo_merges(counts, merges, 256 + k)[: 256 + k] == brute_counts(["aaa"] + ["aaaaa"] * 10, merges[:k])).all()


def test_no_merges_and_no_text():
    assert token_totals(encoded_counts({"ab": 2}, []), []).tolist() == [4]
    assert token_totals(encoded_counts({}, [(1, 2)]), [(1, 2)]).tolist() == [0, 0]


def test_counts_and_merges_must_belong_together():
    with pytest.raises(ValueError, match="2 merges have 258 ids, but there are 257 counts"):
        token_totals(np.zeros(257, np.int64), [(1, 2), (3, 4)])
    for size in (255, 258):
        with pytest.raises(ValueError, match=f"vocabulary of {size} is not between 256 and 257"):
            undo_merges(np.zeros(257, np.int64), [(1, 2)], size)


def test_prefix_merges():
    merges = [(n, n + 1) for n in range(10)]
    assert prefix_merges(merges, 260) == merges[:4]
    assert prefix_merges(merges, 260, special_tokens=3) == merges[:1]
    assert prefix_merges(merges, 256) == [] and prefix_merges(merges, 266) == merges
    assert prefix_merges(merges, 266) is not merges
    for size, special in ((255, 0), (267, 0), (258, 3)):
        with pytest.raises(ValueError, match=f"vocabulary of {size}"):
            prefix_merges(merges, size, special)


def test_a_prefix_is_what_a_smaller_training_learns():
    assert prefix_merges(learned(TEXTS, 340), 300) == learned(TEXTS, 300)


# ---------------------------------------------------------------- measures of text


def test_bytes_per_token():
    assert bytes_per_token(21, 10) == 2.1
    assert bytes_per_token(12, np.array([12, 6, 4])).tolist() == [1, 2, 3]
    for tokens in (0, np.array([3, 0])):
        with pytest.raises(ValueError, match="5 bytes has 0 tokens"):
            bytes_per_token(5, tokens)


def test_fertility_and_tokens_per_character_by_hand():
    texts = ["two words", " three\nmore\u00a0words "]
    assert fertility(texts, str.encode) == (9 + 19) / 5
    assert fertility(iter(texts), str.split) == 1
    assert tokens_per_character(["é世"], str.encode) == 5 / 2
    assert fertility(["世界"], list) == 2


def test_measures_need_text():
    with pytest.raises(ValueError, match="2 texts have no word"):
        fertility(["", " \n"], str.encode)
    with pytest.raises(ValueError, match="1 texts have no character"):
        tokens_per_character([""], str.encode)


def test_premiums():
    assert premiums({"en": "abcd", "xx": "ab", "yy": "世界"}, str.encode) == {"en": 1, "xx": 0.5, "yy": 1.5}
    assert premiums({"en": "abcd", "xx": "ab"}, str.encode, reference="xx")["en"] == 2
    for parallel in ({"de": "abc"}, {"en": ""}):
        with pytest.raises(ValueError, match="no text in the reference 'en'"):
            premiums(parallel, str.encode)


def test_parallel_texts_are_two_sentences_in_fifteen_languages():
    texts = _parallel_texts()
    assert len(texts) == 15 and next(iter(texts)) == "en"
    assert texts["en"].startswith("All human beings are born free and equal in dignity and rights.")
    assert len(set(texts.values())) == 15
    sentences = {code: sum(text.count(stop) for stop in ".。") for code, text in texts.items()}
    assert sentences == {code: 1 if code == "es" else 2 for code in texts}  # the Spanish text is one sentence
    assert all(0.7 < premium < 2.2 for premium in premiums(texts, str.encode).values())


# ---------------------------------------------------------------- measures of tokens


def test_token_lengths():
    assert _token_lengths([b"a", b"b", b"ab", b"abcd"]).tolist() == [0, 0.5, 0.25, 0, 0.25]
    assert _token_lengths([b"a", b"ab"], np.array([3, 1])).tolist() == [0, 0.75, 0.25]
    with pytest.raises(ValueError, match="2 tokens, but 3 counts"):
        _token_lengths([b"a", b"ab"], np.array([3, 1, 2]))


def test_mean_token_length_is_bytes_per_token():
    merges = learned(TEXTS, 330)
    counts = encoded_counts(count_pretokens(TEXTS), merges)
    shares = _token_lengths(token_bytes(merges), counts)
    mean = shares @ np.arange(len(shares))
    expected = bytes_per_token(sum(len(text.encode()) for text in TEXTS), counts.sum())
    assert mean == pytest.approx(expected, rel=1e-12)


def test_undertrained_tokens():
    counts = np.array([50, 0, 5, 40, 5])
    assert undertrained_tokens(counts, 1000, 100).tolist() == [2, 4, 1]  # 50 each, 50, 0
    assert undertrained_tokens(counts, 2000, 100).tolist() == [1]  # exactly the threshold is enough
    assert undertrained_tokens(counts, 100).tolist() == [0, 3, 2, 4, 1]
    with pytest.raises(ValueError, match="no token occurs"):
        undertrained_tokens(np.zeros(3), 100)


# ---------------------------------------------------------------- cost


def test_cost_of_gpt2():
    blocks, width, V = 12 * 12 * 768**2, 768, 50_257
    assert flops_per_byte(blocks, width, V, 4.0) == 6 * (84_934_656 + 38_597_376) / 4
    assert _embedding_share(blocks, width, V) == pytest.approx(38_597_376 / 123_532_032)
    assert _embedding_share(blocks, width, V, tied=False) == pytest.approx(77_194_752 / 162_129_408)
    assert _logit_bytes(16, 1024, V) == 16 * 1024 * 50_257 * 4
    assert _logit_bytes(1, 2, 3, number_bytes=2) == 12


def test_choose_vocabulary_meets_the_condition_at_the_minimum():
    """With b(V) = V^e the head's share is e at the minimum: V D = e / (1 - e) N."""
    sizes = np.arange(256, 20_000)
    blocks, width, e = 1_000_000, 64, 0.2
    rates = sizes.astype(float) ** e
    best = choose_vocabulary(rates, blocks, width, multiple=1)
    assert best == pytest.approx(e / (1 - e) * blocks / width, abs=1)
    assert _embedding_share(blocks, width, best) == pytest.approx(e, abs=1e-4)
    costs = [flops_per_byte(blocks, width, int(V), V**e) for V in sizes]
    assert best == sizes[int(np.argmin(costs))]


def test_choose_vocabulary_takes_multiples_only():
    sizes = np.arange(256, 4000)
    rates = np.log(sizes)
    for multiple in (64, 100, 128):
        best = choose_vocabulary(rates, 100_000, 32, multiple)
        costs = {V: flops_per_byte(100_000, 32, V, np.log(V)) for V in range(256, 4000) if V % multiple == 0}
        assert best == min(costs, key=costs.get)
    with pytest.raises(ValueError, match="no multiple of 1000 between 256 and 355"):
        choose_vocabulary(np.ones(100), 10, 10, 1000)


@pytest.mark.parametrize("measure", [fertility, tokens_per_character])
def test_one_text_in_place_of_many(measure):
    with pytest.raises(ValueError, match="not one text; put a single one into a list"):
        measure("two words", list)
