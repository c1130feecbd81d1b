"""What is to be done, with nothing left to decide, and what it is done on."""

from __future__ import annotations

__all__ = ["Material", "Plan"]

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from embedfit.data.batches import Addition, batch, generator, rows_of
from embedfit.data.examples import Examples
from embedfit.engine.bring import embeddings_of
from embedfit.engine.curriculum import Stage
from embedfit.engine.stream import Stream
from embedfit.negatives import Negatives
from embedfit.optim import Group, Kind, Optimiser, Schedule, factor
from embedfit.team import Team
from embedfit.towers import TwoTower
from embedfit.types import Batch, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run with nothing left to decide; time is steps.

    Attributes:
        steps: the whole run.
        batch_size: queries in a step.
        accumulate: batches whose mean gradient makes one step.
        learning_rate: at the top of the schedule.
        warmup: steps.
        schedule: the learning rate after the warmup.
        max_gradient_norm: longer gradients are shortened.
        optimiser: its kind.
        betas: of its moments.
        momentum: of SGD and Muon.
        stages: of the run, one after the other; none: the same from beginning to end.
        guard: whether to go back when embeddings collapse.
        average: share of the run that the moving average of the weights looks back; 0 for none.
        evaluate_every: steps.
        patience: evaluations without a better metric.
        seed: of order, partners and dropout.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    schedule: Schedule
    max_gradient_norm: float
    betas: tuple[float, float]
    average: float
    evaluate_every: int
    patience: int
    seed: int
    accumulate: int = 1
    optimiser: Kind = "adamw"
    momentum: float = 0.9
    stages: tuple[Stage, ...] = ()
    guard: bool = False

    def stage(self, number: int) -> Stage:
        """What holds for a step."""
        for stage in self.stages:
            if number < stage.until:
                return stage
        return Stage(start=0, until=self.steps, batch_size=self.batch_size)

    def mover(self, groups: list[Group]) -> Optimiser:
        """The optimiser, before its first step."""
        return Optimiser(groups, betas=self.betas, kind=self.optimiser, momentum=self.momentum)

    def rate(self, number: int, cuts: int = 0) -> float:
        """Learning rate of a step."""
        return self.learning_rate * factor(number, total=self.steps, warmup=self.warmup, kind=self.schedule, cuts=cuts)

    def decay(self) -> float:
        """Decay of the moving average whose window is `average` of the run."""
        window = self.average * self.steps
        return 1 - 1 / window if window > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is trained on: examples and their tokens, made once, and how negatives are brought to their batches.

    Attributes:
        data: the examples.
        query_tokens: tokens of their query texts.
        document_tokens: tokens of their document texts.
        negatives: what is added to the documents of a batch.
        alone: each query is compared only with the documents brought for it.
        device: where batches go.
        stream: where the batches of the run come from, if the examples are a sample of what is there.
    """

    data: Examples
    query_tokens: Tokens
    document_tokens: Tokens
    negatives: Negatives
    alone: bool = False
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (frozen)
    stream: Stream | None = None

    def embeddings(self, model: TwoTower, team: Team) -> tuple[Tensor, Tensor]:
        """Embeddings of all query and document texts by a model as it is; every process of the team asks at once."""
        return embeddings_of(model, self.query_tokens, self.document_tokens, self.device, team)

    def batches_of(self, step: int, plan: Plan, stage: Stage) -> list[Batch]:
        """The batches of a step."""
        first = step * plan.accumulate
        return [self.batch_of(number, plan, stage) for number in range(first, first + plan.accumulate)]

    def batch_of(self, number: int, plan: Plan, stage: Stage | None = None) -> Batch:
        """A batch by its number in the run."""
        stage = stage or plan.stage(number // plan.accumulate)
        place = number - stage.start * plan.accumulate
        if self.stream is not None:
            made = self.stream.batch(place, batch_size=stage.batch_size, seed=plan.seed, first=stage.order)
            return made if self.device.type == "cpu" else made.to(self.device)
        rows = rows_of(
            place,
            len(self.data),
            batch_size=stage.batch_size,
            seed=plan.seed,
            first=stage.order,
        )
        return self.batch_with(rows, plan, draw=number)

    def batch_with(self, rows: Tensor, plan: Plan, *, draw: int) -> Batch:
        """A batch of some examples; `draw` numbers its random choices."""
        brought = self.negatives.bring(rows, generator(plan.seed, draw, 2))
        log_q = self.negatives.log_q(len(rows))
        made = batch(
            self.data,
            self.query_tokens,
            self.document_tokens,
            rows,
            draw=(plan.seed, draw),
            more=Addition(own=brought.own, shared=brought.shared, log_q=log_q, alone=self.alone),
        )
        if brought.memory is not None:  # the newer embedding of a document is its own in this batch
            made = replace(made, memory=brought.memory.without(made.document_id))
        return made if self.device.type == "cpu" else made.to(self.device)
