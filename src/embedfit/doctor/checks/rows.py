"""DAT: the rows of a program: in which unit they are, how many differ, and in which vocabulary they are written."""

from __future__ import annotations

__all__ = ["FewDifferentRows", "ForeignVocabulary", "UnscaledInputs"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class UnscaledInputs(Check):
    """One column of the inputs drowns the others.

    ## What it measures
    The share of the squared length of the input vectors that their largest coordinate has. Above {share:.0%} it is
    tried what that costs: the author's program is trained on its rows as they are, and on rows with zero mean and unit
    spread in every coordinate. A gain in the rank of rows held back above {some:.0%} is worth a look, above {most:.0%}
    a fault.

    What looks alike: inputs with a loud column and a network that takes it off by itself (a first batch norm) gain
    nothing, and are clear.

    ## Why it hurts
    A column in another unit (a price in cents, a time stamp) makes all rows alike, and the steps that fit it are far
    too small for the others.

    ## What to do
    Subtract the mean and divide by the spread of the training rows, column by column, at training and at serving.

    ## How to confirm
    Print mean and spread of each column.

    ## References
    - LeCun, Bottou, Orr and Mueller 1998, Efficient backprop, section 4.3, https://doi.org/10.1007/3-540-49430-8_2
    """

    code = "DAT010"
    name = "unscaled-inputs"
    component = "data"
    needs = ("inputs.loudest",)

    share: float = 0.5
    some: float = 0.05
    most: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Look at the loudest coordinate, and at what it costs."""
        value = number(run, "inputs.loudest")
        statistic = Statistic(name="share of the loudest coordinate", value=value, limit=self.share,
                              n=int(find(run, "rows.seen") or 0))  # fmt: skip
        raw, scaled = find(run, "scaled.raw"), find(run, "scaled.standard")
        told = f"one column has {value:.0%} of the squared length of the inputs"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "no column of the inputs drowns the others", statistic)
        cure = Prescription(why="subtract the mean and divide by the spread of each column of the training rows")
        if raw is None or scaled is None:
            return self.finding(Outcome.WATCH, told, statistic, cure)
        gain = float(scaled) / max(1e-9, float(raw)) - 1
        told = f"{told}; with standardised columns, held-back rows go from {float(raw):.3f} to {float(scaled):.3f}"
        if gain <= self.some:
            return self.finding(Outcome.CLEAR, f"{told}: harmless here", statistic)
        return self.finding(Outcome.ISSUE if gain > self.most else Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class FewDifferentRows(Check):
    """The batches hold the same few pairs over and over.

    ## What it measures
    Different pairs of query and document as a share of the rows of the batches. Below {share:.0%} it is worth a look;
    it is a fault if these rows are learned by heart as well: after the author's training, the rank metric of rows that
    were trained on is at least {known:.0%}, and {gap} above that of the held-out rows.

    What looks alike: clicks repeat themselves, and a repeated click says something; rows that repeat and carry over to
    new ones are no fault.

    ## Why it hurts
    What is learned are these rows. In a batch, a copy of a pair is its own negative.

    ## What to do
    Look at the query that made the table, and at the loop: an iterator made anew at every step gives the first batches
    of the file again and again.

    ## How to confirm
    Count different rows in what the loop iterates over.

    ## References
    - Lee et al. 2022, Deduplicating training data makes language models better, https://arxiv.org/abs/2107.06499
    """

    code = "DAT011"
    name = "few-different-rows"
    component = "data"
    needs = ("rows.pairs", "rows.seen")

    share: float = 0.5
    known: float = 0.8
    gap: float = 0.3

    def examine(self, run: Run) -> Finding:
        """Count different rows; look at how well they are known."""
        pairs, seen = number(run, "rows.pairs"), number(run, "rows.seen")
        value = pairs / max(1.0, seen)
        statistic = Statistic(name="different pairs / rows", value=value, limit=self.share, n=int(seen))
        told = f"{pairs:,.0f} different pairs in {seen:,.0f} rows"
        if value >= self.share:
            return self.finding(Outcome.CLEAR, told, statistic)
        trained = float(find(run, "overfit.train") or 0.0)
        held = [find(run, f"experiment.{name}") for name in ("author", "author_probe")]
        new = min([float(x) for x in held if x is not None and x == x] or [1.0])
        cure = Prescription(why="train on more different rows; make the iterator once and not at every step")
        if trained < self.known or trained - new <= self.gap:
            return self.finding(Outcome.WATCH, told, statistic, cure)
        told = f"{told}: they are known by heart ({trained:.2f}), and new ones are not ({new:.2f})"
        return self.finding(Outcome.ISSUE, told, statistic, cure)


@dataclass(frozen=True)
class ForeignVocabulary(Check):
    """The ids of the inputs are not those that the pretrained word vectors were trained with.

    ## What it measures
    Words about one thing have vectors that are alike: how much more alike the word vectors of one text are, or those of
    all texts about one document, than those of words dealt anew, in standard errors, over words that not many texts
    have, whichever is more. Below {least}
    it is a fault, if the rows themselves show that their words keep company: vectors learned from one half of the texts
    find words of one text alike in the other half by more than {company} standard errors.

    Asked only of tables whose vectors have a common direction, which fresh ones have not. What looks alike: names and
    numbers keep no company by any vectors, and are left out by the second condition.

    ## Why it hurts
    Every word is read as another one. Training still moves, since equal words stay equal, and all that the checkpoint
    knew is lost: the model ends near one from scratch.

    ## What to do
    Load the tokenizer from the folder of the weights; look for a vocabulary that was extended, sorted or cached.

    ## How to confirm
    Print the pieces of three texts by the model's own tokenizer beside the ids that the batches hold.

    ## References
    - Harris 1954, Distributional structure, https://doi.org/10.1080/00437956.1954.11659520
    """

    code = "DAT012"
    name = "foreign-vocabulary"
    component = "tokenizer"
    needs = ("vocabulary.z", "vocabulary.data_z", "vocabulary.things")

    least: float = 2.5
    company: float = 3.0

    def examine(self, run: Run) -> Finding:
        """Compare the company that words keep with what the table says of them."""
        value, data = number(run, "vocabulary.z"), number(run, "vocabulary.data_z")
        n = int(number(run, "vocabulary.things"))
        statistic = Statistic(
            name="likeness of words about one thing, standard errors", value=value, limit=self.least, n=n
        )
        if value >= self.least or data <= self.company:
            return self.finding(
                Outcome.CLEAR, "words about one thing have related vectors, or keep no company", statistic
            )
        cure = Prescription(why="load the tokenizer that belongs to the weights")
        told = (
            f"words of one text are related in the data ({data:.0f} standard errors), and their pretrained vectors "
            f"know nothing of it ({value:.1f})"
        )
        return self.finding(Outcome.ISSUE, told, statistic, cure)
