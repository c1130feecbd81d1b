"""A hand-made triplet loop: classes of points; anchor, positive and negative per row; no update of its own."""

from __future__ import annotations

__all__ = ["LOOPS"]

from collections.abc import Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.faults.loops.loop import Loop


def make_points(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sixty classes on a bent surface, seen through noise."""
    g = torch.Generator().manual_seed(2718)
    centres, mix = torch.randn(60, 8, generator=g), torch.randn(8, 40, generator=g)
    g.manual_seed(seed)
    y = torch.randint(60, (n,), generator=g)
    x = torch.sin((centres[y] + 0.35 * torch.randn(n, 8, generator=g)) @ mix) + 0.3 * torch.randn(n, 40, generator=g)
    return x, y


class TripletSet:
    """Iterating gives (anchor, positive, negative) batches."""

    def __init__(self, seed: int, n: int = 6000, batch: int = 64) -> None:
        self.x, self.y = make_points(n, 1)
        self.batch = batch
        self.g = torch.Generator().manual_seed(seed)
        self.members = [torch.nonzero(self.y == c)[:, 0] for c in range(60)]

    def __len__(self) -> int:
        return len(self.x) // self.batch

    def anchors(self) -> Tensor:
        return torch.randperm(len(self.x), generator=self.g)

    def negative_of(self, y: Tensor) -> Tensor:
        other = (y + torch.randint(1, 60, y.shape, generator=self.g)) % 60
        return torch.stack([self.one_of(int(c)) for c in other])

    def one_of(self, c: int) -> Tensor:
        return self.members[c][int(torch.randint(len(self.members[c]), (1,), generator=self.g))]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = self.anchors()
        for i in range(len(self)):
            a = order[i * self.batch : (i + 1) * self.batch]
            p = torch.stack([self.one_of(int(c)) for c in self.y[a]])
            n = self.negative_of(self.y[a])
            yield self.x[a], self.x[p], self.x[n]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(40, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.normalize(self.fc3(x), dim=1)


class Siamese:
    """siamese.py"""

    margin = 0.5
    steps = 400

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.batches = self.dataset(seed)
        self.model = self.network()
        self.optimizer = self.make_optimizer()
        self.test = make_points(600, 2)

    def dataset(self, seed: int) -> TripletSet:
        return TripletSet(seed)

    def network(self) -> nn.Module:
        return Net()

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def train_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        anchor, positive, negative = (self.model(x) for x in batch)
        loss = self.triplet_loss(anchor, positive, negative)
        return {"query": anchor, "document": torch.cat([positive, negative]), "loss": loss}

    def triplet_loss(self, a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        d_ap = (a - p).pow(2).sum(1)
        d_an = (a - n).pow(2).sum(1)
        return F.relu(d_ap - d_an + self.margin).mean()

    def evaluate(self) -> float:
        """Share of test points whose nearest other test point is of their class."""
        x, y = self.test
        with torch.no_grad():
            e = self.model(x)
            d = torch.cdist(e, e)
        d.fill_diagonal_(float("inf"))
        return float((y[d.argmin(1)] == y).float().mean())


class SwappedArguments(Siamese):
    """The distances to the positive and the negative are handed over in the wrong order."""

    def triplet_loss(self, a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return super().triplet_loss(a, n, p)


class HugeMargin(Siamese):
    """Distances squashed by a sigmoid, and a margin of 1."""

    margin = 1.0

    def triplet_loss(self, a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        d_ap = torch.sigmoid((a - p).pow(2).sum(1))
        d_an = torch.sigmoid((a - n).pow(2).sum(1))
        return F.relu(d_ap - d_an + self.margin).mean() + 0 * a.sum()


class LargeRate(Siamese):
    """The learning rate of another unit."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=10.0)


class OneClassSet(TripletSet):
    """`negative_of` draws from the anchor's own class."""

    def negative_of(self, y: Tensor) -> Tensor:
        return torch.stack([self.one_of(int(c)) for c in y])


class FalseNegatives(Siamese):
    """Negatives are drawn from the class of the anchor."""

    def dataset(self, seed: int) -> TripletSet:
        return OneClassSet(seed)


class WiderMargin(Siamese):
    """A margin of .9: as good, and the loss stays far from zero."""

    margin = 0.9


LOOPS = (
    Loop(name="triplet loop", build=Siamese, healthy=Siamese),
    Loop(name="triplet loop, margin .9", build=WiderMargin, healthy=Siamese),
    Loop(name="triplet loop, arguments swapped", build=SwappedArguments, healthy=Siamese, components=("loss",),
         cause="reversed sign"),
    Loop(name="triplet loop, squashed distances", build=HugeMargin, healthy=Siamese, components=("loss",),
         cause="unreachable margin"),
    Loop(name="triplet loop, rate too high", build=LargeRate, healthy=Siamese, components=("optimiser", "schedule"),
         cause="learning rate too high"),
    Loop(name="triplet loop, negatives of the own class", build=FalseNegatives, healthy=Siamese,
         components=("negatives",), cause="false negatives"),
)  # fmt: skip
