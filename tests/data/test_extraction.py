"""Every accident between a crawler's bytes and text: counted, never fatal; and oracles for charsets, smoothing, words."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import importlib
import itertools
import random
import re
import signal
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
import webencodings
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from warc_files import ACCIDENTS, HTML, SENTENCE, pydoc_pages, response, write_record, write_warc  # noqa: E402
from warcio.bufferedreaders import BufferedReader, ChunkedDataReader
from warcio.warcwriter import WARCWriter

from llmbook.data import extraction
from llmbook.data.documents import Skipped, SourceError, make_document
from llmbook.data.extraction import (
    WEB_READERS,
    _digest_fits,
    _evidence,
    _find_bytes,
    _inflate,
    _inline_style,
    _join_blocks,
    _join_chunks,
    _meta_codec,
    _smooth_labels,
    _undo_coding,
    _unwrap_body,
    _warc_records,
    _web_codec,
    _word_scores,
    content_blocks,
    decode_html,
    extract_document,
    extract_text,
    html_documents,
    page_blocks,
    warc_documents,
)

SMALL = {f"https://a.example/{i}": b"<title>T</title><p>" + f"Page {i} has a few words. ".encode() * 12 for i in range(12)}


def read(path: Path, name: str = "crawl") -> tuple[list, list[Skipped]]:
    skipped: list[Skipped] = []
    return list(warc_documents(path, name, skipped)), skipped


# ---------------------------------------------------------------- WARC


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_every_record_is_a_page_or_counted(tmp_path, ending):
    path = tmp_path / f"crawl{ending}"
    urls = write_warc(path)
    pages, skipped = read(path)
    wanted = [a[0] for a in ACCIDENTS if a[4] is None]
    assert [p.metadata["url"] for p in pages if "accident" not in p.id] == urls
    assert [p.metadata["url"] for p in pages if "accident" in p.id] == wanted
    assert Counter(s.reason for s in skipped) == Counter([a[4] for a in ACCIDENTS if a[4]] + ["not a response"])
    assert len(pages) + len(skipped) == 1 + len(urls) + len(ACCIDENTS)
    assert [p.metadata["url"] for p in pages if "truncated" in p.metadata] == ["https://accident.example/cut"]
    assert len({p.id for p in pages}) == len(pages)
    assert pages[0].metadata["kind"] == "html" and pages[0].metadata["date"].startswith("2026-01-01T")
    assert [p.id for p in read(path)[0]] == [p.id for p in pages]
    decoded = {p.metadata["url"]: p for p in pages}
    assert decoded["https://accident.example/zip"].text == SENTENCE.decode()
    assert "Café in Zürich" in decoded["https://accident.example/latin"].text


@pytest.mark.parametrize(("ending", "step"), [(".warc.gz", 97), (".warc", 997)])
def test_cut_anywhere_keeps_what_was_before(tmp_path, ending, step):
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    write_warc(whole)
    data = whole.read_bytes()
    all_ids, last = [p.id for p in read(whole)[0]], -1
    marker = b"\x1f\x8b\x08" if ending.endswith("gz") else b"WARC/1."
    starts = [m.start() for m in re.finditer(re.escape(marker), data)]
    for length in range(1, len(data), step):
        cut.write_bytes(data[:length])
        pages, skipped = read(cut)
        assert [p.id for p in pages] == all_ids[: len(pages)]
        complete = sum(start <= length for start in starts) - 1
        assert len(pages) + sum(s.reason != "damaged record" for s in skipped) >= complete - (ending == ".warc")
        assert sum(s.reason == "damaged record" for s in skipped) <= 1
        assert len(pages) >= last
        last = len(pages)


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_one_bad_byte_costs_at_most_its_neighbors(tmp_path, ending):
    whole, bad = tmp_path / f"whole{ending}", tmp_path / f"bad{ending}"
    write_warc(whole, SMALL, accidents=False)
    data, draw = whole.read_bytes(), random.Random(0)
    for _ in range(150):
        place = draw.randrange(len(data))
        bad.write_bytes(data[:place] + bytes([data[place] ^ draw.randrange(1, 256)]) + data[place + 1 :])
        pages, _ = read(bad)
        assert len(pages) >= len(SMALL) - (2 if place > 2 else len(SMALL))


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.replace(b"Content-Length: ", b"Content-Length: 9"),
        lambda head: re.sub(rb"Content-Length: \d+", b"Content-Length: 11", head),
        lambda head: re.sub(rb"Content-Length: \d+", b"Content-Length: -5", head),
        lambda head: re.sub(rb"Content-Length: \d+", b"Content-Length: many", head),
        lambda head: re.sub(rb"Content-Length: \d+", b"Content-Length: \xc2\xb2", head),
        lambda head: re.sub(rb"\r\nContent-Length: \d+", b"", head),
        lambda head: head.replace(b"WARC/1.0", b"JUNK/1.0"),
    ],
)
def test_bad_lengths_cost_one_record(tmp_path, change):
    path = tmp_path / "crawl.warc"
    write_warc(path, SMALL, accidents=False)
    records = re.split(rb"(?=WARC/1\.)", path.read_bytes())[1:]
    head, gap, body = records[3].partition(b"\r\n\r\n")
    records[3] = change(head) + gap + body
    path.write_bytes(b"".join(records))
    pages, skipped = read(path)
    assert set(SMALL) - {p.metadata["url"] for p in pages} == {"https://a.example/2"}
    assert [s.reason for s in skipped].count("damaged record") == 1


def test_missing_headers_and_uris(tmp_path):
    path = tmp_path / "crawl.warc"
    write_warc(path, SMALL, accidents=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"WARC-Target-URI: https://a.example/3\r\n", b"").replace(b"WARC-Date: ", b"X: ", 3))
    pages, skipped = read(path)
    assert len(pages) == len(SMALL) - 1
    assert [s.reason for s in skipped] == ["not a response", "not HTTP"]


@pytest.mark.parametrize(
    "data", [b"", b"\x1f", b"\x1f\x8b", b"hello", b"\0" * 5000, gzip.compress(b"", mtime=0), gzip.compress(b"no warc", mtime=0)]
)
@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_files_that_are_no_archive(tmp_path, ending, data):
    path = tmp_path / f"x{ending}"
    path.write_bytes(data)
    pages, skipped = read(path, path.name)
    assert pages == [] and len(skipped) <= 1
    assert skipped or data in (b"", gzip.compress(b"", mtime=0))


def test_one_gzip_stream_for_all_records(tmp_path):
    plain, packed = tmp_path / "a.warc", tmp_path / "b.warc.gz"
    write_warc(plain)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [p.text for p in read(plain)[0]] == [p.text for p in read(packed)[0]]


# What may happen to a record, in a file of gzip members and in a plain one.
GZIP_DAMAGE = ("flipped", "checksum", "cut", "zeros")
PLAIN_DAMAGE = ("long", "huge", "short", "no length", "words", "version", "cut", "no blank line")


def spoil(record: bytes, kind: str, draw: random.Random) -> bytes:
    """A record with damage of a kind, in its second half if it is packed."""
    half, end = len(record) // 2, len(record)
    if record.startswith(b"\x1f\x8b"):
        if kind == "flipped":
            place = draw.randrange(half, end - 24)
            spoilt = record[:place] + bytes([record[place] ^ draw.randrange(1, 256)]) + record[place + 1 :]
            try:  # a flipped distance may point to the same words
                return spoil(record, kind, draw) if gzip.decompress(spoilt) == gzip.decompress(record) else spoilt
            except (zlib.error, OSError, EOFError):
                return spoilt
        if kind == "checksum":
            return record[:-6] + bytes([record[-6] ^ 1]) + record[-5:]
        place = draw.randrange(half, end - 20)
        return record[:place] if kind == "cut" else record[:place] + bytes(end - place)
    head, gap, body = record.partition(b"\r\n\r\n")
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    lengths = {
        "long": b" %d" % (length + draw.choice([5, 100, 10_000])),
        "huge": b" %d" % (length + draw.choice([10**8, 10**12, 10**30])),
        "short": b" %d" % draw.randrange(length - 4),
        "words": draw.choice([b" many", b" -5", b" \xc2\xb2", b""]),
    }
    if kind in lengths:
        head = re.sub(rb"(?<=Content-Length:) \d+", lengths[kind], head)
    if kind == "no length":
        head = re.sub(rb"\r\nContent-Length: \d+", b"", head)
    if kind == "version":
        return b"JUNK/1.0\r\n\r\n" + record[10:]
    if kind == "cut":
        return record[: len(head) + draw.randrange(5, len(gap + body) - 10)]
    return head + (b"\r\n" if kind == "no blank line" else gap) + body


def record_bytes(number: int, draw: random.Random, packed: bool) -> bytes:
    """A record whose page says `WARC/1.0` here and there."""
    sample = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 9\r\n\r\n"
    file, words = BytesIO(), [b"one ", b"two\n", b"WARC/1.0\r\n", b"Content-Length: 9\r\n\r\n", sample, sample + b"nine bytes"]
    body = b"<p>" + b"".join(draw.choices(words, k=draw.choice([5, 40, 400]))) + b"end"
    write_record(WARCWriter(file, gzip=packed), number, f"https://a.example/{number}", "response", response(HTML), body)
    return file.getvalue()


@pytest.mark.parametrize("form", ["packed", "plain", "plain, no blank lines", "one member"])
def test_as_many_records_are_counted_as_were_damaged_and_the_others_are_read(tmp_path, form):
    path, draw = tmp_path / ("a.warc" if "plain" in form else "a.warc.gz"), random.Random(form)
    kinds = GZIP_DAMAGE if form == "packed" else PLAIN_DAMAGE
    for _ in range(60):
        count = draw.randrange(1, 12)
        records = [record_bytes(n, draw, form == "packed") for n in range(count)]
        damaged = {n: draw.choice(kinds) for n in range(count) if draw.random() < draw.choice([0.2, 0.7])}
        parts = [spoil(record, damaged[n], draw) if n in damaged else record for n, record in enumerate(records)]
        junk = 0
        if form == "plain, no blank lines":
            parts = [part.removesuffix(b"\r\n\r\n") for part in parts]
        else:  # between whole records, where it can be told from their damage
            for n in range(count, -1, -1):
                if draw.random() < 0.15 and not {n - 1, n} & set(damaged):
                    parts.insert(n, bytes(draw.choices(b"junk \x01\xff\n", k=draw.choice([4, 50, 3000]))))
                    junk += 1
        data = b"".join(parts)
        path.write_bytes(gzip.compress(data) if form == "one member" else data)
        skipped: list[Skipped] = []
        found = [record.url for record in _warc_records(path, path.name, skipped)]
        assert found == [f"https://a.example/{n}" for n in range(count) if n not in damaged], (damaged, junk)
        assert len(skipped) == len(damaged) + junk, (damaged, junk, skipped)
        assert {item.reason for item in skipped} <= {"damaged record"}


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_four_damaged_records_in_a_row_are_four(tmp_path, ending):
    path, draw = tmp_path / f"a{ending}", random.Random(1)
    records = [record_bytes(n, draw, ending == ".warc.gz") for n in range(9)]
    for kind in GZIP_DAMAGE if ending == ".warc.gz" else PLAIN_DAMAGE:
        path.write_bytes(b"".join(spoil(r, kind, draw) if 2 <= n < 6 else r for n, r in enumerate(records)))
        pages, skipped = read(path)
        assert [p.id.split(":", 1)[0] for p in pages] == ["crawl"] * 5, kind
        assert [item.name for item in skipped] == [f"crawl:{n}" for n in range(3, 7)], kind


@pytest.mark.parametrize("gap", [b"", b"\r\n", b"\n", b"\n\n", b"\r\n" * 9, b"\n" * 9000])
@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_records_stand_with_any_blank_lines_between_them(tmp_path, gap, ending):
    path, draw = tmp_path / f"a{ending}", random.Random(2)
    data = gap.join(record_bytes(n, draw, False).removesuffix(b"\r\n\r\n") for n in range(6))
    path.write_bytes(gzip.compress(data) if ending == ".warc.gz" else data)
    pages, skipped = read(path)
    assert len(pages) == 6 and skipped == []


@pytest.mark.parametrize("version", [b"WARC/0.17", b"WARC/0.18", b"WARC/1.0", b"WARC/1.1", b"WARC/2.0", b"warc/1.0"])
@pytest.mark.parametrize("damage", [False, True])
def test_all_versions_of_warc(tmp_path, version, damage):
    path, draw = tmp_path / "a.warc", random.Random(3)
    records = [record_bytes(n, draw, False).replace(b"WARC/1.0\r\nWARC-", version + b"\r\nWARC-", 1) for n in range(4)]
    if damage:
        records[1] = spoil(records[1], "long", draw)
    path.write_bytes(b"".join(records))
    pages, skipped = read(path)
    assert len(pages) == 4 - damage and len(skipped) == damage


def test_the_content_decides_whether_a_crawl_is_packed(tmp_path):
    plain, packed = tmp_path / "plain", tmp_path / "packed.gz"
    write_warc(plain)
    write_warc(packed)
    for path in (plain, packed):
        for name in ("a.warc", "a.warc.gz"):
            renamed = tmp_path / name
            renamed.write_bytes(path.read_bytes())
            assert [p.text for p in read(renamed, name)[0]] == [p.text for p in read(plain)[0]]


def test_a_page_that_shows_whole_records_is_no_record(tmp_path):
    path, draw = tmp_path / "a.warc", random.Random(4)
    inner = record_bytes(7, draw, False)
    file = BytesIO()
    write_record(WARCWriter(file, gzip=False), 1, "https://a.example/1", "response", response(HTML), b"<pre>" + inner * 3)
    write_record(WARCWriter(file, gzip=False), 2, "https://a.example/2", "response", response(HTML), b"<p>next")
    path.write_bytes(file.getvalue())
    assert [p.metadata["url"] for p in read(path)[0]] == ["https://a.example/1", "https://a.example/2"]
    packed = tmp_path / "b.warc.gz"  # a stored page in gzip lies in the damaged member as it is
    body = gzip.compress(bytes(draw.choices(range(32, 127), k=3000)))
    members = []
    for number in range(3):
        file = BytesIO()
        http = response(HTML, ("Content-Encoding", "gzip"))
        write_record(WARCWriter(file, gzip=False), number, f"https://a.example/{number}", "response", http, body)
        deflate = zlib.compressobj(0, zlib.DEFLATED, 31)
        members.append(deflate.compress(file.getvalue()) + deflate.flush())
    assert body in members[1]
    place = members[1].index(body) - 30
    packed.write_bytes(members[0] + members[1][:place] + b"\0\0\0" + members[1][place + 3 :] + members[2])
    pages, skipped = read(packed)
    assert [p.metadata["url"][-1] for p in pages] == ["0", "2"] and len(skipped) == 1


def test_records_longer_than_a_page_are_passed_over(tmp_path, monkeypatch):
    draw = random.Random(5)
    records = [record_bytes(n, draw, False) for n in range(3)]
    monkeypatch.setattr(extraction, "_MAX_PAGE_BYTES", max(len(records[0]), len(records[2])))
    file = BytesIO()
    write_record(WARCWriter(file, gzip=False), 1, "https://a.example/1", "response", response(HTML), b"<p>" + bytes(9999) * 9)
    for name, data in (("a.warc", b"".join), ("a.warc.gz", lambda parts: gzip.compress(b"".join(parts)))):
        for middle, reason in ((file.getvalue(), "too large"), (spoil(records[1], "huge", draw), "damaged record")):
            (tmp_path / name).write_bytes(data([records[0], middle, records[2]]))
            pages, skipped = read(tmp_path / name)
            assert [p.metadata["url"][-1] for p in pages] == ["0", "2"] and [item.reason for item in skipped] == [reason]


@pytest.mark.parametrize("place", [20, 60, 100, -6])
def test_members_whose_first_words_are_damaged_are_counted_one_by_one(tmp_path, place):
    path, draw, skipped = tmp_path / "a.warc.gz", random.Random(0), []
    parts = [bytearray(record_bytes(number, draw, True)) for number in range(6)]
    for part in parts[1:5]:
        part[place] ^= 255
    path.write_bytes(b"".join(parts))
    assert [record.url[-1] for record in _warc_records(path, path.name, skipped)] == ["0", "5"] and len(skipped) == 4


def test_digests():
    block = b"HTTP/1.1 200 OK\r\n\r\n"
    file = BytesIO()
    write_record(WARCWriter(file, gzip=False), 1, "https://a.example/", "response", response(HTML), b"<p>")
    label = re.search(rb"WARC-Block-Digest: (\S+)", file.getvalue())[1].decode()
    whole = file.getvalue().split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n\r\n")
    assert _digest_fits(label, whole) is True and _digest_fits(label, whole + b"x") is False
    assert _digest_fits("sha1:" + hashlib.sha1(block).hexdigest(), block) is True
    assert _digest_fits("", block) is _digest_fits("crc:1", block) is _digest_fits(label, None) is None


def http_record(tmp_path, http, body, url="https://a.example/", type="response"):
    path = tmp_path / "one.warc"
    with open(path, "wb") as file:
        write_record(WARCWriter(file, gzip=False), 1, url, type, http, body)
    return read(path)


PACKED = gzip.compress(SENTENCE, mtime=0)
DEFLATED, BARE = zlib.compress(SENTENCE), zlib.compress(SENTENCE)[2:-4]
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SENTENCE), SENTENCE)


def coded(coding: str, *others) -> object:
    return response(HTML, ("Content-Encoding", coding), *others)


@pytest.mark.parametrize(
    ("http", "body", "reason"),
    [
        (response(HTML, ("Content-Length", "abc")), SENTENCE, None),
        (response(HTML, ("Content-Length", "-1")), SENTENCE, None),
        (coded("deflate"), DEFLATED, None),
        (coded("deflate"), BARE, None),
        (coded("deflate"), DEFLATED[:-4] + bytes(4), "broken body"),
        (coded("gzip, identity"), PACKED, None),
        (coded("gzip"), SENTENCE, None),
        (coded("gzip"), b"\xff\xfe" + SENTENCE.decode().encode("utf-16-le"), None),
        (coded("gzip"), bytes(range(200)), "broken body"),
        (coded("br"), SENTENCE, None),
        (coded("zstd"), SENTENCE, None),
        (coded("deflate"), SENTENCE, None),
        (coded("deflate"), PACKED, None),
        (coded("gzip"), DEFLATED, None),
        (coded("zstd"), PACKED, None),
        (coded("utf-8"), SENTENCE, None),
        (coded("compress"), b"\x1f\x9d\x90" + bytes(99), "unknown coding"),
        (coded("GZIP;q=1"), PACKED, None),
        (coded("gzip"), PACKED + b"\0" * 99, None),
        (coded("gzip"), PACKED + b"garbage", None),
        (coded("deflate"), DEFLATED + b"garbage", None),
        (coded("deflate"), BARE + b"garbage", None),
        (coded("gzip"), PACKED[:40] + b"\xff" * 9 + PACKED[49:], "broken body"),
        (coded("gzip"), PACKED[:-8] + bytes(8), "broken body"),
        (coded("gzip", ("Transfer-Encoding", "chunked")), b"%x\r\n%s\r\n0\r\n\r\n" % (len(PACKED), PACKED), None),
        (coded("gzip", ("Content-Encoding", "gzip")), gzip.compress(PACKED), None),
        (coded("gzip"), gzip.compress(PACKED), None),
        (response(HTML), PACKED, None),
        (response(HTML, ("Transfer-Encoding", "gzip, chunked")), b"%x\r\n%s\r\n0\r\n" % (len(PACKED), PACKED), None),
        (response(HTML, ("Transfer-Encoding", "chunked")), CHUNKED, None),
        (response(HTML, ("Transfer-Encoding", "chunked")), CHUNKED.replace(b"\r\n", b"\n"), None),
        (response(HTML, ("Transfer-Encoding", "chunked")), CHUNKED.replace(b"\r\n", b" ;name=value\r\n", 1), None),
        (response(HTML, ("Transfer-Encoding", "chunked")), SENTENCE, None),
        (response(HTML, ("Transfer-Encoding", "chunked"), ("Content-Length", "9999")), CHUNKED, None),
        (response(HTML), CHUNKED, None),
        (response(("Content-Type", "application/xhtml+xml")), SENTENCE, None),
        (response(), SENTENCE, None),
        (response(), b"GIF89a....", "not HTML"),
        (response(("Content-Type", "application/json")), b"{}", "not HTML"),
        (response(HTML), b" \r\n ", "empty"),
        (response(HTML, status="301 Moved"), b"", "HTTP status"),
        (response(HTML, status="banana"), SENTENCE, "HTTP status"),
        (response(HTML), random.Random(0).randbytes(9000), "not text"),
    ],
)
def test_bodies(tmp_path, http, body, reason):
    pages, skipped = http_record(tmp_path, http, body)
    assert [s.reason for s in skipped] == ([reason] if reason else [])
    assert [p.text for p in pages] == ([] if reason else [SENTENCE.decode()])
    assert not any("truncated" in p.metadata for p in pages)


@pytest.mark.parametrize(
    ("http", "body"),
    [
        (response(HTML, ("Content-Length", "9999")), SENTENCE),
        (coded("gzip"), PACKED[:-8]),
        (coded("gzip"), gzip.compress(SENTENCE[:50]) + gzip.compress(SENTENCE[50:])[:-8]),
        (coded("deflate"), DEFLATED[:-3]),
        (response(HTML, ("Transfer-Encoding", "chunked")), b"%x\r\n%s" % (len(SENTENCE) + 9, SENTENCE)),
        (response(HTML, ("Transfer-Encoding", "chunked")), CHUNKED[:-7]),
    ],
)
def test_text_that_is_there_stays_when_the_end_is_missing(tmp_path, http, body):
    (page,), skipped = http_record(tmp_path, http, body)
    assert page.text == SENTENCE.decode() and page.metadata["truncated"] is True and not skipped


def test_records_that_the_crawler_has_cut_are_marked(tmp_path):
    http_record(tmp_path, response(HTML), SENTENCE)
    path = tmp_path / "one.warc"
    path.write_bytes(path.read_bytes().replace(b"WARC-Type:", b"WARC-Truncated: length\r\nWARC-Type:", 1))
    (page,), _ = read(path)
    assert page.metadata["truncated"] is True


@pytest.mark.parametrize("cut", range(1, 60, 7))
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_half_a_packed_body_is_half_a_text_or_nothing(tmp_path, coding, cut):
    brotli = pytest.importorskip("brotli")
    text = "".join(random.Random(0).choices("abcdefgh <>", k=3000)).encode()
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstandard.compress}[coding]
    data = pack(b"<p>" + text)
    pages, skipped = http_record(tmp_path, coded(coding), data[: len(data) * cut // 60])
    if pages:
        assert f"<p>{text.decode()}".startswith(pages[0].text) and pages[0].metadata["truncated"]
    else:
        assert [item.reason for item in skipped] == ["broken body"]
    assert pages or cut < 30 or coding in ("br", "zstd")


@given(
    st.lists(st.binary(min_size=1, max_size=80).map(lambda data: b"<p>" + data.hex().encode()), min_size=1, max_size=4),
    st.sampled_from(["gzip", "deflate", "bare", "zstd"]),
    st.sampled_from([b"", b"\0\0\0\0", b"garbage", b"\r\n", b"<!-- served by x -->"]),
)
@settings(max_examples=200, deadline=None)
def test_all_members_are_read_and_what_follows_is_not(parts, coding, rest):
    def bare(data):
        return zlib.compress(data)[2:-4]

    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "bare": bare, "zstd": zstandard.compress}[coding]
    data = b"".join(map(pack, parts))
    name = "deflate" if coding == "bare" else coding
    assert _undo_coding(data + rest, name, 10**6) == (b"".join(parts), True)
    if coding == "gzip" and not rest:  # warcio as the oracle
        stream = BufferedReader(BytesIO(data), decomp_type="gzip", read_all_members=True)
        assert stream.read() == b"".join(parts)


def test_brotli(monkeypatch, tmp_path):
    brotli = pytest.importorskip("brotli")
    packed = brotli.compress(SENTENCE)
    for body in (packed, packed + b"garbage" * 1000):
        assert _undo_coding(body, "br", 10**6) == (SENTENCE, True)
    assert http_record(tmp_path, coded("br"), packed)[0][0].text == SENTENCE.decode()
    assert http_record(tmp_path, coded("br, gzip"), gzip.compress(packed))[0][0].text == SENTENCE.decode()
    assert http_record(tmp_path, coded("gzip, br"), brotli.compress(PACKED))[0][0].text == SENTENCE.decode()
    monkeypatch.setitem(sys.modules, "brotli", None)
    (item,) = http_record(tmp_path, coded("br"), packed)[1]
    assert item.reason == "unknown coding" and "pip install brotli" in item.detail
    assert http_record(tmp_path, coded("br"), SENTENCE)[0][0].text == SENTENCE.decode()


def test_a_bomb_and_a_giant_are_counted(tmp_path, monkeypatch):
    brotli = pytest.importorskip("brotli")
    zeros, limit = bytes(200_000_000), 10_000_000
    bombs = {"gzip": gzip.compress(zeros), "deflate": zlib.compress(zeros), "zstd": zstandard.compress(zeros)}
    bombs |= {"br": brotli.compress(zeros, quality=5)}
    monkeypatch.setattr(extraction, "_MAX_PAGE_BYTES", limit)
    for coding, bomb in bombs.items():
        tracemalloc.start()
        with pytest.raises(ValueError, match="too large"):
            _unwrap_body(bomb, {"content-encoding": coding})
        assert tracemalloc.get_traced_memory()[1] < 4 * limit, coding
        tracemalloc.stop()
    assert _undo_coding(gzip.compress(bytes(1000)), "gzip", 1000)[0] == bytes(1000)
    with pytest.raises(ValueError, match="too large"):
        _undo_coding(gzip.compress(bytes(1001)), "gzip", 1000)
    monkeypatch.setattr(extraction, "_MAX_PAGE_BYTES", 10_000)
    assert http_record(tmp_path, response(HTML), b"x" * 20_000)[1][0].reason == "too large"


def test_warcio_missing_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "warcio", None)
    with pytest.raises(SourceError, match="pip install"):
        list(warc_documents(tmp_path / "a.warc", "a.warc", []))


def test_missing_files_are_counted(tmp_path):
    for ending, reader in WEB_READERS.items():
        skipped = []
        assert list(reader(tmp_path / f"none{ending}", "none", skipped)) == []
        assert [s.reason for s in skipped] == ["unreadable"]


def test_html_files(tmp_path):
    path, skipped = tmp_path / "a.html", []
    path.write_bytes("<meta charset=iso-8859-1><p>café".encode("latin-1"))
    (page,) = html_documents(path, "sub/a.html", skipped)
    assert page.id == "sub/a.html" and page.metadata["kind"] == "html" and page.metadata["charset"] == "cp1252"
    path.write_bytes(b"  ")
    assert list(html_documents(path, "a.html", skipped)) == [] and skipped[0].reason == "empty"


@given(st.binary(max_size=60), st.integers(1, 9))
def test_chunks_round_trip(data, size):
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert _join_chunks(wire) == (data, True)
    assert ChunkedDataReader(BytesIO(wire)).read() == data
    for end in range(len(wire) - 4):
        joined, ended = _join_chunks(wire[:end])
        assert not ended and (data.startswith(joined) or joined == wire[:end])


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_unwrapping_any_bytes_only_raises_value_errors(data):
    _join_chunks(data)
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, br", "chunked", "x", ""):
        try:
            body, whole = _unwrap_body(data, {"content-encoding": coding})
            assert isinstance(body, bytes) and isinstance(whole, bool)
        except ValueError as error:
            assert len(error.args) == 2 and all(isinstance(part, str) for part in error.args)
    for bits in (31, 15, -15):
        try:
            _inflate(data, bits, 10**6)
        except ValueError:
            pass


@given(
    st.binary(max_size=9).map(lambda tail: b"ab" * 40_000 + tail), st.integers(0, 70_000), st.sampled_from([b"ba", b"bab", b"b\0"])
)
@settings(max_examples=40, deadline=None)
def test_find_bytes_is_find(data, start, marker):
    place = data.find(marker, start)
    assert _find_bytes(BytesIO(data), marker, start) == (None if place < 0 else place)


# ---------------------------------------------------------------- charsets


SAMPLE = "".join(map(chr, [*range(32, 127), *range(160, 256), *range(0x370, 0x3CF), *range(0x400, 0x460)])) + (
    "\u05d0\u05d1\u05ea\u0627\u0628\u0e01\u0e02\u20ac\u3042\u3044\u30a2\u6f22\u5b57\uac00\ub098\u0160\u017e\u015e\u0131\u0105\u0141\u1ea1\u01a1"
)


@pytest.mark.parametrize("label", webencodings.LABELS)
def test_every_label_of_the_standard_is_read_as_webencodings_reads_it(label):
    theirs, ours = webencodings.lookup(label), _web_codec(label)
    assert ours and _web_codec(f" {label.upper()}\t") == ours
    if theirs.name == "replacement":
        assert decode_html(b"<p>\x1b$)C\x0e", f"text/html; charset={label}") == ("\ufffd", "replacement")
        assert decode_html(b"<p>plain", f"x; charset={label}") == ("<p>plain", "utf-8")
        assert decode_html("<p>caf\u00e9".encode(), f"x; charset={label}") == ("<p>caf\u00e9", "utf-8")
        return
    if theirs.name == "x-user-defined":
        assert decode_html(b"<p>a\x80\xff", f"x; charset={label}") == webencodings.decode(b"<p>a\x80\xff", label)[:1] + (label,)
        assert decode_html(b"<meta charset=x-user-defined>\x80")[1] == "cp1252"  # as the standard says
        return
    data = SAMPLE.encode(theirs.codec_info.name, "ignore")
    wanted = webencodings.decode(data, label)[0]
    if theirs.name.startswith("utf-16"):
        markup = f"<p>{SAMPLE}".encode(theirs.codec_info.name)
        assert decode_html(markup, f"text/html; charset={label}") == (f"<p>{SAMPLE}", ours)
        assert _meta_codec(f"<meta charset={label}>".encode()) == "utf-8"
        return
    assert len(wanted) >= 95 and decode_html(data, f'text/html; charset="{label}"')[0] == wanted
    for page in (
        f"<meta charset='{label}'>",
        f"<META content='text/html;charset={label}' HTTP-EQUIV=Content-Type>",
        f"<?xml version='1.0' encoding='{label}'?>",
        "<!doctype html><script>x</script>" + "<link href=x>" * 500 + f"<meta charset={label} />",
    ):
        assert decode_html(page.encode() + data)[0] == page + wanted, page


TEXTS = {
    "cp1252": "Le garçon a mangé son déjeuner près du château, à côté de l’église où naquit sa mère. Ça va très bien, merci. ",
    "cp1251": "Старый маяк стоял на самом краю мыса, и никто уже не помнил, кто зажёг его в первый раз. ",
    "cp932": "古い灯台は岬の先に立っていて、誰が最初に火をともしたのか、もう誰も覚えていなかった。",
    "gb18030": "古老的灯塔矗立在海角的尽头，没有人记得是谁第一次点亮了它。",
    "cp949": "오래된 등대는 곶의 끝에 서 있었고 누가 처음 불을 켰는지 아무도 기억하지 못했다. ",
    "utf-8": "Ο παλιός φάρος στεκόταν στην άκρη του ακρωτηρίου και κανείς δεν θυμόταν ποιος τον άναψε. ",
}


@pytest.mark.parametrize("codec", TEXTS)
def test_declared_charsets_in_header_and_page(codec):
    label = {"cp932": "shift_jis", "gb18030": "gb2312", "cp949": "euc-kr"}.get(codec, codec.replace("cp12", "windows-12"))
    text = TEXTS[codec] * 3
    data = text.encode(codec)
    assert decode_html(data, f'text/html; charset="{label.upper()}"') == (text, codec)
    markup = f"<html><meta http-equiv=Content-Type content='text/html; charset={label}'>{text}"
    assert decode_html(markup.encode(codec)) == (markup, codec)
    assert decode_html(f"<?xml version='1.0' encoding='{label}'?>{text}".encode(codec))[1] == codec
    assert decode_html(f"<meta charset={label}>".encode() + data[:-1])[1] == codec  # cut inside a character


@pytest.mark.parametrize("codec", ["cp1252", "utf-8"])
def test_undeclared_text_agrees_with_charset_normalizer(codec):
    charset_normalizer = pytest.importorskip("charset_normalizer")
    for name, text in TEXTS.items():
        if codec == "cp1252" and name != "cp1252":
            continue
        data = (text * 4).encode(codec)
        candidates = ["utf_8", "cp1252", "cp1251", "gb18030", "cp932"]
        theirs = str(charset_normalizer.from_bytes(data, cp_isolation=candidates).best())
        assert decode_html(data) == (theirs, codec)
        assert decode_html(data, "text/html; charset=klingon")[0] == theirs  # an unknown label


def test_wrong_declarations():
    latin, utf8 = "déjà vu, ça".encode("latin-1"), "déjà vu, ça".encode()
    for declared in ("utf-8", "shift_jis", "utf-16", "gb2312", "klingon", "", "\0"):
        assert decode_html(latin, f"text/html; charset={declared}")[0] == "déjà vu, ça", declared
    for declared in ("iso-8859-1", "windows-1252", "us-ascii", "klingon"):
        assert decode_html(utf8, f"text/html; charset={declared}") == ("déjà vu, ça", "utf-8")
        assert decode_html(codecs.BOM_UTF8 + utf8, f"x; charset={declared}") == ("déjà vu, ça", "utf-8")
    assert decode_html(codecs.BOM_UTF16_LE + "да".encode("utf-16-le"), "x; charset=utf-8") == ("да", "utf-16-le")
    assert decode_html(codecs.BOM_UTF16_BE + "да".encode("utf-16-be") + b"\0") == ("да", "utf-16-be")


@pytest.mark.parametrize("declared", [None, "text/html; charset=utf-8", "x; charset=iso-8859-1"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xe9 ", b"\xe2\x82 ", b"\x80", b"\xc3("])
@pytest.mark.parametrize("text", ["\u00fcber " * 60, "one \u00fcber, and much that is plain " * 3, "\u00fc", "\u53e4\u8001"])
def test_one_bad_byte_does_not_spoil_a_page(text, bad, declared):
    for meta in (b"", b"<meta charset=utf-8>"):
        data = meta + text.encode() + bad + text.encode()
        assert decode_html(data, declared) == (data.decode("utf-8", "replace"), "utf-8")
        assert decode_html(data, declared)[0].count("\ufffd") == 1


def test_bad_bytes_in_pages_of_other_charsets():
    for codec, text in TEXTS.items():
        label = {"cp932": "shift_jis", "cp949": "euc-kr"}.get(codec, codec)
        data = text.encode(codec)
        found, used = decode_html(data[:40] + b"\xff" + data[40:], f"x; charset={label}")
        assert used == codec and abs(len(found) - len(text)) < 3, codec
    assert decode_html(("\u00fcber " * 60).encode()[:-2] + b"\xc3") == ("\u00fcber " * 59 + "\u00fcbe", "utf-8")
    assert decode_html(b"caf\xe9") == ("caf\u00e9", "cp1252")
    data = "a \ufffd that the page holds itself".encode() + b" \xc3\xa9 \xff"
    assert decode_html(data)[1] == "utf-8"


def test_every_byte_has_a_character_in_windows_1252():
    text, codec = decode_html(bytes(range(256)))
    assert codec == "cp1252" and len(text) == 256 and text[0x80] == "€" and text[0x81] == "\x81"


KOI = "<meta charset=koi8-r>"


@pytest.mark.parametrize(
    "page",
    [
        f"<!-- {KOI} -->",
        f"<!-- > {KOI} -- > --!><p>",
        f"<script>'{KOI}'</script>",
        f"<script src='x>' data-a=\"{KOI}\">{KOI}</script>",
        f"<STYLE>{KOI}</STYLE>",
        f"<title>{KOI}</title>",
        f"<textarea>{KOI}</textarea>",
        f"<noscript>{KOI}</noscript>",
        f"<script>{KOI}",
        f'<p title="{KOI}">',
        f"<p title='{KOI}'>",
        f"<a b = '{KOI}'>",
        "<script charset=koi8-r>",
        "<link charset=koi8-r>",
        "<meta name=x content='charset'>",
        "<meta name=x content='text/html; charset=koi8-r'>",
        "<metadata charset=koi8-r>",
        "<meta data-charset=koi8-r>",
        "<meta http-equiv=refresh content='0; charset=koi8-r'>",
        "</meta charset=koi8-r>",
        "<meta charset=klingon>",
        "<?php encoding='koi8-r'?>",
        "<p><?xml version='1.0' encoding='koi8-r'?>",
    ],
)
def test_what_is_no_declaration(page):
    assert _meta_codec(page.encode()) is None


@pytest.mark.parametrize(
    "page",
    [
        KOI,
        "<meta charset = 'KOI8-R'>",
        '<META\nCHARSET="koi8-r" />',
        "<meta/charset=koi8-r/>",
        "<meta charset=koi8-r",
        "<meta http-equiv='Content-Type' content='text/html; charset=koi8-r'>",
        "<meta content=\"text/html; charset='koi8-r'\" http-equiv=content-type>",
        "<meta content=text/html;charset=koi8-r http-equiv=CONTENT-TYPE>",
        "<meta charset=klingon>" + KOI,
        f"<!-->{KOI}<!-- -->",
        f"<!--->{KOI}<!-- -->",
        f"<!-- x --!>{KOI}",
        f"<p title=it's>{KOI}<p title=it's>",
        f"<!doctype html PUBLIC '-//W3C'>{KOI}",
        f"<script>if (a < b) x('<!--')</script>{KOI}",
        "<?xml version='1.0' encoding='koi8-r'?>",
        "<p>" + "word " * 100_000 + KOI,
    ],
)
def test_what_is_a_declaration(page):
    assert _meta_codec(page.encode()) == "koi8-r"
    assert decode_html(page.encode() + b"<p>\xcb\xc1\xc6\xc5")[0].endswith("\u043a\u0430\u0444\u0435") or page.endswith("koi8-r")


def test_declarations_are_sought_in_the_first_megabyte():
    assert _meta_codec(b" " * ((1 << 20) - 30) + KOI.encode()) == "koi8-r"
    assert _meta_codec(b" " * (1 << 20) + KOI.encode()) is None
    assert _meta_codec(b"<meta charset=utf-16le>") == "utf-8"


@pytest.mark.parametrize(
    "piece", ["<!--", "<script ", "<script>", "<a b='", "<a b=\"'", "<meta ", "<meta charset=x ", "<", "<a =", "=\"' ", "<!"]
)
def test_the_search_for_a_declaration_takes_linear_time(piece):
    def seconds(size):
        begin = time.perf_counter()
        _meta_codec((piece * (size // len(piece)) + "<meta charset=").encode())
        return time.perf_counter() - begin

    seconds(1000)
    assert seconds(800_000) < 100 * max(seconds(50_000), 0.002)


@given(
    st.binary(max_size=300),
    st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["x; charset=utf-7", "charset=idna", "charset=hex"])),
)
@settings(max_examples=300, deadline=None)
@example(b"<meta charset=unicode_escape>\\x41", None)
@example(b"<meta charset=undefined>", "charset=rot13")
def test_any_bytes_are_decoded(data, content_type):
    text, codec = decode_html(data, content_type)
    assert isinstance(text, str) and codecs.lookup(codec)


# ---------------------------------------------------------------- blocks


def texts(html: str) -> list[str]:
    return [block.text for block in page_blocks(html)[1]]


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("Hello", ["Hello"]),
        ("", []),
        ("a<p>b<p>c</p>d", ["a", "b", "c", "d"]),
        ("<p>a <b>b<i>c</b></i> d", ["a bc d"]),
        ("<p>a\n  b&nbsp;&nbsp;c<br>&nbsp;d", ["a b  c\n d"]),
        ("<pre>\ndef f():\n    return 1\n</pre>", ["def f():\n    return 1"]),
        ("<p>&lt;b&gt; &amp;amp; &#8212; &eacute &bogus;", ["<b> &amp; — é &bogus;"]),
        ("x<script>if (a<b) '</p>'</script>y", ["xy"]),
        ("x<script src=a/>y</script>z", ["xz"]),
        ("x<style>p{}</style><!-- <p>c --> y<!-- open", ["x y"]),
        ("<p>a<![CDATA[b < c]]>d", ["ad"]),
        ("<![if !IE]>a<![endif]><!ELEMENT x><?php 1 ?>b", ["ab"]),
        ("<head><title>T</title><link></head><body>a", ["a"]),
        ("<head><title>T</title><p>a", ["a"]),
        ("<title>T</title>a", ["a"]),
        ("<noscript><p>no</noscript><svg><title>s</title><text>t</text></svg><p>a", ["a"]),
        ("<p hidden>no<p>a", ["a"]),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", ["a", "b", "c", "d"]),
        ("<p>a</div></p></table>b", ["a", "b"]),
        ("<p>a<a href=", ["a"]),
        ("a < b and <3", ["a < b and <3"]),
        ("<select><option>x</select><button>y</button>z", ["z"]),
        ("<h2>Title<a href=#t>¶</a></h2>", ["Title"]),
    ],
)
def test_markup(html, wanted):
    assert texts(html) == wanted


# What the HTML standard says of markup that regular expressions take for something else: (page, title, blocks).
STANDARD = [
    ("<p>A one two three</p><!--><p>B one two three</p>", "", ["A one two three", "B one two three"]),
    ("<p>A</p><!---><p>B</p>", "", ["A", "B"]),
    ("<p>A</p><!-- x --!><p>B</p>", "", ["A", "B"]),
    ("<p>A</p><!-- x -- > <p>no</p> --->B", "", ["A", "B"]),
    ("<p>A</p><!-- <!-- x --> B -->", "", ["A", "B -->"]),
    ("<p>A</p><!-- x --!", "", ["A"]),
    ("<!x>A<?pi?>B</ x>C</3>D<!>E</>F", "", ["ABCDEF"]),
    ("<?php echo 1 > 2 ?>A", "", ["2 ?>A"]),
    ("<!doctype html SYSTEM 'a>b'>A", "", ["b'>A"]),
    ("<html><head><title>T</title><b>Hello</b> there, this is the text.</html>", "T", ["Hello there, this is the text."]),
    ("<head><title>T</title>Hello", "T", ["Hello"]),
    ("<head><meta name=a><title>T</title><link rel=x><img src=y>Hello</head> you", "T", ["Hello you"]),
    ("<title>T</title><body>a<html><body>b</body>c</html>d", "T", ["abcd"]),
    ("<b>a</b><title>T</title><p>b", "T", ["a", "b"]),
    ("<title>A <b> & &amp; B</TITLE >c", "A <b> & & B", ["c"]),
    ("<script src=http://x.org/>var code = 1;</script>A", "", ["A"]),
    ("<script/>code</script>A", "", ["A"]),
    ("<SCRIPT>a < b</ScRiPt\n>A", "", ["A"]),
    ("<script>'</scripty>'</script x=1>A", "", ["A"]),
    ("<script>x</script/>A", "", ["A"]),
    ("<script><!-- <script> </script> code --></script>A", "", ["A"]),
    ("<script><!-- <script> </script> code </script>A", "", ["A"]),
    ("<script><!-- code </script>A", "", ["A"]),
    ("<script>code", "", []),
    ("<script>code</script", "", []),
    ("<style>p > a {}</styl></style>A", "", ["A"]),
    ("<style><!-- </style>A --></style>B", "", ["A -->B"]),
    ("<style title='</style>'>x</style>A", "", ["A"]),
    ("<iframe><p>no</iframe><noembed><p>no</noembed><noframes><p>no</noframes>A", "", ["A"]),
    ("<textarea><p>no</textarea>A<textarea/>no</textarea>", "", ["A"]),
    ("<xmp><b>x</b></xmp>A", "", ["<b>x</b>", "A"]),
    ("A<plaintext><b>x</b></plaintext>", "", ["A", "<b>x</b></plaintext>"]),
    ("<head><noscript><p>no</p></noscript><title>T</title>A", "T", ["A"]),
    ("<noscript><!-- </noscript>A --></noscript>", "", ["A -->"]),
    ("<template><p>no</template>A<table><template><tr><td>no</template><tr><td>b", "", ["A", "b"]),
    ("<p title='a > b' class=\"<p>\">A<p title=a'b>B<p =>C<p a=1 a=2>D<p / >E", "", ["A", "B", "C", "D", "E"]),
    ("<p\f\ntitle\n=\n'x>y'>A", "", ["A"]),
    ("A<p title='x>B", "", ["A"]),
    ("A<b", "", ["A"]),
    ("A<", "", ["A<"]),
    ("A</", "", ["A</"]),
    ("1 <2 <= 3 <<b>x", "", ["1 <2 <= 3 <x"]),
    ("<svg><![CDATA[no]]><title>no</title><style>a<b>A</b>", "", ["A"]),
    ("<svg><p>A</svg>B", "", ["AB"]),
    ("<math><mi>x</mi><![CDATA[<y>]]></math>A", "", ["x<y>A"]),
    ("A<![CDATA[x>B]]>C", "", ["AB]]>C"]),
    ("<p>a\0b&#0;c", "", ["ab\ufffdc"]),
    ("&notit; &amp &copy1 &#x80; &#128512 &ltx &hellip &lt;b&gt; &#xd800;", "", ["¬it; & ©1 € 😀 <x &hellip <b> \ufffd"]),
    ("<a href='?a=1&copy=2'>A</a>", "", ["A"]),
    ("A<br/>B</br>C<img/>D<input>E<wbr>F", "", ["A\nB\nCDEF"]),
    ("<p/>A<div/>B", "", ["A", "B"]),
    ("a</p>b", "", ["a", "b"]),
    ("<ul><li>a<li>b<div>c<li>d</div>e</ul>", "", ["a", "b", "c", "de"]),
    ("<select><option>a<option>b</select><p>c<p>d<h2>e</h3>f<hr>g", "", ["c", "d", "e", "f", "g"]),
    ("<dl><dt>a<dd>b<dt>c<dd>d</dl><ruby>e<rt>f</ruby>", "", ["a", "b", "c", "d", "ef"]),
    ("<table><tr><td>a<th>b<tbody><tr><td>c<caption>d</table>e", "", ["a", "b", "c", "d", "e"]),
    ("<table>x<tr><td>a</table>b", "", ["x", "a", "b"]),
    ("<frameset><frame></frameset><noframes>no", "", []),
    ("\r\na\rb<pre>\r\n x\r\n  y</pre>", "", ["a b", " x\n  y"]),
    ("wo\ud800rd", "", ["wo\ufffdrd"]),
]


@pytest.mark.parametrize(("html", "title", "wanted"), STANDARD)
def test_markup_is_read_by_the_standard(html, title, wanted):
    found = page_blocks(html)
    assert (found[0], [block.text for block in found[1]]) == (title, wanted)


@pytest.mark.parametrize(
    "inside",
    [
        "<p hidden>no</p>",
        "<b hidden>no <i>no</i></b>",
        "<span hidden=''>no</span>",
        "<span HIDDEN=hidden>no</span>",
        "<span hidden=false>no</span>",
        "<div hidden><p>no<ul><li>no</ul></div>",
        "<span style=display:none>no</span>",
        "<span style='DISPLAY : None ;'>no</span>",
        "<span style='color:red;display:none !important; display: block'>no</span>",
        "<span style='display:block;display:none'>no</span>",
        "<span style='display:none;display:bogus'>no</span>",
        "<span style='/* a;b */display:/**/none'>no</span>",
        "<span style='background:url(x;y);display:none'>no</span>",
        "<span style='visibility:hidden'>no <b>no</b></span>",
        "<span style='visibility: COLLAPSE'>no</span>",
        "<a href=x hidden>no</a>",
        "<table hidden><tr><td>no</table>",
        "<dialog>no</dialog>",
        "<div popover>no</div>",
        "<div hidden style='visibility:visible'>no</div>",
        "<template>no</template>",
        "<noscript>no</noscript>",
        "<datalist><option>no</datalist>",
        "<button>no</button>",
        "<svg><text>no</text></svg>",
        "<i><title hidden>no</title></i>",
    ],
)
def test_what_is_not_shown_is_no_text(inside):
    assert " ".join(texts(f"<p>yes {inside}also")).split() == ["yes", "also"]


@pytest.mark.parametrize(
    "html",
    [
        "<div hidden=until-found>yes</div>",
        "<div hidden=UNTIL-FOUND>yes</div>",
        "<span aria-hidden=true>yes</span>",
        "<div hidden style='display:block'>yes</div>",
        "<span style='display:none;display:inline'>yes</span>",
        "<span style='display:none;display:inline!important;display:none'>yes</span>",
        "<span style='display:none !bogus'>yes</span>",
        "<span style='x-display:none'>yes</span>",
        "<span style='display:nonesuch'>yes</span>",
        "<span style=\"content:'; display:none'\">yes</span>",
        "<span style='background:url(a;display:none)'>yes</span>",
        "<span style='/*display:none*/'>yes</span>",
        "<span style='opacity:0'>yes</span>",
        "<div style='visibility:hidden'>no<b style='visibility:visible'>yes</b></div>",
        "<dialog open>yes</dialog>",
        "<details><summary>yes</summary></details>",
        "<body hidden>yes",
        "<html style='visibility:hidden'><body style='display:none'>yes",
        "<p hidden>no<p>yes",
        "<p hidden>no<div>yes",
        "<span data-hidden>yes</span>",
    ],
)
def test_what_is_shown_is_text(html):
    assert texts(html) == ["yes"]


def test_long_styles_take_linear_time():
    for piece in ("(", "/*", "display:none;", "'", "display: ", "!", "display:none!important;"):
        assert isinstance(_inline_style(piece * 200_000), dict)


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("in&shy;vis\xadible", "invisible"),
        ("in<wbr>vis\u200bible \ufeffwo\u2060rd", "invisible word"),
        ("<b>in</b>\u200b<i>visible</i>&ZeroWidthSpace;", "invisible"),
        ("exam\u200cple exam\u200dple &zwnj;a&zwj;", "example example a"),
        ("\u200ea\u200fb \u202aword\u202c \u2068x\u2069", "ab word x"),
        ("сло\u200dво λό\u200cγος מי\u200cלה 中\u200d文", "слово λόγος מילה 中文"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("<b>می</b>&zwnj;خواهم", "می\u200cخواهم"),
        ("क्\u200dष ශ්\u200dරී ക്\u200c", "क्\u200dष ශ්\u200dරී ക്\u200c"),
        ("👩\u200d🚀 👩🏽\u200d🚀 🏳️\u200d🌈 ❤️\u200d🔥", "👩\u200d🚀 👩🏽\u200d🚀 🏳️\u200d🌈 ❤️\u200d🔥"),
        ("<pre>a\u200bb\n c</pre>", "ab\n c"),
        ("\u200b", ""),
    ],
)
def test_words_are_whole(html, wanted):
    assert "".join(texts(html)) == wanted
    if wanted:
        assert page_blocks(f"<title>{re.sub('<[^>]*>', '', html)}</title>")[0] == " ".join(wanted.split())


# What an old and a new edition of the standard read alike. The rest is in `STANDARD`.
TAGS = (
    "p div b a i span li ul ol table tr td tbody caption h1 h2 section br hr html head body title script style textarea "
    "button dl dt dd pre object xmp plaintext nobr col input img u font center iframe noframes noscript"
).split()
ATTRIBUTES = ["", "", " hidden", ' title="a>b"', " href=/x/", " a=b/", " x='1' x=2", " hidden=until-found", "/", " =", ' "']
TEXTS_BETWEEN = (
    "one |two |x|y |<!-- c -->|<!-->|<!--->|<!-- x --!>|<!--|-->|<![CDATA[q]]>|<?pi?>|</ x>|</3>|<3|&amp|&notit;|&#x80;|&lt;|"
    "<!doctype html>|<!x>|\n|<|</|&#0;|\0"
).split("|")
UNSHOWN = set("script style textarea noscript noframes iframe object button".split())


def random_page(draw: random.Random) -> str:
    kinds = (
        lambda: f"<{draw.choice(TAGS)}{draw.choice(ATTRIBUTES)}>",
        lambda: f"<{draw.choice(TAGS)}>",
        lambda: f"</{draw.choice(TAGS)}{draw.choice(['', '', ' x'])}>",
        lambda: draw.choice(TEXTS_BETWEEN),
    )
    return "".join(draw.choice(kinds)() for _ in range(draw.randint(1, 16)))


def shown_by_html5lib(html: str) -> str:
    """The letters and digits that html5lib's tree shows, without the title's."""
    html5lib = pytest.importorskip("html5lib")
    tree = html5lib.HTMLParser(html5lib.getTreeBuilder("etree")).parse(html, scripting=True)
    found = []

    def visit(node):
        tag = str(node.tag).rsplit("}")[-1]
        hidden = tag not in ("html", "body") and node.get("hidden", "until-found") != "until-found"
        if not callable(node.tag) and tag not in UNSHOWN | {"title"} and not hidden:
            found.append(node.text or "")
            for child in node:
                visit(child)
                found.append(child.tail or "")

    visit(tree)
    return "".join(filter(str.isalnum, "".join(found)))


@pytest.mark.parametrize("seed", range(4))
def test_random_markup_agrees_with_html5lib(seed):
    draw = random.Random(seed)
    for _ in range(150):
        page = random_page(draw)
        assert "".join(filter(str.isalnum, "".join(texts(page)))) == shown_by_html5lib(page), page


def test_links_are_counted_and_end():
    def links(html):
        return [(b.words, b.link_words) for b in page_blocks(html)[1]]

    assert links("<p><a href=x>a b</a> c") == [(3, 2)]
    assert links("<p><a name=x>a b</a> c") == [(3, 0)]
    assert links("<a href=x>a<p>b c</p>d</a>e") == [(1, 1), (2, 2), (1, 1)]
    assert links("<ul><li><a href=x>a<li>b</ul>c d") == [(1, 1), (1, 0), (2, 0)]
    assert links("<div><a href=x>a</div>b c") == [(1, 1), (2, 0)]
    assert links("<p><a href=x>a<a href=y>b</a> c") == [(2, 2)]


def test_landmarks_are_never_content():
    words = "Many words that nobody has put into a link, and that would pass. " * 8
    for tag in ("nav", "aside", "footer", "div role=navigation", "div role='ContentInfo'"):
        name = tag.split()[0]
        assert extract_text(f"<{tag}><p>{words}</{name}>") == ""
        assert extract_text(f"<{tag}><p>no</{name}><p>{words}").split() == words.split()


def test_tables_lists_and_definitions_read_well():
    filler = "<p>" + "Words of a paragraph. " * 20
    table = "<table><tr><th>a<th>b<tr><td>1<td>2</table>"
    assert "a\tb\n1\t2" in extract_text(filler + table + filler)
    assert "- x y\n- z" in extract_text(filler + "<ul><li>x y<li><p>z</ul>" + filler)
    assert "term\nmeaning of it" in extract_text(filler + "<dl><dt>term<dd>meaning of it</dl>" + filler)


def test_headings_go_with_what_follows():
    words = "Words of a paragraph that is long. " * 10
    menu = "".join(f"<li><a href={i}>Item {i}</a>" for i in range(20))
    page = f"<ul>{menu}</ul><h1>One</h1><p>By me<p>{words}<h2>More of this kind here</h2><ul>{menu}</ul>"
    found = extract_text(page)
    assert found.startswith("One\n\nBy me") and "More of this" not in found


def test_scripts_without_spaces_have_words():
    text = "古老的灯塔矗立在海角的尽头，没有人记得是谁第一次点亮了它。" * 6
    assert extract_text(f"<ul><li><a href=x>首页</a><li><a href=y>新闻</a></ul><p>{text}") == text


@given(st.text(alphabet="<>/!-[]ap=\"' &;#xlitd\n\0\ud800\u200d", max_size=80))
@settings(max_examples=500, deadline=None)
@example("<!<!-- x -->[foo")
@example("<![foo[")
@example("<a" + "/" * 50)
def test_any_text_is_a_page(html):
    assert isinstance(extract_text(html), str)


LIST = "".join(f"<li>item <b>{i}</b> <a href=x{i}>link {i}<i>!</i></a></li>" for i in range(60))
ROWS = "".join(f"<tr><td>a {i}<td><i>b</i> c<td hidden>no <b>no</b><td>e</tr>" for i in range(60))
HALF_SEEN = f"<div style=visibility:hidden>{'<b>no</b>' * 30}<i style=visibility:visible>{'<b>y</b>' * 30}</i></div>"
ORDINARY = [
    f"<title>t</title><nav><ul>{LIST}</ul></nav><ol>{LIST}</ol>",
    f"<p>x<table>{ROWS}</table>",
    f"<!-- c --><!DOCTYPE html><p>x<table>{ROWS}</table>",
    "<p>" + "one <b>two</b> <a href=x>three <i>four</i> five</a> " * 50,
    f"{HALF_SEEN}<div hidden>{'<p>no' * 60}</div><p>tail",
    "<script>" + "a<b;" * 100 + "</script><p>x <!-- " + "<b>" * 50 + "-->y " * 30,
    "<dl>" + "<dt>a<dd>b <em>c</em>" * 60 + "</dl>",
    "<pre>" + "<b>def</b> f():\n    <i>x</i>\n" * 50 + "</pre>",
    "<xmp>" + "<b>x</b><a href=y>" * 50 + "</xmp><p>z",
    "<div><a href=x>a</div>" + "<p>b <i>c</i>" * 60,
]


@pytest.mark.parametrize("size", [5, 16, 61])
@pytest.mark.parametrize("page", ORDINARY)
def test_pieces_make_the_same_blocks_as_the_whole(page, size, monkeypatch):
    def found():
        title, blocks = page_blocks(page)
        return title, [block._replace(item=0) for block in blocks], _join_blocks(blocks)

    whole = found()
    monkeypatch.setattr(extraction, "_PIECE_TAGS", size)
    assert found() == whole


HOSTILE = {
    "nested": lambda n: "<div>" * n,
    "nested paragraphs": lambda n: "<div><p>x" * n,
    "nested lists": lambda n: "<ul><li>x" * n,
    "tables": lambda n: "<table><tr><td>" * n,
    "bold": lambda n: "".join(f"<p><b id=b{i}>x</p>" for i in range(n)),
    "fonts": lambda n: "".join(f"<font size={i}>" for i in range(n)) + "<p>x" * n,
    "links": lambda n: "<a href=x><div>" * n,
    "open links": lambda n: "<p><a href=x>w" * n,
    "end tags": lambda n: "<div>" * n + "</span>" * n,
    "foreign": lambda n: "<svg>" + "<g>" * n + "</x>" * n,
    "misnested": lambda n: "<b><div>" * n + "</b>" * n,
    "fostered": lambda n: "<table>" + "x<b>" * n,
    "names": lambda n: "".join(f"<x{i}>" for i in range(n)),
    "html": lambda n: "".join(f"<html a{i}=1>" for i in range(n)),
    "attributes": lambda n: "<p " + " ".join(f"a{i}=1" for i in range(n)) + ">x",
    "attributes with tags": lambda n: "<p " + " ".join(f"a{i}='<>'" for i in range(n)) + ">x",
    "comment": lambda n: "<!--" + "<p>" * n,
    "frames": lambda n: "<frameset>" * n,
    "templates": lambda n: "<template>" * n,
    "scripts": lambda n: "<script>" + "<!--<script>" * n,
    "select": lambda n: "<select>" * n,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_parsed_grows_like_the_page(kind, monkeypatch):
    """Tags and attributes in one tree are bounded; all trees together have at most three times the page's length."""
    parse, sizes = extraction._parse_html, []

    def count(html):
        tree = parse(html)
        nodes = sum(1 for node in tree.root.traverse(include_text=True))
        tags = html.count("<") if nodes > 5000 else 0  # a comment or script may be long
        sizes.append((len(html), nodes, tags, max(map(len, html.split("<")))))
        return tree

    monkeypatch.setattr(extraction, "_parse_html", count)
    page = HOSTILE[kind](20_000)
    page_blocks(page)
    chars, nodes, tags, longest = zip(*sizes)
    assert sum(chars) < 3 * len(page) + 50_000 and longest < (100_000,)
    if kind == "frames":  # which take no script, but no time either
        return
    assert max(nodes) < 4 * (extraction._PIECE_TAGS + extraction._MOST_OPEN) and max(tags) < 5000


@pytest.mark.parametrize("kind", ["nested lists", "bold", "end tags", "attributes", "open links", "comment"])
def test_time_grows_like_the_page(kind):
    def seconds(n):
        page = HOSTILE[kind](n)
        start = time.process_time()
        page_blocks(page)
        return time.process_time() - start

    # Linear is 4, quadratic 16. The small one gets time for a start.
    assert min(seconds(40_000) for _ in range(2)) < 9 * (max(seconds(10_000) for _ in range(2)) + 0.02)


def test_depth_and_length_are_no_trouble():
    words = "A few words of text. " * 10
    deep = "<div>" * 10_000
    for page in (deep + words, deep + words + "</div>" * 10_000, "<ul><li>" * 10_000 + words, "<b>" * 10_000 + words):
        assert extract_text(page).replace("- ", "").split() == words.split()


PIECES = (
    "<!-- ; <script ; <script> ; <script/ ; <style></style ; <a href=' ; <a b=\"'> ; <div> ; "
    "<li>x ; </p ; < ; &# ; <![CDATA[ ; <![if ; <p title=\"x' y> ; <a "
)


@pytest.fixture
def no_hang():
    """Interrupt a test after two minutes: a quadratic step would take longer at the sizes given."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def interrupt(*_):
        raise TimeoutError("is some step quadratic?")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("piece", PIECES.split(" ; "))
def test_time_is_linear_in_broken_markup(piece, no_hang):
    for end in ("", ">", "'>\"", "-->"):
        extract_text("<p>x" + piece * (400_000 // len(piece)) + end)


def test_ten_megabytes(no_hang):
    page = "<p>" + "word " * 200
    found = extract_text("<ul><li><a href=x>menu</a></ul>" + page * (10_000_000 // len(page)))
    assert len(found) > 9_000_000


# ---------------------------------------------------------------- labels and scores


def gain(scores, labels, cost):
    return sum(e for e, y in zip(scores, labels) if y) - cost * sum(a != b for a, b in itertools.pairwise([False, *labels, False]))


@given(st.lists(st.integers(-9, 9), max_size=9), st.sampled_from([0.0, 1.0, 2.5, 20.0]))
@settings(max_examples=200, deadline=None)
def test_smoothing_is_optimal(scores, cost):
    labels = _smooth_labels(scores, cost)
    assert len(labels) == len(scores)
    best = max(gain(scores, option, cost) for option in itertools.product((False, True), repeat=len(scores)))
    assert gain(scores, labels, cost) == best


def test_evidence_is_the_formula():
    page = "<p>" + "w " * 10 + "<a href=x>" + "v " * 3 + "</a>"
    (block,) = page_blocks(page)[1]
    assert (block.words, block.link_words) == (13, 3) and _evidence(block) == 10 - 2 * 3 - 1
    assert content_blocks([block]) == [block]


def test_scores_agree_with_scikit_learn_where_words_are_distinct():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(1)
    for _ in range(50):
        found, wanted = (draw.sample(range(12), draw.randint(1, 12)) for _ in range(2))
        ours = _word_scores(" ".join(f"w{i}" for i in found), " ".join(f"w{i}" for i in wanted))
        theirs = metrics.precision_recall_fscore_support(
            [i in wanted for i in range(12)], [i in found for i in range(12)], average="binary", zero_division=0
        )
        assert ours == pytest.approx(theirs[:3])
    assert _word_scores("", "") == (1, 1, 1) and _word_scores("", "a") == (0, 0, 0)
    assert _word_scores("a a b", "a b b") == pytest.approx((2 / 3,) * 3)


def test_extract_document_is_a_stage():
    page = make_document("<title> A  b </title><p>Some words.", "x.html", {"kind": "html", "url": "u"})
    page.metadata["kind"] = "html"
    assert extract_document(page) is None
    assert (page.text, page.metadata["kind"], page.metadata["title"], page.metadata["url"]) == ("Some words.", "prose", "A b", "u")
    assert page.metadata["bytes"] == 11
    other = make_document("<p>x", "x.txt")
    assert extract_document(other) is None and other.text == "<p>x"
    empty = make_document("<nav>x</nav>", "y.html")
    empty.metadata["kind"] = "html"
    assert extract_document(empty) == "no text"
    lone = make_document("x", "z.html")
    lone.metadata["kind"], lone.text = "html", "<p>a \ud800 b &#xd800; c"
    assert extract_document(lone) is None


# ---------------------------------------------------------------- real pages


def test_pydoc_pages_keep_their_docstrings():
    import inspect

    for url, data in pydoc_pages(("textwrap", "heapq", "shelve", "contextlib")).items():
        module = importlib.import_module(url.rsplit("/", 1)[1].removesuffix(".html"))
        found = set(extract_text(data.decode()).split())
        for name, member in inspect.getmembers(module, inspect.isfunction):
            if name in getattr(module, "__all__", ()) and member.__doc__:
                assert found >= set(inspect.getdoc(member).split()), (url, name)


@pytest.fixture(scope="module")
def trafilatura():
    return pytest.importorskip("trafilatura")


def test_as_good_as_trafilatura_on_a_sphinx_page(trafilatura):
    import sysconfig

    lxml_html = pytest.importorskip("lxml.html")
    path = Path(sysconfig.get_path("stdlib"), "idlelib", "help.html")
    if not path.exists():
        pytest.skip("this Python has no idlelib/help.html")
    (body,) = lxml_html.fromstring(path.read_bytes()).xpath("//div[@class='body']")
    wanted = " ".join(body.itertext()).replace("¶", "")
    ours = _word_scores(extract_text(path.read_text(encoding="utf-8")), wanted)
    theirs = _word_scores(trafilatura.extract(path.read_text(encoding="utf-8")) or "", wanted)
    assert ours[2] > 0.97 and ours[2] > theirs[2]


def test_an_article_like_trafilatura(trafilatura):
    menu = "<ul>" + "".join(f"<li><a href='/{i}'>Section {i}</a></li>" for i in range(12)) + "</ul>"
    text = ["<p>" + f"Sentence number {i} tells what happened at the harbor that night, and why. " * 3 for i in range(6)]
    page = f"<html><body>{menu}<h1>The harbor</h1>{''.join(text)}{menu}</body></html>"
    theirs = trafilatura.extract(page)
    assert _word_scores(extract_text(page), theirs)[2] > 0.98


def test_a_false_length_that_leads_to_the_end_of_the_file_is_not_believed(tmp_path):
    path, stored = tmp_path / "a.warc", BytesIO()
    for number, body in enumerate((b"<p>one", b"<p>" + 90 * b"x", b"<p>three"), 1):
        write_record(WARCWriter(stored, gzip=False), number, "http://a.example/", "response", response(HTML), body)
    data = stored.getvalue()
    second = list(re.finditer(rb"Content-Length: (\d+)", data))[1]
    for length in (len(data) - data.index(b"\r\n\r\n", second.end()) - 4, 999):  # to the end exactly, and beyond
        changed = data[: second.start(1)] + b"%d" % length + data[second.end(1) :]
        path.write_bytes(changed)
        skipped = []
        assert [page.text for page in warc_documents(path, "a", skipped)] == ["<p>one", "<p>three"]
        assert [(item.name, item.reason) for item in skipped] == [("a:2", "damaged record")]


def test_a_page_that_shows_a_record_is_kept_although_its_digest_is_wrong(tmp_path):
    shown = b"<pre>\r\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 9\r\n\r\n</pre>"
    path, stored = tmp_path / "a.warc", BytesIO()
    write_record(WARCWriter(stored, gzip=False), 1, "http://a.example/", "response", response(HTML), shown)
    data = re.sub(rb"(WARC-Block-Digest: sha1:)\w+", lambda found: found[1] + 32 * b"A", stored.getvalue())
    assert data != stored.getvalue()
    path.write_bytes(data)
    assert len(list(warc_documents(path, "a", []))) == 1


@pytest.mark.parametrize("before", [b"WARC/1.0\r\n", b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:1>\r\n"])
def test_a_record_cut_in_its_header_is_counted(tmp_path, before):
    path, stored = tmp_path / "a.warc", BytesIO()
    for number in (2, 3):
        write_record(WARCWriter(stored, gzip=False), number, "http://a.example/", "response", response(HTML), b"<p>%d" % number)
    path.write_bytes(before + stored.getvalue())
    skipped = []
    assert [page.text for page in warc_documents(path, "a", skipped)] == ["<p>2", "<p>3"]
    assert [item.reason for item in skipped] == ["damaged record"]


@pytest.mark.parametrize("padding", [bytes(512), bytes(10_000), b"  \t", b"\r\n\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_padding_is_no_loss(tmp_path, padding, packed):
    path, stored = tmp_path / "a.warc", BytesIO()
    write_record(WARCWriter(stored, gzip=packed), 1, "http://a.example/", "response", response(HTML), b"<p>1")
    path.write_bytes(stored.getvalue() + padding)
    skipped = []
    assert [page.text for page in warc_documents(path, "a", skipped)] == ["<p>1"] and skipped == []


def body_text(tmp_path, body, *headers):
    path, stored, skipped = tmp_path / "a.warc", BytesIO(), []
    write_record(WARCWriter(stored, gzip=False), 1, "http://a.example/", "response", response(HTML, *headers), body)
    path.write_bytes(stored.getvalue())
    return [page.text for page in warc_documents(path, "a", skipped)] or skipped


def test_frames_that_carry_no_text_are_passed_over(tmp_path):
    one, two = (zstandard.compress(text) for text in (b"<p>one ", b"and two"))
    skip = b"\x5a\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"any"
    for body in (skip + one + two, one + skip + two, one + two + skip):
        assert body_text(tmp_path, body, ("Content-Encoding", "zstd")) == ["<p>one and two"]


def test_members_may_be_padded(tmp_path):
    body = gzip.compress(b"<p>one ") + bytes(2) + gzip.compress(b"and two")
    assert body_text(tmp_path, body, ("Content-Encoding", "gzip")) == ["<p>one and two"]


def test_a_page_that_begins_with_a_nought_is_no_chunk(tmp_path):
    assert body_text(tmp_path, b"0\r\n<p>The page begins with zero") == ["0\r\n<p>The page begins with zero"]


@pytest.mark.parametrize(
    ("text", "charset"), [("日本語テキスト", "euc-jp"), ("中文网页", "gbk"), ("страница", "koi8-r"), ("한국어", "euc-kr")]
)
def test_one_bad_byte_does_not_spoil_a_short_page(text, charset):
    data = f"<p>{text}</p>".encode(charset)
    if charset == "koi8-r":  # which has no bad bytes
        assert decode_html(data, f"text/html; charset={charset}")[0] == f"<p>{text}</p>"
    else:
        assert text in decode_html(data + b"\xff", f"text/html; charset={charset}")[0]
