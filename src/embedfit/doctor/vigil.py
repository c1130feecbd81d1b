"""A run while it trains: findings as they become certain, and whether going on is of any use."""

from __future__ import annotations

__all__ = ["Vigil"]

from collections.abc import Mapping

from embedfit.doctor.catalogue import CHECKS
from embedfit.doctor.check import Finding, Outcome
from embedfit.doctor.examine import examine
from embedfit.doctor.readings import find
from embedfit.run import Run

HOPELESS = ("OPT001", "GEO003", "EVA006")
"""Checks whose facts no further step changes: nothing moves, all embeddings are the same, a metric at chance."""
GRACE = 0.1  # share of the planned steps before which nothing is hopeless


class Vigil:
    """Asks the checks about a run that is not finished. What they call an issue is a fact, and is told once.

    Args:
        record: of the run; its history grows from outside.
        known: codes that were told before, by the part of the run that was interrupted.
    """

    def __init__(self, record: Run, known: tuple[str, ...] = ()) -> None:
        self.record = record
        self.told = set(known)

    def look(self) -> tuple[Finding, ...]:
        """Issues that were not told before."""
        found = [examine(check, self.record) for check in CHECKS if check.code not in self.told]
        fresh = tuple(f for f in found if f.outcome is Outcome.ISSUE)
        self.told |= {f.code for f in fresh}
        return fresh

    def hopeless(self) -> Finding | None:
        """Why going on is of no use; None while it may be.

        Asked of the newest readings each time: a metric that has left chance since is no reason any more.
        """
        steps, curve = find(self.record, "chosen.steps"), self.record.history.readings.get("loss", [])
        if not steps or not curve or curve[-1][0] < GRACE * float(steps) or self.record.recipe.curriculum.stages:
            return None  # a stage may hold the weights on purpose
        found = (examine(check, self.record) for check in CHECKS if check.code in HOPELESS)
        return next((f for f in found if f.outcome is Outcome.ISSUE), None)

    def take(self, step: int, readings: Mapping[str, float]) -> None:
        """New readings."""
        self.record.history.add(step, readings)
