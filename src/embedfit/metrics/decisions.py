"""Statistics of yes-or-no decisions as functions of how often each row counts, so that they can be resampled.

Axes: n rows (pairs of texts), b resamples, g groups of equal scores.
"""

from __future__ import annotations

__all__ = ["average_precision_of", "f1_of"]

import numpy as np
from jaxtyping import Bool, Float

from embedfit.metrics.agreement import Statistic


def f1_of(same: Bool[np.ndarray, " n"], said: Bool[np.ndarray, " n"]) -> Statistic:
    """F1 = 2 TP / (2 TP + FP + FN); 0 where nothing is the same and nothing is said to be.

    Args:
        same: what is true.
        said: what was decided.
    """
    right, total = (same & said).astype(np.float64), same.astype(np.float64) + said
    return lambda weights: 2 * (weights @ right) / np.maximum(weights @ total, 1)


def average_precision_of(score: Float[np.ndarray, " n"], same: Bool[np.ndarray, " n"]) -> Statistic:
    """Mean over the rows that are the same of the precision at their rank; equal scores worst; 0 where none is.

    In a group of equal scores the others come first. With a rows that are the same and b rows in all before them, the m
    that are the same add (a + 1) / (b + 1) + ... + (a + m) / (b + m), which the digamma function sums at once.

    Args:
        score: higher is surer to be the same.
        same: what is true.
    """
    from scipy.special import digamma

    _, group = np.unique(-score, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))

    def statistic(weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
        every = weights[:, order]
        m = np.add.reduceat(every * same[order], starts, axis=1)
        a = np.cumsum(m, axis=1) - m
        b = np.cumsum(np.add.reduceat(every, starts, axis=1), axis=1) - m
        total = m - (b - a) * (digamma(b + m + 1) - digamma(b + 1))
        return total.sum(axis=1) / np.maximum(m.sum(axis=1), 1)

    return statistic
