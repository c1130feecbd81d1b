"""LOS, NEG, TEA: what a loss asks of embeddings, found by giving it embeddings made for the purpose."""

from __future__ import annotations

__all__ = ["CollapseRewarded", "FewCandidates", "HardestOnly", "OutOfReach"]

import math
from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run

INFONCE = {"loss.kind": "infonce", "loss.temperature": 0.05}


@dataclass(frozen=True)
class CollapseRewarded(Check):
    """The loss is lowest where all embeddings are the same.

    ## What it measures
    The loss of embeddings that are all equal against that of embeddings in which pairs are equal and different pairs
    unrelated, both made for the purpose and put into the author's own step. Where equality is rewarded with more than
    {share:.0%} of what right pairs gain over wrong ones, it is worth a look.

    ## Why it hurts
    A term that pulls embeddings together outweighs the term that tells them apart; training goes where the sum is
    lowest.

    ## What to do
    Give the second term a smaller weight, or take it away. A distance behind a sigmoid cannot be told apart either.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Wang and Isola 2020, Alignment and uniformity, https://arxiv.org/abs/2005.10242
    """

    code = "LOS012"
    name = "collapse-rewarded"
    component = "loss"
    needs = ("demand.ideal", "demand.collapsed", "demand.wrong")
    part = "loss"

    share: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare both levels."""
        ideal, collapsed, wrong = (number(run, f"demand.{name}") for name in ("ideal", "collapsed", "wrong"))
        if wrong <= ideal:
            raise NotApplicableError("this loss prefers wrong pairs, see the other checks of the loss")
        value = (ideal - collapsed) / (wrong - ideal)
        statistic = Statistic(
            name="gain of equality / gain of right pairs", value=value, limit=self.share,
            n=int(find(run, "trace.rows") or 0),
        )  # fmt: skip
        if value <= self.share:
            return self.finding(
                Outcome.CLEAR, f"telling pairs apart costs {ideal:.3g}, all alike {collapsed:.3g}", statistic
            )
        cure = Prescription(
            why="weigh down the term that pulls embeddings together, or use InfoNCE alone", change=INFONCE
        )
        return self.finding(
            Outcome.WATCH,
            f"the loss of equal embeddings ({collapsed:.3g}) lies below that of well-separated pairs ({ideal:.3g})",
            statistic, cure,
        )  # fmt: skip


@dataclass(frozen=True)
class FewCandidates(Check):
    """A query is compared with few of the documents in its batch.

    ## What it measures
    A softmax over C candidates has the loss log C where all embeddings are equal: C, as a share of the documents of
    the batch. Below {share:.0%} it is worth a look.

    ## Why it hurts
    With few rivals, drawn at random, the right document is soon the best of them, and nothing more is learned. A mask
    against false negatives that is too wide, slices of a batch, or processes that do not gather leave few.

    ## What to do
    Compare with all documents of the batch, and gather those of other processes.

    ## How to confirm
    Training with the reference loss, which uses all of them.

    ## References
    - Qu et al. 2021 (RocketQA), https://arxiv.org/abs/2010.08191, section 3.1
    """

    code = "NEG005"
    name = "few-candidates"
    component = "negatives"
    needs = ("demand.collapsed", "demand.form", "trace.documents")
    part = "loss"

    share: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare the candidates with the documents there are."""
        collapsed, documents = number(run, "demand.collapsed"), number(run, "trace.documents")
        if find(run, "demand.form") != "softmax" or documents < 8 or not 0 <= collapsed < 20:
            raise NotApplicableError("no softmax over a batch")
        value = math.exp(collapsed) / documents
        statistic = Statistic(
            name="candidates / documents of the batch", value=value, limit=self.share, n=int(documents)
        )
        symptom = f"a query is compared with {math.exp(collapsed):.0f} of {documents:.0f} documents in the batch"
        if value >= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        masked = float(find(run, "trace.masked") or 0.0)
        why = "a mask takes the others out: narrow it" if masked > 0.5 else "compare with all documents of the batch"
        return self.finding(Outcome.WATCH, symptom, statistic, Prescription(why=why, change=INFONCE))


@dataclass(frozen=True)
class HardestOnly(Check):
    """A query is pushed away from its nearest rival alone.

    ## What it measures
    The slope of the loss at each query, less its parts along the query and its own document, against each other
    document: whether one explains all of it, and whether that one is the nearest. A share of queries above {share:.0%}
    is worth a look.

    ## Why it hurts
    The nearest rival is often a false one, and early in training they all are alike: the shortest way out is to make
    all embeddings equal, where the loss stands still at its margin.

    ## What to do
    Begin with all rivals (InfoNCE) or semi-hard ones; smaller steps; unit vectors.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Schroff et al. 2015 (FaceNet), https://arxiv.org/abs/1503.03832, section 3.2
    - Xuan et al. 2020, Hard negative examples are hard, but useful, https://arxiv.org/abs/2007.12749
    """

    code = "NEG006"
    name = "hardest-rival-only"
    component = "negatives"
    needs = ("demand.one_rival", "demand.hardest", "demand.form")
    part = "loss"

    share: float = 0.8

    def examine(self, run: Run) -> Finding:
        """Multiply both shares."""
        value = number(run, "demand.one_rival") * number(run, "demand.hardest")
        if value != value:
            raise NotApplicableError("embeddings of few coordinates do not tell rivals apart")
        statistic = Statistic(
            name="queries with one rival, the nearest", value=value, limit=self.share,
            n=int(find(run, "trace.rows") or 0),
        )  # fmt: skip
        if value <= self.share or find(run, "demand.form") != "hinge":
            return self.finding(Outcome.CLEAR, "queries are pushed away from several documents, or softly", statistic)
        cure = Prescription(why="let all rivals count: InfoNCE, or semi-hard negatives", change=INFONCE)
        return self.finding(
            Outcome.WATCH, f"{value:.0%} of the queries are pushed away from their nearest rival alone", statistic, cure
        )


@dataclass(frozen=True)
class OutOfReach(Check):
    """Queries that are equal to the vectors they are trained on do not satisfy the loss.

    ## What it measures
    Where the documents' vectors are given and not trained: the loss of queries that are equal to their documents, at
    the best of several lengths, over the loss at the start. Above {share:.0%} it is worth a look.

    ## Why it hurts
    The target is something else than the vectors that are searched: another scale, another offset, another space. The
    queries go there, and not to their documents.

    ## What to do
    Normalise both sides, compare by cosine, or put a linear layer between the towers and the targets.

    ## How to confirm
    Training with the reference loss, everything else as it is.

    ## References
    - Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531
    """

    code = "TEA001"
    name = "target-out-of-reach"
    component = "teacher"
    needs = ("demand.ideal", "demand.real", "demand.form", "demand.trained_documents")
    part = "loss"

    share: float = 0.5

    def examine(self, run: Run) -> Finding:
        """Compare both losses."""
        ideal, real = number(run, "demand.ideal"), number(run, "demand.real")
        statistic = Statistic(
            name="loss of equal pairs / at the start", value=ideal / max(real, 1e-12), limit=self.share,
            n=int(find(run, "trace.rows") or 0),
        )  # fmt: skip
        given = not find(run, "demand.trained_documents") and find(run, "demand.form") == "other" and real > 0
        upside_down = ideal > float(find(run, "demand.wrong") or math.inf)
        if not given or upside_down or ideal <= self.share * real:
            return self.finding(Outcome.CLEAR, f"equal pairs bring the loss from {real:.3g} to {ideal:.3g}", statistic)
        cure = Prescription(why="normalise the targets, or compare by cosine", change=INFONCE)
        return self.finding(
            Outcome.WATCH,
            f"queries equal to their targets leave {ideal:.3g} of a loss of {real:.3g}",
            statistic,
            cure,
        )
