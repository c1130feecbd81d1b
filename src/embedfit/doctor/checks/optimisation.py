"""OPT: how the weights move."""

from __future__ import annotations

__all__ = ["ExplodingSteps", "StoppedEarlyInTraining", "UnmovedWeights"]

import re
from dataclasses import dataclass
from statistics import median

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, metric_key, quarters, values
from embedfit.run import Run


@dataclass(frozen=True)
class UnmovedWeights(Check):
    """The optimiser does not move the weights.

    ## What it measures
    The norm of a step over the norm of the weights, median of all readings, and the norm of the gradient. Exactly zero
    is a fact; below {ratio:g} is worth a look. Healthy runs lie between 1e-4 and 1e-2.

    ## Why it hurts
    Weights that stand still learn nothing: a learning rate of zero or far too low, parameters the optimiser was never
    given, a graph that was cut (`no_grad`, `detach`), or gradients that vanish in half precision.

    ## What to do
    Let the learning-rate test choose (`optim.learning_rate = "auto"`). In a loop of your own, compare the parameters
    of the model with those of the optimiser, and look for gradients that are None after `backward()`.

    ## How to confirm
    Train with a learning rate ten times as high for a few hundred steps; the loss begins to fall.

    ## References
    - Smith 2017, Cyclical learning rates (the range test), https://arxiv.org/abs/1506.01186
    """

    code = "OPT001"
    name = "unmoved-weights"
    component = "optimiser"
    needs = ("update_ratio",)

    ratio: float = 1e-6

    def examine(self, run: Run) -> Finding:
        """Compare the typical step with the limit, and gradients with zero."""
        ratios, gradients = values(run, "update_ratio"), values(run, "gradient_norm")
        if not ratios:
            raise NotApplicableError("no finite reading of the update ratio")
        value = median(ratios)
        statistic = Statistic(name="median step / weights", value=value, limit=self.ratio, n=len(ratios))
        usual = {} if run.recipe.optim.learning_rate == "auto" else {"optim.learning_rate": "auto"}
        cure = Prescription(why="let a test on the data choose the learning rate", change=usual)
        if gradients and max(gradients) == 0.0:
            attached = Prescription(why="give the optimiser every parameter, and look for `detach` and `no_grad`")
            return self.finding(Outcome.ISSUE, "no gradient ever reached the weights", statistic, attached)
        if max(ratios) == 0.0:
            return self.finding(Outcome.ISSUE, "no step ever moved the weights", statistic, cure)
        symptom = f"a typical step moves the weights by {value:.1e} of their size"
        outcome = Outcome.WATCH if value < self.ratio else Outcome.CLEAR
        return self.finding(outcome, symptom, statistic, *([cure] if outcome is Outcome.WATCH else []))


@dataclass(frozen=True)
class ExplodingSteps(Check):
    """Steps are far too large and the loss rises.

    ## What it measures
    The norm of a step over the norm of the weights, median of the last quarter of the run. Above {ratio}, while the
    loss of that quarter is more than {rise:.0%} above that of an earlier one, it is worth a look.

    ## Why it hurts
    A step of a tenth of the weights forgets most of what was learned; embeddings are often thrown into one direction,
    from which they do not return.

    ## What to do
    A tenth of the learning rate, with warm-up; shorter gradients (`optim.max_gradient_norm`) for single spikes.

    ## How to confirm
    Train with a third and a tenth of the learning rate for as many steps and compare the held-out metric.

    ## References
    - Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063
    """

    code = "OPT002"
    name = "exploding-steps"
    component = "optimiser"
    needs = ("update_ratio", "loss")

    ratio: float = 0.1
    rise: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Compare the late steps with the limit, and the late loss with the earlier one."""
        steps, losses = quarters(values(run, "update_ratio")), quarters(values(run, "loss"))
        if steps is None or losses is None:
            raise NotApplicableError("fewer than eight readings: no trend can be read")
        statistic = Statistic(
            name="late step / weights", value=steps[3], limit=self.ratio, n=len(values(run, "update_ratio"))
        )
        best = min(losses[:3])
        symptom = (
            f"late steps move the weights by {steps[3]:.2g} of their size; loss from {best:.3g} to {losses[3]:.3g}"
        )
        if steps[3] <= self.ratio or losses[3] <= best * (1 + self.rise):
            return self.finding(Outcome.CLEAR, symptom, statistic)
        rate = find(run, "chosen.learning_rate")
        change = {"optim.learning_rate": float(f"{float(rate) / 10:.2g}")} if rate else {"optim.learning_rate": "auto"}
        return self.finding(Outcome.WATCH, symptom, statistic, Prescription(why="take smaller steps", change=change))


@dataclass(frozen=True)
class StoppedEarlyInTraining(Check):
    """Training ended while the held-out metric was still rising.

    ## What it measures
    Whether the best held-out metric is that of the last evaluation, and by how much it exceeds the best before. More
    than {gain} is worth a look.

    ## Why it hurts
    The model is not finished: more steps would have given more.

    ## What to do
    Train longer; the prescription doubles the length.

    ## How to confirm
    Train twice as long; the metric rises further.

    ## References
    - Hoffer, Hubara and Soudry 2017, Train longer, generalize better, https://arxiv.org/abs/1705.08741
    """

    code = "OPT003"
    name = "stopped-early-in-training"
    component = "schedule"
    needs = ("dev/<metric>",)
    advisory = True

    gain: float = 0.01

    def examine(self, run: Run) -> Finding:
        """Compare the last evaluation with the best before it."""
        readings = values(run, "dev/<metric>")
        if len(readings) < 3:
            raise NotApplicableError("fewer than three evaluations: no trend can be read")
        value = readings[-1] - max(readings[:-1])
        name = metric_key("<metric>", run)
        statistic = Statistic(name="gain of the last evaluation", value=value, limit=self.gain, n=len(readings))
        if value <= self.gain:
            return self.finding(Outcome.CLEAR, f"{name} has levelled off at {max(readings):.3f}", statistic)
        symptom = f"{name} was still rising at the end (+{value:.3f} in the last evaluation)"
        cure = Prescription(why="train twice as long", change=_doubled(run))
        return self.finding(Outcome.WATCH, symptom, statistic, cure)


def _doubled(run: Run) -> dict[str, str]:
    match = re.match(r"\s*([0-9.e]+)\s*(\w+)", run.recipe.optim.length)
    if match:
        return {"optim.length": f"{2 * float(match[1]):g} {match[2]}"}
    steps = find(run, "chosen.steps")
    return {"optim.length": f"{2 * int(steps)} steps"} if steps else {}
