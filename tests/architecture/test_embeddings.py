"""Embeddings against one-hot products, transformers' GPT-2, a loop with a dictionary, and the laws of chance."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmbook.architecture.embeddings import NgramEmbedding, TokenEmbedding, mark_table, ngram_rows, padded_vocab_size
from llmbook.training.optimizers import split_parameters


def some_ids(*shape, high=50, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- tokens and positions


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_lookup_is_a_product_with_one_hot_rows(dtype):
    embedding, ids = TokenEmbedding(50, 8).double(), some_ids(3, 7)
    expected = F.one_hot(ids, 50).double() @ embedding.tokens.weight
    x = embedding(ids.to(dtype))
    torch.testing.assert_close(x, expected, rtol=0, atol=0)
    x.sum().backward()
    counts = torch.bincount(ids.flatten(), minlength=50).double()
    torch.testing.assert_close(embedding.tokens.weight.grad, counts[:, None].expand(50, 8))


def test_matches_gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_positions=24, n_embd=8, n_layer=0, n_head=2)
    theirs, ours = transformers.GPT2Model(config).eval(), TokenEmbedding(50, 8, 24, learned_positions=True)
    ours.load_state_dict({"tokens.weight": theirs.wte.weight, "positions.weight": theirs.wpe.weight})
    theirs.ln_f = torch.nn.Identity()
    for positions in (None, torch.arange(5, 12)):
        expected = theirs(some_ids(2, 7), position_ids=None if positions is None else positions[None]).last_hidden_state
        torch.testing.assert_close(ours(some_ids(2, 7), positions), expected)


def test_names_marks_and_first_weights():
    torch.manual_seed(0)
    embedding = TokenEmbedding(500, 64, 100, learned_positions=True)
    assert list(embedding.state_dict()) == ["tokens.weight", "positions.weight"]
    assert len(split_parameters(embedding)["tables"]) == 2
    for weight in embedding.parameters():
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert list(TokenEmbedding(5, 4).state_dict()) == ["tokens.weight"]
    linear = torch.nn.Linear(3, 4)
    assert mark_table(linear) is linear and split_parameters(linear)["tables"] == [linear.weight, linear.bias]


def test_without_learned_positions_any_length_and_position_goes():
    embedding, ids = TokenEmbedding(50, 8), some_ids(1, 300)
    assert torch.equal(embedding(ids), embedding(ids, torch.arange(1000, 1300)))


def test_strided_ids_and_an_empty_batch():
    embedding, ids = TokenEmbedding(50, 8), some_ids(6, 10)
    assert torch.equal(embedding(ids.T[::2]), embedding(ids.T[::2].contiguous()))
    assert embedding(ids[:0]).shape == (0, 10, 8)


def test_bad_token_ids():
    embedding = TokenEmbedding(50, 8, 10, learned_positions=True)
    for ids in (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"give int64 \[B, T\] with T of at least 1"):
            embedding(ids)
    for wrong in (-1, 50):
        with pytest.raises(ValueError, match=f"token id {wrong} lies outside 0 .. 49: use the tokenizer"):
            embedding(torch.tensor([[3, wrong]]))
    with pytest.raises(ValueError, match="11 tokens exceed the context of 10"):
        embedding(some_ids(1, 11))
    with pytest.raises(ValueError, match="position 10 lies outside"):
        embedding(some_ids(1, 2), torch.tensor([9, 10]))


def test_bad_sizes():
    for arguments in ((0, 4), (4, 0), (4, 4, 0)):
        with pytest.raises(ValueError, match="each must be at least 1"):
            TokenEmbedding(*arguments)
    with pytest.raises(ValueError, match="learned positions need a context"):
        TokenEmbedding(4, 4, learned_positions=True)


def test_compiles_in_one_graph():
    records = []

    def backend(graph, inputs):
        records.append(graph)
        return graph.forward

    embedding, ngrams, ids = TokenEmbedding(50, 8), NgramEmbedding(8, 64, boundary=3), some_ids(2, 9)
    torch.nn.init.normal_(ngrams.tables["2"].weight)
    both = torch.compile(lambda ids: embedding(ids) + ngrams(ids), backend=backend, fullgraph=True)
    assert torch.equal(both(ids), embedding(ids) + ngrams(ids)) and len(records) == 1


def test_padded_vocab_size():
    for V in (1, 63, 64, 65, 4096, 50_257):
        for multiple in (1, 64, 128):
            padded = padded_vocab_size(V, multiple)
            assert padded % multiple == 0 and V <= padded < V + multiple
    assert padded_vocab_size(50_257) == padded_vocab_size(50_257, 128) == 50_304
    for arguments in ((0,), (5, 0)):
        with pytest.raises(ValueError, match=f"vocab_size={arguments[0]}, multiple=.*at least 1"):
            padded_vocab_size(*arguments)


# ---------------------------------------------------------------- n-grams

ROWS = 1 << 40  # so many that different n-grams of a test have different rows


def grams_loop(text, n, boundary):
    """The tokens of each position's n-gram as a tuple: back from it, until n, the start, or a boundary."""
    for t in range(len(text)):
        gram = [text[t]]
        while len(gram) < n and t - len(gram) >= 0 and not (len(gram) > 1 and gram[0] == boundary):
            gram.insert(0, text[t - len(gram)])
        yield tuple(gram)


@pytest.mark.parametrize("boundary", [None, 0, 7])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_equal_ngrams_and_only_these_share_a_row(n, boundary):
    ids = some_ids(4, 60, high=9)
    rows, seen = ngram_rows(ids, n, ROWS, boundary=boundary), {}
    assert rows.shape == ids.shape and rows.dtype == torch.int64 and rows.min() >= 0 and rows.max() < ROWS
    for text, places in zip(ids.tolist(), rows.tolist(), strict=True):
        for gram, place in zip(grams_loop(text, n, boundary), places, strict=True):
            assert seen.setdefault(gram, place) == place
    assert len(set(seen.values())) == len(seen)


def test_rows_are_the_same_everywhere():
    ids = torch.tensor([[5, 1, 5, 1, 100_000]])
    assert ngram_rows(ids, 2, 131_072).tolist() == PAIRS
    assert ngram_rows(ids.int(), 2, 131_072).tolist() == PAIRS
    assert ngram_rows(ids.repeat(1, 2)[:, ::1].T.contiguous().T[:, :5], 2, 131_072).tolist() == PAIRS


def hash_by_hand(tokens, n, rows):
    """Python's integers do not overflow; the lowest 64 bits, read as a signed number, are what a tensor holds."""
    state = n
    for token in [0] * (n - len(tokens)) + [token + 1 for token in tokens]:
        state = (state ^ token) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        state = state - (1 << 64) if state >> 63 else state
        state ^= state >> 32
    return state % rows


PAIRS = [[hash_by_hand(gram, 2, 131_072) for gram in grams_loop([5, 1, 5, 1, 100_000], 2, None)]]


@pytest.mark.parametrize("boundary", [None, 7])
def test_pieces_with_what_came_before_give_the_rows_of_the_whole(boundary):
    ids = some_ids(3, 40, high=9)
    for n in (1, 2, 3, 4):
        whole = ngram_rows(ids, n, 1000, boundary=boundary)
        for cut in (0, 1, 2, 3, 20, 39):
            for first in {0, max(0, cut - n + 1)}:  # all that came before, or the last n - 1
                piece = ngram_rows(ids[:, cut:], n, 1000, ids[:, first:cut], boundary)
                if first == 0 or boundary is None:
                    assert torch.equal(piece, whole[:, cut:])
                assert torch.equal(piece, whole[:, cut:])


def test_causal_and_blind_to_other_documents():
    ids = some_ids(2, 30, high=9)
    ids[:, 12] = 20
    rows = ngram_rows(ids, 3, ROWS, boundary=20)
    changed = ids.clone()
    changed[:, 20] = 30
    moved = (ngram_rows(changed, 3, ROWS, boundary=20) != rows).any(0)
    assert moved.nonzero().flatten().tolist() == [20, 21, 22]
    changed = ids.clone()
    changed[:, :12] = 31
    moved = (ngram_rows(changed, 3, ROWS, boundary=20) != rows).any(0)
    assert moved.nonzero().flatten().tolist() == list(range(13))  # the boundary ends its own document


@pytest.mark.parametrize("n", [2, 3])
def test_rows_fill_as_by_chance(n):
    v = 128 if n == 2 else 26
    grams = torch.cartesian_prod(*[torch.arange(v)] * n)
    for rows in (4096, 16_384, 10_007):
        counts = torch.bincount(ngram_rows(grams, n, rows)[:, -1], minlength=rows).double()
        load = len(grams) / rows
        chi2 = ((counts - load) ** 2 / load).sum().item()
        assert abs(chi2 - rows) < 6 * math.sqrt(2 * rows)
        assert (counts > 0).double().mean().item() == pytest.approx(1 - math.exp(-load), abs=0.03)


def test_ngram_embedding_matches_a_dictionary():
    layer, ids = NgramEmbedding(6, rows=ROWS % 1000 + 97, lengths=(2, 3, 4), boundary=4).double(), some_ids(2, 25, high=9)
    assert torch.equal(layer(ids), torch.zeros(2, 25, 6, dtype=torch.float64))
    for table in layer.tables.values():
        torch.nn.init.normal_(table.weight, generator=torch.Generator().manual_seed(1))
    known, expected = {}, torch.zeros(2, 25, 6, dtype=torch.float64)
    for b, text in enumerate(ids.tolist()):
        for name, table in layer.tables.items():
            for t, gram in enumerate(grams_loop(text, int(name), 4)):
                row = known.setdefault((name, gram), hash_by_hand(gram, int(name), layer.rows))
                expected[b, t] += table.weight[row].detach()
    torch.testing.assert_close(layer(ids).detach(), expected)
    for cut in (1, 2, 10):
        torch.testing.assert_close(layer(ids[:, cut:], ids[:, :cut]), layer(ids)[:, cut:])


def test_ngram_gradient_reaches_the_rows_that_occur():
    layer, ids = NgramEmbedding(3, rows=500, lengths=(2,)), some_ids(2, 20)
    layer(ids).sum().backward()
    counts = torch.bincount(ngram_rows(ids, 2, 500).flatten(), minlength=500).float()
    torch.testing.assert_close(layer.tables["2"].weight.grad, counts[:, None].expand(500, 3))


def test_ngram_names_marks_and_reset():
    layer = NgramEmbedding(4, rows=10)
    assert list(layer.state_dict()) == ["tables.2.weight", "tables.3.weight"]
    assert len(split_parameters(layer)["tables"]) == 2
    torch.nn.init.ones_(layer.tables["3"].weight)
    layer.reset_parameters()
    assert not any(weight.any() for weight in layer.parameters())
    assert all(weight.requires_grad for weight in layer.parameters())
    assert NgramEmbedding(4, 10, (2,)).bfloat16()(some_ids(1, 5)).dtype == torch.bfloat16


def test_nothing_is_changed_in_place():
    ids, previous = some_ids(2, 9), some_ids(2, 4, seed=1)
    kept = ids.clone(), previous.clone()
    NgramEmbedding(4, 10, boundary=3)(ids, previous)
    TokenEmbedding(50, 4)(ids)
    assert torch.equal(ids, kept[0]) and torch.equal(previous, kept[1])


def test_bad_ngrams():
    ids = some_ids(2, 5)
    for n, rows in ((0, 5), (2, 0)):
        with pytest.raises(ValueError, match=f"n={n}, rows={rows}: both must be at least 1"):
            ngram_rows(ids, n, rows)
    with pytest.raises(ValueError, match=r"token ids .*\(5,\)"):
        ngram_rows(ids[0], 2, 5)
    with pytest.raises(ValueError, match=r"token ids torch.float32 \(2, 5\): give integers \[B, T\]"):
        ngram_rows(ids.float(), 2, 5)
    for previous in (ids[0], ids[:1], ids.int()):
        with pytest.raises(ValueError, match=r"previous ids .* before ids torch.int64 \(2, 5\): give \[B, P\]"):
            ngram_rows(ids, 2, 5, previous)
    for arguments in ((0, 5), (4, 0)):
        with pytest.raises(ValueError, match="both must be at least 1"):
            NgramEmbedding(*arguments)
    for lengths in ((), (1, 2), (2, 2)):
        with pytest.raises(ValueError, match="give different numbers from 2 on"):
            NgramEmbedding(4, 5, lengths)
