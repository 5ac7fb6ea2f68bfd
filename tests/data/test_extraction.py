"""Every accident between a crawler's bytes and text: counted, never fatal; and oracles for charsets, smoothing, words."""

from __future__ import annotations

import codecs
import gzip
import importlib
import itertools
import random
import re
import signal
import sys
import time
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from warc_files import ACCIDENTS, HTML, SENTENCE, pydoc_pages, response, write_record, write_warc  # noqa: E402

from llmbook.data import extraction
from llmbook.data.documents import Skipped, SourceError, make_document
from llmbook.data.extraction import (
    WEB_READERS,
    _evidence,
    _find_bytes,
    _inflate,
    _inline_style,
    _join_blocks,
    _join_chunks,
    _meta_codec,
    _smooth_labels,
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
    lost = set(SMALL) - {p.metadata["url"] for p in pages}
    assert "https://a.example/2" in lost and len(lost) <= 2  # a record before junk may not be told from it
    assert [s.reason for s in skipped].count("damaged record") >= 1


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


def http_record(tmp_path, http, body, url="https://a.example/", type="response"):
    from warcio.warcwriter import WARCWriter

    path = tmp_path / "one.warc"
    with open(path, "wb") as file:
        write_record(WARCWriter(file, gzip=False), 1, url, type, http, body)
    return read(path)


@pytest.mark.parametrize(
    ("http", "body", "reason"),
    [
        (response(HTML, ("Content-Length", "9999")), SENTENCE, "broken body"),
        (response(HTML, ("Content-Length", "abc")), SENTENCE, None),
        (response(HTML, ("Content-Length", "-1")), SENTENCE, None),
        (response(HTML, ("Content-Encoding", "deflate")), zlib.compress(SENTENCE), None),
        (response(HTML, ("Content-Encoding", "deflate")), zlib.compress(SENTENCE)[2:-4], None),
        (response(HTML, ("Content-Encoding", "gzip, identity")), gzip.compress(SENTENCE, mtime=0), None),
        (response(HTML, ("Content-Encoding", "gzip")), SENTENCE, "broken body"),
        (response(HTML, ("Transfer-Encoding", "chunked")), b"%x\r\n%s\r\n0\r\n\r\n" % (len(SENTENCE), SENTENCE), None),
        (response(HTML, ("Transfer-Encoding", "chunked")), b"%x\r\n%s" % (len(SENTENCE) + 9, SENTENCE), "broken body"),
        (response(HTML, ("Transfer-Encoding", "chunked")), SENTENCE, None),
        (response(("Content-Type", "application/xhtml+xml")), SENTENCE, None),
        (response(), SENTENCE, None),
        (response(), b"GIF89a....", "not HTML"),
        (response(("Content-Type", "application/json")), b"{}", "not HTML"),
        (response(HTML), b" \r\n ", "empty"),
        (response(HTML, status="301 Moved"), b"", "HTTP status"),
        (response(HTML, status="banana"), SENTENCE, "HTTP status"),
    ],
)
def test_bodies(tmp_path, http, body, reason):
    pages, skipped = http_record(tmp_path, http, body)
    assert [s.reason for s in skipped] == ([reason] if reason else [])
    assert [p.text for p in pages] == ([] if reason else [SENTENCE.decode()])


def test_a_bomb_and_a_giant_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_MAX_PAGE_BYTES", 10_000)
    assert http_record(tmp_path, response(HTML), b"x" * 20_000)[1][0].reason == "too large"
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        _inflate(gzip.compress(bytes(10_000_000)), "gzip", 1000)


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
    assert _join_chunks(wire) == data


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_unwrapping_any_bytes_only_raises_value_errors(data):
    for call in (_join_chunks, lambda d: _inflate(d, "gzip"), lambda d: _inflate(d, "deflate")):
        try:
            call(data)
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


def test_labels_agree_with_the_encoding_standard():
    webencodings = pytest.importorskip("webencodings")
    special = {"x-user-defined", "iso-8859-8-i"}
    for label in webencodings.LABELS:
        theirs, ours = webencodings.lookup(label), _web_codec(label)
        if theirs.name in special or ours is None:
            continue
        for character in "é€иא가中ก":
            try:
                data = character.encode(theirs.codec_info.name)
            except UnicodeEncodeError:
                continue
            assert data.decode(ours, "replace") == character, (label, ours)
    unknown = {webencodings.lookup(label).name for label in webencodings.LABELS if _web_codec(label) is None}
    by_name = {webencodings.lookup(label).name for label in webencodings.LABELS if _web_codec(label)}
    assert unknown - by_name <= special | {"replacement"}


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
        assert decode_html(data, "text/html; charset=koi8")[0] == theirs  # an unknown label


def test_wrong_declarations():
    latin, utf8 = "déjà vu, ça".encode("latin-1"), "déjà vu, ça".encode()
    for declared in ("utf-8", "shift_jis", "utf-16", "gb2312", "klingon", "", "\0"):
        assert decode_html(latin, f"text/html; charset={declared}")[0] == "déjà vu, ça", declared
    for declared in ("iso-8859-1", "windows-1252", "us-ascii", "klingon"):
        assert decode_html(utf8, f"text/html; charset={declared}") == ("déjà vu, ça", "utf-8")
        assert decode_html(codecs.BOM_UTF8 + utf8, f"x; charset={declared}") == ("déjà vu, ça", "utf-8")
    assert decode_html(codecs.BOM_UTF16_LE + "да".encode("utf-16-le"), "x; charset=utf-8") == ("да", "utf-16-le")
    assert decode_html(codecs.BOM_UTF16_BE + "да".encode("utf-16-be") + b"\0") == ("да", "utf-16-be")


def test_single_bad_bytes_do_not_spoil_a_page():
    data = ("über " * 60).encode() + b"caf\xe9 " + ("über " * 60).encode()
    text, codec = decode_html(data)
    assert codec == "utf-8" and text.count("\ufffd") == 1
    assert decode_html(("über " * 60).encode()[:-2] + b"\xc3") == ("über " * 59 + "übe", "utf-8")
    assert decode_html(b"caf\xe9") == ("café", "cp1252")


def test_every_byte_has_a_character_in_windows_1252():
    text, codec = decode_html(bytes(range(256)))
    assert codec == "cp1252" and len(text) == 256 and text[0x80] == "€" and text[0x81] == "\x81"


def test_declarations_after_1024_bytes_or_in_comments_do_not_count():
    assert _meta_codec(b"<!-- <meta charset=koi8-r> -->") is None
    assert _meta_codec(b" " * 1024 + b"<meta charset=koi8-r>") is None
    assert _meta_codec(b"<meta charset=utf-16le>") == "utf-8"
    assert _meta_codec(b"<meta name=x content='charset'>") is None


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
