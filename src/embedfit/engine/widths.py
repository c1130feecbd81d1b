"""How wide the classes of the training rows are, for a margin that follows them."""

from __future__ import annotations

__all__ = ["follow"]

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.engine.plan import Material
from embedfit.engine.step import Objective
from embedfit.losses import Diameter, InfoNCE, Symmetric
from embedfit.towers import Tower, TwoTower
from embedfit.types import Tokens

TIMES = 20  # that they are measured in a run
SAMPLE = 2048  # examples that are looked at


def follow(objective: Objective, number: int, steps: int, material: Material) -> dict[str, float]:
    """Measure before some steps how far texts are from what they belong to, where the margin follows that.

    Args:
        objective: of the step; every process of its team asks at once.
        number: of the step.
        steps: of the run.
        material: the examples.

    Returns:
        The new margin as a reading; nothing where it stays.
    """
    inner = objective.loss.loss if isinstance(objective.loss, Symmetric) else objective.loss
    every = max(1, steps // TIMES)
    # not before the first step: classes of an untrained model are as wide as everything
    if not (isinstance(inner, InfoNCE) and isinstance(inner.margin, Diameter)) or not number or number % every:
        return {}
    team = objective.team
    inner.margin.measured(float(team.copy(_distance(material, objective.model).to(team.device))))
    return {"margin": inner.margin.size}


@torch.no_grad()
def _distance(material: Material, model: TwoTower) -> Tensor:
    """Mean of sqrt(1 - cos) between queries and their positives, over evenly spread examples."""
    data, was = material.data, model.training
    rows = torch.arange(0, len(data), max(1, len(data) // SAMPLE))
    model.eval()
    embed = partial(_embedded, device=material.device)
    query = embed(model.query, material.query_tokens.select(data.query[rows]))
    document = embed(model.document, material.document_tokens.select(data.positive[rows]))
    model.train(was)
    return (1 - (query * document).sum(-1)).clamp(min=0).sqrt().mean()


def _embedded(tower: Tower, tokens: Tokens, *, device: torch.device) -> Tensor:
    parts = [tower(tokens.select(part).to(device)).float() for part in torch.arange(len(tokens)).split(256)]
    return normalize(torch.cat(parts), dim=-1)
