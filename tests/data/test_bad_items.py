"""One bad item costs itself: it is skipped, counted and named in the report, or with `strict` it ends the run."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import re
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warc_files import HTML, response, write_record
from warcio.warcwriter import WARCWriter

from llmbook.data.documents import SourceError, make_document, open_source, utf8_name
from llmbook.data.pipeline import EmptyCorpus, read_corpus, read_report, write_corpus
from llmbook.data.steps import StageStep
from llmbook.end_to_end.command_line import main
from llmbook.preliminaries.settings import CorpusConfig

GOOD = (
    "This is a good text with the words that are needed, and it is long enough to be kept by all of the rules. "
    "Nobody had written to them of the {} in the night, and so they have gone to see it for themselves. "
)
TEXTS = [GOOD.format(word) * 3 for word in ("storm", "harvest", "comet", "verdict")]
PLAIN = {"quality": False, "toxicity": False, "languages": (), "jaccard_threshold": 1.0}


def line(text, **others):
    return json.dumps({"text": text, **others})


def lines(*rows):
    return "\n".join(rows).encode()


def table(path, **columns):
    pq.write_table(pa.table(columns), path)


def rows_file(folder, *bad):
    """A file of JSON Lines with a good row before, between and after bad ones."""
    rows = [line(TEXTS[0])]
    for row, text in zip(bad, TEXTS[1:], strict=False):
        rows += [row, line(text)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(row if isinstance(row, bytes) else row.encode() for row in rows))


def bad_rows(*bad):
    return lambda folder: rows_file(folder, *bad)


def bad_name(folder):
    (folder / "good.txt").write_text(TEXTS[0])
    with open(os.fsencode(folder) + b"/caf\xe9.txt", "w") as file:
        file.write(TEXTS[1])


def bad_files(folder):
    (folder / "good.txt").write_text(TEXTS[0])
    (folder / "latin.txt").write_bytes("caf\xe9 au lait".encode("latin-1"))
    os.symlink("nowhere", folder / "gone.txt")
    os.mkfifo(folder / "pipe.txt")


def bad_parquet(folder):
    table(folder / "a.parquet", text=[TEXTS[0], None, TEXTS[1]])
    (folder / "b.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    table(folder / "c.parquet", body=["a table without a text"])


def lone_surrogate_in_parquet(folder):
    rows = pa.array([TEXTS[0].encode(), b"lone \xed\xa0\x80 surrogate", TEXTS[1].encode()], pa.binary())
    table(folder / "a.parquet", text=rows.view(pa.string()))


def cut_stream(folder):
    noise = (random.Random(0).randbytes(50_000).hex() for _ in TEXTS)
    packed = gzip.compress(lines(*(line(f"{text}{word}") for text, word in zip(TEXTS, noise, strict=True))))
    (folder / "a.jsonl.gz").write_bytes(packed[:-2000])


def plain_under_gz(folder):
    (folder / "plain.jsonl.gz").write_bytes(lines(line(TEXTS[0])))
    (folder / "packed.jsonl").write_bytes(gzip.compress(lines(line(TEXTS[1]))))
    with open(folder / "page.warc.gz", "wb") as file:
        body = f"<html><body><p>{TEXTS[2]}</p></body></html>".encode()
        write_record(WARCWriter(file, gzip=False), 1, "https://x.example/", "response", response(HTML), body)


CASES = {  # what is written, the documents that come of it, and what is skipped: (name, reason)
    "name": (bad_name, ["caf\\xe9.txt", "good.txt"], []),
    "null": (bad_rows(line(None)), 2, [("rows.jsonl:2", "no text")]),
    "number": (bad_rows(line(5), line([TEXTS[0]])), 3, [("rows.jsonl:2", "no text"), ("rows.jsonl:4", "no text")]),
    "broken": (bad_rows('{"text": "broken'), 2, [("rows.jsonl:2", "bad row")]),
    "no object": (bad_rows("[1]", "null"), 3, [("rows.jsonl:2", "no text"), ("rows.jsonl:4", "no text")]),
    "lone surrogate": (bad_rows('{"text": "lone \\ud800"}'), 2, [("rows.jsonl:2", "bad row")]),
    "lone surrogate in an id": (bad_rows('{"text": "x", "id": "\\udfff"}'), 2, [("rows.jsonl:2", "bad row")]),
    "bytes": (bad_rows(b'{"text": "\xff\xfe"}'), 2, [("rows.jsonl:2", "bad row")]),
    "deep": (bad_rows('{"text": "x", "m": ' + "[" * 10**5 + "]" * 10**5 + "}"), 2, [("rows.jsonl:2", "bad row")]),
    "digits": (bad_rows('{"text": "x", "n": ' + "1" * 5000 + "}"), 2, [("rows.jsonl:2", "bad row")]),
    "files": (
        bad_files,
        ["good.txt"],
        [("gone.txt", "unreadable"), ("latin.txt", "undecodable"), ("pipe.txt", "unreadable")],
    ),
    "parquet": (
        bad_parquet,
        ["a.parquet:1", "a.parquet:3"],
        [("a.parquet:2", "no text"), ("b.parquet", "damaged file"), ("c.parquet", "no text")],
    ),
    "surrogate in parquet": (lone_surrogate_in_parquet, ["a.parquet:1", "a.parquet:3"], [("a.parquet:2", "bad row")]),
    "cut": (cut_stream, [f"a.jsonl.gz:{n}" for n in (1, 2, 3)], [("a.jsonl.gz", "damaged file")]),
    "compression": (plain_under_gz, ["packed.jsonl:1", "page.warc.gz:1:https://x.example/", "plain.jsonl.gz:1"], []),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def corpus_of(folder, out, **options):
    return write_corpus(out, CorpusConfig(str(folder), **PLAIN), **options)


@pytest.mark.skipif(sys.platform != "linux", reason="pipes, and names that are no text")
@pytest.mark.parametrize("case", CASES)
def test_through_the_whole_pipeline(folder, tmp_path, case):
    write, ids, skipped = CASES[case]
    write(folder)
    ids = [f"rows.jsonl:{2 * n + 1}" for n in range(ids)] if isinstance(ids, int) else ids
    corpus = corpus_of(folder, tmp_path / "out")
    report = read_report(corpus)
    assert [document.id for document in read_corpus(corpus)] == ids
    assert report["skipped"] == Counter(reason for _, reason in skipped)
    named = {(name, reason) for reason, items in report["first_skipped"].items() for name, _ in items}
    assert named == set(skipped)
    rows = [json.loads(row) for row in corpus.file("removed.jsonl").read_text().splitlines()]
    assert {(row["name"], row["reason"]) for row in rows} == set(skipped) and len(rows) == len(skipped)

    if not skipped:
        assert corpus_of(folder, tmp_path / "strict", strict=True).key == corpus.key
        return
    with pytest.raises(SourceError) as caught:
        corpus_of(folder, tmp_path / "strict", strict=True)
    assert any(str(caught.value).startswith(f"{name}: {reason}") for name, reason in skipped)
    assert not (tmp_path / "strict" / "manifest.json").exists()
    assert corpus_of(folder, tmp_path / "strict").key == corpus.key  # the same folder, without the option


def test_the_command_counts_and_names_or_stops(folder, tmp_path, capsys):
    bad_rows(line(None), '{"text": "broken')(folder)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    words = ["data", "--source", str(folder), "--jaccard-threshold", "1", "--workers", "1"]
    words += ["--no-quality", "--no-toxicity", "--languages"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines() if row.startswith("not read: ")]
    wanted = {"not read: no text 1 items (rows.jsonl:2)", "not read: bad row 1 items (rows.jsonl:4)"}
    assert {" ".join(row) for row in rows} == wanted | {"not read: undecodable 1 items (latin.txt)"}
    assert main([*words, "--out", str(tmp_path / "strict"), "--strict"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("llmbook: latin.txt: undecodable (byte 3 (0xe9)")
    assert main([*words, "--strict", "--workspace", str(tmp_path / "home")]) == 1


def test_a_stage_that_raises_costs_the_document(tmp_path):
    def stage(document):
        if int(document.id) in failing:
            raise RuntimeError(f"cannot \ud800 {document.id}\nsecond line")

    def run(count, **options):
        return list(StageStep("s", stage, tmp_path, 1, **options).run(make_document("a", str(n)) for n in range(count)))

    failing = {1, 3}
    assert [document.id for document in run(5)] == ["0", "2", "4"]
    rows = [json.loads(row) for row in (tmp_path / "accounts" / "01-00000.jsonl").read_text().splitlines()]
    assert [(row["id"], row["reason"]) for row in rows] == [("1", "error in s"), ("3", "error in s")]
    assert rows[0]["detail"].startswith(r"RuntimeError: cannot \ud800 1 second line (test_bad_items.py:")
    with pytest.raises(RuntimeError):
        run(5, strict=True)


@pytest.mark.parametrize(("count", "failing", "ends"), [(20, 10, False), (20, 11, True), (2000, 19, False), (1000, 12, True)])
def test_a_stage_that_raises_on_many_is_broken(tmp_path, count, failing, ends):
    def stage(document):
        if int(document.id) >= count - failing:
            raise RuntimeError("x")

    step = StageStep("s", stage, tmp_path, 1)
    documents = (make_document("a", str(n)) for n in range(count))
    with pytest.raises(RuntimeError) if ends else contextlib.nullcontext():
        assert len(list(step.run(documents))) == count - failing


def packed_rows(count):
    noise = random.Random(0)
    return lines(*(line(TEXTS[n % 4] + noise.randbytes(600).hex()) for n in range(count))) + b"\n"


@pytest.mark.parametrize(
    ("damage", "read", "damaged"),
    [
        (lambda packed: packed + b"junk", 300, 1),
        (lambda packed: packed + bytes(512), 300, 0),
        (lambda packed: packed[:-9], 299, 1),
        (lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], 300, 1),
        (lambda packed: packed + packed[: len(packed) // 2], 420, 1),
    ],
)
def test_rows_before_a_damage_are_read(folder, damage, read, damaged):
    whole = packed_rows(300)
    (folder / "a.jsonl.gz").write_bytes(damage(gzip.compress(whole, mtime=0)))
    skipped = []
    found = [document.text for document in open_source(folder / "a.jsonl.gz", skipped)]
    wanted = [json.loads(row)["text"] for row in whole.splitlines()]
    assert found == (wanted + wanted)[: len(found)] and len(found) >= read
    assert [item.reason for item in skipped] == ["damaged file"] * damaged


def test_a_plain_file_named_gz_whose_first_row_is_bad_loses_that_row(folder):
    (folder / "a.jsonl.gz").write_bytes(lines("[1]", line(TEXTS[0]), line(TEXTS[1])))
    skipped = []
    assert len(list(open_source(folder / "a.jsonl.gz", skipped))) == 2
    assert [(item.name, item.reason) for item in skipped] == [("a.jsonl.gz:1", "no text")]


def test_a_run_without_a_corpus_leaves_its_folder_free(folder, tmp_path):
    (folder / "a.txt").write_text("Too short.")
    out = tmp_path / "out"
    with pytest.raises(EmptyCorpus):
        write_corpus(out, CorpusConfig(str(folder)))
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == []
    assert len(list(read_corpus(corpus_of(folder, out)))) == 1


@pytest.mark.parametrize("settings", ["[]", "5", "null", "{"])
def test_settings_that_are_none(folder, tmp_path, capsys, settings):
    (folder / "a.txt").write_text(TEXTS[0])
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_text(settings)
    assert main(["data", "--source", str(folder), "--out", str(out)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "out" in said


def test_a_source_that_cannot_be_looked_at(tmp_path, capsys):
    for name in ("x" * 300, "a\0b", "file/inside"):
        (tmp_path / "file").write_text("")
        assert main(["data", "--source", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        assert capsys.readouterr().err.startswith("llmbook: cannot read")
        assert not (tmp_path / "out" / "settings.json").exists()


def test_a_wrong_name_of_a_data_set_claims_no_folder(tmp_path, capsys):
    assert main(["data", "--source", "hf:", "--out", str(tmp_path / "out"), "--workspace", str(tmp_path / "home")]) == 1
    assert len([row for row in re.split(r"[\r\n]+", capsys.readouterr().err) if row.startswith("llmbook: ")]) == 1
    assert not (tmp_path / "out" / "settings.json").exists()


def test_signs_in_names_are_spelled_out():
    assert utf8_name("bad\nname\x1b[31m\x9f.txt") == r"bad\x0aname\x1b[31m\x9f.txt"
