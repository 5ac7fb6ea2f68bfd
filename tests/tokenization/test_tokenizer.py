"""`llmbook.tokenization.tokenizer`: control tokens, files, forks, and the stage."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.data.pipeline import CorpusConfig, build_corpus
from llmbook.preliminaries.workspace import Workspace
from llmbook.tokenization.bpe import encode_bpe, train_bpe
from llmbook.tokenization.tokenizer import (
    END_OF_TEXT,
    Tokenizer,
    TokenizerConfig,
    TokenizerError,
    build_tokenizer,
    corpus_texts,
    cut_text,
)

SAMPLE = ["the cat sat on the mat; the dog did not.", "def the(end): return end  # <|endoftext|>", "naïve λόγος 5 €"]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(train_bpe(SAMPLE * 3, 300, [END_OF_TEXT]))


@given(st.text(), st.sampled_from(["", END_OF_TEXT, " " + END_OF_TEXT + "\n"]))
@settings(deadline=None)
def test_round_trip_and_no_control_token_from_text(tokenizer, text, typed):
    text = text + typed + text
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.end_of_text_id not in ids


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cn"))))  # unassigned characters: Unicode tables differ in age
@settings(deadline=None, max_examples=300)
def test_ids_are_those_of_the_encoder_from_scratch(tokenizer, text):
    assert tokenizer.encode(text) == encode_bpe(text, tokenizer.merges)


@given(st.lists(st.integers(0, 299), max_size=40))
@settings(deadline=None)
def test_decode_never_fails_on_known_ids(tokenizer, ids):
    ids = [number for number in ids if number < tokenizer.vocab_size]
    expected = b"".join(tokenizer.tokens[number] for number in ids).decode("utf-8", "replace")
    assert tokenizer.decode(ids) == expected
    assert tokenizer._library.decode(ids, skip_special_tokens=False) == expected


@pytest.mark.parametrize("number", [-1, 300, 10**12])
def test_unknown_ids(tokenizer, number):
    with pytest.raises(TokenizerError, match=f"there is no token {number}"):
        tokenizer.decode([0, number])


def test_batches_are_the_single_encodings_in_order(tokenizer):
    texts = [*SAMPLE, "", END_OF_TEXT] * 20
    assert tokenizer.encode_batch(iter(texts)) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch([]) == []


@pytest.mark.parametrize(
    "texts, message",
    [
        (["ok", "x\udc80"], r"text 1 has the lone surrogate U\+DC80 at character 1"),
        ([b"bytes"], "text 0 is of type bytes"),
        ([None], "NoneType"),
    ],
)
def test_texts_that_cannot_be_encoded(tokenizer, texts, message):
    with pytest.raises(TokenizerError, match=message):
        tokenizer.encode_batch(texts)


def test_one_text_is_not_a_batch(tokenizer):
    with pytest.raises(TokenizerError, match="use encode"):
        tokenizer.encode_batch("text")


def test_special_tokens(tokenizer):
    both = Tokenizer(tokenizer.merges, (END_OF_TEXT, "<|user|>"))
    assert both.vocab_size == tokenizer.vocab_size + 1 == both.special_id("<|user|>") + 1
    assert both.end_of_text_id == tokenizer.end_of_text_id == tokenizer.vocab_size - 1
    assert both.decode([both.special_id("<|user|>")]) == "<|user|>"
    assert both.sha256 != tokenizer.sha256
    with pytest.raises(TokenizerError, match="no special token '<|assistant|>'".replace("|", r"\|")):
        both.special_id("<|assistant|>")


def test_missing_end_of_text(tokenizer):
    with pytest.raises(TokenizerError, match="no special token"):
        Tokenizer(tokenizer.merges, ()).end_of_text_id


@pytest.mark.parametrize("names", [("",), ("a",), ("<|x|>", "<|x|>"), (7,)])
def test_impossible_special_tokens(tokenizer, names):
    with pytest.raises(TokenizerError, match="cannot be a special token"):
        Tokenizer(tokenizer.merges, names)


def test_impossible_merges():
    with pytest.raises(TokenizerError, match="merge 0 joins 5 and 999"):
        Tokenizer([(5, 999)])


def test_save_and_load(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert (loaded.merges, loaded.special_tokens) == (tokenizer.merges, tokenizer.special_tokens)
    assert loaded.sha256 == tokenizer.sha256
    assert loaded.end_of_text_id not in loaded.encode(END_OF_TEXT)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def test_transformers_reads_the_file(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    for text in SAMPLE[::2]:
        assert fast(text)["input_ids"] == tokenizer.encode(text)
    assert fast.convert_tokens_to_ids(END_OF_TEXT) == tokenizer.end_of_text_id


def test_merges_as_strings_and_specials_in_the_vocabulary_as_in_older_files(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    data = json.loads(path.read_text("utf-8"))
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    data["model"]["vocab"][END_OF_TEXT] = tokenizer.end_of_text_id
    path.write_text(json.dumps(data), "utf-8")
    assert Tokenizer.load(path).sha256 == tokenizer.sha256


def damage(change):
    def apply(data):
        change(data)
        return json.dumps(data)

    return apply


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: "", "not a tokenizer.json"),
        (lambda data: "[]", "not a tokenizer.json"),
        (lambda data: json.dumps(data)[:2000], "not a tokenizer.json"),
        (damage(lambda data: data.pop("model")), "KeyError: 'model'"),
        (damage(lambda data: data["model"].update(type="WordPiece")), "it is not plain BPE: model WordPiece"),
        (damage(lambda data: data.update(normalizer={"type": "NFC"})), "normalizer {'type': 'NFC'}"),
        (damage(lambda data: data["pre_tokenizer"].update(add_prefix_space=True)), "pre-tokenizer"),
        (damage(lambda data: data.update(pre_tokenizer=None)), "pre-tokenizer"),
        (damage(lambda data: data["model"].update(dropout=0.1)), "dropout"),
        (damage(lambda data: data["model"]["merges"].pop(3)), "merge 22 joins"),
        (damage(lambda data: data["model"]["merges"].reverse()), "not a tokenizer.json|does not fit"),
        (damage(lambda data: data["model"]["vocab"].update({"a": 65, "b": 64})), "does not fit its merges"),
        (damage(lambda data: data["model"]["vocab"].pop("a")), "KeyError|does not fit"),
        (damage(lambda data: data["added_tokens"][0].update(id=7)), "do not directly follow"),
        (damage(lambda data: data["added_tokens"][0].update(content="a")), "does not fit|cannot be a special"),
    ],
)
def test_damaged_files(tokenizer, tmp_path, change, message):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    path.write_text(change(json.loads(path.read_text("utf-8"))), "utf-8")
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(TokenizerError, match="cannot read the tokenizer .*No such file"):
        Tokenizer.load(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenizerError, match="not a tokenizer.json"):
        Tokenizer.load(tmp_path / "binary.json")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("setting", [None, "true", "false"])
def test_a_forked_child_encodes_without_hanging_and_without_noise(setting):
    program = """
import os
from llmbook.tokenization.tokenizer import Tokenizer
tokenizer = Tokenizer([])
texts = ["some text"] * 500
tokenizer.encode_batch(texts)
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer.encode_batch(texts) == [tokenizer.encode("some text")] * 500 else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    environment |= {} if setting is None else {"TOKENIZERS_PARALLELISM": setting}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def make_corpus(tmp_path, texts):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    for name, text in texts.items():
        (source / name).write_text(text, encoding="utf-8")
    workspace = Workspace(tmp_path / "workspace")
    config = CorpusConfig(source=str(source), quality=False, jaccard_threshold=1.0, languages=())
    return workspace, build_corpus(workspace, config, progress=False)


def test_the_tokenizer_never_sees_held_out_documents(tmp_path):
    texts = {f"times{n:02d}.txt": f"common words, and w{'xyzq'[n % 4] * 3}{n}w\n" * 5 for n in range(60)}
    workspace, corpus = make_corpus(tmp_path, texts)
    learned, held_out = (list(corpus_texts(corpus, side)) for side in (False, True))
    assert held_out and sorted(learned + held_out) == sorted(texts.values())
    artifact = build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=320), progress=False)
    loaded = Tokenizer.load(artifact.file("tokenizer.json"))
    assert loaded.merges == train_bpe(learned, 320, (END_OF_TEXT,))
    assert build_tokenizer(workspace, corpus, TokenizerConfig(vocab_size=320), progress=False).key == artifact.key


def test_a_single_document_is_cut_at_a_line(tmp_path):
    text = "".join(f"verse {number}\n" for number in range(200))
    _, corpus = make_corpus(tmp_path, {"poem.txt": text})
    (learned,), (held_out,) = (list(corpus_texts(corpus, side)) for side in (False, True))
    assert learned + held_out == text and learned.endswith("\n") and 0.03 < len(held_out) / len(text) < 0.07


@given(st.text(), st.integers(1, 50))
def test_cut_text_loses_nothing(text, percent):
    assert "".join(cut_text(text, percent)) == text


@pytest.mark.parametrize("options", [{"vocab_size": 256}, {"vocab_size": -1}, {"held_out_percent": 0}, {"held_out_percent": 51}])
def test_impossible_configurations(options):
    with pytest.raises(ValueError, match="give from"):
        TokenizerConfig(**options)


def test_import_is_light():
    program = "import sys, llmbook.tokenization.tokenizer; print({'torch', 'datatrove', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
