"""The schedule against PyTorch's, clipping against PyTorch's."""

import math

import pytest
import torch

from llmbook.training.schedule import clip_gradients, gradient_norm, warmup_cosine


def test_matches_torch_schedulers():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 10, end_factor=1, total_iters=9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.03)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[10])
    for step in range(50):
        assert both.get_last_lr()[0] == pytest.approx(warmup_cosine(step, peak=0.3, warmup=10, total=50, floor=0.03))
        optimizer.step()
        both.step()


def test_edges():
    assert warmup_cosine(0, peak=1, warmup=0, total=1) == 1
    assert warmup_cosine(5, peak=1, warmup=5, total=5) == 1
    assert warmup_cosine(10**9, peak=1, warmup=5, total=10, floor=0.25) == 0.25


@pytest.mark.parametrize(
    "bad", [{"warmup": 11}, {"warmup": -1}, {"floor": 2}, {"floor": -0.1}, {"step": -1}, {"total": 0, "warmup": 0}]
)
def test_impossible_schedules(bad):
    with pytest.raises(ValueError, match="needs"):
        warmup_cosine(**({"step": 0, "peak": 1, "warmup": 2, "total": 10} | bad))


def parameters(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    result = [torch.nn.Parameter(torch.zeros(3, 4)), torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.zeros(2))]
    for parameter in result[:2]:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return result


@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_clipping_matches_torch(max_norm):
    ours, theirs = parameters(), parameters()
    norm = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    torch.testing.assert_close(clip_gradients(iter(ours), max_norm), norm)
    for a, b in zip(ours[:2], theirs[:2]):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4)


def test_a_norm_that_is_not_finite_is_reported_and_nothing_is_changed():
    items = parameters()
    items[0].grad[0, 0] = math.nan
    before = items[1].grad.clone()
    assert not torch.isfinite(clip_gradients(items, 1.0))
    assert torch.equal(items[1].grad, before)


def test_no_gradients_and_no_bound():
    assert gradient_norm([torch.nn.Parameter(torch.zeros(2))]) == 0
    items = parameters()
    before = [p.grad.clone() for p in items[:2]]
    clip_gradients(items, math.inf)
    assert all(torch.equal(p.grad, b) for p, b in zip(items, before))
    with pytest.raises(ValueError, match="max_norm=0"):
        clip_gradients(items, 0)
