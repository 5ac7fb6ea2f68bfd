"""Feed-forward layers against closed forms and transformers."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmbook.architecture.feedforward import FeedForward, SwiGLU, gelu, gelu_tanh, squared_relu, swiglu, swiglu_width


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_gelus_match_closed_forms():
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    exact = x * torch.special.ndtr(x)
    by_tanh = x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(gelu(x), exact, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gelu_tanh(x), by_tanh, rtol=1e-9, atol=1e-12)
    assert 1e-4 < (gelu(x) - gelu_tanh(x)).abs().max() < 5e-4


def test_gelus_match_transformers():
    activations = pytest.importorskip("transformers.activations")
    x = draw(1000) * 3
    torch.testing.assert_close(gelu_tanh(x), activations.ACT2FN["gelu_new"](x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gelu(x), activations.ACT2FN["gelu"](x))


def test_squared_relu_matches_transformers_and_its_closed_form():
    activations = pytest.importorskip("transformers.activations")
    x = draw(1000) * 3
    torch.testing.assert_close(squared_relu(x), activations.ACT2FN["relu2"](x))
    x = torch.linspace(-3, 3, 61, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(squared_relu(x), x.clamp(min=0) ** 2)
    (gradient,) = torch.autograd.grad(squared_relu(x).sum(), x)
    torch.testing.assert_close(gradient, 2 * x.detach().clamp(min=0))
    assert squared_relu(torch.tensor([256.0], dtype=torch.float16)).isinf() and squared_relu(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("bias", [True, False])
def test_swiglu_matches_llama(bias):
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    torch.manual_seed(0)
    theirs = llama.LlamaMLP(transformers.LlamaConfig(hidden_size=32, intermediate_size=88, mlp_bias=bias))
    ours = SwiGLU(32, 88, bias=bias)
    ours.load_state_dict({name.replace("_proj", ""): weight for name, weight in theirs.state_dict().items()})
    x = draw(2, 5, 32)
    torch.testing.assert_close(ours(x), theirs(x))


def test_swiglu_gates_the_second_argument():
    torch.testing.assert_close(
        swiglu(torch.tensor([0.0, 1.0, -50.0]), torch.tensor([9.0, 2.0, 3.0])), torch.tensor([0.0, 2 / (1 + math.exp(-1)), 0.0])
    )


@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_is_gpt2s(bias):
    torch.manual_seed(0)
    layer, x = FeedForward(8, 32, bias=bias), draw(2, 5, 8)
    hidden = x @ layer.up.weight.T + (layer.up.bias if bias else 0)
    expected = gelu_tanh(hidden) @ layer.down.weight.T + (layer.down.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected)
    assert (layer.up.bias is not None) == bias


@pytest.mark.parametrize("activation", [F.relu, gelu, gelu_tanh, squared_relu, F.silu])
def test_feed_forward_with_each_activation_is_a_memory(activation):
    torch.manual_seed(0)
    layer, x = FeedForward(8, 32, activation=activation).double(), draw(2, 5, 8).double()
    expected = layer.down.bias.expand(2, 5, 8)
    for i in range(32):  # one pattern at a time
        fit = (x * layer.up.weight[i]).sum(-1, keepdim=True) + layer.up.bias[i]
        expected = expected + activation(fit) * layer.down.weight[:, i]
    torch.testing.assert_close(layer(x), expected)
    assert list(layer.state_dict()) == ["up.weight", "up.bias", "down.weight", "down.bias"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", [lambda: FeedForward(8, 20, activation=squared_relu), lambda: SwiGLU(8, 20)])
def test_dtypes_strides_and_gradients(build, dtype):
    torch.manual_seed(0)
    layer, x = build(), draw(5, 2, 8).transpose(0, 1)
    exact, kept = layer.double()(x.double()).detach(), x.clone()
    result = layer.to(dtype)(x.to(dtype))
    assert result.dtype == dtype and torch.equal(x, kept)
    torch.testing.assert_close(result.double(), exact, rtol=0, atol=0.02 if dtype.itemsize == 2 else 1e-6)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(layer, [x.double().requires_grad_()])


def test_an_activation_is_a_function():
    with pytest.raises(ValueError, match="activation='relu2': give a function of a tensor, as squared_relu"):
        FeedForward(4, 16, activation="relu2")


def test_swiglu_width():
    assert [swiglu_width(D) for D in (1, 24, 25, 256, 768, 4096)] == [64, 64, 128, 704, 2048, 10944]
    assert swiglu_width(4096, 256) == 11008 and swiglu_width(5120, 256) == 13824  # Llama 7B and 13B
    for D in range(1, 400):
        assert 0 <= 3 * swiglu_width(D) - 8 * D < 3 * 64 and swiglu_width(D) % 64 == 0


@pytest.mark.parametrize("arguments", [(0,), (-5,), (64, 0)])
def test_impossible_width(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        swiglu_width(*arguments)
