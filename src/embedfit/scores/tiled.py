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

__all__ = ["both_ways", "one_way"]

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.scores.tiles import Gradient, Products, Tiles
from embedfit.team import ALONE, Team

NONE = -1e30  # log-sum-exp of no negatives; finite, because -inf - (-inf) is no number
REACH = 80.0  # exp(-80) is still a normal number in fp32
ONE_EXP = 50.0  # spread of the peaks, so that exp(-30) beside each peak is still seen

NEAR = 20.0  # distance from their mean up to which log-sum-exps of rows and columns may share an exponential

OneWay = Callable[[Tensor, Tensor], Tensor]
BothWays = Callable[[Tensor, Tensor, Tensor], Tensor]


def _derivatives(losses: Tensor, weight: Tensor, leaves: list[Tensor]) -> None:
    (losses * weight).sum().backward()
    for leaf in leaves:
        if leaf.grad is None:  # a loss may not look at all of them
            leaf.grad = torch.zeros_like(leaf)


def _leaf(values: Tensor) -> Tensor:
    return values.detach().double().requires_grad_()


@torch.no_grad()
def one_way(tiles: Tiles, function: OneWay, weight: Float[Tensor, " q"]) -> Gradient:
    """Loss and gradient of queries against documents: three matrix products.

    Args:
        tiles: the logits.
        function: (logits of positives [b], log-sum-exps of negatives [b]) to losses [b], in float64 and differentiable;
            gradients of its own parameters are accumulated in them.
        weight: of each query's loss in the sum that is differentiated.
    """
    products = Products.of(tiles)
    kept: list[Tensor] = []
    for part, logits, own, value in tiles:
        top = logits.amax(1)
        logits.sub_(top.clamp(min=NONE)[:, None]).exp_()
        total = logits.sum(1)
        at, rivals = _leaf(value), _leaf((top + total.log()).clamp(min=NONE))
        where = slice(tiles.rows.start + part.start, tiles.rows.start + part.stop)
        with torch.enable_grad():
            losses = function(at, rivals)
            _derivatives(losses, weight[where], [at, rivals])
        assert rivals.grad is not None
        assert at.grad is not None
        # exp(S - L) = exp(S - top) / total; no negatives: the derivative by their log-sum-exp is 0
        logits.mul_((rivals.grad.float() / total.clamp(min=1e-30))[:, None])
        logits[own] = at.grad.float()
        products.add(part, logits)
        kept.append(losses.detach())
    return products.done(torch.cat(kept) if kept else weight.new_zeros(0))  # a process may have no query


@torch.no_grad()
def both_ways(
    tiles: Tiles,
    function: BothWays,
    weight: Float[Tensor, " q"],
    team: Team = ALONE,
    counts: Sequence[int] | None = None,
) -> Gradient:
    """Loss and gradient of queries against documents and documents against queries: four matrix products.

    Args:
        tiles: the logits.
        function: (logits of positives [q], log-sum-exps of the rows' negatives [q], of the columns' [d]) to losses [q],
            in float64 and differentiable; gradients of its own parameters are accumulated in them.
        weight: of each query's loss in the sum that is differentiated.
        team: the processes that share the rows; they exchange q + 2 d numbers.
        counts: queries of each process, in order; all by default.
    """
    counts, mine = counts or [len(tiles.query)], tiles.rows
    value, rivals, columns = _sums(tiles, team)
    gathered = team.gather(torch.stack([value, rivals], 1), counts)
    at, facing, back = _leaf(gathered[:, 0]), _leaf(gathered[:, 1]), _leaf(columns)
    with torch.enable_grad():
        losses = function(at, facing, back)
        _derivatives(losses, weight, [at, facing, back])
    assert at.grad is not None
    assert facing.grad is not None
    assert back.grad is not None
    products = Products.of(tiles)
    by_row, by_column, on_own = facing.grad[mine].float(), back.grad.float(), at.grad[mine].float()
    for part, gradient, own in _gradients(tiles, rivals, columns, by_row, by_column):
        gradient[own] = on_own[part]
        products.add(part, gradient)
    return products.done(losses.detach()[mine])


def _sums(tiles: Tiles, team: Team) -> tuple[Tensor, Tensor, Tensor]:
    """First pass: own logits, rows' log-sum-exps; columns' log-sum-exps over all processes."""
    documents = len(tiles.document)
    peak = torch.full((documents,), -math.inf, device=tiles.document.device)
    total = torch.zeros_like(peak)
    lowest = -float(_longest(tiles.query) * _longest(tiles.document)) * tiles.scale
    kept: list[tuple[Tensor, Tensor]] = []
    for _, logits, _, value in tiles:
        top = logits.amax(1)
        rows, there, sums = _both_sums(logits, top, lowest)
        new = torch.maximum(peak, there)
        total = total * (peak - new).exp() + sums * (there - new).exp()
        peak = new
        kept.append((value, rows.clamp(min=NONE)))
    everywhere = team.max(peak)
    total = team.sum(total * (peak - everywhere.clamp(min=NONE)).exp())
    columns = (everywhere + total.log()).clamp(min=NONE)
    if not kept:
        nothing = peak.new_zeros(0)
        return nothing, nothing, columns
    value, rows = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return value, rows, columns


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
        sums = weights.sum(0)
        # a column without any cell here must not set a peak: it would drown what other blocks found in it
        there = torch.where(sums > 0, high, NONE)
        return weights.sum(1).log_().add_(high), there, sums
    there = logits.amax(0).clamp(min=NONE)
    return torch.logsumexp(logits, 1), there, logits.sub_(there).exp_().sum(0)


def _lowest_peak(*peaks: Tensor) -> float:
    """The lowest of the highest cells of rows and columns; those without any cell have no part in it."""
    both = torch.cat(peaks)
    return float(both.where(both > -math.inf, math.inf).min())


def _gradients(
    tiles: Tiles, rivals: Tensor, columns: Tensor, by_row: Tensor, by_column: Tensor
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
