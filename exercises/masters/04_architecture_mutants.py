"""Named wrong answers to the exercises of 04_architecture, the mistakes of real learners.

Each cell is the whole solution cell of a question, with the mistake that its title names.
It must lose points in its own question and none in the others.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% norms: eps outside the root, in RMSNorm
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y / (y.square().mean(-1, keepdim=True).sqrt() + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: eps outside the root, in LayerNorm
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y / (y.square().mean(-1, keepdim=True).sqrt() + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the sum of squares in place of their mean
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().sum(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the variance of PyTorch, which divides by D - 1
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.var(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the mean of the squares less the square of the mean
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = y.mean(-1, keepdim=True)
    variance = y.square().mean(-1, keepdim=True) - mean.square()
    y = (y - mean) * torch.rsqrt(variance + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: all in the half precision of the input
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: only float16 is worked on in float32
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.float() if x.dtype == torch.float16 else x
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.float() if x.dtype == torch.float16 else x
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: float64 is worked on in float32
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.float()
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.float()
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: half-precision input gives float32
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


# %% norms: the scale is rounded before it is multiplied
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    scale = torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = x * scale.to(x.dtype)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the normalized vectors are rounded before the weight, as in Llama's code
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y.to(x.dtype)
    return (y if weight is None else weight * y).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: float32 weights and biases are rounded to the dtype of the input
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight.to(x.dtype)).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight.to(x.dtype)
    return (y if bias is None else y + bias.to(x.dtype)).to(x.dtype)


# %% norms: one scale for all vectors
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean() + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean()
    y = y * torch.rsqrt(y.square().mean() + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: over dimension 1, which is the last of two
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: RMSNorm centers, too
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: LayerNorm does not center
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the input is centered in place
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y -= y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the weight of RMSNorm is added to 1, as in Gemma
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * (1 + weight)).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the bias is scaled by the weight
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if bias is None else y + bias
    return (y if weight is None else y * weight).to(x.dtype)


# %% norms: the scale has no gradient
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.detach().square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the default eps of the two is exchanged
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: a weight that broadcasts is used
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the bias is not checked
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight,):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: a bias counts only beside a weight
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    if weight is None:
        return y.to(x.dtype)
    y = y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% norms: the last dimension of the weight alone is checked
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Vectors of x [..., D] over their root mean square, times the weight [D]."""
    if weight is not None and weight.ndim > 0 and weight.shape[-1] != x.shape[-1]:
        raise ValueError(f"weight of shape {list(weight.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y if weight is None else y * weight).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Vectors of x [..., D] with mean 0 and variance 1, times the weight [D], plus the bias [D]."""
    for vector in (weight, bias):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"weight or bias of shape {list(vector.shape)} for vectors of width {x.shape[-1]}")
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    y = y - y.mean(-1, keepdim=True)
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


# %% gated: sigmoid in place of silu
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (gate.sigmoid() * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: relu in place of silu
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.relu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: gelu in place of silu
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.gelu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: gate and up are exchanged
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    up, gate = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: silu of the product
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate * up) @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: rows of gate and up take turns
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    both = x.to(working) @ gate_up.to(working).mT
    gate, up = both[..., 0::2], both[..., 1::2]
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: cut along dimension 1, which is the last of two
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: silu by a formula in which large gates overflow
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (gate * gate.exp() / (1 + gate.exp()) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: all in half precision
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = x.dtype
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: only bfloat16 is worked on in float32
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: half-precision input gives float32
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return F.silu(gate) * up @ down.to(working).mT


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: the gated product is rounded before the last projection
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return ((F.silu(gate) * up).to(x.dtype).to(working) @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: float64 is worked on in float32
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.float32
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: matrices reshaped where they should be transposed
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).reshape(x.shape[-1], -1)).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).reshape(-1, x.shape[-1])).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: shapes that do not fit are not refused
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% gated: the width is rounded down
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return 2 * width // (3 * multiple) * multiple


# %% gated: the width is rounded to the nearest multiple
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return max(1, round(2 * width / (3 * multiple))) * multiple


# %% gated: a multiple is added even to a width that is one
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return (2 * width // (3 * multiple) + 1) * multiple


# %% gated: two thirds are rounded down before the multiple is taken
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-(2 * width // 3) // multiple) * multiple


# %% gated: the width by floating-point numbers
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return math.ceil(2 * width / 3 / multiple) * multiple


# %% gated: 8/3 of the width, as if it were D
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-8 * width // (3 * multiple)) * multiple


# %% gated: the width is a float
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1 or multiple < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * float(multiple)


# %% gated: a multiple of 0 is not refused
def gated_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """silu(gate) times up, projected down: x [..., D], gate_up [2 F, D], down [D, F] -> [..., D]."""
    if gate_up.shape[0] != 2 * down.shape[1]:
        raise ValueError(f"gate_up has {gate_up.shape[0]} rows, down {down.shape[1]} columns: expected twice as many")
    working = torch.promote_types(x.dtype, torch.float32)
    gate, up = (x.to(working) @ gate_up.to(working).mT).chunk(2, dim=-1)
    return (F.silu(gate) * up @ down.to(working).mT).to(x.dtype)


def gated_width(width: int, multiple: int = 64) -> int:
    """The smallest multiple with which three matrices hold at least what two of `width` hold."""
    if width < 1:
        raise ValueError(f"width {width}, multiple {multiple}: both must be at least 1")
    return -(-2 * width // (3 * multiple)) * multiple


# %% route: torch.topk, which promises no order of equals
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.topk(k, dim=-1).indices
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the smallest logits
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the chosen experts in the order of their indices
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(-1).values
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the higher of equal experts
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, stable=True).indices.flip(-1)[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: chosen by scores, which may be rounded to equal zeros
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = scores.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: weights are not divided by their sum
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: a single weight is divided by itself
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: scores by a sigmoid
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the softmax runs over the tokens
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=0)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the logits of the chosen are the weights
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = logits.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: all in half precision
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits, dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: float64 is worked on in float32
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.float(), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the weights are float32
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights, load, loss.to(logits.dtype)


# %% route: weights go through half precision before they are divided
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen).to(logits.dtype)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the chosen logits are struck out in place
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    found = []
    for _ in range(k):
        found.append(logits.detach().argmax(-1, keepdim=True))
        logits.data.scatter_(-1, found[-1], -torch.inf)
    chosen = torch.cat(found, -1)
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the load counts first choices only
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen[:, 0], minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the load ends at the last expert that was chosen
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten())
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the load is counted in the dtype of the logits
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = logits.new_zeros(E).index_add(0, chosen.flatten(), logits.new_ones(N * k)).long()
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the load is a share
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), share, loss.to(logits.dtype)


# %% route: the loss without the factor E
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss by shares of tokens, k times as large
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss by the chosen scores alone
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * torch.zeros_like(scores).scatter(-1, chosen, weights).sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss by the squares of the mean scores
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * ((scores.sum(0) / max(N, 1)).square()).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss by the squares of the shares
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share.square()).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss has no gradient
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.detach().sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the share is the part of all tokens in float32
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: without tokens the loss is no number
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / (N * k)
    loss = E * (share * scores.sum(0) / N).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss has a dimension
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum(-1, keepdim=True)
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: the loss is float32
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if not 1 <= k <= E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss


# %% route: k = 0 is not refused
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if k > E:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% route: k above E is left to PyTorch
def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chosen experts [N, k], their weights [N, k], the load [E] and the balancing loss []."""
    N, E = logits.shape
    if k < 1:
        raise ValueError(f"{k} experts per token of {E}")
    scores = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(-1, chosen)
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    load = torch.bincount(chosen.flatten(), minlength=E)
    share = load.to(scores.dtype) / max(N * k, 1)
    loss = E * (share * scores.sum(0) / max(N, 1)).sum()
    return chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)


# %% dispatch: the weights are not used
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the weights in the order of the tokens, though answers are sorted by expert
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[: len(order)].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the number of a choice is split the wrong way
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order % N if N else order
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the last answer of a token replaces the others
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_put((rows,), answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: experts are multiplied from the wrong side
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working) for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the experts without tokens are left out when slices are matched
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split([count for count in counts.tolist() if count]), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: all in half precision
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = x.dtype
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: answers are rounded before they are added up
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts).to(x.dtype).to(working) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: half-precision input gives float32
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y, kept.reshape(N, k)


# %% dispatch: float64 is worked on in float32
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.float32
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: weights are divided by their sum
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), (weights / weights.sum(-1, keepdim=True)).to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the weights that are left are divided by their sum
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    left = factors.reshape(N, k) * kept.reshape(N, k)
    total = left.sum(-1, keepdim=True)
    if capacity is not None:
        factors = torch.where(total == 0, left, left / total).flatten()
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: answers have no gradient
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers.detach())
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the sums of all experts for all tokens, by a table of weights
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    table = torch.zeros(N, E, dtype=working).scatter(1, chosen, factors.reshape(N, k) * kept.reshape(N, k))
    y = sum((table[:, e, None] * (wide @ experts[e].to(working).mT) for e in range(E)), torch.zeros(N, experts.shape[1], dtype=working))
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: a matrix is copied for each choice
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    N, k = chosen.shape
    working = torch.promote_types(x.dtype, torch.float32)
    kept = torch.ones(N, k, dtype=torch.bool)
    if capacity is not None:
        ones = F.one_hot(chosen.flatten(), len(experts))
        rank = (ones.cumsum(0) * ones).sum(-1).reshape(N, k)
        kept = rank <= capacity
    answers = (experts.to(working)[chosen] @ x.to(working)[:, None, :, None]).squeeze(-1)
    factors = weights.to(working).unsqueeze(-1)
    y = torch.where(kept.unsqueeze(-1), answers * factors, 0.0).sum(1)
    return y.to(x.dtype), kept


# %% dispatch: all experts answer all tokens, and the chosen answers are picked
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    N, k = chosen.shape
    working = torch.promote_types(x.dtype, torch.float32)
    kept = torch.ones(N, k, dtype=torch.bool)
    if capacity is not None:
        ones = F.one_hot(chosen.flatten(), len(experts))
        rank = (ones.cumsum(0) * ones).sum(-1).reshape(N, k)
        kept = rank <= capacity
    everything = torch.einsum("eij,nj->nei", experts.to(working), x.to(working))
    answers = everything.gather(1, chosen.unsqueeze(-1).expand(-1, -1, everything.shape[-1]))
    factors = weights.to(working).unsqueeze(-1)
    y = torch.where(kept.unsqueeze(-1), answers * factors, 0.0).sum(1)
    return y.to(x.dtype), kept


# %% dispatch: a capacity of 0 is taken for none
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: one choice more than there is room for
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank <= capacity], counts.clamp(max=capacity + 1)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: later tokens are seated before earlier ones
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]
    rank = counts[flat[order]] - 1 - rank
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: all first choices are seated before all second ones
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.T.flatten(), x.to(working), weights.to(working).T.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order % max(N, 1)
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(k, N).T


# %% dispatch: room is counted for all experts together
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = order  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], torch.bincount(flat[order[rank < capacity]], minlength=E)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: a token keeps all of its choices or none
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    if capacity is not None:
        kept = kept.reshape(N, k).all(-1, keepdim=True).expand(N, k).flatten()
        order = order[kept[order]]
        counts = torch.bincount(flat[order], minlength=E)
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: choices without a seat are marked
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), ~kept.reshape(N, k) if capacity is not None else kept.reshape(N, k)


# %% dispatch: kept in the order of the experts
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[: len(order)] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: kept says which tokens were seated
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    return y.to(x.dtype), kept.reshape(N, k).any(-1)


# %% dispatch: a token without a seat passes unchanged
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    if x.shape[1] == experts.shape[1]:
        y = torch.where(kept.reshape(N, k).any(-1, keepdim=True), y, wide)
    return y.to(x.dtype), kept.reshape(N, k)


# %% dispatch: the choices that are dropped are written into the caller's indices
def dispatch(x: Tensor, chosen: Tensor, weights: Tensor, experts: Tensor, capacity: int | None = None) -> tuple[Tensor, Tensor]:
    """Mixtures [N, D'] of the chosen experts' answers, and which choices [N, k] found room."""
    (N, k), E = chosen.shape, len(experts)
    working = torch.promote_types(x.dtype, torch.float32)
    flat, wide, factors = chosen.flatten(), x.to(working), weights.to(working).flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(N * k) - starts[flat[order]]  # place among the choices of an expert
    if capacity is not None:
        order, counts = order[rank < capacity], counts.clamp(max=capacity)
    kept = torch.zeros(N * k, dtype=torch.bool)
    kept[order] = True
    rows = order // k
    parts = [part @ expert.to(working).mT for part, expert in zip(wide[rows].split(counts.tolist()), experts)]
    answers = torch.cat(parts) * factors[order].unsqueeze(-1)
    y = torch.zeros(N, experts.shape[1], dtype=working).index_add(0, rows, answers)
    chosen[~kept.reshape(N, k)] = -1
    return y.to(x.dtype), kept.reshape(N, k)


# %% count: a tied table is counted twice
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = 2 * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the output matrix is never counted
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: keys and values have as many heads as queries
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows = kv_rows = heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: a head is always D / H wide
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None and width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the output of attention is D by D
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(width, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: four matrices of D by D
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = 4 * linear(width, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: all layers are gated
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = 2 * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: no layer is gated
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = 1 * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the gate has no bias
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = linear(width, ff_width) + (width * ff_width if gated else 0) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: attention has no biases
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = 2 * width * rows + 2 * width * kv_rows + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: biases are as long as inputs
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * inputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the output matrix has a bias
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + bias * vocab + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the norm at the end is missing
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: one norm per layer
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: LayerNorms have no bias
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: norms of queries and keys are always RMSNorms
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: norms of queries and keys have a weight for each head
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * per_norm * (rows + kv_rows)
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: norms of queries and keys are forgotten
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width)
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: queries and keys have one norm together
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: norms of queries and keys are there once, not in each layer
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width)
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width + qk_norm * 2 * per_norm * head_width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: learned positions are forgotten
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the width of a head is a float
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width / heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the sum goes through floating-point numbers
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return int(total(float(experts or 1))), int(total(float(experts_per_token if experts else 1)))


# %% count: a number is returned, and no tuple
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1)


# %% count: a G that does not divide H is used
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: an H that does not divide D is used
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: D must be a multiple of H even with a given head width
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    if head_width is None:
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the router is forgotten
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = 0
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: the router has a bias
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = linear(width, experts) if experts else 0
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: experts have no biases
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    if experts:
        one = (3 if gated else 2) * width * ff_width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1)


# %% count: all experts are active
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts or 1)


# %% count: one expert is active
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(1)


# %% count: a dense layer is there beside the experts
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts + 1), total(experts_per_token + 1)


# %% count: the router is not active
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token if experts else 1) - layers * router


# %% count: of the router the rows of visited experts are active
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    active = total(experts_per_token if experts else 1)
    return total(experts or 1), active - layers * width * (experts - experts_per_token)


# %% count: without experts nothing is active
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(experts or 1), total(experts_per_token)


# %% count: the experts are in one layer
def count_parameters(
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    ff_width: int,
    kv_heads: int | None = None,
    head_width: int | None = None,
    gated: bool = True,
    tied: bool = True,
    context: int = 0,
    bias: bool = False,
    layer_norm: bool = False,
    qk_norm: bool = False,
    experts: int = 0,
    experts_per_token: int = 0,
) -> tuple[int, int]:
    """All parameters of a transformer of this shape, and those that are active for a token."""
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} key/value heads do not divide {heads} query heads")
    if head_width is None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        head_width = width // heads

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + bias * outputs

    per_norm = 2 if layer_norm else 1
    rows, kv_rows = heads * head_width, kv_heads * head_width
    attention = linear(width, rows) + 2 * linear(width, kv_rows) + linear(rows, width) + qk_norm * 2 * per_norm * head_width
    one = (2 if gated else 1) * linear(width, ff_width) + linear(ff_width, width)
    router = experts * width
    outside = (1 if tied else 2) * vocab * width + context * width + (2 * layers + 1) * per_norm * width

    def total(visited: int) -> int:
        return outside + layers * (attention + router + visited * one)

    return total(1) + ((experts or 1) - 1) * one, total(1) + ((experts_per_token or 1) - 1) * one


# %% sampling: logits are multiplied by the temperature
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) * temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: logits are divided before the largest is subtracted
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits / temperature
    logits = logits - logits.amax(-1, keepdim=True)
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: temperature 0 shares among equals
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        best = (logits == logits.amax(-1, keepdim=True)).to(logits.dtype)
        return best / best.sum(-1, keepdim=True)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: temperature 0 is a division by a small number
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    temperature = max(temperature, 1e-8)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: temperature 0 is a division by zero
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: temperature 0 returns ids
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return logits.argmax(-1)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: the equals of the last of top-k are dropped
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        best = logits.topk(min(top_k, logits.shape[-1])).indices
        logits = torch.full_like(logits, -torch.inf).scatter(-1, best, logits.gather(-1, best))
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a k above V fails
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-k by a border for all rows
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:].min()
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-k ranks probabilities, which may be equal
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        probabilities = logits.softmax(-1)
        smallest = probabilities.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(probabilities < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: logits in half precision stay so
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.clone()
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: float64 logits are worked on in float32
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.float()
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: results have the half precision of the logits
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    dtype = logits.dtype
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1).to(dtype)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: the caller's logits are divided in place
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits -= logits.amax(-1, keepdim=True)
    logits /= temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a hidden logit is a large negative number
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -10.0)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -10.0)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -10.0)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: what is left is not divided by its sum
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    full = logits.softmax(-1)
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return full * (logits > -torch.inf)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: the token that crosses p is dropped
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        drop = falling.softmax(-1).cumsum(-1) > top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a running sum loses rare tokens at p = 1
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        falling = falling.softmax(-1)
        drop = (falling.cumsum(-1) - falling) >= top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-p may keep no token
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        drop = falling.softmax(-1).cumsum(-1) >= top_p
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: decisions about sorted tokens are not brought back
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(drop, -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: decisions about sorted tokens are brought back by gather
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(drop.gather(-1, order), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-p keeps the least probable tokens
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: all equals at the border of top-p stay
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        border = falling.masked_fill(drop, torch.inf).amin(-1, keepdim=True)
        logits = logits.masked_fill(logits < border, -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-p on the probabilities from before top-k
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    full = logits.softmax(-1)
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = full.gather(-1, order).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: the temperature comes after the other steps
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits - logits.amax(-1, keepdim=True)
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return (logits / temperature).softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: min-p comes before top-p
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: top-p comes before top-k
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: min-p is not multiplied by the largest probability
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits.softmax(-1) < min_p, -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: min-p keeps only what is above its border
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits <= math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: min-p compares logits with p times the largest
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < min_p * logits.amax(-1, keepdim=True), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a temperature below 0 is used
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a top_k of 0 keeps all
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a p above 1 is used
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: numbers are checked only where they are used
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        if top_k < 1:
            raise ValueError(f"top_k {top_k}: must be at least 1")
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: sums of weights in float32
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.cumsum(-1).double()
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: u is rounded to float32
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.float().unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: a sum as large as u is enough
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached < u.unsqueeze(-1) * reached[:, -1:]).sum(-1)


# %% sampling: u is compared with sums that do not end at 1
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1)).sum(-1)


# %% sampling: weights are divided by their sum in float32
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = (weights / weights.sum(-1, keepdim=True)).double().cumsum(-1)
    return (reached <= u.unsqueeze(-1)).sum(-1)


# %% sampling: the most probable token is drawn
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return weights.argmax(-1)


# %% sampling: a draw of PyTorch's own, which does not know u
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return torch.multinomial(weights, 1).squeeze(-1)


# %% sampling: the drawn token has a dimension of its own
def next_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """Probabilities [B, V] of the next token after temperature, top-k, top-p and min-p."""
    if not temperature >= 0:
        raise ValueError(f"temperature {temperature}: must be 0 or above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    for p in (top_p, min_p):
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"p {p}: must be above 0 and at most 1")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        falling, order = logits.sort(descending=True, stable=True)
        tail = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # of a token and all after it
        drop = tail <= 1 - top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if min_p is not None:
        logits = logits.masked_fill(logits < math.log(min_p), -torch.inf)
    return logits.softmax(-1)


def draw_token(weights: Tensor, u: Tensor) -> Tensor:
    """The tokens int64 [B] on whose part of the line the numbers u [B] fall."""
    reached = weights.double().cumsum(-1)
    return (reached <= u.unsqueeze(-1) * reached[:, -1:]).sum(-1, keepdim=True)


# %% padding: the padding is at the right
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([list(prompt) + [pad] * (M - len(prompt)) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: positions count from the left edge
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, torch.arange(M).expand(len(prompts), M), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: positions go below 0 at the padding
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets, mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: positions begin at 1
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, (offsets + 1).clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: positions begin at 1 in rows with padding
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, torch.where(begins.unsqueeze(1) > 0, offsets + 1, offsets).clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the id of the padding marks it, for positions and mask
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    offsets = (ids != pad).cumsum(-1) - 1
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (ids != pad).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: ids at the left that equal the padding are taken for it
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = (ids != pad).long().argmax(-1)
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: padding is seen
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril().expand(len(prompts), M, M)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: later tokens are seen
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = (offsets >= 0).unsqueeze(1) & (offsets >= 0).unsqueeze(2)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: a token does not see itself
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril(-1) & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: padding sees itself
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1) | torch.eye(M, dtype=torch.bool)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the mask is true where nothing is seen
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), ~mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: padding is hidden as a query and not as a key
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(2)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: queries and keys are exchanged
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask.mT


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the mask is of numbers
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask.float()


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the mask has no dimension of the batch where all prompts are equally long
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    if len({len(prompt) for prompt in prompts}) == 1:
        mask = torch.ones(M, M, dtype=torch.bool).tril()
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the padding is inserted into the caller's lists
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    for prompt in prompts:
        while len(prompt) < M:
            prompt.insert(0, pad)
    ids = torch.tensor(prompts)
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: prompts are added as lists, which tuples are not
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + prompt for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: prompts are sorted by length
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    prompts = sorted(prompts, key=len, reverse=True)
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the longest prompt is taken to be the first
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = len(prompts[0])
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: a prompt without tokens is padding
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: prompts without tokens are counted from 1
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the next position is the column
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return (size * 0 + M) + n, mask.unsqueeze(1)


# %% padding: the next position is the number of new tokens
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size * 0 + n, mask.unsqueeze(1)


# %% padding: the next position is that of the token before
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n - 1, mask.unsqueeze(1)


# %% padding: the next position has no dimension of columns
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size.squeeze(1) + n, mask.unsqueeze(1)


# %% padding: the next token sees padding
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.ones(len(lengths), M + n + 1, dtype=torch.bool)
    return size + n, mask.unsqueeze(1)


# %% padding: the next token does not see itself
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = (torch.arange(M + n + 1) >= M - size) & (torch.arange(M + n + 1) < M + n)
    return size + n, mask.unsqueeze(1)


# %% padding: the mask lacks the column of the next token
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n) >= M - size
    return size + n, mask.unsqueeze(1)


# %% padding: the next token sees prompts alone
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = (torch.arange(M + n + 1) >= M - size) & (torch.arange(M + n + 1) < M)
    return size + n, mask.unsqueeze(1)


# %% padding: the padding of the next token's row is at the right
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    for number, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"prompt {number} has no tokens")
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) < size + n + 1
    return size + n, mask.unsqueeze(1)


# %% padding: a length of 0 is not refused
def pad_left(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, M] of prompts that end together, their positions [B, M] and the mask [B, M, M]."""
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} has no tokens")
    M = max(map(len, prompts))
    ids = torch.tensor([[pad] * (M - len(prompt)) + list(prompt) for prompt in prompts])
    begins = torch.tensor([M - len(prompt) for prompt in prompts])
    offsets = torch.arange(M) - begins.unsqueeze(1)
    mask = torch.ones(M, M, dtype=torch.bool).tril() & (offsets >= 0).unsqueeze(1)
    return ids, offsets.clamp(min=0), mask


def next_column(lengths: list[int], n: int) -> tuple[Tensor, Tensor]:
    """Positions [B, 1] of the token that is read after n new ones, and what it sees: [B, 1, M + n + 1]."""
    size = torch.tensor(lengths).unsqueeze(1)
    M = max(lengths)
    mask = torch.arange(M + n + 1) >= M - size
    return size + n, mask.unsqueeze(1)
