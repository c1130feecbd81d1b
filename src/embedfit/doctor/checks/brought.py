"""NEG, MOD: what the treatment of negatives and the sizes of the towers cost, measured."""

from __future__ import annotations

__all__ = ["CostlyArchitecture", "CostlyNegatives", "NegativesOfTheOwnKind", "UnmaskedNegatives"]

import math
from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.checks.knock_in import KnockIn
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class UnmaskedNegatives(KnockIn):
    """Documents that equal the positive count as negatives.

    ## What it measures
    The reference recipe with the author's treatment of equal documents as negatives
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    The loss pushes a query away from its own document wherever that occurs twice in a batch.

    ## What to do
    Mask cells of the same document or query, or draw batches without repetitions.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Khosla et al. 2020, https://arxiv.org/abs/2004.11362
    """

    code = "NEG002"
    name = "unmasked-negatives"
    component = "negatives"
    needs = ("experiment.negatives.relative",)
    part = "negatives"
    words = "treatment of equal documents as negatives"
    cure = "mask equal documents and equal queries in the loss, or use a sampler without duplicates"


@dataclass(frozen=True)
class CostlyNegatives(KnockIn):
    """The way negatives are brought costs quality.

    ## What it measures
    embedfit's own settings with the author's way to bring negatives against them alone, on held-out rows. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    Negatives that are too hard are often no negatives; those that are too easy, or stale, teach nothing.

    ## What to do
    `negatives.kind = "in_batch"`, or leave a margin below the positive when mining.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - de Souza P. Moreira et al. 2024 (NV-Retriever), https://arxiv.org/abs/2407.15831
    """

    code = "NEG004"
    name = "costly-negatives"
    component = "negatives"
    needs = ("experiment.brought.relative",)
    part = "brought"
    words = "way to bring negatives"
    cure = "in-batch negatives"


@dataclass(frozen=True)
class NegativesOfTheOwnKind(Check):
    """The negatives that a row brings along belong to its own query.

    ## What it measures
    A row's own negatives, looked up among all pairs: more than {known:.0%} are known positives of their query, or
    chains of pairs (a positive of a query that shares a positive with it, and so on) lead to more than {chained:.0%} of
    them and to less than {spread:.0%} as many of the negatives of other rows. Where a run in which every row has the
    negatives of another one wins less than {gain:.0%} of the metric, they are no fault.

    ## Why it hurts
    What is pulled in one row is pushed away in the next. Nothing is left to learn.

    ## What to do
    Draw negatives from other classes or from documents that no known pair joins to the query; where they are mined,
    leave out what is known to be right.

    ## How to confirm
    Give every row the negatives of another row and train for as many steps.

    ## References
    - Qu et al. 2021 (RocketQA), https://arxiv.org/abs/2010.08191, section 3.2
    """

    code = "NEG008"
    name = "negatives-of-the-own-kind"
    component = "negatives"
    needs = ("negatives.known", "negatives.chained", "negatives.chance")
    part = "loss"

    known: float = 0.05
    chained: float = 0.25
    spread: float = 0.5
    gain: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare both shares with their limits, and ask the experiment."""
        known, chained, chance = (number(run, f"negatives.{name}") for name in ("known", "chained", "chance"))
        by_chain = chained > self.chained and chance < self.spread * chained
        value, limit = (chained, self.chained) if by_chain and known <= self.known else (known, self.known)
        statistic = Statistic(
            name="share of kin among negatives", value=value, limit=limit, n=int(find(run, "rows.seen") or 0)
        )
        told = f"{value:.0%} of the rows' own negatives belong to their query by the pairs themselves"
        if known <= self.known and not by_chain:
            return self.finding(Outcome.CLEAR, told, statistic)
        own, others = find(run, "negatives.own"), find(run, "negatives.others")
        if own is None or others is None:
            if find(run, "experiment.control.relative") is not None:
                raise NotApplicableError(f"{told}, and the program keeps up or there was no time to exchange them")
        elif not math.isfinite(others - own):
            raise NotApplicableError(f"{told}, and the run with other negatives broke")
        elif others - own < self.gain * abs(others):
            return self.finding(Outcome.CLEAR, f"{told}; harmless here ({own:.3f} -> {others:.3f})", statistic)
        else:
            told = f"{told}; with those of other rows {own:.3f} -> {others:.3f}"
        cure = Prescription(
            why="draw negatives from other classes, and leave out what is a known positive of the query"
        )
        return self.finding(Outcome.ISSUE, told, statistic, cure)


@dataclass(frozen=True)
class CostlyArchitecture(KnockIn):
    """The sizes of the towers cost quality.

    ## What it measures
    embedfit's own settings with the author's sizes of the towers against them alone, on held-out rows. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    A dimension, a vocabulary or a longest input that is too small loses what tells texts apart.

    ## What to do
    Leave `model.dimension`, `model.vocabulary`, `model.layers` and `model.max_tokens` to embedfit.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Reimers and Gurevych 2021, https://arxiv.org/abs/2012.14210
    """

    code = "MOD009"
    name = "costly-architecture"
    component = "architecture"
    needs = ("experiment.architecture.relative",)
    part = "architecture"
    words = "sizes of the towers"
    cure = "leave the sizes of the towers to embedfit"
