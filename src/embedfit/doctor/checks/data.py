"""DAT: what the audit knows of the rows."""

from __future__ import annotations

__all__ = [
    "ClassOrderedRows",
    "ConflictingLabels",
    "DuplicateRows",
    "ManyTinyClasses",
    "TrainDevLeakage",
    "TruncatedTexts",
]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class DuplicateRows(Check):
    """Many rows repeat an earlier row.

    ## What it measures
    The share of rows that equal an earlier row in every column. Above {share:.0%} it is worth a look.

    ## Why it hurts
    A repeated row counts as often as it occurs, whether or not it matters that often, and the copies fill batches with
    cells that are masked because they are no negatives: fewer real negatives per step. Copies that fall on both sides
    of a split would also inflate the held-out metric; embedfit's own split keeps them together.

    ## What to do
    Remove the copies, or keep one of each with its count in a `weight` column if the frequency is meant.

    ## How to confirm
    Train on the rows without copies for as many steps; the held-out metric rises or stays.

    ## References
    - Lee et al. 2022, Deduplicating training data makes language models better, https://arxiv.org/abs/2107.06499
    """

    code = "DAT001"
    name = "duplicate-rows"
    component = "data"
    needs = ("data.rows", "data.duplicate_rows")
    advisory = True

    share: float = 0.05

    def examine(self, run: Run) -> Finding:
        """Compare the share of repeated rows with the limit."""
        rows, repeated = int(number(run, "data.rows")), int(number(run, "data.duplicate_rows"))
        value = repeated / max(1, rows)
        statistic = Statistic(name="share of repeated rows", value=value, limit=self.share, n=rows)
        symptom = f"{repeated:,} of {rows:,} rows ({value:.1%}) repeat an earlier row exactly"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="keep one row of each, with a `weight` column if the frequency is meant")
        return self.finding(Outcome.WATCH, symptom, statistic, cure)


@dataclass(frozen=True)
class ConflictingLabels(Check):
    """The same text carries different labels.

    ## What it measures
    The share of distinct texts that occur with two labels, or with positives that contradict each other. Above
    {share:.0%} it is worth a look.

    ## Why it hurts
    Of two labels on one text at least one is wrong or both are right. A model that can give one answer is punished in
    either case: accuracy is capped, and the loss keeps pulling the text towards two places.

    ## What to do
    `embedfit audit` lists the texts. Decide for one label, merge classes that mean the same, or give the text both
    labels on purpose.

    ## How to confirm
    Train without these texts for as many steps; the metric on the other texts rises.

    ## References
    - Northcutt, Athalye and Mueller 2021, Pervasive label errors in test sets, https://arxiv.org/abs/2103.14749
    """

    code = "DAT002"
    name = "conflicting-labels"
    component = "data"
    needs = ("data.texts", "data.conflicting_texts")

    share: float = 0.01

    def examine(self, run: Run) -> Finding:
        """Compare the share of contradicted texts with the limit."""
        texts, conflicting = int(number(run, "data.texts")), int(number(run, "data.conflicting_texts"))
        value = conflicting / max(1, texts)
        statistic = Statistic(name="share of contradicted texts", value=value, limit=self.share, n=texts)
        symptom = f"{conflicting:,} of {texts:,} texts ({value:.1%}) carry labels that contradict each other"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(
            why="`embedfit audit` lists the texts; decide for one label, or merge classes that mean the same"
        )
        return self.finding(Outcome.WATCH, symptom, statistic, cure)


@dataclass(frozen=True)
class ClassOrderedRows(Check):
    """Rows stand in the order of their classes and are not shuffled.

    ## What it measures
    How much likelier neighbouring rows share a class than random rows do: 0 for rows in random order, 1 for rows sorted
    by class. Above {limit} in a run that does not draw rows at random it is worth a look.

    ## Why it hurts
    A batch of neighbouring rows then holds few classes: its negatives are all of one kind, or are no negatives at all.
    The model learns what tells apart texts within the batch, forgets it in the next, and never sees most contrasts.

    ## What to do
    Draw the rows at random. embedfit's own training always does; in a loop of your own, `DataLoader(shuffle=True)`.
    Where batches of one topic are meant (hard negatives), mix them with random ones.

    ## How to confirm
    Train with and without shuffling from the same start for as many steps and compare the held-out metric.

    ## References
    - Bengio 2012, Practical recommendations for gradient-based training, https://arxiv.org/abs/1206.5533
    """

    code = "DAT003"
    name = "class-ordered-rows"
    component = "order"
    needs = ("data.rows", "data.order_autocorrelation")

    limit: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare the excess of like neighbours with the limit, unless rows are drawn at random."""
        value, rows = number(run, "data.order_autocorrelation"), int(number(run, "data.rows"))
        statistic = Statistic(name="excess of neighbours of one class", value=value, limit=self.limit, n=rows)
        if value <= self.limit:
            return self.finding(
                Outcome.CLEAR, f"neighbouring rows are hardly more alike than random ones ({value:.2f})", statistic
            )
        sorted_rows = f"rows stand in the order of their classes (excess of like neighbours {value:.2f})"
        shuffled = find(run, "train.shuffled")
        if shuffled:
            return self.finding(Outcome.CLEAR, f"{sorted_rows}; training draws them at random", statistic)
        unknown = "" if shuffled is False else ", and it is not known whether training shuffles them"
        cure = Prescription(
            why="draw the rows at random: DataLoader(shuffle=True); embedfit's own training always does"
        )
        return self.finding(Outcome.WATCH, sorted_rows + unknown, statistic, cure)


@dataclass(frozen=True)
class TrainDevLeakage(Check):
    """Held-out queries also occur in the training rows.

    ## What it measures
    The share of held-out rows whose query text, after normalisation, is also the query of a training row. Above
    {share:.0%} the held-out metric is not one.

    ## Why it hurts
    The metric rewards memory. It chooses the wrong model, stops training at the wrong time, and promises what users
    will not see.

    ## What to do
    Let embedfit split the rows (it keeps a query and its copies on one side), or remove from the held-out file what
    is also in the training files.

    ## How to confirm
    Measure the metric on the held-out rows without the shared ones; it falls.

    ## References
    - Lewis, Stenetorp and Riedel 2021, Question and answer test-train overlap, https://arxiv.org/abs/2008.02637
    """

    code = "DAT004"
    name = "train-dev-leakage"
    component = "evaluation"
    needs = ("data.leakage",)

    share: float = 0.01

    def examine(self, run: Run) -> Finding:
        """Compare the share of shared queries with the limit; above it, that is a fact."""
        value, rows = number(run, "data.leakage"), int(find(run, "queries") or 0)
        statistic = Statistic(name="share of held-out rows seen in training", value=value, limit=self.share, n=rows)
        symptom = f"{value:.1%} of the held-out queries are also training queries"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        files = run.recipe.data.dev_files
        cure = Prescription(
            why="let embedfit hold rows out: it keeps a query and its copies on one side" if files else
            "take the shared queries out of one side; embedfit's own split keeps copies together",
            change={"data.dev_files": [], "data.dev": 0.1} if files else {},
        )  # fmt: skip
        return self.finding(Outcome.ISSUE, symptom, statistic, cure)


@dataclass(frozen=True)
class TruncatedTexts(Check):
    """Many texts are longer than the tower reads.

    ## What it measures
    The share of texts that are cut at the longest input of the tower. Above {share:.0%} it is worth a look.

    ## Why it hurts
    What is cut off cannot be learned. Texts that differ only behind the cut become equal, and each is then a false
    negative of the other.

    ## What to do
    Raise `model.max_tokens` as far as the encoder allows; otherwise put what matters first (title, question), or divide
    long documents into passages.

    ## How to confirm
    Train with twice the length for as many steps; the held-out metric rises.

    ## References
    - Dai and Callan 2019, Deeper text understanding for IR, https://arxiv.org/abs/1905.09217
    """

    code = "DAT005"
    name = "truncated-texts"
    component = "tokenizer"
    needs = ("data.truncated_share",)
    advisory = True

    share: float = 0.05

    def examine(self, run: Run) -> Finding:
        """Compare the share of cut texts with the limit."""
        value, texts = number(run, "data.truncated_share"), int(find(run, "data.texts") or 0)
        longest = find(run, "chosen.max_tokens") or run.recipe.model.max_tokens
        known = isinstance(longest, int)
        statistic = Statistic(name="share of cut texts", value=value, limit=self.share, n=texts)
        symptom = f"{value:.1%} of the texts are cut" + (f" at {longest} tokens" if known else "")
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(
            why="read more of each text, as far as the encoder allows; or put what matters first",
            change={"model.max_tokens": 2 * longest} if known else {},
        )
        return self.finding(Outcome.WATCH, symptom, statistic, cure)


@dataclass(frozen=True)
class ManyTinyClasses(Check):
    """Most classes have too few examples to learn a prototype of their own.

    ## What it measures
    The share of classes with at most 3 examples, where each class has a trained vector (the `prototypes` objective).
    Above {share:.0%} it is worth a look.

    ## Why it hurts
    A class vector is learned from the examples of its class alone. With one to three of them it lands on these
    examples, and the next question of the class lies elsewhere.

    ## What to do
    Compare texts with texts: `loss.kind = "infonce"` pairs examples of a class, and with its standard question where
    there is one. What is learned is then shared by all classes.

    ## How to confirm
    Train with either objective for as many steps; compare accuracy on the small classes.

    ## References
    - Snell, Swersky and Zemel 2017, Prototypical networks for few-shot learning, https://arxiv.org/abs/1703.05175
    """

    code = "DAT006"
    name = "many-tiny-classes"
    component = "data"
    needs = ("data.classes", "data.classes_at_most_3")
    advisory = True

    share: float = 0.5

    def examine(self, run: Run) -> Finding:
        """Compare the share of tiny classes with the limit, where classes have prototypes."""
        value, classes = number(run, "data.classes_at_most_3"), int(number(run, "data.classes"))
        loss = find(run, "chosen.loss")
        statistic = Statistic(name="share of classes with at most 3 examples", value=value, limit=self.share, n=classes)
        symptom = f"{value:.0%} of the {classes:,} classes have at most 3 examples"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        if loss not in (None, "prototypes"):
            return self.finding(Outcome.CLEAR, f"{symptom}; '{loss}' compares texts, not class vectors", statistic)
        cure = Prescription(why="learn from pairs of texts, not one vector per class", change={"loss.kind": "infonce"})
        return self.finding(Outcome.WATCH, symptom, statistic, cure)
