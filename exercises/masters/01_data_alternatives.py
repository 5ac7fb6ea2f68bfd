"""Right answers to the exercises of 01_data that differ from the reference.

Each cell is the whole solution cell of a question, with what is different as its title. It must earn full marks.
"""

import collections
import hashlib
import math
import re

import torch
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% decode: a named tuple, and a table of windows-1252
import codecs
from typing import NamedTuple


class Page(NamedTuple):
    text: str
    encoding: str


MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
WESTERN = frozenset(["windows-1252", "cp1252", "iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii"])


def fits(raw, name):
    try:
        "".encode(name)
        return str(raw, name)
    except (LookupError, ValueError):
        return None


def decode(data, charset=None):
    raw = bytes(data)
    for mark in MARKS:
        if raw[: len(mark)] == mark:
            return Page(raw[len(mark) :].decode(MARKS[mark], errors="replace"), MARKS[mark])
    names = [charset.strip().lower()] if charset and charset.strip().lower() not in WESTERN else []
    for name in [*names, "utf-8"]:
        text = fits(raw, name)
        if text is not None:
            return Page(text, name)
    table = {code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(256)}
    return Page(raw.decode("latin-1").translate(table), "windows-1252")


# %% decode: step by step, with a handler for the five bytes
import codecs


def keep(error):
    return "".join(map(chr, error.object[error.start : error.end])), error.end


codecs.register_error("keep", keep)


def decode(data: list[int], charset: str | None = None) -> tuple[str, str]:
    raw = bytes(data)
    if raw[:3] == b"\xef\xbb\xbf":
        return raw[3:].decode("utf-8", "replace"), "utf-8"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        name = "utf-16-le" if raw[0] == 0xFF else "utf-16-be"
        return raw[2:].decode(name, "replace"), name
    declared = (charset or "").strip().lower()
    special = ("windows-1252", "cp1252", "iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii")
    if declared and declared not in special:
        try:
            known = codecs.lookup(declared)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        if known:
            try:
                return raw.decode(declared), declared
            except UnicodeError:
                pass
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return raw.decode("cp1252", "keep"), "windows-1252"


# %% gopher: products and fractions, regular expressions, and one table of rules
from fractions import Fraction


def gopher(text: str, words: list[str]) -> str | None:
    proper = list(filter(lambda word: re.search(r"[^\W_]", word), words))
    lines = text.splitlines()
    if len(proper) < 50 or len(proper) > 100_000:
        return "word count"
    letters = len("".join(proper))
    ellipses = len(re.findall(r"\.\.\.|…", text))
    bullets = [line for line in lines if line.lstrip()[:1] in ("•", "-") and line.strip()]
    trailing = [line for line in lines if re.search(r"(\.\.\.|…)\s*\Z", line)]
    alphabetic = [word for word in words if any(sign.isalpha() for sign in word)]
    rules = {
        "mean word length": 3 * len(proper) <= letters <= 10 * len(proper),
        "hash signs per word": Fraction(text.count("#"), len(words)) <= Fraction(1, 10),
        "ellipses per word": 10 * ellipses <= len(words),
        "bullet lines": 10 * len(bullets) <= 9 * len(lines),
        "lines ending in an ellipsis": 10 * len(trailing) <= 3 * len(lines),
        "alphabetic words": 10 * len(alphabetic) >= 8 * len(words),
        "stop words": len([stop for stop in "the be to of and that have with".split() if stop in words]) >= 2,
    }
    return next((name for name, kept in rules.items() if not kept), None)


# %% gopher: an enumeration of names, and loops
import enum


class Rule(str, enum.Enum):
    COUNT = "word count"
    LENGTH = "mean word length"
    HASHES = "hash signs per word"
    ELLIPSES = "ellipses per word"
    BULLETS = "bullet lines"
    TRAILING = "lines ending in an ellipsis"
    ALPHABETIC = "alphabetic words"
    STOPS = "stop words"


def share(items, condition):
    return sum(1 for item in items if condition(item)) / len(items) if items else None


def gopher(text: str, words: list[str]) -> str | None:
    proper, length = 0, 0
    for word in words:
        for sign in word:
            if sign.isalnum():
                proper, length = proper + 1, length + len(word)
                break
    if proper < 50 or proper > 10**5:
        return Rule.COUNT.value
    if length / proper < 3 or length / proper > 10:
        return Rule.LENGTH.value
    if text.count("#") / len(words) > 0.1:
        return Rule.HASHES.value
    if text.replace("...", "…").count("…") / len(words) > 0.1:
        return Rule.ELLIPSES.value
    lines = text.splitlines()
    if lines and share(lines, lambda line: line.lstrip().startswith(("•", "-"))) > 0.9:
        return Rule.BULLETS.value
    if lines and share(lines, lambda line: line.rstrip().endswith(("…", "..."))) > 0.3:
        return Rule.TRAILING.value
    if share(words, lambda word: word.upper() != word.lower() or any(map(str.isalpha, word))) < 0.8:
        return Rule.ALPHABETIC.value
    found = {"the", "be", "to", "of", "and", "that", "have", "with"}.intersection(words)
    return None if len(found) > 1 else Rule.STOPS.value


# %% repetition: words become numbers, and a named tuple is returned
from typing import NamedTuple


class Repetition(NamedTuple):
    top: float
    duplicate: float


def repetition(text, words, n):
    if not text or n > len(words):
        return Repetition(0, 0)
    numbers = {}
    row = [numbers.setdefault(word, len(numbers)) for word in words]
    counts = {}
    for ngram in zip(*(row[start:] for start in range(n))):
        counts[ngram] = counts.get(ngram, 0) + 1
    most = max(counts.values())
    ngram = next(ngram for ngram, count in counts.items() if count == most)
    spelled = list(numbers)
    top = most * (sum(len(spelled[number]) for number in ngram) + n - 1) / len(text)
    seen, characters, at = set(), 0, 0
    while at + n <= len(row):
        ngram = tuple(row[at : at + n])
        if ngram in seen:
            characters += sum(len(word) for word in words[at : at + n])
            at += n
            continue
        seen.add(ngram)
        at += 1
    return Repetition(top, characters / len(text))


# %% repetition: a list is returned, most_common, and an index of the words that are duplicate
def repetition(text: str, words: list[str], n: int) -> tuple[float, float]:
    ngrams = list(map(tuple, (words[start : start + n] for start in range(len(words) + 1 - n))))
    if not ngrams or text == "":
        return [0.0, 0.0]
    ((first, times),) = collections.Counter(ngrams).most_common(1)
    met, hidden, skip = {}, set(), 0
    for place, ngram in enumerate(ngrams):
        if place < skip:
            continue
        if met.setdefault(ngram, place) != place:
            hidden.update(range(place, place + n))
            skip = place + n
    return [times * len(" ".join(first)) / len(text), sum(len(words[place]) for place in hidden) / len(text)]


# %% minhash: 64-bit integers that wrap around, for all shingles and maps at once
import struct


def words_of(text):
    return [match.group() for match in re.finditer(r"\w+", text.lower())]


def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    words = words_of(text)
    if not words:
        return [0xFFFFFFFF for _ in permutations]
    runs = zip(*(words[start:] for start in range(n))) if len(words) >= n else [words]
    hashes = torch.tensor([struct.unpack_from("<I", hashlib.sha1(" ".join(run).encode()).digest())[0] for run in runs])
    maps = torch.tensor(permutations)
    return torch.bitwise_and(maps[:, :1] * hashes + maps[:, 1:], 0xFFFFFFFF).min(dim=1).values.tolist()


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    if not (words_of(first) and words_of(second)):
        return 0
    one, other = (torch.tensor(minhash(text, permutations, n)) for text in (first, second))
    return (one == other).double().mean().item()


# %% minhash: loops, and a helper that is shared
def shingles(text, n):
    words = re.findall(r"\w+", text.lower())
    if not words:
        return set()
    if len(words) <= n:
        return {" ".join(words)}
    return {" ".join(words[place : place + n]) for place in range(len(words) - n + 1)}


def number(shingle):
    digest = hashlib.sha1(bytes(shingle, "utf-8")).hexdigest()
    return int(digest[6:8] + digest[4:6] + digest[2:4] + digest[0:2], 16)


def signature(found, permutations):
    result = []
    for a, b in permutations:
        smallest = 2**32 - 1
        for shingle in found:
            smallest = min(smallest, (a * number(shingle) + b) % 4294967296)
        result.append(smallest)
    return result


def minhash(text: str, permutations: list[tuple[int, int]], n: int = 5) -> list[int]:
    return signature(shingles(text, n), permutations)


def similarity(first: str, second: str, permutations: list[tuple[int, int]], n: int = 5) -> float:
    one, other = shingles(first, n), shingles(second, n)
    if not one or not other:
        return 0.0
    same = [a == b for a, b in zip(signature(one, permutations), signature(other, permutations))]
    return same.count(True) / len(same)


# %% bands: torch.unique finds equal rows, and an error class of its own
import itertools


class TooFewNumbers(ValueError):
    pass


def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    N, P = signatures.size()
    if P < bands * rows:
        raise TooFewNumbers(f"a signature has {P} numbers, and {bands * rows} are asked for")
    if N < 2:
        return []
    found = set()
    for band in signatures[:, : bands * rows].split(rows, dim=1):
        _, group, sizes = torch.unique(band, dim=0, return_inverse=True, return_counts=True)
        members = collections.defaultdict(list)
        for document in (sizes[group] > 1).nonzero().flatten().tolist():
            members[int(group[document])].append(document)
        for same in members.values():
            found |= set(itertools.combinations(same, 2))
    return sorted(found)


# %% bands: bytes as keys, one dictionary for all bands, and pairs as named tuples
from typing import NamedTuple


class Candidates(NamedTuple):
    i: int
    j: int


def candidate_pairs(signatures: Tensor, bands: int, rows: int) -> list[tuple[int, int]]:
    if bands * rows > signatures.shape[-1]:
        raise ValueError("%d numbers, not %d" % (signatures.shape[-1], bands * rows))
    table = signatures.contiguous().numpy()
    buckets = {}
    for document in range(len(table)):
        for band in range(bands):
            key = band, table[document, band * rows : (band + 1) * rows].tobytes()
            buckets.setdefault(key, []).append(document)
    pairs = {Candidates(i, j) for same in buckets.values() for at, j in enumerate(same) for i in same[:at]}
    return sorted(pairs)


# %% clusters: breadth first through the neighbors of each document
def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    neighbors = [[] for _ in range(n)]
    for i, j in pairs:
        for number in (i, j):
            if number < 0 or number >= n:
                raise ValueError(f"{number} is no document")
        neighbors[i].append(j)
        neighbors[j].append(i)
    labels = [-1] * n
    for start in range(n):
        if labels[start] >= 0:
            continue
        labels[start], queue = start, collections.deque([start])
        while queue:
            for other in neighbors[queue.popleft()]:
                if labels[other] < 0:
                    labels[other] = start
                    queue.append(other)
    return labels


# %% clusters: union by size with a find that calls itself, which stays shallow, and an error of two kinds
class NoSuchDocument(IndexError, ValueError):
    pass


def cluster_labels(pairs: list[tuple[int, int]], n: int) -> list[int]:
    parent, size, least = list(range(n)), [1] * n, list(range(n))

    def find(document):
        return document if parent[document] == document else find(parent[document])

    for i, j in pairs:
        for number in (i, j):
            if number not in range(n):
                raise NoSuchDocument(number)
        i, j = find(i), find(j)
        if i == j:
            continue
        if size[i] < size[j]:
            i, j = j, i
        parent[j], size[i], least[i] = i, size[i] + size[j], min(least[i], least[j])
    return [least[find(document)] for document in range(n)]


# %% mask: functions check what the pattern finds, and a named tuple
from typing import NamedTuple

WORD = "A-Za-z0-9_"


class Masked(NamedTuple):
    text: str
    emails: int
    addresses: int


def mask(text: str) -> tuple[str, int, int]:
    counts = collections.Counter()

    def email(match):
        counts["email"] += 1
        return "[email]"

    def address(match):
        if any(int(number) > 255 for number in match[0].split(".")):
            return match[0]
        counts["ip"] += 1
        return "[ip]"

    label = "(?!-)[A-Za-z0-9-]+(?<!-)"
    text = re.sub(rf"(?<![{WORD}%+])[{WORD}%+][{WORD}%+.-]*@(?:{label}\.)+[A-Za-z][A-Za-z]+(?![{WORD}-]|\.[{WORD}])", email, text)
    text = re.sub(rf"(?<![{WORD}.])[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?![{WORD}]|\.[{WORD}])", address, text)
    return Masked(text, counts["email"], counts["ip"])


# %% mask: the pieces between addresses are collected
def mask(text: str) -> tuple[str, int, int]:
    octet = "(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5])"
    name = r"(?<![a-zA-Z0-9_%+])[a-zA-Z0-9_%+][-.a-zA-Z0-9_%+]*"
    part = "(?:[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*)"
    kinds = [
        (rf"{name}@{part}(?:\.{part})*\.[a-zA-Z]{{2,}}(?![a-zA-Z0-9_-])(?!\.[a-zA-Z0-9_])", "[email]"),
        (rf"(?<![a-zA-Z0-9_.])(?:{octet}\.){{3}}{octet}(?![a-zA-Z0-9_])(?!\.[a-zA-Z0-9_])", "[ip]"),
    ]
    counts = []
    for pattern, replacement in kinds:
        pieces, behind = [], 0
        for match in re.finditer(pattern, text):
            pieces.append(text[behind : match.start()])
            behind = match.end()
        counts.append(len(pieces))
        text = replacement.join([*pieces, text[behind:]])
    return (text, *counts)


# %% logistic: a matrix of counts and torch's functions
def loss_and_gradient(texts, labels, w, b, penalty):
    D = w.numel()
    empty = torch.zeros(0, dtype=torch.long)
    counts = torch.stack([torch.bincount(torch.tensor(text) if text else empty, minlength=D) for text in texts]).double()
    y = torch.tensor(labels).double()
    z = counts @ w + b
    losses = -(y * torch.nn.functional.logsigmoid(z) + (1 - y) * torch.nn.functional.logsigmoid(-z))
    errors = (torch.sigmoid(z) - y) / len(texts)
    loss = losses.mean() + penalty * (w @ w) / 2
    return loss.item(), counts.T @ errors + penalty * w, errors.sum().item()


# %% logistic: lists of numbers, and a named tuple
from typing import NamedTuple


class Step(NamedTuple):
    loss: float
    gradient: Tensor
    slope: float


def cost(margin):
    """ln(1 + e^-margin)"""
    return math.log1p(math.exp(-margin)) if margin > 0 else -margin + math.log1p(math.exp(margin))


def loss_and_gradient(
    texts: list[list[int]], labels: list[int], w: Tensor, b: float, penalty: float
) -> tuple[float, Tensor, float]:
    weights = w.tolist()
    gradient, slope, losses = [0.0] * len(weights), 0.0, []
    for text, label in zip(texts, labels):
        sign = 2 * label - 1
        margin = sign * math.fsum([b, *(weights[bucket] for bucket in text)])
        losses.append(cost(margin))
        error = -sign * math.exp(-cost(-margin))
        for bucket in text:
            gradient[bucket] += error / len(texts)
        slope += error / len(texts)
    for bucket, weight in enumerate(weights):
        gradient[bucket] += penalty * weight
    square = math.fsum(weight**2 for weight in weights)
    return Step(math.fsum(losses) / len(texts) + penalty / 2 * square, torch.tensor(gradient, dtype=torch.float64), slope)


# %% threshold: each of the different scores is tried, the smallest first
def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    for threshold in sorted(set(scores)):
        removed = [label for score, label in zip(scores, labels) if score >= threshold]
        if sum(removed) / len(removed) >= precision:
            return threshold
    return None


# %% threshold: groups of equal scores, from the highest down
import itertools


def smallest_threshold(scores: list[float], labels: list[int], precision: float) -> float | None:
    texts = sorted(zip(scores, labels), reverse=True)
    right = removed = 0
    good = []
    for score, group in itertools.groupby(texts, key=lambda text: text[0]):
        for _, label in group:
            right, removed = right + label, removed + 1
        good += [score] if not right / removed < precision else []
    return good[-1] if good else None
