"""LOS: where the loss stands between its floor and chance."""

from __future__ import annotations

__all__ = ["LossAtChance", "PinnedLoss", "UnreachableLoss"]

import math
from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, late, number, values
from embedfit.probes.floor import sufficient_temperature
from embedfit.run import Run

SOFTMAX = ("infonce", "prototypes")


@dataclass(frozen=True)
class UnreachableLoss(Check):
    """No embedding can bring the loss down: the temperature is too high for the number of candidates.

    ## What it measures
    The floor of the softmax loss as a share of its chance level. Unit vectors cannot all point away from each other, so
    with C candidates and temperature t the loss never falls below log(1 + (C - 1) exp(-(1 + 1/(C - 1)) / t)). Above
    {share:.0%} of chance it is worth a look, above {broken:.0%} it is a fault.

    ## Why it hurts
    The loss ends far above zero however long training lasts. Gradients hardly tell a good model from a very good one,
    because even a perfect positive gets a small probability.

    ## What to do
    Lower `loss.temperature`. The prescription is the smallest change that brings the floor to {share:.0%} of chance;
    good temperatures often lie below, between .02 and .1.

    ## How to confirm
    Train at both temperatures for as many steps and compare the held-out metric (the losses cannot be compared).

    ## References
    - Wang et al. 2017 (NormFace), https://arxiv.org/abs/1704.06369, proposition 2
    """

    code = "LOS001"
    name = "unreachable-loss"
    component = "loss"
    needs = ("loss.floor", "loss.chance")
    part = "loss"

    share: float = 0.05
    broken: float = 0.25

    def examine(self, run: Run) -> Finding:
        """Compare floor and chance; both are arithmetic, so the finding is exact."""
        loss = find(run, "chosen.loss")
        if loss not in (None, *SOFTMAX):
            raise NotApplicableError(f"a floor far above zero is normal for '{loss}'")
        floor, chance = number(run, "loss.floor"), number(run, "loss.chance")
        if chance <= 0:
            raise NotApplicableError("the loss has no negative to tell from the positive")
        value = floor / chance
        statistic = Statistic(name="floor / chance", value=value, limit=self.share, n=_candidates(run, chance))
        symptom = f"the loss cannot fall below {floor:.3g}, where chance is {chance:.3g}"
        if value <= self.share:
            return self.finding(
                Outcome.CLEAR, f"the loss can fall to {floor:.2g}, where chance is {chance:.3g}", statistic
            )
        outcome = Outcome.ISSUE if value > self.broken else Outcome.WATCH
        return self.finding(outcome, symptom, statistic, self._cure(run, chance))

    def _cure(self, run: Run, chance: float) -> Prescription:
        candidates = max(2, _candidates(run, chance))
        margin = float(find(run, "chosen.margin") or 0.0)
        if margin >= 1:
            return Prescription(why="a margin this wide leaves no room on the sphere", change={"loss.margin": 0.0})
        wanted = sufficient_temperature(candidates, self.share, margin=margin)
        rounded = math.floor(wanted * 1000) / 1000  # downwards, so that the floor stays below the limit
        why = f"with {candidates} candidates, {rounded:g} brings the floor to {self.share:.0%} of chance"
        return Prescription(why=why, change={"loss.temperature": rounded})


@dataclass(frozen=True)
class LossAtChance(Check):
    """After training the loss is where it was before, and pairs are not told apart.

    ## What it measures
    The position of the loss between its floor (0) and chance (1), median of the last {window} readings, together with
    in-batch recall@1. A position above {position} with a recall no more than {recall} above chance is worth a look.

    ## Why it hurts
    The model has learned nothing that its loss asks for. A loss near chance alone would prove nothing: with many
    candidates a useful model can have one.

    ## What to do
    Many causes look like this: pairs that do not belong together, weights that do not move, a learning rate far too
    high, inputs that lost their meaning. Look at the other findings first; `embedfit audit` and the learning-rate
    test settle the most frequent ones.

    ## How to confirm
    Train on a few hundred pairs you vouch for, with embedfit's defaults. If that learns, the recipe is at fault; if it
    does not, the data are.

    ## References
    - van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, equation 4 and section 2.3
    """

    code = "LOS002"
    name = "loss-at-chance"
    component = "loss"
    needs = ("loss", "loss.floor", "loss.chance", "in_batch/recall@1")
    part = "loss"

    position: float = 0.9
    recall: float = 0.05
    window: int = 20

    def examine(self, run: Run) -> Finding:
        """Compare the position of the loss with the limit, and recall with its chance level."""
        floor, chance = number(run, "loss.floor"), number(run, "loss.chance")
        loss, recall = late(run, "loss", self.window), late(run, "in_batch/recall@1", self.window)
        if loss is None or recall is None or chance <= floor:
            raise NotApplicableError("no finite reading of the loss between a floor and a chance level")
        value = (loss - floor) / (chance - floor)
        n = min(self.window, len(values(run, "loss")))
        statistic = Statistic(name="position of the loss, floor 0 to chance 1", value=value, limit=self.position, n=n)
        where = f"the loss ends at {loss:.3g} between its floor {floor:.2g} and chance {chance:.3g}"
        if value <= self.position:
            return self.finding(Outcome.CLEAR, where, statistic)
        if recall > 1 / max(1, _candidates(run, chance)) + self.recall:
            return self.finding(
                Outcome.CLEAR, f"{where}, yet {recall:.0%} of the pairs are found in the batch", statistic
            )
        usual = {} if run.recipe.optim.learning_rate == "auto" else {"optim.learning_rate": "auto"}
        cure = Prescription(
            why="let a test choose the learning rate, and see `embedfit audit` for the pairs", change=usual
        )
        return self.finding(
            Outcome.WATCH, f"{where}, and {recall:.0%} of the pairs are found in the batch", statistic, cure
        )


@dataclass(frozen=True)
class PinnedLoss(Check):
    """The loss stands still at the value it has when all embeddings are the same.

    ## What it measures
    Whether the last {window} readings of the loss lie within {near:.0%} of a value that collapsed embeddings give (the
    margin of a triplet loss, log 2 of a soft margin, the chance level of a softmax), while the mean query direction
    exceeds {direction} and positives and negatives are less than {gap} apart in cosine. All of it together.

    ## Why it hurts
    All texts have the same embedding, and from there the gradient is next to nothing: training does not recover by
    itself.

    ## What to do
    Start again from the initial weights with a lower learning rate and warm-up. With a triplet loss on the hardest
    negatives, begin with InfoNCE or semi-hard negatives.

    ## How to confirm
    Train from the initial weights with a tenth of the learning rate for a few hundred steps: the positives' cosines
    leave the negatives'.

    ## References
    - Hermans, Beyer and Leibe 2017, In defense of the triplet loss, https://arxiv.org/abs/1703.07737
    - Xuan et al. 2020, Hard negative examples are hard, but useful, https://arxiv.org/abs/2007.12749
    """

    code = "LOS003"
    name = "pinned-loss"
    component = "loss"
    needs = ("loss", "query/mean_direction", "positive/mean", "negative/mean")
    part = "loss"

    window: int = 20
    near: float = 0.02
    direction: float = 0.95
    gap: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Compare the loss with the values of collapse, and the embeddings with collapse itself."""
        readings = values(run, "loss")[-self.window :]
        direction = late(run, "query/mean_direction", self.window)
        positive, negative = late(run, "positive/mean", self.window), late(run, "negative/mean", self.window)
        if not readings or direction is None or positive is None or negative is None:
            raise NotApplicableError("no finite readings")
        levels = {"log 2": math.log(2)}
        for label, name in (("the margin", "chosen.margin"), ("chance", "loss.chance")):
            if find(run, name):
                levels[label] = number(run, name)
        label, level = min(levels.items(), key=lambda item: max(abs(x - item[1]) for x in readings) / item[1])
        worst = max(abs(x - level) for x in readings) / level
        statistic = Statistic(name=f"distance of the loss from {label}", value=worst, limit=self.near, n=len(readings))
        collapsed = direction > self.direction and abs(positive - negative) < self.gap
        if worst > self.near or not collapsed:
            return self.finding(Outcome.CLEAR, "the loss is not pinned at a value of collapse", statistic)
        symptom = f"the loss stands at {label} ({level:.3g}) and all embeddings point one way ({direction:.3f})"
        rate = find(run, "chosen.learning_rate")
        change = {"optim.learning_rate": float(f"{float(rate) / 10:.2g}")} if rate else {}
        cure = Prescription(why="start again from the initial weights with smaller steps", change=change)
        return self.finding(Outcome.WATCH, symptom, statistic, cure)


def _candidates(run: Run, chance: float) -> int:
    """Size of the softmax; without a margin the chance level is its logarithm."""
    known = find(run, "chosen.candidates")
    return int(known) if known else round(math.exp(min(chance, 40.0)))
