"""The classifier against autograd and scikit-learn, its texts, its stages, and the loader of Jigsaw's files."""

from __future__ import annotations

import csv
import pickle
import pydoc
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from llmbook.data.classifiers import (
    _JIGSAW_LABELS,
    _TOXIC_PASSAGE,
    _TOXIC_SHARE,
    LabelledText,
    TextClassifier,
    _curvature_bound,
    _Features,
    _folded_words,
    _sigmoid,
    _text_split,
    _toxic_passages,
    _word_code,
    fit_classifier,
    hashed_features,
    jigsaw_texts,
    labelled_texts,
    load_classifier,
    logistic_loss,
    low_quality_rejection,
    platt_scaling,
    precision_recall,
    quality_classifier,
    quality_score,
    reliability,
    save_classifier,
    split_passages,
    toxicity_classifier,
    toxicity_rejection,
    train_logistic,
)
from llmbook.data.documents import SourceError, make_document, stdlib_documents


def sparse(features: _Features) -> csr_matrix:
    return csr_matrix((features.values, (features.rows, features.buckets)), shape=features.shape)


def part(name: str, which: str) -> tuple[_Features, np.ndarray]:
    rows = [row for row in labelled_texts(name) if _text_split(row.text) == which]
    return hashed_features([_folded_words(row.text) for row in rows]), np.array([row.label for row in rows], float)


RANT = "You are an idiot. Nobody likes you, loser! Shut up and get lost, you pathetic fool. "


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(("name", "least"), [("toxicity", 720), ("quality", 300)])
def test_the_texts_are_many_distinct_and_balanced(name, least):
    rows = labelled_texts(name)
    assert len(rows) >= least and len({row.text for row in rows}) == len(rows)
    assert {row.label for row in rows} == {0, 1} and all(row.text.strip() and row.group for row in rows)
    assert 0.35 < np.mean([row.label for row in rows]) < 0.65
    counts = Counter(_text_split(row.text) for row in rows)
    assert 0.5 < counts["train"] / len(rows) < 0.7 and min(counts.values()) > 0.12 * len(rows)


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match="not for 'spam'"):
        labelled_texts("spam")


# ---------------------------------------------------------------- features


def by_hand(words: list[str], bits: int) -> np.ndarray:
    codes = [_word_code(word) for word in words]
    codes += [(a * 0x9E3779B1 + b) % 2**32 for a, b in zip(codes, codes[1:])]
    row = np.zeros(2**bits)
    for code in codes:
        row[(code * 0x85EBCA6B % 2**32) >> (32 - bits)] += 1 / len(codes) ** 0.5
    return row


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=4), max_size=6), max_size=5), st.integers(1, 10))
def test_features_equal_loops(word_lists, bits):
    found = sparse(hashed_features(word_lists, bits)).toarray()
    assert found.shape == (len(word_lists), 2**bits)
    for words, row in zip(word_lists, found):
        assert np.allclose(row, by_hand(words, bits), atol=1e-12)


def test_products_equal_those_of_scipy():
    features, _ = part("toxicity", "calibration")
    draw = np.random.default_rng(0)
    weights, vector = draw.normal(size=features.shape[1]), draw.normal(size=features.shape[0])
    assert np.allclose(features.times(weights), sparse(features) @ weights)
    assert np.allclose(features.transposed_times(vector), sparse(features).T @ vector)


def test_the_hash_is_the_same_in_every_process():
    code = "from llmbook.data.classifiers import _word_code, hashed_features\n"
    code += "print(_word_code('genius'), hashed_features([['a', 'b']]).buckets.tolist())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{_word_code('genius')} {hashed_features([['a', 'b']]).buckets.tolist()}\n"}


def test_texts_with_lone_surrogates_have_features():
    assert len(hashed_features([_folded_words("a \ud800 b")]).rows) == 5


# ---------------------------------------------------------------- loss and training


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_loss_and_gradient_equal_autograd(penalty):
    features, labels = part("quality", "train")
    matrix = torch.tensor(sparse(features._replace(buckets=features.buckets % 97, shape=(features.shape[0], 97))).toarray())
    small = features._replace(buckets=features.buckets % 97, shape=(features.shape[0], 97))
    draw = np.random.default_rng(0)
    weights = torch.tensor(3 * draw.normal(size=97), requires_grad=True)
    bias = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(matrix @ weights + bias, torch.tensor(labels))
    wanted = wanted + penalty / 2 * weights.square().sum()
    wanted.backward()
    loss, by_weights, by_bias = logistic_loss(weights.detach().numpy(), 0.7, small, labels, penalty)
    assert abs(loss - wanted.item()) < 1e-12 and abs(by_bias - bias.grad.item()) < 1e-12
    assert np.allclose(by_weights, weights.grad.numpy(), atol=1e-12)


def test_sigmoid_does_not_overflow():
    z = np.array([-1e4, -2.0, 0.0, 2.0, 1e4])
    assert np.allclose(_sigmoid(z), torch.sigmoid(torch.tensor(z)).numpy(), atol=1e-15)


@pytest.mark.parametrize("name", ["toxicity", "quality"])
@pytest.mark.parametrize("C", [0.5, 10.0])
def test_weights_equal_those_of_scikit_learn(name, C):
    features, labels = part(name, "train")
    weights, bias = train_logistic(features, labels, 1 / (C * len(labels)), tolerance=1e-9)
    peer = LogisticRegression(C=C, tol=1e-10, max_iter=20_000).fit(sparse(features), labels)
    assert np.abs(peer.coef_[0] - weights).max() < 1e-4 and abs(peer.intercept_[0] - bias) < 1e-4


def test_the_bound_is_above_the_largest_curvature():
    features, _ = part("quality", "calibration")
    for some in (features, hashed_features([["a"] * 30, ["b", "c"]], 4)):
        matrix = np.hstack([sparse(some).toarray()[:, np.unique(some.buckets)], np.ones((some.shape[0], 1))])
        largest = np.linalg.norm(matrix, 2) ** 2 / some.shape[0] / 4
        assert largest <= _curvature_bound(some) + 1e-12


def test_training_twice_gives_the_same_bits():
    one, other = (fit_classifier(labelled_texts("quality")) for _ in range(2))
    assert np.array_equal(one.weights, other.weights) and one[1:] == other[1:]


def test_order_of_the_texts_hardly_matters():
    rows = labelled_texts("quality")
    lists = [_folded_words(row.text) for row in rows]
    one, other = fit_classifier(rows).probabilities(lists), fit_classifier(rows[::-1]).probabilities(lists)
    assert np.abs(one - other).max() < 1e-4


def test_one_label_and_no_convergence_are_errors():
    features = hashed_features([["a"], ["b"]], 4)
    with pytest.raises(ValueError, match="two different labels"):
        train_logistic(features, np.ones(2), 0.1)
    with pytest.raises(ValueError, match="two different labels"):
        fit_classifier([])
    with pytest.raises(RuntimeError, match="after 3 steps"):
        train_logistic(features, np.array([0.0, 1.0]), 0.1, most=3)


# ---------------------------------------------------------------- calibration and curves


def test_platt_scaling_finds_the_minimum_of_its_loss():
    draw = np.random.default_rng(0)
    scores = draw.normal(size=400) * 2
    labels = (draw.random(400) < _sigmoid(0.5 * scores - 1)).astype(float)
    slope, shift = platt_scaling(scores, labels)
    assert abs(slope - 0.5) < 0.2 and abs(shift + 1) < 0.4
    high, low = (labels.sum() + 1) / (labels.sum() + 2), 1 / (400 - labels.sum() + 2)
    twice = np.tile(scores, 2)[:, None]
    targets = np.where(labels == 1, high, low)
    weights = np.concatenate([targets, 1 - targets])
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(twice, np.repeat([1, 0], 400), sample_weight=weights)
    assert abs(peer.coef_[0, 0] - slope) < 1e-4 and abs(peer.intercept_[0] - shift) < 1e-4


def test_platt_scaling_stays_finite_for_separated_scores():
    slope, shift = platt_scaling(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([slope, shift]).all() and 0 < slope < 5


def test_reliability_equals_scikit_learn():
    draw = np.random.default_rng(1)
    guess = draw.permutation(np.linspace(0.01, 0.99, 100))
    labels = (draw.random(100) < guess).astype(float)
    shares, means = calibration_curve(labels, guess, n_bins=5, strategy="quantile")
    found = np.array(reliability(guess, labels, 5))
    assert np.allclose(found[:, 0], means) and np.allclose(found[:, 1], shares) and set(found[:, 2]) == {20}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]) | st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_precision_and_recall_equal_scikit_learn(pairs):
    guess, labels = np.array([p for p, _ in pairs]), np.array([float(y) for _, y in pairs])
    if not labels.any():
        with pytest.raises(ValueError, match="at least one text with label 1"):
            precision_recall(guess, labels)
        return
    precision, recall, thresholds = precision_recall_curve(labels, guess)
    found = precision_recall(guess, labels)
    assert np.array_equal(found[0], thresholds[::-1])
    assert np.allclose(found[1], precision[-2::-1]) and np.allclose(found[2], recall[-2::-1])


def test_the_classifier_beats_a_list_of_words_on_held_out_texts():
    rows = [row for row in labelled_texts("toxicity") if _text_split(row.text) == "held out"]
    labels = np.array([row.label for row in rows], float)
    guess = toxicity_classifier().probabilities([_folded_words(row.text) for row in rows])
    listed = {
        "idiot",
        "idiots",
        "stupid",
        "dumb",
        "moron",
        "fool",
        "loser",
        "pathetic",
        "ugly",
        "kill",
        "die",
        "trash",
        "scum",
        "abort",
        "shut",
    }
    struck = np.array([not listed.isdisjoint(_folded_words(row.text)) for row in rows])
    _, precision, recall = precision_recall(guess, labels)
    at = np.argmax(recall >= struck[labels == 1].mean())
    assert precision[at] > labels[struck].mean() + 0.05
    assert np.sum(np.diff(recall, prepend=0) * precision) > 0.8


def test_hard_negatives_of_programming_are_not_toxic():
    texts = ["os.kill sends a signal to the process", "abort the transaction and release the lock", "kill the child process"]
    assert toxicity_classifier().probabilities([_folded_words(text) for text in texts]).max() < _TOXIC_PASSAGE


# ---------------------------------------------------------------- documents


def test_passages_are_sentences_of_bounded_length():
    text = "One two three. Four five six! (Is it so?) Yes.\n\n" + "word " * 130
    found = split_passages(text)
    assert [len(words) for words in found] == [4, 4, 5, 60, 60, 10]  # "Yes." is too short
    assert split_passages("1 2 3 4. - - -\n\nno. ") == [] and split_passages("") == []


def test_toxic_passages_are_counted():
    assert _toxic_passages(RANT) == (3, 3) and _toxic_passages("") == (0, 0)
    assert _toxic_passages("The library is open until six. " * 30 + RANT) == (3, 33)


def test_one_passage_is_forgiven():
    one = "You are an idiot. "
    assert _toxic_passages(one) == (1, 1) and toxicity_rejection(make_document(one, "a.txt")) is None
    for clean in range(12):
        text = RANT + "The library is open until six. " * clean
        wanted = "toxic" if 3 - 1 > _TOXIC_SHARE * (3 + clean) else None
        assert toxicity_rejection(make_document(text, "a.txt")) == wanted


def test_the_stage_judges_prose_only():
    assert toxicity_rejection(make_document(RANT * 3, "a.txt")) == "toxic"
    assert toxicity_rejection(make_document(RANT * 3, "a.py")) is None
    assert toxicity_rejection(make_document("The library is open until six in the evening.", "a.txt")) is None
    assert toxicity_rejection(make_document("123", "a.txt")) is None
    assert toxicity_rejection(make_document(RANT, "a.txt"), threshold=1.0) is None


@pytest.mark.parametrize("threshold", [0, -1, 1.5, 70])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match="probability"):
        toxicity_rejection(make_document(RANT, "a.txt"), threshold)


def test_no_prose_of_the_library_and_no_page_of_pydoc_is_removed():
    from pydoc_data.topics import topics

    texts = [*topics.values(), *(document.text for document in stdlib_documents() if document.metadata["kind"] == "prose")]
    texts += [
        pydoc.plain(pydoc.render_doc(name))
        for name in ("os", "signal", "subprocess", "multiprocessing", "threading", "gc", "weakref", "re")
    ]
    for text in texts:
        assert toxicity_rejection(make_document(text, "a.txt")) is None


def test_quality_of_a_page_and_of_a_menu():
    page = "A rainbow forms because each drop bends the light that enters it, by an angle that depends on its color. "
    menu = "Home | Log in | Cart | Buy now! | Free shipping | Click here | Share this | Page 1 2 3 Next >> "
    assert quality_score(page * 3) > 0.5 > quality_score(menu * 3) and quality_score("") == 0
    assert 0 <= quality_score("word") <= 1
    assert low_quality_rejection(make_document(menu * 3, "a.txt")) == "quality score"
    assert low_quality_rejection(make_document(page * 3, "a.txt")) is None
    assert low_quality_rejection(make_document(menu * 3, "a.py")) is None
    assert low_quality_rejection(make_document(page, "a.txt"), threshold=1.0) == "quality score"


def test_classifiers_are_trained_once():
    assert toxicity_classifier() is toxicity_classifier() and quality_classifier() is quality_classifier()


# ---------------------------------------------------------------- files


def test_a_classifier_is_saved_to_the_last_bit(tmp_path):
    for name in ("weights.npz", "without-ending"):
        save_classifier(toxicity_classifier(), tmp_path / name)
        loaded = load_classifier(tmp_path / name)
        assert np.array_equal(loaded.weights, toxicity_classifier().weights) and loaded[1:] == toxicity_classifier()[1:]
    assert (tmp_path / "weights.npz").stat().st_size < 400_000


def test_damaged_files_and_pickles_are_refused(tmp_path):
    path = tmp_path / "classifier.npz"
    save_classifier(TextClassifier(np.eye(1, 16)[0], 0.5), path)
    whole = path.read_bytes()
    for bad in (b"", whole[: len(whole) // 2], b"PK\x03\x04" + b"\0" * 50, pickle.dumps({"weights": 1})):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="holds no classifier"):
            load_classifier(path)
    np.savez(path, weights=np.array([{}], dtype=object), buckets=[0], numbers=[16, 0, 1, 0])
    with pytest.raises(ValueError, match="holds no classifier"):
        load_classifier(path)
    for numbers, bucket in (([16.0, 0.0], 0), ([15.0, 0.0, 1.0, 0.0], 0), ([16.0, 0.0, 1.0, 0.0], 99)):
        np.savez(path, weights=[1.0], buckets=[bucket], numbers=numbers)
        with pytest.raises(ValueError, match="holds no classifier"):
            load_classifier(path)
    np.savez(path, weights=[1.0])
    with pytest.raises(ValueError, match="holds no classifier"):
        load_classifier(path)
    with pytest.raises(FileNotFoundError):
        load_classifier(tmp_path / "missing")


def write(path, rows, columns):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


COLUMNS = ("id", "comment_text", *_JIGSAW_LABELS)


def test_jigsaw_toxic_comments(tmp_path):
    rows = [
        ("a", 'Two\nlines, and "quotes"', 0, 0, 0, 0, 0, 0),
        ("b", "naïve fool", 1, 0, 0, 0, 1, 0),
        ("c", "only obscene", 0, 0, 1, 0, 0, 0),
        ("d", "not scored", -1, -1, -1, -1, -1, -1),
        ("e", "  ", 0, 0, 0, 0, 0, 0),
    ]
    texts, skipped = jigsaw_texts(write(tmp_path / "train.csv", rows, COLUMNS))
    assert texts == [
        LabelledText(rows[0][1], 0, "none"),
        LabelledText("naïve fool", 1, "insult"),
        LabelledText("only obscene", 1, "obscene"),
    ]
    assert skipped == {"unlabelled": 1, "empty": 1}


def test_jigsaw_unintended_bias(tmp_path):
    rows = [(1, 0.49, "mild", 0.0), (2, 0.5, "rude", 0.1), (3, "1.0", "worse", "")]
    texts, skipped = jigsaw_texts(write(tmp_path / "bias.csv", rows, ("id", "target", "comment_text", "identity_attack")))
    assert [row.label for row in texts] == [0, 1, 1] and {row.group for row in texts} == {"target"} and not skipped


ZEROS = (0,) * 6


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (("id", "comment_text", "toxic"), [], "line 1: no column severe_toxic, obscene, threat, insult, identity_hate"),
        (("id", "target"), [], "line 1: no column comment_text"),
        (COLUMNS, [("a", "x", *ZEROS), ("b", "y", "yes", *ZEROS[1:])], "line 3: toxic is 'yes', not 0, 1 or -1"),
        (COLUMNS, [("a", "x", 0, 0, 2, 0, 0, 0)], "line 2: obscene is '2'"),
        (COLUMNS, [("a", "x", 0)], "line 2: a row without 8 fields"),
        (COLUMNS, [("a", "x", *ZEROS, 7)], "line 2: a row without 8 fields"),
        (("target", "comment_text"), [("1.5", "x")], "target is '1.5', not a number from 0 to 1"),
        (("target", "comment_text"), [("nan", "x")], "target is 'nan'"),
        (("target", "comment_text"), [("", "x")], "target is ''"),
    ],
)
def test_jigsaw_mistakes_are_named_with_file_and_line(tmp_path, columns, rows, message):
    path = write(tmp_path / "bad.csv", rows, columns)
    with pytest.raises(SourceError) as caught:
        jigsaw_texts(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe\x00", b"", ",".join(COLUMNS).encode() + b'\n"a,"x', b'id,target,comment_text\n1,0,"' + b"x" * 200_000 + b'"\n'],
    ids=["bytes", "empty", "quote", "huge"],
)
def test_what_is_not_csv_is_a_source_error(tmp_path, data):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SourceError):
        jigsaw_texts(tmp_path / "a.csv")
    with pytest.raises(SourceError, match="cannot read"):
        jigsaw_texts(tmp_path / "missing.csv")


def test_a_classifier_of_jigsaw_texts(tmp_path):
    rows = [(i, f"{'you fool' if i % 2 else 'the meadow'} {i}", i % 2, 0, 0, 0, 0, 0) for i in range(60)]
    texts, _ = jigsaw_texts(write(tmp_path / "train.csv", rows, COLUMNS))
    guess = fit_classifier(texts).probabilities([["you", "fool"], ["the", "meadow"]])
    assert guess[0] > 0.8 and guess[1] < 0.2
