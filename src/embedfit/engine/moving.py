"""What changes while a run trains, beside the weights: the best so far, the optimiser, the average, the guard."""

from __future__ import annotations

__all__ = ["Best", "Moving", "Slack"]

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.guard import Guard
from embedfit.engine.noise import Meter
from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective
from embedfit.optim import Average, Group

Slack = Callable[[float], float]


@dataclass(slots=True)
class Best:
    """The best weights so far by the held-out metric, and how long ago that was.

    Attributes:
        metric: their readings, in the order in which they decide.
        step: when they were found.
        waited: evaluations since.
        cuts: how often so far `PLATEAU` evaluations in a row were no better.
        weights: of the towers.
    """

    metric: tuple[float, ...] = ()
    step: int = 0
    waited: int = 0
    cuts: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(
        self, metric: tuple[float, ...], step: int, weights: Mapping[str, Tensor], slack: Slack | None = None
    ) -> None:
        """Keep these weights if they are better: by the first reading, or by the next where the first is equal.

        With a slack, later weights are also kept while the first reading is no further below the best one than that.
        """
        metric = tuple(-math.inf if math.isnan(value) else value for value in metric)  # NaN would never be beaten
        better = metric > self.metric
        near = slack is not None and not better and metric[0] >= self.metric[0] - slack(self.metric[0])
        if better or near:
            self.step, self.weights = step, {k: v.detach().clone() for k, v in weights.items()}
        self.metric, self.waited = (metric, 0) if better else (self.metric, self.waited + 1)
        self.cuts += self.waited % PLATEAU == 0 and self.waited > 0


PLATEAU = 2  # evaluations without a better metric after which the schedule "plateau" cuts the rate


class Moving:
    """What a run carries from step to step.

    Args:
        objective: towers and loss.
        material: whose negatives may have a state.
        groups: of the optimiser.
        plan: what is to be done.
    """

    def __init__(self, objective: Objective, material: Material, groups: list[Group], plan: Plan) -> None:
        self.objective = objective
        self.material = material
        self.groups = groups
        self.plan = plan
        self.best = Best()
        self.optimiser = plan.mover(groups)
        self.average = Average(objective.model, plan.decay())
        self.noise = Meter(self.optimiser.parameters)
        self.guard = Guard(plan.steps, on=plan.guard)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The weights that are measured and kept, in place of those that the next step starts from."""
        self.average.swap()
        self.optimiser.swap()
        try:
            yield
        finally:
            self.optimiser.swap()
            self.average.swap()

    def return_to_best(self) -> None:
        """Take up the best weights again; the moments and the average that led astray are forgotten."""
        self.objective.model.load_state_dict(self.best.weights)
        self.optimiser = self.plan.mover(self.groups)
        self.average = Average(self.objective.model, self.plan.decay())

    def state(self, step: int) -> Checkpoint:
        """Everything that `load` needs."""
        parts = {
            "model": self.objective.model.state_dict(),
            "optimiser": self.optimiser.tensors(),
            "average": self.average.state(),
            "best": self.best.weights,
            "noise": self.noise.state(),
            "negatives": self.material.negatives.state(),
            **{name: loss.state_dict() for name, loss in self._losses().items()},
        }
        values = {
            "step": step,
            "metric": list(self.best.metric),
            "best_step": self.best.step,
            "waited": self.best.waited,
            "cuts": self.best.cuts,
            "guard": self.guard.state(),
        }
        # clones, because towers that are one and the same would be refused as shared memory
        tensors = {f"{part}/{k}": v.detach().clone() for part, state in parts.items() for k, v in state.items()}
        return Checkpoint(values=values, tensors=tensors)

    def load(self, start: Checkpoint) -> int:
        """Put a checkpoint's state in place; returns the number of the next step."""
        self.objective.model.load_state_dict(start.part("model"))
        for name, loss in self._losses().items():
            loss.load_state_dict(start.part(name))
        self.optimiser.load(start.part("optimiser"))
        self.average.load(start.part("average"))
        self.material.negatives.load(start.part("negatives"))
        self.noise.load(start.part("noise"))
        self.guard.load(start.values["guard"])
        best = self.best
        best.metric, best.step = tuple(start.values["metric"]), start.values["best_step"]
        best.waited, best.cuts, best.weights = start.values["waited"], start.values["cuts"], start.part("best")
        return int(start.values["step"])

    def _losses(self) -> dict[str, nn.Module]:
        """The run's own loss, and those of its stages."""
        stages = {f"loss of stage {i}": stage.loss for i, stage in enumerate(self.plan.stages) if stage.loss}
        return {"loss": self.objective.loss, **stages}
