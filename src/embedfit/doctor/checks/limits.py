"""LOS: a scale or a margin that embeddings cannot meet."""

from __future__ import annotations

__all__ = ["Sharp", "UnreachableMargin"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class Sharp(Check):
    """The temperature is so low that one negative decides.

    ## What it measures
    Logit per unit of cosine, 1 / temperature. Above {scale} it is worth a look. Where scores are no cosines: the loss
    of the first batch over that of equal embeddings; above {times} its scores are spread too wide for a softmax.

    ## Why it hurts
    The softmax sees only the hardest negative of each row, which is often a false one; most rows have no gradient,
    a few a huge one.

    ## What to do
    A temperature of .02 to .1; a learned scale is limited to 100.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Wang and Liu 2021, Understanding the behaviour of contrastive loss, https://arxiv.org/abs/2012.09740
    """

    code = "LOS009"
    name = "temperature-too-low"
    component = "loss"
    needs = ("trace.kind",)
    part = "loss"

    scale: float = 120.0
    times: float = 3.0

    def examine(self, run: Run) -> Finding:
        """Compare the scale with the limit."""
        if find(run, "trace.kind") != "softmax" or "cosine" not in str(find(run, "trace.similarity")):
            return self._spread(run)
        value = abs(number(run, "trace.scale"))
        statistic = Statistic(
            name="logit per unit of cosine", value=value, limit=self.scale, n=int(find(run, "trace.rows") or 0)
        )
        if value <= self.scale:
            return self.finding(Outcome.CLEAR, f"the temperature is {1 / max(value, 1e-9):.3g}", statistic)
        cure = Prescription(why="raise the temperature to .05 and try .02 to .1", change={"loss.temperature": 0.05})
        return self.finding(
            Outcome.WATCH, f"a temperature of {1 / value:.2g} leaves one negative to decide", statistic, cure
        )

    def _spread(self, run: Run) -> Finding:
        """A softmax over other scores than cosines."""
        if find(run, "demand.form") != "softmax" or not number(run, "demand.collapsed") > 0.5:
            raise NotApplicableError("no softmax")
        value = number(run, "demand.real") / number(run, "demand.collapsed")
        n = int(find(run, "trace.rows") or 0)
        statistic = Statistic(name="loss / loss of equal embeddings", value=value, limit=self.times, n=n)
        if value <= self.times or number(run, "demand.ideal") > number(run, "demand.wrong"):
            return self.finding(
                Outcome.CLEAR, f"the loss begins at {value:.2g} times that of equal embeddings", statistic
            )
        cure = Prescription(
            why="normalise the embeddings, and divide cosines by a temperature of .05",
            change={"loss.temperature": 0.05},
        )
        return self.finding(
            Outcome.WATCH,
            f"scores are spread so wide that one negative decides: the loss begins at {value:.0f} times that of chance",
            statistic, cure,
        )  # fmt: skip


@dataclass(frozen=True)
class UnreachableMargin(Check):
    """The margin asks for more than embeddings can give.

    ## What it measures
    The loss of embeddings made for the purpose, pairs equal and different pairs unrelated, at the best of several
    lengths, against that of embeddings which are all equal. Where it cannot fall below {share:.0%} of that, it is worth
    a look. And the margin of a hinge against the widest difference that its similarity can have, 2 for cosines and for
    distances of unit vectors, where all hinges are active: above {room:.0%} of that.

    ## Why it hurts
    All pairs are violated for ever, whatever the embeddings; the gradient has nothing to choose between, and embeddings
    gather in one place.

    ## What to do
    A margin of .1 to .5 for cosines; no sigmoid or tanh before a distance.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Schroff et al. 2015 (FaceNet), https://arxiv.org/abs/1503.03832, section 3.1
    """

    code = "LOS010"
    name = "margin-unreachable"
    component = "loss"
    needs = ("trace.kind",)
    part = "loss"

    room: float = 0.6
    share: float = 0.25

    def examine(self, run: Run) -> Finding:
        """Compare what the loss can reach with what it begins at, or the margin with the range of the similarity."""
        n = int(find(run, "trace.rows") or 0)
        if find(run, "demand.form") == "hinge" and number(run, "demand.collapsed") > 0:
            ideal, collapsed = number(run, "demand.ideal"), number(run, "demand.collapsed")
            statistic = Statistic(name="loss of ideal embeddings / of equal ones", value=ideal / collapsed,
                                  limit=self.share, n=n)  # fmt: skip
            if ideal / collapsed <= self.share:
                return self.finding(Outcome.CLEAR, f"ideal embeddings bring the loss to {ideal:.2g}", statistic)
            if number(run, "demand.wrong") > ideal:
                cure = Prescription(why="no squashing before the distance; a margin of .2 to .5 on unit vectors",
                                    change={"loss.kind": "infonce"})  # fmt: skip
                return self.finding(
                    Outcome.WATCH,
                    f"even ideal embeddings leave the loss at {ideal:.3g}; where all are equal it is {collapsed:.3g}",
                    statistic, cure,
                )  # fmt: skip
        return self._traced(run)

    def _traced(self, run: Run) -> Finding:
        if find(run, "trace.kind") != "hinge" or find(run, "trace.active") is None:
            raise NotApplicableError("no hinge that could be looked into")
        value, active = abs(number(run, "trace.margin")), number(run, "trace.active")
        bounded = find(run, "trace.similarity") in ("cosine", "unit distance")
        statistic = Statistic(name="margin", value=value, limit=2 * self.room, n=int(find(run, "trace.rows") or 0))
        if active < 1 or not (bounded and value > 2 * self.room):
            return self.finding(
                Outcome.CLEAR, f"the margin is {value:.3g}, {active:.0%} of the hinges are active", statistic
            )
        cure = Prescription(why="a margin of .2 to .5 between cosines", change={"loss.margin": 0.3})
        return self.finding(
            Outcome.WATCH, f"a margin of {value:.3g} keeps all hinges active whatever the embeddings", statistic, cure
        )
