"""Gradient noise, from the gradients of two steps in a row, or of independent batches at frozen weights."""

from __future__ import annotations

__all__ = ["Meter", "probe"]

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from embedfit.engine.accumulate import accumulated
from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective

Gradient = list[Tensor | None]

FROZEN = 10_000_000  # numbers of the probe's batches, apart from those of any run


class Meter:
    """Keeps the gradient of a step until the next one, for the product of the two.

    One stored gradient, at a few steps of a run; exact for every loss and any number of processes, because it is the
    gradient that the optimiser gets.

    Args:
        parameters: of the optimiser.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.kept: Gradient | None = None

    @torch.no_grad()
    def read(self, *, keep: bool) -> dict[str, float]:
        """Readings of this step's gradient with the one that was kept; call it between backward and clipping."""
        now = self._now() if keep or self.kept is not None else []
        readings = {}
        if self.kept is not None:
            squares = (dot(self.kept, self.kept) + dot(now, now)) / 2
            readings = {"noise/square": squares, "noise/product": dot(self.kept, now)}
        self.kept = [None if g is None else g.clone() for g in now] if keep else None
        return readings

    def _now(self) -> Gradient:
        return [p.grad.coalesce() if p.grad is not None and p.grad.is_sparse else p.grad for p in self.parameters]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        out: dict[str, Tensor] = {}
        for i, g in enumerate(self.kept or []):
            if g is not None and g.is_sparse:
                out |= {f"{i}/rows": g.indices()[0], f"{i}/values": g.values()}
            elif g is not None:
                out[f"{i}/whole"] = g
        return out

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.kept = [None] * len(self.parameters) if state else None
        for name, value in state.items():
            index, part = name.split("/")
            p = self.parameters[int(index)]
            assert self.kept is not None
            if part == "whole":
                self.kept[int(index)] = value.to(p.device)
            elif part == "values":
                rows = state[f"{index}/rows"].to(p.device)[None]
                self.kept[int(index)] = torch.sparse_coo_tensor(
                    rows, value.to(p.device), p.shape, is_coalesced=True, check_invariants=False
                )


def dot(one: Gradient, other: Gradient) -> float:
    """Inner product of two gradients."""
    return sum(_dot(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None)


def _dot(a: Tensor, b: Tensor) -> float:
    if not a.is_sparse and not b.is_sparse:
        return float((a * b).sum(dtype=torch.float64))
    if a.is_sparse and b.is_sparse:
        mine, theirs = a.indices()[0], b.indices()[0]
        place = torch.searchsorted(theirs, mine).clamp(max=max(0, len(theirs) - 1))
        both = theirs[place] == mine if len(theirs) else torch.zeros_like(mine, dtype=torch.bool)
        return float((a.values()[both] * b.values()[place[both]]).sum(dtype=torch.float64))
    sparse, dense = (a, b) if a.is_sparse else (b, a)
    return float((sparse.values() * dense[sparse.indices()[0]]).sum(dtype=torch.float64))


def probe(objective: Objective, material: Material, plan: Plan, *, batches: int = 16) -> list[list[float]]:
    """Products of the gradients of independent batches at the weights as they are.

    Args:
        objective: towers and loss; their weights stay, their gradients are dropped.
        material: whose rows are drawn, in an order that no run has.
        plan: its batch size, accumulation and seed.
        batches: how many; each is held until the end.

    Returns:
        The product of each with each.
    """
    parameters = [p for p in (*objective.model.parameters(), *objective.loss.parameters()) if p.requires_grad]
    was = objective.model.training
    objective.model.train()
    gradients: list[Gradient] = []
    try:
        for number in range(batches):
            meter = Meter(parameters)
            accumulated(objective, _batches(material, plan, number), number=FROZEN + number, seed=plan.seed)
            meter.read(keep=True)
            assert meter.kept is not None
            gradients.append(meter.kept)
            for p in parameters:
                p.grad = None
    finally:
        objective.model.train(was)
    return [[dot(one, other) for other in gradients] for one in gradients]


def _batches(material: Material, plan: Plan, number: int) -> list:
    first = FROZEN + number * plan.accumulate
    draws = [torch.Generator().manual_seed(plan.seed * 1_000_003 + first + i) for i in range(plan.accumulate)]
    count = min(plan.batch_size, len(material.data))
    rows = [torch.randperm(len(material.data), generator=draw)[:count] for draw in draws]
    return [material.batch_with(part, plan, draw=first + i) for i, part in enumerate(rows)]
