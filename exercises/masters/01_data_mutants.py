"""Named wrong answers to the exercises of 01_data, the mistakes of real learners.

Each cell is the whole solution cell of a question, with the mistake that its title names.
It must lose points in its own question and none in the others.
"""

import collections
import hashlib
import math
import re

import torch
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% decode: the declared charset is tried before the byte order mark
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw = bytes(data)
    declared = (charset or "").strip().lower()
    western = ("windows-1252", "cp1252", "iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii")
    marks = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    found = [name for mark, name in marks.items() if raw.startswith(mark)]
    for name in (declared, *found, "utf-8"):
        if name and name not in western:
            try:
                return raw.decode(name).lstrip("\ufeff"), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: the byte order mark stays in the text
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw.decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: bad bytes are replaced, so that nothing ever fails
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name, "replace"), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: the last resort is Latin-1, with control codes for quotation marks
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: cp1252 is strict and raises for five bytes
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    return raw.decode("cp1252"), "windows-1252"


# %% decode: a declared Latin-1 is believed
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name in (*western.split(), "ascii", "us-ascii"):
            break
        if name:
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: UTF-8 is tried before the declared charset
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ("utf-8", (charset or "").strip().lower()):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: an unknown name is an error
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                return raw.decode(name), name
            except UnicodeDecodeError:
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: plain ASCII is read as ASCII, the name that was declared
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: only blanks are stripped from the name
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip(" ").lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: every mark at the beginning is taken off, not one
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace").lstrip("\ufeff"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: bytes that are U+FFFD in the page are taken for bad ones
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                text = raw.decode(name, "replace")
                if "\ufffd" not in text:
                    return text, name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: codecs that give no text are tried, too
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    import codecs

    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                codecs.lookup(name)  # raises for an unknown name, even if there are no bytes
                return codecs.decode(raw, name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: a name with a NUL in it is an error
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, UnicodeError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: without bytes every name is believed
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: the four bytes of a UTF-32 mark are known, too
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xff\xfe\x00\x00", "utf-32-le"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: the mark is deleted from the caller's list
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1 ascii us-ascii".split()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if raw.startswith(mark):
            del data[: len(mark)]
            return bytes(data).decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in western:
            try:
                "".encode(name)  # raises for an unknown name, even if there are no bytes
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: line ends are translated, as a file opened as text does
import io


def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return io.TextIOWrapper(io.BytesIO(raw), encoding=name).read(), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: all aliases of cp1252, Latin-1 and ASCII are special, not only the seven names
import codecs


def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name:
            try:
                if codecs.lookup(name).name in ("cp1252", "iso8859-1", "ascii"):
                    continue
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: the name's white space inside is dropped, too
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").lower().replace(" ", "").strip(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: quotation marks around the name are dropped
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().strip("\"'").lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: a NUL in the text is dropped
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name).replace("\0", ""), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: U+FEFF anywhere in a text without a mark is dropped
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if name and name not in (*western.split(), "ascii", "us-ascii"):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name).replace("\ufeff", ""), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% decode: a declared utf-16 without a mark is refused
def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    """The text of the bytes, and the encoding in which they were read."""
    raw, western = bytes(data), "windows-1252 cp1252 iso-8859-1 latin-1 latin1"
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace"), name
    for name in ((charset or "").strip().lower(), "utf-8"):
        if (
            name
            and not name.startswith("utf-16")
            and name not in (*western.split(), "ascii", "us-ascii")
        ):
            try:
                "".encode(name)  # fails for an unknown name, even if raw is empty
                return raw.decode(name), name
            except (LookupError, ValueError):
                pass
    signs = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw)
    return "".join(signs), "windows-1252"


# %% gopher: quality is a matter of length: more than 50 words
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    return "word count" if len(words) < 50 else None


# %% gopher: the rule about bullets is missing
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: the rule about stop words is missing
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return None


# %% gopher: the share of letters is taken of characters
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(map(str.isalpha, text)) / len(text) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: stop words are counted with repetition
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if sum(word in stop_words for word in words) < 2 else None


# %% gopher: marks count as words
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = words
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: a value on the limit is refused
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) >= 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) >= 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) <= 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: bullets and ellipses are sought without regard to spaces
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: a word of digits is no proper word
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalpha, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: a text without lines divides by zero
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines()
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: stop words are asked for first
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    if len(stop_words & set(words)) < 2 and len(words) >= 50:
        return "stop words"
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: lines are cut at line feeds, so that a final one makes an empty line
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.split("\n")
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: only line feeds end a line, and a final one is dropped
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.removesuffix("\n").split("\n")
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: 100,000 words are too many
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) < 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: the upper limit is of all words, marks included
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if len(proper) < 50 or len(words) > 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: the list of stop words ends before with
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: is stands for be in the list of stop words
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "is", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: stop words are found inside of marks
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & {word.strip(".,;:!?") for word in words}) < 2 else None


# %% gopher: an asterisk is a bullet, too
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-", "*")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: hash signs are counted as words
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if words.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: signs are counted in the words, not in the text
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if " ".join(words).count("#") / len(words) > 0.1:
        return "hash signs per word"
    if sum(word.count("...") + word.count("…") for word in words) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: a word has one ellipsis at most
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if sum("..." in word or "…" in word for word in words) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: six dots are one ellipsis
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if len(re.findall(r"\.{3,}|…", text)) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: letters are those of English
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(bool(re.search("[A-Za-z]", word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: an underscore makes a word proper
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if re.search(r"\w", word)]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: letters and digits of proper words are those of ASCII
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if re.search("[A-Za-z0-9]", word)]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: the marks at a word are not part of its length
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(len(word.strip(".,;:!?")) for word in proper) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: hash signs are asked for before the mean length
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: other dashes and marks are bullets, too
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if (
        sum(line.strip().startswith(("•", "-", "–", "—", "‣", "·")) for line in lines)
        / len(lines)
        > 0.9
    ):
        return "bullet lines"
    if sum(line.strip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: the share of lines with an ellipsis is of those that are not empty
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if (
        sum(line.strip().endswith(("...", "…")) for line in lines)
        / max(1, sum(map(bool, map(str.strip, lines))))
        > 0.3
    ):
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% gopher: two dots are an ellipsis at the end of a line
def gopher(text: str, words: list[str]) -> str | None:
    """The name of the first broken rule, or None."""
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    proper = [word for word in words if any(map(str.isalnum, word))]
    if not 50 <= len(proper) <= 100_000:
        return "word count"
    if not 3 <= sum(map(len, proper)) / len(proper) <= 10:
        return "mean word length"
    if text.count("#") / len(words) > 0.1:
        return "hash signs per word"
    if (text.count("...") + text.count("…")) / len(words) > 0.1:
        return "ellipses per word"
    lines = text.splitlines() or [""]
    if sum(line.strip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
        return "bullet lines"
    if sum(line.strip().endswith(("..", "…")) for line in lines) / len(lines) > 0.3:
        return "lines ending in an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) / len(words) < 0.8:
        return "alphabetic words"
    return "stop words" if len(stop_words & set(words)) < 2 else None


# %% repetition: overlapping duplicates are counted twice
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += 1
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the divisor is the number of words
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(words), duplicate / len(words)


# %% repetition: the first occurrence counts, too
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    duplicate, place = 0, 0
    while place < len(ngrams):
        if counts[ngrams[place]] > 1:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: spaces are duplicate characters
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len(" ".join(ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: of equally frequent n-grams the longest counts
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=lambda ngram: (counts[ngram], len(" ".join(ngram))))
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the order of the words in an n-gram is ignored
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(sorted(words[start : start + n])) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the last n-gram is left out
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(max(1, len(words) - n))]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: what a duplicate hides is remembered, too
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            seen.update(ngrams[place : place + n])
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: n-grams are compared as text, joined by spaces
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, words[place : place + n]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% repetition: capitals do not matter
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(map(str.lower, words[start : start + n])) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the divisor is the number of bytes
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text.encode()), duplicate / len(text.encode())


# %% repetition: only a list without words is taken for empty
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: exactly n words are too few
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) <= n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the divisor is the text without white space around it
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    text = text.strip() or text
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: the walk calls itself for each word
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen = set()

    def walk(place):
        if place >= len(ngrams):
            return 0
        if ngrams[place] in seen:
            return sum(map(len, ngrams[place])) + walk(place + n)
        seen.add(ngrams[place])
        return walk(place + 1)

    return counts[first] * len(" ".join(first)) / len(text), walk(0) / len(text)


# %% repetition: the words of duplicates are taken out of the caller's list
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate = set(), 0
    while len(words) >= n:
        head = tuple(words[:n])
        duplicate += sum(map(len, head)) * (head in seen)
        del words[: n if head in seen else 1]
        seen.add(head)
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: n-grams are joined by a bar
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = ["|".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len(ngrams[place].replace("|", ""))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% repetition: n-grams are joined by line ends
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [
        "\n".join(words[start : start + n]) for start in range(len(words) - n + 1)
    ]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len("".join(words[place : place + n]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% repetition: n-grams are joined by an underscore
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = ["_".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len("".join(words[place : place + n]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% repetition: n-grams are joined by tabs
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [
        "\t".join(words[start : start + n]) for start in range(len(words) - n + 1)
    ]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len("".join(words[place : place + n]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% repetition: empty words are left out first
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    words = [word for word in words if word]
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: words are stripped first
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    words = [word.strip() for word in words]
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(" ".join(first)) / len(text), duplicate / len(text)


# %% repetition: n-grams are joined by a control character that no word is thought to hold
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    """Characters in the top n-gram and in duplicate n-grams, per character."""
    if len(words) < n or not text:
        return 0.0, 0.0
    ngrams = ["\x1f".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = collections.Counter(ngrams)
    first = max(counts, key=counts.get)
    seen, duplicate, place = set(), 0, 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            duplicate += len(ngrams[place].replace("\x1f", ""))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return counts[first] * len(first) / len(text), duplicate / len(text)


# %% minhash: one permutation is used for all places
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations[:1] * len(permutations)
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the maximum is taken
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        max(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: Python's own hash, which differs from process to process
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n])
        hashes.add(hash(shingle) % 2**32)
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the smallest hash is permuted, not the smallest permuted hash taken
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        (a * min(hashes) + b) % 2**32 if hashes else 2**32 - 1
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the modulus is missing
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min((a * h + b for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: single words instead of shingles
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(len(words)):
        shingle = words[start].encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: a text of fewer than n words has no shingle
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(len(words) - n + 1):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the similarity is the overlap of the sets of words, without MinHash
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    a, b = (set(re.findall(r"\w+", text.lower())) for text in (first, second))
    return len(a & b) / len(a | b)


# %% minhash: the similarity is the exact one of the shingles, without MinHash
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    a, b = (re.findall(r"\w+", text.lower()) for text in (first, second))
    a, b = ({tuple(w[i : i + n]) for i in range(max(1, len(w) - n + 1))} for w in (a, b))
    return len(a & b) / len(a | b)


# %% minhash: the similarity compares the signatures as sets
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    a, b = (set(minhash(text, permutations, n)) for text in (first, second))
    return len(a & b) / len(a | b)


# %% minhash: casefold instead of lower, which rewrites ß
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.casefold())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations]


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the text is normalized first, so that an accent joins its letter
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    import unicodedata

    words = re.findall(r"\w+", unicodedata.normalize("NFC", text.lower()))
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations]


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the signature is kept by permutation, so that equal ones share a place
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    signature = {(a, b): min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations}
    return list(signature.values())


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: a signature of greatest numbers is taken for a text without words
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations]


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    one, other = minhash(first, permutations, n), minhash(second, permutations, n)
    if [2**32 - 1] * len(permutations) in (one, other):
        return 0.0
    return sum(map(int.__eq__, one, other)) / len(permutations)


# %% minhash: the similarity is 0 only if both texts have no words
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations]


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) and not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: a text of underscores has no words
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1) for a, b in permutations]


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not all(any(map(str.isalnum, text)) for text in (first, second)):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: soft hyphens are deleted first
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower().replace("\u00ad", ""))
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: casefold for the similarity only
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(
        minhash(first.casefold(), permutations, n),
        minhash(second.casefold(), permutations, n),
    )
    return sum(one == other for one, other in places) / len(permutations)


# %% minhash: the similarity is 1 for equal texts, words or not
def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    """For each permutation (a, b) the smallest mapped hash of the text's shingles."""
    words = re.findall(r"\w+", text.lower())
    hashes = set()
    for start in range(max(1, len(words) - n + 1) if words else 0):
        shingle = " ".join(words[start : start + n]).encode()
        hashes.add(int.from_bytes(hashlib.sha1(shingle).digest()[:4], "little"))
    return [
        min(((a * h + b) % 2**32 for h in hashes), default=2**32 - 1)
        for a, b in permutations
    ]


def similarity(
    first: str, second: str, permutations: list[tuple[int, int]], n: int = 5
) -> float:
    """The share of places in which the signatures of two texts agree."""
    if first == second:
        return 1.0
    if not re.search(r"\w", first) or not re.search(r"\w", second):
        return 0.0
    places = zip(minhash(first, permutations, n), minhash(second, permutations, n))
    return sum(one == other for one, other in places) / len(permutations)


# %% bands: one equal number is enough
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands * rows):
        buckets = collections.defaultdict(list)
        part = signatures[:, band : band + 1].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: bands overlap
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band : band + rows].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: only neighbors in a bucket become pairs
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key][-1:])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: bands of different numbers share their buckets
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    buckets = collections.defaultdict(list)
    for band in range(bands):
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key] if earlier < document)
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: a band is compared by its sum
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(sum, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: a pair is listed once per band
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = []
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.extend((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: all pairs are listed and then compared
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    parts = signatures[:, : bands * rows].reshape(-1, bands, rows)
    from itertools import combinations

    pairs = list(combinations(range(len(parts)), 2))
    return [(i, j) for i, j in pairs if (parts[i] == parts[j]).all(-1).any()]


# %% bands: a table of all pairs is filled by broadcasting
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    parts = signatures[:, : bands * rows].reshape(-1, bands, rows)
    agree = (parts[:, None] == parts[None, :]).all(-1).any(-1).triu(1)
    return [tuple(pair) for pair in agree.nonzero().tolist()]


# %% bands: the numbers of a band are joined as text
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate("".join(map(str, row)) for row in part):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: the hash of a band stands for it
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(hash, map(tuple, part))):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: the numbers of a band are the digits of one to the base 1000
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(sum(x * 1000**k for k, x in enumerate(row)) for row in part):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: numbers are cut to 32 bits
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].int().tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: without documents nothing is refused
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if len(signatures) and bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows].tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: the bands are made different by adding to the caller's tensor
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures[:, band * rows : (band + 1) * rows]
        part += band  # so that equal numbers in other bands differ
        part = part.tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% bands: the numbers are taken to lie one behind the other
def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of documents that agree in some band, ascending."""
    P = signatures.shape[1]
    if bands * rows > P:
        raise ValueError(f"{bands} x {rows} = {bands * rows} numbers needed, not {P}")
    pairs = set()
    for band in range(bands):
        buckets = collections.defaultdict(list)
        part = signatures.as_strided((len(signatures), rows), (P, 1), band * rows).tolist()
        for document, key in enumerate(map(tuple, part)):
            pairs.update((earlier, document) for earlier in buckets[key])
            buckets[key].append(document)
    return sorted(pairs)


# %% clusters: copies of copies are not joined
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    labels = list(range(n))
    for i, j in pairs:
        for number in (i, j):
            if not 0 <= number < n:
                raise ValueError(f"there is no document {number}: n is {n}")
        labels[i], labels[j] = min(labels[i], j), min(labels[j], i)
    return labels


# %% clusters: labels are passed on in one sweep over the pairs
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    labels = list(range(n))
    for i, j in pairs:
        for number in (i, j):
            if not 0 <= number < n:
                raise ValueError(f"there is no document {number}: n is {n}")
        labels[i] = labels[j] = min(labels[i], labels[j])
    return labels


# %% clusters: the document itself is relinked, not the end of its chain
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted((find(min(pair)), max(pair)))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: the largest number is the label
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[small] = large
    return [find(document) for document in range(n)]


# %% clusters: the label is whichever came first in the pairs
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = map(find, pair)
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: negative numbers count from the end
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if number >= n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: the function calls itself along a chain
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        if parent[document] != document:
            return find(parent[document])
        return document

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: union find, whose find calls itself along a chain
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        if parent[document] != document:
            parent[document] = find(parent[document])
        return parent[document]

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: only the second number of a pair is compared with n
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if number < 0] or [number for number in pair[1:] if number >= n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: the caller's list is used up
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    while pairs:
        pair = pairs.pop()
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: the caller's pairs are sorted
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    pairs.sort()
    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% clusters: without documents no pair is checked
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    """For each of n documents the smallest number in its cluster."""
    if n == 0:
        return []
    parent = list(range(n))

    def find(document: int) -> int:
        while parent[document] != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for pair in pairs:
        if outside := [number for number in pair if not 0 <= number < n]:
            raise ValueError(f"there is no document {outside[0]}: n is {n}")
        small, large = sorted(map(find, pair))
        parent[large] = small
    return [find(document) for document in range(n)]


# %% mask: versions with five numbers lose four of them
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"\b{number}(?:\.{number}){{3}}\b"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: 999.1.1.1 is an address
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "[0-9]{1,3}"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: only the first address of each kind is replaced
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, count=1, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, count=1, flags=re.ASCII)
    return text, emails, addresses


# %% mask: the full stop behind an address is eaten
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a domain has one dot
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@{label}\.[A-Za-z]{{2,}}"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: different addresses are counted, not occurrences
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    emails = len(set(re.findall(email, text, flags=re.ASCII)))
    text = re.sub(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: letters are those of all languages
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text)
    text, addresses = re.subn(address, "[ip]", text)
    return text, emails, addresses


# %% mask: two hyphens in a row do not belong to a label
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a label may end with a hyphen
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9][A-Za-z0-9-]*"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: the last label has at most six letters
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,6}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a dot and a word may follow a domain
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-])"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a hyphen may follow a domain
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?!\w|-\w|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: no dot may stand before the name
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+.])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: an address in a name is not seen: IPv4 is replaced first
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: placeholders are counted, also those that were in the text
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text = re.sub(email, "[email]", text, flags=re.ASCII)
    text = re.sub(address, "[ip]", text, flags=re.ASCII)
    return text, text.count("[email]"), text.count("[ip]")


# %% mask: three digits with a leading zero are no number
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: an underscore may stand before an IPv4 address
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![A-Za-z0-9.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: an underscore may stand behind an IPv4 address
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?![A-Za-z0-9]|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: capitals by IGNORECASE without ASCII, which knows ſ and the Kelvin sign
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
    email = rf"(?<![a-z0-9_%+])[a-z0-9_%+][a-z0-9_%+.-]*@(?:{label}\.)+[a-z]{{2,}}(?![a-z0-9_-]|\.[a-z0-9_])"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![a-z0-9_.]){number}(?:\.{number}){{3}}(?![a-z0-9_]|\.[a-z0-9_])"
    text, emails = re.subn(email, "[email]", text, flags=re.IGNORECASE)
    text, addresses = re.subn(address, "[ip]", text, flags=re.IGNORECASE)
    return text, emails, addresses


# %% mask: a last label of more than 24 letters is none
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,24}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a name has at most 64 characters
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = (
        rf"(?<![\w%+])[\w%+][\w%+.-]{{0,63}}@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    )
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: an address behind mailto: is left
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<!mailto:)(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a domain has at most five labels
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = (
        rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.){{1,4}}[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    )
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: a hyphen before an IPv4 address keeps it
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    email = rf"(?<![\w%+])[\w%+][\w%+.-]*@(?:{label}\.)+[A-Za-z]{{2,}}(?![\w-]|\.\w)"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.-]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text, flags=re.ASCII)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% mask: capitals of e-mail addresses by (?i) without ASCII
def mask(text: str) -> tuple[str, int, int]:
    """The text without addresses, the number of e-mail and of IPv4 addresses."""
    label = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
    email = rf"(?i)(?<![0-9a-zA-Z_%+])[0-9a-z_%+][0-9a-z_%+.-]*@(?:{label}\.)+[a-z]{{2,}}(?![0-9a-z_-]|\.[0-9a-z_])"
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
    address = rf"(?<![\w.]){number}(?:\.{number}){{3}}(?!\w|\.\w)"
    text, emails = re.subn(email, "[email]", text)
    text, addresses = re.subn(address, "[ip]", text, flags=re.ASCII)
    return text, emails, addresses


# %% logistic: the sign of the gradient is reversed
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (y - p) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (y - p) / len(texts)
    return loss, gradient, slope


# %% logistic: the sum over the texts instead of the mean
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small))
        error = torch.full((len(buckets),), p - y, dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += p - y
    return loss, gradient, slope


# %% logistic: the bias is penalized, too
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, penalty * b, penalty / 2 * w.square().sum().item()
    loss += penalty / 2 * b * b
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: a bucket that occurs twice is added once
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient[index] += error
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: the penalty lacks the factor 1/2
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = 2 * penalty * w, 0.0, penalty * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: the gradient is that of the squared error
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) * p * (1 - p) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) * p * (1 - p) / len(texts)
    return loss, gradient, slope


# %% logistic: the logarithm of the probability, which is infinite or fails
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        p = torch.sigmoid(torch.tensor(z, dtype=w.dtype)).item()
        loss -= math.log(p if y else 1 - p) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: log(1 + x), which rounds small losses away
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log(1 + small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: the gradient of the penalty is taken in the caller's weights
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    loss, slope, weights = penalty / 2 * w.square().sum().item(), 0.0, w.clone()
    gradient = w.mul_(penalty)
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + weights[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: dimensions of size 1 are squeezed away
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient.squeeze(), slope


# %% logistic: small losses of the label 0 are rounded away
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + (math.log1p(small) if y else math.log(1 + small))) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% logistic: the weights are taken to lie one behind the other
def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    """The loss, its gradient for w [D], and its derivative for b."""
    gradient, slope, loss = penalty * w, 0.0, penalty / 2 * w.square().sum().item()
    for buckets, y in zip(texts, labels):
        index = torch.tensor(buckets, dtype=torch.int64)
        z = b + w.as_strided(w.shape, (1,))[index].sum().item()
        small = math.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        loss += (max(z, 0) - y * z + math.log1p(small)) / len(texts)
        error = torch.full((len(buckets),), (p - y) / len(texts), dtype=w.dtype)
        gradient.index_add_(0, index, error)
        slope += (p - y) / len(texts)
    return loss, gradient, slope


# %% threshold: equal scores are split
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if right / removed >= precision:
            best = score
    return best


# %% threshold: the search stops at the first failure
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision:
            best = score
        else:
            break
    return best


# %% threshold: recall is taken for precision
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / max(1, sum(labels)) >= precision:
            best = score
    return best


# %% threshold: the largest threshold is returned
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision:
            best = score if best is None else best
    return best


# %% threshold: a precision that is reached exactly is not enough
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed > precision:
            best = score
    return best


# %% threshold: products are compared, which are rounded
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right >= precision * removed:
            best = score
    return best


# %% threshold: scores at the threshold are not removed
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    best = None
    for threshold in sorted(scores, reverse=True):
        removed = [label for score, label in zip(scores, labels) if score > threshold]
        if removed and sum(removed) / len(removed) >= precision:
            best = threshold
    return best


# %% threshold: scores that are nearly equal are taken for equal
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and math.isclose(ranked[removed][0], score):
            continue
        if right / removed >= precision:
            best = score
    return best


# %% threshold: a precision that is nearly reached is enough
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision - 1e-9:
            best = score
    return best


# %% threshold: without a text to remove there is no threshold
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right and right / removed >= precision:
            best = score
    return best


# %% threshold: a threshold of 0 is taken for none
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision:
            best = score
    return best or None


# %% threshold: the caller's scores are sorted
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    texts = list(zip(scores, labels))
    scores.sort()
    for threshold in scores:
        removed = [label for score, label in texts if score >= threshold]
        if sum(removed) / len(removed) >= precision:
            return threshold
    return None


# %% threshold: infinite scores are left out
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(
        ((s, y) for s, y in zip(scores, labels) if math.isfinite(s)),
        key=lambda pair: pair[0],
        reverse=True,
    )
    best, right = None, 0
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision:
            best = score
    return best


# %% threshold: an infinite score is passed over, as if it were a mark for the end
def smallest_threshold(
    scores: list[float], labels: list[int], precision: float
) -> float | None:
    """The smallest score that, as a threshold, reaches the precision, or None."""
    ranked = sorted(zip(scores, labels), key=lambda pair: pair[0], reverse=True)
    best, right, before = None, 0, math.inf
    for removed, (score, label) in enumerate(ranked, start=1):
        right += label
        if score == math.inf:
            continue
        if removed < len(ranked) and ranked[removed][0] == score:
            continue
        if right / removed >= precision:
            best = score
    return best
