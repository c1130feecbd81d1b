"""What the doctor says of a run as a whole."""

from __future__ import annotations

__all__ = ["Cost", "Diagnosis", "Verdict", "seconds"]

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from embedfit.doctor.check import Finding, Outcome
from embedfit.errors import EmbedfitError
from embedfit.run import Run

Verdict = Literal["healthy", "ill", "cannot-tell"]

WIDTH = 116
SHOWN = 5  # findings printed in full, so that the page stays below 25 lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the diagnosis took: seconds, and training steps of experiments."""

    seconds: float
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A verdict and the findings it rests on.

    Attributes:
        verdict: healthy | ill | cannot-tell. Ill takes a fact or an experiment; readings alone leave it open.
        why: one sentence.
        cost: what it took.
        findings: every check exactly once, worst first.
        evidence: what the checks looked at: readings, facts, kept rows; drawn on the page, not part of `to_dict`.
    """

    verdict: Verdict
    why: str
    cost: Cost
    findings: tuple[Finding, ...]
    evidence: Run | None = field(default=None, compare=False, repr=False)

    @property
    def troubles(self) -> tuple[Finding, ...]:
        """The findings that ask for attention: issues, then watches."""
        return self.having(Outcome.ISSUE, Outcome.WATCH)

    def having(self, *outcomes: Outcome) -> tuple[Finding, ...]:
        """The findings with one of these outcomes."""
        return tuple(f for f in self.findings if f.outcome in outcomes)

    @property
    def change(self) -> dict[str, Any]:
        """Settings that the issues prescribe, of two that differ that of the worse issue."""
        found: dict[str, Any] = {}
        for finding in self.having(Outcome.ISSUE):
            for cure in finding.prescription[:1]:
                found = {**cure.change, **found}
        return found

    def cured(self, build: Any) -> Any:
        """The program that was investigated, with what the issues prescribe in place of its author's.

        Args:
            build: `build(seed=0)` gives the program, as handed to `investigate`.

        Returns:
            The same for the changed program; where nothing can be changed from outside, `build` itself.
        """
        if not self.change:
            return build
        # programs need torch, which reading a diagnosis does not
        return import_module("embedfit.doctor.cure").prescribed(build, self.change)

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the published schema, JSON-ready."""
        return {
            "verdict": self.verdict,
            "why": self.why,
            "cost": {"seconds": self.cost.seconds, "steps": self.cost.steps},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the diagnosis as one HTML file that needs no network.

        Returns:
            The path.

        Raises:
            RunError: the file cannot be written.
        """
        # drawing lives above judging; this is only a door to it
        return import_module("embedfit.report").write_diagnosis(self, path)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _lines(diagnosis: Diagnosis) -> list[str]:
    lines = [_cut(f"doctor: {diagnosis.verdict.upper()} - {diagnosis.why}")]
    troubles = diagnosis.troubles
    for finding in troubles[:SHOWN]:
        lines += _trouble(finding, told=finding.symptom in diagnosis.why)
    if len(troubles) > SHOWN:
        lines.append(_cut("  also   " + ", ".join(f"{f.code} {f.name} ({f.outcome})" for f in troubles[SHOWN:])))
    for word, outcome in (("failed", Outcome.FAILED), ("fine", Outcome.CLEAR), ("not run", Outcome.SKIPPED)):
        found = diagnosis.having(outcome)
        if found:
            names = ", ".join(f.name for f in found)
            lines.append(_cut(f"  {word:8} {len(found)} checks: {names}" if len(found) > 1 else f"  {word:8} {names}"))
    missing = diagnosis.having(Outcome.NOT_APPLICABLE)
    if missing:
        lines.append(_cut(f"  no data  {len(missing)} checks: {', '.join(f.name for f in missing)}"))
    steps = f"{diagnosis.cost.steps:,} training steps" if diagnosis.cost.steps else "no training steps"
    lines.append(f"  cost     {diagnosis.cost.seconds:.2g} s, {steps}")
    return lines


def _trouble(finding: Finding, *, told: bool) -> Sequence[str]:
    symptom = "" if told else f": {finding.symptom}"
    lines = [_cut(f"  {finding.outcome:8} {finding.code} {finding.name}{symptom}")]
    if finding.statistic is not None:
        s = finding.statistic
        lines.append(_cut(f"           {s.name} = {s.value:.3g}, limit {s.limit:.3g}, n = {s.n:,}"))
    if finding.prescription:
        first = finding.prescription[0]
        change = ", ".join(f"{key} = {json.dumps(value)}" for key, value in first.change.items())
        lines.append(_cut(f"           do: {change} ({first.why})" if change else f"           do: {first.why}"))
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3].rsplit(" ", 1)[0] + " ..."


def seconds(text: str | float | int) -> float:
    """A budget such as "60s", "5 min" or 90, in seconds.

    Raises:
        EmbedfitError: it cannot be read.
    """
    if not isinstance(text, str):
        return float(text)
    match = re.fullmatch(r"([0-9.]+)\s*(s|sec|m|min|h)?", text.strip().lower())
    if match is None:
        raise EmbedfitError(f"'{text}' is no budget", hint='write it as "60s", "5 min" or "1 h"')
    return float(match[1]) * {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2] or "s"]
