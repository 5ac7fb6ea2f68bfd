"""Right answers to the exercises of 02_tokenization that differ from the reference.

Each cell is the whole solution cell of a question, with what is different as its title. It must earn full marks.
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


# %% utf8: Python's own encoder behind the checks, and an error class of its own
class NotEncodable(ValueError):
    def __init__(self, point):
        super().__init__(f"{point} is negative" if point < 0 else f"U+{point:04X} does not exist in UTF-8")


def utf8_encode(code_points: list[int]) -> list[int]:
    for point in code_points:
        if not (0 <= point < 0xD800 or 0xE000 <= point < 0x110000):
            raise NotEncodable(point)
    return list("".join(chr(point) for point in code_points).encode("utf-8"))


# %% utf8: six bits at a time, from the end
def utf8_encode(code_points: list[int]) -> list[int]:
    data = []
    for point in code_points:
        if point < 0 or point >> 11 == 0b11011 or point >> 16 > 0x10:
            raise ValueError(str(point) if point < 0 else "U+" + hex(point)[2:].upper())
        size = 1 + sum(point >= limit for limit in (1 << 7, 1 << 11, 1 << 16))
        tail = []
        for _ in range(size - 1):
            tail.insert(0, 0x80 + point % 64)
            point //= 64
        data += [(0, 0, 0xC0, 0xE0, 0xF0)[size] + point, *tail]
    return data


# %% pretokenize: a loop that looks for the next name, and helpers named like other questions' functions
GPT2 = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")


def encode(stretch):
    return [match.group() for match in GPT2.finditer(stretch)]


def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    pieces, behind, at = [], 0, 0
    while at < len(text):
        name = max((name for name in special_tokens if text.startswith(name, at)), key=len, default=None)
        if name is None:
            at += 1
            continue
        pieces += [*encode(text[behind:at]), name]
        behind = at = at + len(name)
    return pieces + encode(text[behind:])


# %% pretokenize: names in reverse alphabetical order, and rules with look-ahead
def pretokenize(text: str, special_tokens: list[str]) -> list[str]:
    rules = regex.compile(
        r"'(?:[stmd]|re|ve|ll)|\x20?(?:\p{L}+|\p{N}+|(?:(?![\p{L}\p{N}])\S)+)|\s+(?=\s\S)|\s+", flags=regex.VERSION1
    )
    names = "|".join(regex.escape(name, special_only=True) for name in sorted(set(special_tokens))[::-1])
    pieces, behind = [], 0
    for match in regex.finditer(names, text) if names else ():
        pieces += rules.findall(text[behind : match.start()])
        pieces.append(match[0])
        behind = match.end()
    return pieces + rules.findall(text[behind:])


# %% pairs: characters stand for ids in merge, and rows are named tuples
from typing import NamedTuple


class Row(NamedTuple):
    left: int
    right: int
    count: int


def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    table = {}
    for word, frequency in zip(words, frequencies):
        for place in range(len(word) - 1):
            pair = word[place], word[place + 1]
            table[pair] = table.get(pair, 0) + frequency
    return sorted(Row(*pair, count) for pair, count in table.items())


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    left, right = pair
    merged, skip = [], False
    for place, identity in enumerate(ids):
        if skip:
            skip = False
        elif identity == left and ids[place + 1 : place + 2] == [right]:
            merged.append(new_id)
            skip = True
        else:
            merged.append(identity)
    return merged


# %% pairs: a dictionary of the words, and an iterator
def pair_counts(words: list[list[int]], frequencies: list[int]) -> list[tuple[int, int, int]]:
    table = dict(zip(map(tuple, words), frequencies))
    counts = collections.defaultdict(lambda: collections.defaultdict(int))
    for word, times in table.items():
        for left, right in zip(word[:-1], word[1:]):
            counts[left][right] += times
    return [[left, right, counts[left][right]] for left in sorted(counts) for right in sorted(counts[left])]


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    rest, merged = iter([*ids, None]), []
    held = next(rest)
    while held is not None:
        following = next(rest)
        if (held, following) == tuple(pair):
            merged.append(new_id)
            held = next(rest)
        else:
            merged.append(held)
            held = following
    return merged


# %% train: characters stand for ids, and strings are replaced
def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    room = vocab_size - len(special_tokens) - 256
    if room < 0:
        raise ValueError(f"{vocab_size} ids are too few: {vocab_size - room} are needed")
    pattern = "|".join(re.escape(name) for name in sorted(special_tokens, reverse=True))
    rows = collections.Counter()
    for text in texts:
        for stretch in re.split(pattern, text) if pattern else [text]:
            for piece in re.findall(r" ?[^ ]+| +", stretch):
                rows[piece.encode().decode("latin-1")] += 1
    merges = []
    for new in range(256, 256 + room):
        counts = collections.Counter()
        for row, times in rows.items():
            for pair in zip(row, row[1:]):
                counts["".join(pair)] += times
        if not counts:
            break
        best = sorted(counts, key=lambda pair: (-counts[pair], pair))[0]
        rows = {row.replace(best, chr(new)): times for row, times in rows.items()}
        merges.append((ord(best[0]), ord(best[1])))
    return merges


# %% train: counts are corrected after each merge, and a heap finds the next
class VocabularyTooSmall(ValueError):
    pass


def train_bpe(texts: list[str], vocab_size: int, special_tokens: list[str]) -> list[tuple[int, int]]:
    smallest = len(special_tokens) + 256
    if vocab_size < smallest:
        raise VocabularyTooSmall(f"{vocab_size=} is less than {smallest}")
    pieces = collections.Counter()
    for text in texts:
        stretch, at = "", 0
        while at <= len(text):
            name = max((name for name in special_tokens if text.startswith(name, at)), key=len, default="")
            if name or at == len(text):
                pieces.update(re.findall(r" ?[^ ]+| +", stretch))
                stretch = ""
            else:
                stretch += text[at]
            at += len(name) or 1
    words, times = [list(piece.encode()) for piece in pieces], list(pieces.values())
    counts, where = collections.Counter(), collections.defaultdict(set)
    for number, word in enumerate(words):
        for pair in zip(word, word[1:]):
            counts[pair] += times[number]
            where[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < vocab_size - smallest:
        count, best = heapq.heappop(heap)
        if counts[best] != -count or not count:
            continue
        new, touched = 256 + len(merges), set()
        merges.append(best)
        for number in where.pop(best):
            word, merged = words[number], []
            for identity in word:
                if merged and (merged[-1], identity) == best:
                    merged[-1] = new
                else:
                    merged.append(identity)
            for pair in zip(word, word[1:]):
                counts[pair] -= times[number]
                touched.add(pair)
            for pair in zip(merged, merged[1:]):
                counts[pair] += times[number]
                where[pair].add(number)
                touched.add(pair)
            words[number] = merged
        for pair in touched:
            heapq.heappush(heap, (-counts[pair], pair))
    return merges


# %% encode: all merges in turn, on a text whose characters are ids
def encode(piece: str, merges: list[tuple[int, int]]) -> list[int]:
    row = "".join(map(chr, piece.encode("utf-8")))
    for new, (left, right) in enumerate(merges, start=256):
        row = row.replace(chr(left) + chr(right), chr(new))
    return [ord(sign) for sign in row]


# %% encode: neighbors are linked, and a heap holds the pairs that can be merged
def encode(piece: str, merges: list[tuple[int, int]]) -> tuple[int, ...]:
    ranks = {(left, right): rank for rank, (left, right) in enumerate(merges)}
    ids = list(piece.encode())
    after, before = list(range(1, len(ids) + 1)), list(range(-1, len(ids) - 1))
    heap = []

    def offer(at):
        if 0 <= at and after[at] < len(ids) and (ids[at], ids[after[at]]) in ranks:
            heapq.heappush(heap, (ranks[ids[at], ids[after[at]]], at))

    for at in range(len(ids)):
        offer(at)
    while heap:
        rank, at = heapq.heappop(heap)
        other = after[at]
        if ids[at] is None or other >= len(ids) or ranks.get((ids[at], ids[other])) != rank:
            continue
        ids[at], ids[other] = 256 + rank, None
        after[at] = after[other]
        if after[at] < len(ids):
            before[after[at]] = at
        offer(before[at])
        offer(at)
    return tuple(identity for identity in ids if identity is not None)


# %% decode: the limits of the second byte are written out, and an error of two kinds
class NoToken(KeyError, ValueError):
    pass


def decode(ids: list[int], tokens: list[list[int]]) -> str:
    data = bytearray()
    for identity in ids:
        if identity < 0 or identity >= len(tokens):
            raise NoToken(f"the id {identity} has no token")
        data.extend(tokens[identity])
    return str(data, "utf-8", "replace")


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    def waits(tail):
        first = tail[0]
        size = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0
        if size <= len(tail) or any(byte & 0xC0 != 0x80 for byte in tail[1:]):
            return False
        low, high = {0xE0: 0xA0, 0xF0: 0x90}.get(first, 0x80), {0xED: 0x9F, 0xF4: 0x8F}.get(first, 0xBF)
        return len(tail) < 2 or low <= tail[1] <= high

    texts, held = [], b""
    for chunk in chunks:
        held += bytes(byte for identity in chunk for byte in tokens[identity])
        cut = len(held) - max((size for size in (3, 2, 1) if size <= len(held) and waits(held[-size:])), default=0)
        texts.append(held[:cut].decode("utf-8", "replace"))
        held = held[cut:]
    return [*texts, held.decode("utf-8", "replace")]


# %% decode: everything is decoded anew for each chunk, as far as it is certain
def joined(ids, tokens):
    return bytes(sum((tokens[identity] for identity in ids), []))


def decode(ids: list[int], tokens: list[list[int]]) -> str:
    unknown = [identity for identity in ids if identity not in range(len(tokens))]
    if unknown:
        raise ValueError(f"unknown: {unknown}")
    return codecs.decode(joined(ids, tokens), "utf-8", "replace")


def unfinished(data):
    """How many bytes at the end of the data may become one character."""
    for size in range(min(3, len(data)), 0, -1):
        for first in (b"\x80", b"\xa0", b"\xbf", b"\x90", b"\x8f", b""):
            for more in (b"", b"\x80", b"\x80\x80"):
                try:
                    (data[-size:] + first + more).decode()
                except UnicodeDecodeError:
                    continue
                if first + more and len((data[-size:] + first + more).decode()) == 1:
                    return size
    return 0


def decode_stream(chunks: list[list[int]], tokens: list[list[int]]) -> list[str]:
    data, done, texts = b"", 0, []
    for chunk in chunks:
        data += joined(chunk, tokens)
        text = data[: len(data) - unfinished(data)].decode("utf-8", "replace")
        texts.append(text[done:])
        done = len(text)
    return [*texts, data.decode("utf-8", "replace")[done:]]


# %% shard: int.to_bytes field by field, and error classes of its own
class BadShard(ValueError):
    pass


class WrongTokenizer(BadShard):
    pass


def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    if wrong := [token for token in tokens if token < 0 or token >= vocab_size]:
        raise BadShard(f"no id of this vocabulary: {wrong[0]}")
    width = 4 if vocab_size > 1 << 16 else 2
    data = bytearray(b"SHRD")
    for value, size in ((1, 2), (width, 2), (vocab_size, 4), (len(tokens), 8), (tokenizer, 8)):
        data += value.to_bytes(size, "little")
    body = b"".join(token.to_bytes(width, "little") for token in tokens)
    return [*data, *zlib.crc32(body, zlib.crc32(data)).to_bytes(4, "little"), *body]


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    raw = bytes(data)

    def field(first, last):
        return int.from_bytes(raw[first:last], "little")

    if not raw.startswith(b"SHRD"):
        raise BadShard("this is not a shard")
    if len(raw) < 32:
        raise BadShard("the file is truncated")
    if field(4, 6) != 1:
        raise BadShard(f"unknown version: {field(4, 6)}")
    missing = 32 + field(12, 20) * field(6, 8) - len(raw)
    if missing > 0:
        raise BadShard(f"truncated by {missing} bytes")
    if missing < 0:
        raise BadShard(f"too long by {-missing} bytes")
    if zlib.crc32(raw[32:], zlib.crc32(raw[:28])) != field(28, 32):
        raise BadShard("the file is corrupted")
    if field(20, 28) != tokenizer:
        raise WrongTokenizer("it belongs to another tokenizer")
    width = field(6, 8)
    return [field(at, at + width) for at in range(32, len(raw), width)]


# %% shard: NumPy's types
import numpy as np

HEADER = np.dtype([("magic", "S4"), ("version", "<u2"), ("width", "<u2"), ("size", "<u4"), ("N", "<u8"), ("tokenizer", "<u8")])


def write_shard(tokens: list[int], vocab_size: int, tokenizer: int) -> list[int]:
    for token in tokens:
        if token not in range(vocab_size):
            raise ValueError(f"{token} is out of range")
    kind = np.dtype("<u2" if vocab_size <= 65_536 else "<u4")
    header = np.array((b"SHRD", 1, kind.itemsize, vocab_size, len(tokens), tokenizer), dtype=HEADER).tobytes()
    body = np.array(tokens, dtype=kind).tobytes()
    return list(header + np.array(zlib.crc32(header + body), dtype="<u4").tobytes() + body)


def read_shard(data: list[int], tokenizer: int) -> list[int]:
    raw = bytes(data)
    if raw[:4] != b"SHRD":
        raise ValueError("not a shard")
    if len(raw) < 32:
        raise ValueError("truncated")
    header = np.frombuffer(raw[:28], dtype=HEADER)[0]
    if header["version"] != 1:
        raise ValueError(f"version {header['version']}")
    needed = 32 + int(header["N"]) * int(header["width"])
    if len(raw) != needed:
        raise ValueError("too long" if len(raw) > needed else "truncated")
    if zlib.crc32(raw[:28] + raw[32:]) != int.from_bytes(raw[28:32], "little"):
        raise ValueError("corrupted")
    if int(header["tokenizer"]) != tokenizer:
        raise ValueError("another tokenizer")
    return np.frombuffer(raw[32:], dtype=f"<u{header['width']}").tolist()


# %% windows: tensors are unfolded, and digits are read
import torch


def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    N = (len(tokens) - 1) // T if tokens else 0
    inputs = torch.tensor(tokens[: N * T], dtype=torch.int64).reshape(N, T).tolist()
    targets = torch.tensor(tokens[1 : N * T + 1], dtype=torch.int64).reshape(N, T).tolist()
    return list(zip(inputs, targets))


def held_out(names: list[str], percent: int) -> list[bool]:
    return [int(hashlib.sha256(bytes(name, "utf-8")).hexdigest()[:16], base=16) % 100 < percent for name in names]


# %% windows: a loop with named tuples, and one decision per different name
from typing import NamedTuple


class Example(NamedTuple):
    inputs: list[int]
    targets: list[int]


def windows(tokens: list[int], T: int) -> list[tuple[list[int], list[int]]]:
    examples, at = [], 0
    while at + T < len(tokens):
        examples.append(Example(tuple(tokens[at : at + T]), tuple(tokens[at + 1 : at + 1 + T])))
        at += T
    return examples


def held_out(names: list[str], percent: int) -> list[bool]:
    decided = {}
    for name in set(names):
        (number,) = struct.unpack(">Q", hashlib.sha256(name.encode()).digest()[:8])
        decided[name] = divmod(number, 100)[1] in range(percent)
    return list(map(decided.get, names))
