"""What a part of a program costs: the reference with it against the reference without."""

from __future__ import annotations

__all__ = ["KnockIn"]

from dataclasses import dataclass, replace
from typing import ClassVar

from embedfit.doctor.check import Check, Effect, Finding, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class KnockIn(Check):
    """What all measured costs have in common."""

    words: ClassVar[str]
    cure: ClassVar[str]

    share: float = 0.10
    breaks: float = 0.25

    def examine(self, run: Run) -> Finding:
        """Compare the effect with both bands."""
        relative, low, high = (number(run, f"experiment.{self.part}.{name}") for name in ("relative", "low", "high"))
        statistic = Statistic(
            name="change of the held-out metric",
            value=relative,
            limit=-self.share,
            n=int(find(run, f"experiment.{self.part}.n") or 1),
        )
        symptom = f"the author's {self.words} changes the reference by {relative:+.0%} ({low:+.0%} to {high:+.0%})"
        outcome = (
            Outcome.CLEAR if relative > -self.share else Outcome.ISSUE if relative < -self.breaks else Outcome.WATCH
        )
        cures = (Prescription(why=self.cure),) if outcome is not Outcome.CLEAR else ()
        found = self.finding(outcome, symptom, statistic, *cures)
        return replace(
            found, effect=Effect(relative=relative, low=low, high=high), confirmed=outcome is Outcome.ISSUE or None
        )
