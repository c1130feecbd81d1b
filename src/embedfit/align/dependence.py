"""Whether two spaces know of each other at all, without a map: shared neighbours and distance correlation.

Axes: n rows, a dimensions of the source, e of the target.
"""

from __future__ import annotations

__all__ = ["distance_correlation", "neighbour_overlap", "neighbours"]

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors


def neighbours(rows: Float[np.ndarray, "n e"], k: int) -> Int[np.ndarray, "n k"]:
    """The k nearest other rows of each row, by Euclidean distance (of unit rows: by cosine)."""
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    return found.kneighbors(return_distance=False)


def neighbour_overlap(
    source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"], *, k: int = 10, seed: int = 0
) -> tuple[float, float]:
    """Share of the k nearest rows that both spaces agree on.

    Returns:
        The share, and that with the rows of the target shuffled.
    """
    a, b = neighbours(source, k), neighbours(target, k)
    order = np.random.default_rng(seed).permutation(len(b))
    back = np.argsort(order)
    return _shared(a, b), _shared(a, back[b[order]])


def distance_correlation(
    source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"], *, draws: int = 199, seed: int = 0
) -> tuple[float, float, float]:
    """Bias-corrected squared distance correlation: above 0 for any dependence, linear or not.

    Returns:
        The statistic, its mean over shuffled targets, and the probability of one as large among them.

    References:
        Szekely and Rizzo 2013, The distance correlation t-test of independence in high dimension; the permutation test
        of Szekely, Rizzo and Bakirov 2007.
    """
    a, b = _centred(source), _centred(target)
    norm = max(float(np.sqrt(np.square(a).sum() * np.square(b).sum())), 1e-30)
    rng = np.random.default_rng(seed)
    own = float((a * b).sum()) / norm
    shuffled = np.empty(draws)
    for i in range(draws):
        order = rng.permutation(len(b))
        shuffled[i] = float((a * b[np.ix_(order, order)]).sum()) / norm
    return own, float(shuffled.mean()), (1 + np.count_nonzero(shuffled >= own)) / (1 + draws)


def _shared(a: Int[np.ndarray, "n k"], b: Int[np.ndarray, "n k"]) -> float:
    return float((a[:, :, None] == b[:, None, :]).any(2).mean())


def _centred(rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n n"]:
    """Distances, U-centred: every row sums to zero, and so does the diagonal."""
    distance = cdist(rows.astype(np.float64), rows.astype(np.float64))
    n = len(distance)
    out = distance - distance.sum(0) / (n - 2) - distance.sum(1)[:, None] / (n - 2)
    out += distance.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(out, 0.0)
    return out
