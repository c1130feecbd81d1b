"""OPT: how far the author's optimiser goes: its rate, its schedule, its decay."""

from __future__ import annotations

__all__ = ["RateTooHigh", "RateTooLow", "ScheduledToZero", "StrongDecay", "TightClip"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number, values
from embedfit.run import Run


@dataclass(frozen=True)
class StrongDecay(Check):
    """Weight decay pulls harder than the gradient.

    ## What it measures
    Weight decay times learning rate, the share of every weight that is lost in a step. Above {share:.1%} it is worth a
    look: after a hundred steps more than half of what was learned is gone.

    ## Why it hurts
    Weights go to zero and embeddings into one direction.

    ## What to do
    A decay of 0 to .1 with AdamW, none on norms, biases and the scale of the loss.

    ## How to confirm
    Training with the author's optimiser without decay.

    ## References
    - Loshchilov and Hutter 2019, Decoupled weight decay, https://arxiv.org/abs/1711.05101
    """

    code = "OPT008"
    name = "decay-too-strong"
    component = "regularisation"
    needs = ("optimiser.decay", "optimiser.rate")
    part = "optimiser"

    share: float = 0.002

    def examine(self, run: Run) -> Finding:
        """Multiply decay and rate."""
        decay, rate = (
            number(run, "optimiser.decay"),
            max(number(run, "optimiser.rate"), float(find(run, "update.rate") or 0.0)),
        )
        coupled = find(run, "optimiser.name") not in ("AdamW", "SGD")
        value = decay * (1e-3 if coupled else rate)
        statistic = Statistic(name="share of the weights lost per step", value=value, limit=self.share, n=1)
        if value <= self.share:
            return self.finding(Outcome.CLEAR, f"decay takes {value:.1e} of the weights per step", statistic)
        usual = {} if run.recipe.optim.weight_decay <= 0.01 else {"optim.weight_decay": 0.01}
        cure = Prescription(why="a decay of .01", change=usual)
        return self.finding(Outcome.WATCH, f"decay takes {value:.1%} of every weight at every step", statistic, cure)


@dataclass(frozen=True)
class ScheduledToZero(Check):
    """The schedule keeps the learning rate near zero for most of the run.

    ## What it measures
    The mean learning rate of the steps over the highest of them (or of the optimiser as it was made). Below {share:.0%}
    it is worth a look; warm-up and decay together usually leave half.

    ## Why it hurts
    A warm-up longer than the run, a decay counted in epochs instead of steps, a factor of zero: the optimiser hardly
    gets to work.

    ## What to do
    Plan the schedule with the number of steps that are really made.

    ## How to confirm
    Training with the author's optimiser at a constant rate.

    ## References
    - https://github.com/mlfoundations/open_clip/issues/1093 (a warm-up longer than training)
    """

    code = "OPT009"
    name = "scheduled-to-zero"
    component = "schedule"
    needs = ("learning_rate", "optimiser.rate")
    part = "optimiser"

    share: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare the mean rate with the highest."""
        rates = values(run, "learning_rate")
        peak = max([*rates, number(run, "optimiser.rate")])
        if len(rates) < 8 or peak == 0 or not find(run, "experiment.whole"):
            raise NotApplicableError("too few steps were made to judge a schedule")
        value = sum(rates) / len(rates) / peak
        statistic = Statistic(name="mean rate / highest", value=value, limit=self.share, n=len(rates))
        if value >= self.share:
            return self.finding(Outcome.CLEAR, f"the mean learning rate is {value:.0%} of the highest", statistic)
        cure = Prescription(why="plan warm-up and decay with the steps that are really made")
        return self.finding(Outcome.WATCH, f"the schedule leaves {value:.1%} of the learning rate", statistic, cure)


@dataclass(frozen=True)
class RateTooLow(Check):
    """The learning rate is too low for the steps there are.

    ## What it measures
    The author's optimiser at multiples of its learning rate, in the reference recipe, on held-out rows. A multiple
    above 1 that wins back more than {share:.0%} of what the author's update costs is the cause.

    ## Why it hurts
    The weights do not arrive.

    ## What to do
    The multiple that was best is the prescription.

    ## How to confirm
    The finding is an experiment.

    ## References
    - Smith 2017, Cyclical learning rates (the range test), https://arxiv.org/abs/1506.01186
    """

    code = "OPT011"
    name = "rate-too-low"
    component = "optimiser"
    needs = ("experiment.rate.times", "experiment.rate.share")
    part = "optimiser"

    share: float = 0.5

    def examine(self, run: Run) -> Finding:
        """Look at the best multiple."""
        times, share = number(run, "experiment.rate.times"), number(run, "experiment.rate.share")
        return _rate(self, run, times, share, worse=times > 1)


@dataclass(frozen=True)
class RateTooHigh(Check):
    """The learning rate is too high.

    ## What it measures
    The author's optimiser at fractions of its learning rate, in the reference recipe, on held-out rows. A fraction that
    wins back more than {share:.0%} of what the author's update costs is the cause.

    ## Why it hurts
    Steps jump over what they look for; embeddings are thrown into one direction, from which they do not return.

    ## What to do
    The fraction that was best is the prescription; warm-up helps to stay near it.

    ## How to confirm
    The finding is an experiment.

    ## References
    - Smith 2017, Cyclical learning rates (the range test), https://arxiv.org/abs/1506.01186
    """

    code = "OPT012"
    name = "rate-too-high"
    component = "optimiser"
    needs = ("experiment.rate.times", "experiment.rate.share")
    part = "optimiser"

    share: float = 0.5

    def examine(self, run: Run) -> Finding:
        """Look at the best fraction."""
        times, share = number(run, "experiment.rate.times"), number(run, "experiment.rate.share")
        return _rate(self, run, times, share, worse=times < 1)


def _rate(check: RateTooLow | RateTooHigh, run: Run, times: float, share: float, *, worse: bool) -> Finding:
    rate = number(run, "optimiser.rate")
    statistic = Statistic(name=f"share won back at rate x {times:g}", value=share, limit=check.share, n=1)
    if not worse or share < check.share:
        return check.finding(Outcome.CLEAR, f"the best of the rates tried is {times:g} times the author's", statistic)
    cure = Prescription(
        why=f"a learning rate of {rate * times:.2g}", change={"optim.learning_rate": float(f"{rate * times:.2g}")}
    )
    return check.finding(
        Outcome.ISSUE,
        f"at {times:g} times the learning rate of {rate:.2g}, {share:.0%} of what is lost comes back",
        statistic,
        cure,
    )


@dataclass(frozen=True)
class TightClip(Check):
    """The gradient is shortened to a small part of its length before an optimiser that goes by its length.

    ## What it measures
    The norm of the gradient that the optimiser sees over that of a fresh one on the same batch, where both point the
    same way. Below {ratio} it is worth a look for SGD and its kin; Adam divides by the length again.

    ## Why it hurts
    The step is as much shorter as the gradient: a limit that always bites is a learning rate by another name, and a
    very low one.

    ## What to do
    Put the limit at the largest tenth of the norms that occur, or take it away.

    ## How to confirm
    Training with the reference update.

    ## References
    - Zhang et al. 2020, Why gradient clipping accelerates training, https://arxiv.org/abs/1905.11881
    """

    code = "OPT014"
    name = "tight-clip"
    component = "optimiser"
    needs = ("update.ratio", "update.alignment", "optimiser.name")
    part = "optimiser"

    ratio: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare both norms."""
        value = number(run, "update.ratio")
        if value != value or number(run, "update.alignment") < 0.99:
            raise NotApplicableError("the optimiser sees another gradient than that of its batch")
        statistic = Statistic(name="norm seen / norm of a fresh gradient", value=value, limit=self.ratio, n=4)
        if value >= self.ratio or "Adam" in str(find(run, "optimiser.name")):
            return self.finding(Outcome.CLEAR, f"the optimiser sees {value:.0%} of the gradient's length", statistic)
        cure = Prescription(why="raise the limit of the gradient's norm, or use AdamW")
        return self.finding(
            Outcome.WATCH, f"{find(run, 'optimiser.name')} sees {value:.1%} of the gradient's length", statistic, cure
        )
