"""The matrix of logits in tiles, and the products that turn gradients of tiles into gradients of embeddings.

Axes: q queries, d documents, e dimensions.
"""

from __future__ import annotations

__all__ = ["Gradient", "Products", "Tiles"]

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores.cells import Doubtful


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
class Tiles:
    """The matrix of logits, a block of rows at a time.

    Attributes:
        query: embeddings of all queries, fp32, normalised where cosines are meant.
        document: embeddings of all documents.
        positive: column of each query's own positive.
        scale: turns similarities into logits; 1 / temperature.
        rows: the queries of this process.
        doubtful: cells that are no certain negatives.
        block: queries in a tile; memory grows with block x d.
    """

    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    positive: Int[Tensor, " q"]
    scale: float
    rows: slice
    doubtful: Doubtful | None = None
    block: int = 512

    def __iter__(self) -> Iterator[tuple[slice, Tensor, tuple[Tensor, Tensor], Tensor]]:
        """Yields (rows counted from this process's first, logits with only negatives finite, own cells, own logits).

        The logits lie in a buffer that the next block overwrites.
        """
        across = self.document.T
        count = self.rows.stop - self.rows.start
        block = min(self.block, max(1, count))
        buffer = across.new_empty(block, across.shape[1])
        number = torch.arange(block, device=across.device)
        for start in range(0, count, block):
            stop = min(start + block, count)
            first, last = self.rows.start + start, self.rows.start + stop
            logits = buffer[: stop - start]
            torch.mm(self.query[first:last] * self.scale, across, out=logits)
            own = (number[: stop - start], self.positive[first:last])
            value = logits[own].clone()
            if self.doubtful is not None:
                logits[self.doubtful.cells(first, last)] = -math.inf
            logits[own] = -math.inf
            yield slice(start, stop), logits, own, value


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
