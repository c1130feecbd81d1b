"""How checks look things up in a run: by the names of the glossary, whichever part of the run holds them."""

from __future__ import annotations

__all__ = ["find", "is_known", "late", "metric_key", "number", "quarters", "values"]

import itertools
import math
from statistics import median
from typing import Any

from embedfit.run import Run


def metric_key(name: str, run: Run) -> str:
    """A name of the glossary with `<metric>` replaced by the run's main metric."""
    return name.replace("<metric>", str(run.facts.get("metric", "<metric>")))


def find(run: Run, name: str) -> Any:
    """The fact or metric of this name, or None."""
    key = metric_key(name, run)
    value = run.facts.get(key)
    return run.evaluation.get(key) if value is None else value


def number(run: Run, name: str) -> float:
    """The fact or metric of this name, as a number; for names among a check's needs."""
    return float(find(run, name))


def is_known(run: Run, name: str) -> bool:
    """Whether a run has this reading, fact or metric."""
    key = metric_key(name, run)
    return find(run, name) is not None or (key in run.history and bool(run.history[key]))


def values(run: Run, name: str) -> list[float]:
    """All finite readings of this name, oldest first; none where there is no such reading."""
    key = metric_key(name, run)
    return [value for _, value in run.history[key] if math.isfinite(value)] if key in run.history else []


def late(run: Run, name: str, window: int) -> float | None:
    """Median of the last `window` finite readings, which one odd batch cannot move; None without any."""
    last = values(run, name)[-window:]
    return median(last) if last else None


def quarters(readings: list[float]) -> tuple[float, float, float, float] | None:
    """Medians of the four quarters of the readings; None for fewer than eight, of which no trend can be read."""
    if len(readings) < 8:
        return None
    cuts = [round(len(readings) * k / 4) for k in range(5)]
    first, second, third, fourth = (median(readings[a:b]) for a, b in itertools.pairwise(cuts))
    return first, second, third, fourth
