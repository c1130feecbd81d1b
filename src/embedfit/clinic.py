"""Recipes tried: short real runs of a recipe with one component left to embedfit."""

from __future__ import annotations

__all__ = ["Cure", "cures", "examine", "trained_for"]

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from embedfit import job
from embedfit.doctor import CHECKS, Cost, Diagnosis, Effect, Finding, Outcome, Prescription, diagnose
from embedfit.errors import EmbedfitError
from embedfit.recipe import Recipe, keys, patch
from embedfit.run import Run

COMPONENTS: Mapping[str, str] = {
    "loss": "loss", "negatives": "negatives", "model": "architecture", "model.max_tokens": "tokenizer",
    "model.dropout": "regularisation", "optim": "optimiser", "optim.schedule": "schedule", "optim.warmup": "schedule",
    "optim.weight_decay": "regularisation", "optim.average": "regularisation", "run.precision": "precision",
}  # fmt: skip
"""Component of a setting: by its own name, or by its section's."""
KEPT = ("model.kind", "model.shared", "optim.length", "optim.seed", "optim.patience", "optim.rates")
"""What is no matter of taste, or says how long a trial is."""
BANDS = (0.10, 0.25)
"""A change of the held-out metric that slows, and one that breaks."""
SHORTEST, LONGEST = 40, 400  # steps of a trial
SPREAD = 0.05  # half-width of an interval for one pair of trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """A change of the recipe that the doctor prescribes.

    Attributes:
        code: of the check.
        change: settings and their values.
        why: one sentence.
    """

    code: str
    change: Mapping[str, Any]
    why: str


@dataclass
class _Trials:
    rows: job.Rows
    steps: int
    deadline: float
    made: int = 0
    seconds: list[float] = field(default_factory=list)

    def run(self, recipe: Recipe) -> Run:
        """A short run, and what is known of it."""
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            short = patch(recipe, {"optim.length": f"{self.steps} steps"})
            record, _ = job.train(self.rows, short, Path(folder) / "trial")
        self.made += self.steps
        self.seconds.append(time.perf_counter() - began)
        return record

    def value(self, recipe: Recipe) -> float:
        """The held-out metric of a short run; 0 where it broke off."""
        try:
            record = self.run(recipe)
        except EmbedfitError:  # a loss that is not finite has failed as a trial can
            return 0.0
        return float(record.evaluation.get(str(record.facts["metric"]), 0.0))

    @property
    def affordable(self) -> bool:
        """Whether there is time for another trial."""
        return time.perf_counter() + mean(self.seconds) < self.deadline


def examine(recipe: Recipe, record: Run | None = None, *, budget: float = 120.0) -> Diagnosis:
    """Find out which of a recipe's settings cost quality, by training with them and without them.

    The author's recipe and the same with everything left to embedfit are trained for some steps; then each component's
    settings alone.

    Args:
        recipe: the settings.
        record: a finished run of it, whose findings are part of the diagnosis; None: the first trial is.
        budget: seconds to spend; a trial that has begun is finished.

    Raises:
        DataError: the rows cannot be read, or nothing can be held out.
    """
    began = time.perf_counter()
    trials = _Trials(job.gather(recipe), SHORTEST, began + budget)
    first = trials.run(recipe)
    known = record or first
    passive = diagnose(known)
    apart = differing(recipe)
    metric = str(first.facts["metric"])
    if not apart or metric not in first.evaluation:
        why = passive.why if apart else f"{passive.why}; every setting is embedfit's own: there is nothing to exchange"
        return dataclasses.replace(passive, why=why, cost=Cost(seconds=time.perf_counter() - began, steps=trials.made))
    left = budget - (time.perf_counter() - began)
    room = left / (len(apart) + 3) / max(0.1, trials.seconds[0]) * SHORTEST
    trials.steps = int(max(SHORTEST, min(LONGEST, room, float(first.facts.get("chosen.steps", LONGEST)) * 10)))
    author, usual = trials.value(recipe), patch(recipe, {k: v for change in apart.values() for k, v in change.items()})
    reference = trials.value(usual)
    found: list[Finding] = []
    for component in apart:
        if trials.affordable:
            theirs = {k: v for other, change in apart.items() if other != component for k, v in change.items()}
            value = trials.value(patch(recipe, theirs))
            found.append(_finding(component, value, reference, apart[component], (author, trials.steps)))
    findings = _merged(passive.findings, found)
    issues = [f for f in findings if f.outcome is Outcome.ISSUE]
    compared = f"{metric} {author:.3f} after {trials.steps} steps, left to embedfit {reference:.3f}"
    verdict, why = passive.verdict, f"{passive.why} ({compared})"
    if issues:
        verdict, why = "ill", f"{issues[0].symptom} ({compared})"
    elif author >= (1 - BANDS[0]) * reference and author > 0:
        verdict, why = "healthy", f"{compared}; keep going"
    cost = Cost(seconds=time.perf_counter() - began, steps=trials.made)
    return Diagnosis(verdict=verdict, why=why, cost=cost, findings=tuple(findings), evidence=known)


def differing(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Settings that are not embedfit's own, by component, each with embedfit's own value."""
    usual = Recipe()
    found: dict[str, dict[str, Any]] = {}
    for key in keys():
        section, _, name = key.partition(".")
        component = COMPONENTS.get(key) or COMPONENTS.get(section)
        if component is None or key in KEPT or not name:
            continue
        theirs, ours = (getattr(getattr(r, section), name) for r in (recipe, usual))
        if theirs != ours:
            found.setdefault(component, {})[key] = ours
    return found


def cures(diagnosis: Diagnosis, codes: Sequence[str] = ()) -> list[Cure]:
    """The changes that a diagnosis prescribes: of facts and of what an experiment confirmed, or of these checks.

    Raises:
        EmbedfitError: there is nothing to apply.
    """
    asked = [c.upper() for c in codes]
    chosen = [f for f in diagnosis.troubles if f.code in asked or (not asked and f.outcome is Outcome.ISSUE)]
    found = [Cure(code=f.code, change=p.change, why=p.why) for f in chosen for p in f.prescription[:1] if p.change]
    if not found:
        told = "; ".join(p.why for f in chosen for p in f.prescription[:1])
        raise EmbedfitError(
            "no prescription that is a change of the recipe",
            hint=told or "`embedfit diagnose RUN` says what was found; name a code to apply what is only suspected",
        )
    return found


def trained_for(recipe: Recipe, found: Sequence[Cure]) -> Recipe:
    """The recipe with all prescribed changes; of two that differ, the first."""
    change: dict[str, Any] = {}
    for cure in found:
        change = {**cure.change, **change}
    return patch(recipe, change)


def _finding(
    component: str, value: float, reference: float, change: Mapping[str, Any], tried: tuple[float, int]
) -> Finding:
    scale = max(abs(value), abs(reference), 1e-9)
    relative = (value - reference) / scale
    [check] = [c for c in CHECKS if c.code == _CODES[component]]
    effect = Effect(relative=relative, low=relative - SPREAD, high=relative + SPREAD)
    outcome = Outcome.CLEAR if relative > -BANDS[0] else Outcome.ISSUE if relative < -BANDS[1] else Outcome.WATCH
    names = ", ".join(change)
    why = f"leave it to embedfit; tried, {tried[1]} steps: the recipe {tried[0]:.3f}, embedfit's own {reference:.3f}"
    cure = (Prescription(why=why, change=change),) if outcome is not Outcome.CLEAR else ()
    return dataclasses.replace(
        check.finding(outcome, f"{names} changes the held-out metric by {relative:+.0%}", None, *cure),
        component=component, effect=effect, confirmed=outcome is not Outcome.CLEAR,
    )  # fmt: skip


_CODES = {
    "loss": "LOS011", "negatives": "NEG004", "architecture": "MOD009", "tokenizer": "MOD009", "precision": "NUM003",
    "regularisation": "MOD007", "optimiser": "OPT010", "schedule": "OPT010",
}  # fmt: skip


def _merged(passive: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """Every check once: what was tried in place of what was not; the worst of those that share a check."""
    worst: dict[str, Finding] = {}
    for finding in sorted(found, key=lambda f: f.effect.relative if f.effect else 0.0):
        worst.setdefault(finding.code, finding)
    merged = [worst.get(f.code, f) for f in passive]
    return sorted(merged, key=lambda f: (f.outcome.badness, f.effect.relative if f.effect else 0.0))
