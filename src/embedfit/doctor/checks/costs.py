"""What each part of a program costs, measured: the reference with one part of the author's, against the reference."""

from __future__ import annotations

__all__ = [
    "CostlyDropout", "CostlyFreezing", "CostlyLoss", "CostlyMode", "CostlyOptimiser", "CostlyOrder", "CostlyPrecision",
]  # fmt: skip

from dataclasses import dataclass

from embedfit.doctor.checks.knock_in import KnockIn


@dataclass(frozen=True)
class CostlyLoss(KnockIn):
    """The loss teaches the towers less than the reference loss does.

    ## What it measures
    The reference recipe with the author's loss
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    Objectives differ in what they ask for. A loss that asks for something else than the order of documents, or that
    sees few or no negatives, leaves the order to chance.

    ## What to do
    Symmetric InfoNCE with a temperature of .05 over cosines of the batch, equal documents masked; or look at the other
    findings about the loss.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - van den Oord et al. 2018, https://arxiv.org/abs/1807.03748
    """

    code = "LOS011"
    name = "costly-loss"
    component = "loss"
    needs = ("experiment.loss.relative",)
    part = "loss"
    words = "loss"
    cure = "use symmetric InfoNCE over cosines at temperature .05"


@dataclass(frozen=True)
class CostlyOptimiser(KnockIn):
    """The author's update learns less in as many steps than the reference's.

    ## What it measures
    The reference recipe with the author's update (optimiser, rate, schedule, clipping)
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    A learning rate far off, a schedule for another number of steps, a clip or a decay that undoes each step: the
    weights do not get where the gradient points.

    ## What to do
    AdamW with warm-up over a tenth of the steps, decay to zero and a learning rate from a ladder of short runs.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Smith 2017 (the range test), https://arxiv.org/abs/1506.01186
    """

    code = "OPT010"
    name = "costly-optimiser"
    component = "optimiser"
    needs = ("experiment.optimiser.relative",)
    part = "optimiser"
    words = "update (optimiser, rate, schedule, clipping)"
    cure = "AdamW with warm-up and decay, and a learning rate from a ladder"


@dataclass(frozen=True)
class CostlyFreezing(KnockIn):
    """Training only the parameters that the author trains costs quality.

    ## What it measures
    The reference recipe with the author's choice of trained parameters
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    What stands still cannot adapt to what moves.

    ## What to do
    Give the optimiser all parameters, or declare the freezing if it is meant.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Howard and Ruder 2018 (gradual unfreezing), https://arxiv.org/abs/1801.06146
    """

    code = "MOD006"
    name = "costly-freezing"
    component = "optimiser"
    needs = ("experiment.trainable.relative",)
    part = "trainable"
    words = "choice of trained parameters"
    cure = "train all parameters"


@dataclass(frozen=True)
class CostlyOrder(KnockIn):
    """The order in which rows come costs quality.

    ## What it measures
    The reference recipe with the author's order of rows
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    Rows of one class or topic in a batch make negatives of one kind, or false ones; what one stretch of the data
    teaches, the next one overwrites.

    ## What to do
    Draw the rows at random: `DataLoader(shuffle=True)`. Where batches of one topic are meant, mix them with random
    ones.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Bengio 2012, https://arxiv.org/abs/1206.5533
    """

    code = "DAT007"
    name = "costly-order"
    component = "order"
    needs = ("experiment.order.relative",)
    part = "order"
    words = "order of rows"
    cure = "draw the rows at random: DataLoader(shuffle=True)"


@dataclass(frozen=True)
class CostlyDropout(KnockIn):
    """Dropout takes more than it gives.

    ## What it measures
    The reference recipe with the author's dropout
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    What is dropped cannot be learned; at high rates two passes of the same row hardly resemble each other.

    ## What to do
    Dropout of 0 to .1.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """

    code = "MOD007"
    name = "costly-dropout"
    component = "regularisation"
    needs = ("experiment.regularisation.relative",)
    part = "regularisation"
    words = "dropout"
    cure = "dropout of .1 or none"


@dataclass(frozen=True)
class CostlyPrecision(KnockIn):
    """Sixteen bits cost quality.

    ## What it measures
    The reference recipe with the author's number format
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    Cosines that differ by less than 1/256 are equal in bfloat16, gradients below 6e-8 are zero in float16.

    ## What to do
    Keep normalisation, similarities and the loss in fp32; bfloat16 for the towers alone.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740
    """

    code = "NUM003"
    name = "costly-precision"
    component = "precision"
    needs = ("experiment.precision.relative",)
    part = "precision"
    words = "number format"
    cure = "similarities, normalisation and loss in fp32"


@dataclass(frozen=True)
class CostlyMode(KnockIn):
    """The modes of the author's modules cost quality.

    ## What it measures
    The reference recipe with the author's modes
    against the reference alone, on held-out rows, from the same initial weights, batches and random numbers. A loss of
    more than {share:.0%} of the metric is worth a look, more than {breaks:.0%} is a fault.

    ## Why it hurts
    Layers that evaluate while they train normalise by statistics that never move.

    ## What to do
    `model.train()` before each training step.

    ## How to confirm
    The finding is an experiment; the prescription was tried if it says so.

    ## References
    - Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167
    """

    code = "MOD008"
    name = "costly-mode"
    component = "mode"
    needs = ("experiment.mode.relative",)
    part = "mode"
    words = "modes"
    cure = "call model.train() before each training step"
