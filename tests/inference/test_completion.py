"""Completions against counting characters, against brute force over sequences of tokens, and with impossible options."""

from collections import Counter

import pytest
import torch
from torch import nn

from llmbook.architecture.transformer import Transformer
from llmbook.inference import completion
from llmbook.inference.completion import (
    _check_options,
    _cover_scores,
    _covers,
    _cuts,
    _draw_cover,
    _next_log_probabilities,
    _shared,
    complete_text,
    generate_command,
)
from llmbook.preliminaries.settings import ModelConfig, SamplingConfig
from llmbook.preliminaries.workspace import WorkspaceError
from llmbook.tokenization.tokenizer import Tokenizer, TokenizerError

CODE = [
    f"def {verb}_{noun}({noun}):\n    if {noun}.is_{state}:\n        return None\n    return {noun}.{verb}()\n"
    for verb in ("open", "close", "read")
    for noun in ("file", "door", "page")
    for state in ("open", "closed")
]
PROSE = [
    "I'll say it's 12345 é中文字 naïve  words.\n\nDon't!",
    "I'd say that's 1234 é中文学 naïve words.\n",
    "It's 12 中文.\r\n\tTabs",
]
USUAL = {"seed": 0, "sampling": SamplingConfig(temperature=0.8, top_k=50)}
GREEDY = SamplingConfig(temperature=0)


class CountModel(nn.Module):
    """A model that gives each token the share with which its documents go on, after exactly the ids before."""

    def __init__(self, tokenizer, documents):
        super().__init__()
        size, end = tokenizer.vocab_size, tokenizer.end_of_text_id
        self.config = ModelConfig(vocab_size=size, context=512)
        self.weight = nn.Parameter(torch.eye(size))
        self.after = {}
        for text in documents:
            ids = (end, *tokenizer.encode(text), end)
            for n in range(1, len(ids)):
                self.after.setdefault(ids[:n], Counter())[ids[n]] += 1

    def forward(self, ids, positions=None, caches=None, head=None):
        if caches:  # where it remembers the ids themselves
            marks = ids[:, None, :, None].expand(-1, self.config.heads, -1, self.config.width // self.config.heads).float()
            ids = caches[0](marks, marks)[0][:, 0, :, 0].long()
        known = torch.zeros(*ids.shape, self.config.vocab_size)
        for row, sequence in zip(known, ids.tolist()):
            for n in range(len(sequence)):
                if counts := self.after.get(tuple(sequence[: n + 1])):
                    row[n] = -1e9
                    row[n, list(counts)] = torch.tensor(list(counts.values())).log()
        return head(known, self.weight)


def next_bytes(model, tokenizer, prompt):
    """The distribution of the byte after a prompt, by its covers; the empty byte stands for the end."""
    covers = _covers(tokenizer, prompt)
    flat = [(*ids, token) for ids, tokens in covers for token in tokens]
    shares, length = Counter(), len(prompt.encode())
    for ids, weight in zip(flat, _cover_scores(model, covers).exp().tolist()):
        if weight < 1e-12:
            continue
        more = b"".join(tokenizer.tokens[n] for n in ids[1:])[length:]
        if more:
            shares[more[:1]] += weight
            continue
        for token, share in enumerate(_next_log_probabilities(model, [ids])[0].exp().tolist()):
            shares[b"" if token == tokenizer.end_of_text_id else tokenizer.tokens[token][:1]] += weight * share
    total = sum(shares.values())
    return {byte: share / total for byte, share in shares.items() if share / total > 1e-6}


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
@pytest.mark.parametrize("documents, vocab_size", [(CODE, 330), (CODE, 420), (PROSE, 300), (PROSE, 262)])
def test_covers_answer_as_counting_characters_does(pattern, documents, vocab_size):
    tokenizer = Tokenizer.train(documents * 3, vocab_size, pattern=pattern)
    model = CountModel(tokenizer, documents)
    for prompt in sorted({text[:n] for text in documents[::6] for n in range(1, len(text) + 1)}):
        found = [text.encode()[len(prompt.encode()) :][:1] for text in documents if text.startswith(prompt)]
        expected = {byte: times / len(found) for byte, times in Counter(found).items()}
        assert next_bytes(model, tokenizer, prompt) == pytest.approx(expected, abs=1e-4), repr(prompt)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([*CODE, *PROSE], 320)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    return Transformer(ModelConfig(tokenizer.vocab_size, context=24, width=32, layers=2, heads=2)).eval()


def all_beginnings(tokenizer, rest):
    for number, token in enumerate(tokenizer.tokens[: -len(tokenizer.special_tokens)]):
        if token.startswith(rest):
            yield (number,)
        elif rest.startswith(token):
            yield from ((number, *more) for more in all_beginnings(tokenizer, rest[len(token) :]))


@pytest.mark.parametrize("prompt", ["d", "):\n    ", "é", "é中", "n ret", "  ", "'l"])
def test_covers_against_every_sequence_of_tokens(prompt, tokenizer, model):
    covers, end = _covers(tokenizer, prompt), tokenizer.end_of_text_id
    flat = [(*ids, token) for ids, tokens in covers for token in tokens]
    assert len(set(flat)) == len(flat)
    if prompt.isascii():  # each beginning is text, so the encoder can say whether it would write it so
        every = set(all_beginnings(tokenizer, prompt.encode()))
        written = {ids for ids in every if tokenizer.encode(tokenizer.decode(ids[:-1])) == list(ids[:-1])}
        assert {(end, *ids) for ids in written} <= set(flat)
    offsets = []
    with torch.no_grad():
        for ids, score in zip(flat, _cover_scores(model, covers).tolist()):
            logs = model(torch.tensor([ids[:-1]])).log_softmax(-1)[0]
            offsets.append(sum(logs[n, token].item() for n, token in enumerate(ids[1:])) - score)
    assert max(offsets) - min(offsets) < 1e-4


def test_places_within_a_character(tokenizer):
    ids = tokenizer.encode("文")
    rests = [rest for _, rest in _cuts(tokenizer, "文", longest=3)]
    assert rests[0] == "文".encode() and len(rests) == 1 + len(ids)
    assert [rest for _, rest in _cuts(tokenizer, "a文", longest=2) if len(rest) > 2] == []


def test_special_tokens_are_never_candidates(tokenizer):
    for prompt in ("<", "<|", "<|end", "<|endoftext|>"):
        assert all(max(tokens) < tokenizer.vocab_size - 5 for _, tokens in _covers(tokenizer, prompt))
    with pytest.raises(ValueError, match="empty prompt"):
        _covers(tokenizer, "")


def test_rows_do_not_see_one_another_and_are_cropped(tokenizer, model):
    sequences = [(1, 2, 3), (4,), tuple(range(100)), (7,) * 24]
    together = _next_log_probabilities(model, sequences)
    with torch.no_grad():
        for row, ids in zip(together, sequences):
            alone = model(torch.tensor([ids[-24:]]))[0, -1].log_softmax(-1)
            assert torch.allclose(row, alone, atol=1e-5)
    assert together.exp().sum(-1) == pytest.approx([1.0] * 4, abs=1e-5)


def test_what_sequences_share():
    assert _shared([(1, 2, 3), (1, 2), (1, 2, 4)]) == 2
    assert _shared([(1, 5), (1, 6)]) == 1
    assert _shared([(1, 2, 3)]) == 3


def test_draws_follow_the_scores(tokenizer, model):
    prompt, n, generator = "):\n    ", 300, torch.Generator().manual_seed(0)
    covers = _covers(tokenizer, prompt)
    flat = [[*ids, token] for ids, tokens in covers for token in tokens]
    p = _cover_scores(model, covers).softmax(0)
    drawn = Counter(tuple(_draw_cover(model, tokenizer, prompt, SamplingConfig(), generator)) for _ in range(n))
    counts = torch.tensor([drawn[tuple(ids)] for ids in flat])
    assert counts.sum() == n and ((counts - n * p).abs() <= 5 * (n * p * (1 - p)).sqrt() + 1).all()
    greedy = _draw_cover(model, tokenizer, prompt, GREEDY, None)
    assert greedy == flat[int(p.argmax())]


@pytest.mark.parametrize("prompt", ["", "def ", "def", "\n", "é\u4e2d ", "<|endoftext|>", "x" * 300, "def f():\n        "])
def test_completions_begin_with_the_prompt_and_repeat(prompt, tokenizer, model):
    first = complete_text(model, tokenizer, prompt, 20, **USUAL)
    assert first.startswith(prompt) and first == complete_text(model, tokenizer, prompt, 20, **USUAL)
    assert complete_text(model, tokenizer, prompt, 0, **USUAL) == prompt
    one_more = complete_text(model, tokenizer, prompt, 1, **USUAL)
    assert len(one_more.encode()) - len(prompt.encode()) <= 3 * max(map(len, tokenizer.tokens))


def test_the_cure_of_the_indentation(tokenizer):
    documents = [text for text in CODE if "open" in text]
    model = CountModel(tokenizer, documents)
    text = documents[0]
    cut = text.index("    return", text.index("None")) + 4
    assert complete_text(model, tokenizer, text[:cut], 40, GREEDY, seed=1) == text


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"seed": 2**64}, "seed=18446744073709551616: give a whole number from 0"),
        ({"seed": -1}, "seed=-1"),
        ({"max_new_tokens": -1}, "-1 new tokens"),
    ],
)
def test_impossible_options(wrong, words, tokenizer, model):
    with pytest.raises(ValueError, match=words):
        _check_options(**({"max_new_tokens": 3, "seed": 0} | wrong))
    with pytest.raises(ValueError, match=words):
        complete_text(model, tokenizer, "x", **({"max_new_tokens": 3} | USUAL | wrong))


@pytest.mark.parametrize(
    "options", [{"temperature": 1e-40}, {"temperature": 1e300}, {"top_k": 10**9}, {"min_p": 1.0}, {"repetition_penalty": 9.0}]
)
def test_options_at_their_bounds(options, tokenizer, model):
    assert complete_text(model, tokenizer, "def ", 5, SamplingConfig(**options), seed=2**64 - 1).startswith("def ")


def test_foreign_tokenizers_and_texts_that_are_none(tokenizer, model):
    with pytest.raises(ValueError, match="the tokenizer has 261 ids and the model 320"):
        complete_text(model, Tokenizer([]), "x", 3, **USUAL)
    with pytest.raises(TokenizerError, match=r"lone surrogate U\+DCE9"):
        complete_text(model, tokenizer, "caf\udce9", 3, **USUAL)


def test_the_command_prints_a_completion(monkeypatch, capsys, tokenizer, model, tmp_path):
    asked = []

    def load(workspace, key_prefix, device):
        asked.append((workspace.root, key_prefix, device))
        return model, tokenizer

    monkeypatch.setattr(completion, "load_base_model", load)
    generate_command("def ", tokens=7, sampling=GREEDY, model="ab", workspace=tmp_path)
    expected = complete_text(model, tokenizer, "def ", 7, GREEDY, seed=0)
    assert capsys.readouterr().out == expected + "\n" and asked == [(tmp_path, "ab", "cpu")]


@pytest.mark.parametrize("wrong", [{"seed": 2**64}, {"device": "abacus"}, {"tokens": -1}])
def test_the_command_refuses_before_it_reads_the_model(wrong, monkeypatch):
    monkeypatch.setattr(completion, "load_base_model", lambda *given: pytest.fail("the model was read"))
    with pytest.raises(ValueError, match="give"):
        generate_command("x", **wrong)


def test_the_command_without_a_model(tmp_path):
    with pytest.raises(WorkspaceError, match="no base"):
        generate_command("x", workspace=tmp_path)
