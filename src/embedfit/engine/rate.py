"""The learning-rate test: short real runs from the same weights on the same batches."""

from __future__ import annotations

__all__ = ["RateTest", "learning_rate_test"]

import math
from dataclasses import dataclass, replace

from embedfit.engine.checkpoint import seeded
from embedfit.engine.loop import Material, Plan
from embedfit.engine.step import Objective, loss_of, train_step
from embedfit.errors import NonFiniteLossError
from embedfit.optim import Group, Optimiser, factor

STRIDE = 3.0  # between neighbouring rates; the optimum of Adam is flat over about this range
REACH = 4  # strides from the anchor, either way
JUDGED = 8  # batches not trained on, whose mean loss decides


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTest:
    """What the test saw.

    Attributes:
        chosen: the learning rate to train with.
        losses: rate -> mean loss of the judging batches after the trial; infinite where it diverged.
        steps: optimiser steps taken in all.
    """

    chosen: float
    losses: dict[float, float]
    steps: int


def learning_rate_test(
    objective: Objective, material: Material, groups: list[Group], plan: Plan, *, anchor: float, trial: int
) -> RateTest:
    """Pick a learning rate by trying it.

    From the anchor upwards and downwards in factors of 3, each rate trains `trial` steps with the run's own batches and
    a whole small schedule (warmup and fall to 0), and is judged by the loss on batches it has not seen. The search goes
    on while the best rate is at an end of what was tried. A range test that raises the rate within one run is cheaper,
    but its minimum lies far above the best rate, because the loss lags behind the rate.

    Args:
        objective: towers and loss; their weights are put back bit for bit.
        material: examples and tokens.
        groups: optimiser groups.
        plan: batch size and seed are taken from it.
        anchor: where to begin, the family's usual rate.
        trial: steps of one trial.

    Returns:
        The chosen rate: the minimum of a parabola in log(rate) through the best rate and its two neighbours, never
        further than half a stride from the best rate tried.
    """
    kept = {k: v.detach().clone() for k, v in objective.model.state_dict().items()}
    kept_loss = {k: v.detach().clone() for k, v in objective.loss.state_dict().items()}
    judged = [material.batch_of(trial + i, plan) for i in range(JUDGED)]
    losses: dict[float, float] = {}

    def tried(exponent: int) -> float:
        rate = anchor * STRIDE**exponent
        if rate not in losses:
            losses[rate] = _trial(objective, material, groups, replace(plan, learning_rate=rate, steps=trial))
            if math.isfinite(losses[rate]):
                losses[rate] = sum(loss_of(objective, batch) for batch in judged) / JUDGED
            objective.model.load_state_dict(kept)
            objective.loss.load_state_dict(kept_loss)
        return losses[rate]

    best = 0
    while abs(best) < REACH:
        better = min((best, best + 1, best - 1), key=tried)
        if better == best:
            break
        best = better
    chosen = anchor * STRIDE ** (best + _parabola(tried(best - 1), tried(best), tried(best + 1)))
    return RateTest(chosen=float(f"{chosen:.2g}"), losses=dict(sorted(losses.items())), steps=trial * len(losses))


def _parabola(left: float, middle: float, right: float) -> float:
    """Where the parabola through (-1, left), (0, middle), (1, right) is lowest, within [-1/2, 1/2]."""
    bend = left - 2 * middle + right
    if not math.isfinite(bend) or bend <= 0:
        return 0.0
    return max(-0.5, min(0.5, (left - right) / (2 * bend)))


def _trial(objective: Objective, material: Material, groups: list[Group], plan: Plan) -> float:
    """Train a few steps; the last loss, or infinity when it was not finite."""
    optimiser = Optimiser(groups, betas=plan.betas)
    objective.model.train()
    last = math.inf
    for number in range(plan.steps):
        rate = plan.learning_rate * factor(number, total=plan.steps, warmup=max(1, plan.steps // 10), kind="linear")
        try:
            with seeded(plan.seed, number):
                last = train_step(objective, material.batch_of(number, plan), number=number).loss
        except NonFiniteLossError:
            return math.inf
        optimiser.clip(plan.max_gradient_norm)
        optimiser.step(rate)
    return last
