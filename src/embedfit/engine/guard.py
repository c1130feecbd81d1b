"""Collapse noticed while it happens, and the gentler stages that follow."""

from __future__ import annotations

__all__ = ["Guard"]

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from embedfit.engine.contrast import contrast
from embedfit.engine.curriculum import Stage
from embedfit.engine.step import Objective, Step
from embedfit.losses import PairLoss
from embedfit.probes.embedding import collapse_gauge, mean_direction, rank_share

LOOKS = 60  # in a run
GRACE = 0.05  # share of the run before which an untrained model may look collapsed
ALIKE = 0.9  # norm of the mean unit embedding
AT_CHANCE = 0.05  # of the loss at which all embeddings are one and the same
FALLEN = 0.2  # of the widest effective rank seen
NARROWED = 0.5  # of the widest spread seen
IN_A_ROW = 2  # looks
GENTLEST = 32  # queries in a batch
STEPS_DOWN = (16, 4)  # the batch is divided by these, a third of what is left of the run each
MOST = 3  # returns; after the last one the gentlest stage stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One return.

    Attributes:
        step: when it was made.
        why: what was seen, in words.
        back_to: the step of the weights that were taken up again.
        batch_size: of the gentler stage.
        rate: times the learning rate, in the gentler stage.
    """

    step: int
    why: str
    back_to: int
    batch_size: int
    rate: float

    def readings(self, number: int) -> dict[str, float]:
        """For the history: the how many-th it is, and where it leads."""
        return {
            "guard": float(number),
            "guard/back_to": float(self.back_to),
            "guard/batch_size": float(self.batch_size),
            "guard/rate": self.rate,
        }


class Guard:
    """Looks at some steps of a run for the signs of collapse.

    Collapsed embeddings all point one way, and then the loss is what it is where all candidates look alike: the margin
    for a hinge, the log of their number for a softmax. Seen twice in a row, that is no accident. Weights go back to the
    best that were measured, the moments of the optimiser are forgotten, and training goes on with smaller batches,
    whose hardest negatives are less hard, growing again over what is left of the run; where batches are small already,
    with a lower rate. Time is not turned back.

    A loss without negatives is as low for collapsed embeddings as for perfect ones, and gets there long after they have
    collapsed. There the spread of the embeddings is looked at in place of the loss, and what is lowered is the rate, to
    a third of what it was each time.

    Args:
        steps: of the run.
        on: whether to look at all.

    References:
        Schroff et al. 2015 (FaceNet), https://arxiv.org/abs/1503.03832, section 3.2: hardest negatives collapse early.
    """

    def __init__(self, steps: int, *, on: bool) -> None:
        self.steps = steps
        self.on = on
        self.seen = 0
        self.widest = 0.0
        self.spread = 0.0  # the widest seen
        self.alone = False  # whether the last look was at a loss without negatives
        self.trips: list[Trip] = []
        self.detours: list[tuple[int, int, float]] = []

    @property
    def calm(self) -> bool:
        """Whether the last look found nothing."""
        return self.seen == 0

    def stage(self, number: int, planned: Stage) -> Stage:
        """What holds for a step: the plan, unless a gentler stage was taken."""
        for until, batch_size, rate in self.detours:
            if number < until:
                return replace(
                    planned,
                    batch_size=min(batch_size, planned.batch_size),
                    rate=planned.rate * rate,
                    order=planned.order + 1000 * len(self.trips) + until,
                )
        return planned

    def look(self, objective: Objective, step: Step, stage: Stage) -> str | None:
        """What has collapsed, in words, once it has been seen often enough; None while all is well."""
        if not self.on or len(self.trips) >= MOST or step.number % max(1, self.steps // LOOKS):
            return None
        self.alone = isinstance(objective.loss, PairLoss)
        spread = collapse_gauge(step.query)
        self.spread = max(self.spread, spread)
        if step.number < GRACE * self.steps:
            return None
        why = self._narrow(step, spread) if self.alone else self._signs(objective, step)
        self.seen = self.seen + 1 if why else 0
        return why if self.seen >= IN_A_ROW else None

    def _narrow(self, step: Step, spread: float) -> str | None:
        direction = mean_direction(step.query)
        if step.batch.target is not None or direction < ALIKE or spread >= NARROWED * self.spread:
            return None
        return (
            f"the spread of queries fell from {self.spread:.2g} to {spread:.2g}, and their mean cosine is "
            f"{direction**2:.2f}"
        )

    def _signs(self, objective: Objective, step: Step) -> str | None:
        if step.batch.target is not None:
            return None
        rank, direction = rank_share(step.query), mean_direction(step.query)
        if direction < ALIKE:
            self.widest = max(self.widest, rank)
            return None
        chance = alike(objective, step)
        if abs(step.loss - chance) <= AT_CHANCE * abs(chance):
            return (
                f"the loss stands at {step.loss:.4g}, {chance:.4g} being what equal embeddings give, and the mean "
                f"cosine of queries is {direction**2:.2f}"
            )
        if rank < FALLEN * self.widest:
            return f"the effective rank of queries fell from {self.widest:.2g} to {rank:.2g} of its share"
        return None

    def turn(self, number: int, why: str, back_to: int, stage: Stage) -> Trip:
        """Take the gentler stages from a step on."""
        left = self.steps - number
        if self.alone:
            gentler = [(self.steps, stage.batch_size, 3.0 ** -(1 + len(self.trips)))]
        elif stage.batch_size > GENTLEST:
            sizes = [max(GENTLEST, stage.batch_size // by) for by in STEPS_DOWN]
            gentler = [(number + left * (i + 1) // 3, size, 1.0) for i, size in enumerate(sizes)]
        else:
            gentler = [(self.steps, stage.batch_size, 1 / 3)]
        if len(self.trips) == MOST - 1:
            gentler = [(self.steps, *gentler[0][1:])]
        self.detours, self.seen = gentler, 0
        trip = Trip(step=number, why=why, back_to=back_to, batch_size=gentler[0][1], rate=gentler[0][2])
        self.trips.append(trip)
        return trip

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        trips = [asdict(trip) for trip in self.trips]
        return {
            "seen": self.seen,
            "widest": self.widest,
            "spread": self.spread,
            "trips": trips,
            "detours": [list(d) for d in self.detours],
        }

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.seen, self.widest = state["seen"], state["widest"]
        self.spread = state.get("spread", 0.0)
        self.trips = [Trip(**values) for values in state["trips"]]
        self.detours = [(int(until), int(size), float(rate)) for until, size, rate in state["detours"]]


def alike(objective: Objective, step: Step) -> float:
    """The loss that a batch has where all embeddings are one and the same."""
    learned = {p: p.grad for p in objective.loss.parameters()}
    query, document = (torch.ones_like(x) for x in (step.query, step.document))
    try:
        return contrast(query, document, objective.loss, step.pairing, parts=objective.model.query.parts).value
    finally:
        for p, gradient in learned.items():
            p.grad = gradient
