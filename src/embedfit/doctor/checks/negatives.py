"""NEG: what a query is told not to resemble."""

from __future__ import annotations

__all__ = ["FalseNegativesInBatch", "NoNegatives"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, late, number, values
from embedfit.run import Run


@dataclass(frozen=True)
class FalseNegativesInBatch(Check):
    """Known positives of a query are pushed away as its negatives.

    ## What it measures
    The share of the batch's negatives that identities say are positives: the same document, the same class, or a known
    positive of the query. Median of the last {window} readings; above {share:.0%} it is a fact.

    ## Why it hurts
    The loss pulls the pair together in one row and pushes it apart in another. The better the model, the stronger the
    push: the false negatives are then the hardest ones.

    ## What to do
    Mask cells by identity. embedfit's own training always does; in a loop of your own, exclude from the softmax every
    cell whose document or class equals that of the query's positive.

    ## How to confirm
    Train with and without the mask from the same start for as many steps and compare the held-out metric.

    ## References
    - Qu et al. 2021 (RocketQA), https://arxiv.org/abs/2010.08191, section 3.2
    - de Souza P. Moreira et al. 2024 (NV-Retriever), https://arxiv.org/abs/2407.15831
    """

    code = "NEG001"
    name = "false-negatives-in-batch"
    component = "negatives"
    needs = ("negative/false_share",)

    share: float = 0.01
    window: int = 20

    def examine(self, run: Run) -> Finding:
        """Compare the share of false negatives with the limit."""
        value = late(run, "negative/false_share", self.window)
        assert value is not None, "among the needs"
        n = min(self.window, len(values(run, "negative/false_share")))
        statistic = Statistic(name="share of negatives that are known positives", value=value, limit=self.share, n=n)
        symptom = f"{value:.1%} of the negatives in a batch are known positives of the query"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(
            why="mask cells by identity of document, text and class; embedfit's own training always does"
        )
        return self.finding(Outcome.ISSUE, symptom, statistic, cure)


@dataclass(frozen=True)
class NoNegatives(Check):
    """The loss compares a query with nothing but its own document.

    ## What it measures
    Whether the gradient of one row's document depends on the queries of other rows (a second derivative, exact for any
    loss): rows that depend on others in less than {share:.0%} of the cases are as good as alone. Whether the loss is
    the same whatever the embeddings, as a softmax over one candidate is. And whether telling pairs apart gains less
    than {gain:.0%} of what bringing them together does, while queries are pulled to their own document alone (mean
    cosine above {alone}).

    ## Why it hurts
    A loss that knows positives only is lowest where all embeddings are the same; a softmax over one candidate is zero,
    and so is its gradient.

    ## What to do
    Use the other documents of the batch as negatives; batches of two rows at least.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Wang and Isola 2020 (alignment alone collapses), https://arxiv.org/abs/2005.10242
    """

    code = "NEG003"
    name = "no-negatives"
    component = "negatives"
    needs = ("trace.negatives",)
    part = "loss"

    share: float = 0.02
    gain: float = 0.1
    alone: float = 0.95

    def examine(self, run: Run) -> Finding:
        """Look at the coupling of rows, and at what negatives are worth to the loss."""
        if find(run, "start.query_alike") == 1 or find(run, "start.document_alike") == 1:
            raise NotApplicableError("all embeddings are the same before training, and nothing depends on anything")
        value = number(run, "trace.negatives")
        if find(run, "demand.constant") or self._idle(run):
            value = 0.0
        statistic = Statistic(
            name="share of rows that depend on others",
            value=value,
            limit=self.share,
            n=int(find(run, "trace.rows") or 0),
        )
        if value > self.share:
            return self.finding(Outcome.CLEAR, "queries are compared with documents of other rows", statistic)
        cure = Prescription(
            why="use the other documents of the batch as negatives",
            change={"loss.kind": "infonce", "loss.temperature": 0.05},
        )
        return self.finding(
            Outcome.ISSUE, "the loss knows no negative: a query meets its own document only", statistic, cure
        )

    def _idle(self, run: Run) -> bool:
        """Whether negatives are there, and weigh next to nothing."""
        if find(run, "demand.own_only") is None or not find(run, "demand.trained_documents"):
            return False
        ideal, collapsed, wrong = (number(run, f"demand.{name}") for name in ("ideal", "collapsed", "wrong"))
        apart = collapsed - ideal < self.gain * (wrong - ideal)
        return (
            number(run, "demand.own_only") > self.alone and wrong > ideal and -self.gain < collapsed - ideal and apart
        )
