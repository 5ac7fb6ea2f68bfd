"""`llmbook.tokenization.shards`: the format against a reader written from its table, damage, and the stage."""

import errno
import os
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.pipeline import CorpusConfig, build_corpus, is_held_out, read_corpus
from llmbook.preliminaries.workspace import Workspace, WorkspaceFull
from llmbook.tokenization.shards import Shard, ShardConfig, ShardError, build_shards, write_shard
from llmbook.tokenization.tokenizer import Tokenizer, TokenizerConfig, build_tokenizer

HASH = "ab" * 32


def write(path, documents, vocab_size=4096, text_bytes=11):
    write_shard(path, documents, vocab_size=vocab_size, tokenizer_sha256=HASH, text_bytes=text_bytes)
    return path


@given(st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=9), max_size=6), st.sampled_from([100_000, 2**31]))
@settings(deadline=None)
def test_round_trip_four_bytes(tmp_path_factory, documents, vocab_size):
    path = write(tmp_path_factory.mktemp("shards") / "x.bin", documents, vocab_size)
    shard = Shard(path, HASH)
    assert [shard.document(number).tolist() for number in range(len(shard.offsets))] == documents
    assert len(shard) == sum(map(len, documents)) and shard.tokens.dtype == np.uint32


@pytest.mark.parametrize("vocab_size, dtype", [(1, np.uint16), (65_536, np.uint16), (65_537, np.uint32)])
def test_the_width_follows_the_vocabulary(tmp_path, vocab_size, dtype):
    shard = Shard(write(tmp_path / "x.bin", [[vocab_size - 1, 0]], vocab_size))
    assert shard.tokens.tolist() == [vocab_size - 1, 0] and shard.tokens.dtype == dtype


def test_the_documented_format_byte_by_byte(tmp_path):
    data = write(tmp_path / "x.bin", [[7, 8, 0], [9, 0]]).read_bytes()

    def number(start, end):
        return int.from_bytes(data[start:end], "little")

    assert data[:8] == b"LLMSHARD" and len(data) == 160
    assert [number(n, n + 4) for n in (8, 12, 16, 20)] == [1, 2, 4096, 0]
    assert [number(n, n + 8) for n in (24, 32, 40)] == [5, 2, 11]
    assert data[48:80].hex() == HASH and data[80:96] == bytes(16)
    assert data[96:128] == hashlib.sha256(data[128:] + data[:96]).digest()
    assert [number(n, n + 2) for n in range(128, 144, 2)] == [7, 8, 0, 9, 0, 0, 0, 0]
    assert [number(144, 152), number(152, 160)] == [0, 3]


def test_documents_may_be_a_generator_of_arrays(tmp_path):
    write(tmp_path / "a.bin", (np.array(ids, dtype=np.int64) for ids in ([1, 2], [3])))
    write(tmp_path / "b.bin", [[1, 2], [3]])
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_tokens_are_mapped_and_read_only(tmp_path):
    shard = Shard(write(tmp_path / "x.bin", [[1, 2, 3]]))
    assert isinstance(shard.tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        shard.tokens[0] = 5


def test_an_empty_shard(tmp_path):
    shard = Shard(write(tmp_path / "x.bin", [], text_bytes=0))
    assert len(shard) == len(shard.offsets) == shard.text_bytes == 0


@pytest.mark.parametrize("number", [-1, 2])
def test_there_is_no_such_document(tmp_path, number):
    with pytest.raises(IndexError, match=f"no document {number}; the shard has 2"):
        Shard(write(tmp_path / "x.bin", [[1], [2]])).document(number)


@pytest.mark.parametrize(
    "documents, message",
    [
        ([[1], [4096]], "document 1 has the id 4096, outside of a vocabulary of 4096"),
        ([[-1]], "document 0 has the id -1"),
        ([[]], "not a non-empty row"),
        ([[0.5]], "float64"),
        ([[[1]]], r"shape \(1, 1\)"),
    ],
)
def test_tokens_that_do_not_fit_leave_nothing_behind(tmp_path, documents, message):
    with pytest.raises(ShardError, match=message):
        write(tmp_path / "x.bin", documents)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("vocab_size", [0, -3, 2**32])
def test_impossible_vocabularies(tmp_path, vocab_size):
    with pytest.raises(ShardError, match="cannot hold a vocabulary"):
        write(tmp_path / "x.bin", [[0]], vocab_size)


@pytest.mark.parametrize("value, message", [("zz" * 32, "64 hexadecimal digits"), ("ab", "64 hexadecimal digits")])
def test_impossible_tokenizer_hashes(tmp_path, value, message):
    with pytest.raises(ShardError, match=message):
        write_shard(tmp_path / "x.bin", [[0]], vocab_size=9, tokenizer_sha256=value, text_bytes=0)


def test_negative_text_size(tmp_path):
    with pytest.raises(ShardError, match="text_bytes is -1"):
        write(tmp_path / "x.bin", [[0]], text_bytes=-1)


def changed(data, position, value):
    return data[:position] + value + data[position + len(value) :]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: b"", "not a shard"),
        (lambda data: b"\x93NUMPY" + data, "not a shard: it begins with"),
        (lambda data: data[:100], "truncated: 100 bytes do not hold the header"),
        (lambda data: data[:-1], "truncated: 159 bytes instead of 160"),
        (lambda data: data + b"\0", "too long: 161 bytes instead of 160"),
        (lambda data: changed(data, 8, b"\2"), "format version 2"),
        (lambda data: changed(data, 12, b"\4"), "corrupted header"),
        (lambda data: changed(data, 130, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 40, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 20, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 90, b"\1"), "corrupted: the content"),
    ],
)
def test_damaged_files_are_refused_with_name_and_reason(tmp_path, damage, message):
    path = write(tmp_path / "x.bin", [[7, 8, 0], [9, 0]])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ShardError, match=f"x.bin: {message}"):
        Shard(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ShardError, match="cannot be read"):
        Shard(tmp_path / "absent.bin")
    with pytest.raises(ShardError, match="cannot be read"):
        Shard(tmp_path)


def test_another_tokenizer_is_refused(tmp_path):
    path = write(tmp_path / "x.bin", [[1]])
    with pytest.raises(ShardError, match="made with another tokenizer: abababababababab, where cdcdcdcdcdcdcdcd"):
        Shard(path, "cd" * 32)


def test_without_verification_structure_is_still_checked(tmp_path):
    path = write(tmp_path / "x.bin", [[7, 8, 0]])
    data = path.read_bytes()
    path.write_bytes(changed(data, 128, b"\1"))
    assert Shard(path, verify=False).tokens[0] == 1
    path.write_bytes(data[:-1])
    with pytest.raises(ShardError, match="truncated"):
        Shard(path, verify=False)


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = write(tmp_path / "x.bin", [[1, 2]])
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceFull, match="x.bin"):
        write(path, [[3]])
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["x.bin"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    source = folder / "source"
    source.mkdir()
    for number in range(80):
        text = "\n".join(f"{number} times {k} is {number * k}, naïve €" for k in range(30))
        (source / f"times{number:02d}.txt").write_text(text, encoding="utf-8")
    workspace = Workspace(folder / "workspace")
    corpus = build_corpus(workspace, CorpusConfig(source=str(source), quality=False, jaccard_threshold=1.0), progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=350), progress=False)
    return workspace, corpus, tokenizer


def test_the_stage_splits_orders_and_counts(stage):
    workspace, corpus, artifact = stage
    shards = build_shards(workspace, corpus, artifact, progress=False)
    tokenizer = Tokenizer.load(artifact.file("tokenizer.json"))
    for name, held_out in (("train.bin", False), ("validation.bin", True)):
        shard = Shard(shards.file(name), tokenizer.sha256)
        expected = [item.text for item in read_corpus(corpus) if is_held_out(item.id, 5) == held_out]
        documents = [shard.document(number) for number in range(len(shard.offsets))]
        assert [tokenizer.decode(ids[:-1]) for ids in documents] == expected != []
        assert all(ids[-1] == tokenizer.end_of_text_id for ids in documents)
        assert np.count_nonzero(shard.tokens == tokenizer.end_of_text_id) == len(documents)
        assert shard.text_bytes == sum(len(text.encode()) for text in expected)
        assert shard.vocab_size == tokenizer.vocab_size


def test_the_stage_is_deterministic_and_found_again(stage, tmp_path):
    workspace, corpus, tokenizer = stage
    first = build_shards(workspace, corpus, tokenizer, progress=False)
    assert build_shards(workspace, corpus, tokenizer, progress=False) == first
    second = build_shards(Workspace(tmp_path), corpus, tokenizer, progress=False)
    assert second.file("train.bin").read_bytes() == first.file("train.bin").read_bytes()


def test_another_percentage_is_another_artifact(stage):
    workspace, corpus, tokenizer = stage
    five, twenty = (build_shards(workspace, corpus, tokenizer, ShardConfig(percent), progress=False) for percent in (5, 20))
    assert five.key != twenty.key
    assert len(Shard(five.file("validation.bin"))) < len(Shard(twenty.file("validation.bin")))


def test_a_corpus_of_one_file_is_split_inside(tmp_path):
    (tmp_path / "book.txt").write_text("".join(f"line {n}\n" for n in range(300)), encoding="utf-8")
    workspace = Workspace(tmp_path / "workspace")
    corpus = build_corpus(workspace, CorpusConfig(source=str(tmp_path / "book.txt"), quality=False, languages=()), progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=280), progress=False)
    shards = build_shards(workspace, corpus, tokenizer, progress=False)
    train, validation = (Shard(shards.file(name)) for name in ("train.bin", "validation.bin"))
    assert train.text_bytes + validation.text_bytes == (tmp_path / "book.txt").stat().st_size
    assert 0.03 < validation.text_bytes / train.text_bytes < 0.07


def test_too_little_text(tmp_path):
    (tmp_path / "tiny.txt").write_text("x", encoding="utf-8")
    workspace = Workspace(tmp_path / "workspace")
    corpus = build_corpus(workspace, CorpusConfig(source=str(tmp_path / "tiny.txt"), quality=False, languages=()), progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=257), progress=False)
    with pytest.raises(ShardError, match="the corpus is too small: no text is left for"):
        build_shards(workspace, corpus, tokenizer, progress=False)


@pytest.mark.parametrize("percent", [0, 51])
def test_impossible_percentages(percent):
    with pytest.raises(ValueError, match="give from 1 to 50"):
        ShardConfig(held_out_percent=percent)


def test_import_is_light():
    program = "import sys, llmbook.tokenization.shards; print({'torch', 'datatrove', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
