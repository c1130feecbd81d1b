"""Whether rows of two sides belong together: by their inputs alone, before anything is trained.

Axes: n rows, f features of a query, g of a document.
"""

from __future__ import annotations

__all__ = ["Relation", "crowding", "features", "relation"]

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.probes.rows import Column
from embedfit.probes.score import pair_z

WIDTH = 192
LAGS = (0, 1, -1, 2, -2, 3, -3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How well the inputs of one side tell those of the other.

    Attributes:
        z: standard deviations by which the rows as they are stand out from random pairs, out of sample.
        lag: shift of the documents, in rows, that fits best.
        lag_z: the same statistic at that shift.
        batch_z: the statistic for means over batches: high while z is not, where rows are mixed up within batches.
        rows: that were looked at.
    """

    z: float
    lag: int
    lag_z: float
    batch_z: float
    rows: int


def features(columns: Sequence[Column], rows: int) -> Float[Tensor, "n f"]:
    """Rows as vectors, whatever they are: numbers as they are, ids and texts as hashed counts, narrowed at random."""
    parts = [_vectors(column[:rows]) for column in columns]
    whole = torch.cat(parts, dim=1)
    if whole.shape[1] > WIDTH:
        generator = torch.Generator().manual_seed(0)
        whole = whole @ torch.randn(whole.shape[1], WIDTH, generator=generator, dtype=whole.dtype) / WIDTH**0.5
    return whole


def relation(query: Sequence[Float[Tensor, "b f"]], document: Sequence[Float[Tensor, "b g"]]) -> Relation:
    """Fit documents by queries on some batches (ridge regression), and try the fit on the others, at several shifts.

    Args:
        query: features of the queries, by batch.
        document: features of their documents.
    """
    half = max(1, int(len(query) * 0.7))
    found = {}
    for lag in LAGS:
        moved = [d.roll(-lag, 0) for d in document]
        found[lag] = _out_of_sample(torch.cat(list(query[:half])), torch.cat(moved[:half]), query[half:], moved[half:])
    best = max(found, key=lambda lag: found[lag])
    means = [torch.stack([batch.mean(0) for batch in side]) for side in (query, document)]
    batch_z = _out_of_sample(means[0][:half], means[1][:half], [means[0][half:]], [means[1][half:]])
    return Relation(z=found[0], lag=best, lag_z=found[best], batch_z=batch_z, rows=sum(map(len, query)))


def crowding(batches: Sequence[Float[Tensor, "b f"]]) -> float:
    """How much more alike rows of a batch are than rows of different batches: 0 for rows drawn at random.

    Args:
        batches: features of one side, by batch.
    """
    whole = torch.cat(list(batches))
    centre, spread = whole.mean(0), whole.std(0).clamp(min=1e-9)
    units = [normalize((b - centre) / spread, dim=-1) for b in batches]
    sums = torch.stack([u.sum(0) for u in units])
    counts = torch.tensor([len(u) for u in units], dtype=whole.dtype)
    inside = (sums.square().sum(-1) - counts) / (counts * (counts - 1)).clamp(min=1)
    return float(inside.mean())


def _out_of_sample(x: Tensor, y: Tensor, query: Sequence[Tensor], document: Sequence[Tensor]) -> float:
    """Pair z of fitted against true documents; each batch apart, so that batches that differ do not help."""
    if not len(query):
        return 0.0
    centre, level = x.mean(0), y.mean(0)
    a, b = x - centre, y - level
    ridge = max(1e-6, float(a.square().sum()) / len(a) * 0.1)
    kernel = a.T @ a + ridge * len(a) / a.shape[1] * torch.eye(a.shape[1], dtype=a.dtype)
    weights = torch.linalg.solve(kernel, a.T @ b)
    scores = []
    for q, d in zip(query, document, strict=True):
        if len(q) > 2:
            fitted = normalize((q - centre) @ weights, dim=-1) @ normalize(d - level, dim=-1).T
            scores.append(pair_z(fitted))
    return sum(scores) / len(scores) ** 0.5 if scores else 0.0


def _vectors(column: Column) -> Float[Tensor, "n f"]:
    if isinstance(column, list) and not isinstance(column[0], Tensor):
        return _hashed([_pieces(entry) for entry in column])
    tensor = torch.stack(list(column)) if isinstance(column, list) else torch.as_tensor(column)
    flat = tensor.detach().reshape(len(tensor), -1)
    if tensor.is_floating_point():
        return flat.double()
    return _hashed([[int(i) for i in row if i] for row in flat.tolist()])


def _pieces(entry: object) -> list[int]:
    if not isinstance(entry, str):
        return [zlib.crc32(repr(entry).encode())]
    text = f" {entry.lower()} "
    return [zlib.crc32(text[i : i + 4].encode()) for i in range(max(1, len(text) - 3))]


def _hashed(rows: Sequence[Sequence[int]]) -> Float[Tensor, "n f"]:
    """Counts of pieces under random signs, WIDTH of them."""
    out = np.zeros((len(rows), WIDTH))
    for i, row in enumerate(rows):
        for piece in row:
            mixed = (piece * 2654435761 + 40503) & 0xFFFFFFFF
            out[i, mixed % WIDTH] += 1.0 if (mixed >> 16) & 1 else -1.0
    return normalize(torch.from_numpy(out), dim=-1)
