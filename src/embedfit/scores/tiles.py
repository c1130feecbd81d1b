"""The matrix of logits in tiles, and the products that turn gradients of tiles into gradients of embeddings.

Axes: q queries, d documents, e dimensions.
"""

from __future__ import annotations

__all__ = ["NONE", "Gradient", "Products", "Rivals", "Tile", "Tiles"]

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores.cells import Cells, Doubtful

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
    """A block of rows of the matrix of logits.

    Attributes:
        rows: counted from this process's first.
        logits: only those of certain negatives are finite. A buffer that the next block overwrites.
        own: rows and columns of the positives.
        value: logits of the positives.
        gone: rows and columns of all cells that are no certain negatives, the positives among them.
        by_row: sum and number of the logits of the negatives of each row; NaN where nobody asks for them.
        by_column: the same of each column.
    """

    rows: slice
    logits: Float[Tensor, "b d"]
    own: tuple[Int[Tensor, " b"], Int[Tensor, " b"]]
    value: Float[Tensor, " b"]
    gone: Cells
    by_row: Float[Tensor, "b 2"]
    by_column: Float[Tensor, "d 2"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tiles:
    """The matrix of logits, a block of rows at a time.

    Attributes:
        query: embeddings of all queries, fp32, normalised where cosines are meant.
        document: embeddings of all documents.
        positive: column of each query's own positive.
        scale: turns similarities into logits; 1 / temperature.
        rows: the queries of this process.
        doubtful: cells that are no certain negatives.
        log_q: subtracted from the logits of each document where it is a negative: log of the probability with which
            sampling brings it.
        means: whether mean and number of the negatives are wanted.
        block: queries in a tile; memory grows with block x d.
    """

    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    positive: Int[Tensor, " q"]
    scale: float
    rows: slice
    doubtful: Doubtful | None = None
    log_q: Float[Tensor, " d"] | None = None
    means: bool = False
    block: int = 256

    def __iter__(self) -> Iterator[Tile]:
        """Yields the blocks in order."""
        across = self.document.T
        count = self.rows.stop - self.rows.start
        block = min(self.block, max(1, count))
        buffer = across.new_empty(block, across.shape[1])
        number = torch.arange(block, device=across.device)
        for start in range(0, count, block):
            stop = min(start + block, count)
            first, last = self.rows.start + start, self.rows.start + stop
            logits = buffer[: stop - start]
            query = self.query[first:last] * self.scale
            torch.mm(query, across, out=logits)
            own = (number[: stop - start], self.positive[first:last])
            value = logits[own].clone()
            if self.log_q is not None:
                logits.sub_(self.log_q)
            gone = own if self.doubtful is None else self.doubtful.cells(first, last)  # the own positive is among them
            by_row, by_column = self._sums(query, logits, gone)
            logits[gone] = -math.inf
            yield Tile(
                rows=slice(start, stop),
                logits=logits,
                own=own,
                value=value,
                gone=gone,
                by_row=by_row,
                by_column=by_column,
            )

    def _sums(self, query: Tensor, logits: Tensor, gone: Cells) -> tuple[Tensor, Tensor]:
        """Sum and number of the logits of the negatives of rows and columns, from products with two vectors."""
        b, d = logits.shape
        if not self.means:
            return logits.new_full((b, 2), math.nan), logits.new_full((d, 2), math.nan)
        bias = logits.new_zeros(d) if self.log_q is None else self.log_q
        numbers = torch.unique(gone[0] * d + gone[1])  # a cell may be named more than once
        row, column = numbers // d, numbers % d
        lost = torch.stack([logits[row, column], torch.ones(len(row), device=logits.device)], 1)
        rows = torch.stack([query @ self.document.sum(0) - bias.sum(), logits.new_full((b,), d)], 1)
        columns = torch.stack([self.document @ query.sum(0) - b * bias, logits.new_full((d,), b)], 1)
        return rows.index_add(0, row, lost, alpha=-1), columns.index_add(0, column, lost, alpha=-1)


@dataclass(slots=True, eq=False)
class Products:
    """The two products that turn gradients of logits into gradients of embeddings."""

    tiles: Tiles
    query: Tensor
    document: Tensor

    @staticmethod
    def of(tiles: Tiles) -> Products:
        """Nothing yet."""
        shape = (tiles.rows.stop - tiles.rows.start, tiles.query.shape[1])
        device = tiles.query.device
        return Products(
            tiles,
            torch.empty(shape, dtype=torch.float32, device=device),
            torch.zeros(tiles.document.shape, dtype=torch.float32, device=device),
        )

    def add(self, block: slice, gradient: Tensor) -> None:
        """Take in the gradient of a block's logits."""
        first = self.tiles.rows.start
        query = self.tiles.query[first + block.start : first + block.stop]
        torch.mm(gradient, self.tiles.document, out=self.query[block])
        self.document.addmm_(gradient.T, query)

    def done(self, losses: Tensor) -> Gradient:
        """The whole, once every block has been taken in."""
        own = self.tiles.query[self.tiles.rows]
        scale = (own * self.query).sum(dtype=torch.float64).float()
        return Gradient(
            losses=losses,
            query=self.query.mul_(self.tiles.scale),
            document=self.document.mul_(self.tiles.scale),
            scale=scale,
        )
