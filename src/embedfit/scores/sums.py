"""The first pass over tiles of logits: what the negatives of each row and each column come to, as sums of exponentials.

Axes: n rows or columns.
"""

from __future__ import annotations

__all__ = ["NARROW", "Found", "Sums", "bound", "leaf", "rivals_of", "take"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.scores.tiles import NONE, Rivals, Tile, Tiles
from embedfit.team import Team

REACH = 80.0  # exp(-80) is still a normal number in fp32
ONE_EXP = 50.0  # spread of the peaks, so that exp(-30) beside each peak is still seen

# Bound of all logits up to which exp(S) itself is used, relative to no peak: sums of a million reach exp(69), and the
# factor of a row in the gradient, some exp(-14) exp(-L), exp(-83); fp32 holds exp(-87) to exp(88).
NARROW = 55.0


def leaf(values: Tensor) -> Tensor:
    """In float64, to be differentiated by."""
    return values.detach().double().requires_grad_()


def rivals_of(logsumexp: Tensor, sums: Float[Tensor, "n 2"], log_q: Tensor | None = None) -> Rivals:
    """Log-sum-exps, and sums and numbers of logits, as leaves in float64."""
    total, count = sums.double().unbind(1)
    log_q = None if log_q is None else log_q.double()
    return Rivals(logsumexp=leaf(logsumexp), mean=leaf(total / count.clamp(min=1)), count=count, log_q=log_q)


@dataclass(slots=True, eq=False)
class Sums:
    """Sums of exponentials, each beside the peak that it is relative to."""

    peak: Tensor
    total: Tensor

    @staticmethod
    def none(count: int, like: Tensor) -> Sums:
        """Of nothing yet."""
        return Sums(like.new_full((count,), NONE), like.new_zeros(count))

    def add(self, where: slice, peak: Tensor, total: Tensor) -> None:
        """Take in what some of them come to in a tile."""
        before = self.peak[where]
        new = torch.maximum(before, peak)
        self.total[where] = self.total[where] * (before - new).exp() + total * (peak - new).exp()
        self.peak[where] = new

    def logsumexp(self) -> Tensor:
        """In float64; `NONE` where nothing was finite."""
        return (self.peak.double() + self.total.double().log()).clamp(min=NONE)


@dataclass(slots=True, eq=False, kw_only=True)
class Found:
    """What a first pass leaves behind, for the rows of this process and for columns.

    Attributes:
        own: logits of the rows' own positives.
        rows: sums of exponentials.
        columns: the same.
        by_row: sum and number of the negatives.
        by_column: the same.
        bound: no logit lies further from 0.
        kept: exp(S) of the one tile that there is; none where there are more.
    """

    own: Tensor
    rows: Sums
    columns: Sums
    by_row: Tensor
    by_column: Tensor
    means: bool
    bound: float
    kept: Tile | None = None

    @staticmethod
    def none(tiles: Tiles) -> Found:
        """Nothing yet."""
        rows, columns, like = len(tiles.query), len(tiles.document), tiles.document
        unknown = 0.0 if tiles.means else math.nan
        return Found(
            own=like.new_zeros(rows),
            rows=Sums.none(rows, like),
            columns=Sums.none(columns, like),
            by_row=like.new_full((rows, 2), unknown, dtype=torch.float64),
            by_column=like.new_full((columns, 2), unknown, dtype=torch.float64),
            means=tiles.means,
            bound=bound(tiles),
        )

    def of_rows(self) -> Tensor:
        """Own logit, log-sum-exp, sum and number of each row."""
        return torch.cat([torch.stack([self.own.double(), self.rows.logsumexp()], 1), self.by_row], 1)

    def of_columns(self, team: Team) -> Rivals:
        """Over the rows of all processes."""
        sums = self.columns
        if team.size > 1:
            peak = team.max(sums.peak)
            sums = Sums(peak, team.sum(sums.total * (sums.peak - peak).exp()))
        return rivals_of(sums.logsumexp(), team.sum(self.by_column) if self.means else self.by_column)


def take(tiles: Tiles) -> Found:
    """One pass over the tiles."""
    found = Found.none(tiles)
    for tile in tiles:
        rows, columns = _sums_of(tile.logits, found.bound)
        found.rows.add(tile.rows, *rows)
        found.columns.add(tile.columns, *columns)
        found.own[tile.rows].index_put_((tile.own[0],), tile.value)
        if tiles.means:
            found.by_row[tile.rows] += tile.by_row
            found.by_column[tile.columns] += tile.by_column
        if found.bound <= NARROW and len(tiles) == 1:
            found.kept = tile
    return found


def bound(tiles: Tiles) -> float:
    """No logit lies further from 0."""
    if not len(tiles.query) or not len(tiles.document):
        return 0.0
    shift = 0.0 if tiles.log_q is None else float(tiles.log_q.abs().max())
    return float(_longest(tiles.query) * _longest(tiles.document)) * tiles.scale + shift


def _longest(embedding: Tensor) -> Tensor:
    return torch.linalg.vector_norm(embedding, dim=1, dtype=torch.float32).max()


Peaks = tuple[Tensor, Tensor]


def _sums_of(logits: Tensor, bound: float) -> tuple[Peaks, Peaks]:
    """Peaks and sums of exp(logit - peak), of the rows and of the columns of a tile.

    One exponential per cell serves both sides wherever no finite cell that matters lies further below the tile's
    highest than fp32 reaches.
    """
    if bound <= NARROW:
        weights = logits.exp_()
        zero = weights.new_zeros(())
        return (zero, weights.sum(1)), (zero, weights.sum(0))
    top = logits.amax(1)
    high = float(top.max())
    if high == -math.inf:  # identities left nothing in this tile
        nothing = logits.new_full((), NONE)
        return (nothing, torch.zeros_like(logits[:, 0])), (nothing, torch.zeros_like(logits[0]))
    if high + bound < REACH or high - _lowest_peak(top, logits.amax(0)) < ONE_EXP:
        weights = logits.sub_(high).exp_()
        # what has no cell here must not set a peak: it would drown what other tiles found
        rows, columns = weights.sum(1), weights.sum(0)
        return (torch.where(rows > 0, high, NONE), rows), (torch.where(columns > 0, high, NONE), columns)
    top, there = top.clamp(min=NONE), logits.amax(0).clamp(min=NONE)
    return (top, (logits - top[:, None]).exp_().sum(1)), (there, logits.sub_(there).exp_().sum(0))


def _lowest_peak(*peaks: Tensor) -> float:
    """The lowest of the highest cells of rows and columns; those without any cell have no part in it."""
    both = torch.cat(peaks)
    return float(both.where(both > -math.inf, math.inf).min())
