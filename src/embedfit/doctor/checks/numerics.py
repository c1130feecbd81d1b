"""NUM: arithmetic that went wrong."""

from __future__ import annotations

__all__ = ["CoarseEmbeddings", "NonFiniteLoss"]

import math
from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class NonFiniteLoss(Check):
    """The loss or the gradient became NaN or infinite.

    ## What it measures
    Readings of the loss and of the gradient's norm that are no finite numbers. More than {allowed} is a fault.

    ## Why it hurts
    One such step and every weight is NaN: nothing can be saved. embedfit stops before that step.

    ## What to do
    Look at the rows named in the error (empty texts, embeddings of length zero). Compute scores and loss in fp32; take
    smaller steps with warm-up; do not let the temperature fall towards zero.

    ## How to confirm
    Run the step again in fp32 on the same rows: finite there means precision, not finite means data or step size.

    ## References
    - Micikevicius et al. 2018, Mixed precision training, https://arxiv.org/abs/1710.03740
    """

    code = "NUM001"
    name = "non-finite-loss"
    component = "precision"
    needs = ("loss",)

    allowed: int = 0

    def examine(self, run: Run) -> Finding:
        """Look for readings that are no finite numbers."""
        readings = [pair for name in ("loss", "gradient_norm") if name in run.history for pair in run.history[name]]
        bad = sorted(step for step, value in readings if not math.isfinite(value))
        stopped = "non-finite" in str(find(run, "train.stopped") or "")
        count = max(len(bad), int(stopped))
        statistic = Statistic(
            name="readings that are no finite number", value=float(count), limit=float(self.allowed), n=len(readings)
        )
        if count <= self.allowed:
            return self.finding(Outcome.CLEAR, f"all {len(readings)} readings are finite", statistic)
        where = f"from step {bad[0]} on" if bad else "and training stopped"
        change = {} if run.recipe.run.precision == "fp32" else {"run.precision": "fp32"}
        cure = Prescription(why="compute in fp32 and look at the rows of that step", change=change)
        return self.finding(Outcome.ISSUE, f"the loss or its gradient is no finite number {where}", statistic, cure)


@dataclass(frozen=True)
class CoarseEmbeddings(Check):
    """Coordinates of the embeddings take few different values.

    ## What it measures
    Different values among the coordinates of the trained side's embeddings of the rows held back, before training.
    Below {levels} it is worth a look; it is a fault where simple towers do much better.

    ## Why it hurts
    Embeddings that were rounded while they are trained tie with each other, and what rounds them hides from the loss
    what a small step changes.

    ## What to do
    Round after training, or train with the rounding in view of the loss (its gradient passed through).

    ## How to confirm
    Reference towers on the same rows do much better.

    ## References
    - Bengio, Leonard and Courville 2013 (straight-through), https://arxiv.org/abs/1308.3432
    """

    code = "NUM004"
    name = "coarse-embeddings"
    component = "precision"
    needs = ("start.levels",)
    part = "towers"

    levels: int = 64

    def examine(self, run: Run) -> Finding:
        """Compare the number of values with the limit."""
        value = number(run, "start.levels")
        statistic = Statistic(
            name="different values of a coordinate", value=value, limit=float(self.levels),
            n=int(find(run, "experiment.rows") or 0),
        )  # fmt: skip
        if value >= self.levels:
            return self.finding(Outcome.CLEAR, f"coordinates take {value:,.0f} different values", statistic)
        cure = Prescription(why="round embeddings after training, not while it lasts")
        return self.finding(Outcome.WATCH, f"coordinates take only {value:.0f} different values", statistic, cure)
