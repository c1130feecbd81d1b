"""What a space of vectors is like, and how nearness is measured in it.

Axes: n rows, e dimensions.
"""

from __future__ import annotations

__all__ = ["Nearness", "Ruler", "folds_of", "ruler_for", "space_facts"]

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from embedfit.probes.embedding import effective_rank, mean_direction

Nearness = Literal["auto", "cosine", "euclidean"]
UNIT = 0.01  # lengths that vary by less than this share around 1 are unit length
STRAY = 0.01  # share of rows of another length that make no other space of it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ruler:
    """How rows are scaled before they are compared or learned from.

    Attributes:
        cosine: rows are brought to unit length, and the nearest is the one of the greatest cosine. Otherwise every
            coordinate is centred and divided by its spread, and the nearest is the one at the smallest distance.
        mean: of each coordinate; zeros for cosine.
        spread: of each coordinate; ones for cosine.
    """

    cosine: bool
    mean: Float[np.ndarray, " e"]
    spread: Float[np.ndarray, " e"]

    def __call__(self, rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
        """The rows as they are compared."""
        if self.cosine:
            return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12).astype(np.float32)
        return ((rows - self.mean) / self.spread).astype(np.float32)


def ruler_for(rows: Float[np.ndarray, "n e"], nearness: Nearness = "auto") -> Ruler:
    """The ruler of a space: cosine for rows of unit length but a few, else distance over scaled coordinates.

    Features of different units (an age, a price) say nothing by their cosine: the largest unit would decide.

    Args:
        rows: of the space.
        nearness: cosine or euclidean where it is known; auto: by the lengths of the rows.
    """
    length = np.linalg.norm(rows, axis=1)
    off = np.abs(length[length > 0] - 1) >= UNIT
    unit = bool(off.sum() <= STRAY * len(off))
    size = rows.shape[1]
    if nearness == "cosine" or (nearness == "auto" and unit):
        return Ruler(cosine=True, mean=np.zeros(size, np.float32), spread=np.ones(size, np.float32))
    # spread by quantiles, which a few outliers cannot blow up; a coordinate that hardly moves keeps its size
    low, high = np.quantile(rows.astype(np.float64), [0.1587, 0.8413], axis=0)
    spread = np.where(high > low, (high - low) / 2, rows.std(0, dtype=np.float64))
    spread = np.where(spread > 1e-9 * max(1e-30, float(np.abs(rows).max())), spread, 1.0)
    return Ruler(cosine=False, mean=np.median(rows, axis=0).astype(np.float32), spread=spread.astype(np.float32))


def space_facts(rows: Float[np.ndarray, "n e"], *, sample: int = 4_000) -> dict[str, Any]:
    """Dimension, lengths, rank and repetitions of a space.

    Returns:
        `rows`, `dimension`, `norm_mean`, `norm_spread` (standard deviation over mean), `rank` (directions with more
        than a millionth of the largest singular value), `effective_rank`, `mean_direction` (0 even, 1 all one way),
        `distinct` (rows that differ), `zero_rows`.
    """
    part = rows[:: max(1, -(-len(rows) // sample))].astype(np.float64)
    length = np.linalg.norm(part, axis=1)
    centred = part - part.mean(0)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    unit = torch.from_numpy(part[length > 0]) if (length > 0).any() else torch.zeros(1, part.shape[1])
    return {
        "rows": len(rows),
        "dimension": rows.shape[1],
        "norm_mean": float(length.mean()),
        "norm_spread": float(length.std() / max(length.mean(), 1e-30)),
        "rank": int(np.count_nonzero(values > 1e-6 * max(values.max(), 1e-30))),
        "effective_rank": effective_rank(unit),
        "mean_direction": mean_direction(unit),
        "distinct": len(np.unique(groups_of(rows))),
        "zero_rows": int(np.count_nonzero(~rows.any(1))),
    }


def groups_of(rows: Float[np.ndarray, "n e"]) -> Int[np.ndarray, " n"]:
    """A number for each row, the same for rows that are equal bit for bit (0 and -0 alike)."""
    seen = np.ascontiguousarray(rows + np.float32(0), np.float32).view(np.dtype((np.void, 4 * rows.shape[1])))
    return np.unique(seen.ravel(), return_inverse=True)[1].reshape(-1)


def folds_of(source: Float[np.ndarray, "n e"], count: int, seed: int) -> Int[np.ndarray, " n"]:
    """Fold of each row; equal source rows share one, so that none is held out that was learned."""
    group = groups_of(source)
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    return order[group] % count
