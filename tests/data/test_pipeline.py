"""The corpus: what is in it, what its key depends on, workers and executors that do not change it, and runs that are killed."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_commands import install as install_slurm

from llmbook.data import pipeline
from llmbook.data.documents import SourceError, SourceFile, open_source, read_files
from llmbook.data.held_out import is_held_out
from llmbook.data.pipeline import (
    EmptyCorpus,
    _make_plan,
    build_corpus,
    corpus_files,
    data_command,
    describe_corpus,
    last_corpus,
    open_corpus,
    read_corpus,
    read_report,
    waterfall,
    write_corpus,
)
from llmbook.data.steps import READERS, _exact_copies, source_fingerprint
from llmbook.preliminaries.settings import CorpusConfig
from llmbook.preliminaries.workspace import (
    ArtifactDamaged,
    Workspace,
    WorkspaceError,
    WorkspaceFull,
    read_artifact,
    verify_artifact,
)

SENTENCE = "It was the best of times and it was the worst of times, number {}, so we have to be content with that much. "
LETTER = (
    "The {} report of the harbor says that a ship has come in with tea, and that the people of the town went to meet it. "
    "Nobody had written to them of a {} in the night. "
    "The captain, who knows the coast and has a good crew, kept to the deep water. "
    "We have asked the owner to be at the {} on Monday. That will be the end of a long story, and of the work of many hands. "
    "With the {} came letters, some old, and one that was to be read to all of us. It spoke of rain, of roads, and of a new bridge."
)


def letter(*words: str) -> str:
    return LETTER.format(*words)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    first = letter("first", "storm", "office", "tide")
    texts = {
        "a.txt": first,
        "b.txt": first.replace("rain", "snow"),
        "c.txt": first,
        "d.txt": "Too short.",
        "e.txt": "A garden needs water in the morning. "
        "The roots of the beans go deep, and that is the reason to be patient with them. "
        "Those who have clay to work with add sand. Those who have sand add leaves. In March, nothing is to be seen above the "
        "ground. By May the first row is up to the knee, and birds come to look at it. We put a net over the row. "
        "It does not keep the snails away, which come at night and leave nothing of the young plants.",
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


def rows_of(corpus):
    return [json.loads(line) for line in corpus.file("removed.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a corpus that may not depend on who made it."""
    kept = [*folder.glob("documents/*"), folder / "removed.jsonl", folder / "report.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def test_a_small_corpus_with_its_account(home, source):
    artifact = build(home, source)
    assert [(item.id, item.metadata["kind"]) for item in read_corpus(artifact)] == [("a.txt", "prose"), ("e.txt", "prose")]
    report = read_report(artifact)
    assert report["skipped"] == {"undecodable": 1, "empty": 1}
    assert [(name, count) for name, count, _ in waterfall(report) if count] == [
        ("read", 5),
        ("word count", -1),
        ("near duplicate", -1),
        ("exact duplicate", -1),
        ("kept", 2),
    ]
    sizes = [size for _, _, size in waterfall(report)]
    assert sizes[0] + sum(sizes[1:-1]) == sizes[-1] == sum(len(item.text) for item in read_corpus(artifact))
    rows = [(row.get("id", row.get("name")), row["reason"]) for row in rows_of(artifact)]
    assert rows == [
        ("f.txt", "undecodable"),
        ("g.py", "empty"),
        ("d.txt", "word count"),
        ("b.txt", "near duplicate"),
        ("c.txt", "exact duplicate"),
    ]
    details = {row["id"]: row["detail"] for row in rows_of(artifact) if "id" in row}
    assert details["c.txt"] == "1.00 like a.txt" and re.fullmatch(r"0\.\d\d like a\.txt", details["b.txt"])


def test_without_rules(home, source):
    corpus = build(home, source, quality=False, languages=(), toxicity=False, mask=False)
    assert [item.id for item in read_corpus(corpus)] == ["a.txt", "d.txt", "e.txt"]


def test_masks_are_put_in_before_copies_are_sought(home, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, address in (("a.txt", "ann@ships.org"), ("b.txt", "bob@tea.net")):
        (folder / name).write_text(letter("first", "storm", "office", "tide") + f" Write to {address} for more of it.")
    corpus = build(home, folder)
    assert [item.id for item in read_corpus(corpus)] == ["a.txt"] and "ann@ships.org" not in next(read_corpus(corpus)).text
    assert [(row["id"], row["detail"]) for row in rows_of(corpus)] == [("b.txt", "1.00 like a.txt")]
    assert "masks" in read_report(corpus)["rewritten"]
    assert len(list(read_corpus(build(home, folder, mask=False, jaccard_threshold=1.0)))) == 2
    names = [name for name, _, _ in waterfall(read_report(corpus))]
    assert names == ["read", "rewritten by masks", "exact duplicate", "kept"]


def test_the_corpus_is_a_source_that_gives_the_same_corpus(home, source):
    first = build(home, source)
    second = build(home, first.path / "documents")
    assert [(a.text, a.metadata) for a in read_corpus(first)] == [(b.text, b.metadata) for b in read_corpus(second)]


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


@given(st.lists(st.tuples(st.text(), st.binary()), max_size=3), st.lists(st.tuples(st.text(), st.binary()), max_size=3))
@settings(deadline=None, max_examples=50)
def test_different_files_have_different_fingerprints(tmp_path_factory, a, b):
    folder = tmp_path_factory.mktemp("files")

    def fingerprint(pairs, prefix):
        files = []
        for number, (name, data) in enumerate(pairs):
            path = folder / f"{prefix}{number}"
            path.write_bytes(data)
            files.append(SourceFile(name, path, len(data)))
        return source_fingerprint(files)

    assert (fingerprint(a, "a") == fingerprint(b, "b")) == (a == b)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=20))
def test_exact_copies_are_those_of_a_dictionary(pairs):
    import numpy as np

    first: dict = {}
    expected = {n: first[pair] for n, pair in enumerate(pairs) if first.setdefault(pair, n) != n}
    assert _exact_copies(np.array(pairs, dtype="<u8").reshape(-1, 2)) == expected


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
        ("rows.jsonl", b'{"text": "a"}\n{"text"', "rows.jsonl:2: not JSON"),
        ("rows.jsonl", b'{"words": "a"}', 'field "text"'),
        ("rows.jsonl", b"", "holds no text"),
        ("rows.parquet", b"PAR1 but not really", "rows.parquet"),
        ("picture.png", b"x", "known ending"),
    ],
)
def test_a_bad_source_leaves_earlier_artifacts_intact(home, source, tmp_path, capfd, name, data, message):
    before = build(home, source)
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        build(home, path)
    assert "\n" not in str(caught.value)
    assert home.artifacts() == [before] and home.load("corpus") == before
    assert capfd.readouterr().err == ""


def test_unknown_formats_and_executors(source, tmp_path, home):
    config = CorpusConfig(str(source))
    with pytest.raises(ValueError, match="unknown format 'csv': choose one of jsonl, parquet"):
        write_corpus(tmp_path / "out", config, "csv")
    with pytest.raises(ValueError, match="unknown executor 'dask'"):
        write_corpus(tmp_path / "out", config, executor="dask")
    with pytest.raises(ValueError, match="workers"):
        write_corpus(tmp_path / "out", config, workers=0)
    with pytest.raises(ValueError, match="sbatch"):
        write_corpus(tmp_path / "out", config, executor="slurm")
    with pytest.raises(ValueError, match="languages=tlh: name some that the model knows: en"):
        write_corpus(tmp_path / "out", CorpusConfig(str(source), languages=("tlh",)))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="--out"):
        build_corpus(home, config, executor="slurm")


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
    path = artifact.file("documents/00000.jsonl")
    good = path.read_bytes()
    path.write_bytes(good.replace(b"storm", b"stork", 1))
    assert build(home, source).file("documents/00000.jsonl").read_bytes() == good


def test_text_survives_the_way_through_the_files(tmp_path):
    strange = (SENTENCE.format('\u2028 \u0085 \x1c \x0b \ufeff \U0001f600 \\u0041 "quoted"') + "\n") * 4
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "strange", "text": strange, "metadata": {"when": "today", "n": 3}}) + "\n")
    plain = {"quality": False, "languages": (), "toxicity": False, "mask": False}
    for form in ("jsonl", "parquet"):
        corpus = write_corpus(tmp_path / form, CorpusConfig(str(path), **plain), form)
        (document,) = read_corpus(corpus)
        assert document.text == strange and document.id == "strange"
        assert {"when": "today", "n": 3}.items() <= document.metadata.items()


def test_limit(tmp_path, source):
    corpus = write_corpus(tmp_path / "out", CorpusConfig(str(source), limit=2))
    assert read_report(corpus)["read"]["documents"] == 2


# ---------------------------------------------------------------- workers, tasks, executors


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A source of a dozen files in several formats, with copies across files."""
    import gzip

    folder = tmp_path_factory.mktemp("pages")
    library = [item for item in open_source("stdlib") if 2_000 < len(item.text) < 20_000][:220]
    for number in range(10):
        part = library[number * 20 : number * 20 + 25]  # five documents are also in the next file
        lines = "".join(json.dumps({"id": item.id, "text": item.text, "metadata": {"kind": "code"}}) + "\n" for item in part)
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    (folder / "note.txt").write_text(letter("first", "storm", "office", "tide"))
    (folder / "page.html").write_text(
        f"<html><title>x</title><body><p>{letter('second', 'fire', 'market', 'flood')}</p></body></html>"
    )
    return folder


@pytest.fixture(scope="module")
def one_worker(pages, tmp_path_factory):
    corpus = write_corpus(tmp_path_factory.mktemp("one") / "out", CorpusConfig(str(pages), tasks=5))
    assert read_report(corpus)["removed"]["exact duplicate"]["documents"] >= 40
    assert len(list(corpus.path.glob("documents/*"))) == 5
    return corpus


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_nothing(pages, one_worker, tmp_path, workers, capfd):
    corpus = write_corpus(tmp_path / "out", CorpusConfig(str(pages), tasks=5), workers=workers)
    assert contents(corpus.path) == contents(one_worker.path)
    assert {path.name for path in corpus.path.iterdir()} == {
        "documents", "manifest.json", "removed.jsonl", "report.json", "settings.json", "waterfall.png",
    }  # fmt: skip
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("tasks", [1, 2, 12])
def test_tasks_change_only_where_files_end(pages, one_worker, tmp_path, tasks):
    corpus = write_corpus(tmp_path / "out", CorpusConfig(str(pages), tasks=tasks), "parquet")
    assert len(list(corpus.path.glob("documents/*.parquet"))) == tasks
    assert [(a.id, a.text, a.metadata) for a in read_corpus(corpus)] == [
        (a.id, a.text, a.metadata) for a in read_corpus(one_worker)
    ]
    assert read_report(corpus) == read_report(one_worker)


def test_ray_gives_the_same_corpus(pages, one_worker, tmp_path):
    pytest.importorskip("ray")
    code = (
        "import sys; from llmbook.data.pipeline import write_corpus; from llmbook.preliminaries.settings import CorpusConfig\n"
        "write_corpus(sys.argv[1], CorpusConfig(sys.argv[2], tasks=5), executor='ray', workers=2)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(pages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(one_worker.path)
    verify_artifact(read_artifact(tmp_path / "out"))


def test_slurm_gives_the_same_corpus(pages, one_worker, tmp_path, monkeypatch):
    jobs = tmp_path / "jobs"
    monkeypatch.setenv("PATH", f"{install_slurm(jobs)}{os.pathsep}{os.environ['PATH']}")
    config = CorpusConfig(str(pages), tasks=5)
    run = {"executor": "slurm", "workers": 2, "partition": "big", "time": "01:30:00"}
    assert write_corpus(tmp_path / "out", config, **run) is None
    assert contents(tmp_path / "out") == contents(one_worker.path)
    scripts = [path.read_text() for path in sorted(jobs.glob("job-*.slurm"), key=lambda path: int(path.stem[4:]))]
    arguments = [(jobs / f"job-{n}.arguments").read_text() for n in range(1, len(scripts) + 1)]
    names = [re.search(r"--job-name=(\S+)", script)[1] for script in scripts]
    assert names[::2] == [f"llmbook-{phase}" for phase in ("filter", "copies", "write", "finish")]  # between them: statistics
    arrays = [re.search(r"--array=(\S+)", script)[1] for script in scripts[::2]]
    assert arrays == ["0-4%2", "0-0%1", "0-4%2", "0-0%1"]
    for script in scripts:
        assert script.startswith("#!/bin/bash\n") and "#SBATCH --partition=big" in script and "#SBATCH --time=01:30:00" in script
        assert "--qos" not in script and str(Path(sys.executable).parent) in script
    for before, argument in zip((1, 3, 5), arguments[2::2]):  # each phase waits until the one before it has ended well
        assert f"--dependency=afterok:{before}" in argument
    again = write_corpus(tmp_path / "out", config, **run)
    assert again is not None and len(list(jobs.glob("job-*.slurm"))) == len(scripts)


# ---------------------------------------------------------------- restart


def start(source, out, workers):
    code = (
        "import sys; from llmbook.data.pipeline import write_corpus; from llmbook.preliminaries.settings import CorpusConfig\n"
        "if __name__ == '__main__':\n"
        "    write_corpus(sys.argv[1], CorpusConfig(sys.argv[2], tasks=5), workers=int(sys.argv[3]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(out), str(source), str(workers)], start_new_session=True)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("moment", ["filter/completions/*", "accounts/03-*.jsonl", "found/*", "write/completions/*"])
def test_a_killed_run_goes_on_without_loss_or_repetition(pages, one_worker, tmp_path, workers, moment):
    out = tmp_path / "out"
    process = start(pages, out, workers)
    deadline = time.time() + 120
    while not list((out / ".work").glob(moment)) and process.poll() is None and time.time() < deadline:
        time.sleep(0.002)
    was_running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if was_running:
        assert not (out / "manifest.json").exists()
    corpus = write_corpus(out, CorpusConfig(str(pages), tasks=5))
    assert contents(out) == contents(one_worker.path)
    verify_artifact(corpus)
    assert not (out / ".work").exists()


def test_a_restart_runs_only_what_is_left(pages, one_worker, tmp_path, monkeypatch):
    out, config = tmp_path / "out", CorpusConfig(str(pages), tasks=5)
    seen, original_mask = [], pipeline.mask_document

    def watched(document):
        seen.append(document.id)
        if len(seen) == 120:
            raise KeyboardInterrupt
        return original_mask(document)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "mask_document", watched)
        write_corpus(out, config)
    ended = len(list((out / ".work" / "filter" / "completions").iterdir()))
    assert 0 < ended < 5
    first = [SourceFile(*file) for block in _make_plan(config).blocks[:ended] for file in block]
    before = sum(1 for _ in read_files(first, READERS, []))
    total = read_report(one_worker)["read"]["documents"]
    count = []
    with monkeypatch.context() as patch:
        original = pipeline.extract_document
        patch.setattr(pipeline, "extract_document", lambda document: count.append(1) or original(document))
        write_corpus(out, config)
    assert len(count) == total - before
    assert contents(out) == contents(one_worker.path)


def test_a_folder_in_use_is_refused(source, tmp_path):
    config = CorpusConfig(str(source))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(WorkspaceError, match="holds other files"):
        write_corpus(tmp_path / "mine", config)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    corpus = write_corpus(tmp_path / "out", config)
    assert write_corpus(tmp_path / "out", config) == corpus
    with pytest.raises(WorkspaceError, match="another quality"):
        write_corpus(tmp_path / "out", CorpusConfig(str(source), quality=False))
    (source / "h.txt").write_text("more")
    with pytest.raises(WorkspaceError, match="another source"):
        write_corpus(tmp_path / "out", config)
    verify_artifact(corpus)
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="cannot write"):
        write_corpus(tmp_path / "file" / "out", config)


def test_a_finished_corpus_is_verified(source, tmp_path):
    config = CorpusConfig(str(source))
    corpus = write_corpus(tmp_path / "out", config)
    path = corpus.file("documents/00000.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactDamaged, match="documents/00000.jsonl"):
        write_corpus(tmp_path / "out", config)


def test_a_data_set_in_the_layout_of_the_hub(tmp_path):
    pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    texts = [
        letter(f"number {n}", f"storm of {n * 7}", f"office {n * n}", f"tide {n + 50}") + SENTENCE.format(n) * n for n in range(6)
    ]
    for part in range(2):
        table = pa.table({"text": texts[part * 3 : part * 3 + 3], "url": [f"u{part}{n}" for n in range(3)]})
        pq.write_table(table, folder / "data" / f"train-0000{part}-of-00002.parquet")
    config = CorpusConfig(f"hf:{folder}", quality=False, jaccard_threshold=1.0)
    corpus = write_corpus(tmp_path / "out", config)
    assert sorted(item.text for item in read_corpus(corpus)) == sorted(texts)
    two = write_corpus(tmp_path / "two", CorpusConfig(f"hf:{folder}", quality=False, jaccard_threshold=1.0, tasks=2), workers=2)
    assert sorted(item.text for item in read_corpus(two)) == sorted(texts)
    assert len({item.id for item in read_corpus(two)}) == 6


# ---------------------------------------------------------------- the default corpus


def test_the_corpus_of_the_book_is_the_same_in_every_process(tmp_path):
    code = (
        "import sys; from llmbook.preliminaries.workspace import Workspace;"
        "from llmbook.preliminaries.settings import CorpusConfig;"
        "from llmbook.data.pipeline import build_corpus;"
        "a = build_corpus(Workspace(sys.argv[1]), CorpusConfig(), progress=False);"
        "print(a.key, sorted((name, entry['sha256']) for name, entry in a.manifest['files'].items()))"
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
    held_out = [item for item in read_corpus(Workspace(tmp_path / "1").load("corpus")) if is_held_out(item.id, 5)]
    assert 0.01 < sum(item.metadata["bytes"] for item in held_out) / report["kept"]["bytes"] < 0.12


def test_progress_is_shown_only_when_asked(home, source, capfd):
    build(home, source)
    assert capfd.readouterr().err == ""
    build_corpus(home, CorpusConfig(source=str(source), quality=False), progress=True)
    shown = capfd.readouterr().err
    assert "filter: 100%" in shown and "write: 100%" in shown and "INFO" not in shown


# ---------------------------------------------------------------- each command finds what the other made


PLAIN = {"quality": False, "toxicity": False}


def test_a_later_stage_finds_the_rules_that_were_used_last(home, source, tmp_path):
    name = str(source)
    assert last_corpus(home, name) is None
    made = build(home, source, **PLAIN)
    assert last_corpus(home, name) == CorpusConfig(name, **PLAIN)
    assert open_corpus(home, last_corpus(home, name), progress=False) == made and len(home.artifacts()) == 1
    other = build(home, source, mask=False)
    assert last_corpus(home, name) == CorpusConfig(name, mask=False)
    assert open_corpus(home, CorpusConfig(name, **PLAIN), progress=False) == made  # asked for last, though made first
    assert last_corpus(home, name) == CorpusConfig(name, **PLAIN) and len(home.artifacts()) == 2
    for corpus in (made, other):
        verify_artifact(corpus)
    assert last_corpus(Workspace(tmp_path / "another"), name) is None


def test_sources_are_the_same_when_their_content_is(home, source, tmp_path):
    made = build(home, source, mask=False)
    moved = tmp_path / "moved"
    source.rename(moved)
    assert last_corpus(home, str(source)) is None  # nothing is there
    assert last_corpus(home, str(moved)) == CorpusConfig(str(moved), mask=False)
    assert open_corpus(home, last_corpus(home, str(moved)), progress=False) == made
    (moved / "a.txt").write_text("another text")
    assert last_corpus(home, str(moved)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"corpus": {"colour": 1}, "out": null}', '{"corpus": {"limit": 0}, "out": null}'])
def test_a_note_that_cannot_be_understood_is_no_note(home, source, text):
    build(home, source, mask=False)
    (note,) = (home.root / "last").iterdir()
    note.write_text(text)
    assert last_corpus(home, str(source)) is None
    assert open_corpus(home, CorpusConfig(str(source)), progress=False).kind == "corpus"
    assert last_corpus(home, str(source)) == CorpusConfig(str(source))


def test_the_note_is_no_artifact(home, source):
    made = build(home, source)
    assert home.artifacts() == [made] and home.load("corpus") == made
    assert not any("last" in name for name in made.manifest["files"])


def test_a_data_set_of_the_hub_is_known_by_its_name(home, tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    rows = [{"text": letter(f"number {n}", f"storm of {n * 7}", f"office {n * n}", f"tide {n + 50}")} for n in range(2)]
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    name = f"hf:{tmp_path / 'set'}"
    assert last_corpus(home, name) is None
    made = build(home, name, quality=False)
    assert last_corpus(home, name) == CorpusConfig(name, quality=False)
    assert open_corpus(home, last_corpus(home, name), progress=False) == made


@pytest.mark.parametrize("place", ["home", "out"])
def test_the_folder_of_a_corpus_is_that_corpus(home, source, tmp_path, place):
    config = CorpusConfig(str(source), **PLAIN)
    written = build_corpus(home, config, False) if place == "home" else write_corpus(tmp_path / "out", config, "parquet")
    before, path = home.artifacts(), str(written.path)
    for rules in ({}, PLAIN, {"quality": False}):  # defaults, or what it was made with
        assert open_corpus(home, CorpusConfig(path, **rules)) == written
    assert home.artifacts() == before
    found = last_corpus(home, path)
    assert found.source == path and found.quality is found.toxicity is False
    assert open_corpus(home, found) == written
    with pytest.raises(ValueError, match="mask=False: the corpus in .* was made with True; give its source"):
        open_corpus(home, CorpusConfig(path, mask=False))
    with pytest.raises(SourceError, match="is a corpus already"):
        build_corpus(home, CorpusConfig(path))
    with pytest.raises(SourceError, match="is a corpus already"):
        write_corpus(tmp_path / "other", CorpusConfig(path))
    file = written.file(corpus_files(written)[0])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactDamaged, match="documents"):
        open_corpus(home, CorpusConfig(path))


def test_a_folder_with_a_manifest_of_its_own_is_a_source(home, source):
    (source / "manifest.json").write_text('{"name": "a page"}')
    (source / "settings.json").write_text("{}")
    assert open_corpus(home, CorpusConfig(str(source)), progress=False).path.parent.parent == home.root


def test_an_unfinished_folder_is_no_source(home, tmp_path):
    folder = tmp_path / "out"
    (folder / ".work").mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    with pytest.raises(WorkspaceError, match="not finished"):
        open_corpus(home, CorpusConfig(str(folder)))


def test_a_corpus_of_another_version_is_refused(home, source, monkeypatch):
    made = build(home, source)
    monkeypatch.setitem(made.manifest, "config", {"source": "x"})
    monkeypatch.setattr(pipeline, "open_artifact", lambda folder: made)
    with pytest.raises(WorkspaceError, match="another version"):
        open_corpus(home, CorpusConfig(str(made.path)))


def test_the_key_is_made_of_content_and_of_rules_that_are_not_defaults(home, source, tmp_path):
    made = build(home, source, **PLAIN)
    content = _make_plan(CorpusConfig(str(source))).settings["source"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", content)
    assert made.key == home.key("corpus", {"corpus": {"source": content, "tasks": 1, **PLAIN}}, version=pipeline._VERSION)
    for form in ("jsonl", "parquet"):  # the same text has the same key wherever it lies
        assert write_corpus(tmp_path / form, CorpusConfig(str(source), **PLAIN), form).key == made.key
    assert CorpusConfig(**made.manifest["config"]["corpus"]) == CorpusConfig(content, tasks=1, **PLAIN)


def test_a_corpus_is_described_in_a_line(home, source):
    made = build(home, source)
    assert describe_corpus(made) == f"corpus {made.key[:16]}: 2 documents of {source}, default rules"
    made = build(home, source, quality=False, languages=(), jaccard_threshold=0.5)
    assert re.fullmatch(r".*, quality=False, jaccard_threshold=0.5, languages=\(\)", describe_corpus(made))


# ---------------------------------------------------------------- the command


def printed(capsys):
    return capsys.readouterr().out.splitlines()


def test_the_command_prints_what_it_made_and_marks_it(home, source, capsys):
    data_command(CorpusConfig(str(source), **PLAIN), workers=1, workspace=home.root)
    first, *rows, path = printed(capsys)
    (made,) = home.artifacts()
    assert first == describe_corpus(made) and path == str(made.path)
    assert rows[0].split()[:2] == ["read", "5"] and rows[-2].split()[:2] == ["kept", "3"]
    assert rows[-1].startswith("not read: ")
    assert last_corpus(home, str(source)) == CorpusConfig(str(source), **PLAIN)
    data_command(CorpusConfig(path), workspace=home.root)
    assert printed(capsys) == [first, *rows, path] and home.artifacts() == [made]


def test_what_the_command_wrote_to_a_folder_is_found_there(home, source, tmp_path, capsys):
    out, config = tmp_path / "out", CorpusConfig(str(source), **PLAIN)
    data_command(config, out, workers=1, workspace=home.root)
    assert printed(capsys)[-1] == str(out) and not home.artifacts()
    found = last_corpus(home, str(source))
    assert found == config
    corpus = open_corpus(home, found, progress=False)
    assert corpus.path == out and corpus_files(corpus) == ["documents/00000.parquet"] and not home.artifacts()
    assert open_corpus(home, CorpusConfig(str(source)), progress=False).path.parent.parent == home.root  # other rules
    data_command(config, out, workers=1, workspace=home.root)  # found, and again the last
    assert open_corpus(home, last_corpus(home, str(source)), progress=False).path == out
    (out / "documents" / "00000.parquet").unlink()
    rebuilt = open_corpus(home, last_corpus(home, str(source)), progress=False)
    assert rebuilt.key == corpus.key and rebuilt.path.parent.parent == home.root


def test_a_folder_that_jobs_have_not_finished_is_not_built_a_second_time(home, source, tmp_path, capsys):
    out, config = tmp_path / "out", CorpusConfig(str(source))
    (out / ".work").mkdir(parents=True)
    (out / "settings.json").write_text("{}")
    pipeline._note_last(home, _make_plan(config).settings["source"], config, out)
    with pytest.raises(WorkspaceError, match="not finished"):
        open_corpus(home, last_corpus(home, str(source)))
    assert not home.artifacts()
