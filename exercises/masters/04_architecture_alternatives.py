"""Right answers to the exercises of 04_architecture that differ from the reference. Each must earn full marks.

Each cell is the whole solution cell of a question; its title says what differs.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: F811, F841, RUF059


# %% norms: PyTorch's kernels in float32, an error of its own type
class WrongWidth(ValueError):
    pass


def checked(x, *vectors):
    for vector in vectors:
        if vector is not None and tuple(vector.shape) != (x.shape[-1],):
            raise WrongWidth(f"{tuple(vector.shape)} does not fit {tuple(x.shape)}")
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return [x.to(wide)] + [None if v is None else v.to(wide) for v in vectors]


def rms_norm(x, weight=None, eps=1e-6):
    y, w = checked(x, weight)
    return F.rms_norm(y, x.shape[-1:], w, eps).type_as(x)


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    y, w, b = checked(x, weight, bias)
    return F.layer_norm(y, x.shape[-1:], w, b, eps).type_as(x)


# %% norms: all in float64, by lengths of vectors, LayerNorm by the other norm
def dispatch(x, eps):
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.sqrt(length**2 / x.shape[-1] + eps)


def rms_norm(x, weight=None, eps=1e-6):
    y = dispatch(x.double(), eps)
    if weight is not None:
        if weight.ndim != 1 or len(weight) != x.shape[-1]:
            raise ValueError(f"a weight of {list(weight.shape)}")
        y = weight.double() * y
    return y.to(x.dtype)


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    for given in (bias, weight):
        if given is not None and (given.ndim != 1 or len(given) != x.shape[-1]):
            raise ValueError(f"{list(given.shape)}")
    wide = x.double()
    y = dispatch(wide - wide.mean(-1, keepdim=True), eps)
    y = torch.addcmul(
        torch.zeros_like(y) if bias is None else bias.double().expand_as(y),
        y,
        torch.ones_like(y) if weight is None else weight.double().expand_as(y),
    )
    return y.to(x.dtype)


# %% norms: var_mean without correction, division by a root, weights by default vectors
def rms_norm(x, weight=None, eps=1e-6):
    D = x.size(-1)
    if weight is None:
        weight = torch.ones(D)
    elif weight.shape != (D,):
        raise ValueError(f"shape {list(weight.shape)}, expected [{D}]")
    y = x.float() if x.element_size() == 2 else x
    return (y / (y.pow(2).sum(-1, True) / D + eps).sqrt() * weight).to(x.dtype)


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    D = x.size(-1)
    weight = torch.ones(D) if weight is None else weight
    bias = torch.zeros(D) if bias is None else bias
    for vector in (weight, bias):
        if vector.shape != (D,):
            raise ValueError(f"shape {list(vector.shape)}, expected [{D}]")
    y = x.float() if x.element_size() == 2 else x
    variance, mean = torch.var_mean(y, -1, correction=0, keepdim=True)
    return ((y - mean) / (variance + eps).sqrt() * weight + bias).to(x.dtype)


# %% gated: linear layers of PyTorch over halves, a width by search from below
def gated_feed_forward(x, gate_up, down):
    rows, (D, width) = len(gate_up), down.shape
    if rows - width != width:
        raise ValueError(f"{rows} rows are not twice {width}")
    wide = torch.promote_types(x.dtype, torch.float32)
    x_, W, V = x.to(wide), gate_up.to(wide), down.to(wide)
    gate = F.linear(x_, W[:width])
    return F.linear(gate * gate.sigmoid() * F.linear(x_, W[width:]), V).to(x.dtype)


def gated_width(width, multiple=64):
    for number in (width, multiple):
        if number <= 0:
            raise ValueError(f"{number}")
    steps = 2 * width // (3 * multiple)
    while 3 * steps * multiple < 2 * width:
        steps += 1
    return steps * multiple


# %% gated: einsum in float64, silu by its formula, a width by rounding up twice
class DoesNotFit(ValueError):
    pass


def gated_feed_forward(x, gate_up, down):
    if gate_up.size(0) != down.size(1) * 2:
        raise DoesNotFit(f"gate_up {gate_up.size(0)}, down {down.size(1)}")
    both = torch.einsum("...d,fd->...f", x.double(), gate_up.double())
    gate, up = both.split(down.size(1), dim=-1)
    silu = gate / (1 + torch.exp(-gate))
    return torch.einsum("...f,df->...d", silu * up, down.double()).to(x.dtype)


def gated_width(width, multiple=64):
    if min(width, multiple) < 1:
        raise DoesNotFit(f"{width} and {multiple}")
    least = (2 * width + 2) // 3
    return (least + multiple - 1) // multiple * multiple


# %% route: rounds of argmax, counts by one-hot vectors, a named tuple
from typing import NamedTuple


class Routed(NamedTuple):
    chosen: Tensor
    weights: Tensor
    load: Tensor
    loss: Tensor


def route(logits, k):
    N, E = logits.shape
    if k < 1 or k > E:
        raise ValueError(f"k={k}, E={E}")
    left, found = logits.detach().clone(), []
    for _ in range(k):
        found.append(left.argmax(-1))
        left[torch.arange(N), found[-1]] = -torch.inf
    chosen = torch.stack(found, dim=-1)
    wide = logits.double()
    z = wide.gather(1, chosen)
    weights = z.softmax(-1) if k > 1 else (z - wide.logsumexp(-1, keepdim=True)).exp()
    load = F.one_hot(chosen, E).sum((0, 1))
    P = wide.softmax(-1).sum(0) / max(1, N)
    loss = (load.double() / max(1, N * k) @ P) * E
    return Routed(chosen, weights.to(logits.dtype), load, loss.to(logits.dtype))


# %% route: Python's sort of a token's experts, the load by a Counter
from collections import Counter


class TooMany(ValueError):
    pass


def route(logits, k):
    N, E = logits.shape
    if k not in range(1, E + 1):
        raise TooMany(f"{k} of {E}")
    rows = [sorted(range(E), key=lambda e: -row[e])[:k] for row in logits.tolist()]
    chosen = torch.tensor(rows, dtype=torch.int64).view(N, k)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    scores = (wide - wide.amax(-1, keepdim=True)).exp()
    scores = scores / scores.sum(-1, keepdim=True)
    weights = torch.take_along_dim(scores, chosen, dim=1)
    if k > 1:
        weights = F.normalize(weights, p=1, dim=-1)
    counter = Counter(e for row in rows for e in row)
    load = torch.tensor([counter[e] for e in range(E)])
    loss = scores.new_zeros(())
    if N:
        loss = sum(E * counter[e] / (N * k) * scores[:, e].mean() for e in range(E))
    return [chosen, weights.to(logits.dtype), load, loss.to(logits.dtype)]


# %% dispatch: an expert after the other, which looks for its choices
def dispatch(x, chosen, weights, experts, capacity=None):
    kind = x.dtype
    if kind.itemsize == 2:
        x, weights, experts = x.float(), weights.float(), experts.float()
    y = x.new_zeros(len(x), experts.size(1))
    kept = torch.zeros_like(chosen, dtype=torch.bool)
    for e, matrix in enumerate(experts):
        tokens, places = torch.nonzero(chosen == e, as_tuple=True)
        if capacity is not None:
            tokens, places = tokens[:capacity], places[:capacity]
        if len(tokens) == 0:
            continue
        kept[tokens, places] = True
        answers = F.linear(x[tokens], matrix) * weights[tokens, places, None]
        y.index_add_(0, tokens, answers)
    return y.to(kind), kept


# %% dispatch: padded rectangles of experts' tokens, a named tuple
from typing import NamedTuple


class Mixed(NamedTuple):
    y: Tensor
    kept: Tensor


def dispatch(x, chosen, weights, experts, capacity=None):
    (N, k), (E, out, D) = chosen.shape, experts.shape
    wide = torch.promote_types(x.dtype, torch.float32)
    flat = chosen.reshape(-1)
    rank, seen = torch.zeros_like(flat), [0] * E
    for p, e in enumerate(flat.tolist()):
        rank[p], seen[e] = seen[e], seen[e] + 1
    kept = rank < (max(seen) if capacity is None else capacity)
    room = max(1, max(min(n, max(seen) if capacity is None else capacity) for n in seen))
    p = kept.nonzero().squeeze(1)
    seats = flat[p] * room + rank[p]
    rectangle = torch.zeros(E * room, D, dtype=wide)
    rectangle = rectangle.index_add(0, seats, x.to(wide)[p // k])
    answers = []
    for e, part in enumerate(rectangle.split(room)):
        answers.append(part[: seen[e]] @ experts[e].to(wide).T)
        answers[-1] = F.pad(answers[-1], (0, 0, 0, room - len(answers[-1])))
    mine = torch.cat(answers)[seats] * weights.to(wide).reshape(-1)[p].unsqueeze(1)
    y = torch.zeros(N, out, dtype=wide).index_add(0, p // k, mine)
    return Mixed(y.to(x.dtype), kept.view(N, k))


# %% dispatch: one place of the choices after the other, seats by a running count
def dispatch(x, chosen, weights, experts, capacity=None):
    (N, k), E = chosen.shape, experts.shape[0]
    kept = torch.ones(N, k, dtype=torch.bool)
    if capacity is not None:
        taken = torch.zeros(E, dtype=torch.int64)
        for n in range(N):
            kept[n] = taken[chosen[n]] < capacity
            taken[chosen[n]] += 1
    parts = []
    for j in range(k):
        column = x.new_zeros(N, experts.shape[1], dtype=torch.float64)
        for e in chosen[:, j].unique().tolist():
            rows = ((chosen[:, j] == e) & kept[:, j]).nonzero().flatten()
            answers = x[rows].double() @ experts[e].double().T
            answers = weights[rows, j].double()[:, None] * answers
            column = column.index_copy(0, rows, answers)
        parts.append(column)
    return torch.stack(parts).sum(0).to(x.dtype), kept


# %% count: tensors of a list of shapes
def count_parameters(vocab, width, layers, heads, ff_width, **given):
    G, K = given.get("kv_heads"), given.get("head_width")
    G = heads if G is None else G
    if heads // G * G != heads:
        raise ValueError(f"G={G}, H={heads}")
    if K is None:
        K, rest = divmod(width, heads)
        if rest:
            raise ValueError(f"H={heads}, D={width}")
    E = given.get("experts", 0)

    def layer(visited):
        pairs = [(width, heads * K), (width, G * K), (width, G * K), (heads * K, width)]
        for _ in range(visited if E else 1):
            pairs += [(width, ff_width)] * (2 if given.get("gated", True) else 1)
            pairs.append((ff_width, width))
        numbers = sum(a * b for a, b in pairs) + width * E
        if given.get("bias"):
            numbers += sum(b for _, b in pairs)
        return numbers

    norm = [width] * (2 * layers + 1)
    if given.get("qk_norm"):
        norm += [K, K] * layers
    fixed = sum(norm) * (1 + bool(given.get("layer_norm")))
    fixed += width * (vocab + given.get("context", 0))
    if not given.get("tied", True):
        fixed += width * vocab
    return [fixed + layers * layer(n) for n in (E, given.get("experts_per_token", 0))]


# %% count: modules of PyTorch on the meta device for a layer, a named tuple
from typing import NamedTuple


class Counts(NamedTuple):
    everything: int
    active: int


def numbers(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def count_parameters(
    vocab,
    width,
    layers,
    heads,
    ff_width,
    kv_heads=None,
    head_width=None,
    gated=True,
    tied=True,
    context=0,
    bias=False,
    layer_norm=False,
    qk_norm=False,
    experts=0,
    experts_per_token=0,
):
    if kv_heads is None:
        kv_heads = heads
    if heads % kv_heads != 0:
        raise ValueError(f"{heads} / {kv_heads}")
    if head_width is None:
        if width % heads != 0:
            raise ValueError(f"{width} / {heads}")
        head_width = width // heads

    def linear(inputs, outputs):
        return torch.nn.Linear(inputs, outputs, bias=bias, device="meta")

    def norm(size):
        return size * (2 if layer_norm else 1)

    rows, less = heads * head_width, kv_heads * head_width
    maps = [linear(width, rows), linear(width, less), linear(width, less)]
    attention = numbers(*maps, linear(rows, width))
    if qk_norm:
        attention += 2 * norm(head_width)
    one = numbers(linear(width, ff_width), linear(ff_width, width))
    if gated:
        one += numbers(linear(width, ff_width))
    tables = vocab * width + (0 if tied else vocab * width) + context * width
    everything = tables + norm(width)
    everything += layers * (attention + 2 * norm(width) + width * experts)
    if not experts:
        return Counts(everything + layers * one, everything + layers * one)
    return Counts(
        everything + layers * experts * one,
        everything + layers * experts_per_token * one,
    )


# %% sampling: in float64, by what comes before in the sorted row, draws by searchsorted
class Refused(ValueError):
    pass


def next_probabilities(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    if math.isnan(temperature) or temperature < 0:
        raise Refused(f"{temperature}")
    if top_k is not None and top_k <= 0:
        raise Refused(f"{top_k}")
    for p in (top_p, min_p):
        if p is not None and (math.isnan(p) or p <= 0 or p > 1):
            raise Refused(f"{p}")
    kind = torch.float64 if logits.dtype == torch.float64 else torch.float32
    z, order = logits.double().sort(dim=-1, descending=True, stable=True)
    z = z - z[:, :1]
    if temperature == 0:
        probabilities = torch.zeros_like(z)
        probabilities[:, 0] = 1
    else:
        keep = torch.ones_like(z, dtype=torch.bool)
        if top_k is not None and top_k < z.shape[1]:
            keep &= z >= z[:, top_k - 1 : top_k]
        weights = (z / temperature).exp() * keep
        if top_p is not None and top_p < 1:
            shares = weights / weights.sum(-1, keepdim=True)
            before = shares.cumsum(-1) - shares
            keep &= before < top_p
        if min_p is not None:
            keep &= weights >= min_p
        weights = weights * keep
        probabilities = weights / weights.sum(-1, keepdim=True)
    return torch.empty_like(probabilities).scatter_(-1, order, probabilities).to(kind)


def draw_token(weights, u):
    sums = torch.cumsum(weights, dim=-1, dtype=torch.float64)
    return torch.searchsorted(sums, u[:, None] * sums[:, -1:], right=True)[:, 0]


# %% sampling: a row after the other, sorted by Python, draws by bisection
from bisect import bisect_right
from itertools import accumulate


def route(z, top_k, top_p, min_p):
    kept = sorted(range(len(z)), key=lambda i: (-z[i], i))
    if top_k is not None and len(kept) > top_k:
        kept = [i for i in kept if z[i] >= z[kept[top_k - 1]]]
    weight = {i: math.exp(z[i]) for i in kept}
    if top_p is not None and top_p != 1:
        total, so_far, few = math.fsum(weight.values()), 0.0, []
        for i in kept:
            few.append(i)
            so_far += weight[i]
            if so_far >= top_p * total:
                break
        kept = few
    if min_p is not None:
        kept = [i for i in kept if weight[i] >= min_p]
    total, row = math.fsum(weight[i] for i in kept), [0.0] * len(z)
    for i in kept:
        row[i] = weight[i] / total
    return row


def next_probabilities(logits, temperature=1.0, top_k=None, top_p=None, min_p=None):
    if not temperature >= 0:
        raise ValueError(f"temperature={temperature}")
    if top_k is not None and not top_k >= 1:
        raise ValueError(f"top_k={top_k}")
    if top_p is not None and not (top_p > 0 and top_p <= 1):
        raise ValueError(f"top_p={top_p}")
    if min_p is not None and not (min_p > 0 and min_p <= 1):
        raise ValueError(f"min_p={min_p}")
    kind = torch.promote_types(logits.dtype, torch.float32)
    rows = []
    for row in logits.tolist():
        best = max(row)
        if temperature == 0:
            row = [float(i == row.index(best)) for i in range(len(row))]
        else:
            row = route([(x - best) / temperature for x in row], top_k, top_p, min_p)
        rows.append(row)
    return torch.tensor(rows, dtype=kind).reshape(logits.shape)


def draw_token(weights, u):
    drawn = []
    for row, at in zip(weights.tolist(), u.tolist()):
        sums = list(accumulate(row))
        drawn.append(bisect_right(sums, at * sums[-1]))
    return torch.tensor(drawn, dtype=torch.int64)


# %% padding: rows filled one by one, masks by loops, a named tuple
from typing import NamedTuple


class Batch(NamedTuple):
    ids: Tensor
    positions: Tensor
    mask: Tensor


class NoTokens(ValueError):
    pass


def pad_left(prompts, pad):
    if [] in [list(prompt) for prompt in prompts]:
        raise NoTokens(f"{[len(prompt) for prompt in prompts].index(0)}")
    B, M = len(prompts), max(len(prompt) for prompt in prompts)
    ids = torch.full((B, M), pad)
    positions = torch.zeros(B, M).long()
    mask = torch.zeros(B, M, M).bool()
    for b, prompt in enumerate(prompts):
        T = len(prompt)
        ids[b, -T:] = torch.tensor(prompt)
        positions[b, -T:] = torch.arange(T)
        mask[b, -T:, -T:] = torch.tril(torch.ones(T, T)).bool()
    return Batch(ids, positions, mask)


def next_column(lengths, n):
    if 0 in lengths:
        raise NoTokens(f"{lengths.index(0)}")
    M, rows = max(lengths), []
    for length in lengths:
        rows.append([[column >= M - length for column in range(M + n + 1)]])
    return torch.tensor([length + n for length in lengths]).view(-1, 1), torch.tensor(rows)


# %% padding: prompts turned around and padded at the right, by sequences of PyTorch
from torch.nn.utils.rnn import pad_sequence


def pad_left(prompts, pad):
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"nothing in prompt {number}")
    turned = [torch.tensor(prompt).flip(0) for prompt in prompts]
    ids = pad_sequence(turned, batch_first=True, padding_value=pad).flip(1)
    real = pad_sequence([torch.ones_like(x) for x in turned], batch_first=True).flip(1)
    positions = (real.cumsum(1) - 1).clamp_min(0)
    i = torch.arange(ids.shape[1])
    mask = (i[:, None] >= i) & (real[:, None, :] == 1) & (real[:, :, None] == 1)
    return ids, positions, mask


def next_column(lengths, n):
    if min(lengths) < 1:
        raise ValueError(f"prompt {lengths.index(min(lengths))} is empty")
    gaps = [max(lengths) - length for length in lengths]
    rows = [torch.arange(-gap, length + n + 1 + max(lengths) - gap - length) >= 0 for gap, length in zip(gaps, lengths)]
    return torch.tensor(lengths)[:, None] + n, torch.stack(rows)[:, None]
