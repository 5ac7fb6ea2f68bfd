"""Named wrong answers to the exercises of 03_attention, the mistakes of real learners.

Each cell is the whole solution cell of a question, with the mistake that its title names.
It must lose points in its own question and none in the others.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% softmax: no maximum is subtracted, so large scores overflow
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = torch.zeros_like(x.amax(dim, keepdim=True))
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: the maximum of the whole tensor is subtracted, so low rows underflow
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.max()
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: always along the last dimension
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(-1, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(-1, keepdim=True)
    log_sum = (total.log() + highest).squeeze(-1)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: the subtracted maximum is not added to the log-sum again
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = total.log().squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: log-sum by the plain formula, which overflows
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = x.exp().sum(dim).log()
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: the log-sum keeps the dimension
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = total.log() + highest
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: a small epsilon in the logarithm and the denominator
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True) + 1e-3
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: every dimension of size 1 is squeezed away
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze()
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: the maximum is subtracted in place, from the caller's scores
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    x -= highest
    exponentials = x.exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: half-precision scores give float32 results
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return exponentials / total, log_sum


# %% softmax: exponentials and sums in the half precision of the scores
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype = x.dtype
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: only bfloat16 is worked on in float32
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.float() if x.dtype == torch.bfloat16 else x
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: minus infinity is made a finite -10,000 first
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    x = x.nan_to_num(neginf=-1e4)
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: no gradients: the numbers are taken out of the graph
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    x = x.detach()
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: no gradients in the weights: they are taken from NumPy
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return torch.tensor((exponentials / total).tolist(), dtype=dtype), log_sum.to(dtype)


# %% softmax: one maximum for each matrix, the last two dimensions together
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim if x.ndim < 3 else (-2, -1), keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest.expand_as(x).amax(dim, keepdim=True)).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% softmax: exponentials cut off at -100, so that no weight is 0
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).clamp(min=-100).exp()
    total = exponentials.sum(dim, keepdim=True)
    log_sum = (total.log() + highest).squeeze(dim)
    return (exponentials / total).to(dtype), log_sum.to(dtype)


# %% attention: is_causal is ignored, nothing is masked
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: is_causal is ignored, the mask is always there
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if True:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the mask is aligned to the first key
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril()
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the mask comes after the softmax
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = torch.softmax(scores, dim=-1)
    if is_causal:
        weights = weights * visible
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the mask comes after the softmax, and rows are divided by their sum
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = torch.softmax(scores, dim=-1)
    if is_causal:
        weights = weights * visible
        weights = weights / weights.sum(-1, keepdim=True)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: hidden scores are set to 0 instead of minus infinity
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, 0.0)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: a query does not see its own position
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T - 1)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the scores are not divided
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the scores are divided by K
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / K
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the scores are divided by the root of the width of the values
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], v.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the softmax runs over the queries
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-2)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: T > S is not refused
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: T > S is refused without the mask, too
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if T > S:
        raise ValueError(f"attention of {T} queries to only {S} keys")
    if is_causal:
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: only the output is returned
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype)


# %% attention: hidden scores are set to -1e9, above the lowest that are seen
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -1e9)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: hidden scores are set to -1e4, above the lowest that are seen
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -1e4)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the mask is added, -1e9 for what is hidden
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores + torch.where(visible, 0.0, -1e9)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: half precision comes back as float32
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the weights of half precision come back as float32
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights


# %% attention: the queries are divided in place
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    q /= math.sqrt(K)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: products and softmax in half precision
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, q.dtype
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: softmax in float32, but of scores rounded to half precision
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = (q.to(dtype) @ k.to(dtype).mT / math.sqrt(K)).to(working)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: products of half precision, which overflow before they are divided
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = (q @ k.mT).to(dtype).to(working) / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: no gradients: computed without a graph
@torch.no_grad()
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: no gradients for the scores: a copy of their numbers is masked
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = torch.tensor(scores.tolist(), dtype=working).masked_fill(
            ~visible, -torch.inf
        )
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the weights are set to zero in place, so autograd cannot go back
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    if is_causal:
        weights[..., ~visible] = 0.0
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: weights by exp, without the maximum
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    exponentials = scores.exp()
    weights = exponentials / exponentials.sum(-1, keepdim=True)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: weights by exp, with one maximum for all queries
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    exponentials = (scores - scores.max()).exp()
    weights = exponentials / exponentials.sum(-1, keepdim=True)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: weights by exp, the maximum taken before the mask
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    highest = scores.amax(-1, keepdim=True)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    exponentials = (scores - highest).exp()
    weights = exponentials / exponentials.sum(-1, keepdim=True)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: leading dimensions joined by view, which transposed tensors refuse
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    leading = q.shape[:-2]
    q, k, v = (x.view(-1, *x.shape[-2:]) for x in (q, k, v))
    scores = torch.bmm(q, k.mT) / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    output = torch.bmm(weights, v).to(dtype)
    return output.view(*leading, T, v.shape[-1]), weights.to(dtype).view(*leading, T, S)


# %% attention: the mask of the first call is kept for later calls with as many keys
_MASKS = {}


def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        if S not in _MASKS:
            _MASKS[S] = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~_MASKS[S][:T], -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: an output of width 1 is squeezed
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    output = (weights @ v).squeeze(-1) if v.ndim > 2 else weights @ v
    return output.to(dtype), weights.to(dtype)


# %% attention: hidden scores get the lowest number of the inputs' dtype, which float16 products can pass
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, torch.finfo(dtype).min)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: dropout is never switched off
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    weights = F.dropout(weights, 0.1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention: the first sizes are compared, not those of the positions
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if len(q) > len(k):
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).to(dtype), weights.to(dtype)


# %% attention-gradients: without the row sum
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * dP
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: without the scale
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = dZ @ k, dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the scale is missing in dk
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the scale is taken to be 1 / sqrt(K)
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    scale = 1 / math.sqrt(q.shape[-1])
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the sum runs over the columns
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(0, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the row sum is that of dP, without the weights
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - dP.sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the softmax is skipped on the way back
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = dP
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: dv is not transposed
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the causal mask is forgotten
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax(scale * q @ k.mT, dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the mask is aligned to the first key
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: dq and dk are exchanged
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ.mT @ q, scale * dZ @ k, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: hidden scores are set to -1e9, above very low scores
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -1e9), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: hidden scores are set to -1e4, above low scores
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -1e4), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the queries are scaled in place
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    q *= scale
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the softmax by exp, without the maximum
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = (scale * q @ k.mT).exp().masked_fill(hidden, 0.0)
    P = P / P.sum(-1, keepdim=True)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: half precision comes back as float32
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq, dk, dv


# %% attention-gradients: products and softmax in half precision
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dtype, working = q.dtype, q.dtype
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the size of the scale only, without its sign
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    scale = abs(scale)
    T, S = len(q), len(k)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% attention-gradients: the gradient of the output is multiplied in place
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    dY *= scale
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v, dY = q.to(working), k.to(working), v.to(working), dY.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    dq, dk, dv = dZ @ k, dZ.mT @ q, P.mT @ dY / scale
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


# %% grouped-query: heads repeated in tile order
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    k, v = (x.repeat(1, H // G, 1, 1) for x in (k, v))
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return (torch.softmax(scores, dim=-1) @ v).to(dtype)


# %% grouped-query: copies of keys and values for every query head
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    k, v = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return (torch.softmax(scores, dim=-1) @ v).to(dtype)


# %% grouped-query: expand, which copies after all as soon as it is multiplied
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    k, v = (
        x.unsqueeze(2).expand(B, G, H // G, S, K).reshape(B, H, S, K) for x in (k, v)
    )
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return (torch.softmax(scores, dim=-1) @ v).to(dtype)


# %% grouped-query: copies made one after the other, inside the products
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = q @ k.repeat_interleave(H // G, dim=1).mT / math.sqrt(K)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights @ v.repeat_interleave(H // G, dim=1)).to(dtype)


# %% grouped-query: a broadcast matmul, which copies inside
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = q.unflatten(1, (G, H // G)) @ k.unsqueeze(2).mT / math.sqrt(K)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights @ v.unsqueeze(2)).flatten(1, 2).to(dtype)


# %% grouped-query: G == H assumed
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return (torch.softmax(scores, dim=-1) @ v).to(dtype)


# %% grouped-query: PyTorch's grouped attention, whose mask is aligned to the first key
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    H, G = q.shape[1], k.shape[1]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).to(
        dtype
    )


# %% grouped-query: the mask is forgotten
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores, dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: the rows of a group are masked as if they were positions
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = rows @ k.mT / math.sqrt(K)
    hidden = torch.ones(H // G * T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: a G that does not divide H is not refused
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: the division is forgotten
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: heads and positions are exchanged in the output
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    mixed = weights.reshape(B, G, H // G * T, S) @ v
    return mixed.reshape(B, T, H, K).transpose(1, 2).to(dtype)


# %% grouped-query: rows joined by view, which transposed heads refuse
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.view(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: hidden scores are set to -1e9, above very low scores
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -1e9), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: hidden scores are set to -1e4, above low scores
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -1e4), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: the queries are divided in place
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    q /= math.sqrt(K)
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: half precision comes back as float32
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K)


# %% grouped-query: products and softmax in half precision
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, q.dtype
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: no gradients: the queries are detached
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.detach().reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: no gradients: heads are computed into a tensor without a graph
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    output = torch.zeros(B, H, T, K, dtype=dtype)
    output.data.copy_((weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K))
    return output


# %% grouped-query: weights by exp, with one maximum for all heads and rows
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = scores.masked_fill(hidden, -torch.inf)
    weights = (scores - scores.max()).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% grouped-query: hidden scores get the lowest number of the inputs' dtype, which float16 products can pass
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(dtype).min), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K).to(dtype)


# %% rope: the given positions are ignored
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    angles = torch.arange(x.shape[-2]).unsqueeze(-1) * frequencies
    if angles.ndim == 3:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: only the first position is used, as an offset
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    offset = positions.flatten()[0]
    angles = (offset + torch.arange(x.shape[-2])).unsqueeze(-1) * frequencies
    if angles.ndim == 3:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: neighboring features are paired
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working)[..., ::2], x.to(working)[..., 1::2]
    turned = torch.stack(
        (first * cos - second * sin, second * cos + first * sin), dim=-1
    ).flatten(-2)
    return turned.to(x.dtype)


# %% rope: the exponent is -i/K
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(K // 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: the sign of the sine is swapped
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: both halves with the same sign
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos + second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: the second half comes first in the output
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((second * cos + first * sin, first * cos - second * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: the base is ignored
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = 10000.0 ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: frequencies and angles in the dtype of x
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=x.dtype) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: angles in float32
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float32) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: frequencies rounded to float32, as those of the book
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    frequencies = frequencies.float().double()
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: cosine, sine and products in bfloat16
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = x.dtype
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: the result stays float32
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.float32
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned


# %% rope: positions [B, T] broadcast against the heads
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: the positions of the first sequence for all
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles[0]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: an odd head width is not refused
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: only bfloat16 is widened, float16 is not
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: angles of half-precision vectors in float16, where they become infinite
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    if x.dtype.itemsize == 2:
        angles = angles.half()
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: lengths are restored at the end, and zero vectors become NaN
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    lengths = x.to(working).norm(dim=-1, keepdim=True)
    turned = turned * (lengths / turned.norm(dim=-1, keepdim=True))
    return turned.to(x.dtype)


# %% rope: half precision comes back as NaN
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    if x.dtype.itemsize == 2:
        turned = turned * (cos.new_tensor(torch.inf) * 0)
    return turned.to(x.dtype)


# %% rope: the halves are written back into x
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = (half.clone() for half in x.to(working).chunk(2, dim=-1))
    x[..., : K // 2] = first * cos - second * sin
    x[..., K // 2 :] = second * cos + first * sin
    return x


# %% rope: the positions are unsqueezed in place
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze_(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if angles.ndim == 3:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: positions are taken to be [B, T] if their first size is B
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if len(positions) == len(x):
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: heads joined by view, which transposed heads refuse
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    rows = x.to(working).view(-1, K)
    cos, sin = (y.expand(*x.shape[:-1], K // 2).reshape(-1, K // 2) for y in (cos, sin))
    first, second = rows.chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.view(x.shape).to(x.dtype)


# %% rope: no gradients: the vectors are detached
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.detach().to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: angles are kept for later calls at the same positions, whatever the base
_ANGLES = {}


def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    key = (K, tuple(positions.flatten().tolist()), positions.ndim)
    if key not in _ANGLES:
        _ANGLES[key] = positions.unsqueeze(-1) * frequencies
    angles = _ANGLES[key]  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: angles are kept for later calls with the same first and last position
_ANGLES = {}


def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    ends = positions.flatten()[[0, -1]].tolist()
    key = (K, base, positions.shape, *ends)
    if key not in _ANGLES:
        _ANGLES[key] = positions.unsqueeze(-1) * frequencies
    angles = _ANGLES[key]  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: each position is counted from the first one
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = (positions - positions.min()).unsqueeze(
        -1
    ) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: positions beyond 65,535 start again from 0
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = (positions % 65536).unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: cosines of half precision are rounded before the products
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: angles are brought below two pi in float32
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -(torch.arange(0, K, 2, dtype=torch.float64) / K)
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    angles = angles.float().remainder(2 * math.pi).double()
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% rope: exponents in float32, before all else is float64
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the feature pairs (i, i + K/2) of x [B, H, T, K] by their positions."""
    K = x.shape[-1]
    if K % 2:
        raise ValueError(f"head width {K} is odd: features turn in pairs")
    frequencies = base ** -((torch.arange(0, K, 2) / K).double())
    angles = positions.unsqueeze(-1) * frequencies  # [T, K/2] or [B, T, K/2]
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)  # [B, T, K/2] -> [B, 1, T, K/2]
    working = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


# %% kv-cache: the whole room is returned
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys, self.values

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: every call writes from 0
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, : end - start] = k
        self.values[:, :, : end - start] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: only the new tokens are returned
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, start:end], self.values[:, :, start:end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the context is ignored, the oldest tokens are dropped
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        keys = torch.cat((self.keys[:, :, :start], k.to(self.keys.dtype)), dim=2)
        values = torch.cat((self.values[:, :, :start], v.to(self.keys.dtype)), dim=2)
        end = min(end, context)
        self.keys[:, :, :end] = keys[:, :, -end:]
        self.values[:, :, :end] = values[:, :, -end:]
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: PyTorch's own error for tokens beyond the context
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: a full cache is refused
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end >= context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the length is counted before the refusal
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        self.length = end
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: shapes are not checked, a batch of one is written into all
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: only the shape of the keys is checked
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k,):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: reset forgets the numbers, not the length
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.keys.zero_()
        self.values.zero_()


# %% kv-cache: reset does nothing
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""


# %% kv-cache: the length counts calls, not tokens
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + 1
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the values are stored as keys
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = k
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: keys and values share one buffer
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = self.keys
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the dtype is ignored
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K)
        self.values = torch.zeros(B, G, context, K)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        T = k.shape[-2]
        for x in (k, v):
            if x.shape != (B, G, T, K):
                raise ValueError(f"shape {tuple(x.shape)}: give {(B, G, T, K)}")
        start, end = self.length, self.length + T
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: stored in float32, and converted on return
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.dtype = dtype
        self.keys = torch.zeros(B, G, context, K)
        self.values = torch.zeros(B, G, context, K)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end].to(self.dtype), self.values[:, :, :end].to(
            self.dtype
        )

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the length is a tensor
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = torch.tensor(0)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: reset reserves new room in the default dtype
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.__init__(*self.keys.shape)


# %% kv-cache: the context is kept in the class, for all caches together
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        KeyValueCache.context = context
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, _, K = self.keys.shape
        context = KeyValueCache.context
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: another number of dimensions fails while it is unpacked
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            _, _, _, _ = x.shape
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: shapes are compared by the number of their elements
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.numel() != B * G * k.shape[2] * K:
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k.reshape(B, G, -1, K)
        self.values[:, :, start:end] = v.reshape(B, G, -1, K)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: keys are joined by cat, in the dtype of what comes
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.length = end
        self.k = k if start == 0 else torch.cat((self.k, k), dim=2)
        self.v = v if start == 0 else torch.cat((self.v, v), dim=2)
        return self.k, self.v

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: a single head is broadcast to all
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if (
                x.ndim != 4
                or (x.shape[0], *x.shape[2:]) != (B, k.shape[2], K)
                or x.shape[1] not in (1, G)
            ):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: all room is one buffer of the class, which the newest cache makes
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        KeyValueCache.keys = torch.zeros(B, G, context, K, dtype=dtype)
        KeyValueCache.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape != (B, G, k.shape[2], K):
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% kv-cache: the width of the values is not checked
class KeyValueCache:
    """Room for the keys and values of `context` tokens: two tensors, reserved once."""

    def __init__(
        self, B: int, G: int, context: int, K: int, dtype: torch.dtype = torch.float32
    ):
        self.keys = torch.zeros(B, G, context, K, dtype=dtype)
        self.values = torch.zeros(B, G, context, K, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v [B, G, T, K]; return all keys and values [B, G, length, K]."""
        B, G, context, K = self.keys.shape
        for x in (k, v):
            if x.ndim != 4 or x.shape[:3] != (B, G, k.shape[2]) or k.shape[3] != K:
                raise ValueError(f"shape {tuple(x.shape)}: give [{B}, {G}, T, {K}]")
        start, end = self.length, self.length + k.shape[2]
        if end > context:
            raise ValueError(f"{end} tokens exceed the context of {context}")
        self.keys[:, :, start:end] = k
        self.values[:, :, start:end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


# %% online-softmax: the old sum is not rescaled
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the old mixture is not rescaled
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the last incomplete tile is dropped
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k) - tile + 1, tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the first tile's maximum for all
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = scores.amax(-1, keepdim=True) if start == 0 else highest
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: each tile's own maximum, not the highest so far
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = scores.amax(-1, keepdim=True)
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the maximum starts at 0
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_zeros(len(q), 1)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: no maximum at all
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = q.new_zeros(len(q), 1)
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: materializes the whole score matrix
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (torch.softmax(scores, dim=-1) @ v).to(dtype)


# %% online-softmax: all scores at once, only the sums in tiles
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    all_scores = q @ k.mT / math.sqrt(q.shape[-1])
    for start in range(0, len(k), tile):
        scores = all_scores[:, start : start + tile]
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: tiles of queries, each with all keys
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    rows = []
    for start in range(0, len(q), tile):
        scores = q[start : start + tile] @ k.mT / math.sqrt(q.shape[-1])
        rows.append(torch.softmax(scores, dim=-1) @ v)
    return torch.cat(rows).to(dtype)


# %% online-softmax: PyTorch's fused kernel, which stores the scores when K' is not K
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    q, k, v = (x[None, None] for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)[0, 0].to(dtype)


# %% online-softmax: the results of the tiles are averaged
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        mixture = mixture + torch.softmax(scores, dim=-1) @ v[start : start + tile]
        total = total + 1
    return (mixture / total).to(dtype)


# %% online-softmax: the division is forgotten
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: a tile below 1 is not refused
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the highest score of all queries is carried along, not one for each
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_tensor(-torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.max())
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: each query takes the highest score of its tile, over all queries
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.max())
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the maximum starts at -1e9
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -1e9)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the maximum starts at -1e4
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -1e4)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the queries are divided in place
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    q /= math.sqrt(q.shape[-1])
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: scores and sums in half precision, which stop growing
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, q.dtype
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: sums in half precision, which stop growing
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = (shrink * total + weights.sum(-1, keepdim=True)).to(dtype)
        mixture = (shrink * mixture + weights @ v[start : start + tile]).to(dtype)
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: half precision comes back as float32
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: sums in float32 for all inputs, float64 is rounded
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.float32
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: a small number in the denominator
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / (total + 1e-6)).to(dtype)


# %% online-softmax: an output of width 1 is squeezed
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (
        (mixture / total).to(dtype).squeeze(-1)
        if len(q) > 1
        else (mixture / total).to(dtype)
    )


# %% online-softmax: the last tile is filled up with keys that are hidden by -1e9
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        missing = max(start + tile - len(k), 0)
        keys = F.pad(k[start : start + tile], (0, 0, 0, missing))
        values = F.pad(v[start : start + tile], (0, 0, 0, missing))
        scores = q @ keys.mT / math.sqrt(q.shape[-1])
        scores[:, tile - missing :] = -1e9
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ values
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: scores rounded to half precision, only the sums in float32
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        scores = scores.to(dtype).to(working)
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)


# %% online-softmax: the maximum starts at the lowest number of the inputs' dtype
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    dtype, working = q.dtype, torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(working), k.to(working), v.to(working)
    highest = q.new_full((len(q), 1), torch.finfo(dtype).min)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return (mixture / total).to(dtype)
