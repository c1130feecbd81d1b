"""Softmax losses over scores of which no process has all documents: their embeddings go round the ring of processes.

Each process keeps its queries. Blocks of documents pass by, each with what its columns have come to so far; when a
block is home again, its columns are complete. On a second round it takes its gradient along. A process holds its own
part of the embeddings and a block beside it, O(n e / W) numbers of W processes, and O(n) numbers of rows and columns.
Sent are three times the documents; gathering them (`tiled`) sends twice. Loss and gradient are those of `tiled`, up to
the order of sums.

Axes: q queries, d documents of all processes, m and c of this one, e dimensions.
"""

from __future__ import annotations

__all__ = ["round_the_ring"]

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.scores.sums import Sums, leaf, rivals_of, take
from embedfit.scores.tiled import BothWays, Pull, by, derivatives, spread
from embedfit.scores.tiles import NONE, Gradient, Products, Tiles
from embedfit.team import Team

AtHand = Callable[[Float[Tensor, "c e"], int], Tiles]


@torch.no_grad()
def round_the_ring(
    document: Float[Tensor, "c e"],
    tiles: AtHand,
    function: BothWays,
    weight: Float[Tensor, " q"],
    team: Team,
    counts: tuple[Sequence[int], Sequence[int]],
) -> Gradient:
    """Loss and gradient of queries against documents and, where the function asks, of documents against queries.

    Args:
        document: embeddings of the documents of this process.
        tiles: (documents at hand, number of the first of them) to the logits of this process's queries.
        function: as for `tiled.both_ways`.
        weight: of each query's loss in the sum that is differentiated.
        team: the processes.
        counts: queries of each process, and documents.

    Returns:
        Losses and gradients of this process's queries and documents; the latter complete, with nothing left to sum.
    """
    queries, documents = counts
    first = [0, *accumulate(documents)]
    rows, columns = _come_to(document, tiles, team, counts, first)
    mine = slice(sum(queries[: team.rank]), sum(queries[: team.rank + 1]))
    at, of_rows, of_columns = (
        leaf(rows[:, 0]),
        rivals_of(rows[:, 1], rows[:, 2:]),
        rivals_of(columns[:, 0], columns[:, 1:]),
    )
    with torch.enable_grad():
        losses = function(at, of_rows, of_columns)
        derivatives(losses, weight)
    own, pull, back = by(at)[mine], Pull.of(of_rows, mine), Pull.of(of_columns)
    home = tiles(document, first[team.rank])
    by_query, by_document = torch.zeros_like(home.query), torch.zeros_like(document)
    for owner, coming, block in _visits(document, team, documents):
        here = tiles(block, first[owner])
        spread(Products(here, by_query, by_document), pull, back.part(slice(first[owner], first[owner + 1])), own)
        by_document = team.pass_on(by_document, documents, coming)
    return Products(home, by_query, by_document).done(losses.detach()[mine])


def _come_to(
    document: Tensor, tiles: AtHand, team: Team, counts: tuple[Sequence[int], Sequence[int]], first: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """First round: [own logit, log-sum-exp, sum, number] of all rows, and the last three of all columns."""
    queries, documents = counts
    rows = Sums.none(queries[team.rank], document)
    own = document.new_zeros(queries[team.rank], dtype=torch.float64)
    by_row = own.new_zeros(len(own), 2)
    passing = torch.cat([torch.full_like(document[:, :1], NONE), document.new_zeros(len(document), 3)], 1).double()
    everything = slice(None)
    for owner, coming, block in _visits(document, team, documents):
        found = take(tiles(block, first[owner]))
        rows.add(everything, found.rows.peak, found.rows.total)
        own += found.own
        by_row += found.by_row
        columns = Sums(passing[:, 0], passing[:, 1])
        columns.add(everything, found.columns.peak.double(), found.columns.total.double())
        passing[:, 2:] += found.by_column
        passing = team.pass_on(passing, documents, coming)
    columns = Sums(passing[:, 0], passing[:, 1])
    of_rows = torch.cat([torch.stack([own, rows.logsumexp()], 1), by_row], 1)
    of_columns = torch.cat([columns.logsumexp()[:, None], passing[:, 2:]], 1)
    return team.gather(of_rows, queries), team.gather(of_columns, documents)


def _visits(document: Tensor, team: Team, documents: Sequence[int]) -> Iterator[tuple[int, int, Tensor]]:
    """(owner of the block that is here, owner of the one that comes next, the block), this process's own first.

    Blocks move on between two visits; from the last visit none moves, because each process still has its own.
    """
    block = document
    for visit in range(team.size):
        owner = (team.rank - visit) % team.size
        coming = (owner - 1) % team.size
        yield owner, coming, block
        if visit < team.size - 1:
            block = team.pass_on(block, documents, coming)
