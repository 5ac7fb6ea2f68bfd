"""Mixtures of experts against dense layers of equal operations, with three ways to balance them; then what a layer costs.

    python benchmarks/experts.py [--seeds 0 1 2] [--steps 400] [--rounds 9] [--only trainings|times] [--device cpu]

Trains a small transformer on the bytes of the Python standard library, about six minutes on one core: with dense layers, with
eight experts of half the width of which each token uses two, and with dense layers of the size of all eight. Finished runs are
kept in the record, so that a run that was stopped goes on. Prints a table and writes benchmarks/results/experts-<device>.json.
"""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from record import RESULTS, machine, paired, write_record
from torch import Tensor, nn

from llmbook.architecture.experts import ExpertLayer, balance_experts, collect_auxiliary_loss, expert_load
from llmbook.architecture.feedforward import SwiGLU
from llmbook.architecture.transformer import Transformer, initialize_weights
from llmbook.preliminaries.settings import ModelConfig
from llmbook.training.objective import bits_per_byte, next_token_loss

EXPERTS, CHOSEN, FF_WIDTH = 8, 2, 88
SHAPE = ModelConfig(vocab_size=256, context=128, width=64, layers=2, heads=4, ff_width=CHOSEN * FF_WIDTH)
BATCH, RATE, WARMUP, HELD_OUT_WINDOWS = 16, 3e-3, 20, 512
LOSS_COEFFICIENT, BIAS_RATE, EVERY = 0.01, 0.001, 10
KINDS = ("dense", "unbalanced", "loss", "bias", "large")


def read_text() -> tuple[Tensor, Tensor]:
    """The bytes of the standard library without its tests, and of every twentieth file, which is held out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skip = {"site-packages", "dist-packages", "test", "tests", "idlelib"}
    files = [path for path in sorted(root.rglob("*.py")) if not skip & set(path.relative_to(root).parts)]
    held_out = b"\n".join(path.read_bytes() for path in files[::20])
    train = b"\n".join(path.read_bytes() for i, path in enumerate(files) if i % 20)
    return tuple(torch.frombuffer(bytearray(text), dtype=torch.uint8).long() for text in (train, held_out))


def build(kind: str, seed: int) -> Transformer:
    """A model of one kind; experts start as small as the dense layers do."""
    torch.manual_seed(seed)
    model = Transformer(SHAPE)
    for block in model.blocks.values():
        if kind == "large":
            block.feed_forward = SwiGLU(SHAPE.width, EXPERTS * FF_WIDTH)
        elif kind != "dense":
            block.feed_forward = ExpertLayer(SHAPE.width, FF_WIDTH, EXPERTS, CHOSEN)
    residual = SHAPE.init_std / (2 * SHAPE.layers) ** 0.5
    initialize_weights(model, SHAPE.init_std, residual)
    for name, module in model.named_modules():
        if ".experts." in name and name.endswith(".down"):
            nn.init.normal_(module.weight, std=residual)
    return model


def windows(text: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets that begin at `starts`."""
    rows = text[starts.unsqueeze(1) + torch.arange(SHAPE.context + 1)]
    return rows[:, :-1], rows[:, 1:]


def layers_of(model: nn.Module) -> list[ExpertLayer]:
    return [module for module in model.modules() if isinstance(module, ExpertLayer)]


def excess(load: Tensor) -> float:
    """How far the fullest expert lies above the mean, as a share of the mean."""
    return float(load.max() / load.float().mean() - 1)


@torch.no_grad()
def held_out(model: nn.Module, text: Tensor) -> tuple[float, list[float]]:
    """Bits per byte of the first windows, and the excess of each layer on them."""
    model.eval()
    starts = torch.arange(HELD_OUT_WINDOWS) * (SHAPE.context + 1)
    total, count, loads = 0.0, 0, [torch.zeros(EXPERTS) for _ in layers_of(model)]
    for part in starts.split(32):
        loss, counted = next_token_loss(model, windows(text, part))
        total, count = total + float(loss), count + int(counted)
        for load, layer in zip(loads, layers_of(model), strict=True):
            load += expert_load(layer.routing.chosen, EXPERTS)
    return bits_per_byte(total, count), [excess(load) for load in loads]


def train(kind: str, seed: int, steps: int, text: tuple[Tensor, Tensor]) -> dict:
    """Train one model, and return what the table and the figures need."""
    model, draw = build(kind, seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    layers, loads, excesses, shares = layers_of(model), None, [], []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / WARMUP, 1 - 0.9 * step / steps)
        starts = torch.randint(len(text[0]) - SHAPE.context, (BATCH,), generator=draw)
        loss, count = next_token_loss(model, windows(text[0], starts))
        if kind == "loss":
            loss = loss + count * collect_auxiliary_loss(model, balance=LOSS_COEFFICIENT)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
        if layers:
            now = torch.stack([expert_load(layer.routing.chosen, EXPERTS) for layer in layers])
            loads = now if loads is None else loads + now
            if (step + 1) % EVERY == 0:
                excesses.append(round(sum(excess(load) for load in loads) / len(layers), 3))
                last = loads[-1] / loads[-1].sum()
                shares.append([round(share, 3) for share in last.tolist()])
                loads = None
        if kind == "bias":
            balance_experts(model, rate=BIAS_RATE)
    bits, held_out_excess = held_out(model, text[1])
    row = {"kind": kind, "seed": seed, "held_out_bits_per_byte": round(bits, 4)}
    if layers:
        row |= {"held_out_excess": [round(value, 3) for value in held_out_excess], "excess": excesses}
        row |= {"last_layer_shares": shares} if seed == 0 else {}
    return row


def trainings(record: dict, seeds: list[int], steps: int, device: str) -> None:
    """Add the rows that are missing, and write the record after each."""
    text = read_text()
    plan = [(kind, seed) for seed in seeds for kind in KINDS[:-1]] + [(KINDS[-1], seed) for seed in seeds]
    settings = {"steps": steps, "batch": BATCH, "context": SHAPE.context, "width": SHAPE.width, "layers": SHAPE.layers}
    settings |= {"experts": EXPERTS, "experts_per_token": CHOSEN, "ff_width": FF_WIDTH, "learning_rate": RATE}
    settings |= {"loss_coefficient": LOSS_COEFFICIENT, "bias_rate": BIAS_RATE, "every": EVERY}
    settings |= {"train_bytes": len(text[0]), "held_out_bytes": HELD_OUT_WINDOWS * SHAPE.context}
    if record.get("settings") != settings:
        record["rows"] = []
    record["settings"] = settings
    print(f"{'kind':<12}{'seed':>6}{'bits per byte':>15}{'excess':>9}")
    for kind, seed in plan:
        found = [row for row in record["rows"] if (row["kind"], row["seed"]) == (kind, seed)]
        if not found:
            record["rows"].append(train(kind, seed, steps, text))
            write_record("experts", device, record)
        row = (found or record["rows"][-1:])[0]
        most = max(row.get("held_out_excess", [0.0]))
        print(f"{kind:<12}{seed:>6}{row['held_out_bits_per_byte']:>15.4f}{most:>9.2f}", flush=True)


def forward_backward(layer, x: Tensor, upstream: Tensor) -> None:
    layer(x).backward(upstream)


def experts_loop(layer: ExpertLayer, x: Tensor) -> Tensor:
    """Token by token, expert by expert: the same result, the slow way."""
    routing, experts, rows = layer.route(x), list(layer.experts.values()), []
    for token, chosen, weights in zip(x, routing.chosen.tolist(), routing.weights, strict=True):
        rows.append(sum(weight * experts[i](token) for i, weight in zip(chosen, weights, strict=True)))
    return torch.stack(rows)


class Stacked(nn.Module):
    """The experts of a layer as two tensors of three dimensions, multiplied expert by expert or by one grouped product."""

    def __init__(self, layer: ExpertLayer, grouped: bool):
        super().__init__()
        self.layer, self.grouped = [layer], grouped
        experts = layer.experts.values()
        self.into = nn.Parameter(torch.stack([torch.cat([e.gate.weight, e.up.weight]) for e in experts]).detach())
        self.out = nn.Parameter(torch.stack([e.down.weight for e in experts]).detach())

    def products(self, x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
        if self.grouped:
            return torch.nn.functional.grouped_mm(x, weight.mT, offs=counts.cumsum(0).int())
        parts = zip(x.split(counts.tolist()), weight.unbind(), strict=True)
        return torch.cat([torch.nn.functional.linear(part, matrix) for part, matrix in parts])

    def forward(self, x: Tensor) -> Tensor:
        from llmbook.architecture.experts import group_by_expert
        from llmbook.architecture.feedforward import swiglu

        layer = self.layer[0]
        routing = layer.route(x)
        order, counts = group_by_expert(routing.chosen, len(self.into))
        rows = order // layer.experts_per_token
        gate, up = self.products(x[rows], self.into, counts).chunk(2, dim=-1)
        outputs = self.products(swiglu(gate, up), self.out, counts)
        weighted = outputs * routing.weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(x).index_add(0, rows, weighted)


def times(rounds: int) -> list[dict]:
    """Forward and backward through one layer: ours against its peers."""
    found = []
    print(f"{'tokens':>7}{'D':>6}{'F':>6}{'E':>5}{'k':>3}  {'peer':<12}{'ours / peer':>12}")
    for N, D, F, E, k in ((256, 128, 176, 8, 2), (2048, 256, 352, 8, 2), (2048, 256, 88, 32, 8)):
        torch.manual_seed(0)
        layer, dense = ExpertLayer(D, F, E, k), SwiGLU(D, k * F)
        x, upstream = torch.randn(N, D, requires_grad=True), torch.randn(N, D)
        peers = {"dense": dense, "stacked": Stacked(layer, grouped=False), "grouped_mm": Stacked(layer, grouped=True)}
        if N <= 256:
            peers["loop"] = lambda x, layer=layer: experts_loop(layer, x)
        for name, peer in peers.items():
            times = paired(
                lambda layer=layer, x=x, up=upstream: forward_backward(layer, x, up),
                lambda peer=peer, x=x, up=upstream: forward_backward(peer, x, up),
                rounds if name != "loop" else 5,
            )
            found.append({"tokens": N, "width": D, "ff_width": F, "experts": E, "chosen": k, "peer": name} | times)
            print(f"{N:>7}{D:>6}{F:>6}{E:>5}{k:>3}  {name:<12}{times['time_ratio'][1]:>12}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=("trainings", "times"))
    parser.add_argument("--device", default="cpu", choices=("cpu",))
    options = parser.parse_args()
    path = RESULTS / f"experts-{options.device}.json"
    record = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    record |= machine(options.device)
    if options.only != "times":
        trainings(record, options.seeds, options.steps, options.device)
    if options.only != "trainings":
        record["times"] = times(options.rounds)
    print(write_record("experts", options.device, record))


if __name__ == "__main__":
    main()
