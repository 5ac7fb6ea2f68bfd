"""Held-out text: which documents, decided by their names alone, and the two splits of a corpus."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbook.data.held_out import SPLITS, _cut_text, corpus_texts, holds_out_documents, is_held_out
from llmbook.data.pipeline import corpus_files, read_corpus, write_corpus
from llmbook.preliminaries.settings import CorpusConfig, ShardConfig


def make_corpus(tmp_path, texts, tasks=None):
    source = tmp_path / "source"
    source.mkdir()
    for name, text in texts.items():
        (source / name).write_text(text, encoding="utf-8")
    config = CorpusConfig(source=str(source), quality=False, jaccard_threshold=1.0, languages=(), tasks=tasks)
    return write_corpus(tmp_path / "corpus", config)


def letters(count):
    return {f"times{n:02d}.txt": f"words of text {n} w{'xyzq'[n % 4] * 3}{n}w\n" * 5 for n in range(count)}


# ---------------------------------------------------------------- the rule


def test_documents_are_decided_by_name_alone():
    names = [f"folder/{n}.py" for n in range(20_000)]
    five = {name for name in names if is_held_out(name, 5)}
    ten = {name for name in names if is_held_out(name, 10)}
    assert five < ten and abs(len(five) - 1000) < 130 and abs(len(ten) - 2000) < 170
    assert not any(is_held_out(name, 0) for name in names) and all(is_held_out(name, 100) for name in names)
    assert [name for name in names if is_held_out(name, 5)][:3] == ["folder/18.py", "folder/26.py", "folder/82.py"], (
        "a change here changes every held-out split"
    )


@given(st.text().filter(lambda name: not {"test", "tests", "encodings"} & set(name.split("/"))), st.integers(0, 100))
def test_the_rule_is_the_remainder_of_the_first_sixteen_digits(name, percent):
    digits = hashlib.sha256(name.encode()).hexdigest()[:16]
    assert is_held_out(name, percent) == (int(digits, 16) % 100 < percent)


def test_some_folders_are_never_held_out():
    for part in ("test", "tests", "encodings"):
        assert not is_held_out(f"{part}/a.py", 100) and not is_held_out(f"x/{part}/a.py", 100)
        assert is_held_out(f"my{part}/a.py", 100)


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_an_impossible_percentage(percent):
    with pytest.raises(ValueError, match="held_out_percent=.*: give from 0 to 100"):
        is_held_out("a", percent)


# ---------------------------------------------------------------- the splits


def test_every_text_is_in_one_split_and_the_order_stays(tmp_path):
    corpus = make_corpus(tmp_path, letters(60))
    documents = list(read_corpus(corpus))
    train, held_out = (list(corpus_texts(corpus, split, 5)) for split in SPLITS)
    assert train == [item.text for item in documents if not is_held_out(item.id, 5)]
    assert held_out == [item.text for item in documents if is_held_out(item.id, 5)] and 0 < len(held_out) < 12
    assert sorted(train + held_out) == sorted(letters(60).values())


def test_the_splits_of_some_files_are_parts_of_the_splits_of_all(tmp_path):
    corpus = make_corpus(tmp_path, letters(60), tasks=4)
    files = corpus_files(corpus)
    assert len(files) == 4 and holds_out_documents(corpus, 5) is True and holds_out_documents(corpus, 50) is True
    for split in SPLITS:
        parts = [list(corpus_texts(corpus, split, 5, files=[name], by_document=True)) for name in files]
        assert sum(parts, []) == list(corpus_texts(corpus, split, 5)) == list(corpus_texts(corpus, split, 5, files=files))
        assert parts == [list(corpus_texts(corpus, split, 5, files=[name])) for name in files]  # asks the whole corpus
    assert len(list(corpus_texts(corpus, "held_out", 5, by_document=False))) == 60


def test_a_single_document_is_cut_at_a_line(tmp_path):
    text = "".join(f"verse {number}\n" for number in range(200))
    corpus = make_corpus(tmp_path, {"poem.txt": text})
    assert holds_out_documents(corpus, 5) is False
    (train,), (held_out,) = (list(corpus_texts(corpus, split, 5)) for split in SPLITS)
    assert train + held_out == text and train.endswith("\n") and 0.03 < len(held_out) / len(text) < 0.07


def test_documents_that_all_train_are_cut(tmp_path):
    names = {name: text for name, text in letters(60).items() if not is_held_out(name, 1)}
    corpus = make_corpus(tmp_path, names)
    assert holds_out_documents(corpus, 1) is False
    both = zip(corpus_texts(corpus, "train", 1), corpus_texts(corpus, "held_out", 1), strict=True)
    assert sorted("".join(pair) for pair in both) == sorted(names.values())


@given(st.text(), st.integers(1, 50))
def test_a_cut_loses_nothing(text, percent):
    train, held_out = _cut_text(text, percent)
    assert train + held_out == text
    assert len(train) <= len(text) * (100 - percent) / 100 and (train.endswith("\n") or "\n" not in train)


def test_questions_are_checked_before_anything_is_read(tmp_path):
    corpus = make_corpus(tmp_path, {"poem.txt": "verse\n" * 50})
    for split in (True, "validation", ""):
        with pytest.raises(ValueError, match="choose one of train, held_out"):
            corpus_texts(corpus, split, 5)
    for percent in (0, 51):
        for ask in (lambda p: corpus_texts(corpus, "train", p), lambda p: holds_out_documents(corpus, p)):
            with pytest.raises(ValueError, match=f"held_out_percent={percent}: give from 1 to 50"):
                ask(percent)
        with pytest.raises(ValueError, match=f"held_out_percent={percent}"):  # the settings refuse the same
            ShardConfig(held_out_percent=percent)
