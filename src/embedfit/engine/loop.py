"""The training loop, in the order things happen."""

from __future__ import annotations

__all__ = ["Best", "Observer", "Readings", "Slack", "train"]

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from embedfit.engine.accumulate import accumulated
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.moving import Best, Moving, Slack
from embedfit.engine.plan import Material, Plan
from embedfit.engine.step import Objective, Step
from embedfit.engine.widths import follow
from embedfit.errors import NonFiniteLossError, RecipeError
from embedfit.optim import Group, Optimiser

Readings = Mapping[str, float]


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
        due: whether a step is to be read by the probes.
        hopeless: why going on is of no use, asked after every evaluation; empty: it may be of use.
        slack: how far below the best held-out reading a later one is no worse; none: any difference counts.
    """

    read: Callable[[Step, Optimiser], Readings]
    measure: Callable[[], Readings]
    record: Callable[[int, Readings], None]
    keep: Callable[[Checkpoint], None]
    keep_now: Callable[[int], bool]
    due: Callable[[int], bool]
    stop: Callable[[], bool]
    hopeless: Callable[[], str] = lambda: ""
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
        The best weights, and why training ended: "finished", "no better for N evaluations" or "hopeless: ...".

    Raises:
        RecipeError: the schedule waits for a held-out metric, and nothing is held out.
        NonFiniteLossError: a loss or gradient was NaN or infinite; the weights are those before that step.
        RunError: a checkpoint could not be written.
        KeyboardInterrupt: the user asked to stop; a checkpoint has been kept.
    """
    model, moving = objective.model, Moving(objective, material, groups, plan)
    best, guard, first = moving.best, moving.guard, 0
    if start is not None:
        first = moving.load(start)
    else:  # the untrained model counts: a pretrained encoder may be best as it is
        held_out = observer.measure()
        check_schedule(plan, held_out)
        best.offer(tuple(held_out.values()) or (0.0,), 0, model.state_dict())
        observer.record(0, held_out)
    model.train()

    ended = over(best, plan, observer, first)  # a resumed run may already have come to its end
    for number in range(first, plan.steps):
        if ended:
            break
        stage = guard.stage(number, plan.stage(number))
        asked = objective if stage.loss is None else replace(objective, loss=stage.loss)
        asked.loss.at(number / plan.steps)
        rate = stage.rate * plan.rate(number, best.cuts)
        watched = observer.due(number)
        material.negatives.refresh(number, partial(material.embeddings, model, objective.team))
        width = follow(asked, number, plan, material)
        batches = material.batches_of(number, plan, stage)
        step = accumulated(asked, batches, number=number, seed=plan.seed, seen=partial(kept, material))
        moving.optimiser.adapt(stage.rates)
        noise = moving.noise.read(keep=watched)
        norm = clipped(moving.optimiser, plan, step)
        moving.optimiser.step(rate, watched=watched)
        moving.average.update()

        done = number + 1
        readings = {"loss": step.loss, "learning_rate": rate, "gradient_norm": norm, **noise, **width}
        if watched:
            readings |= observer.read(step, moving.optimiser)
        observer.record(done, readings)
        if why := guard.look(asked, step, stage):
            observer.record(done, guard.turn(done, why, best.step, stage).readings(len(guard.trips)))
            moving.return_to_best()
        if done % plan.evaluate_every == 0 or done == plan.steps:
            observer.record(done, evaluated(moving, observer, done))
        stopping = observer.stop()
        ended = over(best, plan, observer, done)  # what follows can still be interrupted
        if observer.keep_now(done) or stopping or ended:
            observer.keep(moving.state(done))
        if stopping:
            raise KeyboardInterrupt

    model.load_state_dict(best.weights)
    objective.loss.eval()
    model.eval()
    return best, ended


def kept(material: Material, step: Step) -> None:
    """Show the negatives the documents of a batch, without those that they brought from steps before."""
    material.negatives.take(step.batch, step.document[: len(step.batch.document)])


def over(best: Best, plan: Plan, observer: Observer, done: int) -> str:
    """Why training ends after so many steps; empty while it goes on."""
    if best.waited >= plan.patience:
        return f"no better for {best.waited} evaluations"
    if done >= plan.steps:
        return "finished"
    why = observer.hopeless() if done and done % plan.evaluate_every == 0 else ""
    return f"hopeless: {why}" if why else ""


def evaluated(moving: Moving, observer: Observer, done: int) -> Readings:
    """Held-out readings; the weights are kept if they are better, or, with nothing held out, if they look sound."""
    with moving.averaged():
        held_out = observer.measure()
        if held_out or moving.guard.calm:
            weights = moving.objective.model.state_dict()
            moving.best.offer(tuple(held_out.values()) or (float(done),), done, weights, observer.slack)
    return held_out


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
