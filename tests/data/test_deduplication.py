"""Deduplication against brute force, against datasketch and datatrove, and on families that are known."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.deduplication import (
    DuplicateIndex,
    LineCounts,
    Permutations,
    UnionFind,
    _bucket_links,
    _counted_copies,
    _datasketch_minhash,
    _first_copies,
    _fold_hashes,
    _hash64,
    _hash_overlap,
    _HashTable,
    _join_candidates,
    _line_hashes,
    _mix_hashes,
    _normalized_lines,
    _repeated_lines,
    _Staying,
    band_keys,
    candidate_pairs,
    candidate_probability,
    choose_bands,
    cluster_labels,
    cluster_near_duplicates,
    count_lines,
    deduplicate,
    drop_repeated_lines,
    exact_duplicates,
    jaccard,
    make_permutations,
    merge_line_counts,
    minhash_signature,
    near_duplicates,
    shingle_hashes,
    shingles,
    text_hash,
)
from llmbook.data.documents import make_document, stdlib_documents


def documents_of(texts):
    return [make_document(text, f"{n}.txt") for n, text in enumerate(texts)]


def varied_texts(seed: int, families: int = 12, copies: int = 4, length: int = 150) -> list[str]:
    """Families of texts: copies of one text with some of its words replaced."""
    rng = random.Random(seed)
    texts = []
    for _ in range(families):
        base = [f"w{rng.randrange(5000)}" for _ in range(length)]
        for _ in range(copies):
            changed = list(base)
            for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 8))):
                changed[rng.randrange(length)] = f"v{rng.randrange(10_000)}"
            texts.append(" ".join(changed))
    rng.shuffle(texts)
    return texts


def near_by_pairs(documents, threshold):
    """The definition: each document against all that stayed."""
    sets, kept, found = [shingles(document.text) for document in documents], [], []
    for position, current in enumerate(sets):
        similarity, other = max(((jaccard(current, sets[k]), -k) for k in kept), default=(0, 0))
        if current and similarity >= threshold:
            found.append((position, -other, similarity))
        else:
            kept.append(position)
    return found


def signatures_of(held, permutations):
    return np.array([minhash_signature(hashes, permutations) for hashes in held])


def together(labels) -> set[tuple[int, int]]:
    """The pairs of positions that have the same label."""
    clusters = defaultdict(list)
    for position, name in enumerate(labels):
        clusters[int(name)].append(position)
    return {pair for members in clusters.values() for pair in combinations(members, 2)}


@pytest.fixture(scope="module")
def library():
    return list(stdlib_documents())


@pytest.fixture(scope="module")
def held(library):
    return [shingle_hashes(document.text) for document in library]


@pytest.fixture(scope="module")
def exact(held):
    """Every similarity above 0 in the library, by brute force over an inverted index."""
    owners = defaultdict(list)
    for position, hashes in enumerate(held):
        for value in hashes.tolist():
            owners[value].append(position)
    common = Counter(pair for some in owners.values() if len(some) > 1 for pair in combinations(some, 2))
    return {(a, b): count / (len(held[a]) + len(held[b]) - count) for (a, b), count in common.items()}


@pytest.fixture(scope="module")
def truth(exact):
    return {pair for pair, similarity in exact.items() if similarity >= 0.8}


# ---------------------------------------------------------------- exact


@given(st.lists(st.sampled_from(["a", "b", "a ", "A", ""])))
@settings(deadline=None)
def test_exact_duplicates_are_equal_texts(texts):
    expected = [(n, texts.index(text)) for n, text in enumerate(texts) if texts.index(text) != n]
    assert exact_duplicates(documents_of(texts)) == expected


def test_text_hashes_are_blake2b():
    import hashlib

    assert text_hash("ü") == hashlib.blake2b("ü".encode(), digest_size=16).digest()
    assert _hash64("ü") == int.from_bytes(hashlib.blake2b("ü".encode(), digest_size=8).digest(), "little")
    assert len({text_hash(text) for text in ("", " ", "a", "\ud800")}) == 4


def test_hashes_are_the_same_in_every_process():
    code = (
        "from llmbook.data.deduplication import *; h = shingle_hashes('a b c d e f ü'); "
        "print(text_hash('ü'), h.tolist(), minhash_signature(h, make_permutations(5)).tolist())"
    )
    h = shingle_hashes("a b c d e f ü")
    expected = f"{text_hash('ü')} {h.tolist()} {minhash_signature(h, make_permutations(5)).tolist()}\n"
    for seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout == expected, done.stderr


# ---------------------------------------------------------------- lines

lines = st.lists(
    st.sampled_from(["Home | Contact", "home  contact!", "(c) 2019", "(c) 2024", "", "---", "Bread", "Cake"]), max_size=8
)


def plain(line: str) -> str:
    """A second way to write the normal form of a line."""
    kept = "".join("0" if c.isdigit() else c.lower() if c.isalnum() or c == "_" else " " for c in line)
    return " ".join(kept.split())


@given(st.lists(lines, max_size=6), st.integers(1, 4))
@settings(deadline=None)
def test_lines_count_once_per_document(pages, at_least):
    documents = documents_of("\n".join(page) for page in pages)
    counts = Counter(name for page in pages for name in {plain(line) for line in page} - {""})
    expected = {name for name, count in counts.items() if count >= at_least}
    repeated = _repeated_lines(documents, at_least)
    assert sorted(_hash64(name) for name in expected) == repeated.tolist()
    for document in documents:
        left = [line for line in document.text.split("\n") if plain(line) not in expected]
        assert drop_repeated_lines(document.text, repeated) == "\n".join(left)


@given(st.lists(lines, max_size=7), st.integers(0, 7), st.integers(1, 3))
@settings(deadline=None)
def test_line_counts_do_not_depend_on_the_parts(pages, cut, at_a_time):
    documents = documents_of("\n".join(page) for page in pages)
    whole = count_lines(documents)
    parts = [count_lines(documents[cut:], at_a_time), count_lines(documents[:cut], at_a_time)]
    for merged in (merge_line_counts(parts), merge_line_counts([merge_line_counts([]), *parts])):
        assert isinstance(merged, LineCounts) and merged.hashes.dtype == np.uint64 and merged.documents.dtype == np.int64
        assert (merged.hashes == whole.hashes).all() and (merged.documents == whole.documents).all()


def test_lines_by_hand():
    assert _normalized_lines("A-b  C\n\n12:30, x_y") == ["a b c", "", "00 00 x_y"]
    assert _line_hashes("a\n!\na").tolist() == [_hash64("a"), 0, _hash64("a")]
    assert drop_repeated_lines("a\nb", np.empty(0, np.uint64)) == "a\nb"
    assert drop_repeated_lines("", np.array([_hash64("a")], np.uint64)) == ""


def test_lines_that_break_elsewhere_stay_whole():
    """Only a line feed ends a line, so a text comes back with all of its other separators."""
    text = "a\u2028b\x0cc\x85d\r\ne"
    assert len(_line_hashes(text)) == 2 and drop_repeated_lines(text, np.array([1], np.uint64)) == text


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
    assert _hash_overlap(x, y) == pytest.approx(jaccard(shingles(a, n), shingles(b, n)), abs=0)


@given(
    st.sets(st.integers(0, 2**64 - 1), max_size=40), st.sets(st.integers(0, 2**64 - 1), max_size=40), st.sets(st.integers(0, 99))
)
def test_overlap_is_that_of_sets(a, b, both):
    x, y = (np.array(sorted(s | both), np.uint64) for s in (a, b))
    assert _hash_overlap(x, y) == _hash_overlap(y, x) == jaccard(a | both, b | both)


def test_no_collision_in_the_largest_files(library):
    largest = sorted(library, key=lambda document: -document.metadata["bytes"])[:8]
    union, hashes = set(), set()
    for document in largest:
        union |= shingles(document.text)
        hashes |= set(shingle_hashes(document.text).tolist())
    assert len(union) == len(hashes) > 100_000


def test_the_table_of_words_is_bounded(monkeypatch):
    table = _HashTable()
    for n in range(199_999):
        dict.__setitem__(table, str(n), n)
    assert table["last"] == _hash64("last") and len(table) == 200_000
    assert table["new"] == _hash64("new") and len(table) == 1 and table["new"] == table["new"]


def test_mixing_is_that_of_python_integers():
    for state, value in ((0, 0), (1, 2), (2**64 - 1, 12345678901234567890)):
        mixed = ((state ^ value) * 0x9E3779B97F4A7C15) % 2**64
        found = _mix_hashes(np.array([state], np.uint64), np.array([value], np.uint64))
        assert found.tolist() == [mixed ^ (mixed >> 29)]


# ---------------------------------------------------------------- MinHash


def test_the_maps_are_permutations():
    """On 8 instead of 32 bits every odd factor permutes, and no even one does."""
    for a in range(256):
        assert (len({(a * h + 7) % 256 for h in range(256)}) == 256) == (a % 2 == 1)
    maps = make_permutations(1000, seed=3)
    assert maps.a.dtype == maps.b.dtype == np.uint32 and (maps.a % 2 == 1).all() and maps.a.max() > 2**31
    assert (maps.a == make_permutations(1000, seed=3).a).all() and (maps.a != make_permutations(1000, seed=4).a).any()
    with pytest.raises(ValueError, match="not 0"):
        make_permutations(0)


@pytest.mark.parametrize("size", [0, 1, 5, 4095, 4096, 4097, 30_000])
def test_signatures_are_datasketchs(size):
    hashes = np.unique(np.random.default_rng(size).integers(0, 2**64, size, dtype=np.uint64))
    maps = make_permutations(64, seed=size)
    theirs = MinHash(64, scheme="affine32", permutations=np.array(maps), hashfunc=int)
    theirs.update_batch((hashes >> np.uint64(32)).tolist())
    for chunk in (100, 4096):
        ours = minhash_signature(hashes, maps, chunk)
        assert ours.dtype == np.uint32 and (ours == theirs.hashvalues).all()


def test_a_signature_is_the_minimum_of_python_integers():
    hashes, maps = shingle_hashes("a b c d e f g h i j"), make_permutations(7)
    folded = [int(h) for h in _fold_hashes(hashes)]
    expected = [min((a * h + b) % 2**32 for h in folded) for a, b in zip(maps.a.tolist(), maps.b.tolist())]
    assert minhash_signature(hashes, maps).tolist() == expected


@pytest.mark.parametrize("common", [0, 100, 300, 450, 500])
def test_minhash_estimates_the_similarity(common):
    """The mean of many estimates lies within four standard errors of the exact similarity."""
    rng, maps = random.Random(common), make_permutations(128)
    exact = common / (1000 - common)
    estimates = []
    for _ in range(30):
        words = [_hash64(f"w{rng.randrange(10**9)}") for _ in range(1000 - common)]
        a, b = (np.unique(np.array(some, np.uint64)) for some in (words[:500], words[500 - common :]))
        assert _hash_overlap(a, b) == exact
        estimates.append((minhash_signature(a, maps) == minhash_signature(b, maps)).mean())
    assert abs(np.mean(estimates) - exact) <= 4 * (exact * (1 - exact) / (128 * 30)) ** 0.5 + 1e-12


# ---------------------------------------------------------------- bands


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


def test_keys_are_equal_where_bands_are():
    rng = np.random.default_rng(1)
    signatures = rng.integers(0, 2, (200, 11), dtype=np.uint32)
    keys = band_keys(signatures, 3, 3)
    assert keys.shape == (200, 3) and keys.dtype == np.uint64
    for band in range(3):
        rows = signatures[:, 3 * band : 3 * band + 3]
        equal = (rows[:, None] == rows[None]).all(axis=2)
        assert ((keys[:, None, band] == keys[None, :, band]) == equal).all()
    with pytest.raises(ValueError, match="12 permutations, not 11"):
        band_keys(signatures, 4, 3)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25), st.integers(1, 30))
@settings(deadline=None)
def test_links_are_pairs_with_equal_keys(rows, reach):
    keys = np.array(rows, np.uint64)
    every = {(a, b) for a, b in combinations(range(len(rows)), 2) if any(x == y for x, y in zip(rows[a], rows[b]))}
    found = set(map(tuple, candidate_pairs(keys, reach).tolist()))
    assert found <= every and together(cluster_labels(found, len(rows))) == together(cluster_labels(every, len(rows)))
    if reach >= len(rows) - 1:
        assert found == every
    for band in range(2):
        column = keys[:, band]
        for position in range(len(rows)):
            before = [p for p in range(position) if column[p] == column[position]]
            linked = sorted(int(a) for part in _bucket_links(column, reach) for a, b in part if b == position)
            assert linked == sorted({*before[-reach:], *before[:1]})


def test_a_huge_bucket_has_few_links():
    column = np.zeros(50_000, np.uint64)
    assert sum(map(len, _bucket_links(column, reach=3))) < 4 * 50_000
    assert candidate_pairs(np.empty((0, 3), np.uint64)).shape == (0, 2)


# ---------------------------------------------------------------- union-find and clusters


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
    )
)
@settings(deadline=None)
def test_components_are_scipys(case):
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n, pairs = case
    a, b = np.array(pairs or [(0, 0)]).T
    _, names = connected_components(coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False)
    expected = [int(np.flatnonzero(names == name)[0]) for name in names]
    assert cluster_labels(pairs, n).tolist() == cluster_labels(reversed(pairs), n).tolist() == expected
    sets = UnionFind(n)
    for pair in pairs:
        sets.join(*pair)
    assert [sets.find(x) for x in range(n)] == expected


def test_a_long_chain_is_found_without_recursion():
    n = 20_000
    assert (cluster_labels(((x, x + 1) for x in reversed(range(n - 1))), n) == 0).all()


def test_first_copies_by_hand():
    near = {(0, 1): 0.9, (1, 2): 0.9, (0, 3): 0.8, (2, 3): 0.85}
    assert _first_copies(range(4), lambda *pair: near.get(pair, 0.0), 0.8) == {1: (0, 0.9), 3: (2, 0.85)}
    assert _first_copies([], None, 0.8) == {} == _first_copies([7], None, 0.8)
    equal = _first_copies(range(3), lambda a, b: 1.0 if b == 2 else 0.0, 0.8)
    assert equal == {2: (0, 1.0)}  # of equal scores the first


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_clusters_do_not_depend_on_who_computed_the_keys(tasks, tmp_path):
    """Keys and hashes of each task on disk, read back as memory maps in the order of positions."""
    documents, maps = documents_of(varied_texts(3)), make_permutations()
    bands, rows = choose_bands(0.8)
    keys = np.lib.format.open_memmap(tmp_path / "keys.npy", "w+", np.uint64, (bands, len(documents)))
    for task in range(tasks):
        for position in range(task, len(documents), tasks):
            hashes = shingle_hashes(documents[position].text)
            np.save(tmp_path / f"{position}.npy", hashes)
            keys[:, position] = band_keys(minhash_signature(hashes, maps)[None], bands, rows)[0]
    keys.flush()
    stored = np.load(tmp_path / "keys.npy", mmap_mode="r").T
    found = cluster_near_duplicates(stored, lambda n: np.load(tmp_path / f"{n}.npy", mmap_mode="r"))
    expected = near_duplicates(documents)
    assert [(n, *copy) for n, copy in found.items()] == expected and len(expected) > 5
    assert all(type(n) is int and type(other) is int for n, (other, _) in found.items())


def test_memory_while_sorting_is_25_bytes_per_document():
    import tracemalloc

    n = 100_000
    keys = np.random.default_rng(0).integers(0, 2**63, (3, n), dtype=np.uint64).T
    tracemalloc.start()
    try:
        assert cluster_near_duplicates(keys, None) == {}
        assert tracemalloc.get_traced_memory()[1] < 26 * n
    finally:
        tracemalloc.stop()


def test_equal_documents_cost_linear_comparisons():
    calls = []
    hashes = shingle_hashes("one two three four five six")
    found = cluster_near_duplicates(np.zeros((3000, 4), np.uint64), lambda n: calls.append(n) or hashes)
    assert found == dict.fromkeys(range(1, 3000), (0, 1.0)) and len(calls) <= 2 * 2 * 3000


@pytest.mark.parametrize("edits", [8, 12, 30])
@pytest.mark.parametrize("reach", [1, 4])
def test_a_large_family_around_the_threshold(edits, reach):
    """600 variants of one text, in buckets much larger than `reach`, decided as by brute force."""
    rng, held = random.Random(edits), []
    for _ in range(600):
        words = [f"w{n}" for n in range(300)]
        for _ in range(rng.randrange(edits + 1)):
            words[rng.randrange(300)] = f"v{rng.randrange(10**6)}"
        held.append(shingle_hashes(" ".join(words)))
    keys = band_keys(signatures_of(held, make_permutations()), *choose_bands(0.8))
    found = cluster_near_duplicates(keys, held.__getitem__, 0.8, reach)
    expected = _first_copies(range(600), lambda a, b: _hash_overlap(held[a], held[b]), 0.8)
    same = sum(found.get(n) == copy for n, copy in expected.items())
    assert len(expected) > 50 and same >= 0.98 * len(expected.keys() | found.keys())


# ---------------------------------------------------------------- clusters of any shape, decided as by comparing all


def by_comparing(keys, hashes_of, threshold=0.8, reach=4):
    """The definition: in each cluster, every member against every one before it that stays."""
    sets = UnionFind(len(keys))
    for a, b in candidate_pairs(keys, reach).tolist():
        if _hash_overlap(hashes_of(a), hashes_of(b)) >= threshold:
            sets.join(a, b)
    clusters = defaultdict(list)
    for position, name in enumerate(sets.labels().tolist()):
        clusters[name].append(position)
    found = {}
    for members in clusters.values():
        found |= _first_copies(members, lambda a, b: _hash_overlap(hashes_of(a), hashes_of(b)), threshold)
    return found


def drawn_words(rng, count):
    return [f"w{rng.randrange(50_000)}" for _ in range(count)]


def windows(n, step=3, length=100, frame=0):
    rng = random.Random(n)
    words, around = drawn_words(rng, n * step + length), drawn_words(rng, frame)
    return [" ".join(around + words[start : start + length]) for start in range(0, n * step, step)]


def variants(n, edits, walk=False, families=1):
    """Texts of 100 words of which some are replaced: of one text, or of the text before."""
    rng, texts = random.Random(n), []
    for _ in range(families):
        words = drawn_words(rng, 100)
        for _ in range(n // families):
            changed = list(words)
            for _ in range(rng.choice(edits)):
                changed[rng.randrange(100)] = f"v{rng.randrange(10**6)}"
            texts.append(" ".join(changed))
            words = changed if walk else words
    return texts


def forms(n, values):
    rng = random.Random(n)
    words, texts = drawn_words(rng, 100), []
    for _ in range(n):
        for place in (20, 50, 80):
            words[place] = f"field{place}value{rng.randrange(values)}"
        texts.append(" ".join(words))
    return texts


def stars(n):
    """Rays, far from each other, before and after hubs that are like each of them."""
    rng, words, texts = random.Random(n), drawn_words(random.Random(0), 100), []
    for number in range(n):
        changed = list(words)
        for place in rng.sample(range(0, 100, 6), 1 if number % 10 == 5 else 2):
            changed[place] = f"v{number}x{place}"
        texts.append(" ".join(changed))
    return texts


SHAPES = {
    "windows": lambda n: windows(n),
    "windows, step 1": lambda n: windows(n, 1),
    "windows, shuffled": lambda n: random.Random(2).sample(windows(n), n),
    "windows, backwards": lambda n: windows(n)[::-1],
    "windows in a frame": lambda n: windows(n, frame=70),
    "all but one word": lambda n: variants(n, (1,)),
    "one family": lambda n: variants(n, (0, 1, 2, 3)),
    "a walk": lambda n: variants(n, (1,), walk=True),
    "many clusters": lambda n: variants(n, (1, 2), walk=True, families=n // 20),
    "forms": lambda n: forms(n, 8),
    "stars": stars,
    "long texts": lambda n: windows(n // 10, 300, 10_000),
    "empty texts": lambda n: ["", "...", "one"] * (n // 3),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_clusters_of_any_shape_are_decided_as_by_comparing_all(shape):
    held = [shingle_hashes(text) for text in SHAPES[shape](300)]
    signatures = signatures_of(held, make_permutations())
    for threshold in (0.5, 0.8, 0.95):
        keys = band_keys(signatures, *choose_bands(threshold))
        found = cluster_near_duplicates(keys, held.__getitem__, threshold)
        expected = by_comparing(keys, held.__getitem__, threshold)
        assert found == expected and list(found) == sorted(found)
        assert [(type(other), type(score)) for other, score in found.values()] == [(int, float)] * len(found)
    assert shape == "empty texts" or len(found) < 300


@given(
    st.lists(st.sets(st.integers(0, 12), max_size=9), max_size=60),
    st.sampled_from([0.05, 0.25, 1 / 3, 0.5, 2 / 3, 0.8, 1.0]),
    st.integers(0, 7),
)
@settings(deadline=None, max_examples=300)
def test_counting_decides_as_comparing(sets, threshold, often):
    """Also with shingles that nearly all have, and that stand as bits; scores that tie; empty sets."""
    sets = [values | set(range(100, 100 + often)) for values in sets] * 3
    held = [np.array(sorted(values), np.uint64) for values in sets]
    expected = _first_copies(range(len(held)), lambda a, b: _hash_overlap(held[a], held[b]), threshold)
    assert _counted_copies(range(len(held)), held.__getitem__, threshold) == expected


def entries_read(sets, monkeypatch):
    """What the index reads for all members of one cluster: entries of lists, and words of 64 bits."""
    read, original = [0], _Staying._common

    def counted(self, places, row, every):
        numbers, common = original(self, places, row, every)
        read[0] += int(self.lengths[places].sum()) + self.rows[numbers].size
        return numbers, common

    with monkeypatch.context() as patch:
        patch.setattr(_Staying, "_common", counted)
        _counted_copies(range(len(sets)), sets.__getitem__, 0.8)
    return read[0]


@pytest.mark.parametrize("shape", ["windows", "windows, step 1", "windows, shuffled", "windows in a frame", "a walk"])
def test_chains_cost_linear_time(shape, monkeypatch):
    few, many = (entries_read([shingle_hashes(text) for text in SHAPES[shape](n)], monkeypatch) for n in (1_500, 3_000))
    assert many < 2.5 * few and many < 3_000 * 2_000  # quadratic would be 4


def test_a_long_chain_reads_each_set_a_few_times():
    held, calls = [shingle_hashes(text) for text in windows(5_000)], []
    keys = band_keys(signatures_of(held, make_permutations()), *choose_bands(0.8))
    found = cluster_near_duplicates(keys, lambda n: calls.append(n) or held[n])
    assert len(found) == 3_750 and len(calls) < 4 * 5_000 + 100
    assert all(other == n - n % 4 for n, (other, _) in found.items())  # windows 0, 4, 8, ... stay


def test_candidates_are_asked_about_once_they_are_apart():
    asked = []
    keys = np.array([[1, 5], [1, 6], [2, 6], [1, 7], [3, 5]], np.uint64)

    def is_copy(a, b):
        asked.append((a, b))
        return (a, b) != (1, 2)

    assert _join_candidates(keys, is_copy, reach=4).tolist() == [0, 0, 2, 0, 0]
    assert asked == [(0, 1), (1, 3), (0, 4), (1, 2)] and all(a < b for a, b in asked)


def test_chained_strangers_stay():
    chain = [[f"w{n}" for n in range(300)]]
    for step in range(4):
        chain.append(list(chain[-1]))
        for place in range(5):
            chain[-1][60 * place + 10 * step + 5] = f"changed{step}"
    documents = documents_of(" ".join(words) for words in chain)
    found = near_duplicates(documents)
    assert [(a, b) for a, b, _ in found] == [(1, 0), (3, 2)] and found == near_by_pairs(documents, 0.8)


# ---------------------------------------------------------------- the default corpus against brute force


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recall_and_precision_on_the_library(held, exact, truth, seed):
    """At 0.8, codec tables included: candidates, verified pairs, and every decision."""
    keys = band_keys(signatures_of(held, make_permutations(128, seed)), *choose_bands(0.8))
    candidates = set(map(tuple, candidate_pairs(keys).tolist()))
    verified = {(a, b) for a, b in candidates if _hash_overlap(held[a], held[b]) >= 0.8}
    assert len(truth) >= 20 and len(verified & truth) >= 0.95 * len(truth) and verified <= truth
    removed = cluster_near_duplicates(keys, held.__getitem__)
    expected = _first_copies(range(len(held)), lambda *pair: exact.get(pair, 0.0), 0.8)
    assert len(removed.keys() & expected.keys()) >= 0.95 * len(removed.keys() | expected.keys())
    assert all(exact[min(n, other), max(n, other)] == score >= 0.8 for n, (other, score) in removed.items())


def test_the_library_by_documents(library, held):
    found = near_duplicates(library)
    keys = band_keys(signatures_of(held, make_permutations()), *choose_bands(0.8))
    assert found == [(n, *copy) for n, copy in cluster_near_duplicates(keys, held.__getitem__).items()]
    pairs = {(library[a].id, library[b].id) for a, b, _ in found}
    assert {("encodings/cp1140.py", "encodings/cp037.py"), ("encodings/cp858.py", "encodings/cp850.py")} <= pairs
    kept, removed = deduplicate(library)
    assert len(kept) + len(removed) == len(library) and deduplicate(kept)[1] == []


def test_the_codec_tables_are_found_as_by_all_pairs(library):
    tables = [document for document in library if document.id.startswith("encodings/")]
    assert near_duplicates(tables) == near_by_pairs(tables, 0.8)


# ---------------------------------------------------------------- datasketch as the engine


def test_datasketch_has_the_same_candidates(held):
    maps, (bands, rows) = make_permutations(), choose_bands(0.8)
    signatures = signatures_of(held, maps)
    lsh, found = MinHashLSH(num_perm=128, params=(bands, rows)), set()
    for n, signature in enumerate(signatures):
        sketch = _datasketch_minhash(signature, maps)
        found |= {(other, n) for other in lsh.query(sketch)}
        lsh.insert(n, sketch)
    assert found == set(map(tuple, candidate_pairs(band_keys(signatures, bands, rows), len(held)).tolist()))


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_one_at_a_time_is_all_at_once(threshold):
    texts = varied_texts(7) + ["", "?!", "", "one", "one!"]
    index = DuplicateIndex(threshold)
    found = [(n, *copy) for n, text in enumerate(texts) if (copy := index.add(text))]
    assert found == near_duplicates(documents_of(texts), threshold) and len(found) > 5


# ---------------------------------------------------------------- datatrove's four stages


def four_stages(library, folder, maps: Permutations | None, tasks: int):
    """Run datatrove's stages on our shingles, with our functions if given; return joined pairs and names that stay."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig

    class SameShingles(MinhashDedupSignature):
        def get_shingles(self, text):
            return _fold_hashes(shingle_hashes(text)).astype(np.uint64)[:, None]

    class SameFunctions(SameShingles):
        parameters = None if maps is None else tuple(part.astype(np.uint64)[None] for part in maps)

    def deal(data=None, rank=0, world_size=1):
        yield from library[rank::world_size]

    stay = []

    def note(data, rank=0, world_size=1):
        for document in data:
            stay.append(document.id)
            yield document

    def run(steps, number, count):
        with contextlib.redirect_stderr(io.StringIO()):
            LocalPipelineExecutor(steps, tasks=count, workers=1, logging_dir=str(folder / f"logs{number}")).run()

    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64 if maps is None else 32))
    a, b, c = (str(folder / name) for name in "abc")
    run([deal, (SameShingles if maps is None else SameFunctions)(a, config)], 1, tasks)
    run([MinhashDedupBuckets(a, b, config=config)], 2, 14)
    run([MinhashDedupCluster(b, c, config=config, save_cluster_id=True)], 3, 1)
    run([deal, MinhashDedupFilter(c), note], 4, tasks)
    labels = {}
    for rank in range(tasks):
        for n, name in np.fromfile(folder / "c" / f"{rank:06d}.clusters", "<u4").reshape(-1, 2).tolist():
            labels[rank + tasks * n] = -1 - name
    return together([labels.get(n, n) for n in range(len(library))]), stay


@pytest.mark.parametrize("tasks", [1, 2])
def test_datatroves_four_stages_join_the_same_pairs(library, held, tmp_path, tasks):
    """With one family of functions for both: a < 2^29, so that datatrove's sum stays below its modulus."""
    drawn = make_permutations(112)
    maps = Permutations(drawn.a % np.uint32(1 << 29), drawn.b)
    theirs, stay = four_stages(library, tmp_path, maps, tasks)
    labels = cluster_labels(candidate_pairs(band_keys(signatures_of(held, maps), 14, 8)).tolist(), len(held))
    ours = together(labels)
    assert len(ours & theirs) >= 0.98 * len(ours | theirs) > 50
    removed = int((labels != np.arange(len(held))).sum())
    assert abs(len(library) - len(stay) - removed) <= 0.02 * removed


def test_datatroves_own_functions_agree_after_verification(library, held, truth, tmp_path):
    theirs, _ = four_stages(library, tmp_path, None, 1)
    keys = band_keys(signatures_of(held, make_permutations(112)), 14, 8)
    ours = together(cluster_labels(candidate_pairs(keys).tolist(), len(held)))
    assert len(theirs & ours & truth) >= 0.85 * len((theirs | ours) & truth)


# ---------------------------------------------------------------- lists of documents


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_near_duplicates_are_those_of_all_pairs(seed, threshold):
    documents = documents_of(varied_texts(seed))
    expected, found = near_by_pairs(documents, threshold), near_duplicates(documents, threshold)
    assert len(expected) > 5
    assert found == expected


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
