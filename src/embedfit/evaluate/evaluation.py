"""What held-out rows say of a model, as plain data."""

from __future__ import annotations

__all__ = ["Evaluation", "flat"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedfit.metrics import Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What held-out rows say of a model.

    Attributes:
        metric: name of the main metric.
        values: flat: `recall@10`, `recall@10/low`, `recall@10/high`, `lexical/recall@10`, `svm/accuracy@1`,
            `fused/recall@10`, `chance/recall@10`, `queries`, `candidates`, `seconds`, ...
        samples: evidence, by name: `worst`, `similarity`, `recall_curve`, `coverage_curve`, `singular_values`, `map`.
        verdict: how good, against what, and what to do.
        queries: what was asked, to compare with another model on the same (graded: both sentences).
        per_query: the metrics of each query (graded: `similarity` and `grade` of each pair; where a threshold was
            chosen also `said`, what it decides, and `accuracy`).
    """

    metric: str
    values: Mapping[str, float]
    samples: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""
    queries: tuple[str, ...] = ()
    per_query: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Of the main metric; higher is better."""
        return self.values[self.metric]

    def record(self) -> dict[str, Any]:
        """What `evaluation.json` holds: the values and the verdict."""
        return {"metric": self.metric, **self.values, "verdict": self.verdict}


def flat(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Each value under its name, its interval under `name/low` and `name/high`."""
    out: dict[str, float] = {}
    for name, interval in intervals.items():
        out |= {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}
    return out
