"""MOD: modes, and what the towers can express."""

from __future__ import annotations

__all__ = ["Bottleneck", "OneSidedOutput", "WeakTowers", "WrongMode"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class WrongMode(Check):
    """Modules evaluate while they should train, or train while they are evaluated.

    ## What it measures
    The share of the dropout and normalisation layers that were in evaluation mode during a training step. Above
    {share:.0%} it is worth a look. The other way round, any layer that trains during the author's evaluation is.

    ## Why it hurts
    Normalisation by statistics that never move is none; dropout during evaluation blurs every embedding.

    ## What to do
    `model.train()` before each training step, `model.eval()` before each evaluation.

    ## How to confirm
    Training with all modules in training mode.

    ## References
    - Ioffe and Szegedy 2015, Batch normalization, https://arxiv.org/abs/1502.03167
    """

    code = "MOD001"
    name = "wrong-mode"
    component = "mode"
    needs = ("mode.evaluating",)
    part = "mode"

    share: float = 0.0

    def examine(self, run: Run) -> Finding:
        """Look at the modes that were met."""
        value = number(run, "mode.evaluating")
        statistic = Statistic(
            name="layers evaluating in a training step",
            value=value,
            limit=self.share,
            n=int(find(run, "trace.rows") or 0),
        )
        if find(run, "evaluation.training"):
            cure = Prescription(why="call model.eval() before evaluating")
            return self.finding(
                Outcome.WATCH,
                "layers train (dropout, running statistics) while the author's metric is taken",
                statistic,
                cure,
            )
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "modules train while they are trained", statistic)
        cure = Prescription(why="call model.train() before each training step")
        return self.finding(
            Outcome.WATCH, f"{value:.0%} of the layers with a mode evaluate during a training step", statistic, cure
        )


@dataclass(frozen=True)
class OneSidedOutput(Check):
    """The last layer lets only positive values through.

    ## What it measures
    The lowest coordinate of all embeddings of the probe, both sides. Not below {lowest} means a ReLU, a sigmoid or the
    like at the end; cosines are then never negative.

    ## Why it hurts
    Negatives can be pushed to a right angle at best, a sigmoid's not even so far: all cosines stay high and margins
    cannot be reached.

    ## What to do
    A linear last layer.

    ## How to confirm
    Reference towers on the same rows do much better.

    ## References
    - Wang and Isola 2020, Alignment and uniformity, https://arxiv.org/abs/2005.10242
    """

    code = "MOD003"
    name = "one-sided-output"
    component = "architecture"
    needs = ("start.query_lowest", "start.document_lowest")
    part = "towers"

    lowest: float = 0.0

    def examine(self, run: Run) -> Finding:
        """Look at the lowest coordinate."""
        value = max(number(run, "start.query_lowest"), number(run, "start.document_lowest"))
        statistic = Statistic(
            name="lowest coordinate", value=value, limit=self.lowest, n=int(find(run, "trace.rows") or 0)
        )
        if value < self.lowest:
            return self.finding(Outcome.CLEAR, "embeddings point into all directions", statistic)
        cure = Prescription(why="end with a linear layer, without ReLU or sigmoid")
        return self.finding(Outcome.WATCH, "no coordinate of an embedding is ever negative", statistic, cure)


@dataclass(frozen=True)
class Bottleneck(Check):
    """The embeddings pass through fewer directions than they have.

    ## What it measures
    The effective rank of the embeddings after training with the reference recipe, as a share of what even directions
    would have. Below {share:.0%} it is worth a look.

    ## Why it hurts
    A layer of few units, or two linear layers in a row with few between them, leave no room to tell rows apart,
    however long training lasts.

    ## What to do
    Widen the narrow layer.

    ## How to confirm
    Reference towers on the same rows do much better.

    ## References
    - Jing et al. 2022, Understanding dimensional collapse, https://arxiv.org/abs/2110.09348
    """

    code = "MOD004"
    name = "bottleneck"
    component = "architecture"
    needs = ("experiment.rank",)
    part = "towers"

    share: float = 0.25

    def examine(self, run: Run) -> Finding:
        """Compare the rank with the limit."""
        value = number(run, "experiment.rank")
        statistic = Statistic(
            name="effective rank / even directions",
            value=value,
            limit=self.share,
            n=int(find(run, "experiment.rows") or 0),
        )
        if value >= self.share:
            return self.finding(
                Outcome.CLEAR,
                f"trained by the reference recipe, embeddings fill {value:.0%} of their directions",
                statistic,
            )
        cure = Prescription(why="widen the narrowest layer before the output")
        return self.finding(
            Outcome.WATCH,
            f"even trained by the reference recipe, embeddings fill {value:.0%} of their directions",
            statistic,
            cure,
        )


@dataclass(frozen=True)
class WeakTowers(Check):
    """The author's towers cannot learn what simple towers learn from the same rows.

    ## What it measures
    The reference recipe with the author's towers against the same with simple towers of its own on the same inputs, on
    rows held back. A loss above {share:.0%} is a fault; above {slower:.0%} it is worth a look.

    ## Why it hurts
    No recipe repairs towers that lose what they are given: a pooling that reads padding, a layer that is dead or too
    narrow, inputs that are never used, initial weights that saturate everything.

    ## What to do
    Look at the other findings on the architecture; embed three very different rows and compare.

    ## How to confirm
    Replace one layer after the other by a linear one.

    ## References
    - Glorot and Bengio 2010, Understanding the difficulty of training deep networks,
      https://proceedings.mlr.press/v9/glorot10a.html
    """

    code = "MOD005"
    name = "weak-towers"
    component = "architecture"
    needs = ("experiment.towers", "experiment.probe", "experiment.chance")
    part = "towers"

    share: float = 0.5
    slower: float = 0.25

    def examine(self, run: Run) -> Finding:
        """Compare both towers."""
        own, simple, chance = (number(run, f"experiment.{name}") for name in ("probe", "towers", "chance"))
        if simple < 4 * chance:
            raise NotApplicableError("simple towers learn nothing either")
        value = 1 - own / simple
        statistic = Statistic(
            name="loss against simple towers", value=value, limit=self.share, n=int(find(run, "experiment.rows") or 0)
        )
        symptom = f"simple towers reach {simple:.3f} on the same rows, the author's {own:.3f}, by the same recipe"
        if value <= self.slower:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="look at pooling, dead or narrow layers, unused inputs, initial weights")
        return self.finding(Outcome.ISSUE if value > self.share else Outcome.WATCH, symptom, statistic, cure)
