"""MOD, EVA: whether the weights that are trained are those that were loaded, and those that are measured."""

from __future__ import annotations

__all__ = ["IgnoredTower", "LostWeights", "OddWeights"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class LostWeights(Check):
    """Weights of a checkpoint did not arrive in the model, or were written over.

    ## What it measures
    While the program is built, every `load_state_dict` is listened to; then the entries of the checkpoint are looked
    for in the model, by name and value. Where more than {share:.0%} of them are missing it is worth a look.

    ## Why it hurts
    `strict=False` says nothing about names that do not match, such as those that a wrapper put "module." before.
    Fine-tuning then begins with random weights, and a few small steps do not make up for that.

    ## What to do
    Print what `load_state_dict` gives back, and compare the names; initialise before loading, never after it.

    ## How to confirm
    Training with the tensors put where their names, less their first parts, and their shapes fit.

    ## References
    - https://github.com/VisualComputingInstitute/triplet-reid/issues/30
    """

    code = "MOD010"
    name = "weights-lost"
    component = "initialisation"
    needs = ("weights.lost",)
    part = "weights"

    share: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare the lost share with the limit."""
        value = number(run, "weights.lost")
        statistic = Statistic(
            name="share of the checkpoint that is lost", value=value, limit=self.share,
            n=int(find(run, "model.parameters") or 0),
        )  # fmt: skip
        if value <= self.share:
            return self.finding(Outcome.CLEAR, f"{1 - value:.0%} of the checkpoint is in the model", statistic)
        cure = Prescription(why="compare the names of the checkpoint with the model's; load after initialising")
        return self.finding(
            Outcome.ISSUE, f"{value:.0%} of the loaded checkpoint is not in the model as it is trained", statistic, cure
        )  # fmt: skip


@dataclass(frozen=True)
class OddWeights(Check):
    """Training starts from weights unlike those that the modules would draw for themselves.

    ## What it measures
    The share of the parameters whose root mean square differs by more than four times from that of a fresh draw by the
    same module, or whose rows are all alike. Above {share:.0%} it is worth a look where the towers know nothing yet; it
    is a fault where the reference learns far less from them than from fresh weights.

    ## Why it hurts
    Large weights saturate, small ones let nothing through, equal rows stay equal, and a unit whose bias is far below
    zero never fires: in all four cases gradients do not reach what they should change.

    ## What to do
    `module.reset_parameters()`, or an initialisation whose variance fits the width of the layer.

    ## How to confirm
    Training from fresh weights, everything else as it is.

    ## References
    - Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html
    - He et al. 2015, Delving deep into rectifiers, https://arxiv.org/abs/1502.01852
    """

    code = "MOD011"
    name = "odd-initial-weights"
    component = "initialisation"
    needs = ("weights.odd",)
    part = "weights"

    share: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Compare the odd share with the limit."""
        value = number(run, "weights.odd")
        statistic = Statistic(
            name="share of odd weights", value=value, limit=self.share, n=int(find(run, "model.parameters") or 0)
        )
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "the weights are as their modules would draw them", statistic)
        if float(find(run, "experiment.probe_start") or 0.0) > 3 * float(find(run, "experiment.chance") or 1.0):
            return self.finding(Outcome.CLEAR, "the weights were learned: they know something already", statistic)
        cure = Prescription(why="draw the weights anew: module.reset_parameters()")
        return self.finding(
            Outcome.WATCH, f"{value:.0%} of the initial weights are unlike those of a fresh draw", statistic, cure
        )


@dataclass(frozen=True)
class IgnoredTower(Check):
    """The held-out metric does not depend on a tower that is trained.

    ## What it measures
    After training with the reference recipe, the weights that only one side depends on are put into another order, and
    the author's metric is asked again. The same value, to the last digit, is a fault: {towers} towers may be ignored.

    ## Why it hurts
    The metric is taken from an index that was made earlier, or from another copy of the model. It does not see what
    training does, and queries of today's model are compared with documents of yesterday's.

    ## What to do
    Embed the documents anew before every evaluation, with the model that is trained; rebuild the index after training.

    ## How to confirm
    Compare one document's vector in the index with the model's.

    ## References
    - https://github.com/facebookresearch/multihop_dense_retrieval/issues/24
    """

    code = "EVA007"
    name = "ignored-tower"
    component = "evaluation"
    needs = ("evaluation.ignored", "experiment.own_metric")

    towers: int = 0

    def examine(self, run: Run) -> Finding:
        """Look at what is ignored."""
        ignored = list(find(run, "evaluation.ignored"))
        statistic = Statistic(
            name="towers without influence on the metric", value=float(len(ignored)), limit=float(self.towers), n=2
        )
        if len(ignored) <= self.towers:
            return self.finding(Outcome.CLEAR, "the metric depends on both towers", statistic)
        cure = Prescription(why="embed with the model as it is now at every evaluation: rebuild the index")
        return self.finding(
            Outcome.ISSUE,
            f"the metric does not depend on the {' or the '.join(ignored)} tower",
            statistic,
            cure,
        )
