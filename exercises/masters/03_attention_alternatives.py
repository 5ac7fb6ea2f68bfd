"""Right answers to the exercises of 03_attention that differ from the reference. Each must earn full marks.

Each cell is the whole solution cell of a question; its title says what differs.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% softmax: exponentials of log-weights, in float64, as a named tuple
from typing import NamedTuple


class Softmax(NamedTuple):
    weights: Tensor
    log_sum: Tensor


def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    highest, _ = x.double().max(dim, keepdim=True)
    shifted = x.double() - highest
    rest = shifted.exp().sum(dim, keepdim=True).log()
    log_sum = (highest + rest).squeeze(dim)
    return Softmax((shifted - rest).exp().to(x.dtype), log_sum.to(x.dtype))


# %% softmax: rows one after the other, by a helper called like another question's function
def attention(row: Tensor) -> tuple[Tensor, Tensor]:
    shift = row.detach().max()
    exponentials = torch.exp(row - shift)
    return exponentials / exponentials.sum(), shift + exponentials.sum().log()


def softmax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    moved = x.movedim(dim, -1)
    rows = moved.reshape(moved.shape[:-1].numel(), x.shape[dim])
    if x.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    results = [attention(row) for row in rows]
    if not results:
        return torch.empty_like(x), x.new_empty(moved.shape[:-1])
    weights = torch.stack([weights for weights, _ in results]).reshape(moved.shape)
    log_sum = torch.stack([log_sum for _, log_sum in results]).reshape(moved.shape[:-1])
    return weights.movedim(-1, dim).to(x.dtype), log_sum.to(x.dtype)


# %% attention: einsum, an added mask of minus infinity, a named tuple, an error of its own type
from collections import namedtuple

Attention = namedtuple("Attention", "output weights")


class TooManyQueries(ValueError):
    pass


def attention(q, k, v, is_causal=True):
    T, S = q.size(-2), k.size(-2)
    kind = q.dtype
    if kind.itemsize == 2:
        q, k, v = (x.float() for x in (q, k, v))
    scores = torch.einsum("...tk,...sk->...ts", q, k).mul(q.size(-1) ** -0.5)
    if is_causal:
        if S < T:
            raise TooManyQueries(f"S = {S} keys are too few for T = {T} queries")
        scores = scores + torch.full((T, S), -math.inf, dtype=q.dtype).triu(S - T + 1)
    weights = scores.softmax(-1)
    output = torch.einsum("...ts,...sv->...tv", weights, v)
    return Attention(output.to(kind), weights.to(kind))


# %% attention: in float64, hidden scores at its lowest number, the output by PyTorch
def attention(q, k, v, is_causal=True):
    T, S = q.shape[-2], k.shape[-2]
    if is_causal and T > S:
        raise ValueError(f"{T} > {S}: the first queries would see nothing")
    wide = [x.to(torch.float64) for x in (q, k, v)]
    position = torch.arange(S - T, S)[:, None] if is_causal else torch.full((T, 1), S)
    seen = torch.arange(S)[None, :] <= position
    scores = wide[0] @ wide[1].transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = torch.where(seen, scores, torch.finfo(torch.float64).min)
    weights = F.softmax(scores, dim=-1)
    output = F.scaled_dot_product_attention(*wide, attn_mask=seen)
    return [output.to(q.dtype), weights.to(q.dtype)]


# %% attention: one query after the other, which reads the keys that it sees
def rotate(query: Tensor, k: Tensor) -> Tensor:
    scores = (k * query.unsqueeze(-2)).sum(-1) / math.sqrt(k.shape[-1])
    scores = scores - scores.amax(-1, keepdim=True)
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


def attention(q, k, v, is_causal=True):
    T, S, kind = q.shape[-2], k.shape[-2], q.dtype
    if is_causal and T > S:
        raise ValueError(f"{T} queries, {S} keys")
    q, k, v = (x if x.dtype == torch.float64 else x.float() for x in (q, k, v))
    rows = []
    for t in range(T):
        end = S - T + t + 1 if is_causal else S
        row = rotate(q[..., t, :], k[..., :end, :])
        rows.append(F.pad(row, (0, S - end)))
    shape = (*q.shape[:-1], S)
    weights = torch.stack(rows, dim=-2) if rows else q.new_zeros(shape)
    return (weights @ v).to(kind), weights.to(kind)


# %% attention-gradients: the row sum as that of dY times Y, in float64, as a named tuple
from typing import NamedTuple


class Gradients(NamedTuple):
    dq: Tensor
    dk: Tensor
    dv: Tensor


def attention_gradients(q, k, v, dY, scale):
    kind = q.dtype
    q, k, v, dY = (x.double() for x in (q, k, v, dY))
    T, S = q.size(0), k.size(0)
    seen = torch.ones(T, S).tril(S - T).bool()
    scores = torch.where(seen, scale * (q @ k.T), -torch.inf)
    P = (scores - scores.amax(1, keepdim=True)).exp()
    P = P / P.sum(1, keepdim=True)
    row = (dY * (P @ v)).sum(1)
    dZ = scale * P * (dY @ v.T - row[:, None])
    return Gradients((dZ @ k).to(kind), (dZ.T @ q).to(kind), (P.T @ dY).to(kind))


# %% attention-gradients: the whole Jacobian of the softmax, row by row
def softmax_jacobian(weights: Tensor) -> Tensor:
    return torch.diag(weights) - torch.outer(weights, weights)


def attention_gradients(q, k, v, dY, scale):
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    tensors = [x.to(wide) for x in (q, k, v, dY)]
    dq, dk, dv = (torch.zeros_like(x) for x in tensors[:3])
    for t, (query, given) in enumerate(zip(tensors[0], tensors[3])):
        end = len(k) - len(q) + t + 1
        keys, values = tensors[1][:end], tensors[2][:end]
        weights = torch.softmax(scale * (keys @ query), dim=0)
        through = softmax_jacobian(weights) @ (values @ given)
        dq[t] = scale * (through @ keys)
        dk[:end] += scale * torch.outer(through, query)
        dv[:end] += torch.outer(weights, given)
    return [x.to(q.dtype) for x in (dq, dk, dv)]


# %% grouped-query: one group after the other, in a helper called like another question's function
def attention(q, k, v):
    B, heads, T, K = q.shape
    scores = torch.einsum("bhtk,bsk->bhts", q, k) / K**0.5
    late = torch.arange(k.shape[1]) > torch.arange(T)[:, None] + k.shape[1] - T
    weights = (scores + torch.zeros(late.shape).masked_fill(late, -torch.inf)).softmax(
        -1
    )
    return torch.einsum("bhts,bsk->bhtk", weights, v)


def grouped_query_attention(q, k, v):
    H, G = q.shape[1], k.shape[1]
    if H % G != 0:
        raise ValueError(f"G = {G} does not divide H = {H}")
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    parts = []
    for g, heads in enumerate(q.to(wide).split(H // G, dim=1)):
        parts.append(attention(heads, k[:, g].to(wide), v[:, g].to(wide)))
    return torch.cat(parts, dim=1).to(q.dtype)


# %% grouped-query: one head after the other, by PyTorch's attention, written into place
class Uneven(ValueError):
    pass


def grouped_query_attention(q, k, v):
    (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
    if H / G != H // G:
        raise Uneven(f"{H}/{G}")
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    wide = torch.promote_types(q.dtype, torch.float32)
    output = torch.empty_like(q)
    for h in range(H):
        g = h // (H // G)
        head = (q[:, h].to(wide), k[:, g].to(wide), v[:, g].to(wide))
        output[:, h] = F.scaled_dot_product_attention(*head, attn_mask=seen)
    return output


# %% grouped-query: an einsum of five letters over groups and heads in them
def grouped_query_attention(q, k, v):
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"H is {q.shape[1]}, G is {k.shape[1]}")
    kind = q.dtype
    q, k, v = (x.to(torch.promote_types(kind, torch.float32)) for x in (q, k, v))
    q = q.unflatten(1, (k.shape[1], -1))
    scores = torch.einsum("bghtk,bgsk->bghts", q, k) / math.sqrt(q.shape[-1])
    T, S = scores.shape[-2:]
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    return torch.einsum("bghts,bgsk->bghtk", weights, v).flatten(1, 2).to(kind)


# %% rope: complex numbers in float64
def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    K = x.shape[-1]
    if K % 2 == 1:
        raise ValueError(f"K = {K}")
    theta = 1.0 / base ** (torch.arange(0, K, 2).double() / K)
    alpha = positions.double()[..., None] * theta
    if positions.dim() == 2:
        alpha = alpha[:, None]
    pairs = torch.complex(x[..., : K // 2].double(), x[..., K // 2 :].double())
    pairs = pairs * torch.polar(torch.ones_like(alpha), alpha)
    return torch.cat([pairs.real, pairs.imag], dim=-1).to(x.dtype)


# %% rope: x times cosines plus its halves exchanged times sines, as in many libraries
class OddWidth(ValueError):
    pass


def halves_exchanged(x):
    first, second = x.split(x.shape[-1] // 2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def rotate(x, positions, base=10000.0):
    K = x.shape[-1]
    if K % 2:
        raise OddWidth(f"width {K} cannot be halved")
    B, H, T, _ = x.shape
    theta = torch.exp(
        torch.arange(K // 2, dtype=torch.float64) * (-2 / K) * math.log(base)
    )
    angles = positions.expand(B, T).to(torch.float64).unsqueeze(-1) * theta
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    y = x.float() if x.element_size() < 4 else x
    cos, sin = torch.cos(angles).to(y.dtype), torch.sin(angles).to(y.dtype)
    return (y * cos + halves_exchanged(y) * sin).type_as(x)


# %% rope: a matrix of 2 x 2 for each pair and position
def rotate(x, positions, base=10000.0):
    if x.shape[-1] & 1:
        raise ValueError(f"odd: {x.shape[-1]}")
    half = x.shape[-1] // 2
    theta = torch.tensor(
        [base ** (-i / half) for i in range(half)], dtype=torch.float64
    )
    angles = positions[..., None] * theta
    cos, sin = angles.cos(), angles.sin()
    turns = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    if positions.ndim == 1:
        turns = turns.expand(len(x), *turns.shape)
    pairs = torch.stack((x[..., :half], x[..., half:]), dim=-1).double()
    turned = torch.einsum("btiyz,bhtiz->bhtiy", turns, pairs)
    return torch.cat((turned[..., 0], turned[..., 1]), dim=-1).to(x.dtype)


# %% kv-cache: lists of what came, joined when asked
class KeyValueCache:
    def __init__(self, B, G, context, K, dtype=torch.float32):
        self.sizes, self.context, self.dtype = (B, G, K), context, dtype
        self.reset()

    def append(self, k, v):
        for x in (k, v):
            if x.dim() != 4 or (x.size(0), x.size(1), x.size(3)) != self.sizes:
                raise ValueError(f"{list(x.shape)} does not fit")
        if k.shape != v.shape:
            raise ValueError(f"{list(k.shape)} and {list(v.shape)} differ")
        length = self.length + k.size(2)
        if length > self.context:
            raise ValueError(f"{length} of {self.context} tokens")
        self.kept.append((k.to(self.dtype), v.to(self.dtype)))
        keys, values = zip(*self.kept)
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)

    def reset(self):
        self.kept = []

    @property
    def length(self):
        return sum(k.shape[2] for k, _ in self.kept)


# %% kv-cache: one tensor for both, a named tuple, an error of its own type, copies returned
from typing import NamedTuple


class Kept(NamedTuple):
    keys: Tensor
    values: Tensor


class DoesNotFit(ValueError):
    pass


class KeyValueCache:
    def __init__(self, B, G, context, K, dtype=torch.float32):
        self.room = torch.empty(2, context, B, G, K, dtype=dtype)
        self.length = 0

    def append(self, k, v):
        _, context, B, G, K = self.room.shape
        expected = (B, G, k.shape[2] if k.dim() > 2 else 1, K)
        for x in (k, v):
            if tuple(x.shape) != expected:
                raise DoesNotFit(f"expected {expected}, got {tuple(x.shape)}")
        if self.length + expected[2] > context:
            raise DoesNotFit(f"room for {context}, not {self.length + expected[2]}")
        for token in range(expected[2]):
            self.room[0, self.length] = k[:, :, token]
            self.room[1, self.length] = v[:, :, token]
            self.length += 1
        found = self.room[:, : self.length].permute(0, 2, 3, 1, 4).clone()
        return Kept(found[0], found[1])

    def reset(self):
        self.__init__(
            *(self.room.shape[n] for n in (2, 3, 1, 4)), dtype=self.room.dtype
        )


# %% online-softmax: sums updated in place, with tiles by split
def tiled_attention(q, k, v, tile=256):
    if tile <= 0:
        raise ValueError(f"tile must be at least 1, not {tile}")
    wide = q.dtype if q.dtype == torch.float64 else torch.float32
    y = torch.zeros(q.shape[0], v.shape[1], dtype=wide)
    n = torch.zeros(q.shape[0], dtype=wide)
    m = torch.full((q.shape[0],), -float("inf"), dtype=wide)
    for keys, values in zip(k.split(tile), v.split(tile)):
        Z = q.to(wide) @ keys.to(wide).T * q.shape[1] ** -0.5
        new = torch.max(m, Z.max(dim=1).values)
        factor = torch.exp(m - new)
        Z.sub_(new[:, None]).exp_()
        n.mul_(factor).add_(Z.sum(1))
        y.mul_(factor[:, None]).add_(Z @ values.to(wide))
        m = new
    return y.div_(n[:, None]).to(q.dtype)


# %% online-softmax: two walks over the keys, the first for the highest scores
def tiled_attention(q, k, v, tile=256):
    if tile < 1:
        raise ValueError(f"{tile} keys are no tile")
    kind = q.dtype
    q, k, v = (x.to(torch.promote_types(kind, torch.float32)) for x in (q, k, v))
    q = q / math.sqrt(q.shape[-1])
    highest = torch.full((len(q), 1), torch.finfo(q.dtype).min, dtype=q.dtype)
    for start in range(0, len(k), tile):
        best = (q @ k[start : start + tile].T).max(-1, keepdim=True).values
        highest = torch.where(best > highest, best, highest)
    total, mixture = 0.0, 0.0
    for start in range(0, len(k), tile):
        weights = (q @ k[start : start + tile].T - highest).exp()
        total = total + weights.sum(-1, keepdim=True)
        mixture = mixture + weights @ v[start : start + tile]
    return (mixture / total).to(kind)


# %% online-softmax: results of tiles, joined by their log-sums
def tiled_attention(q, k, v, tile=256):
    if tile < 1:
        raise ValueError(f"tile={tile}")
    wide = torch.promote_types(q.dtype, torch.float32)
    result, log_sum = None, None
    for start in range(0, k.shape[0], tile):
        keys, values = (
            k[start : start + tile].to(wide),
            v[start : start + tile].to(wide),
        )
        scores = q.to(wide) @ keys.T / q.shape[1] ** 0.5
        part, part_sum = scores.softmax(-1) @ values, scores.logsumexp(-1, keepdim=True)
        if result is None:
            result, log_sum = part, part_sum
        else:
            share = torch.sigmoid(part_sum - log_sum)
            result = result + share * (part - result)
            log_sum = torch.logaddexp(log_sum, part_sum)
    return result.to(q.dtype)
