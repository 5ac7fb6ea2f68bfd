"""AdamW and Muon against PyTorch's own, orthogonalization against the singular value decomposition."""

import pytest
import torch
from torch import nn

from llmbook.architecture.transformer import Transformer
from llmbook.preliminaries.settings import ModelConfig, TrainConfig
from llmbook.training.optimizers import (
    AdamW,
    Muon,
    _adamw_state,
    _check_rates,
    adamw_update,
    build_optimizers,
    muon_update,
    orthogonalize,
    split_parameters,
)


def trained(make_optimizer, bias, steps=30):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 24, bias=bias), nn.Tanh(), nn.Linear(24, 4, bias=bias))
    optimizer = make_optimizer(model.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        optimizer.zero_grad()
        (model(torch.randn(16, 12)) - torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.0, 0.999)])
def test_adamw_matches_torch_with_a_changing_rate(decay, betas):
    options = {"lr": 0.01, "betas": betas, "eps": 1e-8, "weight_decay": decay}
    ours = trained(lambda p: AdamW(p, **options), bias=True)
    theirs = trained(lambda p: torch.optim.AdamW(p, **options), bias=True)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_muon_matches_torch():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    ours = trained(lambda p: Muon(p, lr=0.01, weight_decay=0.1, dtype=torch.bfloat16), bias=False)
    theirs = trained(lambda p: torch.optim.Muon(p, lr=0.01, weight_decay=0.1, momentum=0.95), bias=False)
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)
    assert (ours - trained(lambda p: Muon(p, lr=0.01, momentum=0.5, dtype=torch.bfloat16), bias=False)).abs().max() > 0.02


@pytest.mark.parametrize("shape", [(32, 32), (16, 64), (64, 16)])
def test_orthogonalize_against_the_decomposition(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    u, before, vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalize(matrix, iterations=5)
    assert found.shape == shape
    core = u.mT @ found @ vh.mT  # diagonal, with the singular values of the result
    torch.testing.assert_close(core, torch.diag(core.diagonal()), atol=1e-6, rtol=0)
    large = core.diagonal()[before > 0.01 * before.norm()]
    assert len(large) >= 15 and 0.5 < large.min() and large.max() < 1.5


def test_orthogonalize_bad_and_degenerate_input():
    with pytest.raises(ValueError, match="needs a matrix"):
        orthogonalize(torch.zeros(3))
    assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_muon_scales_tall_matrices():
    steps = []
    for shape in ((64, 16), (16, 64)):
        parameter = torch.zeros(shape)
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        muon_update(parameter, gradient, torch.zeros(shape), lr=1.0, momentum=0.9, weight_decay=0.0, dtype=torch.float32)
        steps.append(torch.linalg.svdvals(parameter).max().item())
    assert steps[0] / steps[1] == pytest.approx(2, rel=0.5) and steps[1] < 1.3


def test_first_adamw_step_is_the_rate():
    parameter, state = torch.zeros(3), _adamw_state({}, torch.zeros(3))
    adamw_update(
        parameter,
        torch.tensor([1e-3, -5.0, 1e5]),
        state["exp_avg"],
        state["exp_avg_sq"],
        int(state["step"]),
        lr=0.1,
        betas=(0.9, 0.95),
        eps=1e-12,
        weight_decay=0.0,
    )
    torch.testing.assert_close(parameter, torch.tensor([-0.1, 0.1, -0.1]))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: AdamW(p, lr=-1),
        lambda p: AdamW(p, betas=(0.9, 1.0)),
        lambda p: Muon(p, momentum=1),
        lambda p: AdamW(p, weight_decay=float("nan")),
        lambda p: _check_rates(lr=float("inf")),
    ],
)
def test_bad_hyperparameters(make):
    with pytest.raises(ValueError, match="give"):
        make([nn.Parameter(torch.zeros(2, 2))])


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match=r"shape \(5,\) to AdamW"):
        Muon([nn.Parameter(torch.zeros(5))])


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_has_one_optimizer(tied):
    model = Transformer(ModelConfig(vocab_size=50, context=8, width=16, layers=2, heads=2, tie_embeddings=tied))
    kinds = split_parameters(model)
    assert len(kinds["tables"]) == (1 if tied else 2)
    assert all(p.ndim == 2 for p in kinds["hidden"]) and all(p.ndim == 1 for p in kinds["vectors"])
    for name in ("muon", "adamw"):
        config = TrainConfig(optimizer=name, learning_rate=0.02, table_learning_rate=0.003, weight_decay=0.1)
        groups = [group for optimizer in build_optimizers(model, config) for group in optimizer.param_groups]
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        assert {rates[id(p)] for p in kinds["hidden"]} == {0.02}
        assert {rates[id(p)] for kind in ("tables", "vectors") for p in kinds[kind]} == {0.003}
        held = [id(p) for group in groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in model.parameters())
        assert all(group["weight_decay"] == 0 for group in groups for p in group["params"] if p.ndim == 1)


def test_tables_are_known_by_their_mark_and_not_by_their_name():
    stage = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 9, bias=False))  # its head is called 1
    assert len(split_parameters(stage)["hidden"]) == 2
    stage[1].parameter_group = "tables"
    kinds = split_parameters(stage)
    assert kinds["tables"][0] is stage[1].weight and kinds["hidden"][0] is stage[0].weight


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_a_step_evaluates_its_closure_with_gradients(kind):
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = kind([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4 and optimizer.step(closure).item() < 4
    assert optimizer.step() is None
