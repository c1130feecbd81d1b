"""NEG, MOD: what the treatment of negatives and the sizes of the towers cost, measured."""

from __future__ import annotations

__all__ = ["CostlyArchitecture", "CostlyNegatives", "UnmaskedNegatives"]

from dataclasses import dataclass

from embedfit.doctor.checks.knock_in import KnockIn


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
