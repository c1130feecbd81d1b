"""Stages of a run: what differs, and until when. Inside, time is steps."""

from __future__ import annotations

__all__ = ["Stage", "staged"]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedfit.errors import RecipeError
from embedfit.losses import Loss, PairLoss
from embedfit.recipe import Auto, Duration, StageSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Part of a run.

    Attributes:
        start: its first step.
        until: the step after its last.
        batch_size: queries in a batch.
        order: number of its first epoch in the orders of the rows, so that no stage repeats another's order.
        rate: times the learning rate of the schedule.
        rates: times that by part and place of the model; 0 holds it.
        loss: in place of the run's own.
    """

    start: int
    until: int
    batch_size: int
    order: int = 0
    rate: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    loss: Loss | PairLoss | None = None


EPOCHS = 1_000_000  # more than a stage has


def staged(
    sections: Sequence[StageSection],
    *,
    length: str | Auto,
    steps: int,
    batch_size: int,
    accumulate: int,
    examples: int,
    loss_of: Callable[[Mapping[str, Any]], Loss | PairLoss],
) -> tuple[Stage, ...]:
    """The stages of a run, of which the last one goes by the recipe alone.

    A run whose length is given in steps has that many steps, and "30%" is a share of them. Any other length is one of
    examples, and "30%" is a share of those: the run then takes more steps, the smaller its batches are.

    Args:
        sections: the stages of the recipe.
        length: `optim.length`.
        steps: of the run, were there no stages.
        batch_size: of the run.
        accumulate: batches of a step.
        examples: of an epoch.
        loss_of: the loss with some of its settings changed.

    Raises:
        RecipeError: a stage ends before it begins, or after the run.
    """
    by_steps = length != "auto" and Duration.parts(length)[1] == "step"
    whole = float(steps) if by_steps else float(steps) * batch_size * accumulate
    out: list[Stage] = []
    step, seen = 0, 0.0
    for i, section in enumerate(sections):
        size = batch_size if section.batch_size is None else max(2, min(section.batch_size, examples))
        in_step = size * accumulate
        wanted = until(
            section.until, step=step, seen=seen, whole=whole, by_steps=by_steps, in_step=in_step, epoch=examples
        )
        if wanted <= step or (by_steps and wanted > steps):
            raise RecipeError(
                f"stage {i + 1} of the curriculum is to end after '{section.until}', "
                + ("before it begins" if wanted <= step else f"and the run has {steps} steps"),
                hint="stages end one after the other; what follows the last of them goes by the recipe",
            )
        out.append(
            Stage(
                start=step,
                until=wanted,
                batch_size=size,
                order=i * EPOCHS,
                rate=section.rate,
                rates={str(name): rate for name, rate in section.rates.items()},
                loss=loss_of(section.loss) if section.loss else None,
            )
        )
        seen += (wanted - step) * in_step
        step = wanted
    left = steps - step if by_steps else math.ceil((whole - seen) / (batch_size * accumulate))
    if left > 0 or not out:
        out.append(Stage(start=step, until=step + left, batch_size=batch_size, order=len(sections) * EPOCHS))
    return tuple(out)


def until(text: str, *, step: int, seen: float, whole: float, by_steps: bool, in_step: int, epoch: int) -> int:
    """The step at which a stage ends."""
    number, unit = Duration.parts(text)
    if unit == "step":
        return round(number)
    if unit == "%" and by_steps:
        return round(number / 100 * whole)
    examples = {"%": whole / 100, "epoch": float(epoch), "example": 1.0}[unit] * number
    return step + math.ceil((examples - seen) / in_step)
