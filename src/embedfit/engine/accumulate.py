"""The mean gradient of several batches, as one step.

Several small batches are not one large one: each query meets the documents of its own batch, so that accumulation makes
the gradient less noisy and adds no negatives. For a large batch in little memory there is gradient caching, which every
step has (`embed`, `run.memory_gb`).
"""

from __future__ import annotations

__all__ = ["accumulated"]

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from embedfit.engine.step import Objective, Step, train_step
from embedfit.types import Batch


def accumulated(
    objective: Objective,
    batches: Sequence[Batch],
    *,
    number: int,
    seed: int = 0,
    seen: Callable[[Step], None] = lambda step: None,
) -> Step:
    """Leave the mean gradient of some batches in the parameters; returns the last one's step with the mean loss.

    Args:
        objective: what is minimised.
        batches: of all processes; the same on each.
        number: of the step, from 0.
        seed: of the run.
        seen: told of each batch.

    Raises:
        NonFiniteLossError: a loss is NaN or infinite; the weights are untouched.
    """
    first = number * len(batches)
    step = train_step(objective, batches[0], number=first, seed=seed)
    seen(step)
    if len(batches) == 1:
        return step
    parameters = [*objective.model.parameters(), *objective.loss.parameters()]
    losses, held = [step.loss], [_taken(p) for p in parameters]
    for i, batch in enumerate(batches[1:], 1):
        # gradients are summed over processes within a step: what is there from the one before would be counted twice
        step = train_step(objective, batch, number=first + i, seed=seed)
        seen(step)
        losses.append(step.loss)
        held = [_sum(before, _taken(p)) for before, p in zip(held, parameters, strict=True)]
    for p, gradient in zip(parameters, held, strict=True):
        p.grad = None if gradient is None else gradient / len(batches)
    return replace(step, number=number, loss=sum(losses) / len(losses))


def _taken(p: Tensor) -> Tensor | None:
    gradient, p.grad = p.grad, None
    return gradient


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
