"""Lexical and dense scores together: often better than either, and the first thing to try where a model falls short.

Axes: b queries of a block, c candidates, q queries, n pairs.
"""

from __future__ import annotations

__all__ = ["choose_weight", "cross_fitted", "cross_fitted_graded", "fuse", "reciprocal_rank_fusion", "standardise"]

from functools import partial

import numpy as np
from jaxtyping import Float, Int

from embedfit.evaluate.faq import Scorer
from embedfit.evaluate.retrieval import blocks, rank_task
from embedfit.evaluate.tasks import Task
from embedfit.metrics import measure, spearman

WEIGHTS = tuple(i / 20 for i in range(21))
_SAMPLE = 1_000  # queries a weight is chosen on: enough to tell weights apart by a point


def standardise(scores: Float[np.ndarray, "b c"]) -> Float[np.ndarray, "b c"]:
    """Mean 0 and deviation 1 over the candidates of each query; all zero where a query scores them all alike."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    differ = scores.max(axis=1, keepdims=True) > scores.min(axis=1, keepdims=True)
    return np.where(differ, centred / np.where(differ, scores.std(axis=1, keepdims=True), 1), 0)


def fuse(lexical: Scorer, dense: Scorer, weight: float) -> Scorer:
    """Weighted sum of standardised scores.

    Args:
        lexical: scores by words.
        dense: scores by embeddings, over the same candidates.
        weight: of the dense scores, in [0, 1].
    """

    def score(rows: Int[np.ndarray, " b"]) -> Float[np.ndarray, "b c"]:
        return weight * standardise(dense(rows)) + (1 - weight) * standardise(lexical(rows))

    return score


def reciprocal_rank_fusion(lexical: Scorer, dense: Scorer, constant: float = 60.0) -> Scorer:
    """Sum of 1 / (constant + rank) over both; ties share their worst rank. Needs no weight.

    Source: Cormack, Clarke and Buettcher 2009, Reciprocal Rank Fusion.
    """
    from scipy.stats import rankdata

    def score(rows: Int[np.ndarray, " b"]) -> Float[np.ndarray, "b c"]:
        both = (rankdata(-one(rows), method="max", axis=1) for one in (lexical, dense))
        return np.asarray(sum(1 / (constant + ranks) for ranks in both))

    return score


def choose_weight(
    task: Task, lexical: Scorer, dense: Scorer, metric: str, rows: Int[np.ndarray, " b"] | None = None
) -> float:
    """The weight of the dense scores with the best metric on these queries; of equal ones the nearest to a half."""
    rows = np.arange(len(task.queries)) if rows is None else rows
    total = dict.fromkeys(WEIGHTS, 0.0)
    for block in blocks(task, rows):
        words, vectors = standardise(lexical(block)), standardise(dense(block))
        for weight in WEIGHTS:
            mixed = weight * vectors + (1 - weight) * words
            ranked = rank_task(task, partial(_given, mixed), block)  # one block: it is not divided again
            total[weight] += float(measure(ranked.ranking, metric).sum())
    return max(WEIGHTS, key=lambda w: (total[w], -abs(w - 0.5)))


def _given(scores: Float[np.ndarray, "b c"], _rows: Int[np.ndarray, " b"]) -> Float[np.ndarray, "b c"]:
    return scores


def cross_fitted(
    task: Task, lexical: Scorer, dense: Scorer, metric: str, *, seed: int = 0
) -> tuple[Float[np.ndarray, " q"], float]:
    """What fusion reaches on queries its weight was not chosen on: each half is measured with the other half's weight.

    Returns:
        The metric per query, and the mean of the two weights.
    """
    order = np.random.default_rng(seed).permutation(len(task.queries))
    halves = order[::2], order[1::2]
    values = np.zeros(order.size)
    weights = []
    for chosen_on, measured_on in (halves, halves[::-1]):
        rows = np.sort(chosen_on[:_SAMPLE])
        weight = choose_weight(task, lexical, dense, metric, rows) if rows.size else 0.5
        weights.append(weight)
        if measured_on.size:
            ranked = rank_task(task, fuse(lexical, dense, weight), measured_on)
            values[measured_on] = measure(ranked.ranking, metric)
    return values, float(np.mean(weights))


def cross_fitted_graded(
    lexical: Float[np.ndarray, " n"],
    dense: Float[np.ndarray, " n"],
    target: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " n"], float]:
    """The same for graded pairs: similarities mixed with the weight chosen on the other half, by rank correlation."""
    a, b = standardise(np.asarray(lexical)[None])[0], standardise(np.asarray(dense)[None])[0]
    order = np.random.default_rng(seed).permutation(target.size)
    halves = order[::2], order[1::2]
    mixed = np.zeros(target.size)
    weights = []
    for chosen_on, measured_on in (halves, halves[::-1]):
        value = {w: spearman(w * b[chosen_on] + (1 - w) * a[chosen_on], target[chosen_on]) for w in WEIGHTS}
        weight = max(WEIGHTS, key=lambda w: (value[w], -abs(w - 0.5)))
        weights.append(weight)
        mixed[measured_on] = weight * b[measured_on] + (1 - weight) * a[measured_on]
    return mixed, float(np.mean(weights))
