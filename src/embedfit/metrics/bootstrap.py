"""Bootstrap intervals and paired comparisons, seeded and vectorised.

Axes: n rows (queries), b resamples.
"""

from __future__ import annotations

__all__ = [
    "Interval",
    "bootstrap_mean",
    "bootstrap_pearson",
    "bootstrap_spearman",
    "bootstrap_statistic",
    "paired_mean",
    "paired_spearman",
    "paired_statistics",
]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embedfit.metrics.agreement import Statistic, pearson_of, spearman_of

_CELLS = 1 << 24  # of one temporary matrix: 128 MiB in float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its bootstrap interval.

    Attributes:
        value: of the whole sample.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided probability of a difference at least as large when there is none; None for one sample alone.
    """

    value: float
    low: float
    high: float
    p: float | None = None


def bootstrap_mean(values: Float[np.ndarray, " n"], *, seed: int = 0, draws: int = 10_000) -> Interval:
    """Mean over queries with a 95 % percentile interval (Efron and Tibshirani 1993, chapter 13).

    Where every query has 0, or every query 1, resampling knows no uncertainty; there the exact binomial bound
    (Clopper and Pearson 1934) takes its place.

    Args:
        values: one value per query.
        seed: of the resampling.
        draws: how many resamples.
    """
    means = _means(values, seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    bound = 0.025 ** (1 / values.size)
    if (values == 1).all():
        low = bound
    elif (values == 0).all():
        high = 1 - bound
    return Interval(value=float(values.mean()), low=float(low), high=float(high))


def bootstrap_spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, seed: int = 0, draws: int = 2_000
) -> Interval:
    """Rank correlation with a 95 % percentile interval; every resample is ranked anew."""
    return bootstrap_statistic(spearman_of(x, y), x.size, seed=seed, draws=draws)


def bootstrap_pearson(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, seed: int = 0, draws: int = 2_000
) -> Interval:
    """Linear correlation with a 95 % percentile interval."""
    return bootstrap_statistic(pearson_of(x, y), x.size, seed=seed, draws=draws)


def bootstrap_statistic(statistic: Statistic, rows: int, *, seed: int = 0, draws: int = 2_000) -> Interval:
    """Any statistic of the rows, given as a function of how often each counts, with a 95 % percentile interval."""
    return _interval(_whole(statistic, rows), _resampled([statistic], rows, seed, draws)[0])


def paired_mean(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], *, seed: int = 0, draws: int = 10_000
) -> Interval:
    """Mean difference first - second over the same queries, with interval and p (paired bootstrap).

    Source: Efron and Tibshirani 1993, section 16.4: the null distribution is the bootstrap one, moved to zero.
    """
    difference = first - second
    return _interval(float(difference.mean()), _means(difference, seed, draws), test=True)


def paired_spearman(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    target: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
    draws: int = 2_000,
) -> Interval:
    """Difference of two rank correlations with the same target, on the same resamples."""
    return paired_statistics(
        spearman_of(first, target), spearman_of(second, target), target.size, seed=seed, draws=draws
    )


def paired_statistics(first: Statistic, second: Statistic, rows: int, *, seed: int = 0, draws: int = 2_000) -> Interval:
    """Difference first - second of two statistics of the same rows, on the same resamples, with interval and p."""
    a, b = _resampled([first, second], rows, seed, draws)
    return _interval(_whole(first, rows) - _whole(second, rows), a - b, test=True)


def _whole(statistic: Statistic, rows: int) -> float:
    return float(statistic(np.ones((1, rows)))[0])


def _interval(value: float, drawn: Float[np.ndarray, " b"], *, test: bool = False) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    # the sample itself is one of the draws, so that p is never zero (Davison and Hinkley 1997, section 4.2);
    # the slack keeps draws equal to the value but for rounding on the side of no difference
    slack = 1e-12 * (1 + abs(value))
    p = (1 + np.count_nonzero(np.abs(drawn - value) >= abs(value) - slack)) / (1 + drawn.size) if test else None
    return Interval(value=value, low=float(low), high=float(high), p=None if p is None else float(p))


def _means(values: Float[np.ndarray, " n"], seed: int, draws: int) -> Float[np.ndarray, " b"]:
    # A resample is known by how often each distinct value occurs in it: a multinomial draw. Metrics have few distinct
    # values (a hit is 0 or 1), so this costs draws x distinct values instead of draws x queries.
    distinct, counts = np.unique(values, return_counts=True)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // distinct.size)
    parts = [min(step, draws - start) for start in range(0, draws, step)]
    drawn = [rng.multinomial(values.size, counts / values.size, size=part) @ distinct for part in parts]
    return np.concatenate(drawn) / values.size


def _resampled(statistics: Sequence[Statistic], n: int, seed: int, draws: int) -> list[Float[np.ndarray, " b"]]:
    """Statistics of the same resamples, each given as how often each row was drawn."""
    rng = np.random.default_rng(seed)
    out: list[list[np.ndarray]] = [[] for _ in statistics]
    step = max(1, _CELLS // (8 * n))
    for start in range(0, draws, step):
        part = min(step, draws - start)
        drawn = rng.integers(n, size=(part, n)) + n * np.arange(part)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=part * n).reshape(part, n).astype(np.float64)
        for values, statistic in zip(out, statistics, strict=True):
            values.append(statistic(weights))
    return [np.concatenate(values) for values in out]
