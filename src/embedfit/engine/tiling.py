"""Losses that see a row through its positive and what its negatives come to, tile by tile (`scores/tiled.py`).

Axes: q queries and d documents of all processes, e dimensions.
"""

from __future__ import annotations

__all__ = ["Part", "embedded", "owners", "ring", "tileable", "tiled", "tiles_at_hand"]

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from embedfit.engine.learned import gradients
from embedfit.engine.pairing import Pairing
from embedfit.losses import Loss, Softmax, Symmetric, one_direction
from embedfit.scores import Rivals
from embedfit.scores.ring import round_the_ring
from embedfit.scores.tiled import BothWays, both_ways, one_way
from embedfit.scores.tiles import Gradient, Tiles

BLOCK, WIDTH = 512, 512  # rows and columns of a tile, which stays near a core with its gradient
ROWS = 256  # of a tile of all documents


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one way yields for this process, whole: losses of its queries, gradients by its unit embeddings."""

    losses: Tensor
    query: Tensor
    document: Tensor


def tileable(loss: Loss, pairing: Pairing) -> bool:
    """Whether a loss can be worked out from tiles."""
    inner = one_direction(loss)
    if not isinstance(inner, Softmax) or pairing.target is not None or pairing.own is not None:
        return False  # tiles meet all documents
    # sampling is corrected for documents alone, and both directions share their tiles
    return not (inner.corrects and pairing.log_q is not None and isinstance(loss, Symmetric))


def owners(pairing: Pairing, documents: int) -> Tensor:
    """How many queries have each document as their positive; 1 where none has."""
    return torch.bincount(pairing.positive, minlength=documents).clamp(min=1)


def embedded(document: Tensor, pairing: Pairing) -> Tensor:
    """Rows of the documents of this step; those of steps before come after them and get no gradient."""
    return document[: sum(pairing.documents)]


def tiled(query: Tensor, document: Tensor, loss: Loss, pairing: Pairing) -> Part:
    """All documents are at hand; each process has the rows of its own queries."""
    inner, team, share = _softmax(loss, pairing), pairing.team, pairing.share.double()
    tiles = tiles_at_hand(query[pairing.own_queries], loss, pairing, document)
    if isinstance(loss, Symmetric):
        found = both_ways(tiles, _in_both(inner, pairing, len(document)), share, team, pairing.queries)
    else:
        found = one_way(replace(tiles, block=min(BLOCK, ROWS)), inner.of, share)
    _learn(loss, inner.scale, found, pairing, everywhere=isinstance(loss, Symmetric))
    return Part(found.losses, found.query, team.scatter_sum(embedded(found.document, pairing), pairing.documents))


def ring(query: Tensor, document: Tensor, loss: Loss, pairing: Pairing) -> Part:
    """Documents of one process at a time are at hand; each process has the rows of its own queries.

    Args:
        query: of this process.
        document: of this process.
        loss: of scores.
        pairing: what belongs together, of all processes.
    """
    inner, counts = _softmax(loss, pairing), (pairing.queries, pairing.documents)
    if isinstance(loss, Symmetric):
        function = _in_both(inner, pairing, sum(pairing.documents))
    else:
        log_q = pairing.log_q[pairing.positive].double() if inner.corrects and pairing.log_q is not None else None

        def function(at: Tensor, rows: Rivals, columns: Rivals) -> Tensor:
            return inner.of(at, replace(rows, log_q=log_q))

    at_hand = partial(tiles_at_hand, query, loss, pairing)
    found = round_the_ring(document, at_hand, function, pairing.share.double(), pairing.team, counts)
    _learn(loss, inner.scale, found, pairing, everywhere=True)
    return Part(found.losses, found.query, found.document)


def _softmax(loss: Loss, pairing: Pairing) -> Softmax:
    inner = one_direction(loss)
    if not isinstance(inner, Softmax) or pairing.target is not None:
        raise ValueError(f"{type(inner).__name__} sees more of a row than what its negatives come to; stream it")
    return inner


def tiles_at_hand(query: Tensor, loss: Loss, pairing: Pairing, document: Tensor, first: int | None = None) -> Tiles:
    """Own queries against the documents at hand, which begin with the number `first`."""
    inner = _softmax(loss, pairing)
    log_q = pairing.log_q if inner.corrects else None
    return Tiles(
        query=query,
        document=document,
        positive=pairing.positive,
        scale=float(inner.scale.detach()),
        rows=pairing.own_queries,
        first=first,
        doubtful=pairing.doubtful,
        log_q=log_q if log_q is None or first is None else log_q[first : first + len(document)],
        means=inner.means,
        block=BLOCK,
        width=WIDTH,
    )


def _in_both(inner: Softmax, pairing: Pairing, documents: int) -> BothWays:
    """Half the loss of queries against documents, half of documents against queries."""
    many, positive = owners(pairing, documents).double(), pairing.positive

    def both(at: Tensor, rows: Rivals, columns: Rivals) -> Tensor:
        each = inner.of(at, columns.at(positive))  # of a document's several queries each faces its negatives alone
        back = torch.zeros_like(columns.mean).index_add(0, positive, each) / many.square()
        return (inner.of(at, rows) + back[positive]) / 2

    return both


def _learn(loss: Loss, scale: Tensor, found: Gradient, pairing: Pairing, *, everywhere: bool) -> None:
    """Gradients of the loss's parameters, whole on every process.

    Args:
        loss: whose parameters have the gradient of the function already.
        scale: of the loss.
        found: with the gradient by the scale.
        pairing: of the processes.
        everywhere: every process has worked out the function of all rows; else each of its own.
    """
    team = pairing.team
    if everywhere and team.size > 1:  # the sum below counts all
        for gradient in gradients(loss):
            gradient /= team.size
    if scale.requires_grad:
        scale.backward(found.scale.to(scale))
    if team.size > 1:
        for gradient in gradients(loss):
            team.sum(gradient)
