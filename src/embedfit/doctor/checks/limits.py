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
    Logit per unit of cosine, 1 / temperature. Above {scale} it is worth a look.

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
    needs = ("trace.scale", "trace.similarity")
    part = "loss"

    scale: float = 120.0

    def examine(self, run: Run) -> Finding:
        """Compare the scale with the limit."""
        if find(run, "trace.kind") != "softmax" or "cosine" not in str(find(run, "trace.similarity")):
            raise NotApplicableError("no softmax over cosines")
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


@dataclass(frozen=True)
class UnreachableMargin(Check):
    """The margin asks for more than embeddings can give.

    ## What it measures
    The margin of a hinge against the widest difference that its similarity can have: 2 for cosines and for distances
    of unit vectors. Above {room:.0%} of that, or with all hinges active where scores hardly differ, it is worth a look.

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
    needs = ("trace.margin", "trace.active")
    part = "loss"

    room: float = 0.6

    def examine(self, run: Run) -> Finding:
        """Compare the margin with the range of the similarity."""
        if find(run, "trace.kind") != "hinge":
            raise NotApplicableError("no hinge")
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
