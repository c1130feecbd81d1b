"""How good predicted vectors are: direction, distance, length, and whether the right target is the nearest.

Axes: n rows, c candidates, e dimensions.
"""

from __future__ import annotations

__all__ = ["Quality", "places", "quality"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from embedfit.align.spaces import groups_of
from embedfit.metrics import Interval, bootstrap_mean, rank

CELLS = 1 << 23  # of one block of scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quality:
    """Predicted vectors against their targets, row by row.

    Attributes:
        cosine: cosine of each prediction with its target, as the ruler of the target space scales them.
        distance: squared distance of each.
        length: squared length of each target.
        ratio: length of each prediction over that of its target.
        rank: place of the own target among all candidates, from 1; equal targets count as one.
        candidates: how many different candidates there are.
    """

    cosine: Float[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]
    ratio: Float[np.ndarray, " n"]
    rank: Int[np.ndarray, " n"]
    candidates: int

    def recall(self, k: int) -> float:
        """Share of the rows whose own target is among the k nearest."""
        return float(np.mean(self.rank <= k))

    def interval(self, k: int) -> Interval:
        """The same with its 95 % bootstrap interval."""
        return bootstrap_mean((self.rank <= k).astype(np.float64))

    @property
    def place(self) -> Float[np.ndarray, " n"]:
        """Share of the other candidates that are farther away: evenly spread over 0..1 for unrelated spaces."""
        return (self.candidates - self.rank) / max(1, self.candidates - 1)

    @property
    def z(self) -> float:
        """Standard errors by which the mean place lies above that of unrelated spaces (0.5)."""
        return float((self.place.mean() - 0.5) * np.sqrt(12 * len(self.rank)))

    def select(self, rows: Int[np.ndarray, " m"]) -> Quality:
        """Some of the rows, against the same candidates."""
        return Quality(
            cosine=self.cosine[rows],
            distance=self.distance[rows],
            length=self.length[rows],
            ratio=self.ratio[rows],
            rank=self.rank[rows],
            candidates=self.candidates,
        )

    def to_dict(self) -> dict[str, Any]:
        """The figures a reader wants."""
        first, tenth = self.interval(1), self.interval(10)
        return {
            "rows": len(self.rank),
            "candidates": self.candidates,
            "cosine": float(self.cosine.mean()),
            "relative_l2": float(np.sqrt(self.distance.sum() / max(self.length.sum(), 1e-30))),
            "norm_ratio": float(np.median(self.ratio)),
            "recall@1": first.value,
            "recall@1/low": first.low,
            "recall@1/high": first.high,
            "recall@10": tenth.value,
            "recall@10/low": tenth.low,
            "recall@10/high": tenth.high,
            "place": float(self.place.mean()),
            "z": self.z,
        }


def quality(
    prediction: Float[np.ndarray, "n e"],
    pool: Float[np.ndarray, "c e"],
    own: Int[np.ndarray, " n"],
    *,
    cosine: bool,
) -> Quality:
    """Measure predictions.

    Args:
        prediction: what a map gave, scaled by the ruler.
        pool: targets of all items, scaled alike.
        own: row of the pool that belongs to each prediction.
        cosine: nearness is the cosine; else the distance.
    """
    target = pool[own]
    dot = np.einsum("ne,ne->n", prediction, target, dtype=np.float64)
    a, b = (np.linalg.norm(x.astype(np.float64), axis=1) for x in (prediction, target))
    group = groups_of(pool)
    first = np.unique(group, return_index=True)[1]
    return Quality(
        cosine=dot / np.maximum(a * b, 1e-30),
        distance=np.maximum(a**2 + b**2 - 2 * dot, 0),
        length=b**2,
        ratio=a / np.maximum(b, 1e-30),
        rank=places(prediction, pool[first], group[own], cosine=cosine),
        candidates=len(first),
    )


def places(
    prediction: Float[np.ndarray, "n e"],
    pool: Float[np.ndarray, "c e"],
    own: Int[np.ndarray, " n"],
    *,
    cosine: bool,
) -> Int[np.ndarray, " n"]:
    """Rank of the own target of each prediction, from 1; a tie with another candidate counts against it.

    Args:
        prediction: rows.
        pool: candidates, all different.
        own: candidate that belongs to each row.
        cosine: nearness is the cosine (of a pool of unit rows); else the distance.
    """
    out = np.empty(len(prediction), np.int64)
    half = np.zeros(len(pool), np.float32) if cosine else np.einsum("ce,ce->c", pool, pool) / 2
    step = max(1, CELLS // max(1, len(pool)))
    for start in range(0, len(prediction), step):
        part = slice(start, start + step)
        scores = prediction[part] @ pool.T - half  # |p - t|^2 is smallest where p t - t t / 2 is largest
        out[part] = rank(scores, np.arange(len(scores)), own[part]).rank
    return out
