"""Small WARC files that look like a crawl's: pages, and on request every accident that a crawl holds."""

from __future__ import annotations

import gzip
import importlib
import pydoc
from io import BytesIO
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

MODULES = ("textwrap", "json", "csv", "heapq", "string", "bisect", "shelve", "sched", "colorsys", "contextlib")


def pydoc_pages(modules: tuple[str, ...] = MODULES) -> dict[str, bytes]:
    """Pages by address: what pydoc's HTML writer says of each module."""
    writer = pydoc.HTMLDoc()
    pages = {}
    for name in modules:
        body = writer.docmodule(importlib.import_module(name))
        pages[f"https://docs.example.org/{name}.html"] = writer.page(name, body).encode("utf-8", "replace")
    return pages


def write_record(writer: WARCWriter, number: int, uri: str, type: str, http: StatusAndHeaders | None, body: bytes) -> None:
    headers = {
        "WARC-Date": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
        "WARC-Record-ID": f"<urn:uuid:00000000-0000-4000-8000-{number:012}>",
    }
    record = writer.create_warc_record(
        uri, type, payload=BytesIO(body), http_headers=http, warc_headers_dict=headers, length=len(body)
    )
    writer.write_record(record)


def response(*headers: tuple[str, str], status: str = "200 OK") -> StatusAndHeaders:
    return StatusAndHeaders(status, list(headers), protocol="HTTP/1.1")


HTML = ("Content-Type", "text/html; charset=utf-8")
SENTENCE = (
    b"<html><body><p>A whole page of words, long enough that nobody takes it for a menu or a footer of a site.</p></body></html>"
)

# What is in the file beside the pages, and how the reader counts each (None: it gives a document).
ACCIDENTS = (
    ("https://accident.example/status", "response", response(HTML, status="404 Not Found"), SENTENCE, "HTTP status"),
    ("https://accident.example/image", "response", response(("Content-Type", "image/png")), b"\x89PNG\r\n\x1a\n\0\0", "not HTML"),
    ("https://accident.example/empty", "response", response(HTML), b"", "empty"),
    (
        "https://accident.example/zip",
        "response",
        response(HTML, ("Content-Encoding", "gzip")),
        gzip.compress(SENTENCE, mtime=0),
        None,
    ),
    (
        "https://accident.example/cut",
        "response",
        response(HTML, ("Content-Encoding", "gzip")),
        gzip.compress(SENTENCE, mtime=0)[:-20],
        None,
    ),
    (
        "https://accident.example/damaged",
        "response",
        response(HTML, ("Content-Encoding", "gzip")),
        gzip.compress(SENTENCE, mtime=0)[:-8] + bytes(8),
        "broken body",
    ),
    ("https://accident.example/coding", "response", response(HTML, ("Content-Encoding", "x")), b"\x0b\x02\x80", "unknown coding"),
    ("https://accident.example/binary", "response", response(HTML), bytes(range(256)) * 4 + bytes(600), "not text"),
    ("https://accident.example/latin", "response", response(HTML), "<p>Ein Café in Zürich</p>".encode("latin-1"), None),
    ("dns:accident.example", "response", None, b"20260101000000\naccident.example. 300 IN A 192.0.2.1\n", "not HTTP"),
    ("https://accident.example/request", "request", None, b"GET / HTTP/1.1\r\nHost: accident.example\r\n\r\n", "not a response"),
    ("https://accident.example/meta", "metadata", None, b"via: https://accident.example/\r\n", "not a response"),
)


def write_warc(path: str | Path, pages: dict[str, bytes] | None = None, accidents: bool = True) -> list[str]:
    """Write a `.warc` or `.warc.gz` with `pages` (address to bytes; None for pydoc's); return the pages' addresses in order.

    With `accidents`, one of `ACCIDENTS` follows each page, and the rest the last one.
    """
    pages = pydoc_pages() if pages is None else pages
    waiting = list(ACCIDENTS) if accidents else []
    path, number = Path(path), 0
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=path.name.endswith(".gz"))
        write_record(writer, number, "", "warcinfo", None, b"software: llmbook tests\r\n")
        for uri, body in pages.items():
            number += 1
            write_record(writer, number, uri, "response", response(HTML, ("Content-Length", str(len(body)))), body)
            if waiting:
                number += 1
                write_record(writer, number, *waiting.pop(0)[:4])
        for accident in waiting:
            number += 1
            write_record(writer, number, *accident[:4])
    return list(pages)
