"""What a check is and what it says. A check reads a run and gives one finding; it never trains, changes or prints."""

from __future__ import annotations

__all__ = [
    "COMPONENTS",
    "Check",
    "Effect",
    "Finding",
    "NotApplicableError",
    "Outcome",
    "Prescription",
    "Statistic",
]

import dataclasses
import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from embedfit.doctor.alarms import alarms_of
from embedfit.run import Run

COMPONENTS = (
    "data", "pairing", "order", "negatives", "tokenizer", "architecture", "initialisation", "loss", "optimiser",
    "schedule", "regularisation", "precision", "mode", "distribution", "teacher", "evaluation",
)  # fmt: skip


class Outcome(StrEnum):
    """How a check ended, worst first.

    An issue is a fact (an identity is broken, a number cannot be reached) or was proved by an experiment; a watch is a
    reading that looks odd and proves nothing.
    """

    ISSUE = "issue"
    WATCH = "watch"
    FAILED = "failed"
    CLEAR = "clear"
    SKIPPED = "skipped"
    IGNORED = "ignored"
    NOT_APPLICABLE = "not-applicable"

    @property
    def badness(self) -> int:
        """0 for the worst outcome, rising."""
        return list(Outcome).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """The number a finding rests on.

    Attributes:
        name: what was computed, in words.
        value: what it is.
        limit: where the check begins to complain.
        n: readings, rows or queries behind the value.
    """

    name: str
    value: float
    limit: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much of the held-out metric the cause costs, as a share.

    The interval is no plain 95 % interval: the spread over seeds is blended with an assumed one, because most effects
    are measured with one seed.
    """

    relative: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """What to do.

    Attributes:
        why: one sentence.
        change: settings of the recipe and their new values; empty where the cure lies outside of the recipe.
    """

    why: str
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says of one run.

    Attributes:
        code: of the check.
        name: of the check, the disease.
        outcome: see `Outcome`.
        component: part of the training program the finding is about, one of `COMPONENTS`.
        symptom: one line, with the number; for a check that could not run, the reason.
        statistic: the number behind it.
        effect: what it costs, where an experiment measured it.
        confirmed: whether an experiment confirmed it; None where none was made.
        prescription: what to do, most promising first.
        seconds: what the check took.
    """

    code: str
    name: str
    outcome: Outcome
    component: str
    symptom: str
    statistic: Statistic | None = None
    effect: Effect | None = None
    confirmed: bool | None = None
    prescription: tuple[Prescription, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, JSON-ready; numbers that are not finite become None."""
        table = dataclasses.asdict(self)
        table["outcome"] = self.outcome.value
        table["prescription"] = list(table["prescription"])
        return _finite(table)


class NotApplicableError(Exception):
    """Raised by a check that has nothing to say about a run; the message is the reason."""


@dataclass(frozen=True)
class Check(ABC):
    """A disease and the test for it. Fields of a subclass are its thresholds; its docstring is its page.

    Attributes:
        code: family and number; never used for another disease.
        name: the disease, never the cure.
        component: see `COMPONENTS`.
        needs: names of the glossary without which it cannot run; `<metric>` stands for the run's main metric.
        advisory: a watch of this check does not put the result of the run in doubt.
        part: of a program, whose exchange for the reference confirms or excludes the finding; empty: no such
            experiment.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    component: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    advisory: ClassVar[bool] = False
    part: ClassVar[str] = ""

    @abstractmethod
    def examine(self, run: Run) -> Finding:
        """The finding; everything in `needs` is there.

        Raises:
            NotApplicableError: the check has nothing to say about this run.
        """

    def finding(
        self, outcome: Outcome, symptom: str, statistic: Statistic | None = None, *prescription: Prescription
    ) -> Finding:
        """A finding of this check."""
        return Finding(
            code=self.code,
            name=self.name,
            outcome=outcome,
            component=self.component,
            symptom=symptom,
            statistic=statistic,
            prescription=prescription,
        )

    @property
    def page(self) -> str:
        """The docstring with `{threshold}` filled in from this check's own fields, limits, measured false alarms."""
        limits = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

        def fill(match: re.Match[str]) -> str:
            return format(limits[match[1]], match[2] or "") if match[1] in limits else match[0]

        text = re.sub(r"\{(\w+)(?::([^{}]*))?\}", fill, inspect.getdoc(type(self)) or "")
        named = ", ".join(f"{name} {limit:g}" for name, limit in limits.items()) or "none"
        alarms = alarms_of(self.code) or "not measured"
        return f"# {self.code} {self.name}\n\n{text}\n\n## How sure it is\nLimits: {named}.\nFalse alarms: {alarms}.\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
