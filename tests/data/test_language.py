"""Language identification: against plain dictionaries, scikit-learn and py3langid, on the book's own sentences."""

import itertools
import json
import math
import unicodedata
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.documents import make_document, open_source
from llmbook.data.language import (
    _FIRST_LETTER,
    _GAP,
    _LANGUAGE_CHARACTERS,
    _UNKNOWN_LETTER,
    _clean_letters,
    _gram_codes,
    _letter_numbers,
    _letter_table,
    check_language_filter,
    identify_language,
    language_fit,
    language_model,
    language_probabilities,
    language_rejection,
    language_samples,
    language_scores,
    train_language_model,
)

TRAIN, HELD_OUT, STRANGERS = map(language_samples, ("train", "held out", "strangers"))
RELATIVES = ("nb", "ca")  # of Danish, and of Spanish, Portuguese and French
CODES = tuple(dict.fromkeys(code for code, _ in TRAIN))


def runs_of(text: str, n: int) -> list[str]:
    """All runs of n letters and gaps, by string operations alone."""
    words = "".join(c if c.isalpha() else " " for c in _clean_letters(text)).split()
    plain = " " + " ".join(words) + " " if words else " "
    return [plain[i : i + n] for i in range(len(plain) - n + 1) if plain[i : i + n] != " "]


def scores_by_dictionary(text: str, lines, order: int, alpha: float) -> dict[str, float]:
    scores = Counter()
    for n in range(1, order + 1):
        counts = {code: Counter() for code, _ in lines}
        for code, line in lines:
            counts[code].update(runs_of(line, n))
        known = set().union(*counts.values())
        for code, counted in counts.items():
            total = counted.total() + alpha * len(known)
            scores[code] += sum(math.log((counted[run] + alpha) / total) for run in runs_of(text, n) if run in known)
    return scores


# ---------------------------------------------------------------- the texts


def test_texts_have_the_promised_shape():
    raw = files("llmbook.data").joinpath("texts", "languages.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in raw.splitlines()]
    assert all(row.keys() == {"language", "split", "text"} for row in rows)
    counts = Counter((row["language"], row["split"]) for row in rows)
    assert len(CODES) == 15
    strange = tuple(dict.fromkeys(code for code, _ in STRANGERS))
    assert len(strange) == 18 and not set(strange) & set(CODES)
    wanted = {(code, split): size for code in CODES for split, size in (("train", 40), ("held out", 20))}
    assert counts == wanted | {(code, "strangers"): 6 for code in strange}
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts)
    assert all(text == text.strip() == unicodedata.normalize("NFC", text) for text in texts)


def test_words_per_line():
    words = [len(text.split()) for code, text in TRAIN + HELD_OUT if code != "zh"]
    assert min(words) >= 5 and max(words) <= 20


def test_no_line_is_nearly_another():
    for code in CODES:
        sets = [set(text.lower().split()) for known, text in TRAIN + HELD_OUT if known == code and code != "zh"]
        assert all(len(a & b) / len(a | b) < 0.5 for a, b in itertools.combinations(sets, 2))


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="'test'"):
        language_samples("test")


# ---------------------------------------------------------------- letters and runs


@pytest.fixture(scope="module")
def table():
    return _letter_table(["Größe, élan & Ёж 水"])


def test_letter_table_numbers_letters_in_order(table):
    letters = sorted(set("größeélanёж水"))
    assert [int(table[ord(letter)]) for letter in letters] == list(range(_FIRST_LETTER, _FIRST_LETTER + len(letters)))
    assert table[ord("q")] == _UNKNOWN_LETTER and {int(table[ord(c)]) for c in " \n1_,&"} == {_GAP}


@pytest.mark.parametrize(
    "text, plain",
    [
        ("", " "),
        ("123 ...", " "),
        ("élan", " élan "),
        ("E\u0301LAN", " élan "),
        ("  Größe--élan!", " größe élan "),
        ("an\U0001f600an", " an an "),
    ],
)
def test_letter_numbers(table, text, plain):
    wanted = [_GAP if c == " " else int(table[ord(c)]) for c in plain]
    assert _letter_numbers(text, table).tolist() == wanted


def test_a_lone_surrogate_does_no_harm(table):
    assert _letter_numbers("an\ud800an", table).tolist() == _letter_numbers("an an", table).tolist()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcß é1.\n水q", max_size=30), st.integers(1, 4))
def test_codes_correspond_to_runs(text, order):
    table = _letter_table(["abc水éß"])
    base = int(table.max()) + 1
    found = _gram_codes(_letter_numbers(text, table), base, order)
    wanted = [run for n in range(1, order + 1) for run in runs_of(text, n)]
    assert len(found) == len(wanted)
    names = {}
    for code, run in zip(found.tolist(), wanted, strict=True):
        run = "".join("?" if c.isalpha() and table[ord(c)] == _UNKNOWN_LETTER else c for c in run)
        assert names.setdefault(code, run) == run
    assert len(set(names.values())) == len(names)


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("order, alpha", [(1, 1.0), (2, 0.1), (3, 0.1), (4, 0.5)])
def test_scores_equal_the_dictionaries(order, alpha):
    lines = [line for line in TRAIN if line[0] in ("en", "nl", "uk", "zh")]
    model = train_language_model(lines, order, alpha)
    assert model.languages == ("en", "nl", "uk", "zh")
    for text in [text for _, text in HELD_OUT[::23]] + ["", "42", "გამარჯობა", "pump გამ pump"]:
        wanted = scores_by_dictionary(text, lines, order, alpha)
        assert np.allclose(language_scores(text, model)[0], [wanted[code] for code in model.languages], rtol=1e-9, atol=1e-9)


def test_scores_equal_scikit_learn():
    text_module = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.naive_bayes import MultinomialNB

    truths, texts = zip(*TRAIN, strict=True)
    questions = [text for _, text in HELD_OUT]
    oracle = 0
    for n in (1, 2, 3):
        counter = text_module.CountVectorizer(analyzer=lambda text, n=n: runs_of(text, n))
        bayes = MultinomialNB(alpha=0.1, fit_prior=False).fit(counter.fit_transform(texts), truths)
        oracle = oracle + bayes.predict_joint_log_proba(counter.transform(questions))
    oracle = oracle[:, [list(bayes.classes_).index(code) for code in CODES]]
    found = [language_scores(text, language_model())[0] for text in questions]
    assert np.allclose(found, oracle - 3 * math.log(1 / 15), rtol=1e-9)


def test_by_hand():
    lines = [("one", "a a a b"), ("two", "a b b b"), ("two", "c")]
    model = train_language_model([line for line in lines if line[1] != "c"], order=1, smoothing=1.0, temperature=1.0)
    scores, known = language_scores("a a b", model)
    assert np.allclose(language_probabilities(scores), [2 / 3, 1 / 3])  # (4/6)^2 (2/6) against (2/6)^2 (4/6)
    assert known == 1
    assert language_scores("a a b z", model)[1] == 0.75


def test_each_length_is_a_distribution():
    model = language_model()
    starts = [0, *np.searchsorted(model.codes, model.base ** np.arange(1, model.order)), len(model.codes)]
    for first, last in itertools.pairwise(starts):
        assert np.allclose(np.exp(model.logs[first:last]).sum(axis=0), 1)
    assert np.all(np.diff(model.codes) > 0)


def test_unknown_runs_elect_nobody():
    scores, known = language_scores("გამარჯობა", language_model())
    assert not scores.any() or scores.max() == scores.min() == 0
    assert known == 0


def test_order_of_lines_does_not_matter_within_languages():
    lines = [line for line in TRAIN if line[0] in ("es", "pt")]
    first = train_language_model(lines)
    again = train_language_model(lines[:40][::-1] + lines[40:][::-1])
    assert all(np.array_equal(a, b) for a, b in zip(first[1:], again[1:], strict=True))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"lines": []}, "two languages"),
        ({"lines": [("en", "a"), ("en", "b")]}, "two languages"),
        ({"lines": [("en", "1"), ("de", "2")]}, "0 different letters"),
        ({"lines": TRAIN, "order": 0}, "order"),
        ({"lines": TRAIN, "order": 9}, "order 9"),
        ({"lines": TRAIN, "smoothing": 0}, "smoothing"),
        ({"lines": TRAIN, "temperature": -1.0}, "temperature"),
    ],
)
def test_bad_training_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        train_language_model(**arguments)


def test_probabilities_equal_float64_softmax():
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(0).normal(size=(5, 7)) * 2000
    wanted = torch.softmax(torch.from_numpy(scores) / 5.0, dim=-1).numpy()
    assert np.allclose(language_probabilities(scores, 5.0), wanted)


# ---------------------------------------------------------------- answers


def test_held_out_lines():
    right = sum(identify_language(text)[0] == truth for truth, text in HELD_OUT)
    assert right == 297
    assert sum(identify_language(text[:20])[0] == truth for truth, text in HELD_OUT) == 274


def test_beside_py3langid():
    langid = pytest.importorskip("py3langid.langid")
    peer = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    peer.set_languages(CODES)
    theirs = sum(peer.classify(text)[0] == truth for truth, text in HELD_OUT)
    assert theirs >= 297  # the lines are what they claim to be


def test_probability_is_calibrated_on_held_out_lines():
    for cut in (5, 10, 20, 40, 80):
        scores = [language_scores(text[:cut], language_model())[0] for _, text in HELD_OUT]
        chances = language_probabilities(np.array(scores), 5.0)
        right = np.mean([CODES[row.argmax()] == truth for row, (truth, _) in zip(chances, HELD_OUT, strict=True)])
        assert abs(chances.max(axis=1).mean() - right) < 0.06


@pytest.mark.parametrize("text", ["", "  \n", "12.5 % (3)", "გამარჯობა", "한국어 문장입니다", "\U0001f600"])
def test_undetermined(text):
    assert identify_language(text) == ("und", 0.0)


def test_capitals_and_decomposed_accents_change_nothing():
    text = "Où avez-vous acheté cette lampe ?"
    assert identify_language(text) == identify_language(text.upper()) == identify_language(unicodedata.normalize("NFD", text))


def test_a_model_of_ones_own():
    model = train_language_model([("dots", "aba bab aba"), ("dashes", "cdc dcd cdc")])
    assert identify_language("cd dc", model)[0] == "dashes"


# ---------------------------------------------------------------- no language of the list


def unknown_share(lines, model=None) -> float:
    return float(np.mean([identify_language(text, model)[0] == "unknown" for _, text in lines]))


def fit_by_dictionary(text: str, lines, order: int, alpha: float) -> float:
    """The definition, run by run, with probabilities instead of logarithms until the end."""
    total = runs = 0
    best = max(scores := scores_by_dictionary(text, lines, order, alpha), key=scores.get)
    for n in range(1, order + 1):
        counts = {code: Counter() for code, _ in lines}
        for code, line in lines:
            counts[code].update(runs_of(line, n))
        known = set().union(*counts.values())
        for run in runs_of(text, n):
            runs += 1
            if run in known:
                chance = {c: (k[run] + alpha) / (k.total() + alpha * len(known)) for c, k in counts.items()}
                total += math.log(chance[best] / (sum(chance.values()) / len(chance)))
    return total / (runs * math.log(len(counts)))


def test_fit_agrees_with_its_definition():
    lines = [line for line in TRAIN if line[0] in ("en", "de", "pl")]
    model = train_language_model(lines)
    for text in ("The pump is loud.", WELSH, "Die Pumpe", "xqz xqz", "გამარჯობა the"):
        assert math.isclose(language_fit(text, model), fit_by_dictionary(text, lines, 3, 0.1), abs_tol=1e-9)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_fit_is_at_most_one_and_unknown_goes_by_it(text):
    model = language_model()
    language, p = identify_language(text)
    fit = language_fit(text, model)
    assert fit <= 1 and 0 <= p <= 1
    if language == "unknown":
        assert p == 0.0 and fit < model.least_fit
    elif language != "und":
        assert p > 0 and fit >= model.least_fit


@pytest.mark.parametrize("cut, most", [(20, 0.02), (40, 0.01), (80, 0.01), (None, 0.01)])
def test_known_languages_are_lost_rarely(cut, most):
    assert unknown_share([(code, text[:cut]) for code, text in HELD_OUT]) <= most


@pytest.mark.parametrize("code", dict.fromkeys(code for code, _ in STRANGERS if code not in RELATIVES))
def test_a_language_without_a_model_is_unknown(code):
    lines = [line for line in STRANGERS if line[0] == code]
    assert identify_language(" ".join(text for _, text in lines)) == ("unknown", 0.0)
    assert unknown_share(lines) >= 1 / 3


def test_strangers_line_by_line():
    assert unknown_share([line for line in STRANGERS if line[0] not in RELATIVES]) >= 0.87


def test_strangers_beside_py3langid():
    langid = pytest.importorskip("py3langid.langid")
    peer = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    lines = [(code.replace("nb", "no"), text) for code, text in STRANGERS if code != "haw"]  # it knows no Hawaiian
    assert sum(peer.classify(text)[0] == code for code, text in lines) >= len(lines) - 1


def test_relatives_of_a_language_on_the_list_pass_for_it():
    lines = [line for line in STRANGERS if line[0] in RELATIVES]
    assert unknown_share(lines) == 0 and {identify_language(text)[0] for _, text in lines} <= {"da", "es", "pt", "fr", "it"}


@pytest.mark.parametrize("code, least", [("en", 0.5), ("fr", 0.3), ("pl", 0.9), ("tr", 0.8), ("el", 1), ("zh", 1)])
def test_a_language_that_was_left_out_is_unknown(code, least):
    model = train_language_model([line for line in TRAIN if line[0] != code], least_fit=language_model().least_fit)
    lines = [line for line in TRAIN + HELD_OUT if line[0] == code]
    answers = [identify_language(text, model)[0] for _, text in lines]
    assert np.mean([answer in ("unknown", "und") for answer in answers]) >= least
    assert identify_language(" ".join(text for _, text in lines), model)[0] in ("unknown", "und")


@pytest.mark.parametrize("kind", ["letters", "base64", "consonants"])
def test_what_is_no_language_is_unknown(kind):
    draw = np.random.default_rng(1)
    alphabets = {
        "letters": "abcdefghijklmnopqrstuvwxyz     ",
        "base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "consonants": "bcdfghjklmnpqrstvwxz    ",
    }
    texts = ["".join(draw.choice(list(alphabets[kind]), 200)) for _ in range(50)]
    assert unknown_share([(kind, text) for text in texts]) >= 0.98


def test_a_model_of_ones_own_says_unknown_only_when_told():
    lines = [line for line in TRAIN if line[0] in ("es", "pt")]
    assert all(identify_language(text, train_language_model(lines))[0] in ("es", "pt") for _, text in STRANGERS[:40])
    assert identify_language(WELSH, train_language_model(lines, least_fit=1.0)) == ("unknown", 0.0)


def test_english_by_the_same_author_stays_english():
    for name in ("quality", "toxicity"):
        raw = files("llmbook.data").joinpath("texts", f"{name}.jsonl").read_text(encoding="utf-8")
        texts = [row["text"] for row in map(json.loads, raw.splitlines()) if row.get("label") == 1 or name == "toxicity"]
        lost = [text for text in texts if language_fit(text, language_model()) < language_model().least_fit]
        assert len(texts) > 100 and len(lost) <= len(texts) / 100, lost


# ---------------------------------------------------------------- the filter

ENGLISH = "The pump is loud again, please check the filter before noon."
WELSH = "Mae'r pwmp yn swnllyd eto, gwiriwch yr hidlydd cyn hanner dydd os gwelwch yn dda."
GERMAN = "Die Pumpe ist wieder laut, bitte den Filter noch vor Mittag prüfen."


@pytest.mark.parametrize(
    "text, languages, reason, language",
    [
        (ENGLISH, ("en",), None, "en"),
        (GERMAN, ("en",), "language: de", "de"),
        (GERMAN, ("en", "de"), None, "de"),
        ("1 2 3", ("en",), None, "und"),
        ("გამარჯობა", ("en",), "language: und", "und"),
        ("გამარჯობა", ("en", "und"), None, "und"),
        (WELSH, ("en",), "language: unknown", "unknown"),
        (WELSH, ("en", "und"), "language: unknown", "unknown"),
        (WELSH, ("en", "unknown"), None, "unknown"),
    ],
)
def test_rejection(text, languages, reason, language):
    document = make_document(text, "a.txt")
    assert language_rejection(document, languages) == reason
    assert document.metadata["language"] == language and document.text == text


def test_rejection_below_the_minimum():
    document = make_document("Garden open on Monday", "a.txt")
    assert language_rejection(document) == "language: unsure"
    assert document.metadata["language"] == "en" and document.metadata["language_probability"] < 0.65
    assert language_rejection(document, minimum=0.1) is None


@pytest.mark.parametrize("kind", ["code", "html"])
def test_other_kinds_are_untouched(kind):
    document = make_document(GERMAN, "a.txt")
    document.metadata["kind"] = kind
    before = dict(document.metadata)
    assert language_rejection(document) is None and document.metadata == before


def test_only_the_beginning_is_read():
    document = make_document((ENGLISH + " ") * 100 + (GERMAN + "\n") * 1000, "a.txt")
    assert len(ENGLISH) * 100 > _LANGUAGE_CHARACTERS
    assert language_rejection(document) is None


@pytest.mark.parametrize("languages", [("english",), "en", (), ("en", "xx")])
def test_impossible_wishes_are_refused(languages):
    with pytest.raises(ValueError):
        language_rejection(make_document(ENGLISH, "a.txt"), languages)
    with pytest.raises(ValueError):
        check_language_filter(languages, 0.5, language_model())


@pytest.mark.parametrize("minimum", [-0.1, 1.1, math.nan])
def test_impossible_minimum_is_refused(minimum):
    with pytest.raises(ValueError, match="between 0 and 1"):
        language_rejection(make_document(ENGLISH, "a.txt"), minimum=minimum)


def test_metadata_is_json():
    document = make_document(ENGLISH, "a.txt")
    language_rejection(document)
    assert json.loads(json.dumps(document.metadata)) == document.metadata
    assert document.metadata["language_probability"] == round(document.metadata["language_probability"], 3)


def test_the_default_corpus_is_kept():
    prose = [document for document in open_source("stdlib") if document.metadata["kind"] == "prose"]
    assert prose and not [document.id for document in prose if language_rejection(document)]
