"""The training loop, in the order things happen."""

from __future__ import annotations

__all__ = ["Best", "Observer", "Readings", "Slack", "train"]

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from embedfit.engine.accumulate import accumulated
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective, Step
from embedfit.errors import NonFiniteLossError, RecipeError
from embedfit.optim import Average, Group, Optimiser

Readings = Mapping[str, float]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """What the loop tells the outside; each is a plain function.

    Attributes:
        read: readings of a step (probes), called after the optimiser moved.
        measure: held-out readings of the current weights, higher is better, in the order in which they decide. Nothing
            held out: empty, and the newest weights count as the best.
        record: keeps readings under a step.
        keep: stores a checkpoint.
        keep_now: whether one is due after so many steps.
        stop: whether the user wants to stop; the step is kept first.
        slack: how far below the best held-out reading a later one is no worse; none: any difference counts.
        due: whether a step is to be read by the probes.
    """

    read: Callable[[Step, Optimiser], Readings]
    measure: Callable[[], Readings]
    record: Callable[[int, Readings], None]
    keep: Callable[[Checkpoint], None]
    keep_now: Callable[[int], bool]
    due: Callable[[int], bool]
    stop: Callable[[], bool]
    slack: Slack | None = None


def train(
    objective: Objective,
    material: Material,
    groups: list[Group],
    plan: Plan,
    observer: Observer,
    start: Checkpoint | None = None,
) -> tuple[Best, str]:
    """Train until the plan's last step, or until the held-out metric has not improved for `patience` evaluations.

    Args:
        objective: towers and loss; their parameters are trained in place and end as the best weights found.
        material: examples and tokens.
        groups: optimiser groups over the objective's parameters.
        plan: what is to be done.
        observer: who watches.
        start: go on from here.

    Returns:
        The best weights, and why training ended: "finished" or "no better for N evaluations".

    Raises:
        RecipeError: the schedule waits for a held-out metric, and nothing is held out.
        NonFiniteLossError: a loss or gradient was NaN or infinite; the weights are those before that step.
        RunError: a checkpoint could not be written.
        KeyboardInterrupt: the user asked to stop; a checkpoint has been kept.
    """
    model, loss = objective.model, objective.loss
    optimiser = plan.mover(groups)
    average, best, first = Average(model, plan.decay()), Best(), 0
    if start is not None:
        first = resume(start, objective, optimiser, average, best)
        material.negatives.load(start.part("negatives"))
    else:  # the untrained model counts: a pretrained encoder may be best as it is
        held_out = observer.measure()
        check_schedule(plan, held_out)
        best.offer(tuple(held_out.values()) or (0.0,), 0, model.state_dict())
        observer.record(0, held_out)
    model.train()

    for number in range(first, plan.steps):
        if best.waited >= plan.patience:  # here, because a resumed run may already have come to its end
            break
        rate = plan.rate(number, best.cuts)
        watched = observer.due(number)
        material.negatives.refresh(number, partial(material.embeddings, model))
        loss.at(number / plan.steps)
        step = accumulated(objective, material.batches_of(number, plan), number=number, seed=plan.seed)
        norm = clipped(optimiser, plan, step)
        optimiser.step(rate, watched=watched)
        average.update()
        material.negatives.take(step.batch, step.document[: len(step.batch.document)])

        done = number + 1
        readings = {"loss": step.loss, "learning_rate": rate, "gradient_norm": norm}
        if watched:
            readings |= observer.read(step, optimiser)
        observer.record(done, readings)
        if done % plan.evaluate_every == 0 or done == plan.steps:
            with averaged(average, optimiser):
                held_out = observer.measure()
                best.offer(tuple(held_out.values()) or (float(done),), done, model.state_dict(), observer.slack)
            observer.record(done, held_out)
        stopping = observer.stop()
        ended = done == plan.steps or best.waited >= plan.patience  # what follows can still be interrupted
        if observer.keep_now(done) or stopping or ended:
            negatives = {"negatives": material.negatives.state()}
            observer.keep(state_of(done, objective, optimiser, average, best, negatives))
        if stopping:
            raise KeyboardInterrupt

    model.load_state_dict(best.weights)
    loss.eval()
    model.eval()
    return best, f"no better for {best.waited} evaluations" if best.waited >= plan.patience else "finished"


def check_schedule(plan: Plan, held_out: Readings) -> None:
    """Refuse to wait for a held-out metric that is never measured.

    Raises:
        RecipeError: the schedule is "plateau", and nothing is held out.
    """
    if plan.schedule == "plateau" and not held_out:
        raise RecipeError(
            'optim.schedule = "plateau" follows the held-out metric, and nothing is held out',
            hint="hold rows out with data.dev, or take another schedule",
        )


@contextlib.contextmanager
def averaged(average: Average, optimiser: Optimiser) -> Iterator[None]:
    """The weights that are measured and kept, in place of those that the next step starts from."""
    average.swap()
    optimiser.swap()
    try:
        yield
    finally:
        optimiser.swap()
        average.swap()


def clipped(optimiser: Optimiser, plan: Plan, step: Step) -> float:
    """Shorten the gradient of a step; returns its norm before.

    Raises:
        NonFiniteLossError: the norm is NaN or infinite, which would make all weights NaN.
    """
    norm = optimiser.clip(plan.max_gradient_norm)
    if not math.isfinite(norm):
        rows = step.batch.rows.tolist()
        raise NonFiniteLossError(
            f"the gradient of step {step.number} is {norm} at a loss of {step.loss:.4g}, rows {rows[:5]}",
            rows=rows,
            hint="the weights are still those of the step before: lower optim.learning_rate, or use fp32",
        )
    return norm


def state_of(
    step: int,
    objective: Objective,
    optimiser: Optimiser,
    average: Average,
    best: Best,
    more: Mapping[str, Mapping[str, Tensor]],
) -> Checkpoint:
    """Everything that `resume` needs, and the state of more parts."""
    parts = {
        "model": objective.model.state_dict(),
        "loss": objective.loss.state_dict(),
        "optimiser": optimiser.tensors(),
        "average": average.state(),
        "best": best.weights,
        **more,
    }
    values = {
        "step": step,
        "metric": list(best.metric),
        "best_step": best.step,
        "waited": best.waited,
        "cuts": best.cuts,
    }
    # clones, because towers that are one and the same would be refused as shared memory
    tensors = {f"{part}/{k}": v.detach().clone() for part, state in parts.items() for k, v in state.items()}
    return Checkpoint(values=values, tensors=tensors)


def resume(start: Checkpoint, objective: Objective, optimiser: Optimiser, average: Average, best: Best) -> int:
    """Put a checkpoint's state in place; returns the number of the next step."""
    objective.model.load_state_dict(start.part("model"))
    objective.loss.load_state_dict(start.part("loss"))
    optimiser.load(start.part("optimiser"))
    average.load(start.part("average"))
    best.metric, best.step = tuple(start.values["metric"]), start.values["best_step"]
    best.waited, best.cuts, best.weights = start.values["waited"], start.values["cuts"], start.part("best")
    return int(start.values["step"])
