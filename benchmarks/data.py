"""Time every stage of the data pipeline against a peer on the same documents, then the whole, then its growth.

    python benchmarks/data.py [--rounds 7] [--sizes 10 20 50 100 200] [--parts stages whole growth index chain]

Stages: ours and the peer do the same documents one after the other, in an order that rotates, in each round; a comparison is
the median over the rounds of the ratio of two times (below 1: ours is faster). Both get the same word and sentence splitter,
ours, unless a row says that the peer is as shipped (with spaCy's). Whole: prose through rules, masks and deduplication, one
process, against the same chain of datatrove's own steps. Growth: the corpus, repeated with edits, from 10 to 200 MB, one
process each; time and peak memory (`VmHWM`, Linux only: `ru_maxrss` would be inherited from this process). Index: peak memory
of the search for copies, by tracemalloc, on keys without copies. Chain: near duplicates of 1,000 to 50,000 windows of 100
words that advance by 3, so that all are one cluster, from texts to decisions; the peer asks an index of what it has kept.

Prints tables and writes benchmarks/results/data-cpu.json.
"""

import argparse
import contextlib
import copy
import importlib.metadata
import io
import json
import pydoc
import random
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.logging import logger
from record import machine, paired, write_record

from llmbook.data import c4, pipeline, quality, steps
from llmbook.data.c4 import c4_filter
from llmbook.data.classifiers import toxicity_classifier, toxicity_rejection
from llmbook.data.deduplication import choose_bands, make_permutations, minhash_signature, near_duplicates, shingle_hashes
from llmbook.data.documents import jsonl_documents, make_document, open_source, parquet_documents
from llmbook.data.extraction import extract_text
from llmbook.data.language import identify_language, language_model
from llmbook.data.personal import mask_personal
from llmbook.data.quality import gopher_rejection
from llmbook.data.repetition import repetition_rule
from llmbook.preliminaries.settings import CorpusConfig

PARTS = ["stages", "whole", "growth", "index", "chain"]
PAGES = (
    "argparse calendar csv datetime email.message fractions gettext heapq imaplib inspect json logging optparse "
    "pathlib pdb pickle random shutil socket statistics tarfile textwrap typing unittest.mock uuid zipfile"
).split()


@contextlib.contextmanager
def our_splitters():
    """Give datatrove's filters our splitters of words and sentences."""
    places = [(module, "split_into_words", quality.split_words) for module in (gopher_quality_filter, gopher_repetition_filter)]
    places.append((c4_filters, "split_into_sentences", c4.split_sentences))
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, ours in places:
        setattr(module, name, lambda text, language=None, ours=ours: ours(text))
    try:
        yield
    finally:
        for (module, name, _), old in zip(places, before, strict=True):
            setattr(module, name, old)


def compare(name: str, size: int, ours, peer, peer_name: str, rounds: int) -> dict:
    """Megabytes per second of both, and the quartiles of ours/peer in time."""

    def fresh(function):
        def run():
            quality.split_words.cache_clear()
            function()

        return run

    both = paired(fresh(ours), fresh(peer), rounds)
    row = {
        "stage": name, "peer": peer_name, "megabytes": round(size / 1e6, 2),
        "ours_mb_per_s": float(f"{size / 1e6 / both['ours_s']:.3g}"),
        "peer_mb_per_s": float(f"{size / 1e6 / both['peer_s']:.3g}"),
        "time_ratio": both["time_ratio"],
    }  # fmt: skip
    print(
        f"{name:26}{row['ours_mb_per_s']:>10.3g}{row['peer_mb_per_s']:>10.3g}{row['time_ratio'][1]:>9.2f}   {peer_name}", flush=True
    )
    return row


def prose_documents() -> list[Document]:
    """The docstrings of each module of the standard library, as one document of prose."""
    import ast

    found = []
    for document in open_source("stdlib"):
        if not document.id.endswith(".py"):
            continue
        with contextlib.suppress(SyntaxError, ValueError):
            nodes = [
                node for node in ast.walk(ast.parse(document.text)) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            ]
            texts = [text for node in nodes if (text := ast.get_docstring(node))]
            if sum(map(len, texts)) > 400:
                found.append(make_document("\n\n".join(texts), document.id + ".txt"))
    return found


def each(function, items):
    def run():
        for item in items:
            function(item)

    return run


def drain(make):
    def run():
        for _ in make():
            pass

    return run


def stage_rows(rounds: int, folder: Path) -> list[dict]:
    """One comparison per stage."""
    documents = list(open_source("stdlib"))
    texts = [document.text for document in documents]
    size = sum(len(text.encode()) for text in texts)
    prose = [document.text for document in prose_documents()]
    prose_size = sum(len(text.encode()) for text in prose)
    rows = []

    def add(*arguments):
        rows.append(compare(*arguments, rounds))

    files = {form: folder / f"all.{form}" for form in ("jsonl", "parquet")}
    for form, path in files.items():
        with open(path, "wb") as file:
            (steps.save_jsonl if form == "jsonl" else steps.save_parquet)(file, documents)
    readers = {
        form: kind(str(folder), glob_pattern=path.name)
        for (form, path), kind in zip(files.items(), (JsonlReader, ParquetReader), strict=True)
    }
    add(
        "read JSON Lines",
        size,
        drain(lambda: jsonl_documents(files["jsonl"])),
        drain(lambda: readers["jsonl"].run()),
        "datatrove JsonlReader (orjson)",
    )
    add(
        "read Parquet",
        size,
        drain(lambda: parquet_documents(files["parquet"])),
        drain(lambda: readers["parquet"].run()),
        "datatrove ParquetReader",
    )

    import py3langid
    import trafilatura
    from datasketch import MinHash

    pages = [pydoc.HTMLDoc().page(name, pydoc.HTMLDoc().docmodule(pydoc.locate(name))) for name in PAGES]
    options = {"favor_precision": True, "include_comments": False, "deduplicate": True}
    add(
        "extraction",
        sum(len(p.encode()) for p in pages),
        each(extract_text, pages),
        each(lambda p: trafilatura.extract(p, **options), pages),
        "trafilatura, as datatrove calls it",
    )
    language_model()
    py3langid.classify("warm")
    heads = [text[:4000] for text in prose]
    add(
        "language",
        sum(len(h.encode()) for h in heads),
        each(identify_language, heads),
        each(py3langid.classify, heads),
        "py3langid, same first 4,000 characters",
    )

    gopher, repetition = GopherQualityFilter(), GopherRepetitionFilter()
    lines = C4QualityFilter(filter_no_terminal_punct=False)
    with our_splitters():
        add(
            "quality rules, prose",
            prose_size,
            each(gopher_rejection, prose),
            each(lambda t: gopher.filter(Document(t, "")), prose),
            "datatrove GopherQualityFilter",
        )
        add(
            "quality rules, all",
            size,
            each(gopher_rejection, texts),
            each(lambda t: gopher.filter(Document(t, "")), texts),
            "datatrove GopherQualityFilter",
        )
        add(
            "repetition, prose",
            prose_size,
            each(repetition_rule, prose),
            each(lambda t: repetition.filter(Document(t, "")), prose),
            "datatrove GopherRepetitionFilter",
        )
        add(
            "repetition, all",
            size,
            each(repetition_rule, texts),
            each(lambda t: repetition.filter(Document(t, "")), texts),
            "datatrove GopherRepetitionFilter",
        )
        add(
            "lines, prose",
            prose_size,
            each(lambda t: c4_filter(t, end_punctuation=False), prose),
            each(lambda t: lines.filter(Document(t, "")), prose),
            "datatrove C4QualityFilter",
        )
    from datatrove.utils.text import split_into_words

    split_into_words("warm", "eng")
    add(
        "quality rules, as shipped",
        prose_size,
        each(gopher_rejection, prose),
        each(lambda t: gopher.filter(Document(t, "")), prose),
        "datatrove GopherQualityFilter, spaCy",
    )
    masks = PIIFormatter()
    add("masks", size, each(mask_personal, texts), each(masks.format, texts), "datatrove PIIFormatter (no phone numbers)")
    toxicity_classifier()
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    from llmbook.data.classifiers import labelled_texts, split_passages

    vector = HashingVectorizer(analyzer="word", ngram_range=(1, 2), n_features=2**18)
    labelled = labelled_texts("toxicity")
    model = LogisticRegression().fit(vector.transform([item.text for item in labelled]), [item.label for item in labelled])
    some = [make_document(text, "a.txt") for text in prose]

    def sklearn_passages(document):
        passages = [" ".join(words) for words in split_passages(document.text)]
        if passages:
            model.predict_proba(vector.transform(passages))

    add(
        "toxicity",
        prose_size,
        each(toxicity_rejection, some),
        each(sklearn_passages, some),
        "scikit-learn HashingVectorizer + LogisticRegression",
    )

    shingles = [shingle_hashes(text) for text in texts]
    permutations = make_permutations(128)
    narrow = [(part & np.uint64(0xFFFFFFFF)).astype(np.uint32) for part in shingles]

    def datasketch_signature(hashes):
        MinHash(num_perm=128, hashfunc=int).update_batch(hashes.tolist())

    add(
        "MinHash signatures",
        size,
        each(lambda h: minhash_signature(h, permutations), shingles),
        each(datasketch_signature, narrow),
        "datasketch update_batch, same hashes, 128 permutations",
    )
    stage = MinhashDedupSignature(str(folder / "sig"), MinhashConfig())
    stage.word_tokenizer = type("Words", (), {"word_tokenize": staticmethod(quality.split_words)})()
    permutations_112 = make_permutations(14 * 8)

    def theirs(text):
        hashes = stage.get_shingles(text)
        if hashes.size:
            stage.get_signature(hashes)

    add(
        "shingles and signatures",
        size,
        each(lambda t: minhash_signature(shingle_hashes(t), permutations_112), texts),
        each(theirs, texts),
        "datatrove MinhashDedupSignature, 14 x 8",
    )

    def jsonl_writer():
        with JsonlWriter(str(folder / "w"), compression=None) as writer:
            for document in documents:
                writer.write(document)

    def parquet_writer():
        with ParquetWriter(str(folder / "w"), compression="zstd") as writer:
            for document in documents:
                writer.write(document)

    def our_writer(form):
        def run():
            with open(folder / f"w.{form}", "wb") as file:
                (steps.save_jsonl if form == "jsonl" else steps.save_parquet)(file, documents)

        return run

    add("write JSON Lines", size, our_writer("jsonl"), jsonl_writer, "datatrove JsonlWriter (orjson)")
    add("write Parquet", size, our_writer("parquet"), parquet_writer, "datatrove ParquetWriter, zstd")
    return rows


def datatrove_chain(source: Path, out: Path) -> None:
    """Rules, masks and deduplication with datatrove's own steps, one process."""
    config = MinhashConfig()
    first = [
        JsonlReader(str(source)), GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(filter_no_terminal_punct=False),
        PIIFormatter(), JsonlWriter(str(out / "filtered"), compression=None),
    ]  # fmt: skip
    phases = [
        (first, 1),
        ([JsonlReader(str(out / "filtered")), MinhashDedupSignature(str(out / "sig"), config)], 1),
        ([MinhashDedupBuckets(str(out / "sig"), str(out / "buckets"), config=config)], config.num_buckets),
        ([MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)], 1),
        (
            [
                JsonlReader(str(out / "filtered")),
                MinhashDedupFilter(str(out / "remove")),
                JsonlWriter(str(out / "done"), compression=None),
            ],
            1,
        ),
    ]
    for number, (chain, tasks) in enumerate(phases):
        with pipeline.console_to(out / "console.log"):
            LocalPipelineExecutor(copy.deepcopy(chain), tasks=tasks, workers=1, logging_dir=str(out / f"log{number}")).run()


def whole_rows(rounds: int, folder: Path) -> list[dict]:
    """The chain from JSON Lines to JSON Lines against datatrove's, on prose."""
    source = folder / "prose"
    source.mkdir()
    documents = [make_document(document.text, f"{n}/{document.id}") for n in range(3) for document in prose_documents()]
    for number, document in enumerate(documents):
        document.text = edited(document.text, number // (len(documents) // 3))
    with open(source / "prose.jsonl", "wb") as file:
        steps.save_jsonl(file, documents)
    size = sum(len(document.text.encode()) for document in documents)
    config = CorpusConfig(str(source), languages=(), toxicity=False)
    runs = iter(range(10**6))

    def ours():
        pipeline.write_corpus(folder / f"ours{next(runs)}", config)

    def peer():
        out = folder / f"peer{next(runs)}"
        out.mkdir()
        datatrove_chain(source, out)

    with our_splitters():
        rows = [compare("end to end, same words", size, ours, peer, "datatrove's steps, 4 MinHash stages", max(2, rounds // 2))]
    rows.append(compare("end to end, as shipped", size, ours, peer, "datatrove's steps with spaCy", 1))
    return rows


def edited(text: str, number: int) -> str:
    """A copy of a text in which a share of the words, growing with `number`, is replaced; number 0 changes nothing."""
    rng, share = random.Random(f"{number} {len(text)}"), min(0.5, 0.03 * number)
    return re.sub(r"\w+", lambda match: match[0] if rng.random() >= share else f"w{rng.randrange(10**6)}", text)


def write_growing(folder: Path, megabytes: int) -> int:
    """The default corpus again and again, each time with more edits, in files of about 4 MB; the number of documents."""
    documents, size, count, number = list(open_source("stdlib")), 0, 0, 0
    folder.mkdir()
    file, in_file = None, 0
    while size < megabytes * 1_000_000:
        for document in documents:
            row = {
                "id": f"{number}/{document.id}",
                "text": edited(document.text, number),
                "metadata": {"kind": document.metadata["kind"]},
            }
            if file is None or in_file > 4_000_000:
                if file:
                    file.close()
                file, in_file = open(folder / f"{count:07d}.jsonl", "w", encoding="utf-8"), 0
            file.write(json.dumps(row) + "\n")
            length = len(row["text"])
            size, in_file, count = size + length, in_file + length, count + 1
            if size >= megabytes * 1_000_000:
                break
        number += 1
    file.close()
    return count


RUN = """
import json, re, sys, time
from pathlib import Path
from llmbook.data import pipeline
from llmbook.preliminaries.settings import CorpusConfig
times, original = {}, pipeline.run_phase
def timed(name, *arguments):
    start = time.perf_counter()
    original(name, *arguments)
    times[name] = round(time.perf_counter() - start, 2)
    kilobytes = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    times[name + "_peak_mb"] = round(kilobytes / 1024, 1)
pipeline.run_phase = timed
start = time.perf_counter()
corpus = pipeline.write_corpus(sys.argv[2], CorpusConfig(sys.argv[1]))
report = pipeline.read_report(corpus)
print(json.dumps({"seconds": round(time.perf_counter() - start, 2), **times, "read": report["read"], "kept": report["kept"]}))
"""


def growth_rows(sizes: list[int], folder: Path) -> list[dict]:
    """Time and peak memory of whole runs, each in a process of its own."""
    rows = []
    print(f"{'MB':>6}{'documents':>11}{'seconds':>10}{'MB/s':>8}{'filter, peak MB':>17}{'whole, peak MB':>16}")
    for megabytes in sizes:
        source = folder / f"grow{megabytes}"
        count = write_growing(source, megabytes)
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(source), str(folder / f"out{megabytes}")], capture_output=True, text=True, check=True
        )
        row = {"megabytes": megabytes, "documents": count, **json.loads(done.stdout)}
        rows.append(row)
        print(
            f"{megabytes:>6}{count:>11,}{row['seconds']:>10.1f}{megabytes / row['seconds']:>8.2f}"
            f"{row['filter_peak_mb']:>17}{row['write_peak_mb']:>16}",
            flush=True,
        )
    return rows


def index_rows(folder: Path) -> dict:
    """Bytes per document of the search for copies, on random keys: the slope of the peak between two sizes."""
    bands, peaks = choose_bands(0.8, steps.SaveStep.num_perm)[0], {}
    for count in (200_000, 400_000):
        work = folder / f"index{count}"
        (work / "filtered").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for ending, width in (("digests", 2), ("keys", bands), ("hashes", 1)):
            rng.integers(0, 2**63, (count, width), dtype=np.uint64).tofile(work / "filtered" / f"00000.{ending}")
        np.ones(count, "<u8").tofile(work / "filtered" / "00000.counts")
        (work / "filtered" / "00000.ids").write_text("\n".join(str(n) for n in range(count)))
        with open(work / "filtered" / "00000.lines", "wb") as file:
            np.savez(file, hashes=np.zeros(0, np.uint64), documents=np.zeros(0, np.int64))
        tracemalloc.start()
        for _ in steps.FindCopiesStep(0.8, None, 1, work).run():
            pass
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    per_document = (peaks[400_000] - peaks[200_000]) / 200_000
    print(f"search for copies: {per_document:.1f} bytes per document at its peak ({bands} bands)")
    return {"bands": bands, "peak_bytes": peaks, "bytes_per_document": round(per_document, 1)}


def chain_rows(sizes: tuple[int, ...] = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)) -> list[dict]:
    """Seconds for one cluster of sliding windows, ours and an index of locality-sensitive hashes."""
    from datasketch import MinHash, MinHashLSH

    def peer(documents):
        index, kept = MinHashLSH(threshold=0.8, num_perm=128), 0
        for document in documents:
            sketch = MinHash(num_perm=128, hashfunc=int)
            sketch.update_batch((shingle_hashes(document.text) & np.uint64(0xFFFFFFFF)).tolist())
            if not index.query(sketch):
                index.insert(document.id, sketch)
                kept += 1
        return kept

    rows = []
    print(f"{'windows':>8}{'ours, s':>10}{'peer, s':>10}{'ours keeps':>12}{'peer keeps':>12}   datasketch MinHashLSH")
    for count in sizes:
        rng = random.Random(0)
        words = [f"w{rng.randrange(10**6)}" for _ in range(3 * count + 100)]
        documents = [Document(text=" ".join(words[3 * n : 3 * n + 100]), id=str(n)) for n in range(count)]
        start = time.perf_counter()
        copies = near_duplicates(documents)
        middle = time.perf_counter()
        theirs = peer(documents)
        end = time.perf_counter()
        row = {"windows": count, "seconds": round(middle - start, 2), "peer_seconds": round(end - middle, 2)}
        rows.append(row | {"kept": count - len(copies), "peer_kept": theirs})
        print(f"{count:>8,}{middle - start:>10.2f}{end - middle:>10.2f}{count - len(copies):>12,}{theirs:>12,}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 20, 50, 100, 200])
    parser.add_argument("--parts", nargs="*", default=PARTS)
    options = parser.parse_args()
    logger.remove()
    packages = ("datatrove", "datasketch", "selectolax", "trafilatura", "py3langid", "scikit-learn", "spacy", "pyarrow", "orjson")
    record = machine("cpu") | {"rounds": options.rounds, "time_ratio": "ours / peer: lower quartile, median, upper quartile"}
    record["versions"] |= {name: importlib.metadata.version(name) for name in packages}
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        if {"stages", "whole"} & set(options.parts):
            print(f"{'':26}{'ours MB/s':>10}{'peer MB/s':>10}{'ratio':>9}   peer")
        if "stages" in options.parts:
            record["stages"] = stage_rows(options.rounds, folder)
        if "whole" in options.parts:
            record["whole"] = whole_rows(options.rounds, folder)
        if "growth" in options.parts:
            record["growth"] = growth_rows(options.sizes, folder)
        if "index" in options.parts:
            record["index"] = index_rows(folder)
        if "chain" in options.parts:
            record["chain"] = chain_rows()
    if set(options.parts) == set(PARTS):
        print(write_record("data", "cpu", record))


if __name__ == "__main__":
    main()
