"""Mixtures of experts against loops, transformers' Mixtral and DeepSeek-V3, closed forms, and every way to call them."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from llmbook.architecture.experts import (
    ExpertLayer,
    apply_experts,
    balance_experts,
    bias_step,
    choose_experts,
    collect_auxiliary_loss,
    count_expert_parameters,
    expert_load,
    group_by_expert,
    load_balancing_loss,
    router_z_loss,
    with_auxiliary_loss,
)
from llmbook.architecture.feedforward import FeedForward, SwiGLU


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make(*arguments, seed=0, **options):
    torch.manual_seed(seed)
    layer = ExpertLayer(*arguments, **options)
    with torch.no_grad():
        layer.router.weight.normal_()  # scores that differ clearly
    return layer


def by_hand(layer, x, k, scoring="softmax", bias=None, renormalize=True, scale=1.0):
    """The definition in Python: sorts, sums and single rows."""
    rows, weight = [], layer.router.weight.detach()
    for token in x.reshape(-1, x.shape[-1]):
        logits = weight.to(token.dtype) @ token
        scores = logits.softmax(0) if scoring == "softmax" else 1 / (1 + (-logits).exp())
        wanted = scores if bias is None else scores + bias
        best = sorted(range(len(scores)), key=lambda i: (-float(wanted[i]), i))[:k]
        total = sum(float(scores[i]) for i in best) if renormalize else 1.0
        row = sum(float(scores[i]) / total * scale * layer.experts[str(i)](token) for i in best)
        rows.append(row if layer.shared is None else row + layer.shared(token))
    return torch.stack(rows).view(x.shape)


# ---------------------------------------------------------------- choosing


def test_worked_example():
    tokens = torch.tensor([[3.0, 1], [1, 3], [9, 1]]).log()
    routing = choose_experts(tokens, 1)
    assert routing.chosen.tolist() == [[0], [1], [0]]
    torch.testing.assert_close(routing.weights, torch.tensor([[0.75], [0.75], [0.9]]))
    found = apply_experts((lambda x: 2 * x, lambda x: -x), tokens, routing)
    torch.testing.assert_close(found, tokens * torch.tensor([[1.5], [-0.75], [1.8]]))


@pytest.mark.parametrize("E, k", [(1, 1), (4, 1), (4, 2), (7, 7), (64, 6)])
@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_choice_is_topk(E, k, scoring):
    logits, bias = draw(100, E), draw(E, seed=1)
    routing = choose_experts(logits, k, bias, scoring=scoring, scale=2.5)
    scores = logits.softmax(-1) if scoring == "softmax" else logits.sigmoid()
    best = (scores + bias).topk(k).indices
    assert torch.equal(routing.chosen, best)
    weights = scores.gather(1, best)
    torch.testing.assert_close(routing.weights, 2.5 * (weights / weights.sum(1, keepdim=True) if k > 1 else weights))
    torch.testing.assert_close(routing.scores, scores)


def test_mixtral_normalizes_over_the_chosen():
    logits = draw(50, 8)
    routing = choose_experts(logits, 3)
    torch.testing.assert_close(routing.weights, logits.gather(1, routing.chosen).softmax(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ties_go_to_the_lower_index(dtype):
    assert choose_experts(torch.zeros(3, 64, dtype=dtype), 3).chosen.tolist() == [[0, 1, 2]] * 3
    logits = torch.tensor([[1.0, 3, 3, 3], [2, 2, 5, 2], [0, 0, 0, 1]], dtype=dtype)
    assert choose_experts(logits, 2).chosen.tolist() == [[1, 2], [2, 0], [3, 0]]
    assert choose_experts(logits, 4).chosen.tolist() == [[1, 2, 3, 0], [2, 0, 1, 3], [3, 0, 1, 2]]


def test_choosing_changes_nothing_and_takes_any_strides():
    logits = draw(8, 20).T
    before = logits.clone()
    found = choose_experts(logits, 2)
    assert torch.equal(logits, before)
    for a, b in zip(found, choose_experts(logits.contiguous(), 2), strict=True):
        torch.testing.assert_close(a, b)


def test_extreme_logits_give_finite_weights():
    logits = torch.tensor([[-1e4, -1e4, -2e4], [1e4, -1e4, 1e4]])
    for scoring in ("softmax", "sigmoid"):
        routing = choose_experts(logits, 2, scoring=scoring)
        assert torch.isfinite(routing.weights).all() and torch.isfinite(load_balancing_loss(routing.scores, routing.chosen))


def test_single_weight_is_not_divided_by_itself():
    for renormalize, reached in ((None, True), (False, True), (True, False)):
        logits = draw(6, 4).requires_grad_()
        weights = choose_experts(logits, 1, renormalize=renormalize).weights
        weights.sum().backward()
        assert (logits.grad.abs().max() > 1e-3) == reached
    assert torch.equal(choose_experts(draw(6, 4), 2, renormalize=False).weights.sum(1) < 1, torch.ones(6, dtype=torch.bool))


def test_bias_moves_the_choice_and_not_the_weights():
    logits = draw(50, 4)
    routing = choose_experts(logits, 1, torch.tensor([0.0, 0, 9, 0]))
    assert (routing.chosen == 2).all()
    torch.testing.assert_close(routing.weights[:, 0], logits.softmax(-1)[:, 2])


@pytest.mark.parametrize("k", [0, -1, 5])
def test_impossible_choice(k):
    with pytest.raises(ValueError, match=f"{k} experts per token of 4: choose at least 1"):
        choose_experts(torch.zeros(2, 4), k)


def test_unknown_scoring():
    with pytest.raises(ValueError, match="scoring='tanh': choose 'softmax' or 'sigmoid'"):
        choose_experts(torch.zeros(2, 4), 1, scoring="tanh")


# ---------------------------------------------------------------- grouping


def test_load_is_bincount():
    chosen = torch.randint(0, 9, (50, 3), generator=torch.Generator().manual_seed(0))
    assert torch.equal(expert_load(chosen, 11), torch.bincount(chosen.flatten(), minlength=11))
    assert expert_load(chosen[:0], 3).tolist() == [0, 0, 0]
    assert expert_load(chosen.T, 11).dtype == torch.int64


@pytest.mark.parametrize("capacity", [None, 0, 1, 4, 1000])
@pytest.mark.parametrize("N, k, E", [(0, 2, 3), (1, 1, 1), (17, 2, 5), (30, 4, 4)])
def test_groups_match_a_queue_per_expert(capacity, N, k, E):
    chosen = torch.stack([torch.randperm(E, generator=torch.Generator().manual_seed(n))[:k] for n in range(N)] or [torch.zeros(k)])
    chosen = chosen[:N].long()
    queues = [[] for _ in range(E)]
    for place, expert in enumerate(chosen.flatten().tolist()):
        if capacity is None or len(queues[expert]) < capacity:
            queues[expert].append(place)
    order, counts = group_by_expert(chosen, E, capacity)
    assert order.tolist() == sum(queues, []) and counts.tolist() == [len(queue) for queue in queues]


# ---------------------------------------------------------------- the layer against its definition


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("E, k, shared", [(1, 1, 0), (4, 1, 0), (5, 2, 1), (8, 2, 2), (3, 3, 0)])
def test_layer_matches_the_definition(scoring, E, k, shared):
    layer = make(6, 10, E, k, shared_experts=shared, scoring=scoring, renormalize=k > 1, scale=1.5).double()
    layer.choice_bias.copy_(draw(E, seed=3))
    x = draw(3, 7, 6, dtype=torch.float64)
    expected = by_hand(layer, x, k, scoring, layer.choice_bias, k > 1, 1.5)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=1e-10, atol=1e-12)


def test_one_expert_is_the_dense_layer():
    layer, x = make(8, 12, 1, 1), draw(2, 5, 8)
    assert torch.equal(layer(x), layer.experts["0"](x.reshape(-1, 8)).view(x.shape))
    sigmoid = make(8, 12, 1, 1, scoring="sigmoid", renormalize=True)
    torch.testing.assert_close(sigmoid(x), sigmoid.experts["0"](x))


def test_all_experts_are_the_weighted_sum():
    layer, x = make(8, 12, 4, 4), draw(2, 5, 8)
    weights = layer.router(x).softmax(-1)
    answers = torch.stack([expert(x) for expert in layer.experts.values()], -1)
    torch.testing.assert_close(layer(x), (answers * weights.unsqueeze(-2)).sum(-1))


def test_equal_experts_are_the_dense_layer():
    layer, x = make(8, 12, 4, 2), draw(20, 8)
    for expert in layer.experts.values():
        expert.load_state_dict(layer.experts["0"].state_dict())
    torch.testing.assert_close(layer(x), layer.experts["0"](x))


def test_shared_experts_are_a_sum_of_experts():
    layer, x = make(8, 12, 4, 2, shared_experts=2), draw(5, 8)
    halves = [SwiGLU(8, 12) for _ in range(2)]
    for half, rows in zip(halves, (slice(0, 12), slice(12, 24)), strict=True):
        half.gate.weight.data = layer.shared.gate.weight.data[rows]
        half.up.weight.data = layer.shared.up.weight.data[rows]
        half.down.weight.data = layer.shared.down.weight.data[:, rows]
    torch.testing.assert_close(layer.shared(x), halves[0](x) + halves[1](x))


def test_other_experts():
    layer, x = make(8, 12, 3, 2, build_expert=FeedForward), draw(5, 8)
    torch.testing.assert_close(layer(x), by_hand(layer, x, 2))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0, 8), (1, 8), (8,), (1, 1, 8), (2, 3, 4, 8)])
def test_shapes(shape):
    layer, x = make(8, 12, 5, 2, shared_experts=1), draw(*shape).requires_grad_()
    y = layer(x)
    assert y.shape == x.shape and y.dtype == x.dtype
    y.sum().backward()
    assert x.grad.shape == x.shape and layer.load.sum() == 2 * (x.numel() // 8)
    assert torch.isfinite(collect_auxiliary_loss(layer, 1.0, 1.0))


def test_strided_input_is_left_alone():
    layer, x = make(8, 12, 5, 2), draw(8, 7, 2).permute(2, 1, 0)
    before = x.clone()
    torch.testing.assert_close(layer(x), layer(x.contiguous()))
    assert torch.equal(x, before)


def test_experts_without_tokens_get_zeros():
    layer = make(8, 12, 6, 2)
    layer(draw(8)).sum().backward()
    used = set(layer.routing.chosen.flatten().tolist())
    assert len(used) == 2
    for i, expert in enumerate(layer.experts.values()):
        for parameter in expert.parameters():
            assert parameter.grad is not None and bool(parameter.grad.any()) == (i in used)


def test_gradcheck():
    layer = make(3, 2, 4, 2, shared_experts=1).double()
    x = draw(5, 3, dtype=torch.float64, seed=5).requires_grad_()
    names, weights = zip(*layer.named_parameters(), strict=True)

    def whole(x, *weights):
        y = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))
        return y, load_balancing_loss(layer.routing.scores, layer.routing.chosen), router_z_loss(layer.routing.logits)

    assert torch.autograd.gradcheck(whole, (x, *weights))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_routes_like_float32(dtype):
    layer = make(32, 48, 8, 2, shared_experts=1)
    half, x = copy.deepcopy(layer).to(dtype), draw(200, 32).to(dtype)
    y = half(x)
    assert y.dtype == dtype and half.routing.logits.dtype == torch.float32
    rounded = copy.deepcopy(half).float()  # the same weights, computed in float32
    expected = rounded(x.float())
    assert torch.equal(half.routing.chosen, rounded.routing.chosen)
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02)
    y.sum().backward()
    assert half.router.weight.grad.dtype == dtype


def test_autocast_does_not_reach_the_router():
    layer, x = make(32, 48, 8, 2, shared_experts=1), draw(200, 32)
    exact = layer(x)
    routing = layer.routing
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == layer.experts["0"](x).dtype == torch.bfloat16
    assert torch.equal(layer.routing.logits, routing.logits)
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.02)


# ---------------------------------------------------------------- transformers


def load_experts(layer, theirs):
    """Give our experts the weights of transformers' stacked ones."""
    with torch.no_grad():
        for i, expert in enumerate(layer.experts.values()):
            gate, up = theirs.experts.gate_up_proj[i].chunk(2)
            expert.gate.weight.copy_(gate)
            expert.up.weight.copy_(up)
            expert.down.weight.copy_(theirs.experts.down_proj[i])
        layer.router.weight.copy_(theirs.gate.weight)


def fill(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def test_layer_is_mixtrals():
    transformers = pytest.importorskip("transformers")
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=8, num_experts_per_tok=2)
    config._experts_implementation = "eager"
    theirs, ours = fill(mixtral.MixtralSparseMoeBlock(config)), ExpertLayer(16, 24, 8, 2)
    load_experts(ours, theirs)
    x, y = (draw(3, 11, 16).requires_grad_() for _ in range(2))
    torch.testing.assert_close(ours(x), theirs(y), rtol=1e-5, atol=1e-5)
    upstream = draw(3, 11, 16, seed=2)
    ours(x).backward(upstream)
    theirs(y).backward(upstream)
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.router.weight.grad, theirs.gate.weight.grad, rtol=1e-4, atol=1e-4)
    expected = mixtral.load_balancing_loss_func((theirs.gate(x.reshape(-1, 16))[0],), 8, 2)
    torch.testing.assert_close(2 * load_balancing_loss(ours.routing.scores, ours.routing.chosen), expected)


@pytest.mark.parametrize("k, shared", [(2, 1), (4, 2)])
def test_layer_is_deepseek_v3s(k, shared):
    transformers = pytest.importorskip("transformers")
    deepseek = pytest.importorskip("transformers.models.deepseek_v3.modeling_deepseek_v3")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "moe_intermediate_size": 24, "n_routed_experts": 8, "num_experts_per_tok": k}
    config = transformers.DeepseekV3Config(**sizes, n_shared_experts=shared, n_group=1, topk_group=1)
    config._experts_implementation = "eager"
    theirs = fill(deepseek.DeepseekV3MoE(config))
    ours = ExpertLayer(16, 24, 8, k, shared_experts=shared, scoring="sigmoid", scale=2.5)
    load_experts(ours, theirs)
    for name, weight in theirs.shared_experts.state_dict().items():
        ours.shared.state_dict()[name.replace("_proj", "")].copy_(weight)
    bias = draw(8, seed=7)
    theirs.gate.e_score_correction_bias.copy_(bias)
    ours.choice_bias.copy_(bias)
    x = draw(3, 11, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    plain = choose_experts(ours.routing.logits, k, scoring="sigmoid").chosen
    assert not torch.equal(plain, ours.routing.chosen)  # the bias made a difference


# ---------------------------------------------------------------- capacity


def test_capacity_drops_what_comes_last():
    layer, x = make(8, 12, 4, 2, capacity_factor=0.5), draw(3, 8, 8)
    y, routing = layer(x), layer.routing
    room, taken, rows = 6, [0] * 4, []  # 0.5 * 2 * 24 / 4
    for token, chosen, weights in zip(x.reshape(-1, 8), routing.chosen.tolist(), routing.weights, strict=True):
        row = torch.zeros(8)
        for i, weight in zip(chosen, weights, strict=True):
            taken[i] += 1
            row = row + weight * layer.experts[str(i)](token) if taken[i] <= room else row
        rows.append(row)
    torch.testing.assert_close(y, torch.stack(rows).view_as(x))
    assert max(taken) > room and layer.load.tolist() == taken  # the load counts what was wanted
    dropless = make(8, 12, 4, 2)
    torch.testing.assert_close(layer.eval()(x), dropless(x))


def test_wide_capacity_is_dropless():
    layer, x = make(8, 12, 4, 2, capacity_factor=4.0), draw(30, 8)
    assert torch.equal(layer(x), make(8, 12, 4, 2)(x))
    assert layer(draw(0, 8)).shape == (0, 8)


def test_capacity_is_causal_within_one_text():
    layer, x = make(8, 12, 4, 2, capacity_factor=0.5), draw(1, 16, 8)
    changed = x.clone()
    changed[:, 9:] = draw(1, 7, 8, seed=4)
    torch.testing.assert_close(layer(x)[:, :9], layer(changed)[:, :9])


def test_capacity_lets_texts_depend_on_each_other_in_training_alone():
    layer, x = make(8, 12, 4, 2, capacity_factor=0.5), draw(2, 16, 8)
    other = torch.cat([draw(1, 16, 8, seed=4), x[1:]])
    assert not torch.allclose(layer(x)[1], layer(other)[1], atol=1e-3)
    layer.eval()
    torch.testing.assert_close(layer(x)[1], layer(other)[1])


# ---------------------------------------------------------------- balancing


def test_balancing_loss_extremes():
    even = torch.arange(12).reshape(12, 1) % 4
    one = torch.zeros(12, 1, dtype=torch.int64)
    flat, peaked = torch.full((12, 4), 0.25), F.one_hot(one[:, 0], 4).float()
    assert load_balancing_loss(flat, even) == load_balancing_loss(peaked, even) == load_balancing_loss(flat, one) == 1
    assert load_balancing_loss(peaked, one) == 4
    assert load_balancing_loss(flat[:0], one[:0]) == 0 and router_z_loss(flat[:0]) == 0
    torch.testing.assert_close(load_balancing_loss(flat * 3, even), torch.tensor(1.0))  # sigmoid scores do not add up to 1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_balancing_loss_is_transformers(k):
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    logits = draw(60, 6)
    routing = choose_experts(logits, k)
    expected = mixtral.load_balancing_loss_func((logits,), 6, k)
    torch.testing.assert_close(k * load_balancing_loss(routing.scores, routing.chosen), expected)


def test_balancing_gradient_is_the_exercises():
    logits = draw(10, 4, dtype=torch.float64).requires_grad_()
    routing = choose_experts(logits, 2)
    load_balancing_loss(routing.scores, routing.chosen).backward()
    share, s = expert_load(routing.chosen, 4) / 20, logits.detach().softmax(-1)
    torch.testing.assert_close(logits.grad, 4 / 10 * s * (share - (s * share).sum(-1, keepdim=True)))


def test_z_loss():
    logits = draw(20, 4, dtype=torch.float64)
    torch.testing.assert_close(router_z_loss(logits), (logits.exp().sum(-1).log() ** 2).mean())


def test_bias_step():
    found = bias_step(torch.tensor([1.0, 0, 0, -1]), torch.tensor([9, 5, 1, 5]), 0.5)
    assert found.tolist() == [0.5, 0, 0.5, -1]


def test_bias_balances_a_skewed_router():
    logits = draw(500, 8)
    logits[:, 3] += 2
    bias = torch.zeros(8)
    for _ in range(500):
        bias = bias_step(bias, expert_load(choose_experts(logits, 2, bias).chosen, 8), 0.002)
    load = expert_load(choose_experts(logits, 2, bias).chosen, 8)
    assert load.max() < 1.1 * load.double().mean()


def test_load_counts_training_until_the_step():
    layer, x = make(8, 12, 4, 2), draw(10, 8)
    assert layer.load is None
    balance_experts(layer)  # nothing to do yet
    layer(x)
    first = layer.load.clone()
    layer(x)
    layer.eval()(x)
    assert torch.equal(layer.load, 2 * first) and first.sum() == 20
    summed = []
    balance_experts(layer, 0.25, total=summed.append)
    assert torch.equal(summed[0], 2 * first) and layer.load is None
    assert torch.equal(layer.choice_bias, 0.25 * (5.0 - first).sign())


def test_total_sums_over_processes():
    layer = make(8, 12, 4, 2)
    layer(draw(10, 8))
    others = torch.tensor([100, 0, 0, 0])
    balance_experts(layer, 1.0, total=lambda load: load.add_(others))
    assert layer.choice_bias[0] == -1


def test_bias_is_state_and_no_parameter():
    layer = make(8, 12, 4, 2)
    layer(draw(10, 8))
    balance_experts(layer, 0.1)
    state = layer.state_dict()
    assert "choice_bias" in state and state["choice_bias"].any() and "choice_bias" not in dict(layer.named_parameters())
    other = make(8, 12, 4, 2, seed=1)
    other.load_state_dict(state)
    assert torch.equal(other.choice_bias, layer.choice_bias)
    names = {name for name in state if name.startswith("experts.3")}
    assert names == {f"experts.3.{part}.weight" for part in ("gate", "up", "down")}


def test_bias_in_half_precision_is_refused():
    layer = make(8, 12, 4, 2).bfloat16()
    layer(draw(10, 8).bfloat16())
    with pytest.raises(ValueError, match=r"choice_bias is torch.bfloat16.*float\(\)"):
        balance_experts(layer)
    layer.choice_bias = layer.choice_bias.float()
    balance_experts(layer)
    assert layer.choice_bias.any()


# ---------------------------------------------------------------- the auxiliary loss


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = make(8, 12, 4, 2), make(8, 12, 6, 2, seed=1)

    def forward(self, x):
        x = x + self.first(x)
        return x + self.second(x)


def squares(model, x):
    return model(x).square().sum(), torch.tensor(len(x))


def test_auxiliary_losses_add_up():
    model = Two()
    model(draw(10, 8))
    expected = sum(
        0.5 * load_balancing_loss(layer.routing.scores, layer.routing.chosen) + 0.25 * router_z_loss(layer.routing.logits)
        for layer in (model.first, model.second)
    )
    torch.testing.assert_close(collect_auxiliary_loss(model, 0.5, 0.25), expected)
    assert collect_auxiliary_loss(nn.Linear(2, 2)) == 0


def test_auxiliary_loss_counts_tokens_in_micro_batches():
    """Two micro-batches give the sum of their losses, whatever their sizes, so one division by the count is right."""
    model, x = Two(), draw(12, 8)
    loss = with_auxiliary_loss(squares, 0.5)
    parts = [loss(model, part) for part in x.split([9, 3])]
    sum(total for total, _ in parts).backward()
    found = model.first.router.weight.grad.clone()
    model.zero_grad()
    expected = 0
    for part in x.split([9, 3]):
        expected = expected + squares(model, part)[0] + len(part) * collect_auxiliary_loss(model, 0.5)
    expected.backward()
    torch.testing.assert_close(found, model.first.router.weight.grad)
    torch.testing.assert_close(sum(total for total, _ in parts), expected)
    assert sum(count for _, count in parts) == 12


def test_auxiliary_gradient_reaches_earlier_layers():
    model = Two()
    model(draw(10, 8))
    collect_auxiliary_loss(model).backward()
    assert model.first.router.weight.grad.any() and model.first.experts["0"].up.weight.grad.any()
    assert model.second.router.weight.grad.any()


def test_recomputation():
    model, x = Two(), draw(10, 8)
    gradients = []
    for run in (model, lambda x: checkpoint(model, x, use_reentrant=False)):
        model.zero_grad()
        (run(x).square().sum() + collect_auxiliary_loss(model, 1.0, 1.0)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        loads = [layer.load for layer in (model.first, model.second)]
        for layer in (model.first, model.second):
            layer.load = None
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)
    assert loads[0].sum() == 2 * 20  # counted twice, which no sign of a difference sees


def test_collecting_refuses_what_has_no_graph():
    layer, x = make(8, 12, 4, 2), draw(10, 8)
    with pytest.raises(ValueError, match="collect after a forward pass"):
        collect_auxiliary_loss(layer)
    checkpoint(layer, x.clone().requires_grad_(), use_reentrant=True)
    with pytest.raises(ValueError, match="use_reentrant=False"):
        collect_auxiliary_loss(layer)
    with torch.no_grad():
        layer(x)
        assert collect_auxiliary_loss(layer) > 0  # to look at
    layer.router.weight.requires_grad_(False)
    layer(x)
    assert collect_auxiliary_loss(layer) > 0  # a frozen router needs no gradient


def test_layers_can_be_copied_after_a_call():
    layer, x = make(8, 12, 4, 2), draw(10, 8)
    y = layer(x)
    twin, loaded = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    assert layer.routing is not None and twin.routing is None
    torch.testing.assert_close(twin(x), y)
    torch.testing.assert_close(loaded(x), y)
    assert torch.equal(twin.load, 2 * layer.load)


def test_compiled_layer_gives_the_same():
    layer, x = make(8, 12, 4, 2, shared_experts=1), draw(10, 8)
    expected, load = layer(x), layer.load
    layer.load = None
    compiled = torch.compile(layer, backend="eager")
    found = compiled(x)
    torch.testing.assert_close(found, expected)
    assert torch.equal(layer.load, load)
    (found.sum() + collect_auxiliary_loss(layer, 1.0)).backward()
    assert layer.router.weight.grad.any()
    balance_experts(layer, 0.1)
    torch.testing.assert_close(compiled(x), layer(x))


# ---------------------------------------------------------------- sizes and errors


@pytest.mark.parametrize("E, k, shared", [(1, 1, 0), (8, 2, 0), (6, 3, 2)])
def test_parameters_and_operations(E, k, shared):
    from torch.utils.flop_counter import FlopCounterMode

    layer, tokens = make(8, 12, E, k, shared_experts=shared), 10
    every, active = count_expert_parameters(8, 12, E, k, shared)
    assert every == sum(parameter.numel() for parameter in layer.parameters())
    with FlopCounterMode(display=False) as counter:
        layer(draw(tokens, 8))
    assert counter.get_total_flops() == 2 * active * tokens


def test_published_shapes():
    every, active = (32 * count / 1e9 for count in count_expert_parameters(4096, 14336, 8, 2))
    attention, embeddings = 32 * (2 * 4096**2 + 2 * 4096 * 1024) / 1e9, 2 * 32000 * 4096 / 1e9
    assert round(every + attention + embeddings, 1) == 46.7 and round(active + attention + embeddings, 1) == 12.9


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((8, 12, 4, 5), {}, "5 experts per token of 4"),
        ((8, 12, 0, 1), {}, "1 experts per token of 0"),
        ((8, 12, 4, 2), {"shared_experts": -1}, "-1 shared experts: give 0"),
        ((8, 12, 4, 2), {"capacity_factor": 0.0}, "capacity_factor=0.0: give a positive"),
        ((8, 12, 4, 2), {"capacity_factor": float("nan")}, "capacity_factor=nan"),
        ((8, 12, 4, 2), {"scoring": "none"}, "scoring='none'"),
    ],
)
def test_impossible_layers(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ExpertLayer(*arguments, **options)


def test_impossible_input():
    with pytest.raises(ValueError, match=r"input of shape \(2, 7\).*width, 8"):
        make(8, 12, 4, 2)(torch.zeros(2, 7))
