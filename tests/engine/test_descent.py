"""Every objective, descended on a dozen free unit vectors, ends at the floor that is stated for it and never below."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embedfit.engine.defaults import temperature_for
from embedfit.engine.levels import levels
from embedfit.engine.objective import OBJECTIVES, Asked, asked, make_loss
from embedfit.losses import Loss, PairLoss
from embedfit.probes.floor import cosent_chance, cosent_floor
from embedfit.recipe import LossSection
from embedfit.scores import marked, paired_scores
from embedfit.towers import Prototypes

N, WIDE = 12, 16  # a simplex of 12 fits
GRADES = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).repeat_interleave(N // 3)


def settled(kind: str) -> Asked:
    section = LossSection(kind=kind, grades=3 if kind == "softmax_head" else 2)
    return asked(section, kind, candidates=N, temperature=temperature_for(N), label_smoothing=0.05)


def value(loss: Loss | PairLoss, query: Tensor, document: Tensor, kind: str) -> Tensor:
    """The mean loss of a batch."""
    grades = GRADES if OBJECTIVES[kind].rows == "graded" else None
    if isinstance(loss, PairLoss):
        return loss(query, document, grades).mean()
    if grades is not None:
        return loss(paired_scores(query, document, grades)).mean()
    return loss(marked(normalize(query, dim=1) @ normalize(document, dim=1).T, torch.arange(N))).mean()


def stated(kind: str, loss: Loss | PairLoss) -> tuple[float, float]:
    """Floor and chance."""
    if kind in ("cosent", "angle"):
        parts = 2 if kind == "angle" else 1
        return parts * cosent_floor([N // 3] * 3, settled(kind).temperature), parts * cosent_chance([N // 3] * 3)
    if kind == "cosine":
        return 0.0, float(GRADES.var(correction=0))
    if kind == "softmax_head":
        return 0.0, math.log(3)
    return levels(loss, float(N)) if isinstance(loss, Loss) else (-1.0, 0.0)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_ends_at_its_floor_and_never_below(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    loss = make_loss(
        settled(kind), Prototypes([str(n) for n in range(N)], torch.ones(N, WIDE)), symmetric=True
    ).double()
    floor, chance = stated(kind, loss)
    loss.at(1.0)
    points = [nn.Parameter(torch.randn(N, WIDE, generator=generator, dtype=torch.float64)) for _ in range(2)]
    moved = [*points, *(p for p in loss.parameters() if p.requires_grad)]
    optimiser = torch.optim.Adam(moved, lr=0.1)
    steps = 400 if OBJECTIVES[kind].alone else 250  # a predictor learns too
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        last = value(loss, *points, kind)
        last.backward()
        optimiser.step()
        falling.step()
        assert last.item() >= floor - 1e-6
    near = 0.15 if OBJECTIVES[kind].alone else 0.02  # a narrow predictor has to turn every point
    assert last.item() - floor <= near * (chance - floor)
