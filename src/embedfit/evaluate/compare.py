"""Two models on the same held-out rows: is one better, and by how much?"""

from __future__ import annotations

__all__ = ["compare"]

from embedfit.errors import DataError
from embedfit.evaluate.held_out import Evaluation
from embedfit.metrics import Interval, paired_mean, paired_spearman


def compare(first: Evaluation, second: Evaluation, metric: str | None = None, *, seed: int = 0) -> Interval:
    """Difference first - second with a 95 % interval and p, by the paired bootstrap over queries.

    Args:
        first: one model.
        second: the other, on the same rows.
        metric: which one; None: the main metric.
        seed: of the resampling.

    Raises:
        DataError: the rows differ, or the metric was not measured on both.
    """
    if first.queries != second.queries:
        same = sum(a == b for a, b in zip(first.queries, second.queries, strict=False))
        raise DataError(
            f"the two models were asked different things: {len(first.queries)} and {len(second.queries)} queries, "
            f"{same} the same at the same place",
            hint="evaluate both on the same held-out rows",
        )
    name = metric or first.metric
    if name == "spearman" and "grade" in first.per_query:
        grade = first.per_query["grade"]
        if (second.per_query["grade"] != grade).any():
            raise DataError("the two models were held against different grades", hint="evaluate both on the same rows")
        return paired_spearman(first.per_query["similarity"], second.per_query["similarity"], grade, seed=seed)
    if name not in first.per_query or name not in second.per_query:
        both = [n for n in first.per_query if n in second.per_query and n not in ("similarity", "grade")]
        raise DataError(
            f"'{name}' was not measured on both models", hint=f"measured on both: {', '.join(both) or 'none'}"
        )
    return paired_mean(first.per_query[name], second.per_query[name], seed=seed)
