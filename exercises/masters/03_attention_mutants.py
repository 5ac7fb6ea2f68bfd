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
    highest = torch.zeros_like(x.amax(dim, keepdim=True))
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total, (total.log() + highest).squeeze(dim)


# %% softmax: the maximum of the whole tensor is subtracted, so low rows underflow
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.max()
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total, (total.log() + highest).squeeze(dim)


# %% softmax: always along the last dimension
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.amax(-1, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(-1, keepdim=True)
    return exponentials / total, (total.log() + highest).squeeze(-1)


# %% softmax: the subtracted maximum is not added to the log-sum again
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total, total.log().squeeze(dim)


# %% softmax: log-sum by the plain formula, which overflows
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total, x.exp().sum(dim).log()


# %% softmax: the log-sum keeps the dimension
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total, total.log() + highest


# %% softmax: a small epsilon in the logarithm and the denominator
def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weights along `dim`, of the shape of x, and ln(sum of exp), without `dim`."""
    highest = x.amax(dim, keepdim=True)
    exponentials = (x - highest).exp()
    total = exponentials.sum(dim, keepdim=True) + 1e-3
    return exponentials / total, (total.log() + highest).squeeze(dim)


# %% attention: is_causal is ignored, nothing is masked
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: is_causal is ignored, the mask is always there
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if True:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the mask is aligned to the first key
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril()
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the mask comes after the softmax
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = torch.softmax(scores, dim=-1)
    if is_causal:
        weights = weights * visible
    return weights @ v, weights


# %% attention: the mask comes after the softmax, and rows are divided by their sum
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = torch.softmax(scores, dim=-1)
    if is_causal:
        weights = weights * visible
        weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v, weights


# %% attention: hidden scores are set to 0 instead of minus infinity
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, 0.0)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: a query does not see its own position
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T - 1)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the scores are not divided
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the scores are divided by K
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / K
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the scores are divided by the root of the width of the values
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], v.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: the softmax runs over the queries
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-2)
    return weights @ v, weights


# %% attention: T > S is not refused
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: T > S is refused without the mask, too
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if T > S:
        raise ValueError(f"attention of {T} queries to only {S} keys")
    if is_causal:
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% attention: only the output is returned
def attention(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = True
) -> tuple[Tensor, Tensor]:
    """Output [..., T, K'] and weights [..., T, S]."""
    T, S, K = q.shape[-2], k.shape[-2], q.shape[-1]
    scores = q @ k.mT / math.sqrt(K)
    if is_causal:
        if T > S:
            raise ValueError(f"causal attention of {T} queries to only {S} keys")
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v


# %% attention-gradients: without the row sum
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * dP
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: without the scale
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return dZ @ k, dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the scale is missing in dk
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ @ k, dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the scale is taken to be 1 / sqrt(K)
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    scale = 1 / math.sqrt(q.shape[-1])
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the sum runs over the columns
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(0, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the row sum is that of dP, without the weights
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - dP.sum(-1, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the softmax is skipped on the way back
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = dP
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: dv is not transposed
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P @ dY


# %% attention-gradients: the causal mask is forgotten
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax(scale * q @ k.mT, dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: the mask is aligned to the first key
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ @ k, scale * dZ.mT @ q, P.mT @ dY


# %% attention-gradients: dq and dk are exchanged
def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, dY: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dq [T, K], dk [S, K] and dv [S, K'] of one causal head."""
    T, S = len(q), len(k)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    P = torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), dim=-1)
    dP = dY @ v.mT
    dZ = P * (dP - (P * dP).sum(-1, keepdim=True))
    return scale * dZ.mT @ q, scale * dZ @ k, P.mT @ dY


# %% grouped-query: heads repeated in tile order
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    k, v = (x.repeat(1, H // G, 1, 1) for x in (k, v))
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


# %% grouped-query: copies of keys and values for every query head
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    k, v = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


# %% grouped-query: expand, which copies after all as soon as it is multiplied
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    k, v = (
        x.unsqueeze(2).expand(B, G, H // G, S, K).reshape(B, H, S, K) for x in (k, v)
    )
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


# %% grouped-query: copies made one after the other, inside the products
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = q @ k.repeat_interleave(H // G, dim=1).mT / math.sqrt(K)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return weights @ v.repeat_interleave(H // G, dim=1)


# %% grouped-query: a broadcast matmul, which copies inside
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = q.unflatten(1, (G, H // G)) @ k.unsqueeze(2).mT / math.sqrt(K)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights @ v.unsqueeze(2)).flatten(1, 2)


# %% grouped-query: G == H assumed
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (H, T, K), (G, S) = q.shape[1:], k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(hidden, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


# %% grouped-query: PyTorch's grouped attention, whose mask is aligned to the first key
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    H, G = q.shape[1], k.shape[1]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


# %% grouped-query: the mask is forgotten
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores, dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K)


# %% grouped-query: the rows of a group are masked as if they were positions
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = rows @ k.mT / math.sqrt(K)
    hidden = torch.ones(H // G * T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K)


# %% grouped-query: a G that does not divide H is not refused
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K)


# %% grouped-query: the division is forgotten
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    return (weights.reshape(B, G, H // G * T, S) @ v).reshape(B, H, T, K)


# %% grouped-query: heads and positions are exchanged in the output
def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of H query heads over G key/value heads: [B, H, T, K]."""
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads evenly")
    rows = q.reshape(B, G, H // G * T, K)  # [B, H, T, K] -> [B, G, H/G * T, K]
    scores = (rows @ k.mT / math.sqrt(K)).reshape(B, H, T, S)
    hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    mixed = weights.reshape(B, G, H // G * T, S) @ v
    return mixed.reshape(B, T, H, K).transpose(1, 2)


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


# %% online-softmax: the old sum is not rescaled
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: the old mixture is not rescaled
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: the last incomplete tile is dropped
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k) - tile + 1, tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: the first tile's maximum for all
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = scores.amax(-1, keepdim=True) if start == 0 else highest
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: each tile's own maximum, not the highest so far
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = scores.amax(-1, keepdim=True)
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: the maximum starts at 0
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_zeros(len(q), 1)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: no maximum at all
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        higher = q.new_zeros(len(q), 1)
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: materializes the whole score matrix
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return torch.softmax(scores, dim=-1) @ v


# %% online-softmax: all scores at once, only the sums in tiles
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
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
    return mixture / total


# %% online-softmax: tiles of queries, each with all keys
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    rows = []
    for start in range(0, len(q), tile):
        scores = q[start : start + tile] @ k.mT / math.sqrt(q.shape[-1])
        rows.append(torch.softmax(scores, dim=-1) @ v)
    return torch.cat(rows)


# %% online-softmax: PyTorch's fused kernel, which stores the scores when K' is not K
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    q, k, v = (x[None, None] for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)[0, 0]


# %% online-softmax: the results of the tiles are averaged
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT / math.sqrt(q.shape[-1])
        mixture = mixture + torch.softmax(scores, dim=-1) @ v[start : start + tile]
        total = total + 1
    return mixture / total


# %% online-softmax: the division is forgotten
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
    if tile < 1:
        raise ValueError(f"tile {tile}: needs at least one key")
    highest = q.new_full((len(q), 1), -torch.inf)
    total, mixture = q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[-1])
    for start in range(0, len(k), tile):
        scores = q @ k[start : start + tile].mT
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = (highest - higher).exp(), (scores - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        mixture = shrink * mixture + weights @ v[start : start + tile]
        highest = higher
    return mixture / total


# %% online-softmax: a tile below 1 is not refused
def tiled_attention(q: Tensor, k: Tensor, v: Tensor, tile: int = 256) -> Tensor:
    """Attention [T, K'] to all keys, with at most [T, tile] scores at a time."""
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
