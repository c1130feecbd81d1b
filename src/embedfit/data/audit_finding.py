"""What an audit says about a table: one record per finding."""

from __future__ import annotations

__all__ = ["EXAMPLES", "DataFinding", "Part", "Severity", "excerpt", "share", "worst"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["issue", "watch", "info"]
EXAMPLES = 10  # rows shown with a finding
_WIDTH = 200  # characters of a text shown


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding:
    """One thing about the data that its owner should know.

    Attributes:
        name: stable name, `duplicate_rows`.
        severity: issue: will spoil training or its evaluation; watch: look at it; info: good to know.
        sentence: what was found, with the numbers.
        examples: at most ten rows that show it; `row` counts from 0.
    """

    name: str
    severity: Severity
    sentence: str
    examples: tuple[Mapping[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.severity:5}  {self.name}: {self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "severity": self.severity,
            "sentence": self.sentence,
            "examples": [dict(e) for e in self.examples],
        }


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the audit contributes.

    Attributes:
        facts: flat, dotted names.
        findings: in any order.
        sampled: fact -> rows it was measured on, where that was not all of them.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[DataFinding, ...] = ()
    sampled: Mapping[str, int] = field(default_factory=dict)


def worst(value: float, *, watch: float, issue: float = 2.0) -> Severity:
    """How bad a share is: at or above `issue` (never, unless given), at or above `watch`, or below both."""
    return "issue" if value >= issue else "watch" if value >= watch else "info"


def excerpt(text: object) -> str:
    """A text short enough to be shown on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def share(value: float) -> str:
    """A share as a percentage that never rounds something to nothing."""
    percent = 100 * value
    if 0 < percent < 0.1:
        return "under 0.1 %"
    return f"{percent:.0f} %" if percent in (0, 100) or 10 <= percent < 99.5 else f"{percent:.1f} %"
