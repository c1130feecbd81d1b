"""Claims about losses that bring one embedding to another, measured: objectives with outliers, starts, dimensions.

    python -m studies.align_losses                    all tables, three seeds, writes results/align_losses.md
    python -m studies.align_losses --only losses --seeds 1 --steps 200 --objectives mse euclidean --dry

The world: 64-dimensional source rows, the target a fixed two-layer network of them with a little noise; the student a
linear map with a hidden layer beside it, from random weights. 4,000 pairs to learn from, 1,000 clean ones held out. Of
the training targets 0, 1, 5 or 10 % are replaced by far ones. Each objective at the best of its learning rates, chosen
by held-out cosine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.align import Curve, Descent, descend
from embedfit.align.quality import quality
from embedfit.losses.vectors import objective

RESULTS = Path(__file__).parent / "results"
OBJECTIVES = (
    "mse", "mae", "huber", "cosine", "euclidean", "cosine+euclidean", "cosine+mse", "euclidean+margin",
    "euclidean+contrastive", "margin", "margin-hardest", "contrastive", "cosine+similarity", "jasper",
)  # fmt: skip
RATES = (1e-3, 3e-3, 1e-2)
OUTLIERS = (0.0, 0.01, 0.05, 0.1)  # of the training targets


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Pairs to learn from and clean ones to measure on."""

    x: Float[Tensor, "n a"]
    y: Float[Tensor, "n e"]
    held_x: Float[Tensor, "m a"]
    held_y: Float[Tensor, "m e"]


def world(seed: int, *, dimension: int = 64, outliers: float = 0.0, rows: int = 4_000, held: int = 1_000) -> World:
    """A teacher of two layers; the share `outliers` of its training targets lies ten times as far out, anywhere."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows + held, 64, generator=g) / 8
    hidden = torch.tanh(2 * x @ torch.randn(64, 256, generator=g))
    y = hidden @ torch.randn(256, dimension, generator=g)
    y = y / y.norm(dim=1).mean() + 0.05 * torch.randn(y.shape, generator=g) / dimension**0.5
    train = y[:rows].clone()
    bad = torch.randperm(rows, generator=g)[: round(outliers * rows)]
    train[bad] = 10 * F.normalize(torch.randn(len(bad), dimension, generator=g), dim=1)
    return World(x=x[:rows], y=train, held_x=x[rows:], held_y=y[rows:])


class Student(nn.Module):
    """A hidden layer beside a linear map."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, dimension)
        self.hidden = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, dimension))

    def forward(self, x: Float[Tensor, "n a"]) -> Float[Tensor, "n e"]:
        return self.linear(x) + self.hidden(x)


def trained(
    place: World, name: str, rate: float, seed: int, *, steps: int, schedule: str = "cosine"
) -> tuple[nn.Module, Curve]:
    """A student after a descent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(place.y.shape[1])
    plan = Descent(steps=steps, batch_size=128, learning_rate=rate, warmup=steps // 20, evaluate_every=25, seed=seed,
                   schedule=schedule, weight_decay=0.0)  # type: ignore[arg-type]  # fmt: skip
    curve = descend(
        student, lambda rows: student(place.x[rows]), place.y, objective(name), plan,
        measure=lambda: float(F.cosine_similarity(student(place.held_x), place.held_y).mean()),
    )  # fmt: skip
    return student, curve


@torch.no_grad()
def measured(student: nn.Module, curve: Curve, place: World) -> dict[str, Any]:
    """Held-out figures."""
    found = quality(
        student(place.held_x).numpy(), place.held_y.numpy(), np.arange(len(place.held_y)), cosine=False
    ).to_dict()
    return {**found, "steps": curve.first_at(0.9)}


def losses(arguments: argparse.Namespace) -> list[str]:
    """The table of objectives."""
    heads = [
        "objective",
        "rate",
        *(f"{100 * share:g} % outliers: cos / rel. L2 / R@1" for share in OUTLIERS),
        "steps to cos .9",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    print("\n".join(lines), flush=True)
    for name in arguments.objectives:
        rates, cells, steps = [], [], []
        for share in OUTLIERS:
            by_rate = {
                rate: [
                    measured(*trained(place, name, rate, seed, steps=arguments.steps), place)
                    for seed in range(arguments.seeds)
                    for place in [world(seed, outliers=share)]
                ]
                for rate in arguments.rates
            }
            best = max(by_rate, key=lambda rate: mean(row["cosine"] for row in by_rate[rate]))
            rows = by_rate[best]
            rates.append(best)
            cells.append(
                " / ".join(spread([row[key] for row in rows]) for key in ("cosine", "relative_l2", "recall@1"))
            )
            if share == 0:
                steps = [row["steps"] for row in rows]
        reached = "never" if None in steps else spread(steps, 0)
        lines.append(f"| {name} | {'/'.join(f'{r:g}' for r in rates)} | {' | '.join(cells)} | {reached} |")
        print(lines[-1], flush=True)
    return lines


def starts(arguments: argparse.Namespace) -> list[str]:
    """Rows of a free table of embeddings that begin between random and their targets (S0.10, S0.11)."""
    lines = [
        "| share of the target in the start | cos at the start | cos after | steps to cos .9 | to .99 |",
        "|---" * 5 + "|",
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 0.95):
        rows = []
        for seed in range(arguments.seeds):
            g = torch.Generator().manual_seed(seed)
            target = F.normalize(torch.randn(1_000, 64, generator=g), dim=1)
            random = F.normalize(torch.randn(1_000, 64, generator=g), dim=1)
            table = nn.Embedding.from_pretrained((1 - share) * random + share * target, freeze=False)
            rows.append(_moved(table, target, seed, arguments.steps))
        firsts = [[row[key] for row in rows] for key in ("start", "end", "0.9", "0.99")]
        cells = [spread(firsts[0]), spread(firsts[1]), *("never" if None in f else spread(f, 0) for f in firsts[2:])]
        lines.append(f"| {share:g} | {' | '.join(cells)} |")
    print("\n".join(lines), flush=True)
    return lines


def dimensions(arguments: argparse.Namespace) -> list[str]:
    """Steps to a target of 8 to 2,048 dimensions: does difficulty grow with it (S0.8)?"""
    lines = [
        "| dimensions | steps to cos .9, free rows | steps to cos .9, network | cos at the end, network |",
        "|---" * 4 + "|",
    ]
    print("\n".join(lines), flush=True)
    for size in (8, 32, 128, 512, 2_048):
        free, net, ends = [], [], []
        for seed in range(arguments.seeds):
            g = torch.Generator().manual_seed(seed)
            target = F.normalize(torch.randn(500, size, generator=g), dim=1)
            # steps of Adam have one size per coordinate, and coordinates have size 1 / sqrt(e)
            start = F.normalize(torch.randn(500, size, generator=g), dim=1)
            table = nn.Embedding.from_pretrained(start, freeze=False)
            free.append(_moved(table, target, seed, arguments.steps, rate=0.02 * (64 / size) ** 0.5)["0.9"])
            place = world(seed, dimension=size, rows=2_000, held=500)
            curve = trained(place, "euclidean", 3e-3, seed, steps=arguments.steps)[1]
            net.append(curve.first_at(0.9))
            ends.append(max(curve.held_out))
        cells = ["never" if None in f else spread(f, 0) for f in (free, net)]
        lines.append(f"| {size:,} | {' | '.join(cells)} | {spread(ends)} |")
        print(lines[-1], flush=True)
    return lines


def schedules(arguments: argparse.Namespace) -> list[str]:
    """What falls after the warmup, and how much the learning rate may be off."""
    lines = [
        "| schedule | " + " | ".join(f"cos at rate {rate:g}" for rate in (3e-4, *RATES, 3e-2)) + " |",
        "|---" * 6 + "|",
    ]
    for kind in ("constant", "linear", "cosine"):
        cells = []
        for rate in (3e-4, *RATES, 3e-2):
            found = []
            for seed in range(arguments.seeds):
                place = world(seed)
                found.append(
                    max(trained(place, "euclidean", rate, seed, steps=arguments.steps, schedule=kind)[1].held_out)
                )
            cells.append(spread(found))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def _moved(table: nn.Embedding, target: Tensor, seed: int, steps: int, rate: float = 0.02) -> dict[str, Any]:
    """Free rows pulled to their targets by the distance."""
    rows = len(target)

    def nearness() -> float:
        return float(F.cosine_similarity(table.weight, target).mean())

    plan = Descent(
        steps=steps, batch_size=rows, learning_rate=rate, warmup=0, evaluate_every=1, seed=seed, weight_decay=0.0
    )
    curve = descend(table, lambda some: table.weight[some], target, objective("euclidean"), plan, measure=nearness)
    return {
        "start": curve.held_out[0],
        "end": max(curve.held_out),
        "0.9": curve.first_at(0.9),
        "0.99": curve.first_at(0.99),
    }


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean, and standard deviation where there is one."""
    said = f"{mean(values):.{digits}f}"
    return said + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 and stdev(values) >= 0.5 * 10**-digits else "")


TABLES = {"losses": losses, "starts": starts, "dimensions": dimensions, "schedules": schedules}


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Claims about losses that bring one embedding to another.")
    parser.add_argument("--only", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--objectives", nargs="*", default=list(OBJECTIVES))
    parser.add_argument("--rates", nargs="*", type=float, default=list(RATES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--dry", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = [f"## {name}\n\n" + "\n".join(TABLES[name](arguments)) for name in arguments.only]
    if not arguments.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "align_losses.md").write_text("\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
