"""Softmax losses over q x d scores that are never held: tile by tile, with the gradient made on the way.

A loss that sees a row only through its positive's logit p_i and what its negatives come to, their log-sum-exp L_i and
their mean (InfoNCE, its margins, label smoothing, DCL and others), is a function of O(q + d) numbers. Its gradient is

    dS_ij = a_i exp(S_ij - L_i) + b_j exp(S_ij - C_j) + m_i / n_i + w_j / h_j    on negatives,    p'_i    on positives,

with a, b, p' the derivatives by L, by the columns' log-sum-exp C and by p; m, w those by the means of the n_i and h_j
negatives of row and column. One direction costs three matrix products
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

from embedfit.scores.tiles import NONE, Gradient, Products, Rivals, Tile, Tiles
from embedfit.team import ALONE, Team

REACH = 80.0  # exp(-80) is still a normal number in fp32
ONE_EXP = 50.0  # spread of the peaks, so that exp(-30) beside each peak is still seen

NEAR = 20.0  # distance from their mean up to which log-sum-exps of rows and columns may share an exponential

OneWay = Callable[[Tensor, Rivals], Tensor]
BothWays = Callable[[Tensor, Rivals, Rivals], Tensor]


def _derivatives(losses: Tensor, weight: Tensor) -> None:
    (losses * weight).sum().backward()


def _leaf(values: Tensor) -> Tensor:
    return values.detach().double().requires_grad_()


def _rivals(logsumexp: Tensor, sums: Float[Tensor, "n 2"], log_q: Tensor | None = None) -> Rivals:
    """As leaves, in float64."""
    total, count = sums.double().unbind(1)
    log_q = None if log_q is None else log_q.double()
    return Rivals(logsumexp=_leaf(logsumexp), mean=_leaf(total / count.clamp(min=1)), count=count, log_q=log_q)


def _by(leaf: Tensor) -> Tensor:
    """Derivative by a leaf, fp32; a loss may not look at all of them."""
    return torch.zeros_like(leaf, dtype=torch.float32) if leaf.grad is None else leaf.grad.float()


def _by_each(rivals: Rivals) -> Tensor | None:
    """Derivative by the logit of each negative of a row through their mean; None where it is 0 everywhere."""
    if rivals.mean.grad is None or not rivals.mean.grad.any():
        return None
    return (rivals.mean.grad / rivals.count.clamp(min=1)).float()


@torch.no_grad()
def one_way(tiles: Tiles, function: OneWay, weight: Float[Tensor, " q"]) -> Gradient:
    """Loss and gradient of queries against documents: three matrix products.

    Args:
        tiles: the logits.
        function: (logits of positives [b], what their negatives come to) to losses [b], in float64 and differentiable;
            gradients of its own parameters are accumulated in them.
        weight: of each query's loss in the sum that is differentiated.
    """
    products = Products.of(tiles)
    kept: list[Tensor] = []
    for tile in tiles:
        logits = tile.logits
        top = logits.amax(1)
        logits.sub_(top.clamp(min=NONE)[:, None]).exp_()
        total = logits.sum(1)
        where = slice(tiles.rows.start + tile.rows.start, tiles.rows.start + tile.rows.stop)
        at = _leaf(tile.value)
        log_q = None if tiles.log_q is None else tiles.log_q[tiles.positive[where]]
        rivals = _rivals((top + total.log()).clamp(min=NONE), tile.by_row, log_q)
        with torch.enable_grad():
            losses = function(at, rivals)
            _derivatives(losses, weight[where])
        # exp(S - L) = exp(S - top) / total; no negatives: the derivative by their log-sum-exp is 0
        logits.mul_((_by(rivals.logsumexp) / total.clamp(min=1e-30))[:, None])
        each = _by_each(rivals)
        if each is not None:
            logits.add_(each[:, None])
            logits[tile.gone] = 0.0
        logits[tile.own] = _by(at)
        products.add(tile.rows, logits)
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
        function: (logits of positives [q], what the negatives of the q rows come to, and those of the d columns) to
            losses [q], in float64 and differentiable; gradients of its own parameters are accumulated in them.
        weight: of each query's loss in the sum that is differentiated.
        team: the processes that share the rows; they exchange 2 q + 2 d numbers, twice as many where means are wanted.
        counts: queries of each process, in order; all by default.
    """
    counts, mine = counts or [len(tiles.query)], tiles.rows
    mine_first, columns = _sums(tiles, team)
    everything = team.gather(mine_first, counts)
    at, rows = _leaf(everything[:, 0]), _rivals(everything[:, 1], _or_unknown(everything[:, 2:]))
    with torch.enable_grad():
        losses = function(at, rows, columns)
        _derivatives(losses, weight)
    products = Products.of(tiles)
    on_own = _by(at)[mine]
    in_row, in_column = _by_each(rows), _by_each(columns)
    for tile, gradient in _gradients(tiles, rows.logsumexp.float()[mine], _by(rows.logsumexp)[mine], columns):
        if in_row is not None:
            gradient.add_(in_row[mine][tile.rows][:, None])
        if in_column is not None:
            gradient.add_(in_column)
        if in_row is not None or in_column is not None:
            gradient[tile.gone] = 0.0
        gradient[tile.own] = on_own[tile.rows]
        products.add(tile.rows, gradient)
    return products.done(losses.detach()[mine])


def _or_unknown(sums: Tensor) -> Tensor:
    return sums if sums.shape[1] else sums.new_full((len(sums), 2), math.nan)


def _sums(tiles: Tiles, team: Team) -> tuple[Tensor, Rivals]:
    """First pass: [own logit, log-sum-exp, sum and number where wanted] of this process's rows; all columns."""
    documents = len(tiles.document)
    peak = torch.full((documents,), -math.inf, device=tiles.document.device)
    total, sums = torch.zeros_like(peak), peak.new_zeros(documents, 2)
    lowest = -float(_longest(tiles.query) * _longest(tiles.document)) * tiles.scale
    kept: list[Tensor] = []
    for tile in tiles:
        top = tile.logits.amax(1)
        rows, there, part = _both_sums(tile.logits, top, lowest)
        new = torch.maximum(peak, there)
        total = total * (peak - new).exp() + part * (there - new).exp()
        peak = new
        sums += tile.by_column
        own = torch.stack([tile.value, rows.clamp(min=NONE)], 1)
        kept.append(torch.cat([own, tile.by_row], 1) if tiles.means else own)
    everywhere = team.max(peak)
    total = team.sum(total * (peak - everywhere.clamp(min=NONE)).exp())
    if tiles.means:
        sums = team.sum(sums)
    columns = _rivals((everywhere + total.log()).clamp(min=NONE), sums)
    return torch.cat(kept) if kept else peak.new_zeros(0, 4 if tiles.means else 2), columns


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


def _gradients(tiles: Tiles, rivals: Tensor, by_row: Tensor, columns: Rivals) -> Iterator[tuple[Tile, Tensor]]:
    """Second pass: the gradient of each block's logits through the log-sum-exps, off the positives."""
    # exp(S - C_j) = exp(S - L_i) exp(L_i - m) exp(m - C_j): one exponential per cell and a product of two vectors,
    # where L and C lie near enough together; rows or columns without negatives have no part in it
    back, by_column = columns.logsumexp.float(), _by(columns.logsumexp)
    some = back[back > NONE / 2]
    middle = float(some.mean()) if len(some) else 0.0
    used = torch.cat([some, rivals[rivals > NONE / 2]])
    near = bool(((used - middle).abs() < NEAR).all())
    right = by_column * (middle - back.clamp(min=middle - NEAR)).exp()
    buffer: Tensor | None = None
    for tile in tiles:
        part, logits = tile.rows, tile.logits
        across = rivals[part]
        if near:
            left = (across.clamp(min=middle - NEAR) - middle).exp()
            buffer = torch.empty_like(logits) if buffer is None else buffer
            factor = buffer[: len(logits)]
            torch.mul(left[:, None], right, out=factor).add_(by_row[part][:, None])
            yield tile, logits.sub_(across[:, None]).exp_().mul_(factor)
        else:
            there = (logits - back).exp_().mul_(by_column)
            yield tile, logits.sub_(across[:, None]).exp_().mul_(by_row[part][:, None]).add_(there)
