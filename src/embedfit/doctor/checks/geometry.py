"""GEO: what the cloud of embeddings looks like."""

from __future__ import annotations

__all__ = ["DimensionalCollapse", "OneDirection"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, late, values
from embedfit.run import Run


@dataclass(frozen=True)
class DimensionalCollapse(Check):
    """The embeddings fill few of the directions they were given.

    ## What it measures
    The effective rank of a batch of query embeddings (exponential of the entropy of the singular values, centred) as
    a share of the rank that even directions would have in a sample of that size; median of the last {window} readings.
    Below {share:.0%} it is worth a look. K classes need only K - 1 directions, and the limit is lowered to that.

    ## Why it hurts
    Directions that carry nothing cannot tell texts apart. The index stores and searches them all the same.

    ## What to do
    Look for a narrow layer before the output; raise the temperature a little, or add negatives of other kinds. If the
    metric is good, choose a smaller `model.dimension` and save the memory.

    ## How to confirm
    Train with a wider projection for as many steps; the rank and the held-out metric rise.

    ## References
    - Jing et al. 2022, Understanding dimensional collapse, https://arxiv.org/abs/2110.09348
    - Garrido et al. 2023 (RankMe), https://arxiv.org/abs/2210.02885
    """

    code = "GEO001"
    name = "dimensional-collapse"
    component = "architecture"
    needs = ("query/effective_rank",)

    share: float = 0.1
    window: int = 20

    def examine(self, run: Run) -> Finding:
        """Compare the share of filled directions with the limit."""
        value = late(run, "query/effective_rank", self.window)
        assert value is not None, "among the needs"
        classes, dimension = find(run, "data.classes"), find(run, "model.dimension")
        needed = min(1.0, (classes - 1) / dimension) if classes and dimension else 1.0
        n = min(self.window, len(values(run, "query/effective_rank")))
        statistic = Statistic(
            name="effective rank / rank of even directions", value=value, limit=self.share * needed, n=n
        )
        symptom = f"queries fill {value:.1%} of the directions that even embeddings would"
        if value >= self.share * needed:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        temperature = find(run, "chosen.temperature")
        change = {"loss.temperature": round(1.5 * float(temperature), 4)} if temperature else {}
        return self.finding(Outcome.WATCH, symptom, statistic, Prescription(why="spread the cloud", change=change))


@dataclass(frozen=True)
class OneDirection(Check):
    """All embeddings point nearly the same way.

    ## What it measures
    The norm of the mean unit query embedding, median of the last {window} readings: 0 for even directions, 1 for equal
    ones. Above {direction} it is worth a look, unless the pairs are told apart all the same (in-batch recall@1 of
    at least {recall}): a common direction is a constant that cosines can live with.

    ## Why it hurts
    What is left beside the common direction is small: rounding and noise weigh more, thresholds on the cosine become
    meaningless ("everything is .93 similar"), and full collapse is near.

    ## What to do
    Make sure that there are negatives, that the temperature is not far too high, and that the learning rate did not
    throw the weights out in the first steps.

    ## How to confirm
    Train from the initial weights with a lower learning rate and warm-up; the norm falls.

    ## References
    - Gao et al. 2019, Representation degeneration problem, https://arxiv.org/abs/1907.12009
    - Wang and Isola 2020, Alignment and uniformity, https://arxiv.org/abs/2005.10242
    """

    code = "GEO002"
    name = "one-direction"
    component = "loss"
    needs = ("query/mean_direction",)

    direction: float = 0.9
    recall: float = 0.5
    window: int = 20

    def examine(self, run: Run) -> Finding:
        """Compare the common direction with the limit, unless recall shows that it does no harm."""
        value = late(run, "query/mean_direction", self.window)
        assert value is not None, "among the needs"
        n = min(self.window, len(values(run, "query/mean_direction")))
        statistic = Statistic(name="norm of the mean unit query", value=value, limit=self.direction, n=n)
        symptom = f"the mean of the unit query embeddings has norm {value:.3f} (0: even, 1: all the same)"
        if value <= self.direction:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        recall = late(run, "in_batch/recall@1", self.window)
        if recall is not None and recall >= self.recall:
            return self.finding(Outcome.CLEAR, f"{symptom}, yet {recall:.0%} of the pairs are told apart", statistic)
        rate = find(run, "chosen.learning_rate")
        change = {"optim.learning_rate": float(f"{float(rate) / 10:.2g}")} if rate else {}
        cure = Prescription(why="start again from the initial weights with smaller steps", change=change)
        return self.finding(Outcome.WATCH, symptom, statistic, cure)
