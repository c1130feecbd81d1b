"""Softmax losses over q x d scores that are never held: tile by tile, with the gradient made on the way.

A loss that sees a row only through its positive's logit p_i and the log-sum-exp of its negatives L_i (InfoNCE, its
margins, DCL and others) is a function of O(q + d) numbers. Its gradient is

    dS_ij = a_i exp(S_ij - L_i) + b_j exp(S_ij - C_j)    off the positive,    p'_i    on it,

with a, b, p' the derivatives by L, by the columns' log-sum-exp C and by p. One direction costs three matrix products
(scores, gradient of the queries, gradient of the documents), because a row is complete within its block. Both
directions cost four: scores for the log-sum-exps, scores again, and one product for each side; automatic
differentiation of the dense matrix takes three and O(q d) memory, two calls of one direction six.

The positive stays out of the log-sum-exp, so that near convergence, where 1 - softmax cancels, loss and gradient keep
their relative precision.

Axes: q queries, d documents, e dimensions, b rows of a block.
"""

from __future__ import annotations

__all__ = ["Gradient", "both_ways", "one_way"]

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores.cells import Doubtful
from embedfit.team import ALONE, Team

NONE = -1e30  # log-sum-exp of no negatives; finite, because -inf - (-inf) is no number
REACH = 80.0  # exp(-80) is still a normal number in fp32
ONE_EXP = 50.0  # spread of the peaks, so that exp(-30) beside each peak is still seen

NEAR = 20.0  # distance from their mean up to which log-sum-exps of rows and columns may share an exponential

OneWay = Callable[[Tensor, Tensor, slice], Tensor]
BothWays = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gradient:
    """What one pass leaves behind; all tensors are without history.

    Attributes:
        losses: one per query of this process, float64.
        query: gradient of the weighted sum of the losses by the queries of this process, fp32.
        document: this process's part of the gradient by all documents, fp32.
        scale: this process's part of the gradient by the scale.
        positive: logits of this process's positives.
        hardest: highest logit among the certain negatives of each query; -inf where there is none.
    """

    losses: Float[Tensor, " q"]
    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    scale: Float[Tensor, ""]
    positive: Float[Tensor, " q"]
    hardest: Float[Tensor, " q"]


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """The score matrix, a block of rows at a time."""

    query: Tensor
    document: Tensor
    positive: Tensor
    scale: float
    doubtful: Doubtful | None
    rows: slice
    block: int

    def __iter__(self) -> Iterator[tuple[slice, Tensor, tuple[Tensor, Tensor], Tensor]]:
        """Yields (rows counted from this process's first, logits with only negatives finite, own cells, own logits).

        The logits lie in a buffer that the next block overwrites.
        """
        across = self.document.float().T
        count = self.rows.stop - self.rows.start
        block = min(self.block, max(1, count))
        buffer = across.new_empty(block, across.shape[1])
        number = torch.arange(block, device=across.device)
        for start in range(0, count, block):
            stop = min(start + block, count)
            first, last = self.rows.start + start, self.rows.start + stop
            logits = buffer[: stop - start]
            torch.mm(self.query[first:last].float() * self.scale, across, out=logits)
            own = (number[: stop - start], self.positive[first:last])
            value = logits[own].clone()
            if self.doubtful is not None:
                logits[self.doubtful.cells(first, last)] = -math.inf
            logits[own] = -math.inf
            yield slice(start, stop), logits, own, value


@dataclass(slots=True, eq=False)
class _Products:
    """The two products that turn gradients of logits into gradients of embeddings.

    bf16 embeddings are multiplied in bf16: what comes out is rounded to bf16 by their own backward pass anyway.
    """

    tiles: _Tiles
    query: Tensor
    document: Tensor

    @staticmethod
    def of(tiles: _Tiles) -> _Products:
        shape = (tiles.rows.stop - tiles.rows.start, tiles.query.shape[1])
        device = tiles.query.device
        return _Products(
            tiles,
            torch.empty(shape, dtype=torch.float32, device=device),
            torch.zeros(tiles.document.shape, dtype=torch.float32, device=device),
        )

    def add(self, block: slice, gradient: Tensor) -> None:
        first = self.tiles.rows.start
        query = self.tiles.query[first + block.start : first + block.stop]
        if self.tiles.document.dtype == torch.bfloat16:
            low = gradient.bfloat16()
            self.query[block] = low @ self.tiles.document
            self.document += low.T @ query
        else:
            torch.mm(gradient, self.tiles.document, out=self.query[block])
            self.document.addmm_(gradient.T, query)

    def done(self, losses: Tensor, positive: Tensor, hardest: Tensor) -> Gradient:
        own = self.tiles.query[self.tiles.rows].float()
        scale = (own * self.query).sum(dtype=torch.float64).float()
        return Gradient(
            losses=losses,
            query=self.query.mul_(self.tiles.scale),
            document=self.document.mul_(self.tiles.scale),
            scale=scale,
            positive=positive,
            hardest=hardest,
        )


def _derivatives(losses: Tensor, weight: Tensor, leaves: list[Tensor]) -> None:
    (losses * weight).sum().backward()
    for leaf in leaves:
        if leaf.grad is None:  # a loss may not look at all of them
            leaf.grad = torch.zeros_like(leaf)


def _leaf(values: Tensor) -> Tensor:
    return values.detach().double().requires_grad_()


@torch.no_grad()
def one_way(
    query: Float[Tensor, "q e"],
    document: Float[Tensor, "d e"],
    positive: Int[Tensor, " q"],
    function: OneWay,
    *,
    scale: float,
    weight: Float[Tensor, " q"],
    doubtful: Doubtful | None = None,
    rows: slice | None = None,
    block: int = 512,
) -> Gradient:
    """Loss and gradient of queries against documents: three matrix products.

    Args:
        query: embeddings, fp32 or bf16, normalised where cosines are meant.
        document: embeddings of the same type.
        positive: column of each query's own positive.
        function: (logits of positives [b], log-sum-exps of negatives [b], their rows) to losses [b], in float64 and
            differentiable; gradients of its own parameters are accumulated in them.
        scale: turns similarities into logits; 1 / temperature.
        weight: of each query's loss in the sum that is differentiated.
        doubtful: cells that are no certain negatives.
        rows: the queries of this process; all by default.
        block: queries in a tile; memory grows with block x d.
    """
    tiles = _Tiles(query, document, positive, scale, doubtful, rows or slice(0, len(query)), block)
    products = _Products.of(tiles)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for part, logits, own, value in tiles:
        top = logits.amax(1)
        logits.sub_(top.clamp(min=NONE)[:, None]).exp_()
        total = logits.sum(1)
        at, rivals = _leaf(value), _leaf((top + total.log()).clamp(min=NONE))
        where = slice(tiles.rows.start + part.start, tiles.rows.start + part.stop)
        with torch.enable_grad():
            losses = function(at, rivals, where)
            _derivatives(losses, weight[where], [at, rivals])
        assert rivals.grad is not None
        assert at.grad is not None
        # exp(S - L) = exp(S - top) / total; no negatives: the derivative by their log-sum-exp is 0
        logits.mul_((rivals.grad.float() / total.clamp(min=1e-30))[:, None])
        logits[own] = at.grad.float()
        products.add(part, logits)
        kept.append((losses.detach(), value, top))
    if not kept:
        nothing = query.new_zeros(0, dtype=torch.float32)
        return products.done(nothing.double(), nothing, nothing)
    losses, value, top = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return products.done(losses, value, top)


@torch.no_grad()
def both_ways(
    query: Float[Tensor, "q e"],
    document: Float[Tensor, "d e"],
    positive: Int[Tensor, " q"],
    function: BothWays,
    *,
    scale: float,
    weight: Float[Tensor, " q"],
    doubtful: Doubtful | None = None,
    team: Team = ALONE,
    counts: list[int] | None = None,
    block: int = 512,
) -> Gradient:
    """Loss and gradient of queries against documents and documents against queries: four matrix products.

    Args:
        query: embeddings, fp32 or bf16, normalised where cosines are meant.
        document: embeddings of the same type.
        positive: column of each query's own positive.
        function: (logits of positives [q], log-sum-exps of the rows' negatives [q], of the columns' [d]) to losses [q],
            in float64 and differentiable; gradients of its own parameters are accumulated in them.
        scale: turns similarities into logits; 1 / temperature.
        weight: of each query's loss in the sum that is differentiated.
        doubtful: cells that are no certain negatives.
        team: the processes that share the rows; they exchange q + 2 d numbers.
        counts: queries of each process, in order; all by default.
        block: queries in a tile; memory grows with 2 x block x d.
    """
    counts = counts or [len(query)]
    first = sum(counts[: team.rank])
    mine = slice(first, first + counts[team.rank])
    tiles = _Tiles(query, document, positive, scale, doubtful, mine, block)
    value, rivals, hardest, columns = _sums(tiles, team)
    gathered = team.gather(torch.stack([value, rivals], 1), counts)
    at, facing, back = _leaf(gathered[:, 0]), _leaf(gathered[:, 1]), _leaf(columns)
    with torch.enable_grad():
        losses = function(at, facing, back)
        _derivatives(losses, weight, [at, facing, back])
    assert at.grad is not None
    assert facing.grad is not None
    assert back.grad is not None
    products = _Products.of(tiles)
    by_row, by_column, on_own = facing.grad[mine].float(), back.grad.float(), at.grad[mine].float()
    for part, gradient, own in _gradients(tiles, rivals, columns, by_row, by_column):
        gradient[own] = on_own[part]
        products.add(part, gradient)
    return products.done(losses.detach()[mine], value, hardest)


def _sums(tiles: _Tiles, team: Team) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First pass: own logits, rows' log-sum-exps, hardest negatives; columns' log-sum-exps over all processes."""
    documents = len(tiles.document)
    peak = torch.full((documents,), -math.inf, device=tiles.document.device)
    total = torch.zeros_like(peak)
    lowest = -float(_longest(tiles.query) * _longest(tiles.document)) * tiles.scale
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for _, logits, _, value in tiles:
        top = logits.amax(1)
        rows, there, sums = _both_sums(logits, top, lowest)
        new = torch.maximum(peak, there)
        total = total * (peak - new).exp() + sums * (there - new).exp()
        peak = new
        kept.append((value, rows.clamp(min=NONE), top))
    everywhere = team.max(peak)
    total = team.sum(total * (peak - everywhere.clamp(min=NONE)).exp())
    columns = (everywhere + total.log()).clamp(min=NONE)
    if not kept:
        nothing = peak.new_zeros(0)
        return nothing, nothing, nothing, columns
    value, rows, top = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return value, rows, top, columns


def _longest(embedding: Tensor) -> Tensor:
    return torch.linalg.vector_norm(embedding, dim=1, dtype=torch.float32).max()


def _both_sums(logits: Tensor, top: Tensor, lowest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log-sum-exps of the rows of a block; peaks and sums of exp(logit - peak) of its columns.

    One exponential per cell serves both sides wherever no finite cell that matters lies further below the block's
    highest than fp32 reaches; `lowest` bounds all cells from below.
    """
    high = float(top.max())
    if high == -math.inf:  # identities left nothing in this block
        return top, torch.full_like(logits[0], NONE), torch.zeros_like(logits[0])
    if high - lowest < REACH or high - _lowest_peak(top, logits.amax(0)) < ONE_EXP:
        weights = logits.sub_(high).exp_()
        return weights.sum(1).log_().add_(high), torch.full_like(logits[0], high), weights.sum(0)
    there = logits.amax(0).clamp(min=NONE)
    return torch.logsumexp(logits, 1), there, logits.sub_(there).exp_().sum(0)


def _lowest_peak(*peaks: Tensor) -> float:
    """The lowest of the highest cells of rows and columns; those without any cell have no part in it."""
    both = torch.cat(peaks)
    return float(both.where(both > -math.inf, math.inf).min())


def _gradients(
    tiles: _Tiles, rivals: Tensor, columns: Tensor, by_row: Tensor, by_column: Tensor
) -> Iterator[tuple[slice, Tensor, tuple[Tensor, Tensor]]]:
    """Second pass: the gradient of each block's logits, off the positives."""
    # exp(S - C_j) = exp(S - L_i) exp(L_i - m) exp(m - C_j): one exponential per cell and a product of two vectors,
    # where L and C lie near enough together; rows or columns without negatives have no part in it
    some = columns[columns > NONE / 2]
    middle = float(some.mean()) if len(some) else 0.0
    used = torch.cat([some, rivals[rivals > NONE / 2]])
    near = bool(((used - middle).abs() < NEAR).all())
    right = by_column * (middle - columns.clamp(min=middle - NEAR)).exp()
    buffer: Tensor | None = None
    for part, logits, own, _ in tiles:
        across = rivals[part]
        if near:
            left = (across.clamp(min=middle - NEAR) - middle).exp()
            buffer = torch.empty_like(logits) if buffer is None else buffer
            factor = buffer[: len(logits)]
            torch.mul(left[:, None], right, out=factor).add_(by_row[part][:, None])
            yield part, logits.sub_(across[:, None]).exp_().mul_(factor), own
        else:
            there = (logits - columns).exp_().mul_(by_column)
            yield part, logits.sub_(across[:, None]).exp_().mul_(by_row[part][:, None]).add_(there), own
