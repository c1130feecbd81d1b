"""The matrix of logits in tiles, and the products that turn gradients of tiles into gradients of embeddings.

Axes: q queries, d documents, e dimensions.
"""

from __future__ import annotations

__all__ = ["NONE", "Gradient", "Products", "Rivals", "Tile", "Tiles"]

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores.cells import Cells, Doubtful

Pair = tuple[Int[Tensor, " o"], Int[Tensor, " o"]]

NONE = -1e30  # log-sum-exp of no negatives; finite, because -inf - (-inf) is no number


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gradient:
    """What one pass leaves behind; all tensors are without history.

    Attributes:
        losses: one per query of this process, float64.
        query: gradient of the weighted sum of the losses by the queries of this process, fp32.
        document: this process's part of the gradient by all documents, fp32.
        scale: this process's part of the gradient by the scale.
    """

    losses: Float[Tensor, " q"]
    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    scale: Float[Tensor, ""]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rivals:
    """What the certain negatives of n rows come to.

    Attributes:
        logsumexp: of their logits; `NONE` or below where there are none.
        mean: of their logits; 0 where there are none, NaN where the loss has not asked (`Softmax.means`).
        count: how many they are; NaN where the loss has not asked.
        log_q: log of the probability with which sampling brings the row's own positive into a batch; None where
            nothing is corrected for that.
    """

    logsumexp: Float[Tensor, " n"]
    mean: Float[Tensor, " n"]
    count: Float[Tensor, " n"]
    log_q: Float[Tensor, " n"] | None = None

    def at(self, rows: Int[Tensor, " m"]) -> Rivals:
        """Those of some rows; a row may be named more than once."""
        log_q = None if self.log_q is None else self.log_q[rows]
        return Rivals(logsumexp=self.logsumexp[rows], mean=self.mean[rows], count=self.count[rows], log_q=log_q)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tile:
    """A part of the matrix of logits.

    Attributes:
        rows: counted from this process's first.
        columns: counted from the first document at hand.
        logits: only those of certain negatives are finite. A buffer that the next tile overwrites.
        own: rows and columns of the positives that are in this tile, counted from its first.
        value: logits of those positives.
        gone: rows and columns of all cells that are no certain negatives, the positives among them.
        by_row: sum and number of the logits of the negatives of each row; NaN where nobody asks for them.
        by_column: the same of each column.
    """

    rows: slice
    columns: slice
    logits: Float[Tensor, "b c"]
    own: Pair
    value: Float[Tensor, " o"]
    gone: Cells
    by_row: Float[Tensor, "b 2"]
    by_column: Float[Tensor, "c 2"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tiles:
    """The matrix of logits, a block of rows at a time, and of that a block of columns.

    Attributes:
        query: embeddings of the queries of this process, fp32, normalised where cosines are meant.
        document: embeddings of the documents at hand.
        positive: number of each query's own positive, for the queries of all processes.
        scale: turns similarities into logits; 1 / temperature.
        rows: numbers of the queries of this process.
        first: number of the first document at hand; none: all are at hand.
        doubtful: cells that are no certain negatives.
        log_q: subtracted from the logits of each document at hand where it is a negative: log of the probability with
            which sampling brings it.
        means: whether mean and number of the negatives are wanted.
        block: queries in a tile.
        width: documents in a tile; none: all.
    """

    query: Float[Tensor, "m e"]
    document: Float[Tensor, "d e"]
    positive: Int[Tensor, " q"]
    scale: float
    rows: slice
    first: int | None = None
    doubtful: Doubtful | None = None
    log_q: Float[Tensor, " d"] | None = None
    means: bool = False
    block: int = 256
    width: int | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.query) / self.block) * math.ceil(len(self.document) / self._wide)

    @property
    def _wide(self) -> int:
        documents = max(1, len(self.document))
        return min(self.width or documents, documents)

    def __iter__(self) -> Iterator[Tile]:
        """Yields the tiles, row by row of tiles."""
        count, documents, wide = len(self.query), len(self.document), self._wide
        block = min(self.block, max(1, count))
        buffer = self.document.new_empty(block * wide)
        number = torch.arange(block, device=buffer.device)
        edges = [slice(i, min(i + wide, documents)) for i in range(0, documents, wide)]
        for start in range(0, count, block):
            rows = slice(start, min(start + block, count))
            begin, end = self.rows.start + rows.start, self.rows.start + rows.stop
            query = self.query[rows] * self.scale
            owned = (number[: len(query)], self.positive[begin:end])
            # the own positive is among those that are gone
            gone = owned if self.doubtful is None else self.doubtful.cells(begin, end)
            for columns, own, away in zip(edges, self._cut(owned, wide), self._cut(gone, wide), strict=True):
                logits = buffer[: len(query) * (columns.stop - columns.start)].view(len(query), -1)
                yield self._tile(query, rows, columns, logits, own, away)

    def _cut(self, cells: Cells, wide: int) -> list[tuple[Tensor, Tensor]]:
        """The cells of each tile of a row of tiles, with columns counted from the tile's first."""
        last = len(self.document)
        if self.first is None and wide >= last:
            return [cells]
        column, order = cells[1].sort()
        row, column = cells[0][order], column - (self.first or 0)
        edges = torch.arange(0, last + wide, wide, device=column.device).clamp(max=last)
        ends = torch.searchsorted(column, edges).tolist()
        return [(row[a:b], column[a:b] - i * wide) for i, (a, b) in enumerate(itertools.pairwise(ends))]

    def _tile(self, query: Tensor, rows: slice, columns: slice, logits: Tensor, own: Pair, gone: Cells) -> Tile:
        """One tile, in the memory of `logits`."""
        torch.mm(query, self.document[columns].T, out=logits)
        value = logits[own]
        if self.log_q is not None:
            logits.sub_(self.log_q[columns])
        by_row, by_column = self._sums(query, columns, logits, gone)
        logits[gone] = -math.inf
        return Tile(
            rows=rows,
            columns=columns,
            logits=logits,
            own=own,
            value=value,
            gone=gone,
            by_row=by_row,
            by_column=by_column,
        )

    def _sums(self, query: Tensor, columns: slice, logits: Tensor, gone: Cells) -> tuple[Tensor, Tensor]:
        """Sum and number of the logits of the negatives of rows and columns, from products with two vectors."""
        b, d = logits.shape
        if not self.means:
            return logits.new_full((b, 2), math.nan), logits.new_full((d, 2), math.nan)
        document = self.document[columns]
        bias = logits.new_zeros(d) if self.log_q is None else self.log_q[columns]
        numbers = torch.unique(gone[0] * d + gone[1])  # a cell may be named more than once
        row, column = numbers // d, numbers % d
        lost = torch.stack([logits[row, column], torch.ones(len(row), device=logits.device)], 1)
        by_row = torch.stack([query @ document.sum(0) - bias.sum(), logits.new_full((b,), d)], 1)
        by_column = torch.stack([document @ query.sum(0) - b * bias, logits.new_full((d,), b)], 1)
        return by_row.index_add(0, row, lost, alpha=-1), by_column.index_add(0, column, lost, alpha=-1)


@dataclass(slots=True, eq=False)
class Products:
    """The two products that turn gradients of logits into gradients of embeddings."""

    tiles: Tiles
    query: Tensor
    document: Tensor

    @staticmethod
    def of(tiles: Tiles) -> Products:
        """Nothing yet."""
        return Products(tiles, torch.zeros_like(tiles.query), torch.zeros_like(tiles.document))

    def add(self, tile: Tile, gradient: Tensor) -> None:
        """Take in the gradient of a tile's logits."""
        self.query[tile.rows].addmm_(gradient, self.tiles.document[tile.columns])
        self.document[tile.columns].addmm_(gradient.T, self.tiles.query[tile.rows])

    def done(self, losses: Tensor) -> Gradient:
        """The whole, once every tile has been taken in."""
        scale = torch.linalg.vecdot(self.tiles.query, self.query).sum(dtype=torch.float64).float()
        return Gradient(
            losses=losses,
            query=self.query.mul_(self.tiles.scale),
            document=self.document.mul_(self.tiles.scale),
            scale=scale,
        )
