"""Agreement of two columns: accuracy, F1, linear and rank correlation.

Axes: n rows, b resamples (each known by how often it holds each row).
"""

from __future__ import annotations

__all__ = ["Statistic", "accuracy", "f1", "pearson", "pearson_of", "spearman", "spearman_of"]

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from embedfit.errors import DataError

Statistic = Callable[[Float[np.ndarray, "b n"]], Float[np.ndarray, " b"]]


def accuracy(label: Shaped[np.ndarray, " n"], predicted: Shaped[np.ndarray, " n"]) -> float:
    """Share of the rows whose predicted class is the labelled one."""
    return float(np.mean(label == predicted))


def f1(
    label: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    average: Literal["macro", "micro"],
    *,
    no_class: int | None = None,
) -> float:
    """F1 = 2 TP / (2 TP + FP + FN), the mean over classes (macro) or of all decisions together (micro).

    Args:
        label: true class of each row.
        predicted: class the model gave.
        average: macro counts every class that occurs in either alike, micro every decision.
        no_class: this number means "none of the classes" (an answer refused): no class of its own.
    """
    classes, codes = np.unique(np.concatenate([label, predicted]), return_inverse=True)
    true, guess = codes[: label.size], codes[label.size :]
    right = np.bincount(true[true == guess], minlength=classes.size)
    total = np.bincount(true, minlength=classes.size) + np.bincount(guess, minlength=classes.size)
    kept = classes != no_class if no_class is not None else np.ones(classes.size, bool)
    right, total = right[kept], total[kept]
    if not total.size:
        return 0.0
    return float(2 * right.sum() / total.sum()) if average == "micro" else float(np.mean(2 * right / total))


def pearson(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Linear correlation in [-1, 1]; 0 where one of them is constant (it says nothing of the other)."""
    return float(pearson_of(x, y)(np.ones((1, x.size)))[0])


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Rank correlation in [-1, 1], equal values at their mean rank; 0 where one of them is constant."""
    return float(spearman_of(x, y)(np.ones((1, x.size)))[0])


def pearson_of(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Statistic:
    """Linear correlation as a function of how often each row counts."""
    a, b = _rows(x, y)
    return lambda weights: _weighted_pearson(weights, a, b)


def spearman_of(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Statistic:
    """Rank correlation as a function of how often each row counts; every resample is ranked anew."""
    a, b = _rows(x, y)
    rank_x, rank_y = _midranks(a), _midranks(b)
    return lambda weights: _weighted_pearson(weights, rank_x(weights), rank_y(weights))


def _midranks(x: Float[np.ndarray, "1 n"]) -> Callable[[Float[np.ndarray, "b n"]], Float[np.ndarray, "b n"]]:
    """Mean rank of each row within a resample; the order is sorted once, whatever the number of resamples."""
    order = np.argsort(x[0], kind="stable")
    _, group = np.unique(x[0], return_inverse=True)
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))

    def ranks(weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
        size = np.add.reduceat(weights[:, order], starts, axis=1)
        return (np.cumsum(size, axis=1) - (size - 1) / 2)[:, group]

    return ranks


def _weighted_pearson(
    weights: Float[np.ndarray, "b n"], x: Float[np.ndarray, "_ n"], y: Float[np.ndarray, "_ n"]
) -> Float[np.ndarray, " b"]:
    total = weights.sum(1, keepdims=True)
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    spread_x, spread_y = (weights * x * x).sum(1), (weights * y * y).sum(1)
    scale = np.sqrt(spread_x * spread_y)
    # a constant leaves only rounding behind; it must not be divided by itself
    constant = scale <= 1e-14 * total[:, 0] * np.maximum(1e-300, np.abs(x).max(1) * np.abs(y).max(1))
    return np.where(constant, 0.0, (weights * x * y).sum(1) / np.where(constant, 1.0, scale))


def _rows(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(
            "a correlation needs finite values; got NaN or infinity",
            hint="leave out rows without a grade; where scores are at fault, look at the weights of the model",
        )
    if x.size < 2:
        raise DataError(
            f"a correlation needs at least 2 rows; got {x.size}",
            hint="hold out more rows: a few hundred tell two models apart",
        )
    return x.astype(np.float64)[None], y.astype(np.float64)[None]
