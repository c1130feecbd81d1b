"""TEA: vectors of a teacher that are not worth learning."""

from __future__ import annotations

__all__ = ["UnreliableTeacher", "is_noise"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run

EVEN = 0.95
"""Effective rank of vectors, as a share of what even directions have, above which they look like noise."""


def is_noise(run: Run) -> bool:
    """Whether the documents are fixed vectors that fill their space as evenly as noise does."""
    fixed = find(run, "demand.trained_documents") is False
    return fixed and float(find(run, "start.document_rank") or 0.0) > EVEN


@dataclass(frozen=True)
class UnreliableTeacher(Check):
    """The teacher's vectors of the training rows are mostly noise, or say next to nothing.

    ## What it measures
    Where the documents are fixed vectors: how many directions they fill, as a share of what even directions fill, and
    how the held-out metric lies beside the rank of training rows that were held back, after the reference recipe.

    Vectors above {even:.0%} look like noise, and are if training rows are found worse than held-out ones by {gap} and
    {times} times. Vectors below {few:.0%} say next to nothing, and too little if held-out rows are found worse than
    training rows by {gap}: their vectors say more.

    What looks alike: a teacher whose vectors were whitened fills all directions evenly, and is learned as well on
    training rows as on held-out ones; wrong pairs of good vectors leave the directions as they are (PAI005, PAI001).

    ## Why it hurts
    A student learns the noise of its teacher, or what little it says, and nothing beyond.

    ## What to do
    Embed the training rows with the teacher again, in evaluation mode and in full precision; compare twenty of them
    with what is stored; check that nothing projected them onto a few directions.

    ## How to confirm
    Nearest neighbours among the teacher's vectors are rows about the same thing.

    ## References
    - Stanton et al. 2021, Does knowledge distillation really work?, https://arxiv.org/abs/2106.05945
    """

    code = "TEA002"
    name = "unreliable-teacher"
    component = "teacher"
    needs = ("demand.trained_documents", "start.document_rank", "experiment.reference", "experiment.probe")

    even: float = EVEN
    few: float = 0.1
    gap: float = 0.1
    times: float = 1.5

    def examine(self, run: Run) -> Finding:
        """Look at the directions of the teacher's vectors, then at both metrics."""
        if find(run, "demand.trained_documents") is not False:
            raise NotApplicableError("the documents are trained: there is no teacher")
        rank = number(run, "start.document_rank")
        held, own = number(run, "experiment.reference"), number(run, "experiment.probe")
        comparable = find(run, "evaluation.kind") == "reciprocal rank"
        n = int(find(run, "experiment.rows") or 0)
        told = f"the teacher's vectors fill {rank:.0%} of what even directions fill"
        beside = f"held-out rows reach {held:.2f}, rows held back from training {own:.2f}"
        if is_noise(run):
            own = max(own, float(find(run, "experiment.towers") or 0.0))
            statistic = Statistic(name="directions filled, share of even ones", value=rank, limit=self.even, n=n)
            cure = Prescription(why="embed the training rows with the teacher again, and compare with what is stored")
            proved = comparable and held - own > self.gap and held > self.times * own
            if proved or not comparable:
                return self.finding(
                    Outcome.ISSUE if proved else Outcome.WATCH, f"{told}, like noise; {beside}", statistic, cure
                )
        elif rank < self.few and not (comparable and own - held <= self.gap):
            statistic = Statistic(
                name="directions left empty, share of even ones", value=1 - rank, limit=1 - self.few, n=n
            )
            cure = Prescription(why="look for a projection or a collapse behind the teacher; take its full vectors")
            return self.finding(Outcome.ISSUE if comparable else Outcome.WATCH, f"{told}; {beside}", statistic, cure)
        statistic = Statistic(name="directions filled, share of even ones", value=rank, limit=self.even, n=n)
        return self.finding(Outcome.CLEAR, told, statistic)
