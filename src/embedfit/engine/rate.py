"""The learning-rate test: short real runs from the same weights on the same batches."""

from __future__ import annotations

__all__ = ["RateTest", "learning_rate_test"]

import math
from dataclasses import dataclass, replace

from torch import Tensor

from embedfit.data.batches import order, rows_of
from embedfit.engine.accumulate import accumulated
from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective, loss_of
from embedfit.errors import NonFiniteLossError
from embedfit.optim import Group, factor
from embedfit.types import Batch

STRIDE = 3.0  # between neighbouring rates; the optimum of Adam is flat over about this range
REACH = 4  # strides from the anchor, either way
JUDGED = 8  # batches kept apart, whose mean loss decides
TOLERANCE = 0.1  # of the way from the best loss back to the start that a lower rate may give away


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTest:
    """What the test saw.

    Attributes:
        chosen: the learning rate to train with.
        start: mean loss of the judging batches before any step.
        losses: rate -> that loss after the trial; infinite where the trial diverged.
        steps: optimiser steps taken in all.
    """

    chosen: float
    start: float
    losses: dict[float, float]
    steps: int


def learning_rate_test(
    objective: Objective, material: Material, groups: list[Group], plan: Plan, *, anchor: float, trial: int
) -> RateTest:
    """Pick a learning rate by trying it.

    From the anchor upwards and downwards in factors of 3, each rate trains `trial` steps and a whole small schedule
    (warmup and fall to 0), and is judged by the loss on examples kept apart from all trials. The search goes on while
    the best rate is at an end of what was tried. A range test that raises the rate within one run is cheaper, but its
    minimum lies far above the best rate, because the loss lags behind the rate.

    A whole run is much longer than a trial and wants a lower rate: the lowest rate is taken that gets within a tenth
    of what the best one gained.

    Args:
        objective: towers and loss; their weights are put back bit for bit.
        material: examples and tokens.
        groups: optimiser groups.
        plan: batches, optimiser and seed are taken from it.
        anchor: where to begin, the family's usual rate.
        trial: steps of one trial.
    """
    kept = {k: v.detach().clone() for k, v in objective.model.state_dict().items()}
    kept_loss = {k: v.detach().clone() for k, v in objective.loss.state_dict().items()}
    learned, judged = _divided(material, plan)
    start = _judge(objective, judged)
    losses: dict[float, float] = {}

    def tried(exponent: int) -> float:
        rate = anchor * STRIDE**exponent
        if rate not in losses:
            try:
                sound = _trial(objective, material, learned, groups, replace(plan, learning_rate=rate, steps=trial))
                losses[rate] = _judge(objective, judged) if sound else math.inf
            finally:  # also where the user interrupts
                objective.model.load_state_dict(kept)
                objective.loss.load_state_dict(kept_loss)
        return losses[rate]

    best = 0
    while abs(best) < REACH:
        # where the rate itself diverges, a higher one need not be tried
        around = (best, best + 1, best - 1) if math.isfinite(tried(best)) else (best - 1, best)
        better = min(around, key=tried)
        if better == best:
            break
        best = better
    enough = losses[anchor * STRIDE**best] + TOLERANCE * max(0.0, start - losses[anchor * STRIDE**best])
    chosen = min(rate for rate, loss in losses.items() if loss <= enough)
    return RateTest(
        chosen=float(f"{chosen:.2g}"), start=start, losses=dict(sorted(losses.items())), steps=trial * len(losses)
    )


def _divided(material: Material, plan: Plan) -> tuple[Tensor, list[Batch]]:
    """Rows to learn from, and batches of other rows to judge by (at most a fifth of all)."""
    rows = order(len(material.data), seed=plan.seed, epoch=-1)
    apart = max(1, min(JUDGED * plan.batch_size, len(rows) // 5))
    batches = [material.batch_with(part, plan, draw=i) for i, part in enumerate(rows[:apart].split(plan.batch_size))]
    return rows[apart:], batches


def _judge(objective: Objective, judged: list[Batch]) -> float:
    objective.loss.at(1.0)  # trials are compared by the loss they end with
    losses = [loss_of(objective, batch) for batch in judged]
    value = sum(loss * len(batch) for loss, batch in zip(losses, judged, strict=True)) / sum(map(len, judged))
    return value if math.isfinite(value) else math.inf


def _trial(objective: Objective, material: Material, learned: Tensor, groups: list[Group], plan: Plan) -> bool:
    """Train a few steps; false when a loss or gradient was not finite."""
    optimiser = plan.mover(groups)
    objective.model.train()
    for number in range(plan.steps):
        rate = plan.learning_rate * factor(number, total=plan.steps, warmup=max(1, plan.steps // 10), kind="linear")
        batches = [_learned(material, learned, plan, number * plan.accumulate + i) for i in range(plan.accumulate)]
        objective.loss.at(number / plan.steps)
        try:
            accumulated(objective, batches, number=number, seed=plan.seed)
        except NonFiniteLossError:
            return False
        if not math.isfinite(optimiser.clip(plan.max_gradient_norm)):
            return False
        optimiser.step(rate)
    return True


def _learned(material: Material, learned: Tensor, plan: Plan, number: int) -> Batch:
    rows = learned[rows_of(number, len(learned), batch_size=plan.batch_size, seed=plan.seed)]
    return material.batch_with(rows, plan, draw=number)
