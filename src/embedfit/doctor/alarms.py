"""How often checks are wrong about healthy programs, as the benchmark of planted faults measured it."""

from __future__ import annotations

__all__ = ["MEASURED", "Alarms", "alarms_of"]

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("alarms.json")
"""Written by `python -m benchmarks.alarms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Issues of one check on programs in which nothing is wrong.

    Attributes:
        false: programs on which it called an issue.
        healthy: programs it was asked about; no limit was set on them.
    """

    false: int
    healthy: int

    def __str__(self) -> str:
        from scipy.stats import binomtest  # here, because reading a run folder needs no statistics

        interval = binomtest(self.false, self.healthy).proportion_ci(method="wilson")
        share = f"{self.false / self.healthy:.1%} ({interval.low:.1%} to {interval.high:.1%})"
        return f"{share}: {self.false} of {self.healthy} healthy programs of the benchmark"


def alarms_of(code: str) -> Alarms | None:
    """What was measured of a check; None where nothing was."""
    known = _measured()
    if not known["healthy"] or code not in known["asked"]:
        return None
    return Alarms(false=known["false"].get(code, 0), healthy=known["healthy"])


@functools.cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MEASURED.read_text("utf-8"))
    return found
