"""Sources of text: what is read, what is skipped with which words, and what is an error."""

from __future__ import annotations

import gzip
import json
import os
import sys
import sysconfig
import tokenize
from io import BytesIO
from pathlib import Path

import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import (
    Skipped,
    SourceError,
    decode_text,
    document_kind,
    folder_documents,
    jsonl_documents,
    make_document,
    open_source,
    stdlib_documents,
)


def one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) < 400


# ---------------------------------------------------------------- bytes to text


@settings(deadline=None)
@given(st.text())
def test_utf8_text_comes_back(text):
    if "\0" in text:
        with pytest.raises(ValueError, match="NUL"):
            decode_text(text.encode(), "a.txt")
    else:
        expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        assert decode_text(text.encode(), "a.txt") == expected


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_give_text_or_one_clear_error(data):
    for name in ("a.txt", "a.py"):
        try:
            decode_text(data, name).encode()
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
    assert decode_text(text.encode(encoding), "a.py") == text


def test_a_byte_order_mark_is_no_text():
    assert decode_text(b"\xef\xbb\xbfx = 1\n", "a.py") == decode_text(b"\xef\xbb\xbfx = 1\n", "a.txt") == "x = 1\n"


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
        decode_text(data, name)


def test_kinds():
    assert [document_kind(name) for name in ("a.PY", "b/c.rs", "a.txt", "a.md", "Makefile")] == ["code"] * 2 + [
        "prose"
    ] * 3


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
    documents = list(folder_documents(folder, skipped))
    assert all(isinstance(document, Document) for document in documents)
    assert [document.id for document in documents] == ["a.txt", "a/z.py", "b.txt", "r1", "rows.jsonl:4"]
    assert documents[0].metadata == {"kind": "prose", "bytes": 6} and documents[1].metadata["kind"] == "code"
    assert skipped == [
        Skipped("a/empty.py", "empty", "no characters but white space"),
        Skipped("a/latin.txt", "undecodable", "byte 3 (0xe9) is not utf-8"),
    ]


def test_the_order_does_not_depend_on_the_file_system(folder, monkeypatch):
    expected = [document.id for document in folder_documents(folder)]
    original = os.walk

    def reversed_walk(*args, **kwargs):
        for top, subfolders, files in original(*args, **kwargs):
            subfolders.reverse()
            yield top, subfolders, files[::-1]

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert [document.id for document in folder_documents(folder)] == expected


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
    assert [document.id for document in folder_documents(folder, skipped)] == ["a.txt", "r1", "rows.jsonl:4"]
    assert sorted(skipped) == [
        Skipped("a", "unreadable", "Permission denied"),
        Skipped("b.txt", "unreadable", "Permission denied"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")
def test_links_and_pipes_do_not_hang(folder):
    (folder / "loop").symlink_to(folder)
    (folder / "broken.txt").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.txt")
    assert [document.id for document in folder_documents(folder)][:3] == ["a.txt", "a/z.py", "b.txt"]


def test_a_bad_row_in_a_folder_is_an_error(folder):
    (folder / "rows.jsonl").write_text("{")
    with pytest.raises(SourceError, match="rows.jsonl:1"):
        list(folder_documents(folder))


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
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(data))
    for name in ("a.jsonl", "b.jsonl.gz"):
        documents = list(open_source(folder / name))
        assert [document.text for document in documents] == texts
        assert [document.id for document in documents] == [f"d{n}" for n in range(len(texts))]
        assert all(
            document.metadata == {"kind": "prose", "n": n, "bytes": len(texts[n].encode())}
            for n, document in enumerate(documents)
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "thr', "not valid JSON"),
        (b"plain words", "not valid JSON"),
        (b'{"content": "x"}', 'field "text"'),
        (b'{"text": 3}', 'field "text"'),
        (b'{"text": null}', 'field "text"'),
        (b'["text"]', 'field "text"'),
        (b"3", 'field "text"'),
        (b'{"text": "\xe9"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "not UTF-8"),
        (b'{"text": "x", "id": "\\ud800"}', "not UTF-8"),
        (b'{"text": "x", "metadata": {"a": ["\\ud800"]}}', "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b"\n")
    documents = jsonl_documents(path)
    assert next(documents).id == "data.jsonl:1"
    with pytest.raises(SourceError, match=message) as caught:
        next(documents)
    assert str(caught.value).startswith("data.jsonl:2: ") and one_line(caught.value)


def test_a_row_keeps_its_kind(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"text": "x = 1", "id": "a.py"}\n{"text": "x", "metadata": {"kind": "code"}}\n{"text": "x", "metadata": 3}'
    )
    assert [document.metadata["kind"] for document in jsonl_documents(path)] == ["code", "code", "prose"]


@pytest.mark.parametrize("damage", ["truncated", "no gzip", "flipped"])
def test_a_damaged_gzip_file(tmp_path, damage):
    data = bytearray(gzip.compress(b"".join(b'{"text": "row %d"}\n' % n for n in range(1000))))
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "no gzip":
        data = b'{"text": "plain"}'
    else:
        data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    with pytest.raises(SourceError) as caught:
        list(open_source(tmp_path / "a.jsonl.gz"))
    assert one_line(caught.value) and "a.jsonl.gz" in str(caught.value)


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
        ("a/latin.txt", r"undecodable: byte 3 \(0xe9\)"),
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


def test_make_document_counts_bytes_not_characters():
    assert make_document("é", "a.txt", {"bytes": 99}).metadata["bytes"] == 2
    assert tokenize.detect_encoding(BytesIO(b"").readline)[0] == "utf-8"
