"""GEO, EVA: runs in which going on is of no use."""

from __future__ import annotations

__all__ = ["LastingCollapse", "MetricAtChance"]

from dataclasses import dataclass
from statistics import median

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, late, metric_key, number, values
from embedfit.run import Run


@dataclass(frozen=True)
class LastingCollapse(Check):
    """All embeddings are the same, and have been for a third of the run.

    ## What it measures
    The last {window} readings, which are a third of a run of embedfit: in each of them the norm of the mean unit query
    embedding exceeds {direction}, and positives and negatives are less than {gap} apart in cosine; over them in-batch
    recall@1 is no more than {recall} above its chance level and the loss falls by less than {fall:.0%}. Where there is
    a held-out metric, it is no better than before training. All of it together is a fault.

    ## Why it hurts
    From equal embeddings the gradient points nowhere. A short collapse may pass, one of this length did not.

    ## What to do
    Start again from the initial weights with a tenth of the learning rate and warm-up; with a hinge or triplet loss on
    the hardest negatives, begin with all negatives. `curriculum.guard = true` goes back by itself while it happens.

    ## How to confirm
    A few hundred steps from the initial weights with a tenth of the learning rate: the positives' cosines leave the
    negatives'.

    ## References
    - Hermans, Beyer and Leibe 2017, In defense of the triplet loss, https://arxiv.org/abs/1703.07737
    - Wang and Isola 2020, Alignment and uniformity, https://arxiv.org/abs/2005.10242
    """

    code = "GEO003"
    name = "lasting-collapse"
    component = "loss"
    needs = ("loss", "query/mean_direction", "positive/mean", "negative/mean", "in_batch/recall@1", "chosen.candidates")
    part = "loss"

    window: int = 20
    direction: float = 0.95
    gap: float = 0.02
    recall: float = 0.05
    fall: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Look at every one of the last readings."""
        directions = values(run, "query/mean_direction")[-self.window :]
        if len(directions) < self.window:
            raise NotApplicableError(f"fewer than {self.window} readings: a collapse may still pass")
        sides = zip(values(run, "positive/mean"), values(run, "negative/mean"), strict=False)
        gap = max(abs(p - n) for p, n in list(sides)[-self.window :])
        value = min(directions)
        statistic = Statistic(
            name="least norm of the mean unit query", value=value, limit=self.direction, n=len(directions)
        )
        told = f"mean unit query of norm {value:.3f} or more in {len(directions)} readings"
        if value <= self.direction or gap >= self.gap or not self._useless(run):
            return self.finding(Outcome.CLEAR, f"no collapse that lasts: {told}", statistic)
        rate = find(run, "chosen.learning_rate")
        change = {"optim.learning_rate": float(f"{float(rate) / 10:.2g}")} if rate else {}
        cure = Prescription(why="start again from the initial weights with smaller steps", change=change)
        symptom = f"all embeddings are the same for a third of the run ({told}; pairs at chance)"
        return self.finding(Outcome.ISSUE, symptom, statistic, cure)

    def _useless(self, run: Run) -> bool:
        """Whether recall is at chance, the loss stands, and the held-out metric has gained nothing."""
        recall = late(run, "in_batch/recall@1", self.window)
        chance = 1 / max(1.0, number(run, "chosen.candidates"))
        losses = values(run, "loss")
        third = losses[-max(6, len(losses) // 3) :]
        half = len(third) // 2
        falls = median(third[half:]) < (1 - self.fall) * median(third[:half])
        held_out = values(run, "dev/<metric>")
        gained = bool(held_out) and held_out[-1] > held_out[0]
        return recall is not None and recall <= chance + self.recall and not falls and not gained


@dataclass(frozen=True)
class MetricAtChance(Check):
    """The held-out metric is that of a random order, and training has nothing left to give.

    ## What it measures
    All evaluations so far against the level of a random order plus {errors} standard errors; at least {evaluations}
    of them, in at least {share:.0%} of the planned steps, and enough queries for these errors to be less than {blur}.
    It is a fault where, over the last {window} readings, the
    loss lies within {floor:.0%} of its way from its floor to chance (the training rows are memorised), or has never
    left the last {chance:.0%} of it while in-batch recall@1 stays within {recall} of chance (nothing is learned). In
    between, and while the learning rate still rises or the loss has come down by {trend:.1%} of its way from
    the first half of the readings to the second, training still moves, and it is worth a look.

    ## Why it hurts
    Nothing that is learned from the rows carries over to others: the pairs do not belong together, the inputs lost
    what would tell them apart, or the loss asks for something else than the metric.

    ## What to do
    Look at some pairs by hand; let `embedfit align` or the mapping test say whether sides belong together at all; look
    at the findings about pairing and inputs first.

    ## How to confirm
    Train on some hundred pairs you vouch for. Train on shuffled pairs: if that goes as well, the rows hold no relation.

    ## References
    - Zhang et al. 2017, Understanding deep learning requires rethinking generalization,
      https://arxiv.org/abs/1611.03530
    """

    code = "EVA006"
    name = "metric-at-chance"
    component = "pairing"
    needs = ("dev/<metric>", "metric.chance", "metric.chance_error", "loss", "loss.floor", "loss.chance")

    errors: float = 3.0
    evaluations: int = 4
    share: float = 0.4
    window: int = 20
    floor: float = 0.05
    chance: float = 0.05
    recall: float = 0.05
    trend: float = 0.005
    blur: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare the best evaluation with chance, then ask whether training can still change it."""
        readings = values(run, "dev/<metric>")
        if len(readings) < self.evaluations:
            raise NotApplicableError(f"fewer than {self.evaluations} evaluations")
        chance, name = number(run, "metric.chance"), metric_key("<metric>", run)
        limit = chance + self.errors * number(run, "metric.chance_error")
        best = max(readings)
        statistic = Statistic(name=f"best held-out {name}", value=best, limit=limit, n=len(readings))
        told = f"held-out {name} is {best:.3f} at its best, a random order gives {chance:.3f}"
        if best > limit or limit >= 1:
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(why="look at some pairs by hand: do both sides of a row belong together?")
        why = self._settled(run)
        if not why or not self._long(run):
            return self.finding(Outcome.WATCH, f"{told}; training still moves", statistic, cure)
        if limit - chance > self.blur:
            return self.finding(Outcome.WATCH, f"{told}; too few queries to be certain", statistic, cure)
        return self.finding(Outcome.ISSUE, f"{told}; {why}", statistic, cure)

    def _settled(self, run: Run) -> str:
        """Why training has nothing left to give; empty while it has."""
        floor, chance = number(run, "loss.floor"), number(run, "loss.chance")
        losses = values(run, "loss")
        if chance <= floor or not losses or run.recipe.curriculum.stages:  # stages have losses of their own
            return ""
        places = [(loss - floor) / (chance - floor) for loss in losses]
        if median(places[-self.window :]) <= self.floor:
            return "the loss is at its floor: the rows are memorised, and nothing carries over"
        rates = values(run, "learning_rate")
        half = len(places) // 2
        falling = half > 0 and median(places[:half]) - median(places[half:]) > self.trend
        if falling or rates[-2:] != sorted(rates[-2:], reverse=True):
            return ""  # it may yet leave its plateau
        recall = late(run, "in_batch/recall@1", self.window)
        alone = 1 / max(1.0, float(find(run, "chosen.candidates") or 1.0))
        if min(places) >= 1 - self.chance and recall is not None and recall <= alone + self.recall:
            return "the loss never left chance: nothing is learned"
        return ""

    def _long(self, run: Run) -> bool:
        """Whether enough of the planned steps are done; those of a log are not known."""
        done, planned = run.history["loss"][-1][0], find(run, "chosen.steps")
        return planned is not None and done >= self.share * float(planned)
