"""`llmbook.tokenization.bpe` against brute force and against the `tokenizers` library."""

import json
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmbook.data.documents import stdlib_documents
from llmbook.tokenization import bpe


@pytest.fixture(scope="module")
def texts():
    return [document.text for document in stdlib_documents()]


@pytest.fixture(scope="module")
def trained(texts):
    return bpe.train_bpe(texts, 4096)


def rust_tokenizer(texts, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def gpt2_character_table():
    """GPT-2's `bytes_to_unicode`, as released: an oracle for the order of the alphabet."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    codes, hidden = list(visible), 0
    for byte in range(256):
        if byte not in visible:
            visible.append(byte)
            codes.append(256 + hidden)
            hidden += 1
    return {chr(code): byte for byte, code in zip(visible, codes)}


def rust_merges(tokenizer):
    table = gpt2_character_table()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(bytes(table[character] for character in token) for token in pair) for pair in merges]


def merges_as_bytes(merges):
    tokens = bpe.token_bytes(merges)
    return [(tokens[left], tokens[right]) for left, right in merges]


def brute_force(frequencies, steps):
    words = {word: list(bpe.byte_ids(word)) for word in frequencies}
    merges = []
    for new_id in range(256, 256 + steps):
        counts = Counter()
        for word, ids in words.items():
            for pair in pairwise(ids):
                counts[pair] += frequencies[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        words = {word: bpe.merge_pair(ids, best, new_id) for word, ids in words.items()}
        merges.append(best)
    return merges


@pytest.mark.parametrize("vocab_size", [1024, 4096])
def test_merges_on_the_standard_library_are_those_of_the_rust_trainer(texts, trained, vocab_size):
    ours = bpe.train_bpe(texts, vocab_size) if vocab_size != 4096 else trained
    assert len(ours) == vocab_size - 256
    assert merges_as_bytes(ours) == rust_merges(rust_tokenizer(texts, vocab_size))
    assert ours == trained[: len(ours)]


@given(st.lists(st.text(alphabet="ab= é€", max_size=30), max_size=6), st.integers(256, 300))
@settings(deadline=None, max_examples=150)
def test_merges_of_small_texts_are_those_of_the_rust_trainer(small, vocab_size):
    assert merges_as_bytes(bpe.train_bpe(small, vocab_size)) == rust_merges(rust_tokenizer(small, vocab_size))


@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=12), st.integers(1, 5), max_size=12))
@settings(deadline=None)
def test_incremental_training_is_brute_force(frequencies):
    assert list(bpe.learn_merges(frequencies, 20)) == brute_force(frequencies, 20)


def test_runs_of_one_letter():
    runs = {"a" * length: 60 - length for length in range(1, 50)}
    assert list(bpe.learn_merges(runs, 60)) == brute_force(runs, 60)


def test_one_very_long_piece_takes_seconds_not_hours():
    random = Random(0)
    text = "".join(random.choices("ACGT", k=200_000))
    assert len(bpe.train_bpe([text], 400)) == 144


def test_ties_go_to_the_smaller_ids_not_to_the_smaller_bytes():
    # Byte 0x20 is smaller than "a", but its id 220 is larger than the 64 of "a".
    assert bpe.train_bpe([" b", "ab"], 257) == [(64, 65)]


@given(st.lists(st.integers(0, 2), max_size=12))
def test_merge_pair_keeps_the_bytes_and_leaves_no_pair(ids):
    merged = bpe.merge_pair(ids, (1, 1), 9)
    assert [number for token in merged for number in ([1, 1] if token == 9 else [token])] == ids
    assert (1, 1) not in pairwise(merged)


@given(st.text(alphabet="ab", max_size=14), st.sampled_from(["aa", "ab", "ba"]))
def test_merge_in_word_accounts_for_every_pair(word, pair):
    merged, lost, gained = bpe.merge_in_word(word, pair, "X")
    assert merged == word.replace(pair, "X")
    counts = Counter(left + right for left, right in pairwise(word))
    counts.update(gained)
    counts.subtract(lost)
    assert min(counts.values(), default=0) >= 0
    assert +counts == Counter(left + right for left, right in pairwise(merged))


# The Unicode tables of `regex`, of `tokenizers` and of this Python differ in age: characters that are new are left out.
ESTABLISHED = st.characters(exclude_categories=("Cs", "Cn"))


@given(st.text())
def test_pretokens_join_to_the_text(text):
    assert "".join(bpe.pretokenize(text)) == text


@given(st.text(alphabet=ESTABLISHED))
@settings(deadline=None, max_examples=300)
def test_pretokens_are_those_of_the_library(text):
    spans = [span for _, span in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]
    assert bpe.pretokenize(text) == [text[start:end] for start, end in spans]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_ascii_pattern_is_gpt2s(text):
    assert bpe.pretokenize(text) == regex.findall(bpe.GPT2_PATTERN, text)


def test_another_pattern():
    assert bpe.pretokenize("a1 b", r"\w+|\s") == ["a1", " ", "b"]


def test_special_tokens_cut_the_text_and_take_part_in_no_merge():
    text = "ab<|end|>cd<|end|>" * 50
    merges = bpe.train_bpe([text], 300, special_tokens=["<|end|>"])
    assert sorted(bpe.token_bytes(merges)[256:]) == [b"ab", b"cd"]
    assert merges == bpe.train_bpe(["ab", "cd"] * 50, 300)


def test_the_longer_of_two_special_names_counts():
    assert bpe.split_at_special("x<a><b>y", ["<a>", "<a><b>"]) == ["x", "y"]


def test_special_tokens_take_ids_from_the_budget():
    text = ["the quick brown fox " * 3]
    assert len(bpe.train_bpe(text, 260)) == 4
    assert len(bpe.train_bpe(text, 260, ["<|a|>", "<|b|>"])) == 2


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["a", "b"]])
def test_texts_without_pairs_give_no_merges(texts):
    assert bpe.train_bpe(texts, 300) == []


def test_texts_are_read_once_and_may_be_a_generator():
    assert bpe.train_bpe((text for text in ["abab"]), 258) == bpe.train_bpe(["abab"], 258)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["x"], 255), "a vocabulary of 255 is impossible: give from 256"),
        ((["x"], 257, ["<|a|>", "<|b|>"]), "give from 258"),
        ((["x"], 2_000_000), "to 1,000,000"),
        ((["x"], 300, ["<|a|>", "<|a|>"]), "named twice"),
        ((["x"], 300, [""]), "needs a name"),
        (("text", 300), "put a single one into a list"),
        ((["\ud800"], 300), "surrogates not allowed"),
    ],
)
def test_training_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        bpe.train_bpe(*arguments)


def test_progress_is_on_stderr_only(capsys):
    assert bpe.train_bpe(["abcabc"], 258, progress=True)
    assert capsys.readouterr().out == ""


def test_ids_are_those_of_the_library_on_whole_files(texts, trained):
    rust = rust_tokenizer(texts[:1], 256)
    data = json.loads(rust.to_str())
    names = {byte: character for character, byte in gpt2_character_table().items()}
    tokens = ["".join(names[byte] for byte in token) for token in bpe.token_bytes(trained)]
    data["model"]["vocab"] = {token: number for number, token in enumerate(tokens)}
    data["model"]["merges"] = [[tokens[left], tokens[right]] for left, right in trained]
    rust = Tokenizer.from_str(json.dumps(data))
    some = texts[::40]
    assert [bpe.encode_bpe(text, trained) for text in some] == [item.ids for item in rust.encode_batch(some)]


@given(st.text())
@settings(deadline=None)
def test_round_trip(text):
    merges = bpe.train_bpe([text, "the then there ünïcödé"], 280)
    assert bpe.decode_bpe(bpe.encode_bpe(text, merges), bpe.token_bytes(merges)) == text


@given(st.binary())
def test_any_bytes_decode_as_python_decodes_them(data):
    ids = [bpe.ID_OF_BYTE[byte] for byte in data]
    assert bpe.decode_bpe(ids, bpe.token_bytes([])) == data.decode("utf-8", errors="replace")


@pytest.mark.parametrize("ids", [[256], [-1], [0, 10**9]])
def test_unknown_ids(ids):
    with pytest.raises(ValueError, match=f"there is no token {ids[-1]}: ids go from 0 to 255"):
        bpe.decode_bpe(ids, bpe.token_bytes([]))


@pytest.mark.parametrize(
    "merges, message", [([(0, 256)], "merge 0 joins 0 and 256"), ([(-1, 3)], "joins -1 and 3"), ([(1, 2), (1, 2)], "same token")]
)
def test_impossible_merges(merges, message):
    with pytest.raises(ValueError, match=message):
        bpe.token_bytes(merges)


def test_the_alphabet_is_gpt2s():
    assert bpe.BYTE_OF_ID == bytes(gpt2_character_table().values())
    assert all(bpe.ID_OF_BYTE[byte] == number for number, byte in enumerate(bpe.BYTE_OF_ID))


def test_compression_of_the_standard_library(texts, trained):
    frequencies = bpe.count_pretokens(texts)
    ranks = {pair: 256 + number for number, pair in enumerate(trained)}
    tokens = sum(count * len(bpe.encode_word(word, ranks)) for word, count in frequencies.items())
    assert 3.0 < sum(len(text.encode()) for text in texts) / tokens < 4.2
