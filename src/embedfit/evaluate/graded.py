"""Graded pairs: how well cosine follows the grade.

Axes: n pairs, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["correlations", "paired_cosine"]

import numpy as np
from jaxtyping import Float

from embedfit.metrics import Interval, bootstrap_pearson, bootstrap_spearman


def paired_cosine(first: Float[np.ndarray, "n e"], second: Float[np.ndarray, "n e"]) -> Float[np.ndarray, " n"]:
    """Cosine of row i with row i, unit rows given, summed in float64."""
    return np.einsum("ne,ne->n", first, second, dtype=np.float64)


def correlations(
    similarity: Float[np.ndarray, " n"], grade: Float[np.ndarray, " n"], *, seed: int = 0
) -> dict[str, Interval]:
    """Spearman (order only, the main metric) and Pearson (straight line) of similarity with the grade."""
    return {
        "spearman": bootstrap_spearman(similarity, grade, seed=seed),
        "pearson": bootstrap_pearson(similarity, grade, seed=seed),
    }
