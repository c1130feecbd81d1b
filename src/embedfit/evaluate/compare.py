"""Two models on the same held-out rows: is one better, and by how much?"""

from __future__ import annotations

__all__ = ["Comparison", "compare", "shown_p"]

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from embedfit.errors import DataError
from embedfit.evaluate.evaluation import Evaluation
from embedfit.metrics import (
    Interval,
    average_precision_of,
    f1_of,
    paired_mean,
    paired_spearman,
    paired_statistics,
)

_EVIDENCE = ("similarity", "grade", "said")  # per query, and no metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two models reached on the same rows.

    Attributes:
        metric: the one that decides.
        values: of both models, by metric.
        differences: first - second with a 95 % interval and p, by metric.
        queries: how many rows.
    """

    metric: str
    values: Mapping[str, tuple[float, float]]
    differences: Mapping[str, Interval]
    queries: int

    @property
    def difference(self) -> Interval:
        """First - second, of the metric that decides."""
        return self.differences[self.metric]

    def verdict(self, first: str = "the first", second: str = "the second") -> str:
        """One sentence: which of the two is better, or that this cannot be told.

        Args:
            first: name of the first model.
            second: name of the second.
        """
        d = self.difference
        a, b = self.values[self.metric]
        said = f"{self.metric} is {a:.3f} for {first} and {b:.3f} for {second}"
        sure = f"95 % interval, p {shown_p(d)}) on {self.queries:,} rows."
        if d.low <= 0 <= d.high:
            return f"{said}: no difference can be shown, {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}, {sure}"
        low, high = sorted((abs(d.low), abs(d.high)))
        better = first if d.value > 0 else second
        return f"{said}: {better} is better, by {abs(d.value):.3f} ({low:.3f} to {high:.3f}, {sure}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `metric`, `queries`, and under `metrics` the two values and the difference of each."""
        return {
            "metric": self.metric,
            "queries": self.queries,
            "metrics": {
                name: {"first": a, "second": b, "difference": asdict(self.differences[name])}
                for name, (a, b) in self.values.items()
            },
        }


def shown_p(difference: Interval) -> str:
    """The p of a difference, with no more digits than mean something."""
    assert difference.p is not None
    return f"{difference.p:.3f}" if difference.p >= 0.001 else "below 0.001"


def compare(first: Evaluation, second: Evaluation, metric: str | None = None, *, seed: int = 0) -> Comparison:
    """Which of two models is better, by the paired bootstrap over the same queries.

    Args:
        first: one model, from `measure`.
        second: the other, on the same rows.
        metric: the one that decides; None: the main metric of the first.
        seed: of the resampling.

    Raises:
        DataError: the rows or the candidates differ, or the metric was not measured on both.
    """
    _same_rows(first, second)
    both = [n for n in _measured(first) if n in _measured(second)]
    name = metric or first.metric
    if name not in both:
        raise DataError(
            f"'{name}' was not measured on both models", hint=f"measured on both: {', '.join(both) or 'none'}"
        )
    order = list(dict.fromkeys([name, *both]))
    return Comparison(
        metric=name,
        values={n: (float(first.values[n]), float(second.values[n])) for n in order},
        differences={n: _difference(first, second, n, seed) for n in order},
        queries=len(first.queries),
    )


def _same_rows(first: Evaluation, second: Evaluation) -> None:
    if first.queries != second.queries:
        same = sum(a == b for a, b in zip(first.queries, second.queries, strict=False))
        raise DataError(
            f"the two models were asked different things: {len(first.queries)} and {len(second.queries)} queries, "
            f"{same} the same at the same place",
            hint="evaluate both on the same held-out rows",
        )
    a, b = (e.values.get("candidates", 0) for e in (first, second))
    if a != b:
        raise DataError(
            f"one model chose among {a:,.0f} candidates, the other among {b:,.0f}",
            hint="evaluate both with the same known rows",
        )
    if "grade" in first.per_query and (second.per_query["grade"] != first.per_query["grade"]).any():
        raise DataError("the two models were held against different grades", hint="evaluate both on the same rows")


def _measured(evaluation: Evaluation) -> list[str]:
    """The metrics that can be resampled."""
    names = [n for n in evaluation.per_query if n not in _EVIDENCE]
    graded = [n for n in ("spearman", "average_precision") if n in evaluation.values]
    return [*graded, *names, *(["f1"] if "said" in evaluation.per_query else [])]


def _difference(first: Evaluation, second: Evaluation, name: str, seed: int) -> Interval:
    a, b = first.per_query, second.per_query
    if name == "spearman":
        return paired_spearman(a["similarity"], b["similarity"], a["grade"], seed=seed)
    if name in ("average_precision", "f1"):
        same = a["grade"] > 0
        one, other = (
            average_precision_of(e["similarity"], same) if name != "f1" else f1_of(same, np.asarray(e["said"], bool))
            for e in (a, b)
        )
        return paired_statistics(one, other, same.size, seed=seed)
    return paired_mean(a[name], b[name], seed=seed)
