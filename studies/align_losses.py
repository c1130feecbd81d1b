"""S0.8 to S0.25: objectives that bring one embedding to another, with outliers, starts, dimensions, schedules, weights.

    python -m studies.align_losses                    all tables, three seeds, writes results/align_losses.{json,md}
    python -m studies.align_losses --only losses --seeds 1 --steps 200 --objectives mse euclidean --dry

The world: 64-dimensional source rows, the target a fixed two-layer network of them with a little noise; the student a
linear map with a hidden layer beside it, from random weights. 4,000 pairs to learn from, 1,000 clean ones held out. Of
the training targets 0, 1, 5 or 10 % are replaced by far ones. Each objective runs at the best of its learning rates,
chosen by the held-out cosine of the first seed. Verdicts are worked out from the rows (`studies.align_claims`). What is
done is kept: started again, the study goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.ledger import Ledger
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.align import Curve, Descent, descend
from embedfit.align.quality import quality
from embedfit.losses.vectors import Cosine, Euclidean, VectorLoss, Weighted, objective
from studies.align_claims import judged
from studies.align_tables import TABLES
from studies.common import verdicts

RESULTS = Path(__file__).parent / "results"
OBJECTIVES = (
    "mse", "mae", "huber", "cosine", "euclidean", "cosine+euclidean", "cosine+mse", "euclidean+margin",
    "euclidean+contrastive", "margin", "margin-hardest", "contrastive", "cosine+similarity", "jasper",
)  # fmt: skip
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
OUTLIERS = (0.0, 0.01, 0.05, 0.1)  # of the training targets
SHARES = (0.0, 0.25, 0.5, 0.75, 0.95)  # of the target in the start
DIMENSIONS = (8, 32, 128, 512, 2_048)
WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the distance beside the cosine
EVERY = 5  # steps between two readings


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
    hidden = torch.tanh(x @ torch.randn(64, 256, generator=g))
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
    place: World, loss: VectorLoss, *, rate: float, seed: int, steps: int, schedule: str = "cosine"
) -> tuple[nn.Module, Curve]:
    """A student after a descent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(place.y.shape[1])
    plan = Descent(
        steps=steps, batch_size=128, learning_rate=rate, warmup=steps // 20, evaluate_every=EVERY, seed=seed,
        schedule=schedule, weight_decay=0.0,  # type: ignore[arg-type]
    )  # fmt: skip
    curve = descend(
        student, lambda rows: student(place.x[rows]), place.y, loss, plan,
        measure=lambda: float(F.cosine_similarity(student(place.held_x), place.held_y).mean()),
    )  # fmt: skip
    return student, curve


@torch.no_grad()
def measured(student: nn.Module, curve: Curve, place: World) -> dict[str, Any]:
    """Held-out figures of a student."""
    found = quality(
        student(place.held_x).numpy(), place.held_y.numpy(), np.arange(len(place.held_y)), cosine=False
    ).to_dict()
    kept = {name: round(found[name], 5) for name in ("cosine", "relative_l2", "norm_ratio", "recall@1", "recall@10")}
    return {**kept, "steps": curve.first_at(0.9)}


@dataclass(frozen=True, slots=True)
class Study:
    """What is measured, and where it is kept."""

    asked: argparse.Namespace
    ledger: Ledger

    def student(self, key: Mapping[str, Any], loss: VectorLoss, seed: int, share: float = 0.0) -> dict[str, Any]:
        """One student of one objective at one rate."""

        def work() -> dict[str, Any]:
            place = world(seed, outliers=share)
            return measured(*trained(place, loss, rate=key["rate"], seed=seed, steps=self.asked.steps), place)

        return self.ledger.row({**key, "seed": seed}, work)

    def at_best(self, key: Mapping[str, Any], loss: Callable[[], VectorLoss], share: float = 0.0) -> None:
        """All seeds at the rate that is best for the first."""
        tried = [self.student({**key, "rate": rate}, loss(), 0, share) for rate in self.asked.rates]
        best = max(tried, key=lambda row: row["cosine"])["rate"]
        for seed in range(1, self.asked.seeds):
            self.student({**key, "rate": best}, loss(), seed, share)

    def losses(self) -> None:
        """Objectives, each with all shares of outliers."""
        for name in self.asked.objectives:
            for share in OUTLIERS:
                self.at_best({"table": "losses", "objective": name, "outliers": share}, partial(objective, name), share)

    def weights(self) -> None:
        """The cosine and the distance, weighted against each other (S0.22)."""
        for weight in WEIGHTS:
            loss = partial(_hybrid, weight)
            self.at_best({"table": "weights", "weight": weight}, loss)

    def schedules(self) -> None:
        """What falls after the warmup, at every rate (S0.13, S0.14)."""
        for kind in ("constant", "linear", "cosine"):
            for rate in (3e-4, *self.asked.rates):
                for seed in range(self.asked.seeds):
                    self.ledger.row(
                        {"table": "schedules", "schedule": kind, "rate": rate, "seed": seed},
                        partial(self._scheduled, kind, rate, seed),
                    )

    def _scheduled(self, kind: str, rate: float, seed: int) -> dict[str, Any]:
        curve = trained(world(seed), Euclidean(), rate=rate, seed=seed, steps=self.asked.steps, schedule=kind)[1]
        return {"cosine": round(max(curve.held_out), 5)}

    def starts(self) -> None:
        """Rows of a free table of embeddings that begin between random and their targets (S0.10 to S0.12)."""
        for share in SHARES:
            for seed in range(self.asked.seeds):
                key = {"table": "starts", "share": share, "seed": seed}
                self.ledger.row(key, partial(_from_a_start, share, seed, self.asked.steps))

    def dimensions(self) -> None:
        """Steps to a target of 8 to 2,048 dimensions: does difficulty grow with it (S0.8)?

        How near the network can come depends on the number of dimensions, and not on how hard they are to descend: the
        ceiling of each is the best it reached at any rate, and steps are counted to 99 % of that.
        """
        for size in DIMENSIONS:
            for seed in range(self.asked.seeds):
                self.ledger.row(
                    {"table": "dimensions", "dimension": size, "of": "free rows", "seed": seed},
                    partial(_free, size, seed, self.asked.steps),
                )
                for rate in self.asked.rates:
                    self.ledger.row(
                        {"table": "dimensions", "dimension": size, "of": "network", "rate": rate, "seed": seed},
                        partial(self._network, size, rate, seed),
                    )

    def _network(self, size: int, rate: float, seed: int) -> dict[str, Any]:
        place = world(seed, dimension=size, rows=2_000, held=500)
        curve = trained(place, Euclidean(), rate=rate, seed=seed, steps=self.asked.steps)[1]
        return {"curve": [round(value, 4) for value in curve.held_out]}


def _hybrid(weight: float) -> VectorLoss:
    return Weighted((1.0, Cosine()), (weight, Euclidean()))


def _from_a_start(share: float, seed: int, steps: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    target, random = (F.normalize(torch.randn(1_000, 64, generator=g), dim=1) for _ in range(2))
    curve = _moved((1 - share) * random + share * target, target, seed, steps)
    return {
        "start": round(curve.held_out[0], 5),
        "end": round(max(curve.held_out), 5),
        "to .9": curve.first_at(0.9),
        "to .99": curve.first_at(0.99),
    }


def _free(size: int, seed: int, steps: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    target, start = (F.normalize(torch.randn(500, size, generator=g), dim=1) for _ in range(2))
    # steps of Adam have one size per coordinate, and coordinates have size 1 / sqrt(e)
    curve = _moved(start, target, seed, min(steps, 300), rate=0.02 * (64 / size) ** 0.5)
    return {"to .99": curve.first_at(0.99)}


def _moved(
    start: Float[Tensor, "n e"], target: Float[Tensor, "n e"], seed: int, steps: int, rate: float = 0.02
) -> Curve:
    """Free rows pulled to their targets by the distance."""
    table = nn.Embedding.from_pretrained(start, freeze=False)

    def nearness() -> float:
        return float(F.cosine_similarity(table.weight, target).mean())

    plan = Descent(
        steps=steps, batch_size=len(target), learning_rate=rate, warmup=0, evaluate_every=1, seed=seed,
        weight_decay=0.0,
    )  # fmt: skip
    return descend(table, lambda some: table.weight[some], target, Euclidean(), plan, measure=nearness)


def page(ledger: Ledger) -> Iterator[str]:
    """The tables that have rows, and the verdicts that they allow."""
    for name, draw in TABLES.items():
        rows = ledger.of(table=name)
        if rows:
            yield f"### {name}\n\n{draw(rows)}"
    found = judged(ledger)
    if found:
        yield f"### verdicts\n\n{verdicts(found)}"


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Claims about losses that bring one embedding to another.")
    parser.add_argument("--only", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--objectives", nargs="*", default=list(OBJECTIVES))
    parser.add_argument("--rates", nargs="*", type=float, default=list(RATES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    place = None if asked.dry else RESULTS / "align_losses.json"
    study = Study(asked, Ledger(place, {"steps": asked.steps, "rates": asked.rates}))
    work = {
        "losses": study.losses, "weights": study.weights, "starts": study.starts, "dimensions": study.dimensions,
        "schedules": study.schedules,
    }  # fmt: skip
    for name in asked.only:
        work[name]()
    said = "\n\n".join(page(study.ledger))
    print(said)
    if place is not None:
        place.with_suffix(".md").write_text(said + "\n", "utf-8")


if __name__ == "__main__":
    main()
