"""EVA, DAT, PAI: what the author's held-out metric says beside a rank metric on rows of the training data."""

from __future__ import annotations

__all__ = ["BlindMetric", "NarrowData", "UnsteadyMetric", "WorseThanHeldOut"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.checks.teacher import is_noise
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class BlindMetric(Check):
    """The held-out metric does not see what the model has learned.

    ## What it measures
    After training with the reference recipe: how much of the way from its start to 1 the author's metric went, and how
    much of that way the rank of held-back documents went on rows of the training data. The first below {blind:.0%}
    where the second is above {seeing:.0%} is a fault, and so is a metric that fell meanwhile.

    Where that metric is seen to be a mean of reciprocal ranks, and most rows of the training data differ, it is a fault
    as well to lie {behind} below the held-back rows.

    ## Why it hurts
    A metric with its labels out of step, another similarity, an old index or the wrong model calls every run bad, and
    chooses the wrong one.

    ## What to do
    Test it with oracle embeddings (each query its document's vector: the metric is 1) and with random ones.

    ## How to confirm
    Measure the rank of the own document on the same rows by hand.

    ## References
    - Musgrave, Belongie and Lim 2020, A metric learning reality check, https://arxiv.org/abs/2003.08505
    """

    code = "EVA004"
    name = "blind-metric"
    component = "evaluation"
    needs = (
        "experiment.probe",
        "experiment.reference",
        "experiment.start",
        "experiment.own_metric",
        "experiment.probe_start",
    )

    blind: float = 0.1
    seeing: float = 0.4
    behind: float = 0.3

    def examine(self, run: Run) -> Finding:
        """Compare both ways."""
        start, end = number(run, "experiment.start"), number(run, "experiment.reference")
        first, last = number(run, "experiment.probe_start"), number(run, "experiment.probe")
        seen, gone = (last - first) / max(1e-9, 1 - first), (end - start) / max(1e-9, 1 - start)
        statistic = Statistic(
            name="way gone by the author's metric",
            value=gone,
            limit=self.blind,
            n=int(find(run, "experiment.rows") or 0),
        )
        symptom = (
            f"held-back rows rise from {first:.2f} to {last:.2f}, the author's metric from {start:.3g} to {end:.3g}"
        )
        if seen < self.seeing or not 0 <= start <= 1:
            raise NotApplicableError("the reference did not learn enough to judge the metric")
        if gone > self.blind and not self._behind(run, last - end):
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="test the metric with oracle embeddings (it must say 1) and with random ones (chance)")
        return self.finding(Outcome.ISSUE, symptom, statistic, cure)

    def _behind(self, run: Run, gap: float) -> bool:
        """Whether two mean reciprocal ranks are further apart than rows of one kind can be."""
        rows = float(find(run, "rows.seen") or 0.0)
        sides = [float(find(run, f"rows.distinct_{side}") or 0.0) for side in ("queries", "documents")]
        return find(run, "evaluation.kind") == "reciprocal rank" and gap > self.behind and min(sides) > 0.5 * rows


@dataclass(frozen=True)
class UnsteadyMetric(Check):
    """The held-out metric says something else when asked again.

    ## What it measures
    The difference of two calls of the author's metric on the same weights. Above {apart} it is worth a look.

    ## Why it hurts
    Chance decides which weights are kept.

    ## What to do
    `model.eval()` and fixed rows.

    ## How to confirm
    Call it twice.

    ## References
    - Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks, https://arxiv.org/abs/2103.03098
    """

    code = "EVA005"
    name = "unsteady-metric"
    component = "evaluation"
    needs = ("evaluation.apart",)

    apart: float = 0.01

    def examine(self, run: Run) -> Finding:
        """Compare both answers."""
        value = number(run, "evaluation.apart")
        statistic = Statistic(name="difference of two calls", value=value, limit=self.apart, n=2)
        if value <= self.apart:
            return self.finding(Outcome.CLEAR, "the metric repeats itself", statistic)
        return self.finding(
            Outcome.WATCH,
            f"two calls of the metric differ by {value:.3f}",
            statistic,
            Prescription(why="call model.eval(), and evaluate the same rows every time"),
        )


@dataclass(frozen=True)
class NarrowData(Check):
    """The training rows hold few different documents, and what is learned from them does not carry over.

    ## What it measures
    The rank metric of the reference on rows of the training data that were held back, less the author's held-out
    metric, where the documents of the rows are fewer than {few:.0%} of them. Above {gap} it is a fault.

    ## Why it hurts
    The model learns to tell these documents apart and nothing about others.

    ## What to do
    More different documents; or, if the held-out ones are meant to be the same, look at how they were made.

    ## How to confirm
    Train on half of the documents: the held-out metric falls further.

    ## References
    - Musgrave, Belongie and Lim 2020, A metric learning reality check, https://arxiv.org/abs/2003.08505
    """

    code = "DAT008"
    name = "narrow-data"
    component = "data"
    needs = (
        "experiment.probe",
        "experiment.reference",
        "experiment.own_metric",
        "rows.distinct_documents",
        "rows.seen",
    )

    few: float = 0.05
    gap: float = 0.4

    def examine(self, run: Run) -> Finding:
        """Compare both metrics."""
        documents, rows = number(run, "rows.distinct_documents"), number(run, "rows.seen")
        value = number(run, "experiment.probe") - number(run, "experiment.reference")
        statistic = Statistic(
            name="rank metric on training rows less held-out metric", value=value, limit=self.gap, n=int(rows)
        )
        symptom = f"{documents:,.0f} different documents in {rows:,.0f} rows"
        if documents >= self.few * rows or value <= self.gap:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="train on more different documents")
        return self.finding(Outcome.ISSUE, f"{symptom}; what is learned from them does not carry over", statistic, cure)


@dataclass(frozen=True)
class WorseThanHeldOut(Check):
    """The pairs that are trained on fit each other worse than the held-out pairs do.

    ## What it measures
    The mean reciprocal rank on the author's held-out pairs, less that on pairs of the training data that were held
    back, after the reference recipe or the author's, whichever does better. Above {gap}, and {times} times as high, it
    is a fault, where the author's metric is seen to be a mean of reciprocal ranks and most documents of the training
    data occur once. Simple towers must do no better. Fixed vectors that look like noise are a teacher's fault (TEA002).

    ## Why it hurts
    What is learned carries over to pairs that are right, and the pairs it was learned from contradict it: they are
    shifted against each other by a few rows of a sorted file, or joined on a key that is only nearly right.

    ## What to do
    Print twenty training pairs beside twenty held-out ones. Compare how the two files were made, and their lengths.

    ## How to confirm
    Make the training pairs again in the way of the held-out ones.

    ## References
    - https://github.com/mozilla/translations/issues/272 (corpora out of step)
    """

    code = "PAI005"
    name = "worse-than-held-out"
    component = "pairing"
    needs = ("evaluation.kind", "experiment.reference", "experiment.probe", "rows.seen", "rows.distinct_documents")

    gap: float = 0.1
    times: float = 1.5

    def examine(self, run: Run) -> Finding:
        """Compare both ranks."""
        if find(run, "evaluation.kind") != "reciprocal rank":
            raise NotApplicableError("the author's metric is no mean of reciprocal ranks")
        if is_noise(run):
            raise NotApplicableError("the documents are fixed vectors and look like noise: no pairs would be right")
        held, own = max(
            (float(find(run, f"experiment.{metric}") or 0.0), float(find(run, f"experiment.{probe}") or 0.0))
            for metric, probe in (("reference", "probe"), ("author", "author_probe"))
        )
        own = max(own, float(find(run, "experiment.towers") or 0.0))
        statistic = Statistic(
            name="rank on held-out less rank on training pairs", value=held - own, limit=self.gap,
            n=int(find(run, "experiment.rows") or 0),
        )  # fmt: skip
        symptom = f"held-out pairs reach a mean reciprocal rank of {held:.2f}, pairs held back from training {own:.2f}"
        few = held - own <= self.gap or held < self.times * own
        if few or number(run, "rows.distinct_documents") < 0.5 * number(run, "rows.seen"):
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="print training pairs beside held-out ones: a shift or a join on the wrong key")
        return self.finding(Outcome.ISSUE, symptom, statistic, cure)
