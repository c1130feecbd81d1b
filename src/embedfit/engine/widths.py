"""How wide the classes of the training rows are, for a margin that follows them."""

from __future__ import annotations

__all__ = ["follow"]

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective
from embedfit.losses import Diameter, InfoNCE, Loss, one_direction
from embedfit.towers import Tower, TwoTower
from embedfit.types import Tokens

TIMES = 20  # that they are measured in a run
SAMPLE = 2048  # examples that are looked at


def follow(objective: Objective, number: int, plan: Plan, material: Material) -> dict[str, float]:
    """Measure before some steps how far texts are from what they belong to, where the margin follows that.

    Args:
        objective: of the step; every process of its team asks at once.
        number: of the step.
        plan: of the run.
        material: the examples.

    Returns:
        The new margin as a reading; nothing where it stays.
    """
    inner = one_direction(objective.loss) if isinstance(objective.loss, Loss) else objective.loss
    every = max(1, plan.steps // TIMES)
    # not before the first step: classes of an untrained model are as wide as everything
    if not (isinstance(inner, InfoNCE) and isinstance(inner.margin, Diameter)) or not number or number % every:
        return {}
    team = objective.team
    inner.margin.measured(float(team.copy(_distance(number, plan, material, objective.model).to(team.device))))
    return {"margin": inner.margin.size}


@torch.no_grad()
def _distance(number: int, plan: Plan, material: Material, model: TwoTower) -> Tensor:
    """Mean of sqrt(1 - cos) between queries and their positives, over evenly spread examples."""
    count, was = len(material.data), model.training
    batch = material.batch_with(torch.arange(0, count, max(1, count // SAMPLE)), plan, draw=number)
    model.eval()
    query, document = _embedded(model.query, batch.query), _embedded(model.document, batch.document)
    model.train(was)
    return (1 - (query * document[batch.positive]).sum(-1)).clamp(min=0).sqrt().mean()


def _embedded(tower: Tower, tokens: Tokens) -> Tensor:
    rows = torch.arange(len(tokens), device=tokens.lengths.device)
    return normalize(torch.cat([tower(tokens.select(part)).float() for part in rows.split(256)]), dim=-1)
