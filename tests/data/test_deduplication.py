"""Deduplication against brute force, against datasketch, and on families that are known."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.deduplication import (
    candidate_probability,
    choose_bands,
    deduplicate,
    exact_duplicates,
    hash_overlap,
    jaccard,
    minhash,
    near_duplicates,
    shingle_hashes,
    shingles,
    word_hash,
)
from llmbook.data.documents import make_document, stdlib_documents


def documents_of(texts):
    return [make_document(text, f"{n}.txt") for n, text in enumerate(texts)]


def varied_texts(seed: int, families: int = 12, copies: int = 4, length: int = 150) -> list[str]:
    """Families of texts: copies of one text with some of its words replaced."""
    rng = random.Random(seed)
    texts = []
    for family in range(families):
        base = [f"w{rng.randrange(5000)}" for _ in range(length)]
        for _ in range(copies):
            changed = list(base)
            for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 8))):
                changed[rng.randrange(length)] = f"v{rng.randrange(10_000)}"
            texts.append(" ".join(changed))
    rng.shuffle(texts)
    return texts


def near_by_pairs(documents, threshold):
    sets, kept, found = [shingles(document.text) for document in documents], [], []
    for position, current in enumerate(sets):
        similarity, other = max(((jaccard(current, sets[k]), -k) for k in kept), default=(0, 0))
        if current and similarity >= threshold:
            found.append((position, -other, similarity))
        else:
            kept.append(position)
    return found


# ---------------------------------------------------------------- exact


@given(st.lists(st.sampled_from(["a", "b", "a ", "A", ""])))
@settings(deadline=None)
def test_exact_duplicates_are_equal_texts(texts):
    expected = [(n, texts.index(text)) for n, text in enumerate(texts) if texts.index(text) != n]
    assert exact_duplicates(documents_of(texts)) == expected


# ---------------------------------------------------------------- shingles


def test_shingles_by_hand():
    assert shingles("To be, or not to be!", 2) == {("to", "be"), ("be", "or"), ("or", "not"), ("not", "to")}
    assert shingles("one two", 5) == {("one", "two")} and shingles("?!", 5) == set() == shingles("", 1)
    assert jaccard({1, 2, 3}, {2, 3, 4}) == 0.5 and jaccard(set(), set()) == 0


sentences = st.lists(st.sampled_from("a b c d e f".split()), max_size=30).map(" ".join)


@given(sentences, sentences, st.integers(1, 6))
@settings(deadline=None)
def test_hashes_stand_for_shingles(a, b, n):
    x, y = shingle_hashes(a, n), shingle_hashes(b, n)
    assert len(x) == len(shingles(a, n)) and x.dtype == np.uint64 and (np.diff(x.astype(object)) > 0).all()
    assert hash_overlap(x, y) == pytest.approx(jaccard(shingles(a, n), shingles(b, n)), abs=0)


def test_no_collision_in_the_largest_files():
    largest = sorted(stdlib_documents(), key=lambda document: -document.metadata["bytes"])[:8]
    union, hashes = set(), set()
    for document in largest:
        union |= shingles(document.text)
        hashes |= set(shingle_hashes(document.text).tolist())
    assert len(union) == len(hashes) > 100_000


def test_hashes_are_the_same_in_every_process():
    code = "from llmbook.data.deduplication import *; print(word_hash('ü'), shingle_hashes('a b c d e f').tolist())"
    expected = f"{word_hash('ü')} {shingle_hashes('a b c d e f').tolist()}\n"
    for seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout == expected, done.stderr


# ---------------------------------------------------------------- MinHash and bands


@pytest.mark.parametrize("common", [0, 100, 300, 450, 500])
def test_minhash_estimates_the_similarity(common):
    """The mean of many estimates lies within four standard errors of the exact similarity."""
    rng = random.Random(common)
    exact = common / (1000 - common)
    estimates = []
    for _ in range(30):
        words = [f"w{rng.randrange(10**9)}" for _ in range(1000 - common)]
        a, b = np.unique([word_hash(w) for w in words[:500]]), np.unique([word_hash(w) for w in words[500 - common :]])
        assert hash_overlap(a.astype(np.uint64), b.astype(np.uint64)) == exact
        estimates.append(minhash(a.astype(np.uint64)).jaccard(minhash(b.astype(np.uint64))))
    assert abs(np.mean(estimates) - exact) <= 4 * (exact * (1 - exact) / (128 * 30)) ** 0.5 + 1e-12


def test_a_signature_in_pieces_is_datasketch_in_one():
    hashes = shingle_hashes(" ".join(f"w{n}" for n in range(30_000)))
    whole = MinHash(num_perm=64, seed=1, hashfunc=int)
    whole.update_batch([int(value) >> 32 for value in hashes])
    assert (minhash(hashes, 64).hashvalues == whole.hashvalues).all()


def test_candidate_probability_by_simulation():
    rng = np.random.default_rng(0)
    for similarity, bands, rows in ((0.5, 4, 2), (0.8, 5, 5), (0.3, 10, 1)):
        agree = (rng.random((20_000, bands, rows)) < similarity).all(axis=2).any(axis=1).mean()
        assert candidate_probability(similarity, bands, rows) == pytest.approx(agree, abs=0.015)


@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_reach_the_recall_with_as_many_rows_as_possible(threshold):
    bands, rows = choose_bands(threshold, 128, recall=0.99)
    assert bands >= 2 and bands * rows <= 128
    if rows > 1:
        assert candidate_probability(threshold, bands, rows) >= 0.99
    if rows < 64:
        assert candidate_probability(threshold, 128 // (rows + 1), rows + 1) < 0.99


# ---------------------------------------------------------------- near duplicates


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_near_duplicates_are_those_of_all_pairs(seed, threshold):
    documents = documents_of(varied_texts(seed))
    expected, found = near_by_pairs(documents, threshold), near_duplicates(documents, threshold)
    assert len(expected) > 5
    assert found == expected


def test_the_codec_tables_are_found_as_by_all_pairs():
    tables = [document for document in stdlib_documents() if document.id.startswith("encodings/")]
    found = near_duplicates(tables)
    assert found == near_by_pairs(tables, 0.8)
    pairs = {(tables[a].id, tables[b].id) for a, b, _ in found}
    assert {("encodings/cp1140.py", "encodings/cp037.py"), ("encodings/cp858.py", "encodings/cp850.py")} <= pairs


def test_the_same_words_in_another_order_are_no_copy():
    words = [f"w{n}" for n in range(300)]
    shuffled = random.Random(0).sample(words, len(words))
    assert near_duplicates(documents_of([" ".join(words), " ".join(shuffled)]), 0.1) == []


def test_texts_without_words_are_left_alone():
    assert near_duplicates(documents_of(["", "?!", "...", "one", "one!"])) == [(4, 3, 1.0)]
    assert near_duplicates([]) == [] and deduplicate([]) == ([], [])


@pytest.mark.parametrize("threshold", [0, -1, 1.1, 80, float("nan")])
def test_a_threshold_is_a_similarity(threshold):
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        near_duplicates([], threshold)


@given(st.lists(sentences, max_size=12))
@settings(deadline=None, max_examples=40)
def test_deduplication_keeps_firsts_and_accounts_for_the_rest(texts):
    documents = documents_of(texts)
    kept, removed = deduplicate(documents, 0.8)
    ids = [document.id for document in documents]
    assert sorted([document.id for document in kept] + [item.id for item in removed]) == sorted(ids)
    assert [document.id for document in kept] == [name for name in ids if name in {document.id for document in kept}]
    position = {name: n for n, name in enumerate(ids)}
    for item in removed:
        other = item.detail.split(" ")[-1]
        assert position[other] < position[item.id]
        assert item.reason in ("exact duplicate", "near duplicate")
    assert deduplicate(kept, 0.8) == (kept, [])


def test_two_documents_of_one_name_are_two_documents():
    documents = [
        make_document("one two three four five six", "same"),
        make_document("quite another text than that", "same"),
    ]
    assert deduplicate(documents) == (documents, [])
