"""`llmbook.tokenization.bpe` against brute force and against the `tokenizers` library."""

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from llmbook.data.documents import stdlib_documents
from llmbook.tokenization import bpe
from llmbook.tokenization.text import BYTE_OF_ID, GPT4_PATTERN, PATTERNS, byte_ids, pretokenize


@pytest.fixture(scope="module")
def texts():
    return [document.text for document in stdlib_documents()]


@pytest.fixture(scope="module")
def pieces(texts):
    return bpe.count_pretokens(texts)


@pytest.fixture(scope="module")
def trained(texts):
    return bpe.train_bpe(texts, 32_768)


def gpt2_character_table():
    """GPT-2's `bytes_to_unicode`, as released: an oracle for the order of the alphabet."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    codes, hidden = list(visible), 0
    for byte in range(256):
        if byte not in visible:
            visible.append(byte)
            codes.append(256 + hidden)
            hidden += 1
    return {chr(code): byte for byte, code in zip(visible, codes, strict=True)}


def rust_merges(texts, vocab_size, pattern=None, special_tokens=()):
    tokenizer = Tokenizer(models.BPE())
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern)]
    if pattern:
        steps.insert(0, pre_tokenizers.Split(Regex(pattern), "isolated"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special_tokens),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    table = gpt2_character_table()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(bytes(table[character] for character in token) for token in pair) for pair in merges]


def merges_as_bytes(merges):
    tokens = bpe.token_bytes(merges)
    return [(tokens[left], tokens[right]) for left, right in merges]


def brute_force(frequencies, steps, ties="smaller ids"):
    """Everything counted anew at each step; the rule for ties is written as `max` over what the rule says."""
    words = {word: list(byte_ids(word)) for word in frequencies}
    tokens, merges = [bytes([byte]) for byte in BYTE_OF_ID], []
    while len(merges) < steps:
        counts = Counter()
        for word, ids in words.items():
            for pair in pairwise(ids):
                counts[pair] += frequencies[word]
        if not counts:
            break
        if ties == "smaller ids":
            best = max(counts, key=lambda pair: (counts[pair], -pair[0], -pair[1]))
        else:
            best = max(counts, key=lambda pair: (counts[pair], (tokens[pair[0]], tokens[pair[1]])))
        words = {word: bpe.merge_pair(ids, best, len(tokens)) for word, ids in words.items()}
        tokens.append(tokens[best[0]] + tokens[best[1]])
        merges.append(best)
    return merges


# Against the Rust trainer


@pytest.mark.parametrize("vocab_size", [1024, 4096, 32_768])
def test_merges_on_the_standard_library_are_those_of_the_rust_trainer(texts, trained, vocab_size):
    ours = trained[: vocab_size - 256]
    assert len(ours) == vocab_size - 256
    assert merges_as_bytes(ours) == rust_merges(texts, vocab_size)


def test_a_smaller_vocabulary_is_the_head_of_a_larger_one(pieces, trained):
    assert list(bpe.learn_merges(pieces, 768)) == trained[:768]


def test_merges_with_gpt4s_pattern_are_those_of_the_rust_trainer(texts):
    some = texts[::4]
    assert merges_as_bytes(bpe.train_bpe(some, 4096, pattern=GPT4_PATTERN)) == rust_merges(some, 4096, GPT4_PATTERN)


def test_merges_with_special_tokens_are_those_of_the_rust_trainer_between_them(texts):
    names = ["<|self|>", "<|import|>"]
    some = [text.replace("self", names[0]).replace("import", names[1]) for text in texts[::10]]
    ours = bpe.train_bpe(some, 2048, names)
    stretches = [part for text in some for half in text.split(names[0]) for part in half.split(names[1])]
    assert merges_as_bytes(ours) == rust_merges(stretches, 2048, special_tokens=names)
    assert len(ours) == 2048 - 256 - 2


@given(st.lists(st.text(alphabet="ab= é€", max_size=30), max_size=6), st.integers(256, 300))
@settings(deadline=None, max_examples=150)
def test_merges_of_small_texts_are_those_of_the_rust_trainer(small, vocab_size):
    assert merges_as_bytes(bpe.train_bpe(small, vocab_size)) == rust_merges(small, vocab_size)


@given(st.lists(st.text(alphabet="aab1\n ", max_size=40), max_size=6), st.integers(256, 300))
@settings(deadline=None, max_examples=100)
def test_merges_of_small_texts_with_gpt4s_pattern(small, vocab_size):
    ours = merges_as_bytes(bpe.train_bpe(small, vocab_size, pattern=GPT4_PATTERN))
    assert ours == rust_merges(small, vocab_size, GPT4_PATTERN)


# Against brute force


@pytest.mark.parametrize("ties", bpe._TIES)
@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=12), st.integers(1, 5), max_size=12))
@settings(deadline=None, max_examples=150)
def test_incremental_training_is_brute_force(ties, frequencies):
    assert list(bpe.learn_merges(frequencies, 20, ties)) == brute_force(frequencies, 20, ties)


@pytest.mark.parametrize("ties", bpe._TIES)
@given(st.dictionaries(st.text(alphabet="aÿ\x00€", min_size=1, max_size=8), st.integers(1, 2), max_size=8))
@settings(deadline=None, max_examples=100)
def test_incremental_training_is_brute_force_with_many_ties(ties, frequencies):
    assert list(bpe.learn_merges(frequencies, 40, ties)) == brute_force(frequencies, 40, ties)


@pytest.mark.parametrize("ties", bpe._TIES)
def test_incremental_training_is_brute_force_on_files(texts, ties):
    frequencies = bpe._count_batch(texts[:8])
    assert list(bpe.learn_merges(frequencies, 150, ties)) == brute_force(frequencies, 150, ties)


@pytest.mark.parametrize("ties", bpe._TIES)
def test_runs_of_one_letter(ties):
    runs = {"a" * length: 60 - length for length in range(1, 50)}
    assert list(bpe.learn_merges(runs, 60, ties)) == brute_force(runs, 60, ties)


@given(st.permutations(["low", "lower", "newest", "widest", "aaa", "aaaa", "ÿa"]), st.sampled_from(bpe._TIES))
@settings(deadline=None)
def test_the_order_of_the_pieces_decides_nothing(order, ties):
    frequencies = {piece: len(piece) for piece in order}
    assert list(bpe.learn_merges(frequencies, 30, ties)) == brute_force(dict(sorted(frequencies.items())), 30, ties)


@given(st.lists(st.integers(0, 2), max_size=12))
def test_merge_pair_keeps_the_bytes_and_leaves_no_pair(ids):
    merged = bpe.merge_pair(ids, (1, 1), 9)
    assert [number for token in merged for number in ([1, 1] if token == 9 else [token])] == ids
    assert (1, 1) not in pairwise(merged)


@given(st.text(alphabet="abc", max_size=14), st.sampled_from(["aa", "ab", "ba"]))
def test_merge_in_word_names_all_neighbors(word, pair):
    merged, lefts, rights = bpe._merge_in_word(word, pair, "X")
    assert merged == word.replace(pair, "X")
    found = Counter([left + "X" for left in lefts] + ["X" + right for right in rights])
    assert found == Counter(a + b for a, b in pairwise(merged) if "X" in (a, b))


@given(st.lists(st.text(alphabet="aab", max_size=14), min_size=1, max_size=6), st.sampled_from(["aa", "ab", "ba"]))
def test_a_merge_leaves_the_counts_of_a_new_index(words, pair):
    frequencies = list(range(1, len(words) + 1))
    counts, places = bpe.index_pairs(words, frequencies)
    if pair not in counts:
        return
    born = bpe.apply_merge(pair, "X", words, frequencies, counts, places)
    fresh, listed = bpe.index_pairs(words, frequencies)
    assert {p: count for p, count in counts.items() if count} == fresh
    assert all(sorted(places[p]) == listed[p] for p in born) and set(born) == {p for p in fresh if "X" in p}
    assert all(set(listed[p]) <= set(places[p]) for p in fresh)


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_descending_keys_reverse_the_order(one, other):
    assert (bpe._descending_key(one) < bpe._descending_key(other)) == (one > other)


@given(*[st.tuples(st.binary(max_size=3), st.binary(max_size=3))] * 2)
def test_descending_keys_of_pairs_reverse_the_order_of_the_pairs(one, other):
    keys = ["".join(map(bpe._descending_key, pair)) for pair in (one, other)]
    assert (keys[0] < keys[1]) == (one > other)


def test_pop_best_on_stale_entries():
    heap = [(-9, "ab"), (-9, "cd"), (-8, "ef"), (-1, "gh")]
    counts = {"ab": 0, "cd": 8, "ef": 8}
    assert [bpe._pop_best(heap, counts) for _ in range(4)] == ["cd", "ef", None, None]


def test_each_merge_makes_a_new_token(trained):
    tokens = bpe.token_bytes(trained)
    assert len(set(tokens)) == len(tokens) == 32_768


def test_ties_go_to_the_smaller_ids_not_to_the_smaller_bytes():
    # Byte 0x20 is smaller than "a", but its id 220 is larger than the 64 of "a".
    assert bpe.train_bpe([" b", "ab"], 257) == [(64, 65)]
    assert bpe.train_bpe([" b", "ab"], 257, ties="greater bytes") == [(64, 65)]
    assert bpe.train_bpe(["ab", "cd"], 257, ties="greater bytes") == [(66, 67)]


def test_a_longer_token_is_greater_than_its_beginning():
    # After "ab" and "abc" are tokens, ("abc", "x") and ("ab", "y") are equally frequent.
    frequencies = {"abc": 9, "ab": 9, "aby": 2, "abcx": 2}
    merged = merges_as_bytes(list(bpe.learn_merges(frequencies, 4, "greater bytes")))
    assert merged == [(b"a", b"b"), (b"ab", b"c"), (b"abc", b"x"), (b"ab", b"y")]
    assert list(bpe.learn_merges(frequencies, 4, "greater bytes")) == brute_force(frequencies, 4, "greater bytes")


def test_one_very_long_piece_takes_seconds_not_hours():
    random = Random(0)
    text = "".join(random.choices("ACGT", k=200_000))
    assert len(bpe.train_bpe([text], 400)) == 144


def test_ids_beyond_the_surrogates():
    # Ids from 0xD800 to 0xDFFF are surrogates inside a word; nothing encodes them.
    random = Random(0)
    frequencies = {"".join(random.choices("abcdefghijklmnop", k=16)): 1 for _ in range(12_000)}
    merges = list(bpe.learn_merges(frequencies, 100_000))
    assert max(map(max, merges)) > 0xDFFF
    tokens = bpe.token_bytes(merges)
    assert {piece.encode() for piece in frequencies} <= set(tokens)


# Counting pieces


def test_counts_are_those_of_all_pieces(texts, pieces):
    expected = Counter(piece for text in texts[:50] for piece in pretokenize(text))
    assert bpe.count_pretokens(texts[:50]) == bpe._count_batch(texts[:50]) == expected
    assert sum(count * len(piece) for piece, count in pieces.items()) == sum(map(len, texts))


def test_special_tokens_cut_the_text_and_take_part_in_no_merge():
    text = "ab<|end|>cd<|end|>" * 50
    merges = bpe.train_bpe([text], 300, special_tokens=["<|end|>"])
    assert sorted(bpe.token_bytes(merges)[256:]) == [b"ab", b"cd"]
    assert merges == bpe.train_bpe(["ab", "cd"] * 50, 300)


def test_special_tokens_take_ids_from_the_budget():
    text = ["the quick brown fox " * 3]
    assert len(bpe.train_bpe(text, 260)) == 4
    assert len(bpe.train_bpe(text, 260, ["<|a|>", "<|b|>"])) == 2


@pytest.mark.parametrize("size", [1, 5, 7, 100])
def test_batches_hold_all_texts_in_order_and_are_no_longer_than_needed(size):
    words = "to be or not to be that is the question".split()
    batches = list(bpe._text_batches(words, size))
    assert [word for batch in batches for word in batch] == words
    assert all(sum(map(len, batch)) >= size > sum(map(len, batch[:-1])) for batch in batches[:-1])


def test_texts_are_read_one_batch_at_a_time():
    read = []
    stream = bpe._text_batches((read.append(n) or "x" * 10 for n in range(100)), size=20)
    next(stream)
    assert read == [0, 1]


def test_workers_change_nothing_not_even_the_order(texts):
    some = texts[:300]
    expected = bpe.count_pretokens(iter(some), ["self"], GPT4_PATTERN)
    found = bpe.count_pretokens(iter(some), ["self"], GPT4_PATTERN, workers=2)
    assert list(found.items()) == list(expected.items())
    bounded = [bpe.count_pretokens(some, workers=workers, max_pieces=2000) for workers in (1, 2)]
    assert list(bounded[0].items()) == list(bounded[1].items()) and len(bounded[0]) <= 2000


def test_processes_do_not_run_ahead_of_who_reads():
    read = []
    results = bpe._map_in_order(abs, (read.append(n) or -n for n in range(50)), workers=2)
    assert next(results) == 0 and len(read) <= 4
    assert list(results) == list(range(1, 50))


@pytest.mark.parametrize("keep, left, dropped", [(5, 5, 0), (4, 4, 1), (3, 2, 2), (2, 2, 2), (1, 1, 7), (0, 0, 9)])
def test_the_rarest_pieces_go_and_equals_together(keep, left, dropped):
    counts = {"the": 9, "of": 7, "cat": 2, "dog": 2, "zyx": 1}
    assert bpe.prune_rarest(counts, keep) == dropped and len(counts) == left
    assert all(count > dropped for count in counts.values())


@given(st.lists(st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 9)), max_size=12), st.integers(1, 9))
def test_the_error_of_a_bounded_table_is_bounded(batches, keep):
    table, truth, bound = Counter(), Counter(), 0
    for batch in batches:
        table.update(batch)
        truth.update(batch)
        bound += bpe.prune_rarest(table, keep)
        assert len(table) <= keep
        assert all(count - bound <= table[piece] <= count for piece, count in truth.items())


def test_a_bounded_table_learns_nearly_the_same(pieces, texts, trained):
    quarter = len(pieces) // 4
    table = bpe.count_pretokens(iter(texts), max_pieces=quarter)
    assert len(table) <= quarter and all(table[piece] <= pieces[piece] for piece in table)
    few = set(bpe.token_bytes(list(bpe.learn_merges(table, 3000))))
    assert 0.85 < (len(few & set(bpe.token_bytes(trained[:3000]))) - 256) / 3000 < 0.98
    assert bpe.train_bpe(texts, 1024, max_pieces=len(pieces)) == trained[:768]


MIXED = st.lists(
    st.sampled_from([*"ab 1.'\n\t\r", " ", "  ", "\n\n", "'s", "!\n", "\u3002\n", "\u3042", "\x1c", "\xa0", "!\r\n"]), max_size=60
).map("".join)


@given(MIXED, st.integers(1, 8), st.sampled_from(sorted(PATTERNS)))
@settings(deadline=None, max_examples=500)
def test_blocks_of_a_text_have_the_pieces_of_the_whole(text, size, name):
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    pieces = list(bpe.text_blocks(chunks))
    assert "".join(pieces) == text
    cut = [word for piece in pieces for word in pretokenize(piece, PATTERNS[name])]
    assert cut == pretokenize(text, PATTERNS[name])


def test_memory_is_bounded_by_the_chunks():
    for line in ("word " * 20, "\u3042" * 50 + "\u3002\n", "x = 1\n"):
        pieces = list(bpe.text_blocks([line * 10] * 20))
        assert max(map(len, pieces)) <= 12 * len(line) and len(pieces) >= 20


# Limits and errors


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["a", "b"]])
def test_texts_without_pairs_give_no_merges(texts):
    assert bpe.train_bpe(texts, 300) == bpe.train_bpe(texts, 300, ties="greater bytes") == []


def test_texts_are_read_once_and_may_be_a_generator():
    assert bpe.train_bpe((text for text in ["abab"]), 258) == bpe.train_bpe(["abab"], 258)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((["x"], 255), {}, "a vocabulary of 255 is impossible: give from 256"),
        ((["x"], 257, ["<|a|>", "<|b|>"]), {}, "give from 258"),
        ((["x"], 2_000_000), {}, "to 1,000,000"),
        ((["x"], 300, ["<|a|>", "<|a|>"]), {}, "named twice"),
        ((["x"], 300, [""]), {}, "needs a name"),
        (("text", 300), {}, "put a single one into a list"),
        ((["x", "\ud800"], 300), {}, r"text 1 has the lone surrogate U\+D800"),
        (([b"x"], 300), {}, "text 0 is of type bytes"),
        ((["x"], 300, "<|end|>"), {}, "not one special token"),
        ((["x"], 300), {"ties": "first"}, "'smaller ids' or 'greater bytes', not to 'first'"),
        ((["x"], 300), {"workers": 0}, "workers is a number from 1, not 0"),
        ((["x"], 300), {"max_pieces": 1}, "max_pieces is a number from 2, not 1"),
    ],
)
def test_training_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        bpe.train_bpe(*arguments, **options)


def test_a_wrong_rule_is_refused_before_the_texts_are_read():
    def unread():
        raise AssertionError("read")
        yield

    with pytest.raises(ValueError, match="ties go to"):
        bpe.train_bpe(unread(), 300, ties="random")


@pytest.mark.parametrize(
    "merges, message", [([(0, 256)], "merge 0 joins 0 and 256"), ([(-1, 3)], "joins -1 and 3"), ([(1, 2), (1, 2)], "same token")]
)
def test_impossible_merges(merges, message):
    with pytest.raises(ValueError, match=message):
        bpe.token_bytes(merges)


def test_progress_is_on_stderr_only(capsys):
    assert bpe.train_bpe(["abcabc"], 258, progress=True)
    assert capsys.readouterr().out == ""


MEMORY = """
import re
from llmbook.data.documents import stdlib_documents
from llmbook.tokenization.bpe import train_bpe
merges = train_bpe((document.text for document in stdlib_documents()), 32_768)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(len(merges), int(peak[1]) / 1e3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc/self/status")
def test_training_takes_less_than_a_gigabyte():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    merges, megabytes = done.stdout.split()
    assert merges == "32512" and float(megabytes) < 1000


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hash_seeds_change_nothing(seed):
    script = (
        "from llmbook.tokenization.bpe import train_bpe\n"
        "print([train_bpe(['the cat sat on the mat, aaaa bbbb'] * 3, 290, ties=t) for t in ('smaller ids', 'greater bytes')])"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
    expected = [bpe.train_bpe(["the cat sat on the mat, aaaa bbbb"] * 3, 290, ties=ties) for ties in bpe._TIES]
    assert done.stdout.strip() == str(expected)
