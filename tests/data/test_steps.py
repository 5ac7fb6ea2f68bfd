"""Steps of the pipeline by themselves: accounts, files of a task, and the search for copies across tasks."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.deduplication import deduplicate, shingle_hashes
from llmbook.data.documents import Skipped, SourceFile, jsonl_documents, make_document
from llmbook.data.steps import (
    _MOST_TASKS,
    _TASK_BYTES,
    DropCopiesStep,
    DropLinesStep,
    FindCopiesStep,
    Plan,
    ReadStep,
    SavedStep,
    SaveStep,
    StageStep,
    WriteStep,
    _BandColumns,
    _find_copies,
    _mapped_array,
    _ShingleStore,
    _text_bytes,
    read_plan,
    save_jsonl,
    save_parquet,
    save_plan,
    task_count,
)


def account(work, position, rank=0):
    return json.loads((work / "accounts" / f"{position:02d}-{rank:05d}.json").read_text())


@given(st.text())
def test_the_size_of_a_text(text):
    assert _text_bytes(text) == len(text.encode())


def test_how_many_tasks(tmp_path):
    def files(count, size):
        return [SourceFile(f"{n}.txt", tmp_path / f"{n}.txt", size) for n in range(count)]

    assert task_count([]) == task_count(files(1, 10**12)) == task_count(files(1000, 10)) == 1
    assert task_count(files(100, _TASK_BYTES)) == 100 and task_count(files(5000, _TASK_BYTES)) == _MOST_TASKS


def test_a_plan_comes_back(tmp_path):
    plan = Plan({"languages": ["en"], "tasks": 2}, [[SourceFile("é.txt", tmp_path / "é.txt", 3)], []], [Skipped("a", "b", "c")])
    save_plan(plan, tmp_path)
    assert read_plan(tmp_path) == plan


def test_reading_accounts_for_what_is_skipped_and_stops_at_the_limit(tmp_path):
    for name, data in (("a.txt", b"one"), ("b.txt", b"\xff"), ("c.txt", b" "), ("d.txt", "zwölf".encode())):
        (tmp_path / name).write_bytes(data)
    files = [SourceFile(path.name, path, path.stat().st_size) for path in sorted(tmp_path.glob("*.txt"))]
    save_plan(Plan({}, [files[:1], files[1:]], []), tmp_path)
    assert [d.text for d in ReadStep("x", None, tmp_path).run(rank=1, world_size=2)] == ["zwölf"]
    assert account(tmp_path, 0, 1) == {
        "stage": "reading", "removed": {}, "rewritten": [0, 0], "kept": [1, 6], "skipped": {"undecodable": 1, "empty": 1},
    }  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "accounts" / "00-00001.jsonl").read_text().splitlines()]
    assert [(row["name"], row["reason"]) for row in rows] == [("b.txt", "undecodable"), ("c.txt", "empty")]
    assert (tmp_path / "progress" / "00001").read_text() == str(sum(file.bytes for file in files[1:]))
    save_plan(Plan({}, [files], []), tmp_path)
    assert [d.text for d in ReadStep("x", 1, tmp_path).run()] == ["one"]


verdicts = st.lists(
    st.tuples(st.text(max_size=8), st.text(max_size=8), st.sampled_from([None, "a", "b", ("b", "why")])), max_size=12
)


@given(verdicts)
@settings(max_examples=60, deadline=None)
def test_accounts_balance(tmp_path_factory, cases):
    work = tmp_path_factory.mktemp("work")
    answers = iter(cases)

    def stage(document):
        _, document.text, verdict = next(answers)
        return verdict

    documents = [make_document(before, str(n)) for n, (before, _, _) in enumerate(cases)]
    kept = list(StageStep("s", stage, work, 3).run(documents, 7))
    sums = account(work, 3, 7)
    assert [item.text for item in kept] == [after for _, after, verdict in cases if verdict is None]
    assert sums["kept"] == [len(kept), sum(len(item.text.encode()) for item in kept)]
    read = sum(len(before.encode()) for before, _, _ in cases)
    assert read == sums["kept"][1] + sums["rewritten"][1] + sum(size for _, size in sums["removed"].values())
    rows = [json.loads(line) for line in (work / "accounts" / "03-00007.jsonl").read_text().splitlines()]
    wanted = [
        (str(n), verdict if isinstance(verdict, (tuple, list)) else (verdict, ""))
        for n, (_, _, verdict) in enumerate(cases)
        if verdict
    ]
    assert [(row["id"], (row["reason"], row["detail"])) for row in rows] == [(n, tuple(v)) for n, v in wanted]


def test_a_task_that_fails_leaves_nothing(tmp_path):
    def stage(document):
        if document.id == "1":
            raise RuntimeError("x")

    documents = [make_document("a", str(n)) for n in range(3)]

    def kept():
        return StageStep("s", stage, tmp_path, 1, strict=True).run(documents)

    for run in (kept, lambda: SaveStep(0.8, True, tmp_path).run(kept()), lambda: WriteStep(tmp_path, "jsonl").run(kept())):
        with pytest.raises(RuntimeError):
            list(run())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def corpus(seed, count):
    """Random texts, some of them copies, exact or with edits."""
    rng = random.Random(seed)
    words = [f"word{n}" for n in range(60)]
    texts = []
    for _ in range(count):
        kind = rng.random()
        if texts and kind < 0.25:
            texts.append(rng.choice(texts))
        elif texts and kind < 0.6:
            copy = rng.choice(texts).split()
            for _ in range(rng.randint(1, max(1, len(copy) // 40))):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy))
        else:
            texts.append(" ".join(rng.choice(words) for _ in range(rng.choice([1, 3, 40, 200]))))
    return [make_document(text, f"{n}.txt") for n, text in enumerate(texts)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tasks", [1, 3, 7])
def test_copies_across_tasks_are_those_found_in_memory(tmp_path, seed, tasks):
    documents = corpus(seed, 60)
    cuts = sorted(random.Random(seed).sample(range(61), tasks - 1))
    blocks = [documents[a:b] for a, b in zip([0, *cuts], [*cuts, 60])]
    for rank, block in enumerate(blocks):
        list(SaveStep(0.8, False, tmp_path).run(block, rank, tasks))
    list(FindCopiesStep(0.8, None, tasks, tmp_path).run())
    step = DropCopiesStep("deduplication", None, tmp_path, 1)
    kept = [item.id for rank in range(tasks) for item in step.run(SavedStep(tmp_path).run(rank=rank), rank)]
    expected, removed = deduplicate(documents)
    assert kept == [item.id for item in expected]
    rows = {}
    for rank in range(tasks):
        for line in (tmp_path / "accounts" / f"01-{rank:05d}.jsonl").read_text().splitlines():
            row = json.loads(line)
            rows[row["id"]] = row["reason"]
    assert rows == {item.id: item.reason for item in removed}


def test_stores_of_several_tasks_some_empty(tmp_path):
    blocks = [
        [],
        corpus(0, 3),
        [],
        [make_document("", "empty.txt")],
        [make_document(item.text, "x" + item.id) for item in corpus(0, 2)],
    ]
    for rank, block in enumerate(blocks):
        list(SaveStep(0.8, False, tmp_path).run(block, rank, len(blocks)))
    store = _ShingleStore(tmp_path / "filtered", len(blocks))
    assert store.first == [0, 0, 3, 3, 4, 6]
    for number, document in enumerate(item for block in blocks for item in block):
        assert np.array_equal(store(number), shingle_hashes(document.text))
    flat = [item for block in blocks for item in block]
    removed = {item.id for item in deduplicate(flat)[1]}
    assert removed and {flat[n].id for n in _find_copies(tmp_path / "filtered", len(blocks), 0.8)} == removed
    with pytest.raises(ValueError):
        _mapped_array(tmp_path / "filtered" / "00001.counts", 2)


def test_band_columns_are_those_of_the_whole_array():
    whole = np.random.default_rng(0).integers(0, 99, (10, 4))
    rows = np.array([0, 2, 3, 9])
    columns = _BandColumns([whole[:3].T, whole[3:3].T, whole[3:].T], rows)
    assert columns.shape == (4, 4) and len(columns) == 4
    for band in range(4):
        assert np.array_equal(columns[:, band], whole[rows, band])


def test_lines_that_many_documents_share(tmp_path):
    texts = [f"Home About Contact\nThe text number {'abcdef'[n]} itself.\nAll rights reserved" for n in range(4)] + [
        "Home About Contact"
    ]
    documents = [make_document(text, f"{n}.txt") for n, text in enumerate(texts)] + [
        make_document("Home About Contact\nx = 1", "a.py")
    ]
    for rank, block in enumerate([documents[:2], documents[2:]]):
        list(SaveStep(0.99, True, tmp_path).run(block, rank, 2))
    list(FindCopiesStep(0.99, 3, 2, tmp_path).run())
    step = DropLinesStep("repeated lines", None, tmp_path, 2)
    kept = [item.text for rank in range(2) for item in step.run(SavedStep(tmp_path).run(rank=rank), rank)]
    assert kept == [f"The text number {'abcdef'[n]} itself." for n in range(4)] + ["Home About Contact\nx = 1"]
    assert account(tmp_path, 2, 1)["removed"] == {"repeated lines only": [1, 18]}
    list(FindCopiesStep(0.99, None, 2, tmp_path).run())
    kept = [item.text for rank in range(2) for item in step.run(SavedStep(tmp_path).run(rank=rank), rank)]
    assert kept == [item.text for item in documents]


@given(
    st.lists(
        st.tuples(st.text(max_size=10), st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3)),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=40)
def test_both_formats_hold_the_same_rows(rows):
    documents = [make_document(text, f"{n}.txt", metadata) for n, (text, metadata) in enumerate(rows)]
    lines, table = io.BytesIO(), io.BytesIO()
    save_jsonl(lines, documents)
    save_parquet(table, documents, batch=2)
    one = [json.loads(line) for line in lines.getvalue().split(b"\n")[:-1]]
    two = pq.read_table(table).to_pylist()
    assert [(row["id"], row["text"], row["metadata"]) for row in one] == [
        (row["id"], row["text"], json.loads(row["metadata"])) for row in two
    ]
    assert [row["text"] for row in one] == [text for text, _ in rows]


def test_a_written_file_is_a_source(tmp_path):
    list(WriteStep(tmp_path, "jsonl").run([make_document("tea", "a.txt")], 4))
    (document,) = jsonl_documents(tmp_path / "documents" / "00004.jsonl")
    assert (document.id, document.text, document.metadata["kind"]) == ("a.txt", "tea", "prose")
