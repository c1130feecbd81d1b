"""NEG, GEO: documents that are found too seldom for how often they are right, and documents that everybody finds."""

from __future__ import annotations

__all__ = ["Hubs", "UnknownPopularity"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import number
from embedfit.run import Run


@dataclass(frozen=True)
class UnknownPopularity(Check):
    """The scores do not know how often documents are right, or know it the wrong way round.

    ## What it measures
    The author's trained program ranks the documents of its rows for queries that were held back, as it is and with the
    logarithm of each document's frequency added to the scores; the weight comes from the other half of the queries. The
    gain in mean reciprocal rank, as a share. Above {some:.0%} with {errors} standard errors it is worth a look, above
    {most:.0%} a fault.

    What looks alike: a model that has learned little gains by every hint, so it must reach {known:g} times chance; and
    one whose scores follow frequency already (rank correlation above {knows}) is only not trained to its end. Where no
    document occurs twice, nothing is said.

    ## Why it hurts
    Documents of other rows come up as negatives as often as they are right. A softmax over them learns what is special
    to a pair and takes frequency out; a correction for it with the wrong sign takes it out twice. Popular documents are
    then found too seldom, and rare ones are shown to everybody.

    ## What to do
    Take the logarithm of the share with which a document is drawn off its score in the loss (in training alone), or
    draw further negatives evenly. Where served results should not follow popularity, leave it as it is.

    ## How to confirm
    Add the logarithm of the frequency to the scores of the held-out rows, with a small weight.

    ## References
    - Yi et al. 2019, Sampling-bias-corrected neural modeling for large corpus item recommendations,
      https://doi.org/10.1145/3298689.3346996
    """

    code = "NEG007"
    name = "unknown-popularity"
    component = "negatives"
    needs = ("popularity.before", "popularity.after", "popularity.z", "popularity.correlation", "popularity.documents")

    some: float = 0.15
    most: float = 0.3
    errors: float = 3.0
    known: float = 3.0
    knows: float = 0.3

    def examine(self, run: Run) -> Finding:
        """Compare both ranks."""
        before, after, z = (number(run, f"popularity.{name}") for name in ("before", "after", "z"))
        together, documents = number(run, "popularity.correlation"), int(number(run, "popularity.documents"))
        chance = sum(1 / k for k in range(1, documents + 1)) / documents
        if before < self.known * chance:
            raise NotApplicableError("the program learned too little to tell what its scores lack")
        gain = after / before - 1
        statistic = Statistic(name="gain by popularity, as a share", value=gain, limit=self.some, n=documents)
        told = (
            f"held-back rows reach {before:.3f}, and {after:.3f} with the frequency of documents added to the scores "
            f"(rank correlation of score and frequency {together:+.2f})"
        )
        if gain <= self.some or z <= self.errors or together > self.knows:
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(
            why="take the logarithm of each document's share of the rows off its score, in the loss alone"
        )
        return self.finding(Outcome.ISSUE if gain > self.most else Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class Hubs(Check):
    """Some documents are near to every query.

    ## What it measures
    How much the mean reciprocal rank of rows held back gains, as a share, if each document's mean similarity to its
    nearest queries is taken off (CSLS), after the author's training. Above {gain:.0%} with {errors} standard errors it
    is worth a look, if the skewness of how often a document is among the ten nearest is above {times} times that of
    even directions, which chance alone gives.

    What looks alike: documents that are right often are near to many queries; a query's own document is not counted. A
    skewness that costs nothing is no finding: hubs are usual, and harm is not.

    ## Why it hurts
    A hub takes the first places of queries it has nothing to do with.

    ## What to do
    Take the means off: centre the embeddings, or correct the scores at search (CSLS). In training, a lower temperature
    or a softmax in both directions pushes hubs away.

    ## How to confirm
    Search with corrected scores on the held-out rows.

    ## References
    - Radovanovic, Nanopoulos and Ivanovic 2010, Hubs in space, https://jmlr.org/papers/v11/radovanovic10a.html
    - Conneau et al. 2018, Word translation without parallel data, https://arxiv.org/abs/1710.04087
    """

    code = "GEO004"
    name = "hubs"
    component = "loss"
    needs = ("hubs.before", "hubs.after", "hubs.z", "hubs.skewness", "hubs.isotropic", "hubs.documents")
    advisory = True

    gain: float = 0.05
    errors: float = 4.0
    times: float = 1.5

    def examine(self, run: Run) -> Finding:
        """Compare both ranks."""
        before, after, z = (number(run, f"hubs.{name}") for name in ("before", "after", "z"))
        skewness, usual = number(run, "hubs.skewness"), number(run, "hubs.isotropic")
        gain = after / max(1e-9, before) - 1
        n = int(number(run, "hubs.documents"))
        statistic = Statistic(name="gain by even scores, as a share", value=gain, limit=self.gain, n=n)
        told = f"the skewness of neighbours is {skewness:.1f}, that of even directions {usual:.1f}"
        if gain <= self.gain or z <= self.errors or skewness <= self.times * max(usual, 0.1):
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(why="centre the embeddings, or take each document's mean similarity off its scores")
        return self.finding(
            Outcome.WATCH,
            f"{told}; without hubs, held-back rows rise from {before:.3f} to {after:.3f}",
            statistic,
            cure,
        )
