"""Named wrong answers to the exercises of 02_tokenization, the mistakes of real learners.

Each cell is the whole solution cell of a question, with the mistake that its title names.
It must lose points in its own question and none in the others.
"""

import codecs
import collections
import hashlib
import heapq
import random
import re
import struct
import zlib

import regex

# ruff: noqa: F811, F841, RUF059


# %% utf8: code points below 256 are taken for bytes
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x100:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: the marks of the following bytes are missing
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, point >> 6 & 0x3F, point & 0x3F]
        else:
            data += [0xF0 | point >> 18, point >> 12 & 0x3F]
            data += [point >> 6 & 0x3F, point & 0x3F]
    return data


# %% utf8: the limits of the forms are off by one
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point <= 0x80:
            data.append(point)
        elif point <= 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point <= 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: the forms end at 0xFF and 0xFFF, as if bytes were full
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x1000:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: characters beyond U+FFFF are written as pairs of surrogates
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        halves = [point]
        if point > 0xFFFF:
            rest = point - 0x10000
            halves = [0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF)]
        for half in halves:
            if half < 0x80:
                data.append(half)
            elif half < 0x800:
                data += [0xC0 | half >> 6, 0x80 | half & 0x3F]
            else:
                data += [0xE0 | half >> 12, 0x80 | half >> 6 & 0x3F, 0x80 | half & 0x3F]
    return data


# %% utf8: surrogates are encoded like other code points
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: everything that fits into 21 bits is encoded
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x1FFFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: what cannot be encoded becomes a question mark
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    return list("".join(map(chr, code_points)).encode("utf-8", errors="replace"))


# %% utf8: two surrogates are joined to one character
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    for point in code_points:
        if not 0 <= point <= 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold {point if point < 0 else f'U+{point:04X}'}")
    text = "".join(map(chr, code_points)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    for point, sign in zip(code_points, text):
        if sign == "\ufffd" and point != 0xFFFD:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
    return list(text.encode())


# %% utf8: the caller's list is used up
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    while code_points:
        point = code_points.pop(0)
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: a byte order mark at the beginning is dropped
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data[3:] if data[:3] == [0xEF, 0xBB, 0xBF] else data


# %% utf8: numbers are cut to 32 bits, as in C
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        point &= 0xFFFFFFFF
        if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% utf8: U+DC00 falls between the two ranges of surrogates
def utf8_encode(code_points: list[int]) -> list[int]:
    """The bytes, 0 to 255, of the code points in UTF-8."""
    data = []
    for point in code_points:
        if point < 0:
            raise ValueError(f"{point} is no code point")
        if 0xD800 <= point < 0xDC00 or 0xDC00 < point <= 0xDFFF or point > 0x10FFFF:
            raise ValueError(f"UTF-8 cannot hold U+{point:04X}")
        if point < 0x80:
            data.append(point)
        elif point < 0x800:
            data += [0xC0 | point >> 6, 0x80 | point & 0x3F]
        elif point < 0x10000:
            data += [0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
        else:
            data += [0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F]
            data += [0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F]
    return data


# %% pretokenize: the text is split at white space
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else stretch.split()
    return pieces


# %% pretokenize: the space belongs to the word before it
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r"\p{L}+ ?|\p{N}+ ?|[^\s\p{L}\p{N}]+ ?"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: a run of white space is one piece to its end
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: contractions in capitals are cut, too
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?i:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: letters are those of ASCII
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: words are those of \w, with underscores and numbers
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\w+| ?[^\s\w]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: the names of special tokens are dropped
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split("|".join(map(re.escape, names)), text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: names are patterns
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(names)})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: of two names the one listed first counts
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = list(special_tokens)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: names and rules are one pattern, so that the rules look beyond a stretch
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    return regex.findall("|".join([*map(re.escape, names), pattern]), text)


# %% pretokenize: the text is cut first, and a piece that equals a name is special
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    pieces = []
    for piece in regex.findall(pattern, text):
        pieces.append(piece.strip() if piece.strip() in special_tokens else piece)
    return pieces


# %% pretokenize: empty stretches are pieces
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch) or [""]
    return pieces


# %% pretokenize: 'm is forgotten
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: 'd is forgotten
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: 've is forgotten
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: special names are split one after another, the longest first
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    parts = [(text, False)]
    for name in sorted(special_tokens, key=len, reverse=True):
        found = []
        for part, special in parts:
            if special:
                found.append((part, True))
                continue
            for number, stretch in enumerate(part.split(name)):
                found += [(name, True)] * (number > 0) + [(stretch, False)]
        parts = found
    pieces = []
    for part, special in parts:
        pieces += [part] if special else regex.findall(pattern, part)
    return pieces


# %% pretokenize: the caller's list of names is sorted
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = special_tokens
    names.sort(key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: the names are found without regard to capitals
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text, flags=re.IGNORECASE)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: line ends are made line feeds first
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    text = text.replace("\r\n", "\n")
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else regex.findall(pattern, stretch)
    return pieces


# %% pretokenize: the function calls itself behind each special token
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    words = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    found = [(text.find(name), -len(name), name) for name in special_tokens if name in text]
    if not found:
        return regex.findall(pattern, text)
    at, _, name = min(found)
    return regex.findall(pattern, text[:at]) + [name] + pretokenize(text[at + len(name) :], special_tokens)


# %% pretokenize: Chinese numerals are numbers, though Unicode calls them letters
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""

    numerals = "一二三四五六七八九十百千万"
    words = r" ?[\p{L}--[一二三四五六七八九十百千万]]+| ?[\p{N}一二三四五六七八九十百千万]+| ?[^\s\p{L}\p{N}]+"
    pattern = rf"'(?:s|t|re|ve|m|ll|d)|{words}|\s+(?!\S)|\s+"
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += (
            [stretch] if number % 2 else regex.findall(pattern, stretch, flags=regex.V1)
        )
    return pieces


# %% pretokenize: numbers are what str.isnumeric says, which 三 is, too
def kind_of(sign):
    if sign.isspace():
        return "space"
    return "number" if sign.isnumeric() else "letter" if sign.isalpha() else "mark"


def pieces_of(text):
    pieces, at = [], 0
    while at < len(text):
        if short := re.match("'(?:s|t|re|ve|m|ll|d)", text[at:]):
            end = at + short.end()
        else:
            first = at + (text[at] == " " and at + 1 < len(text) and not text[at + 1].isspace())
            end = first + 1
            while end < len(text) and kind_of(text[end]) == kind_of(text[first]):
                end += 1
            if text[first].isspace() and end < len(text) and end - at > 1:
                end -= 1
        pieces.append(text[at:end])
        at = end
    return pieces


def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    """The pieces of the text, none empty; special tokens are pieces of their own."""
    names = sorted(special_tokens, key=len, reverse=True)
    stretches = [text]
    if names:
        stretches = re.split(f"({'|'.join(map(re.escape, names))})", text)
    pieces = []
    for number, stretch in enumerate(stretches):
        pieces += [stretch] if number % 2 else pieces_of(stretch)
    return pieces


# %% pairs: overlapping pairs are counted once, as merges would find them
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        at, last = 0, None
        while at + 1 < len(word):
            pair = word[at], word[at + 1]
            if pair == last:
                last = None
            else:
                counts[pair] += frequency
                last = pair
            at += 1
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: the frequencies are ignored
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += 1
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: a pair counts once per word
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in set(zip(word, word[1:])):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: pairs reach from one word into the next
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts, row = collections.Counter(), []
    for word, frequency in zip(words, frequencies):
        row += word * frequency
    counts.update(zip(row, row[1:]))
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: the order within a pair is ignored
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[tuple(sorted(pair))] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: merges overlap
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
        elif at == 0 or tuple(ids[at - 1 : at + 1]) != tuple(pair):
            merged.append(ids[at])
        at += 1
    return merged


# %% pairs: merges run from right to left
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], len(ids) - 1
    while at >= 0:
        if at > 0 and (ids[at - 1], ids[at]) == tuple(pair):
            merged.append(new_id)
            at -= 2
        else:
            merged.append(ids[at])
            at -= 1
    return merged[::-1]


# %% pairs: the last id is lost
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids) - 1:
        if (ids[at], ids[at + 1]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: only the first occurrence is merged
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            return merged + ids[at + 2 :]
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: ids are replaced in their decimal text
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(number) for number in text.split()]


# %% pairs: a pair is packed as left * 256 + right
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair[0] * 256 + pair[1]] += frequency
    return [(*divmod(packed, 256), counts[packed]) for packed in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: a pair is packed into 16 and 16 bits
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair[0] << 16 | pair[1]] += frequency
    return [(packed >> 16, packed & 0xFFFF, counts[packed]) for packed in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: merge changes the caller's ids
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    at = 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            ids[at : at + 2] = [new_id]
        at += 1
    return ids


# %% pairs: merge calls itself for each id
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    if not ids:
        return []
    if tuple(ids[:2]) == tuple(pair):
        return [new_id, *merge(ids[2:], pair, new_id)]
    return [ids[0], *merge(ids[1:], pair, new_id)]


# %% pairs: the pairs of a word are taken off its end, in the caller's list
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        while len(word) > 1:
            counts[word[-2], word[-1]] += frequency
            word.pop()
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: ids of two bytes: higher ones wrap around
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    ids = [identity & 0xFFFF for identity in ids]
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


# %% pairs: merged ids are looked at again
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged = []
    for identity in ids:
        if merged and (merged[-1], identity) == tuple(pair):
            merged[-1] = new_id
        else:
            merged.append(identity)
    return merged


# %% pairs: merging is repeated until the pair is gone
def pair_counts(
    words: list[list[int]], frequencies: list[int]
) -> list[tuple[int, int, int]]:
    """All pairs of neighbors as (left, right, count), in ascending order."""
    counts = collections.Counter()
    for word, frequency in zip(words, frequencies):
        for pair in zip(word, word[1:]):
            counts[pair] += frequency
    return [(left, right, counts[left, right]) for left, right in sorted(counts)]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with `new_id` for each pair, from left to right without overlap."""
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged if merged == ids else merge(merged, pair, new_id)


# %% train: the first pair met wins among equally frequent ones
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = max(counts, key=counts.get)
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the greatest of equally frequent pairs wins
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: ties are decided by the bytes of the tokens, not by ids
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges, spelled = [], [bytes([byte]) for byte in range(256)]
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(
            counts,
            key=lambda pair: (-counts[pair], [spelled[identity] for identity in pair]),
        )
        spelled.append(spelled[best[0]] + spelled[best[1]])
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: occurrences are counted without overlap
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            last = None
            for pair in zip(ids, ids[1:]):
                if pair == last:
                    last = None
                    continue
                counts[pair] += times
                last = pair
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: each different piece is counted once
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += 1
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: counts of the neighbors of a merged pair are not lowered
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        if not merges:
            counts = collections.Counter()
            for ids, times in words:
                for pair in zip(ids, ids[1:]):
                    counts[pair] += times
        else:
            del counts[merges[-1]]
            for ids, times in words:
                for pair in zip(ids, ids[1:]):
                    if 255 + len(merges) in pair:
                        counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: pairs that occur once are not merged
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: vocab_size is the number of merges
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < vocab_size:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the ids are those of characters
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(map(ord, piece)), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the space before a word is dropped
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(stretch.split(" "))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the texts are joined before they are cut
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in ["".join(texts)]:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: merges cross special tokens, which are cut out of the text
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in [re.sub(border, "", text)]:
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: special tokens are learned from like text
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in [text]:
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the special tokens have no ids
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: a vocabulary that is too small gives no merges
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        return []
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: special names are split one after another, the longest first
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    pieces = collections.Counter()
    for text in texts:
        stretches = [text]
        for name in names:
            stretches = [part for stretch in stretches for part in stretch.split(name)]
        for stretch in stretches:
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the caller's list of names is sorted
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = special_tokens
    names.sort(key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: the names are found without regard to capitals
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text, flags=re.IGNORECASE):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: texts are learned from in lower case
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text.lower()):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: texts are normalized first
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    import unicodedata

    for text in (unicodedata.normalize("NFC", text) for text in texts):
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: pieces of more than 64 characters are not learned from
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [
        (list(piece.encode()), times)
        for piece, times in pieces.items()
        if len(piece) <= 64
    ]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% train: once there are many merges, the last pair that occurs once is left
def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[int, int]]:
    """The merges (left id, right id), in the order in which they were learned."""
    limit = vocab_size - 256 - len(special_tokens)
    if limit < 0:
        smallest = 256 + len(special_tokens)
        raise ValueError(f"vocab_size is {vocab_size}, but must be {smallest} or more")
    names = sorted(special_tokens, key=len, reverse=True)
    border = "|".join(map(re.escape, names)) or r"(?!)"
    pieces = collections.Counter()
    for text in texts:
        for stretch in re.split(border, text):
            pieces.update(re.findall(r" ?[^ ]+| +", stretch))
    words = [(list(piece.encode()), times) for piece, times in pieces.items()]
    merges = []
    while len(merges) < limit:
        counts = collections.Counter()
        for ids, times in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if (
            not counts
            or len(counts) == 1
            and max(counts.values()) == 1
            and len(merges) > 40
        ):
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            at = 0
            while at + 1 < len(ids):
                if (ids[at], ids[at + 1]) == best:
                    ids[at : at + 2] = [256 + len(merges)]
                at += 1
        merges.append(best)
    return merges


# %% encode: the longest token that fits is taken, from left to right
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    known = {token: identity for identity, token in enumerate(tokens)}
    data, ids, at = piece.encode(), [], 0
    while at < len(data):
        end = next(end for end in range(len(data), at, -1) if data[at:end] in known)
        ids.append(known[data[at:end]])
        at = end
    return ids


# %% encode: the leftmost pair in the list is merged first
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.encode())
    while len(ids) > 1:
        best = next((pair for pair in zip(ids, ids[1:]) if pair in ranks), None)
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the merge that was learned last comes first
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.encode())
    while len(ids) > 1:
        best = max(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, -1))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the bytes of two neighbors decide, not the pair
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    ranks = {}
    for identity, token in enumerate(tokens):
        ranks.setdefault(token, identity)
    parts = [bytes([byte]) for byte in piece.encode()]
    while len(parts) > 1:
        joined = [left + right for left, right in zip(parts, parts[1:])]
        at = min(range(len(joined)), key=lambda at: ranks.get(joined[at], len(tokens)))
        if joined[at] not in ranks:
            break
        parts[at : at + 2] = [joined[at]]
    return [ranks[part] for part in parts]


# %% encode: only the last occurrence is replaced before the search goes on
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        at = max(at for at in range(len(ids) - 1) if (ids[at], ids[at + 1]) == best)
        ids[at : at + 2] = [256 + ranks[best]]
    return ids


# %% encode: replaced pairs overlap
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = ids[:1]
        for pair in zip(ids, ids[1:]):
            if pair == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(pair[1])
        ids = merged
    return ids


# %% encode: the ids are those of characters
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(map(ord, piece))
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: a piece that is a token is never looked into
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    if piece.encode() in tokens:
        return [tokens.index(piece.encode())]
    ids = list(piece.encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the keys of pairs are joined as text
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {f"{left}{right}": number for number, (left, right) in enumerate(merges)}
    ids = list(piece.encode())
    while len(ids) > 1:
        best = min((f"{left}{right}" for left, right in zip(ids, ids[1:])), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and f"{merged[-1]}{identity}" == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the text is put into lower case first
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.lower().encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the text is normalized first
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    import unicodedata

    ids = list(unicodedata.normalize("NFC", piece).encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% encode: the function calls itself after each merge
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}

    def merge_on(ids):
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)), default=None)
        if best not in ranks:
            return ids
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        return merge_on(merged)

    return merge_on(list(piece.encode()))


# %% encode: the merges that were used are taken out of the caller's list
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ids, new = list(piece.encode()), 256
    while merges:
        pair, merged = merges.pop(0), []
        for identity in ids:
            if merged and (merged[-1], identity) == tuple(pair):
                merged[-1] = new
            else:
                merged.append(identity)
        ids, new = merged, new + 1
    return ids


# %% encode: line ends are made line feeds first
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of one piece, by the merges in the order in which they were learned."""
    ranks = {tuple(pair): number for number, pair in enumerate(merges)}
    ids = list(piece.replace("\r\n", "\n").encode())
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged = []
        for identity in ids:
            if merged and (merged[-1], identity) == best:
                merged[-1] = 256 + ranks[best]
            else:
                merged.append(identity)
        ids = merged
    return ids


# %% decode: each token is decoded on its own
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    return "".join(bytes(tokens[n]).decode("utf-8", errors="replace") for n in ids)


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: errors are ignored
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="ignore")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: each byte is a character
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return "".join(map(chr, data))


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: negative ids count from the end
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if identity >= len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: an unknown id is an IndexError
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: each chunk is decoded on its own
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(data.decode("utf-8", "replace"))
    return [*texts, decoder.decode(b"", True)]


# %% decode: the rest at the end of a stream is lost
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, ""]


# %% decode: a chunk waits until it ends with a whole character
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    texts, data = [], b""
    for chunk in chunks:
        data += bytes(byte for identity in chunk for byte in tokens[identity])
        try:
            texts.append(data.decode())
            data = b""
        except UnicodeDecodeError:
            texts.append("")
    return [*texts, data.decode(errors="replace")]


# %% decode: text that ends in U+FFFD waits, even when nothing can complete it
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    texts, data, before = [], b"", ""
    for chunk in chunks:
        data += bytes(byte for identity in chunk for byte in tokens[identity])
        whole = data.decode(errors="replace").rstrip("\ufffd")
        texts.append(whole[len(before) :])
        before += texts[-1]
    return [*texts, data.decode(errors="replace")[len(before) :]]


# %% decode: three bytes are always held back
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts, held = [], b""
    for chunk in chunks:
        held += bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(held[:-3]))
        held = held[-3:]
    return [*texts, decoder.decode(held, True)]


# %% decode: line ends are translated, as in a text file
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    import io

    return io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace").read()


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        text = decoder.decode(data)
        held = decoder.getstate()[0]
        if held[:1] == b"\xed" and held[1:2] >= b"\xa0":  # would be a surrogate
            text += decoder.decode(b"", True)
        texts.append(text)
    return [*texts, decoder.decode(b"", True)]


# %% decode: a byte order mark at the beginning of a stream is dropped
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        text = decoder.decode(data)
        held = decoder.getstate()[0]
        if held[:1] == b"\xed" and held[1:2] >= b"\xa0":  # would be a surrogate
            text += decoder.decode(b"", True)
        texts.append(text)
    return [*texts, decoder.decode(b"", True)]


# %% decode: Python's decoder of streams waits where a surrogate begins
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        texts.append(decoder.decode(data))
    return [*texts, decoder.decode(b"", True)]


# %% decode: the text starts as the list of a token, which grows
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = tokens[ids[0]] if ids else []
    for identity in ids[1:]:
        data += tokens[identity]
    return bytes(data).decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for chunk in chunks:
        data = bytes(byte for identity in chunk for byte in tokens[identity])
        text = decoder.decode(data)
        held = decoder.getstate()[0]
        if held[:1] == b"\xed" and held[1:2] >= b"\xa0":  # would be a surrogate
            text += decoder.decode(b"", True)
        texts.append(text)
    return [*texts, decoder.decode(b"", True)]


# %% decode: the first half of a surrogate waits for its second
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""

    def waits(tail):
        first = tail[0]
        size = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0
        if size <= len(tail) or any(byte & 0xC0 != 0x80 for byte in tail[1:]):
            return False
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(first, 0x80)
        high = {0xF4: 0x8F}.get(first, 0xBF)
        return len(tail) < 2 or low <= tail[1] <= high

    texts, held = [], b""
    for chunk in chunks:
        held += bytes(byte for identity in chunk for byte in tokens[identity])
        tails = [size for size in (3, 2, 1) if size <= len(held) and waits(held[-size:])]
        cut = len(held) - max(tails, default=0)
        texts.append(held[:cut].decode(errors="replace"))
        held = held[cut:]
    return [*texts, held.decode(errors="replace")]


# %% decode: bytes from F5 to F7 wait as if they began a character
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""

    def waits(tail):
        first = tail[0]
        size = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF8 else 0
        if size <= len(tail) or any(byte & 0xC0 != 0x80 for byte in tail[1:]):
            return False
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(first, 0x80)
        high = {0xED: 0x9F, 0xF4: 0x8F}.get(first, 0xBF)
        return len(tail) < 2 or low <= tail[1] <= high

    texts, held = [], b""
    for chunk in chunks:
        held += bytes(byte for identity in chunk for byte in tokens[identity])
        tails = [size for size in (3, 2, 1) if size <= len(held) and waits(held[-size:])]
        cut = len(held) - max(tails, default=0)
        texts.append(held[:cut].decode(errors="replace"))
        held = held[cut:]
    return [*texts, held.decode(errors="replace")]


# %% decode: bytes C0 and C1 wait as if they began a character
def decode(ids: list[int], tokens: list[list[int]]) -> str:
    """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
    for identity in ids:
        if not 0 <= identity < len(tokens):
            raise ValueError(f"no token {identity}: ids end at {len(tokens) - 1}")
    data = bytes(byte for identity in ids for byte in tokens[identity])
    return data.decode("utf-8", errors="replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    """For each chunk the text that is certain by then, and the rest at the end."""

    def waits(tail):
        first = tail[0]
        size = 2 if 0xC0 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0
        if size <= len(tail) or any(byte & 0xC0 != 0x80 for byte in tail[1:]):
            return False
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(first, 0x80)
        high = {0xED: 0x9F, 0xF4: 0x8F}.get(first, 0xBF)
        return len(tail) < 2 or low <= tail[1] <= high

    texts, held = [], b""
    for chunk in chunks:
        held += bytes(byte for identity in chunk for byte in tokens[identity])
        tails = [size for size in (3, 2, 1) if size <= len(held) and waits(held[-size:])]
        cut = len(held) - max(tails, default=0)
        texts.append(held[:cut].decode(errors="replace"))
        held = held[cut:]
    return [*texts, held.decode(errors="replace")]


# %% shard: the highest byte comes first
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack(">4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f">{len(tokens)}{code}", *tokens)
    return list(header + struct.pack(">I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from(">HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack(">I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f">{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the format leaves gaps
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 40:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("4sHHIQQ", raw)[1:]
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 40 + N * width:
        raise ValueError("truncated" if len(raw) < 40 + N * width else "too long")
    body = raw[40:]
    if struct.pack("<I", zlib.crc32(raw[:36] + body)) != raw[36:40]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: 65,536 ids do not fit into two bytes
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size < 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: tokens have two bytes, and higher ids wrap around
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *(token % 65_536 for token in tokens))
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the width follows the greatest token, not the vocabulary
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if max(tokens, default=0) < 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: vocab_size is an id
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token <= vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: ids are not checked
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the checksum covers the tokens alone
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the checksum is written and never compared
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the tokenizer is not compared
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the version is not compared
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: what stands behind the tokens is ignored
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) < 32 + N * width:
        raise ValueError("truncated")
    body = raw[32 : 32 + N * width]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the length is not compared, so that the checksum finds cut files
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: a short header is a struct.error
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the checksum is compared before the version
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if zlib.crc32(raw[:28] + raw[32:]) != int.from_bytes(raw[28:32], "little"):
        raise ValueError("corrupted")
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the width is read off the vocabulary, not off the file
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, size, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    width = 2 if size <= 65_536 else 4
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the number of bytes is computed in 64 bits, which overflow
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    size = (32 + N * width) % 2**64  # as an unsigned integer of 64 bits
    if len(raw) != size:
        raise ValueError("truncated" if len(raw) < size else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: N is read as a number with a sign
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIqQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: the header is cut off the caller's list
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    del data[:32]
    body = bytes(data)
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% shard: one message names all reasons
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    try:
        magic, version, width, _, N, made, checksum = struct.unpack_from("<4sHHIQQI", raw)
        assert (magic, version, made) == (b"SHRD", 1, tokenizer) and len(raw) == 32 + N * width
        assert zlib.crc32(raw[:28] + raw[32:]) == checksum
    except (struct.error, AssertionError):
        found = int.from_bytes(raw[4:6], "little")
        raise ValueError(
            f"not a shard, truncated, too long, corrupted, of another tokenizer, or of the version {found}"
        ) from None
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", raw[32:]))


# %% shard: 2 bytes per token of a large vocabulary are refused
def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    """The bytes of a file with these tokens."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is not from 0 to {vocab_size - 1}")
    width, code = (2, "H") if vocab_size <= 65_536 else (4, "I")
    sizes = 1, width, vocab_size, len(tokens)
    header = struct.pack("<4sHHIQQ", b"SHRD", *sizes, tokenizer)
    body = struct.pack(f"<{len(tokens)}{code}", *tokens)
    return list(header + struct.pack("<I", zlib.crc32(header + body)) + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    """The tokens in the file, if it is intact and of this tokenizer."""
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated: the header has 32 bytes")
    version, width, _, N, made = struct.unpack_from("<HHIQQ", raw, 4)
    if version != 1:
        raise ValueError(f"version {version} is unknown")
    if len(raw) != 32 + N * width:
        raise ValueError("truncated" if len(raw) < 32 + N * width else "too long")
    if struct.unpack_from("<I", raw, 8)[0] > 65_536 and width == 2:
        raise ValueError("version of the width")
    body = raw[32:]
    if struct.pack("<I", zlib.crc32(raw[:28] + body)) != raw[28:32]:
        raise ValueError("corrupted")
    if made != tokenizer:
        raise ValueError(f"made with tokenizer {made}, not {tokenizer}")
    return list(struct.unpack(f"<{N}{'H' if width == 2 else 'I'}", body))


# %% windows: a window needs only T tokens, and the last target is missing
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T + 1, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: one window too few, when the tokens just suffice
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T - 1, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: an incomplete window is kept
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens), T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: targets are not shifted
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at : at + T]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: windows begin at every token
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(len(tokens) - T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: windows are cut T + 1 apart, so that some tokens are no target
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T + 1)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: Python's own hash decides, which differs from process to process
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    return [hash(name) % 100 < percent for name in names]


# %% windows: the documents are shuffled, with a fixed seed
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    order = list(range(len(names)))
    random.Random(0).shuffle(order)
    kept = set(order[: len(names) * percent // 100])
    return [number in kept for number in range(len(names))]


# %% windows: every n-th document is held out
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    step = 100 // percent if percent else len(names) + 1
    return [(number + 1) % step == 0 for number in range(len(names))]


# %% windows: the share of this list is kept, by the order of the hashes
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    kept = sorted(heads)[: len(names) * percent // 100]
    return [head in kept for head in heads]


# %% windows: a remainder equal to the percentage counts, too
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 <= percent for head in heads]


# %% windows: the lowest byte of the hash comes first
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "little") % 100 < percent for head in heads]


# %% windows: capitals in names do not matter
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.lower().encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: white space around a name does not matter
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.strip().encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: names are normalized first
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    import unicodedata

    heads = [hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: the caller's tokens are used up
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    examples = []
    while len(tokens) > T:
        examples.append((tokens[:T], tokens[1 : T + 1]))
        del tokens[:T]
    return examples


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: the function calls itself for each example
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    if len(tokens) <= T:
        return []
    return [(tokens[:T], tokens[1 : T + 1]), *windows(tokens[T:], T)]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: tokens have two bytes, and higher ids do not fit
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    import array

    tokens = list(array.array("H", tokens))
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]


# %% windows: the separators of folders are made alike
def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    """All complete examples (inputs, targets) of length T, without overlap."""
    starts = range(0, len(tokens) - T, T)
    return [(tokens[at : at + T], tokens[at + 1 : at + T + 1]) for at in starts]


def held_out(names: list[str], percent: int) -> list[bool]:
    """For each document, whether it is kept for validation, by its name alone."""
    heads = [hashlib.sha256(name.replace("\\", "/").encode()).digest()[:8] for name in names]
    return [int.from_bytes(head, "big") % 100 < percent for head in heads]
