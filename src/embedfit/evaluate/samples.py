"""Rows kept as evidence: the worst mistakes, similarities, the spectrum and a map of the embeddings.

Axes: q queries, k keys, n rows of a sample, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["curve", "graded_worst", "projection", "similarities", "worst"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from embedfit.evaluate.retrieval import Ranked
from embedfit.evaluate.tasks import Task
from embedfit.metrics import NEVER, Ranking, recall
from embedfit.probes.embedding import isotropic_singular_values

_WORST, _SIMILARITIES, _SPECTRUM, _MAP = 20, 1_000, 2_000, 500
_SHOWN = 2_000  # characters of a text that are shown
_CURVE = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)


def worst(task: Task, ranked: Ranked) -> list[dict[str, Any]]:
    """The queries whose right answer came last; of equal ranks the most confidently wrong first.

    `rank` is None where the right answer is not among the candidates at all.
    """
    first = ranked.ranking.first()
    order = np.lexsort((ranked.expected_score - ranked.score, -first))
    rows = [int(i) for i in order[:_WORST] if first[i] > 1]
    return [
        {
            "query": _shown(task.queries[i]),
            "expected": _shown(task.candidates[ranked.expected[i]]) if ranked.expected[i] >= 0 else None,
            "got": _shown(task.candidates[ranked.answer[i]]),
            "score_expected": float(ranked.expected_score[i]) if ranked.expected[i] >= 0 else None,
            "score_got": float(ranked.score[i]),
            "rank": int(first[i]) if first[i] < NEVER else None,
        }
        for i in rows
    ]


def graded_worst(
    first: Sequence[str],
    second: Sequence[str],
    similarity: Float[np.ndarray, " n"],
    grade: Float[np.ndarray, " n"],
) -> list[dict[str, Any]]:
    """The pairs whose similarity stands furthest from where their grade would put it.

    `score_expected` is the grade, `score_got` the cosine, `rank` how many places apart they stand.
    """
    off = np.abs(_places(similarity) - _places(grade))
    return [
        {
            "query": _shown(first[i]),
            "expected": _shown(second[i]),
            "got": _shown(second[i]),
            "score_expected": float(grade[i]),
            "score_got": float(similarity[i]),
            "rank": round(float(off[i])),
        }
        for i in np.argsort(-off, kind="stable")[:_WORST]
    ]


def _shown(text: str) -> str:
    """The text, or the beginning of one that would fill the page."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _places(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, group, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def similarities(
    task: Task, query: Float[np.ndarray, "q e"], key: Float[np.ndarray, "k e"], *, seed: int = 0
) -> dict[str, list[float]]:
    """Cosine of a sample of queries with a random key of a relevant candidate, and with a random other key."""
    rng = np.random.default_rng(seed)
    there = np.flatnonzero(task.relevant >= 0)
    chosen = np.sort(rng.choice(there, min(_SIMILARITIES, there.size), replace=False))
    rows, right = task.query[chosen], task.relevant[chosen]
    first, last = np.searchsorted(task.owner, right), np.searchsorted(task.owner, right, "right")
    positive = rng.integers(first, last)
    negative = rng.integers(task.owner.size, size=rows.size)
    known = set(zip(task.query.tolist(), task.relevant.tolist(), strict=True))
    other = [
        (i, o) not in known and task.itself[i] != o
        for i, o in zip(rows.tolist(), task.owner[negative].tolist(), strict=True)
    ]
    return {
        "positive": np.einsum("ne,ne->n", query[rows], key[positive]).astype(float).tolist(),
        "negative": np.einsum("ne,ne->n", query[rows], key[negative])[other].astype(float).tolist(),
    }


def curve(model: Ranking, lexical: Ranking | None) -> dict[str, list[float]]:
    """Mean recall at growing k, of the model and of the lexical baseline."""
    ks = [k for k in _CURVE if k <= model.candidates]
    out: dict[str, list[float]] = {"k": [float(k) for k in ks], "model": [float(recall(model, k).mean()) for k in ks]}
    if lexical is not None:
        out["lexical"] = [float(recall(lexical, k).mean()) for k in ks]
    return out


def projection(
    embedding: Float[np.ndarray, "n e"], texts: Sequence[str], labels: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """Singular values of a sample of centred unit embeddings, descending, and its two main axes as a map.

    Returns:
        `singular_values`; `isotropic_singular_values`, those of as many even directions; `map`: for up to 500 rows
        {x, y, text, label}.
    """
    rng = np.random.default_rng(seed)
    rows: Int[np.ndarray, " n"] = np.sort(rng.choice(len(texts), min(_SPECTRUM, len(texts)), replace=False))
    sample = embedding[rows].astype(np.float64)
    sample -= sample.mean(axis=0)
    _, values, axes = np.linalg.svd(sample, full_matrices=False)
    # the sign of an axis is arbitrary: fix it, so that two maps of one model look alike
    axes = axes[:2] * np.sign(axes[:2][np.arange(axes[:2].shape[0]), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    place = sample @ axes.T
    if place.shape[1] < 2:
        place = np.pad(place, ((0, 0), (0, 2 - place.shape[1])))
    shown = np.sort(rng.choice(rows.size, min(_MAP, rows.size), replace=False))
    points = [
        {"x": float(place[i, 0]), "y": float(place[i, 1]), "text": _shown(texts[rows[i]]), "label": labels[rows[i]]}
        for i in shown
    ]
    return {
        "singular_values": values.tolist(),
        "isotropic_singular_values": list(isotropic_singular_values(rows.size, embedding.shape[1])),
        "map": points,
    }
