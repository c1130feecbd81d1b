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

__all__ = ["BothWays", "Pull", "both_ways", "by", "derivatives", "one_way", "spread"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.scores.sums import NARROW, Found, bound, leaf, rivals_of, take
from embedfit.scores.tiles import NONE, Gradient, Products, Rivals, Tile, Tiles
from embedfit.team import ALONE, Team

NEAR = 20.0  # distance from their mean up to which log-sum-exps of rows and columns may share an exponential

OneWay = Callable[[Tensor, Rivals], Tensor]
BothWays = Callable[[Tensor, Rivals, Rivals], Tensor]


def derivatives(losses: Tensor, weight: Tensor) -> None:
    """Differentiate the weighted sum by the leaves that the losses are functions of."""
    (losses * weight).sum().backward()


def by(leaf: Tensor) -> Tensor:
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
    for tile in replace(tiles, width=None):  # rows are complete within their tile
        logits = tile.logits
        top = logits.amax(1)
        logits.sub_(top.clamp(min=NONE)[:, None]).exp_()
        total = logits.sum(1)
        where = slice(tiles.rows.start + tile.rows.start, tiles.rows.start + tile.rows.stop)
        at = leaf(tile.value[tile.own[0].argsort()])
        log_q = None if tiles.log_q is None else tiles.log_q[tiles.positive[where]]
        rivals = rivals_of((top + total.log()).clamp(min=NONE), tile.by_row, log_q)
        with torch.enable_grad():
            losses = function(at, rivals)
            derivatives(losses, weight[where])
        # exp(S - L) = exp(S - top) / total; no negatives: the derivative by their log-sum-exp is 0
        logits.mul_((by(rivals.logsumexp) / total.clamp(min=1e-30))[:, None])
        each = _by_each(rivals)
        if each is not None:
            logits.add_(each[:, None])
            logits[tile.gone] = 0.0
        logits[tile.own] = by(at)[tile.own[0]]
        products.add(tile, logits)
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
    found = take(tiles)
    columns = found.of_columns(team)
    everything = team.gather(found.of_rows(), counts)
    at, rows = leaf(everything[:, 0]), rivals_of(everything[:, 1], everything[:, 2:])
    with torch.enable_grad():
        losses = function(at, rows, columns)
        derivatives(losses, weight)
    products = Products.of(tiles)
    spread(products, Pull.of(rows, mine), Pull.of(columns), by(at)[mine], found)
    return products.done(losses.detach()[mine])


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """Log-sum-exps of rows or columns, and the derivatives of the loss by what their negatives come to.

    Attributes:
        logsumexp: fp32.
        by: derivative by it.
        each: derivative by the logit of each negative through their mean; None where it is 0 everywhere.
    """

    logsumexp: Float[Tensor, " n"]
    by: Float[Tensor, " n"]
    each: Float[Tensor, " n"] | None

    @staticmethod
    def of(rivals: Rivals, part: slice = slice(None)) -> Pull:
        """After the loss has been differentiated."""
        each = _by_each(rivals)
        each = None if each is None else each[part]
        return Pull(rivals.logsumexp.detach().float()[part], by(rivals.logsumexp)[part], each)

    def part(self, which: slice) -> Pull:
        """Some of them."""
        return Pull(self.logsumexp[which], self.by[which], None if self.each is None else self.each[which])


def spread(products: Products, rows: Pull, columns: Pull, on_own: Tensor, found: Found | None = None) -> None:
    """Second pass: take the gradient of all tiles' logits into the products.

    Args:
        products: of the tiles.
        rows: of this process.
        columns: at hand.
        on_own: derivative by the logit of each row's own positive.
        found: in the first pass over the same tiles, if it is still there.
    """
    for tile, gradient in _gradients(products.tiles, rows, columns, found):
        if rows.each is not None:
            gradient.add_(rows.each[tile.rows][:, None])
        if columns.each is not None:
            gradient.add_(columns.each[tile.columns])
        if rows.each is not None or columns.each is not None:
            gradient[tile.gone] = 0.0
        gradient[tile.own] = on_own[tile.rows][tile.own[0]]
        products.add(tile, gradient)


def _gradients(tiles: Tiles, rows: Pull, columns: Pull, found: Found | None) -> Iterator[tuple[Tile, Tensor]]:
    """The gradient of each tile's logits through the log-sum-exps, off the positives."""
    # exp(S - C_j) = exp(S - L_i) exp(L_i - m) exp(m - C_j): one exponential per cell and a product of two vectors,
    # where L and C lie near enough together; rows or columns without negatives have no part in it
    again = replace(tiles, means=False)
    kept = None if found is None else found.kept
    rivals, by_row, back, by_column = rows.logsumexp, rows.by, columns.logsumexp, columns.by
    if (bound(tiles) if found is None else found.bound) <= NARROW:
        left, right = _alone(by_row, rivals), _alone(by_column, back)
        for tile in again if kept is None else [kept]:
            weights = tile.logits.exp_() if kept is None else tile.logits
            yield tile, weights.mul_(left[tile.rows][:, None] + right[tile.columns])
        return
    some = back[back > NONE / 2]
    middle = float(some.mean()) if len(some) else 0.0
    used = torch.cat([some, rivals[rivals > NONE / 2]])
    near = bool(((used - middle).abs() < NEAR).all())
    right = by_column * (middle - back.clamp(min=middle - NEAR)).exp()
    left = (rivals.clamp(min=middle - NEAR) - middle).exp()
    for tile in again:
        r, c, logits = tile.rows, tile.columns, tile.logits
        if near:
            factor = (left[r][:, None] * right[c]).add_(by_row[r][:, None])
            yield tile, logits.sub_(rivals[r][:, None]).exp_().mul_(factor)
        else:
            there = (logits - back[c]).exp_().mul_(by_column[c])
            yield tile, logits.sub_(rivals[r][:, None]).exp_().mul_(by_row[r][:, None]).add_(there)


def _alone(derivative: Tensor, logsumexp: Tensor) -> Tensor:
    """derivative x exp(-logsumexp), 0 without negatives."""
    return torch.where(logsumexp > NONE / 2, derivative * (-logsumexp).exp(), 0.0)
