"""`llmbook.tokenization.shards`: the format against a reader written from its table, damage, and the stage."""

import dataclasses
import errno
import gzip
import hashlib
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.held_out import SPLITS, is_held_out
from llmbook.data.pipeline import build_corpus, console_to, corpus_files, read_corpus
from llmbook.preliminaries.settings import CorpusConfig, ShardConfig, TokenizerConfig
from llmbook.preliminaries.workspace import Workspace, WorkspaceFull, verify_artifact
from llmbook.tokenization.shards import (
    EncodeRank,
    JoinedTokens,
    Shard,
    ShardError,
    TextEncoder,
    _PieceBytes,
    _set_identity,
    build_shards,
    describe_shards,
    open_raw,
    open_shards,
    shards_command,
    write_shard,
)
from llmbook.tokenization.tokenizer import Tokenizer, build_tokenizer, import_tokenizer, tokenizer_command

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
    assert [number(n, n + 4) for n in (8, 12, 16, 20)] == [2, 2, 4096, 0]
    assert [number(n, n + 8) for n in (24, 32, 40)] == [5, 2, 11]
    assert data[48:80].hex() == HASH and [number(80, 84), number(84, 88), data[88:96]] == [0, 1, bytes(8)]
    assert data[96:128] == hashlib.sha256(data[128:] + data[:96]).digest()
    assert [number(n, n + 2) for n in range(128, 144, 2)] == [7, 8, 0, 9, 0, 0, 0, 0]
    assert [number(144, 152), number(152, 160)] == [0, 3]


def test_the_place_in_a_set_stands_in_the_header(tmp_path):
    place = {"number": 258, "count": 70_000, "set_id": "0123456789abcdef"}
    write_shard(tmp_path / "x.bin", [[1]], vocab_size=9, tokenizer_sha256=HASH, text_bytes=0, **place)
    data = (tmp_path / "x.bin").read_bytes()
    assert data[80:96] == struct.pack("<II", 258, 70_000) + bytes.fromhex("0123456789abcdef")
    header = Shard(tmp_path / "x.bin").header
    assert (header.number, header.count, header.set_id) == (258, 70_000, "0123456789abcdef")


@pytest.mark.parametrize("place", [{"number": 1}, {"number": -1}, {"count": 2**32}, {"set_id": "x"}, {"set_id": "AB" * 8}])
def test_impossible_places_in_a_set(tmp_path, place):
    with pytest.raises(ShardError, match="no shard number|set_id has 16 hexadecimal"):
        write_shard(tmp_path / "x.bin", [[1]], vocab_size=9, tokenizer_sha256=HASH, text_bytes=0, **place)
    assert list(tmp_path.iterdir()) == []


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
        (lambda data: changed(data, 8, b"\1"), "format version 1; this program reads version 2"),
        (lambda data: changed(data, 12, b"\4"), "corrupted header"),
        (lambda data: changed(data, 130, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 40, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 20, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 90, b"\1"), "corrupted: the content"),
        (lambda data: changed(data, 84, b"\5"), "corrupted: the content"),
        (lambda data: changed(data, 84, b"\0"), "there is no shard number 0 of 0"),
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


def test_every_cut_and_every_flipped_bit_is_refused(tmp_path):
    path = write(tmp_path / "x.bin", [[7, 8, 0], [9, 0]])
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ShardError):
            Shard(path)
    for position in range(len(data)):
        for flip in [255, *(1 << bit for bit in range(8))]:
            path.write_bytes(changed(data, position, bytes([data[position] ^ flip])))
            with pytest.raises(ShardError):
                Shard(path)


# ---------------------------------------------------------------- many parts as one row


@given(st.lists(st.lists(st.integers(0, 65_535), max_size=5), min_size=1, max_size=7), st.data())
@settings(deadline=None, max_examples=200)
def test_joined_tokens_are_the_concatenation(parts, data):
    arrays = [np.array(part, "<u2") for part in parts]
    joined, whole = JoinedTokens(arrays), np.concatenate(arrays)
    at = st.none() | st.integers(-len(whole) - 2, len(whole) + 2)
    for _ in range(8):
        key = slice(data.draw(at), data.draw(at), data.draw(st.none() | st.integers(1, 3)))
        assert np.array_equal(joined[key], whole[key]) and joined[key].dtype == whole.dtype
    assert np.array_equal(np.asarray(joined), whole) and len(joined) == len(whole) and joined.shape == whole.shape
    assert [int(number) for number in joined] == whole.tolist()
    for position in range(-len(whole), len(whole)):
        assert joined[position] == whole[position] and joined[np.int64(position)] == whole[position]
    for position in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError, match="no token"):
            joined[position]


def test_joined_tokens_follow_numpys_protocol():
    arrays = [np.array(part, "<u2") for part in ([1, 2, 3], [], [4, 5])]
    joined = JoinedTokens(arrays)
    assert np.shares_memory(joined[0:3], arrays[0]) and np.shares_memory(joined[3:5], arrays[2])
    assert not np.shares_memory(joined[2:4], arrays[0])
    assert np.asarray(joined, dtype=np.int64).dtype == np.int64
    assert np.stack([joined[n : n + 2] for n in range(4)]).tolist() == [[1, 2], [2, 3], [3, 4], [4, 5]]
    with pytest.raises(IndexError, match="step -1"):
        joined[::-1]
    with pytest.raises(TypeError):
        joined[1.5]


def test_ten_thousand_parts_are_joined_without_recursion():
    joined = JoinedTokens([np.array([n], "<u4") for n in range(10_000)])
    assert np.array_equal(np.asarray(joined), np.arange(10_000)) and joined[17:9_000].sum() == sum(range(17, 9_000))


def write_set(folder, documents, **options):
    (folder / "train").mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(documents):
        base = {"vocab_size": 4096, "tokenizer_sha256": HASH, "text_bytes": 7, "number": number, "count": len(documents)}
        write_shard(folder / "train" / f"{number:05d}.bin", part, **base | {"set_id": "5e" * 8} | options)
    return folder


DOCUMENTS = [[[7, 8, 0], [9, 0]], [], [[1, 2, 3, 4, 0]], [[5, 0], [6, 0]]]


def test_a_set_reads_as_one(tmp_path):
    found = open_shards(write_set(tmp_path, DOCUMENTS), "train", HASH)
    documents = [ids for part in DOCUMENTS for ids in part]
    flat = [number for ids in documents for number in ids]
    assert np.asarray(found.tokens).tolist() == flat and len(found) == len(flat) and found.tokens.dtype == np.uint16
    assert [found.document(n).tolist() for n in range(len(documents))] == documents
    assert [found.tokens[int(n)] for n in found.offsets] == [ids[0] for ids in documents] and found.offsets.dtype == np.uint64
    assert (found.text_bytes, found.vocab_size, found.tokenizer_sha256, len(found.shards)) == (28, 4096, HASH, 4)
    for number in (-1, len(documents)):
        with pytest.raises(IndexError, match=f"no document {number}; the shards have 5"):
            found.document(number)
    with pytest.raises(ValueError, match="read-only"):
        found.tokens[0:2][0] = 5


def test_an_empty_set(tmp_path):
    found = open_shards(write_set(tmp_path, [[], []]), "train")
    assert len(found) == len(found.offsets) == 0 and np.asarray(found.tokens).tolist() == found.tokens[0:9].tolist() == []


def replaced(source, number):
    def damage(folder):
        (folder / "train" / f"{number:05d}.bin").write_bytes((source / "train" / f"{number:05d}.bin").read_bytes())

    return damage


@pytest.mark.parametrize(
    "options, message",
    [
        ({"set_id": "77" * 8}, "00002.bin: belongs to another set than 00000.bin"),
        ({"tokenizer_sha256": "cd" * 32}, "00002.bin: made with another tokenizer than 00000.bin"),
        ({"vocab_size": 300}, "00002.bin: 300 ids, where 00000.bin has 4096"),
        ({"number": 3}, "00002.bin: says that it is number 3 of 4"),
        ({"count": 9}, "00002.bin: belongs to another set"),
    ],
)
def test_a_member_of_another_set_is_refused(tmp_path, options, message):
    place, other = write_set(tmp_path / "a", DOCUMENTS), write_set(tmp_path / "b", DOCUMENTS, **options)
    replaced(other, 2)(place)
    for verify in (True, False):
        with pytest.raises(ShardError, match=message):
            open_shards(place, "train", verify=verify)


def test_incomplete_and_absent_sets(tmp_path):
    place = write_set(tmp_path / "set", DOCUMENTS)
    with pytest.raises(ShardError, match="held_out: there are no shards"):
        open_shards(place, "held_out")
    for number in (1, 3):
        file = place / "train" / f"{number:05d}.bin"
        data = file.read_bytes()
        file.unlink()
        with pytest.raises(ShardError, match=f"of 4 shards, 0000{number}.bin is missing"):
            open_shards(place, "train")
        file.write_bytes(data)
    (place / "train" / "copy.bin").write_bytes(data)
    with pytest.raises(ShardError, match="copy.bin: says that it is number 3 of 4"):
        open_shards(place, "train")


def test_verification_of_a_set(tmp_path):
    place = write_set(tmp_path, DOCUMENTS)
    file = place / "train" / "00002.bin"
    file.write_bytes(changed(file.read_bytes(), 128, b"\2"))
    assert open_shards(place, "train", verify=False).tokens[5] == 2
    with pytest.raises(ShardError, match="00002.bin: corrupted"):
        open_shards(place, "train")
    with pytest.raises(ShardError, match="00000.bin: made with another tokenizer"):
        open_shards(place, "train", "cd" * 32, verify=False)


def test_the_loader_reads_a_set_as_it_reads_an_array(tmp_path):
    torch = pytest.importorskip("torch")
    from llmbook.training.loader import TokenWindows, reading_batches

    draw = np.random.default_rng(0)
    documents = [[draw.integers(0, 4096, 50).tolist() for _ in range(n)] for n in (5, 0, 9, 3)]
    tokens = open_shards(write_set(tmp_path, documents), "train").tokens
    plain = np.asarray(tokens)
    one, two = (TokenWindows(row, context=16, batch_size=4, seed=3) for row in (tokens, plain))
    for step in range(2 * len(one)):
        assert all(torch.equal(a, b) for a, b in zip(one.batch(step), two.batch(step), strict=True))
    for a, b in zip(reading_batches(tokens, 16, 4, 0), reading_batches(plain, 16, 4, 0), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- raw files


def test_raw_files_are_nanogpts(tmp_path):
    path = tmp_path / "train.bin"
    np.arange(1000, dtype=np.uint16).tofile(path)
    tokens = open_raw(path, 1000)
    assert isinstance(tokens, np.memmap) and np.array_equal(tokens, np.memmap(path, dtype=np.uint16, mode="r"))
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1
    np.array([70_000, 5], dtype=np.uint32).tofile(path)
    assert open_raw(path, 100_277, "uint32").tolist() == [70_000, 5]


def saved(save):
    import io

    file = io.BytesIO()
    save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "it is empty"),
        (b"abc", "its 3 bytes are no multiple of 2"),
        (np.array([1, 2, 50_257], "<u2").tobytes(), "token 2 is 50257, outside of a vocabulary of 50257"),
        (saved(lambda file: np.save(file, np.arange(9))), "it is a .npy file"),
        (saved(lambda file: np.savez(file, np.arange(9))), "it is a zip file"),
        (gzip.compress(b"some text", mtime=0), "compressed by gzip"),
        (b"\x28\xb5\x2f\xfd....", "compressed by zstd"),
        (b"PAR1....PAR1", "a Parquet file"),
        (np.array([20240520, 1, 4] + [0] * 253, "<i4").tobytes() + bytes(8), "an llm.c file: its uint16 tokens begin at byte 1024"),
        (np.array([20240801, 7, 4] + [0] * 253, "<i4").tobytes() + bytes(16), "an llm.c file: its uint32 tokens"),
        (b"MMIDIDX\0\0" + bytes(9), "Megatron's index"),
    ],
)
def test_raw_files_of_other_kinds_are_refused(tmp_path, content, message):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(ShardError, match=f"x.bin: .*{message}"):
        open_raw(path, 50_257)


def test_our_own_shards_missing_files_and_impossible_widths(tmp_path):
    path = write(tmp_path / "x.bin", [[1, 2]])
    with pytest.raises(ShardError, match="it is one of llmbook's shards"):
        open_raw(path, 4096)
    for absent in (tmp_path / "absent.bin", tmp_path):
        with pytest.raises(ShardError, match="cannot be read"):
            open_raw(absent, 4096)
    for size, dtype in ((65_537, "uint16"), (9, "int32"), (9, "float16")):
        with pytest.raises(ShardError, match=f"{size} ids as '{dtype}'"):
            open_raw(path, size, dtype)


def test_a_bad_id_is_found_in_any_block_and_on_request_only(tmp_path, monkeypatch):
    path, tokens = tmp_path / "x.bin", np.zeros(5_000_000, np.uint16)
    tokens[4_900_000] = 301
    tokens.tofile(path)
    with pytest.raises(ShardError, match="token 4900000 is 301, outside of a vocabulary of 300"):
        open_raw(path, 300)
    assert len(open_raw(path, 300, verify=False)) == 5_000_000


# ---------------------------------------------------------------- encoding


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["the quick brown fox, the lazy dog\n\n  jumps 123 naïve café " * 9, "def f(x):\n    return x + 1\n" * 9]
    return Tokenizer.train(texts, 400)


# Without code points whose class differs between the Unicode tables of Python, regex and tokenizers.
plain_text = st.text(st.characters(exclude_categories=("Cn", "Cs")), max_size=60)


@given(st.lists(plain_text | st.text("the fox\n\t  '1x{}", max_size=60), max_size=5))
@settings(deadline=None, max_examples=200)
def test_ids_are_those_of_the_tokenizers_library(tokenizer, texts):
    encoder = TextEncoder(tokenizer)
    expected = [[*ids, tokenizer.end_of_text_id] for ids in tokenizer.encode_batch(texts)]
    assert [encoder.encode(text).tolist() for text in texts] == expected


def test_special_names_stay_text_and_wide_vocabularies_take_four_bytes(tokenizer):
    encoder = TextEncoder(tokenizer)
    ids = encoder.encode("a<|endoftext|>b")
    assert ids.dtype == np.uint16 and np.count_nonzero(ids == tokenizer.end_of_text_id) == 1
    wide = TextEncoder(tokenizer)
    wide.width, wide.pieces, wide.end = 4, _PieceBytes(wide.encoder.encode, 4), tokenizer.end_of_text_id.to_bytes(4, "little")
    assert wide.encode("the fox").dtype == np.uint32 and wide.encode("the fox").tolist() == encoder.encode("the fox").tolist()


def test_the_memory_of_pieces_is_bounded():
    pieces = _PieceBytes(lambda piece: [len(piece)], width=2, limit=10)
    assert [pieces["x" * n] for n in range(100)] == [n.to_bytes(2, "little") for n in range(100)] and len(pieces) <= 10


# ---------------------------------------------------------------- the stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    source = folder / "source"
    source.mkdir()
    for number in range(80):
        text = "\n".join(f"{number} times {k} is {number * k}, naïve €" for k in range(30))
        (source / f"times{number:02d}.txt").write_text(text, encoding="utf-8")
    workspace = Workspace(folder / "workspace")
    config = CorpusConfig(source=str(source), quality=False, jaccard_threshold=1.0, tasks=4)
    corpus = build_corpus(workspace, config, progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=350), ShardConfig(), progress=False)
    return workspace, corpus, tokenizer


@pytest.fixture(scope="module")
def shards(stage):
    return build_shards(*stage, ShardConfig(), progress=False)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.bin"))}


def test_the_stage_splits_orders_and_counts(stage, shards):
    _, corpus, artifact = stage
    tokenizer = Tokenizer.load(artifact.file("tokenizer.json"))
    for split, held_out in zip(SPLITS, (False, True), strict=True):
        found = open_shards(shards, split, tokenizer.sha256)
        expected = [item.text for item in read_corpus(corpus) if is_held_out(item.id, 5) == held_out]
        documents = [found.document(number) for number in range(len(found.offsets))]
        assert [tokenizer.decode(ids[:-1]) for ids in documents] == expected != []
        assert [ids[:-1].tolist() for ids in documents] == tokenizer.encode_batch(expected)
        assert all(ids[-1] == tokenizer.end_of_text_id for ids in documents)
        assert np.count_nonzero(np.asarray(found.tokens) == tokenizer.end_of_text_id) == len(documents)
        assert found.text_bytes == sum(len(text.encode()) for text in expected)
        assert found.vocab_size == tokenizer.vocab_size


def test_a_file_for_each_file_of_the_corpus_and_split(stage, shards):
    count = len(corpus_files(stage[1]))
    assert count == 4 and sorted(shards.manifest["files"]) == sorted(
        f"{split}/{n:05d}.bin" for split in SPLITS for n in range(count)
    )
    headers = {split: open_shards(shards, split).shards[1].header for split in SPLITS}
    assert {split: header.set_id for split, header in headers.items()} == {
        split: _set_identity(shards.key, split) for split in SPLITS
    }


def test_a_held_out_shard_among_the_training_shards_is_refused(shards, tmp_path):
    for name, data in contents(shards.path).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "train/00001.bin").write_bytes((tmp_path / "held_out/00001.bin").read_bytes())
    with pytest.raises(ShardError, match="00001.bin: belongs to another set"):
        open_shards(tmp_path, "train")


def test_the_stage_is_deterministic_and_found_again(stage, shards, tmp_path):
    workspace, corpus, tokenizer = stage
    assert build_shards(workspace, corpus, tokenizer, ShardConfig(), progress=False) == shards
    second = build_shards(Workspace(tmp_path), corpus, tokenizer, ShardConfig(), progress=False)
    assert contents(second.path) == contents(shards.path) and second.key == shards.key


def test_two_workers_write_the_same_bytes(stage, shards, tmp_path):
    _, corpus, tokenizer = stage
    second = build_shards(Workspace(tmp_path), corpus, tokenizer, ShardConfig(), progress=False, workers=2)
    assert contents(second.path) == contents(shards.path)
    assert sorted(second.manifest["files"]) == sorted(shards.manifest["files"])


def rank_step(stage, shards, folder):
    _, corpus, tokenizer = stage
    return EncodeRank(corpus.path, tokenizer.file("tokenizer.json"), folder, shards.key, 5, True)


def test_ranks_in_any_order_and_again(stage, shards, tmp_path):
    step = pickle.loads(pickle.dumps(rank_step(stage, shards, tmp_path)))
    for rank in (3, 1, 0, 2):
        step(rank=rank, world_size=4)
    assert contents(tmp_path) == contents(shards.path)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.bin")}
    damaged = tmp_path / "train" / "00002.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for rank in range(4):
        assert step(data="passed on", rank=rank, world_size=4) == "passed on"
    assert contents(tmp_path) == contents(shards.path)
    assert {path for path, number in before.items() if path.stat().st_ino != number} <= {damaged}
    with pytest.raises(ShardError, match="3 tasks for a corpus of 4 files"):
        step(rank=0, world_size=3)


def test_a_file_of_other_shards_is_written_anew(stage, shards, tmp_path):
    step = rank_step(stage, shards, tmp_path)
    other = dataclasses.replace(step, key="another")
    other(rank=1, world_size=4)
    step(rank=1, world_size=4)
    assert (tmp_path / "train/00001.bin").read_bytes() == shards.file("train/00001.bin").read_bytes()


def test_datatroves_own_executor_runs_the_callable(stage, shards, tmp_path):
    from datatrove.executor import LocalPipelineExecutor

    (tmp_path / "out").mkdir()
    step = rank_step(stage, shards, tmp_path / "out")
    with console_to(tmp_path / "console.log"):
        LocalPipelineExecutor([step], tasks=4, workers=1, logging_dir=str(tmp_path / "logs")).run()
    assert contents(tmp_path / "out") == contents(shards.path)
    assert len(list((tmp_path / "logs" / "completions").iterdir())) == 4


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Text with few repeated pieces, so that encoding takes a while, and its shards."""
    folder = tmp_path_factory.mktemp("large")
    draw = random.Random(0)
    (folder / "source").mkdir()
    for number in range(12):
        lines = ["".join(draw.choices("abcdefghij", k=40)) for _ in range(700)]
        (folder / "source" / f"{number}.txt").write_text("\n".join(lines), encoding="utf-8")
    workspace = Workspace(folder / "workspace")
    source = {"source": str(folder / "source"), "languages": (), "mask": False, "toxicity": False}
    corpus = build_corpus(workspace, CorpusConfig(quality=False, jaccard_threshold=1.0, tasks=6, **source), progress=False)
    artifact = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=300), ShardConfig(), progress=False)
    return corpus, artifact, build_shards(workspace, corpus, artifact, ShardConfig(), progress=False)


KILLED = """
import sys
from pathlib import Path
from llmbook.preliminaries.settings import ShardConfig
from llmbook.preliminaries.workspace import Workspace, read_artifact
from llmbook.tokenization.shards import build_shards
if __name__ == "__main__":
    corpus, tokenizer = (read_artifact(Path(name)) for name in sys.argv[2:4])
    build_shards(Workspace(sys.argv[1]), corpus, tokenizer, ShardConfig(), progress=False, workers=int(sys.argv[4]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_where_it_was(large, tmp_path, workers):
    corpus, tokenizer, expected = large
    arguments = [str(tmp_path), str(corpus.path), str(tokenizer.path), str(workers)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], start_new_session=True)
    deadline = time.time() + 120
    while not list(tmp_path.glob("building/*/train/*.bin")) and process.poll() is None and time.time() < deadline:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.name: path.stat().st_ino for path in tmp_path.glob("building/*/train/*.bin")}
    assert 1 <= len(finished) < 6 and not list(tmp_path.glob("shards/*"))
    shards = build_shards(Workspace(tmp_path), corpus, tokenizer, ShardConfig(), progress=False)
    assert contents(shards.path) == contents(expected.path)
    assert {name: (shards.path / "train" / name).stat().st_ino for name in finished} == finished
    assert sorted(shards.manifest["files"]) == sorted(expected.manifest["files"])
    verify_artifact(shards)


def test_another_percentage_is_another_artifact(stage, shards):
    workspace, corpus, _ = stage
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=350), ShardConfig(20), progress=False)
    twenty = build_shards(workspace, corpus, tokenizer, ShardConfig(20), progress=False)
    assert shards.key != twenty.key
    assert len(open_shards(shards, "held_out")) < len(open_shards(twenty, "held_out"))


def test_a_tokenizer_of_another_split_is_refused(stage):
    workspace, corpus, tokenizer = stage
    with pytest.raises(ShardError, match="trained with 5 % of the documents held out, these shards hold out 20 %"):
        build_shards(workspace, corpus, tokenizer, ShardConfig(20), progress=False)


def test_a_tokenizer_from_elsewhere_has_no_split_to_compare(stage, tmp_path):
    _, corpus, tokenizer = stage
    workspace = Workspace(tmp_path)
    (tmp_path / "copy.json").write_bytes(tokenizer.file("tokenizer.json").read_bytes())
    imported = import_tokenizer(workspace, tmp_path / "copy.json")
    shards = build_shards(workspace, corpus, imported, ShardConfig(20), progress=False)
    assert open_shards(shards, "train", Tokenizer.load(tokenizer.file("tokenizer.json")).sha256).text_bytes


def test_no_workers(stage):
    with pytest.raises(ValueError, match="workers is a number from 1, not 0"):
        build_shards(*stage, ShardConfig(), workers=0)


def test_a_corpus_of_one_file_is_split_inside(tmp_path):
    (tmp_path / "book.txt").write_text("".join(f"line {n}\n" for n in range(300)), encoding="utf-8")
    workspace = Workspace(tmp_path / "workspace")
    corpus = build_corpus(workspace, CorpusConfig(source=str(tmp_path / "book.txt"), quality=False, languages=()), progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=280), ShardConfig(), progress=False)
    shards = build_shards(workspace, corpus, tokenizer, ShardConfig(), progress=False)
    train, held_out = (open_shards(shards, split) for split in SPLITS)
    assert train.text_bytes + held_out.text_bytes == (tmp_path / "book.txt").stat().st_size
    assert 0.03 < held_out.text_bytes / train.text_bytes < 0.07


def test_too_little_text(tmp_path):
    (tmp_path / "tiny.txt").write_text("x", encoding="utf-8")
    workspace = Workspace(tmp_path / "workspace")
    corpus = build_corpus(workspace, CorpusConfig(source=str(tmp_path / "tiny.txt"), quality=False, languages=()), progress=False)
    tokenizer = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=261), ShardConfig(), progress=False)
    with pytest.raises(ShardError, match="the corpus is too small: no text is left for"):
        build_shards(workspace, corpus, tokenizer, ShardConfig(), progress=False)


def test_import_is_light():
    program = "import sys, llmbook.tokenization.shards; print({'torch', 'datatrove', 'tokenizers', 'regex'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.fixture
def letters(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n}.txt").write_text(f"Dear reader {n},\nall is well with the number {n * n}.\n")
    return CorpusConfig(source=str(folder), quality=False, jaccard_threshold=1.0, languages=())


def test_the_command_finds_the_tokenizer_of_the_tokenizer_command(letters, tmp_path, capsys):
    settings = letters, TokenizerConfig(300), ShardConfig(10)
    tokenizer_command(*settings, workspace=tmp_path / "home")
    about_corpus, about_tokenizer, file = capsys.readouterr().out.splitlines()
    shards_command(*settings, workspace=tmp_path / "home")
    first, second, train, held_out, path = capsys.readouterr().out.splitlines()
    assert (first, second) == (about_corpus, about_tokenizer)
    workspace = Workspace(tmp_path / "home")
    (shards,), (tokenizer,) = workspace.artifacts("shards"), workspace.artifacts("tokenizer")
    assert len(workspace.artifacts("corpus")) == 1 and path == str(shards.path) and file == str(tokenizer.file("tokenizer.json"))
    assert [train.split()[0], held_out.split()[0]] == list(SPLITS) and [train, held_out] == describe_shards(shards).splitlines()
    for place in (file, tokenizer.path):
        shards_command(*settings, tokenizer_path=place, workspace=tmp_path / "home")
        assert capsys.readouterr().out.splitlines() == [first, second, train, held_out, path]


def test_the_command_takes_a_tokenizer_from_elsewhere(letters, tmp_path, capsys):
    Tokenizer.train(["all is well"], 268).save(tmp_path / "given.json")
    options = {"tokenizer_path": tmp_path / "given.json", "workspace": tmp_path / "home", "workers": 2}
    shards_command(letters, TokenizerConfig(300), ShardConfig(10), **options)
    assert ": 268 ids" in capsys.readouterr().out.splitlines()[1]
    (shards,) = Workspace(tmp_path / "home").artifacts("shards")
    assert open_shards(shards, "train", Tokenizer.load(tmp_path / "given.json").sha256).text_bytes


def test_an_interrupted_command_keeps_what_it_had(letters, tmp_path, monkeypatch, capsys):
    settings = letters, TokenizerConfig(300), ShardConfig(10)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("llmbook.tokenization.shards._run_ranks", interrupted)
        shards_command(*settings, workspace=tmp_path / "home")
    kept = {(item.kind, item.key) for item in Workspace(tmp_path / "home").artifacts()}
    assert {kind for kind, _ in kept} == {"corpus", "tokenizer"}
    shards_command(*settings, workspace=tmp_path / "home")
    after = {(item.kind, item.key) for item in Workspace(tmp_path / "home").artifacts()}
    assert after > kept and len(after) == 3
