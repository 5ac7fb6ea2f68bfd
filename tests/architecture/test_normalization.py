"""Normalizations against PyTorch, transformers and float64."""

import pytest
import torch
import torch.nn.functional as F

from llmbook.architecture.normalization import LayerNorm, RMSNorm, layer_norm, rms_norm


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("shape", [(16,), (3, 16), (2, 3, 4, 16), (1, 1)])
@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_match_torch_in_float64(shape, eps):
    x, w, b = draw(*shape) + 0.5, draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    torch.testing.assert_close(rms_norm(x, w, eps), F.rms_norm(x, shape[-1:], w, eps), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(rms_norm(x, eps=eps), F.rms_norm(x, shape[-1:], None, eps), rtol=1e-12, atol=1e-14)
    centered = x - x.mean(-1, keepdim=True)
    expected = centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt() * w + b
    torch.testing.assert_close(layer_norm(x, w, b, eps), expected, rtol=1e-10, atol=1e-12)


def test_gradients():
    leaves = [draw(3, 8).requires_grad_(), draw(8, seed=1).requires_grad_(), draw(8, seed=2).requires_grad_()]
    assert torch.autograd.gradcheck(rms_norm, leaves[:2])
    assert torch.autograd.gradcheck(layer_norm, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(7, 33), (2, 5, 256), (3, 1)])
def test_match_torch_in_float64_from_shorter_types(shape, dtype):
    x, w, b = (30 * draw(*shape)).to(dtype), draw(shape[-1], seed=1).to(dtype), draw(shape[-1], seed=2).to(dtype)
    wide, eps = shape[-1:], torch.finfo(dtype).eps
    exact = F.rms_norm(x.double(), wide, w.double(), 1e-6)
    torch.testing.assert_close(rms_norm(x, w).double(), exact, rtol=5 * eps, atol=1e-6)
    exact = F.layer_norm(x.double(), wide, w.double(), b.double(), 1e-5)
    torch.testing.assert_close(layer_norm(x, w, b).double(), exact, rtol=5 * eps, atol=20 * eps)


@pytest.mark.parametrize("norm", [rms_norm, layer_norm])
def test_gradient_is_projected_and_divided_by_the_size(norm):
    x, g = draw(6, 9), draw(6, 9, seed=1)
    x.requires_grad_()
    (found,) = torch.autograd.grad(norm(x, eps=0.0), x, g)
    basis = [x.detach()] if norm is rms_norm else [torch.ones_like(g), x.detach() - x.detach().mean(-1, keepdim=True)]
    size = basis[-1].square().mean(-1, keepdim=True).sqrt()
    for direction in basis:  # orthogonal to each other
        unit = direction / direction.norm(dim=-1, keepdim=True)
        g = g - (g * unit).sum(-1, keepdim=True) * unit
    torch.testing.assert_close(found, g / size, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", [rms_norm, layer_norm])
def test_strides_empty_input_and_nothing_in_place(norm):
    x = draw(6, 4, 8)
    kept, strided = x.clone(), x.transpose(0, 1)[:, ::2]
    torch.testing.assert_close(norm(strided), norm(strided.contiguous()), rtol=0, atol=0)
    assert torch.equal(x, kept) and norm(x[:0]).shape == (0, 4, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_matches_llama(dtype):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    theirs, ours = llama.LlamaRMSNorm(64, eps=1e-6), RMSNorm(64, eps=1e-6)
    with torch.no_grad():
        theirs.weight.copy_(draw(64, seed=1))
    ours.load_state_dict(theirs.state_dict())
    x = draw(5, 64, dtype=dtype)
    tolerance = {"rtol": 2**-6, "atol": 1e-3} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(ours(x).float(), theirs(x).float(), **tolerance)


def test_bfloat16_rounds_at_most_three_times():
    x, w = draw(200, 256, dtype=torch.bfloat16), draw(256, dtype=torch.float32, seed=1)
    exact = rms_norm(x.double(), w.bfloat16().double())
    result = rms_norm(x, w)
    assert result.dtype == torch.bfloat16
    assert ((result.double() - exact).abs() <= 3.05 * 2**-8 * exact.abs()).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("norm", [RMSNorm(64), LayerNorm(64)])
def test_dtype_is_kept_also_under_autocast(norm, dtype):
    x = (draw(3, 64) * 300).to(dtype)  # squares overflow float16
    expected = norm(x.double())
    assert norm(x).dtype == dtype
    torch.testing.assert_close(norm(x).double(), expected, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x).dtype == dtype


def test_zero_vectors_give_zero_and_finite_gradients():
    x = torch.zeros(2, 8, requires_grad=True)
    for norm in (RMSNorm(8), LayerNorm(8)):
        y = norm(x)
        assert torch.equal(y, torch.zeros(2, 8))
        (gradient,) = torch.autograd.grad((y * torch.arange(8)).sum(), x)
        assert gradient.isfinite().all()


def test_variance_divides_by_the_width():
    assert layer_norm(torch.tensor([1.0, 1.0, 3.0, 3.0]), eps=0.0).tolist() == pytest.approx([-1, -1, 1, 1])


def test_reset():
    norm = LayerNorm(4)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.reset_parameters()
    assert norm.weight.tolist() == [1] * 4 and norm.bias.tolist() == [0] * 4


def test_a_weight_of_another_width_is_refused_and_not_broadcast():
    x = torch.ones(2, 3, 8)
    for weight in (torch.ones(1), torch.ones(7), torch.ones(3, 8), torch.tensor(1.0)):
        for call in (lambda w: rms_norm(x, w), lambda w: layer_norm(x, w), lambda w: layer_norm(x, None, w)):
            with pytest.raises(ValueError, match=r"input of shape \(2, 3, 8\): the last dimension must be the width"):
                call(weight)
