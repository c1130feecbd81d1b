"""Gradient descent on a vector objective: the one loop that trains maps between spaces and small towers alike."""

from __future__ import annotations

__all__ = ["Curve", "Descent", "descend"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embedfit.data.batches import rows_of
from embedfit.errors import NonFiniteLossError
from embedfit.losses.vectors import VectorLoss
from embedfit.optim import Optimiser, factor, groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How the weights move; time is steps.

    Attributes:
        steps: the whole run.
        batch_size: rows of a step.
        learning_rate: at the top of the schedule.
        warmup: steps of the rise.
        schedule: fall after the warmup.
        weight_decay: of AdamW, on matrices.
        evaluate_every: steps between two held-out readings.
        seed: of the order of the rows and of dropout.
    """

    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 1e-3
    warmup: int = 20
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = 0.01
    evaluate_every: int = 25
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a descent went through.

    Attributes:
        steps: where the weights were measured, from 0.
        held_out: held-out reading there, higher is better.
        loss: mean loss of the steps since the reading before (of the first step at 0).
        best: step whose weights were kept.
    """

    steps: tuple[int, ...]
    held_out: tuple[float, ...]
    loss: tuple[float, ...]
    best: int

    def first_at(self, value: float) -> int | None:
        """The first step with a reading of at least `value`; none if it was never reached."""
        return next((s for s, v in zip(self.steps, self.held_out, strict=True) if v >= value), None)


def descend(
    module: nn.Module,
    predict: Callable[[Int[Tensor, " b"]], Float[Tensor, "b e"]],
    target: Float[Tensor, "n f"],
    loss: VectorLoss,
    plan: Descent,
    *,
    measure: Callable[[], float],
) -> Curve:
    """Train a module so that its predictions reach their targets; it ends with the best weights met.

    Args:
        module: whose parameters move.
        predict: predictions for some rows, in training mode.
        target: of all rows.
        loss: what is minimised, in the mean over a batch.
        plan: how.
        measure: held-out reading of the module in evaluation mode, higher is better.

    Raises:
        NonFiniteLossError: a loss was NaN or infinite; the weights are those before that step.
    """
    optimiser = Optimiser(groups({"map": module}, weight_decay=plan.weight_decay), betas=(0.9, 0.999))
    steps, held_out, losses = [0], [_measured(module, measure)], [math.nan]
    best, best_weights = 0, _weights(module)
    since: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        for number in range(plan.steps):
            rows = rows_of(number, len(target), batch_size=plan.batch_size, seed=plan.seed)
            value = loss(predict(rows), target[rows]).mean()
            reading = value.item()
            _check_finite(reading, number, rows)
            value.backward()
            optimiser.clip(1.0)
            optimiser.step(
                plan.learning_rate * factor(number, total=plan.steps, warmup=plan.warmup, kind=plan.schedule)
            )
            since.append(reading)
            done = number + 1
            if done % plan.evaluate_every == 0 or done == plan.steps:
                steps.append(done)
                held_out.append(_measured(module, measure))
                losses.append(sum(since) / len(since))
                since = []
                if held_out[-1] > max(held_out[:-1]):
                    best, best_weights = done, _weights(module)
    module.load_state_dict(best_weights)
    module.eval()
    losses[0] = losses[1] if len(losses) > 1 else math.nan
    return Curve(steps=tuple(steps), held_out=tuple(held_out), loss=tuple(losses), best=best)


def _measured(module: nn.Module, measure: Callable[[], float]) -> float:
    module.eval()
    with torch.no_grad():
        value = measure()
    module.train()
    return value


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _check_finite(value: float, number: int, rows: Tensor) -> None:
    if not math.isfinite(value):
        raise NonFiniteLossError(
            f"the loss of step {number} is {value}, in a batch with the rows {rows[:5].tolist()}",
            rows=rows.tolist(),
            hint="the weights are those of the step before: lower the learning rate, or look at these rows",
        )
