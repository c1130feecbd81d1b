"""LOS: what a loss does with the scores, as one traced step shows it."""

from __future__ import annotations

__all__ = ["OwnMasked", "Probabilities", "Reversed", "WrongAxis", "WrongTarget"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class Reversed(Check):
    """The loss takes distance for similarity: the nearer a document, the lower its score.

    ## What it measures
    Embeddings made for the purpose are put into the author's own step. Where less than {own:.0%} of the queries are
    pulled towards their own document, and right pairs have a higher loss than wrong ones, the loss is upside down.
    Where a step cannot be run again: the scores that enter the loss are explained by the similarity of the embeddings,
    as a straight line (only where it explains {explained:.1%} of their variance); a slope below 0 is a fault.

    ## Why it hurts
    Training does its work in the wrong direction. The loss falls as it should; the own document ends at the last rank.

    ## What to do
    Turn the sign of the scores, or use minus the distance.

    ## How to confirm
    Training with the reference loss, everything else as it is, puts the own document first.

    ## References
    - Hadsell, Chopra and LeCun 2006 (signs of both terms), https://ieeexplore.ieee.org/document/1640964
    """

    code = "LOS004"
    name = "reversed-similarity"
    component = "loss"
    needs = ("trace.kind",)
    part = "loss"

    explained: float = 0.999
    own: float = 0.8

    def examine(self, run: Run) -> Finding:
        """Look at where queries are pulled, or at the sign of the slope."""
        if find(run, "demand.own_pull") is None or number(run, "demand.own_pull") != number(run, "demand.own_pull"):
            return self._traced(run)
        value, n = number(run, "demand.own_pull"), int(find(run, "trace.rows") or 0)
        ideal, wrong = number(run, "demand.ideal"), number(run, "demand.wrong")
        statistic = Statistic(name="queries pulled to their own document", value=value, limit=self.own, n=n)
        if value >= self.own or ideal <= wrong:
            return self.finding(
                Outcome.CLEAR, f"right pairs lower the loss ({ideal:.3g}, wrong {wrong:.3g})", statistic
            )
        cure = Prescription(
            why="turn the sign of the scores; a distance needs a minus before it is a score",
            change={"loss.kind": "infonce"},
        )  # fmt: skip
        return self.finding(
            Outcome.ISSUE,
            f"the loss pushes {1 - value:.0%} of the queries away from their own document "
            f"(right pairs {ideal:.3g}, wrong ones {wrong:.3g})",
            statistic, cure,
        )  # fmt: skip

    def _traced(self, run: Run) -> Finding:
        if find(run, "trace.scale") is None or find(run, "trace.explained") is None:
            raise NotApplicableError("this loss could not be looked into")
        if number(run, "trace.explained") < self.explained or find(run, "trace.kind") == "hinge":
            raise NotApplicableError("the scores of this loss could not be explained by a similarity")
        kind = str(find(run, "trace.similarity"))
        slope = number(run, "trace.scale") * (-1 if "dist" in kind or kind == "squared" else 1)
        statistic = Statistic(
            name=f"score per unit of {kind}", value=slope, limit=0.0, n=int(find(run, "trace.rows") or 0)
        )
        if slope > 0:
            return self.finding(Outcome.CLEAR, f"the nearer a document, the higher its score ({slope:.3g})", statistic)
        cure = Prescription(why="turn the sign of the scores; a distance needs a minus before it is a score")
        return self.finding(
            Outcome.ISSUE, "the loss rewards embeddings that are far from their own document", statistic, cure
        )


@dataclass(frozen=True)
class Probabilities(Check):
    """What enters the softmax are already probabilities.

    ## What it measures
    Whether the rows that enter cross-entropy are not negative and sum to 1. More than {share:.0%} is all of them: the
    test is made once, for a whole batch.

    ## Why it hurts
    A softmax of probabilities can never exceed e / (e + C - 1): with 64 candidates the loss stops at 3.2 of 4.2.
    Gradients become small. Many models learn all the same, only more slowly; the experiment says which.

    ## What to do
    Hand the raw scores, divided by the temperature, to cross-entropy; it contains the softmax.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - The documentation of cross-entropy, https://pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """

    code = "LOS005"
    name = "softmax-of-probabilities"
    component = "loss"
    needs = ("trace.probabilities",)
    part = "loss"

    share: float = 0.5

    def examine(self, run: Run) -> Finding:
        """Look at what entered the softmax."""
        value = float(bool(find(run, "trace.probabilities")))
        statistic = Statistic(
            name="rows that sum to 1", value=value, limit=self.share, n=int(find(run, "trace.rows") or 0)
        )
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "what enters the softmax are scores, not probabilities", statistic)
        cure = Prescription(why="hand raw scores to cross-entropy: it contains the softmax")
        return self.finding(Outcome.ISSUE, "a softmax is taken of probabilities", statistic, cure)


@dataclass(frozen=True)
class WrongTarget(Check):
    """The target of a query is not its own document.

    ## What it measures
    The share of the queries of a batch whose target index points at the document of the same row. Below {share:.0%} it
    is a fault. Where no target is seen: the share of the queries that the loss pulls to one document of another row,
    embeddings of our making in the author's step; above {other:.0%}.

    ## Why it hurts
    The loss pulls queries towards documents of other rows.

    ## What to do
    The target of row i is the column of its own document: i in one process, i + rank * batch after gathering, i *
    (1 + negatives) where each document is followed by its negatives.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Karpukhin et al. 2020 (in-batch negatives), https://arxiv.org/abs/2004.04906, section 3.2
    """

    code = "LOS006"
    name = "wrong-target"
    component = "loss"
    needs = ("trace.kind",)
    part = "loss"

    share: float = 0.99
    other: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare targets with row numbers, or look at where queries are pulled."""
        pulled = find(run, "demand.other_pull")
        if pulled is not None and pulled > self.other and number(run, "demand.ideal") < number(run, "demand.wrong"):
            value = 1 - float(pulled)
        elif find(run, "trace.own_target") is not None:
            value = number(run, "trace.own_target")
        else:
            raise NotApplicableError("no target was seen")
        statistic = Statistic(
            name="targets at the own document", value=value, limit=self.share, n=int(find(run, "trace.rows") or 0)
        )
        if value >= self.share:
            return self.finding(Outcome.CLEAR, "every target is the query's own document", statistic)
        cure = Prescription(
            why="let the target of row i be the column of document i: torch.arange(len(query))",
            change={"loss.kind": "infonce"},
        )
        return self.finding(
            Outcome.ISSUE, f"{1 - value:.0%} of the targets are documents of other rows", statistic, cure
        )


@dataclass(frozen=True)
class OwnMasked(Check):
    """The mask takes the own document out.

    ## What it measures
    The share of the queries whose own document was taken out of the scores. Above {share:.0%} it is a fault.

    ## Why it hurts
    A positive that is masked cannot be learned; the loss of its row is huge and its gradient nothing.

    ## What to do
    Leave the diagonal out of the mask.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Khosla et al. 2020 (which cells are positives), https://arxiv.org/abs/2004.11362
    """

    code = "LOS007"
    name = "own-document-masked"
    component = "loss"
    needs = ("trace.own_masked",)
    part = "loss"

    share: float = 0.01

    def examine(self, run: Run) -> Finding:
        """Compare the masked share of the diagonal with the limit."""
        value = number(run, "trace.own_masked")
        statistic = Statistic(
            name="own documents masked", value=value, limit=self.share, n=int(find(run, "trace.rows") or 0)
        )
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "no own document is masked", statistic)
        cure = Prescription(why="leave the diagonal out of the mask")
        return self.finding(
            Outcome.ISSUE, f"{value:.0%} of the queries lose their own document to the mask", statistic, cure
        )


@dataclass(frozen=True)
class WrongAxis(Check):
    """Embeddings are normalised along the wrong axis.

    ## What it measures
    Whether the loss stays the same when all embeddings are twice as long, and changes when every other query is: then
    what is normalised is the batch. And the mean norm of the rows that are multiplied into scores, which lies below
    {short} although columns or the whole batch have norm 1.

    ## Why it hurts
    The rows are not unit vectors: scores shrink with the size of the batch, the softmax is nearly even, and the
    gradient small. The embedding of a text depends on its batch.

    ## What to do
    `torch.nn.functional.normalize(x, dim=-1)`.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Chen et al. 2020 (SimCLR), https://arxiv.org/abs/2002.05709, section 2.1
    """

    code = "LOS008"
    name = "wrong-axis"
    component = "loss"
    needs = ("trace.similarity", "trace.unit_rows")
    part = "loss"

    short: float = 0.7

    def examine(self, run: Run) -> Finding:
        """Look at what was normalised."""
        rows, columns = number(run, "trace.unit_rows"), float(find(run, "trace.unit_columns") or 0.0)
        n = int(find(run, "trace.rows") or 0)
        statistic = Statistic(name="mean norm of a row", value=rows, limit=self.short, n=n)
        over_batch = find(run, "trace.similarity") == "cosine over the batch"
        whole = rows < self.short and min(abs(rows * k**0.5 - 1) for k in (n, 2 * n)) < 0.2 and n > 3
        together = find(run, "demand.scale_free") is True and find(run, "demand.row_free") is False
        if not (over_batch or whole or (rows < self.short and (together or abs(columns - 1) < 1e-3))):
            return self.finding(Outcome.CLEAR, "rows are not normalised over the batch", statistic)
        cure = Prescription(
            why="normalise each embedding by itself: normalize(x, dim=-1)", change={"loss.kind": "infonce"}
        )
        return self.finding(
            Outcome.ISSUE, f"embeddings are normalised over the batch (mean norm of a row {rows:.2g})", statistic, cure
        )
