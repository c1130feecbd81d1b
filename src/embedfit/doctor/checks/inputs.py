"""MOD: whether an embedding depends on its own input, on all of it, and on nothing else."""

from __future__ import annotations

__all__ = ["BatchDependence", "PaddingDependence", "UnreadInputs"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run

SIDES = ("query", "document")


@dataclass(frozen=True)
class BatchDependence(Check):
    """The embedding of a row depends on what else is in its batch, or on its place there.

    ## What it measures
    1 minus the cosine of a row's embedding among a few with the same row's in a full batch, and of its embeddings at
    two places of the batch, in evaluation mode. Above {apart} it is a fault.

    ## Why it hurts
    An index and a query are never embedded in the batch of training: attention to padding, pooling over it, or
    statistics of the batch change every embedding. An embedding that depends on its place alone is another row's: a
    batch was sorted and not put back.

    ## What to do
    Hand the attention mask to the encoder and to the pooling; find the last token by it; no batch statistics in
    evaluation mode; undo the order in which sequences were packed.

    ## How to confirm
    Embed the same text alone and among longer ones: the cosine is 1.

    ## References
    - Ioffe and Szegedy 2015, Batch normalization, https://arxiv.org/abs/1502.03167
    """

    code = "MOD002"
    name = "batch-dependence"
    component = "architecture"
    needs = ("mode.batch_dependence",)

    apart: float = 0.001

    def examine(self, run: Run) -> Finding:
        """Compare the embeddings."""
        among, place = number(run, "mode.batch_dependence"), float(find(run, "mode.place_dependence") or 0.0)
        value, moved = max(among, place), place > self.apart >= among
        words = "at two places of a batch" if moved else "among a few rows and in a batch"
        statistic = Statistic(name=f"1 - cosine, {words}", value=value, limit=self.apart, n=4)
        if value <= self.apart:
            return self.finding(Outcome.CLEAR, "a row has the same embedding in every batch", statistic)
        if moved:
            told = f"a row's embedding changes with its place in the batch (1 - cosine {value:.2g})"
            cure = Prescription(why="put rows back into their order after sorting or packing them")
        else:
            told = f"a row's embedding changes with its batch (1 - cosine {value:.2g})"
            cure = Prescription(
                why="hand the attention mask to encoder and pooling; no batch statistics when evaluating"
            )
        return self.finding(Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class PaddingDependence(Check):
    """The embedding of a row depends on how far it is padded.

    ## What it measures
    The shortest rows are embedded as they are and again without the padding that longer rows brought, in evaluation
    mode: 1 minus the cosine, at worst. Above {apart} it is a fault. Padding is found in the batches: a value that fills
    the ends of rows to various lengths and hardly occurs before them; without such a column, nothing is said. A tower
    with a mask passes whatever it is made of: sums over other lengths differ by 1e-6.

    ## Why it hurts
    The same text has one embedding in a batch of short texts and another in one of long texts, and a third when it is
    served alone. Pooling over padding pulls short texts towards one point.

    ## What to do
    Hand the attention mask to the encoder and to the pooling, divide a mean by the number of real tokens, take the last
    real token and not the last one, pack sequences before a network that reads backwards.

    ## How to confirm
    Embed a short text with and without padding: the cosine is 1. If rows are always padded to one length, at training
    and at serving, little is lost.

    ## References
    - Dwarampudi and Reddy 2019, Effects of padding on LSTMs and CNNs, https://arxiv.org/abs/1903.07288
    """

    code = "MOD014"
    name = "padding-dependence"
    component = "architecture"
    needs = ("mode.padding_dependence",)
    part = "towers"

    apart: float = 0.001

    def examine(self, run: Run) -> Finding:
        """Compare both embeddings."""
        value = number(run, "mode.padding_dependence")
        statistic = Statistic(name="1 - cosine, with and without padding", value=value, limit=self.apart, n=4)
        if value <= self.apart:
            return self.finding(Outcome.CLEAR, "padding changes no embedding", statistic)
        cure = Prescription(why="hand the attention mask to encoder and pooling, and divide means by real tokens")
        told = f"a short row has another embedding without its padding (1 - cosine {value:.2g})"
        return self.finding(Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class UnreadInputs(Check):
    """A tower does not read its inputs.

    ## What it measures
    Two things. Of the different inputs of a side, the share whose embedding before training is that of another input,
    up to rounding: above {some:.0%} it is worth a look, above {most:.0%} a fault.

    And, where the program falls short and no part explains it: how far the loss falls in some steps if every row has
    the same query, or the same document, as a share of its fall on the rows as they are. Above {share:.0%} it is worth
    a look, if the loss falls by {fall:.0%} at all: the model does no better than one that is blind on this side.

    What looks alike: inputs that are equal already when they arrive (cut short, unknown words) are no fault of the
    towers, and are counted once; a bag of words may give two orders of the same words one embedding, which is few.

    ## Why it hurts
    Nothing can be found by an embedding that does not depend on what is embedded. Its loss is that of a collapsed
    model: the level of constant inputs.

    ## What to do
    Look at the mask (all zero, or inverted), at the column that is fed, at units that never fire, at ids cut to their
    first token inside of the model.

    ## How to confirm
    Embed two different inputs: the embeddings differ.

    ## References
    - Karpathy 2019, A recipe for training neural networks (input-independent baseline),
      https://karpathy.github.io/2019/04/25/recipe/
    """

    code = "MOD013"
    name = "unread-inputs"
    component = "architecture"
    needs = ("start.query_alike", "start.document_alike")

    some: float = 0.1
    most: float = 0.5
    share: float = 0.95
    fall: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Look at embeddings that coincide, then at what constant inputs cost."""
        value, side = max((number(run, f"start.{side}_alike"), side) for side in SIDES)
        statistic = Statistic(name="different inputs with the embedding of another", value=value, limit=self.some,
                              n=int(find(run, "experiment.rows") or 0))  # fmt: skip
        cure = Prescription(why="look at the mask, at the column that is fed, and at units that never fire")
        if value > self.some:
            outcome = Outcome.ISSUE if value > self.most else Outcome.WATCH
            told = f"before training, {value:.0%} of the different {_plural(side)} have the embedding of another one"
            return self.finding(outcome, told, statistic, cure)
        shares = self._blind(run)
        if shares and max(shares)[0] > self.share:
            blind, side = max(shares)
            statistic = Statistic(name="fall of the loss, constant inputs / rows", value=blind, limit=self.share, n=2)
            level = find(run, "constant.level")
            beside = "" if level is None else f"; an untrained model with constant inputs has {float(level):.3g}"
            told = f"the loss falls to {number(run, f'constant.{side}'):.3g} with the same {side} in every row, and to "
            return self.finding(
                Outcome.WATCH,
                f"{told}{number(run, 'constant.real'):.3g} on the rows as they are{beside}",
                statistic,
                cure,
            )
        return self.finding(Outcome.CLEAR, "different inputs have different embeddings", statistic)

    def _blind(self, run: Run) -> list[tuple[float, str]]:
        """Fall of the loss with one side constant, as a share of its fall on the rows."""
        start, real = find(run, "constant.start"), find(run, "constant.real")
        if start is None or real is None or start - real < self.fall * abs(start):
            return []
        return [((start - number(run, f"constant.{side}")) / (start - real), side) for side in SIDES]


def _plural(side: str) -> str:
    return "queries" if side == "query" else "documents"
