"""Negatives that come as rows: found among the columns, looked up among the pairs, exchanged in a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize, relu

from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.kin import exchanged, negatives, of_negatives
from embedfit.doctor.lab import Lab
from embedfit.doctor.material import gather

CLASSES, SIZE = 12, 32


def points(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(9)
    centres = torch.randn(CLASSES, 10, generator=g)
    g.manual_seed(seed)
    label = torch.randint(CLASSES, (n,), generator=g)
    return centres[label] + 0.8 * torch.randn(n, 10, generator=g), label


class Triplets:
    """A triplet loop; its negatives are of the query's own class if told so, stacked on the positives or apart."""

    steps = 120

    def __init__(self, own: bool, stacked: bool, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.own, self.stacked, self.batches = own, stacked, self
        self.x, self.y = points(640, 1)
        self.g = torch.Generator().manual_seed(seed)

    def one_of(self, c: int) -> int:
        members = (self.y == c).nonzero()[:, 0]
        return int(members[torch.randint(len(members), (1,), generator=self.g)])

    def __iter__(self) -> Iterator[Any]:
        for a in torch.randperm(len(self.x), generator=self.g).split(SIZE):
            p = [self.one_of(int(c)) for c in self.y[a]]
            n = [self.one_of(int(c) if self.own else (int(c) + 1 + i % (CLASSES - 1)) % CLASSES)
                 for i, c in enumerate(self.y[a])]  # fmt: skip
            yield (self.x[a], self.x[p + n]) if self.stacked else (self.x[a], self.x[p], self.x[n])

    def train_step(self, batch: Any) -> Mapping[str, torch.Tensor]:
        n = len(batch[0])
        query, document = self.model(batch[0]), self.model(torch.cat(batch[1:]))
        a, p, other = (normalize(x, dim=-1) for x in (query, document[:n], document[n:]))
        loss = relu((a - p).square().sum(1) - (a - other).square().sum(1) + 0.5).mean()
        return {"query": query, "document": document, "loss": loss}

    @torch.no_grad()
    def evaluate(self) -> float:
        x, y = points(300, 2)
        e = normalize(self.model(x), dim=-1)
        near = torch.cdist(e, e).fill_diagonal_(9.0).argmin(1)
        return float((y[near] == y).float().mean())


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_negatives_of_the_own_class_are_told_from_others(own: bool, stacked: bool) -> None:
    program = Triplets(own, stacked)
    facts = of_negatives(program, gather(program))
    assert (facts["negatives.chained"] > 0.25) == own
    assert facts["negatives.chance"] < 0.2


def test_the_columns_of_the_negatives_are_found() -> None:
    program = Triplets(own=False, stacked=False)
    found = negatives(program, gather(program))
    assert found is not None
    assert (found.positive, found.columns, list(found)) == (("1",), (("2",),), ["2"])


@pytest.mark.parametrize("stacked", [False, True])
def test_negatives_of_other_rows_cure_a_program_whose_own_are_kin(stacked: bool) -> None:
    def build(seed: int = 0) -> Any:
        return Triplets(True, stacked, seed)

    material = gather(build())
    lab = Lab(build, material, Gauge(material=material, has_metric=True), 120, 120, Stopwatch(), 60.0)
    before = torch.get_rng_state()
    found = exchanged(lab, {"negatives.chained": 0.6})
    assert torch.equal(before, torch.get_rng_state())
    assert found["negatives.others"] > 1.1 * found["negatives.own"]
    assert exchanged(lab, {"negatives.chained": 0.01}) == {}
