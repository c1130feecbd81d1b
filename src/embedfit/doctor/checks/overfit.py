"""EVA: programs that were better before they ended."""

from __future__ import annotations

__all__ = ["Overfitted"]

from dataclasses import dataclass
from statistics import median

from embedfit.doctor.check import Check, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number, values
from embedfit.run import Run


@dataclass(frozen=True)
class Overfitted(Check):
    """Training goes on learning its rows, and what it knows of new ones falls, or never rose.

    ## What it measures
    The held-out metric of the author's program at its start, at three places on the way, and at the end: the fall from
    the best of them as a share of it. Above {some:.0%} (and {least} at all) it is worth a look, above {most:.0%} a
    fault. And where the rank metric of rows that were trained on reaches {known:.0%}, while the held-out metric and
    rows held back went less than {flat:.0%} of the way from start to 1, they were learned by heart: a fault as well.

    What looks alike: a rate that is too high lets the metric fall, and the training loss rises with it, which is asked
    for; a metric that wavers by the noise of a few hundred rows falls by less. A model that knows its own rows much
    better than others, and still gets better on these, is healthy.

    ## Why it hurts
    The last weights are not the best ones, and every step after the best made them worse.

    ## What to do
    Keep the weights of the best step and stop there; then more different rows, dropout or weight decay, fewer trained
    parameters, a lower rate. If pairs are wrong, they are what is learned last: look at those with the highest loss.

    ## How to confirm
    Measure held-out rows every few steps.

    ## References
    - Prechelt 1998, Early stopping, but when?, https://doi.org/10.1007/3-540-49430-8_3
    - Arpit et al. 2017, A closer look at memorization in deep networks, https://arxiv.org/abs/1706.05394
    """

    code = "EVA008"
    name = "overfitted"
    component = "regularisation"
    needs = ("experiment.course", "overfit.train", "loss")

    some: float = 0.1
    most: float = 0.25
    least: float = 0.03
    known: float = 0.8
    flat: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Look at the course of the metric, then at the rows that were trained on."""
        course = [(int(step), float(value)) for step, value in find(run, "experiment.course")]
        trained, (_, start), (last, end) = number(run, "overfit.train"), course[0], course[-1]
        step, best = max(course[1:], key=lambda point: point[1])
        fall = (best - end) / best if best > 0 and best - start > self.flat * (1 - start) else 0.0
        statistic = Statistic(name="fall of the metric from its best", value=fall, limit=self.some, n=len(course))
        cure = Prescription(why=f"keep the weights of about step {step}; more different rows, dropout, a lower rate")
        if fall > self.some and best - end > self.least and not self._rises(run):
            told = (
                f"overfitting: the held-out metric falls from {best:.3f} at step {step} to {end:.3f} at step {last} "
                f"while the loss goes on falling; rows that were trained on reach {trained:.2f}"
            )
            return self.finding(Outcome.ISSUE if fall > self.most else Outcome.WATCH, told, statistic, cure)
        way = self._way(run, start, end)
        if trained >= self.known and way is not None and way < self.flat:
            statistic = Statistic(name="rank of trained rows", value=trained, limit=self.known, n=len(course))
            told = (
                f"overfitting: rows that were trained on reach {trained:.2f}, and others went {way:.0%} of the way to 1"
            )
            return self.finding(Outcome.ISSUE, told, statistic, cure)
        return self.finding(Outcome.CLEAR, "the held-out metric is at its best when training ends", statistic)

    def _rises(self, run: Run) -> bool:
        """Whether the loss of the last steps is above that of the middle."""
        losses = values(run, "loss")
        tenth = max(1, len(losses) // 10)
        middle = losses[len(losses) // 2 :][:tenth]
        return bool(middle) and median(losses[-tenth:]) > 1.02 * median(middle)

    def _way(self, run: Run, start: float, end: float) -> float | None:
        """How far rows that were not trained on went from the start to 1, by the metric and by rows held back."""
        before, after = find(run, "experiment.probe_start"), find(run, "experiment.author_probe")
        if before is None or after is None or float(after) != float(after) or not 0 <= start < 1:
            return None
        return max((end - start) / (1 - start), (float(after) - float(before)) / max(1e-9, 1 - float(before)))
