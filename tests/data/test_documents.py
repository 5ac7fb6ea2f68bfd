"""Sources of text: what is read, what is skipped with which words, and what is an error."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import sysconfig
import tokenize
import tracemalloc
import unicodedata
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datatrove.data import Document
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import JsonlWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import (
    TEXT_READERS,
    BadItem,
    Skipped,
    SourceError,
    SourceFile,
    _choose_split,
    _declared_encoding,
    _decode_text,
    _document_kind,
    _error_line,
    _file_documents,
    _first_bad_byte,
    _folder_documents,
    _hub_rows,
    _HubSource,
    _is_blank,
    _is_damage,
    _json_value,
    _list_folder,
    _list_stdlib,
    _open_stream,
    _own_metadata,
    _parse_hub_source,
    _row_document,
    _row_metadata,
    _take_documents,
    _zstd_chunks,
    assign_files,
    hub_documents,
    is_hub_source,
    jsonl_documents,
    list_files,
    make_document,
    open_source,
    parquet_documents,
    read_files,
    reader_for,
    stdlib_documents,
    utf8_name,
)


def one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) < 400


# ---------------------------------------------------------------- bytes to text


@settings(deadline=None)
@given(st.text())
def test_utf8_text_comes_back(text):
    if "\0" in text:
        with pytest.raises(ValueError, match="NUL"):
            _decode_text(text.encode(), "a.txt")
    else:
        expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        assert _decode_text(text.encode(), "a.txt") == expected


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_give_text_or_one_clear_error(data):
    for name in ("a.txt", "a.py"):
        try:
            _decode_text(data, name).encode()
        except ValueError as error:
            assert not isinstance(error, UnicodeError) and one_line(error)


def test_python_files_decode_as_python_decodes_them():
    root = Path(sysconfig.get_path("stdlib"))
    for document in stdlib_documents():
        if document.id.endswith(".py"):
            with tokenize.open(root / document.id) as file:
                assert document.text == file.read(), document.id


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "utf-8"])
def test_declared_encodings(encoding):
    text = f"# -*- coding: {encoding} -*-\nname = 'x{'é' if encoding != 'shift_jis' else 'テ'}'\n"
    assert _decode_text(text.encode(encoding), "a.py") == text


def test_a_byte_order_mark_is_no_text():
    assert _decode_text(b"\xef\xbb\xbfx = 1\n", "a.py") == _decode_text(b"\xef\xbb\xbfx = 1\n", "a.txt") == "x = 1\n"


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"abc\xe9", "a.txt", r"byte 3 \(0xe9\) is not utf-8"),
        (b"x\ny\nz = '\xe9'", "a.py", r"byte 9 \(0xe9\) is not utf-8"),
        (b"# \xe9", "a.py", r"byte 2 \(0xe9\) is not utf-8"),
        (b"# coding: klingon\n", "a.py", "klingon"),
        (b"# coding: ascii\nx\ny = '\xe9'", "a.py", r"byte 23 \(0xe9\) is not ascii"),
        (b"a\0b", "a.txt", "NUL"),
        ("text".encode("utf-16"), "a.txt", r"byte 0 \(0xff\)"),
    ],
)
def test_what_does_not_decode_is_named_by_its_byte(data, name, message):
    with pytest.raises(ValueError, match=message):
        _decode_text(data, name)


def test_kinds():
    names = {"code": ("a.PY", "b/c.rs", "a.sql"), "prose": ("a.txt", "a.md", "Makefile"), "html": ("a.html", "b/A.HTM", "c.xhtml")}
    assert all(_document_kind(name) == kind for kind in names for name in names[kind])


@settings(deadline=None)
@given(st.binary())
def test_the_first_bad_byte_is_where_decoding_stops(data):
    words = _first_bad_byte(data)
    if words is None:
        assert data.decode("utf-8", errors="surrogateescape").encode() == data
    else:
        good = int(words.split()[1])
        data[:good].decode("utf-8")
        with pytest.raises(UnicodeDecodeError):
            data[: good + 4].decode("utf-8")


def test_other_files_declare_nothing():
    assert _declared_encoding(b"# coding: latin-1\n", "a.txt") == "utf-8-sig"
    assert _declared_encoding(b"# coding: latin-1\n", "A.PY") == "iso-8859-1"


@settings(deadline=None)
@given(st.text())
def test_blank_is_what_strip_leaves_empty(text):
    assert _is_blank(text) == (not text.strip())


# ---------------------------------------------------------------- folders


@pytest.fixture
def folder(tmp_path) -> Path:
    files = {
        "b.txt": b"second",
        "a/z.py": b"x = 1\n",
        "a.txt": "fir\u00dft".encode(),
        "a/empty.py": b"  \n",
        "a/latin.txt": b"caf\xe9",
        "a/image.png": b"\x89PNG",
        ".git/config.txt": b"not text of mine",
        "__pycache__/x.py": b"x = 1",
        "rows.jsonl": b'{"text": "row one", "id": "r1"}\n\n{"text": " "}\n{"text": "row two"}\n',
    }
    for name, data in files.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "source"


def test_a_folder_in_the_order_of_names(folder):
    skipped = []
    documents = list(_folder_documents(folder, skipped))
    assert all(isinstance(document, Document) for document in documents)
    assert [document.id for document in documents] == ["a.txt", "a/z.py", "b.txt", "r1", "rows.jsonl:4"]
    assert documents[0].metadata == {"kind": "prose", "bytes": 6, "source": "a.txt"}
    assert documents[1].metadata["kind"] == "code" and documents[3].metadata["source"] == "rows.jsonl:1"
    assert skipped == [
        Skipped("a/empty.py", "empty", "no characters but white space"),
        Skipped("a/latin.txt", "undecodable", "byte 3 (0xe9) is not utf-8"),
        Skipped("rows.jsonl:3", "empty", "no characters but white space"),
    ]


def test_the_order_does_not_depend_on_the_file_system(folder, monkeypatch):
    expected = [document.id for document in _folder_documents(folder)]
    original, turned = os.scandir, []

    def reversed_entries(path):
        with original(path) as entries:
            turned.append(path)
            return contextlib.closing(SortedEntries(sorted(entries, key=lambda entry: entry.name, reverse=True)))

    class SortedEntries(list):
        def close(self):
            self.clear()

    monkeypatch.setattr(os, "scandir", reversed_entries)
    assert [document.id for document in _folder_documents(folder)] == expected and len(turned) > 1


def test_unreadable_files_and_folders_are_skipped_with_a_reason(folder, monkeypatch):
    original = Path.read_bytes

    def locked(self):
        if self.name == "b.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return original(self)

    monkeypatch.setattr(Path, "read_bytes", locked)
    scandir = os.scandir

    def locked_folder(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked_folder)
    skipped = []
    assert [document.id for document in _folder_documents(folder, skipped)] == ["a.txt", "r1", "rows.jsonl:4"]
    assert sorted(skipped) == [
        Skipped("a", "unreadable", "Permission denied"),
        Skipped("b.txt", "unreadable", "Permission denied"),
        Skipped("rows.jsonl:3", "empty", "no characters but white space"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")
def test_links_and_pipes_do_not_hang(folder):
    (folder / "loop").symlink_to(folder)
    (folder / "broken.txt").symlink_to(folder / "nowhere")
    (folder / "self.txt").symlink_to(folder / "self.txt")
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(folder / "door.txt"))
        skipped = []
        assert [d.id for d in open_source(folder, skipped)] == ["a.txt", "a/z.py", "b.txt", "r1", "rows.jsonl:4"]
    found = {item.name: (item.reason, item.detail) for item in skipped}
    assert found["loop"] == ("link", "to a folder, not followed")
    assert found["broken.txt"] == ("unreadable", "No such file or directory")
    assert found["self.txt"][0] == "unreadable" and "symbolic links" in found["self.txt"][1]
    assert found["pipe.txt"] == found["door.txt"] == ("unreadable", "not a regular file")
    with pytest.raises(BadItem, match="unreadable"):
        open_source(folder, strict=True)
    with pytest.raises(SourceError, match="not a file with a known ending"):
        open_source(folder / "pipe.txt")


def test_folders_deeper_than_python_can_recurse(tmp_path):
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.mkdir("x")
            os.chdir("x")
        Path("a.txt").write_text("deep")
    finally:
        os.chdir(here)
    (document,) = open_source(tmp_path)
    assert document.text == "deep" and document.id == "x/" * 1500 + "a.txt"
    subprocess.run(["rm", "-r", str(tmp_path / "x")], check=True)  # pytest's own way recurses


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8_is_spelled_out(tmp_path):
    for name in (b"caf\xe9.txt", b"\xff\xfe.jsonl", "caf\u00e9.txt".encode()):
        path = tmp_path / "source" / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'{"text": "x"}\n{"text": null}')
    folder = tmp_path / "source" / os.fsdecode(b"d\xe9p")
    folder.mkdir()
    (folder / "a.txt").write_text("inside")
    skipped = []
    found = list(open_source(tmp_path / "source", skipped))
    assert [d.id for d in found] == ["\\xff\\xfe.jsonl:1", "caf\\xe9.txt", "caf\u00e9.txt", "d\\xe9p/a.txt"]
    assert [item.name for item in skipped] == ["\\xff\\xfe.jsonl:2"]
    for item in found:
        json.dumps([item.id, item.text, item.metadata], ensure_ascii=False).encode()
    assert [d.id for d in open_source(path.parent / os.fsdecode(b"caf\xe9.txt"))] == ["caf\\xe9.txt"]
    for missing in (os.fsdecode(b"n\xf6.txt"), "lone \ud800.txt"):
        with pytest.raises(SourceError, match="cannot read") as caught:
            open_source(tmp_path / missing)
        str(caught.value).encode()


@given(st.binary(min_size=1, max_size=20))
def test_names_are_utf8_and_stay_if_they_are(data):
    name = utf8_name(os.fsdecode(data))
    name.encode()
    wanted = data.decode("utf-8", "backslashreplace")
    assert name == "".join(f"\\x{ord(sign):02x}" if unicodedata.category(sign) == "Cc" else sign for sign in wanted)


def test_a_bad_row_in_a_folder_is_skipped_or_an_error(folder):
    (folder / "rows.jsonl").write_text('{"text": "fine"}\n{')
    skipped = []
    assert [d.id for d in _folder_documents(folder, skipped)] == ["a.txt", "a/z.py", "b.txt", "rows.jsonl:1"]
    assert [(item.name, item.reason) for item in skipped][-1] == ("rows.jsonl:2", "bad row")
    with pytest.raises(BadItem, match="^a/latin.txt: undecodable .byte 3"):
        list(open_source(folder, strict=True))
    (folder / "a" / "latin.txt").unlink()
    for read in (partial(open_source, folder), partial(read_files, list_files(folder))):
        kept = []
        with pytest.raises(BadItem, match="^rows.jsonl:2: bad row .not JSON") as caught:
            list(read(skipped=kept, strict=True))
        assert one_line(caught.value) and [item.reason for item in kept] == ["empty"]
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    (folder / "rows.jsonl").unlink()
    assert shape(open_source(folder, strict=True)) == shape(open_source(folder))


def test_the_standard_library():
    skipped = []
    documents = list(stdlib_documents(skipped=skipped))
    ids = [document.id for document in documents]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    assert {"os.py", "textwrap.py", "json/decoder.py", "encodings/cp037.py", "pydoc_data/topics.py"} <= set(ids)
    assert not [name for name in ids if {"test", "tests", "site-packages", "__pycache__"} & set(name.split("/"))]
    assert 8e6 < sum(document.metadata["bytes"] for document in documents) < 25e6
    assert [(a.id, a.text) for a in open_source("stdlib")] == [(b.id, b.text) for b in documents]


# ---------------------------------------------------------------- JSON Lines


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text().filter(str.strip), max_size=5))
def test_jsonl_comes_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("rows")
    rows = [json.dumps({"id": f"d{n}", "text": text, "metadata": {"n": n}}) for n, text in enumerate(texts)]
    data = "\n".join(rows).encode()
    (folder / "a.jsonl").write_bytes(data)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(data[:20]) + gzip.compress(data[20:]))
    (folder / "c.jsonl.zst").write_bytes(zstandard.compress(data[:20]) + zstandard.compress(data[20:]))
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst"):
        documents = list(open_source(folder / name))
        assert [document.text for document in documents] == texts
        assert [document.id for document in documents] == [f"d{n}" for n in range(len(texts))]
        assert all(
            document.metadata == {"kind": "prose", "n": n, "bytes": len(texts[n].encode()), "source": f"{name}:{n + 1}"}
            for n, document in enumerate(documents)
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "thr', "not JSON"),
        (b"plain words", "not JSON"),
        (b'{"content": "x"}', 'field "text"'),
        (b'{"text": 3}', 'field "text"'),
        (b'{"text": null}', 'field "text"'),
        (b'["text"]', 'field "text"'),
        (b"3", 'field "text"'),
        (b'{"text": "\xe9"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "not UTF-8"),
        (b'{"text": "x", "id": "\\ud800"}', "not UTF-8"),
        (b'{"text": "x", "metadata": {"a": ["\\ud800"]}}', "not UTF-8"),
        (b'{"text": "x", "\\ud800": 1}', "not UTF-8"),
        (b'{"text": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"text": NaN}', 'field "text"'),
        (b'{"text": "x", "a": ' + b"[" * 600 + b"]" * 600 + b"}", "not JSON|nested too deeply"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b'{"text": "x", "n": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"text": ["x"]}', 'field "text"'),
        (b"\xff\xfe{\0", "not UTF-8"),
        (b"\0\0\0", "not JSON"),
    ],
)
def test_a_bad_line_is_skipped_and_named_by_its_number(tmp_path, line, message):
    path, skipped = tmp_path / "data.jsonl", []
    path.write_bytes(b'{"text": "good"}\n' + line + b'\n{"text": "too"}\n')
    assert [document.id for document in jsonl_documents(path, skipped=skipped)] == ["data.jsonl:1", "data.jsonl:3"]
    ((name, reason, detail),) = skipped
    assert name == "data.jsonl:2" and reason in ("no text", "bad row") and re.search(message, detail)
    documents = jsonl_documents(path, strict=True)
    assert next(documents).id == "data.jsonl:1"
    with pytest.raises(BadItem, match=message) as caught:
        next(documents)
    assert str(caught.value).startswith(f"data.jsonl:2: {reason} (") and one_line(caught.value)
    path.write_bytes(line)
    for strict in (False, True):
        with pytest.raises(SourceError, match="data.jsonl:1") as caught:
            open_source(path, strict=strict)
        assert one_line(caught.value)


def test_of_two_fields_with_one_name_the_last_counts(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": 1, "text": "b", "n": 2}\n{"text": "x", "n": 123456789012345678901234}')
    one, two = open_source(tmp_path / "a.jsonl")
    assert one.text == "b" and one.metadata["n"] == 2 and two.metadata["n"] == 123456789012345678901234
    assert [d.text for d in JsonlReader(str(tmp_path), glob_pattern="*.jsonl", limit=1)()] == ["b"]


def test_a_row_keeps_its_kind(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "x = 1", "id": "a.py"}\n{"text": "x", "metadata": {"kind": "code"}}\n{"text": "x", "metadata": 3}')
    assert [document.metadata["kind"] for document in jsonl_documents(path)] == ["code", "code", "prose"]


def test_what_a_row_says_besides_its_text_becomes_metadata():
    row = {"text": "x", "id": 7, "url": "u", "metadata": {"n": 1, "url": "old"}, "media": [], "score": math.nan}
    document = _row_document(row, "rows:1")
    assert document.id == "7"
    assert document.metadata == {"n": 1, "url": "u", "score": None, "kind": "prose", "bytes": 1, "source": "rows:1"}
    assert _row_metadata({"text": "x", "metadata": '{"a": 1}'}) == {"a": 1}
    assert _row_metadata({"text": "x", "metadata": "words"}) == {"metadata": "words"}
    assert _row_metadata({"text": "x", "metadata": None}) == {} == _row_metadata({"text": "x"})
    assert _row_document({"text": "x", "source": "the web"}, "rows:1").metadata["source"] == "the web"
    assert _own_metadata("{}") == {} and _own_metadata("[") is None and _own_metadata(3) is None


def test_numbers_that_json_lacks_become_none(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "a": NaN, "b": [Infinity, 1e999, 1.5]}')
    (document,) = jsonl_documents(path)
    assert document.metadata["a"] is None and document.metadata["b"] == [None, None, 1.5]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
other = st.floats() | st.dates() | st.datetimes() | st.times() | st.binary() | st.decimals() | st.timedeltas()


@settings(deadline=None, max_examples=50)
@given(plain, st.lists(other))
def test_json_values(value, others):
    assert _json_value(value) == value
    written = json.dumps(_json_value([value, tuple(others), {1: others}]), allow_nan=False)
    assert json.loads(written)[0] == value


def test_dates_keep_their_meaning():
    values = {"d": date(2024, 5, 1), "t": time(12, 30), "b": b"\x01\xff", "n": Decimal("1.50"), "l": timedelta(days=2)}
    assert _json_value(values) == {"d": "2024-05-01", "t": "12:30:00", "b": "01ff", "n": "1.50", "l": "2 days, 0:00:00"}
    assert datetime.fromisoformat(_json_value(datetime(2024, 5, 1, 12))) == datetime(2024, 5, 1, 12)


def rows_of(count: int) -> bytes:
    return b"".join(b'{"text": "row %d", "id": "%d"}\n' % (n, n) for n in range(count))


def until_error(documents) -> tuple[list[Document], str]:
    found = []
    with pytest.raises(SourceError) as caught:
        for document in documents:
            found.append(document)
    assert one_line(caught.value)
    return found, str(caught.value)


def with_skipped(read, *arguments) -> tuple[list[Document], list[Skipped]]:
    skipped = []
    return list(read(*arguments, skipped=skipped)), skipped


compress = {".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("ending", compress)
@pytest.mark.parametrize("damage", ["truncated", "not compressed", "flipped"])
def test_a_damaged_stream(tmp_path, damage, ending):
    whole = compress[ending](b"".join(b'{"text": "%x"}\n' % random.getrandbits(400) for _ in range(4000)))
    data = bytearray(whole)
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "not compressed":
        data = b"no rows, and not compressed"
    else:
        data[len(data) // 2] ^= 0xFF
        data = data[:-4]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(data)
    found, skipped = with_skipped(jsonl_documents, path)
    damaged = [item for item in skipped if item.reason == "damaged file"]
    if damage == "not compressed":
        assert not found and [(item.name, item.reason) for item in skipped] == [(f"{path.name}:1", "bad row")]
        with pytest.raises(SourceError, match="a.jsonl"):
            open_source(path)
    else:
        assert 100 < len(found) <= 4000 and len(damaged) == 1 and "after line" in damaged[0].detail
        assert len(list(open_source(path))) == len(found)
    with pytest.raises(BadItem, match="a.jsonl"):
        list(open_source(path, strict=True))


@pytest.mark.parametrize("ending", compress)
@pytest.mark.parametrize("frames", [1, 3])
def test_all_lines_before_the_cut_arrive(tmp_path, ending, frames):
    whole = [compress[ending](rows_of(count := 20_000))] * frames
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(b"".join(whole)[:-20])
    found, ((name, reason, detail),) = with_skipped(jsonl_documents, path)
    assert [document.id for document in found] == [str(n % count) for n in range(len(found))]
    assert len(found) > count * frames - 15_000 and f"after line {len(found)}:" in detail
    assert (name, reason) == (path.name, "damaged file")
    path.write_bytes(b"".join(whole))
    assert sum(1 for _ in jsonl_documents(path, strict=True)) == count * frames


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("content", ["", ".gz", ".zst"])
def test_the_content_decides_how_a_file_is_compressed(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(compress.get(content, bytes)(rows_of(5)))
    assert [d.text for d in open_source(path, strict=True)] == [f"row {n}" for n in range(5)]
    path.write_bytes(compress.get(content, bytes)(b"\xef\xbb\xbf\n" + rows_of(1)))
    assert [d.text for d in open_source(path)] == ["row 0"]


def test_a_file_that_vanishes_or_is_locked_is_one_item(folder):
    pq.write_table(pa.table({"text": ["x"]}), folder / "t.parquet")
    files = list_files(folder)
    for file in files[1:]:
        file.path.unlink()
    found, skipped = with_skipped(read_files, files)
    assert [d.id for d in found] == ["a.txt"] and [item.name for item in skipped] == [file.name for file in files[1:]]
    assert {item.reason for item in skipped} == {"unreadable"}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50))
def test_zstandard_frames(pieces, size):
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    data = skippable.join(zstandard.compress(piece) for piece in pieces)
    assert b"".join(_zstd_chunks(BytesIO(data), size)) == b"".join(pieces)
    if data:
        with pytest.raises(EOFError):
            list(_zstd_chunks(BytesIO(data[:-1]), size))


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_streams_are_closed(tmp_path, ending):
    path = tmp_path / f"A.JSONL{ending.upper()}"
    path.write_bytes(compress.get(ending, bytes)(b"line\nline\n"))
    with _open_stream(path) as file:
        assert file.readlines() == [b"line\n"] * 2
    assert file.closed


def test_no_compressed_file_takes_much_memory():
    worst = max(map(len, _zstd_chunks(BytesIO(zstandard.compress(bytes(200_000_000))))))
    assert worst < 64e6


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    peaks, draw = [], random.Random(0)
    for count in (1000, 8000):
        rows = (json.dumps({"text": " ".join(draw.choices(["some", "words"], k=100))}) for _ in range(count))
        path = tmp_path / f"{count}.jsonl{ending}"
        path.write_bytes(compress.get(ending, bytes)("\n".join(rows).encode()))
        tracemalloc.start()
        assert sum(1 for _ in open_source(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 100_000


# ---------------------------------------------------------------- datatrove's readers as oracles


def shape(documents) -> list[tuple]:
    ours = ("kind", "bytes", "source", "file_path")
    return [(item.id, item.text, {key: value for key, value in item.metadata.items() if key not in ours}) for item in documents]


@pytest.fixture
def many_rows() -> list[dict]:
    draw = random.Random(0)
    return [
        {
            "id": f"row-{n}",
            "text": "".join(draw.choices('ab \n\u2028\u00e9\U0001f600"\\', k=draw.randrange(1, 60))) + "x",
            "metadata": {"n": n, "tags": ["a", "b"]},
            "url": f"https://example.org/{n}",
            "score": n / 7,
        }
        for n in range(700)
    ]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_json_lines_as_datatrove_reads_them(tmp_path, many_rows, ending):
    data = "".join(json.dumps(row, ensure_ascii=row["metadata"]["n"] % 2 == 0) + "\n" for row in many_rows).encode()
    (tmp_path / f"a.jsonl{ending}").write_bytes(compress.get(ending, bytes)(data))
    found = shape(open_source(tmp_path))
    assert found == shape(JsonlReader(str(tmp_path))()) and len(found) == 700
    assert [(row["id"], row["text"]) for row in many_rows] == [(name, text) for name, text, _ in found]


@pytest.mark.parametrize("group", [1000, 64])
def test_parquet_as_datatrove_reads_it(tmp_path, many_rows, group):
    pq.write_table(pa.Table.from_pylist(many_rows), tmp_path / "a.parquet", row_group_size=group)
    found = shape(open_source(tmp_path))
    assert found == shape(ParquetReader(str(tmp_path))()) and len(found) == 700


def test_a_data_set_is_the_same_in_every_format(tmp_path, many_rows):
    data = "".join(json.dumps(row) + "\n" for row in many_rows).encode()
    for ending in ("", ".gz", ".zst"):
        (tmp_path / f"a.jsonl{ending}").write_bytes(compress.get(ending, bytes)(data))
    pq.write_table(pa.Table.from_pylist(many_rows), tmp_path / "a.parquet", row_group_size=100)
    first, *others = ([(d.id, d.text, d.metadata | {"source": ""}) for d in open_source(p)] for p in tmp_path.iterdir())
    assert len(others) == 3 and all(found == first for found in others)


def test_what_datatrove_writes_comes_back(tmp_path, folder):
    documents = list(_folder_documents(folder))
    with JsonlWriter(str(tmp_path / "out"), compression="gzip") as writer:
        for document in documents:
            writer.write(document)
    found = list(open_source(tmp_path / "out"))
    assert [(d.id, d.text, d.metadata) for d in found] == [(d.id, d.text, d.metadata) for d in documents]


# ---------------------------------------------------------------- Parquet


def test_columns_of_all_types(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["a", "b"], pa.large_string()),
            "id": pa.array([1, 2]),
            "day": pa.array([date(2024, 5, 1)] * 2),
            "at": pa.array([datetime(2024, 5, 1, 12, 30)] * 2, pa.timestamp("us", tz="UTC")),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
            "hash": pa.array([b"\x00\xff"] * 2),
            "nested": pa.array([{"a": [1.0, math.inf]}] * 2),
            "pairs": pa.array([[("k", 1)]] * 2, pa.map_(pa.string(), pa.int64())),
            "label": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    documents = list(open_source(tmp_path / "a.parquet"))
    assert [(d.id, d.text) for d in documents] == [("1", "a"), ("2", "b")]
    found = {key: documents[0].metadata[key] for key in table.column_names[2:]}
    assert found == {
        "day": "2024-05-01",
        "at": "2024-05-01T12:30:00+00:00",
        "price": "1.50",
        "hash": "00ff",
        "nested": {"a": [1.0, None]},
        "pairs": [["k", 1]],
        "label": "x",
    }
    assert documents[1].metadata["price"] is None
    assert all(json.loads(json.dumps(d.metadata, allow_nan=False)) == d.metadata for d in documents)


def test_only_the_columns_that_are_asked_for(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "id": ["1", "2"], "url": ["u", "v"]}), path)
    assert [(d.id, "url" in d.metadata) for d in parquet_documents(path)] == [("1", True), ("2", True)]
    assert [d.id for d in parquet_documents(path, columns=["text"])] == ["a.parquet:1", "a.parquet:2"]
    readers = TEXT_READERS | {".parquet": partial(parquet_documents, columns=["text", "id"])}
    assert [d.metadata for d in open_source(path, readers=readers)][0] == {
        "kind": "prose", "bytes": 1, "source": "a.parquet:1"
    }  # fmt: skip


def test_parquet_rows_without_text(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", " ", None, "b"]}), path)
    found, skipped = with_skipped(parquet_documents, path)
    assert [(d.id, d.text) for d in found] == [("a.parquet:1", "a"), ("a.parquet:4", "b")]
    assert skipped == [
        Skipped("a.parquet:2", "empty", "no characters but white space"),
        Skipped("a.parquet:3", "no text", 'not an object with text in the field "text"'),
    ]
    found, message = until_error(parquet_documents(path, strict=True))
    assert [d.text for d in found] == ["a"] and message.startswith("a.parquet:3: no text")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert list(open_source(path)) == []


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.table({"content": ["a", "b"]}), 'no column "text" (but content)'),
        (pa.table({"text": [1, 2]}), 'the column "text" is int64'),
        (pa.table({"text": [None, None]}), 'the column "text" is null'),
        (pa.table({"text": [[1], [2]]}), 'the column "text" is list<'),
    ],
)
def test_a_table_that_gives_no_text_at_all_is_one_item(tmp_path, column, why):
    path = tmp_path / "a.parquet"
    pq.write_table(column, path)
    found, ((name, reason, detail),) = with_skipped(parquet_documents, path)
    assert not found and (name, reason) == ("a.parquet", "no text") and detail.startswith(f"2 rows: {why}")
    with pytest.raises(SourceError, match="2 rows"):
        open_source(path)


def test_a_damaged_parquet_file_costs_what_is_damaged(tmp_path):
    path, draw = tmp_path / "a.parquet", random.Random(0)
    groups = {"row_group_size": 100, "write_page_checksum": True}
    pq.write_table(pa.table({"text": [f"row {n} " * 9 for n in range(500)]}), path, **groups)
    good = path.read_bytes()
    texts = [document.text for document in parquet_documents(path)]
    damaged = [good[: draw.randrange(len(good))] for _ in range(10)] + [b"", b"PAR1", b"x" * 500]
    for _ in range(60):
        data = bytearray(good)
        data[draw.randrange(len(data) - 200)] ^= 1 << draw.randrange(8)
        damaged.append(bytes(data))
    kinds = set()
    for data in damaged:
        path.write_bytes(data)
        found, skipped = with_skipped(parquet_documents, path)
        lost = sum(int(item.detail.split()[0]) for item in skipped if ":" in item.name)
        if not skipped:
            assert [d.text for d in found] == texts  # a bit that nothing depends on, as in a statistic
        elif skipped[0].name != "a.parquet":
            assert len(found) + lost == 500 and {d.text for d in found} <= set(texts)
            assert [d.id for d in found] == [f"a.parquet:{texts.index(d.text) + 1}" for d in found]
        assert {item.reason for item in skipped} <= {"damaged file"}
        kinds.add((bool(found), bool(skipped)))
        if skipped:
            assert "a.parquet" in until_error(parquet_documents(path, strict=True))[1]
    assert kinds == {(True, True), (False, True), (True, False)}


def test_a_damaged_row_group_says_how_many_rows_it_cost(tmp_path):
    path = tmp_path / "a.parquet"
    groups = {"row_group_size": 100, "compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pa.table({"text": [f"row {n:03}" for n in range(400)]}), path, **groups)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"row 150", b"row 15x").replace(b"row 350", b"row 35x"))
    found, skipped = with_skipped(open_source, path)
    assert [d.text for d in found] == [f"row {n:03}" for n in [*range(100), *range(200, 300)]]
    assert [d.id for d in found][100] == "a.parquet:201"
    assert [(item.name, item.detail.split(":")[0]) for item in skipped] == [
        ("a.parquet:101", "100 rows from here on"),
        ("a.parquet:301", "100 rows from here on"),
    ]


def test_values_that_python_cannot_hold_cost_no_more_than_their_row(tmp_path):
    path = tmp_path / "a.parquet"
    texts = pa.array([b"one", b"caf\xe9", b"three"]).view(pa.string())
    times = pa.array([1, 2, 10**18 + 1], pa.timestamp("ns"))
    pq.write_table(pa.table({"text": texts, "at": times}), path)
    found, skipped = with_skipped(parquet_documents, path)
    assert [(d.id, d.text) for d in found] == [("a.parquet:1", "one"), ("a.parquet:3", "three")]
    assert found[1].metadata["at"].startswith("2001-09-09")
    assert [(item.name, item.reason) for item in skipped] == [("a.parquet:2", "bad row")] and "utf-8" in skipped[0].detail


# ---------------------------------------------------------------- files, readers, tasks


def test_the_longest_ending_counts():
    def other(path, name, skipped):
        yield make_document("other", name)

    readers = TEXT_READERS | {".gz": other, ".warc.gz": other}
    assert reader_for("a.jsonl.gz", readers) is jsonl_documents and reader_for("a.b.JSONL") is jsonl_documents
    assert reader_for("x/a.tar.gz", readers) is other is reader_for("a.warc.gz", readers)
    assert [reader_for(name) for name in ("README", "a.png", "x.py/README", "py", "a.", "")] == [None] * 6
    assert reader_for(".py") is reader_for("a.PY") is TEXT_READERS[".py"]


def test_a_reader_is_plugged_in(folder, tmp_path):
    def csv_documents(path, name, skipped):
        for number, row in enumerate(csv.DictReader(io.StringIO(path.read_text())), 1):
            yield _row_document(row, f"{name}:{number}")

    (folder / "a" / "t.csv").write_text('text,lang\n"one, two",en\nthree,en\n')
    readers = TEXT_READERS | {".csv": csv_documents}
    found = [(d.id, d.text) for d in open_source(folder, readers=readers) if "csv" in d.id]
    assert found == [("a/t.csv:1", "one, two"), ("a/t.csv:2", "three")]
    assert not [d for d in open_source(folder) if "csv" in d.id]
    assert len(list(open_source(folder / "a" / "t.csv", readers=readers))) == 2
    with pytest.raises(SourceError, match="known ending"):
        open_source(folder / "a" / "t.csv")


def test_files_are_listed_before_they_are_read(folder):
    files = list_files(folder)
    assert [file.name for file in files] == ["a.txt", "a/empty.py", "a/latin.txt", "a/z.py", "b.txt", "rows.jsonl"]
    assert all(file.bytes == file.path.stat().st_size == len(file.path.read_bytes()) for file in files)
    assert shape(read_files(files)) == shape(open_source(folder))
    assert list_files(folder / "b.txt") == [SourceFile("b.txt", folder / "b.txt", 6)]
    assert list_files("stdlib") == _list_stdlib() and len(_list_stdlib()) > 500
    (folder / "b.txt").unlink()
    skipped = []
    list(read_files(files, skipped=skipped))
    assert Skipped("b.txt", "unreadable", "No such file or directory") in skipped
    with pytest.raises(SourceError, match="no reader"):
        list(read_files([SourceFile("a.png", folder / "a/image.png", 4)]))


def test_a_file_that_vanishes_while_listing_is_reported(folder, monkeypatch):
    original = Path.stat

    def gone(self, **kwargs):
        if self.name == "b.txt" and sys._getframe(1).f_code.co_name == "_list_folder":
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return original(self, **kwargs)

    monkeypatch.setattr(Path, "stat", gone)
    skipped = []
    assert "b.txt" not in [file.name for file in _list_folder(folder, skipped=skipped)]
    assert skipped == [Skipped("b.txt", "unreadable", "No such file or directory")]


def files_of(sizes) -> list[SourceFile]:
    return [SourceFile(str(number), Path(), size) for number, size in enumerate(sizes)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 10) | st.integers(0, 10**12), max_size=40), st.integers(1, 50))
def test_blocks_are_contiguous_and_balanced(sizes, tasks):
    files = files_of(sizes)
    blocks = assign_files(files, tasks)
    assert len(blocks) == tasks and list(itertools.chain(*blocks)) == files
    for block in blocks:
        assert abs(sum(file.bytes for file in block) * tasks - sum(sizes)) <= tasks * max(sizes, default=0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(1, 4))
def test_the_largest_block_is_at_most_twice_the_smallest_possible(sizes, tasks):
    cuts = itertools.combinations_with_replacement(range(len(sizes) + 1), tasks - 1)
    best = min(max(sum(sizes[a:b]) for a, b in itertools.pairwise((0, *cut, len(sizes)))) for cut in cuts)
    found = max(sum(file.bytes for file in block) for block in assign_files(files_of(sizes), tasks))
    assert best <= found <= 2 * best


def test_tasks_by_hand():
    blocks = assign_files(files_of([6, 2, 2, 2, 4]), 3)
    assert [[file.bytes for file in block] for block in blocks] == [[6], [2, 2], [2, 4]]
    assert assign_files([], 2) == [[], []] and assign_files(files_of([0, 0]), 2) == [files_of([0, 0]), []]
    for tasks in (0, -1):
        with pytest.raises(ValueError, match=f"not to {tasks}"):
            assign_files([], tasks)


def test_many_tasks_read_the_corpus_of_one(folder, many_rows):
    pq.write_table(pa.Table.from_pylist(many_rows), folder / "a" / "more.parquet")
    alone = [(d.id, d.text, d.metadata) for d in open_source(folder)]
    assert len(alone) > 700
    for tasks in (1, 2, 3, 8, 20):
        blocks = assign_files(list_files(folder), tasks)
        assert [(d.id, d.text, d.metadata) for block in blocks for d in read_files(block)] == alone


# ---------------------------------------------------------------- data sets of the hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hub") / "tiny"
    (root / "stories").mkdir(parents=True)
    (root / "lines").mkdir()
    number = itertools.count()
    for shard, count in enumerate((3, 1, 4, 2)):
        texts = [f"story {next(number)}" for _ in range(count)]
        days = [date(2024, 5, 1)] * count
        name = root / "stories" / f"train-{shard:05}-of-00004.parquet"
        pq.write_table(pa.table({"text": texts, "day": days}), name, row_group_size=2)
    pq.write_table(pa.table({"text": ["held out"]}), root / "stories" / "test-00000-of-00001.parquet")
    pq.write_table(pa.table({"body": ["no text"]}), root / "other.parquet")
    pq.write_table(pa.table({"text": ["good", " ", None, "never"]}), root / "gaps.parquet")
    files = {"stories": {"train": "stories/train-*", "test": "stories/test-*"}}
    files |= {"bodies": {"train": "other.parquet"}, "gaps": {"train": "gaps.parquet"}}
    files |= {"halves": {"left": "gaps.parquet", "right": "other.parquet"}, "single": {"left": "stories/test-*"}}
    lines = ["---", "configs:"]
    for config, splits in files.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [line for split, path in splits.items() for line in (f"  - split: {split}", f"    path: {path}")]
    (root / "README.md").write_text("\n".join([*lines, "---", "# Tiny", ""]))
    return root


def test_shards_of_a_hub_folder_are_read_in_order(hub):
    import datasets

    documents = list(open_source(f"hf:{hub}:stories"))
    rows = datasets.load_dataset(str(hub), "stories", split="train", streaming=True)
    assert [d.text for d in documents] == [row["text"] for row in rows] == [f"story {n}" for n in range(10)]
    assert documents[3].id == "tiny:stories:train:1:1" and documents[9].id == "tiny:stories:train:3:2"
    assert documents[0].metadata == {
        "day": "2024-05-01", "kind": "prose", "bytes": 7, "source": "tiny:stories:train:0:1"
    }  # fmt: skip
    assert [d.text for d in open_source(f"hf:{hub}:stories:test")] == ["held out"]
    assert [d.text for d in open_source(f"hf:{hub}:single")] == ["held out"]


@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 7])
def test_hub_tasks_joined_are_one(hub, tasks):
    source = f"hf:{hub}:stories"
    alone = [(d.id, d.text, d.metadata) for d in hub_documents(source)]
    parts = [hub_documents(source, task=task, tasks=tasks) for task in range(tasks)]
    assert [(d.id, d.text, d.metadata) for part in parts for d in part] == alone


def test_limit_reads_no_further(hub, tmp_path):
    assert [d.text for d in open_source(f"hf:{hub}:gaps", limit=1)] == ["good"]
    assert [d.text for d in open_source(f"hf:{hub}:stories", limit=4)] == [f"story {n}" for n in range(4)]
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\nbroken')
    for source in (tmp_path, tmp_path / "a.jsonl"):
        assert [d.text for d in open_source(source, limit=2)] == ["a", "b"]
        assert list(open_source(source, limit=0)) == []
        with pytest.raises(BadItem, match="a.jsonl:3"):
            list(open_source(source, limit=3, strict=True))
    assert len(list(open_source("stdlib", limit=5))) == 5
    for source in ("stdlib", tmp_path, tmp_path / "a.jsonl", f"hf:{hub}:stories"):
        with pytest.raises(ValueError, match="not -1"):
            open_source(source, limit=-1)
    assert [*_take_documents(iter("abc"), None)] == [*"abc"]


def test_hub_rows_without_text(hub):
    found, skipped = with_skipped(open_source, f"hf:{hub}:gaps")
    assert [d.text for d in found] == ["good", "never"]
    assert [(item.name, item.reason) for item in skipped] == [("tiny:gaps:train:0:2", "empty"), ("tiny:gaps:train:0:3", "no text")]
    found, message = until_error(open_source(f"hf:{hub}:gaps", strict=True))
    assert [d.text for d in found] == ["good"] and message.startswith("tiny:gaps:train:0:3: no text")
    pq.write_table(pa.table({"text": pa.array([None], pa.string())}), hub / "other.parquet")
    with pytest.raises(SourceError, match="no text is left of hf:.*1 by 'no text'"):
        list(open_source(f"hf:{hub}:bodies"))
    pq.write_table(pa.table({"body": ["no text"]}), hub / "other.parquet")


def test_json_lines_in_the_hubs_layout(tmp_path):
    (tmp_path / "data").mkdir()
    for shard in range(2):
        rows = "".join(json.dumps({"text": f"{shard} {n}", "id": f"{shard}-{n}"}) + "\n" for n in range(3))
        (tmp_path / "data" / f"train-{shard:05}-of-00002.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    expected = [(f"{shard}-{n}", f"{shard} {n}") for shard in range(2) for n in range(3)]
    assert [(d.id, d.text) for d in open_source(f"hf:{tmp_path}")] == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "Config name is missing.*stories"),
        (":nothing", "nothing.*not found.*stories"),
        (":stories:nothing", "no split 'nothing' .it has test, train"),
        (":halves", "no split 'train' .it has left, right"),
        (":bodies", 'no column "text" .but body'),
        ("/missing", "no such folder"),
        (":a:b:c", "hf:OWNER/NAME"),
    ],
)
def test_a_hub_source_that_cannot_be_used_is_one_clear_line(hub, config, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(f"hf:{hub}{config}")
    assert one_line(caught.value)


def test_a_broken_shard_is_one_item(tmp_path):
    (tmp_path / "data").mkdir()
    for shard in range(3):
        name = tmp_path / "data" / f"train-{shard:05}-of-00003.parquet"
        pq.write_table(pa.table({"text": [f"{shard}"]}), name)
        if shard == 1:
            name.write_bytes(name.read_bytes()[:-9])
    found, ((name, reason, detail),) = with_skipped(open_source, f"hf:{tmp_path}")
    assert [d.text for d in found] == ["0", "2"] and reason == "damaged file" and "after row 0" in detail
    assert name.endswith(":1")
    found, message = until_error(open_source(f"hf:{tmp_path}", strict=True))
    assert [d.text for d in found] == ["0"] and "damaged file" in message


def test_a_network_that_fails_is_no_bad_item():
    class Split:
        num_shards = 2

        def shard(self, num_shards, index):
            yield {"text": "before"}
            raise ConnectionError("the network is down")

    skipped = []
    rows = _hub_rows(Split(), "set", 0, 1, skipped)
    assert next(rows)[0] == "set:0:1" and skipped == []
    with pytest.raises(SourceError, match="set:0: cannot read on after row 1: the network is down"):
        next(rows)
    for error in (ValueError("x"), EOFError(), gzip.BadGzipFile("x"), OSError("Corrupt snappy compressed data"), pa.ArrowInvalid()):
        assert _is_damage(error)
    for error in (ConnectionError(), TimeoutError(), OSError(5, "x"), RuntimeError("x"), TypeError()):
        assert not _is_damage(error)


def test_without_the_library(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match=r"pip install 'llmbook\[hub\]'"):
        open_source("hf:owner/name")


def test_without_a_network():
    code = "from llmbook.data.documents import open_source as o\ntry: o('hf:owner/name')\nexcept ValueError as e: print(e)"
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("cannot open hf:owner/name: Couldn't reach 'owner/name'") and run.stdout.count("\n") == 1


def test_names_of_hub_sources(tmp_path, monkeypatch):
    assert _parse_hub_source("hf:o/n") == _HubSource("o/n") == ("o/n", None, None)
    assert _parse_hub_source("hf:o/n::test") == _HubSource("o/n", None, "test")
    assert is_hub_source("hf:") and not is_hub_source("stdlib") and not is_hub_source(Path("hf:x"))
    for wrong in ("hf:", "hf::a", "hf:.", "hf:a:b:c:d"):
        with pytest.raises(SourceError, match="hf:OWNER/NAME"):
            _parse_hub_source(wrong)
    (tmp_path / "o" / "n").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert _parse_hub_source("hf:./o/n:c").name == str(tmp_path / "o" / "n")
    with pytest.raises(SourceError, match="write hf:./o/n"):
        _parse_hub_source("hf:o/n")
    assert _choose_split({"only": 1}, _HubSource("o/n")) == "only"


@pytest.mark.parametrize(("task", "tasks"), [(1, 1), (-1, 2), (0, 0)])
def test_tasks_that_do_not_exist(hub, task, tasks):
    with pytest.raises(ValueError, match="not one of"):
        hub_documents(f"hf:{hub}:stories", task=task, tasks=tasks)
    with pytest.raises(SourceError, match="not a list of files"):
        list_files(f"hf:{hub}:stories")


# ---------------------------------------------------------------- one door


def test_a_single_text_file(folder):
    (document,) = open_source(str(folder / "a.txt"))
    assert (document.id, document.text) == ("a.txt", "fir\u00dft")
    assert [document.id for document in open_source(folder)][0] == "a.txt"


def test_the_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert next(open_source("~/b.txt")).text == "second"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "No such file"),
        ("missing.jsonl", "No such file"),
        ("b.txt/inner", "cannot read"),
        ("a/image.png", r"known ending .*\.jsonl"),
        ("a/latin.txt", r"1 by 'undecodable'; first latin.txt: byte 3 \(0xe9\)"),
        ("a/empty.py", "empty"),
        ("x" * 5000, "cannot read"),
        ("nul\0", "cannot read"),
    ],
)
def test_a_source_that_cannot_be_used_is_one_clear_line(folder, name, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(folder / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "rows.jsonl", "source"])
def test_an_unreadable_source(folder, name, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = folder if name == "source" else folder / name
    with monkeypatch.context() as patch, pytest.raises(SourceError, match="Permission denied") as caught:
        patch.setattr(os, "listdir", locked)
        patch.setattr(Path, "read_bytes", locked)
        patch.setattr("builtins.open", locked)
        list(open_source(path))
    assert one_line(caught.value)


def test_a_single_file_that_is_skipped_as_a_whole_is_an_error(folder):
    def nothing(path, name, skipped):
        skipped.append(Skipped(name if "whole" in name else f"{name}:1", "odd", "why"))
        yield from ()

    readers = {".odd": nothing}
    (folder / "whole.odd").touch()
    (folder / "parts.odd").touch()
    with pytest.raises(SourceError, match=r"no text is left of .*whole.odd .1 by 'odd'; first whole.odd: why"):
        _file_documents(folder / "whole.odd", readers)
    skipped = []
    with pytest.raises(SourceError, match="first parts.odd:1: why"):
        open_source(folder / "parts.odd", skipped, readers)
    assert skipped == [Skipped("parts.odd:1", "odd", "why")]
    with pytest.raises(BadItem, match="^parts.odd:1: odd .why"):
        open_source(folder / "parts.odd", readers=readers, strict=True)


def test_a_source_of_which_nothing_is_left_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.jsonl").write_text("[]\nwords\n")
    (tmp_path / "c.py").touch()
    with pytest.raises(SourceError, match="no text is left") as caught:
        list(open_source(tmp_path))
    assert all(f"1 by '{reason}'" in str(caught.value) for reason in ("undecodable", "no text", "bad row", "empty"))
    assert one_line(caught.value) or len(str(caught.value)) < 600
    assert list(open_source(tmp_path, limit=0)) == []


def test_python_files_in_encodings_that_spell_surrogates(tmp_path):
    for number, (encoding, text) in enumerate(
        [
            ("utf-7", b"x = '+2AA-'"),
            ("unicode_escape", rb"\ud800"),
            ("undefined", b"x"),
            ("punycode", b"\xff-"),
            ("hex", b"00"),
            ("idna", b"\xff"),
        ]
    ):
        (tmp_path / f"{number}.py").write_bytes(b"# coding: " + encoding.encode() + b"\n" + text)
    (tmp_path / "good.py").write_text("x = 1")
    found, skipped = with_skipped(open_source, tmp_path)
    assert "good.py" in [d.id for d in found] and {item.reason for item in skipped} == {"undecodable"} and len(skipped) >= 5
    for document in found:
        document.text.encode()


def test_error_lines():
    assert _error_line(OSError(2, "No such file")) == "No such file" and _error_line(ValueError()) == "ValueError"
    assert "\n" not in _error_line(ValueError("one\n  two")) and len(_error_line(ValueError("x" * 9999))) <= 300


def test_make_document_counts_bytes_not_characters():
    assert make_document("é", "a.txt", {"bytes": 99}).metadata["bytes"] == 2
    assert make_document("x", "a.html", {"kind": "table"}).metadata["kind"] == "html"
    assert make_document("x", "a", {"kind": "html"}, "b:3").metadata == {"kind": "html", "bytes": 1, "source": "b:3"}
    assert tokenize.detect_encoding(BytesIO(b"").readline)[0] == "utf-8"
