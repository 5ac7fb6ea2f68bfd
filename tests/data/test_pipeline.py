"""The corpus artifact: what is in it, what its key depends on, and what it does with sources that cannot be used."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data import pipeline
from llmbook.data.documents import SourceError, make_document
from llmbook.data.pipeline import (
    CorpusConfig,
    EmptyCorpus,
    build_corpus,
    is_held_out,
    read_corpus,
    read_report,
    source_fingerprint,
    waterfall,
)
from llmbook.preliminaries.workspace import Workspace, WorkspaceFull

PROSE = "it was the best of times and it was the worst of times number {} so we have to be content with that much "


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    base = " ".join(f"the word{n} and" for n in range(100))
    texts = {
        "a.txt": base,
        "b.txt": base.replace("word50", "changed"),
        "c.txt": base,
        "d.txt": "too short",
        "e.txt": " ".join(f"to have other{n}" for n in range(60)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "f.txt").write_bytes(b"\xff")
    (folder / "g.py").write_bytes(b"")
    return folder


@pytest.fixture
def home(tmp_path):
    return Workspace(tmp_path / "home")


def build(home, source, **changes):
    return build_corpus(home, CorpusConfig(source=str(source), **changes), progress=False)


def test_a_small_corpus_with_its_account(home, source):
    artifact = build(home, source)
    assert [(item.id, item.metadata["kind"]) for item in read_corpus(artifact)] == [
        ("a.txt", "prose"),
        ("e.txt", "prose"),
    ]
    report = read_report(artifact)
    assert report["skipped"] == {"undecodable": 1, "empty": 1}
    assert [(name, count) for name, count, _ in waterfall(report)] == [
        ("read", 5),
        ("word count", -1),
        ("exact duplicate", -1),
        ("near duplicate", -1),
        ("kept", 2),
    ]
    sizes = [size for _, _, size in waterfall(report)]
    assert sizes[0] + sum(sizes[1:-1]) == sizes[-1] == sum(len(item.text) for item in read_corpus(artifact))
    rows = [json.loads(line) for line in artifact.file("removed.jsonl").read_text().splitlines()]
    assert [(row.get("id", row.get("name")), row["reason"]) for row in rows] == [
        ("f.txt", "undecodable"),
        ("g.py", "empty"),
        ("d.txt", "word count"),
        ("c.txt", "exact duplicate"),
        ("b.txt", "near duplicate"),
    ]


def test_without_quality_rules(home, source):
    assert [item.id for item in read_corpus(build(home, source, quality=False))] == ["a.txt", "d.txt", "e.txt"]


def test_the_corpus_is_a_source_that_gives_the_same_corpus(home, source):
    first = build(home, source)
    second = build(home, first.file("corpus.jsonl"))
    assert [(a.id, a.text, a.metadata) for a in read_corpus(first)] == [
        (b.id, b.text, b.metadata) for b in read_corpus(second)
    ]


def test_the_key_depends_on_content_and_settings_and_not_on_the_place(home, source, tmp_path):
    first = build(home, source)
    assert build(home, source) == first
    source.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert build(home, moved) == first
    others = {build(home, moved, quality=False).key, build(home, moved, jaccard_threshold=0.5).key}
    (moved / "a.txt").write_text((moved / "a.txt").read_text() + " end")
    others.add(build(home, moved).key)
    (moved / "f.txt").unlink()
    others.add(build(home, moved).key)
    assert len(others | {first.key}) == 5


@given(st.lists(st.tuples(st.text(), st.text()), max_size=3), st.lists(st.tuples(st.text(), st.text()), max_size=3))
@settings(deadline=None)
def test_different_documents_have_different_fingerprints(a, b):
    def fingerprint(pairs):
        return source_fingerprint(make_document(text, name) for name, text in pairs)

    assert (fingerprint(a) == fingerprint(b)) == (a == b)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no text files"),
        ({"a.txt": b""}, "1 by 'empty'"),
        ({"a.txt": b"\xff", "b.txt": b"\xff", "c.txt": b" "}, "2 by 'undecodable', 1 by 'empty'"),
        ({"a.txt": b"short", "b.txt": b"\xff"}, "'word count'"),
        ({"a.png": b"x"}, "holds no text files"),
    ],
)
def test_an_empty_corpus_is_refused_with_the_reasons(home, tmp_path, files, message):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(EmptyCorpus, match=message) as caught:
        build(home, folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert home.artifacts() == [] and issubclass(EmptyCorpus, SourceError)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing", None, "No such file"),
        ("latin.txt", b"caf\xe9", "byte 3"),
        ("rows.jsonl", b'{"text": "a"}\n{"text"', "rows.jsonl:2: not valid JSON"),
        ("rows.jsonl", b'{"words": "a"}', 'field "text"'),
        ("rows.jsonl", b"", "holds no text"),
        ("picture.png", b"x", "known ending"),
    ],
)
def test_a_bad_source_leaves_earlier_artifacts_intact(home, source, tmp_path, name, data, message):
    before = build(home, source)
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        build(home, path)
    assert "\n" not in str(caught.value)
    assert home.artifacts() == [before] and home.load("corpus") == before


@pytest.mark.parametrize("threshold", [0, 1.5, -0.1, float("nan")])
def test_an_impossible_threshold(threshold):
    with pytest.raises(ValueError, match="jaccard_threshold"):
        CorpusConfig(jaccard_threshold=threshold)


def test_a_full_disk(home, source, monkeypatch):
    before = build(home, source)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(WorkspaceFull, match="no space left"):
        patch.setattr(os, "fsync", full)
        build(home, source, quality=False)
    assert home.artifacts() == [before] and home.load("corpus") == before
    assert build(home, source, quality=False) == home.load("corpus")


def test_a_damaged_corpus_is_rebuilt(home, source):
    artifact = build(home, source)
    path = artifact.file("corpus.jsonl")
    good = path.read_bytes()
    path.write_bytes(good.replace(b"word1", b"word7", 1))
    assert build(home, source).file("corpus.jsonl").read_bytes() == good


def test_text_survives_the_way_through_the_file(home, tmp_path):
    strange = PROSE.format('\u2028 \u0085 \x1c \x0b \ufeff \U0001f600 \\u0041 "quoted"') * 4
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "strange", "text": strange}) + "\n")
    assert [item.text for item in read_corpus(build(home, path))] == [strange]


# ---------------------------------------------------------------- held out


def test_held_out_documents_are_decided_by_name_alone():
    names = [f"folder/{n}.py" for n in range(20_000)]
    five = {name for name in names if is_held_out(name)}
    ten = {name for name in names if is_held_out(name, 10)}
    assert five < ten and abs(len(five) - 1000) < 130 and abs(len(ten) - 2000) < 170
    assert not any(is_held_out(name, 0) for name in names) and all(is_held_out(name, 100) for name in names)
    assert [name for name in names if is_held_out(name)][:3] == ["folder/18.py", "folder/26.py", "folder/82.py"], (
        "a change here changes every validation set"
    )


def test_some_folders_are_never_held_out():
    for part in ("test", "tests", "encodings"):
        assert not is_held_out(f"{part}/a.py", 100) and not is_held_out(f"x/{part}/a.py", 100)
        assert is_held_out(f"my{part}/a.py", 100)


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_a_percentage(percent):
    with pytest.raises(ValueError, match="percent"):
        is_held_out("a", percent)


# ---------------------------------------------------------------- the default corpus


def test_the_corpus_of_the_book_is_the_same_in_every_process(tmp_path):
    code = (
        "import sys; from llmbook.preliminaries.workspace import Workspace; from llmbook.data.pipeline import *;"
        "a = build_corpus(Workspace(sys.argv[1]), CorpusConfig(), progress=False);"
        "print(a.key, a.manifest['files']['corpus.jsonl']['sha256'])"
    )
    outputs = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed})
        assert done.returncode == 0 and done.stderr == "", done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    report = read_report(Workspace(tmp_path / "1").load("corpus"))
    assert report["kept"]["documents"] > 500 and report["kept"]["bytes"] > 0.9 * report["read"]["bytes"]
    held_out = [item for item in read_corpus(Workspace(tmp_path / "1").load("corpus")) if is_held_out(item.id)]
    assert 0.01 < sum(item.metadata["bytes"] for item in held_out) / report["kept"]["bytes"] < 0.12


def test_progress_is_shown_only_when_asked(home, source, capsys):
    build(home, source)
    assert capsys.readouterr().err == ""
    build_corpus(home, CorpusConfig(source=str(source), version=2), progress=True)
    assert "reading" in capsys.readouterr().err
    assert pipeline.__doc__
