"""The loss against PyTorch in float64, and bits per byte against an arithmetic coder's bound."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig
from llmbook.training.objective import (
    IGNORED,
    _chunk_loss,
    _counted,
    bits_per_byte,
    cross_entropy,
    linear_cross_entropy,
    log_sum_exp,
    next_token_loss,
    perplexity,
)


def draw(rows, width, vocabulary, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    return hidden, weight, targets


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_log_sum_exp_matches_torch(scale):
    logits = scale * torch.randn(5, 7, 30, dtype=torch.float64)
    torch.testing.assert_close(log_sum_exp(logits), torch.logsumexp(logits, -1))


@given(st.integers(1, 40), st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_cross_entropy_matches_torch(rows, vocabulary, seed):
    _, logits, targets = draw(vocabulary, vocabulary, rows, seed)
    targets = torch.randint(0, vocabulary, (rows,), generator=torch.Generator().manual_seed(seed))
    targets[1::3] = IGNORED
    expected = F.cross_entropy(logits.double(), targets, reduction="sum")
    total, count = cross_entropy(logits, targets)
    assert total.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-5)
    assert count.item() == (targets != IGNORED).sum().item() and count.dtype == torch.int64


@given(rows=st.integers(1, 50), vocabulary=st.integers(2, 40), chunk=st.integers(1, 60), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_fused_loss_and_gradients_match_torch(rows, vocabulary, chunk, seed):
    hidden, weight, targets = draw(rows, 8, vocabulary, seed)
    targets[1::4] = IGNORED
    exact_hidden, exact_weight = (t.detach().double().requires_grad_() for t in (hidden, weight))
    expected = F.cross_entropy(exact_hidden @ exact_weight.T, targets, reduction="sum")
    (2.5 * expected).backward()
    loss, count = linear_cross_entropy(hidden, weight, targets, rows=chunk)
    assert count.item() == (targets != IGNORED).sum().item()
    (2.5 * loss).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(hidden.grad.double(), exact_hidden.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(weight.grad.double(), exact_weight.grad, atol=1e-4, rtol=1e-4)


def test_fused_loss_under_autocast_stays_close():
    hidden, weight, targets = draw(512, 64, 100)
    weight = (weight.detach() * 0.1).requires_grad_()
    expected = F.cross_entropy(hidden.double() @ weight.double().T, targets, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = linear_cross_entropy(hidden, weight, targets)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), rel=2e-3)
    loss.backward()
    wanted = torch.autograd.grad(expected, weight)[0]
    assert F.cosine_similarity(weight.grad.flatten().double(), wanted.flatten().double(), dim=0) > 0.999
    assert weight.grad.dtype == torch.float32


def test_chunk_is_a_sum():
    hidden, weight, targets = (t.detach() for t in draw(10, 8, 20))
    counted = torch.ones(10, dtype=torch.bool)
    loss, by_hidden, by_weight = _chunk_loss(hidden, weight, targets, counted)
    assert loss.item() == pytest.approx(F.cross_entropy(hidden @ weight.T, targets, reduction="sum").item(), rel=1e-5)
    assert by_hidden.shape == hidden.shape and by_weight.shape == weight.shape


@pytest.mark.parametrize("bad, message", [(50, "0 to 49"), (-1, "-1 to")])
def test_a_target_outside_the_vocabulary_is_named(bad, message):
    with pytest.raises(ValueError, match=message):
        _counted(torch.tensor([1, bad]), 50)


def test_no_target_at_all_is_zero_of_zero_with_zero_gradients():
    hidden, weight, targets = draw(6, 8, 20)
    targets[:] = IGNORED
    with torch.no_grad():
        hidden[0] = float("inf")  # what is masked may be anything
    for total, count in (linear_cross_entropy(hidden, weight, targets), cross_entropy(hidden @ weight.T, targets)):
        assert total.item() == 0 and count.item() == 0
    hidden, weight, _ = draw(6, 8, 20)
    linear_cross_entropy(hidden, weight, targets)[0].backward()
    assert not hidden.grad.any() and not weight.grad.any()


@given(seed=st.integers(0, 1000), cut=st.integers(1, 5), masked=st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_sums_of_unequal_masked_parts_are_those_of_the_whole(seed, cut, masked):
    model = Transformer(ModelConfig(vocab_size=30, context=8, width=16, layers=1, heads=2))
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 30, (6, 9), generator=generator)
    inputs, targets = ids[:, :-1], ids[:, 1:].contiguous()
    targets.view(-1)[torch.randperm(48, generator=generator)[:masked]] = IGNORED
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    parts = [next_token_loss(model, (inputs[rows], targets[rows])) for rows in (slice(cut), slice(cut, None))]
    count = sum(int(part[1]) for part in parts)
    sum(part[0] for part in parts).backward()
    for parameter, gradient in zip(model.parameters(), wanted):
        torch.testing.assert_close(parameter.grad / count, gradient, atol=1e-6, rtol=1e-5)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="need targets"):
        cross_entropy(torch.zeros(2, 3, 5), torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="do not fit"):
        linear_cross_entropy(torch.zeros(4, 8), torch.zeros(10, 7), torch.zeros(4, dtype=torch.int64))


def test_perplexity_and_bits():
    assert perplexity(math.log(4096)) == pytest.approx(4096)
    assert bits_per_byte(8 * math.log(2) * 10, 10) == pytest.approx(8)
    with pytest.raises(ValueError, match="at least one byte"):
        bits_per_byte(1.0, 0)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_cap_bends_logits_and_gradients(chunk):
    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(7, 5, generator=draw), torch.randn(11, 5, generator=draw)
    targets = torch.tensor([3, 0, -100, 10, 5, 5, -100])
    leaves = [x.double().requires_grad_() for x in (hidden, weight)]
    F.cross_entropy(2 * torch.tanh(leaves[0] @ leaves[1].T / 2), targets, reduction="sum").backward()
    ours = [x.clone().requires_grad_() for x in (hidden, weight)]
    loss, count = linear_cross_entropy(*ours, targets, rows=chunk, cap=2.0)
    loss.backward()
    assert count == 5
    for mine, theirs in zip(ours, leaves, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, atol=1e-5, rtol=1e-5)


def test_a_capped_model_is_trained_with_its_cap():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocab_size=30, context=8, width=16, layers=1, heads=2, logit_cap=0.5, init_std=1.0))
    inputs, targets = torch.randint(30, (2, 8)), torch.randint(30, (2, 8))
    total, count = next_token_loss(model, (inputs, targets))
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    assert count == 16 and model(inputs).abs().max() <= 0.5
    torch.testing.assert_close(total, expected)
