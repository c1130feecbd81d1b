"""Loss and gradient of embeddings, for every loss, batch size and number of processes.

Towers are not seen here: embeddings go in, the gradient by each of them comes out, exactly as automatic
differentiation of the dense formula gives it. Four ways lead there:

- dense: the whole matrix of scores; for small batches and for losses over the whole batch.
- tiled: losses that see a row through its positive and what its negatives come to (`losses.Softmax`),
  `scores/tiled.py`.
- ring: the same, with the documents of one process at a time at hand, `scores/ring.py`.
- streamed: every other loss of rows, block by block; memory of a block instead of the matrix.

Axes: q queries and d documents of all processes, e dimensions.
"""

from __future__ import annotations

__all__ = ["Contrast", "Way", "contrast"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.engine.coordinates import before_units, over, views_of
from embedfit.engine.learned import gradient_added, gradients
from embedfit.engine.pairing import Pairing
from embedfit.engine.tiling import Part, embedded, owners, ring, tileable, tiled
from embedfit.losses import Loss, PairLoss, Symmetric, one_direction
from embedfit.scores import Scores, marked, units
from embedfit.scores.cells import Lookup

Way = Literal["auto", "dense", "tiled", "streamed", "ring"]

TILED = 1 << 13  # cells up to which the whole matrix is quicker than its tiles
DENSE = 1 << 18  # cells up to which it is quicker than blocks of its rows
STREAMED = 256  # rows of a block under automatic differentiation, which keeps several copies


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """Loss and gradient; all tensors are without history.

    Attributes:
        losses: one per query of this process.
        value: their weighted mean over all processes.
        query: gradient by the embeddings of this process's queries.
        document: gradient by the embeddings of this process's documents.
    """

    losses: Float[Tensor, " own_q"]
    value: float
    query: Float[Tensor, "own_q e"]
    document: Float[Tensor, "own_d e"]


def contrast(
    query: Float[Tensor, "q e"],
    document: Float[Tensor, "d e"],
    loss: Loss | PairLoss,
    pairing: Pairing,
    *,
    parts: int = 1,
    nested: Sequence[int] = (),
    way: Way = "auto",
) -> Contrast:
    """Loss and gradient of the embeddings of a batch.

    Gradients of the loss's own parameters are accumulated in them, whole on every process.

    Args:
        query: embeddings of the queries of all processes, not normalised; in a ring, of this process.
        document: embeddings of the documents of all processes, and after them those of steps before; in a ring, of this
            process.
        loss: of scores, or of the embeddings of each pair.
        pairing: what belongs together.
        parts: each embedding is so many of equal size end to end, each with a loss of its own; the mean counts.
        nested: so many of the first coordinates are an embedding too, with a loss of its own; the mean counts (Kusupati
            et al. 2022, "Matryoshka representation learning", https://arxiv.org/abs/2205.13147, eq. 1).
        way: dense, tiled or streamed; by default what the loss and the size ask for. A ring is never chosen here.

    Raises:
        ValueError: a way that this loss cannot go.
    """
    if isinstance(loss, PairLoss):
        return _in_pairs(query, document, loss, pairing)
    chosen = _way_for(loss, pairing, len(query) * len(document)) if way == "auto" else way
    mine, others = pairing.own_queries, pairing.own_documents
    here = (slice(None), slice(None)) if chosen == "ring" else (mine, others)
    views = views_of(query.shape[1], parts, nested)
    losses, by_query, by_document = [], [], []
    with torch.autocast(query.device.type, enabled=False):
        for view in views:
            q, d = query.detach()[:, view], document.detach()[:, view]
            with gradient_added(loss, len(views)):
                part = _WAYS[chosen](units(q), units(d), loss, pairing)
            losses.append(part.losses.double())
            by_query.append(before_units(q[here[0]], part.query))
            by_document.append(before_units(d[here[1]], part.document))
    each = torch.stack(losses).mean(0)
    return Contrast(
        losses=each.float(),
        value=pairing.team.sum((each * pairing.share[mine]).sum()).item(),
        query=over(views, by_query, query.shape[1]),
        document=over(views, by_document, query.shape[1]),
    )


def _in_pairs(query: Tensor, document: Tensor, loss: PairLoss, pairing: Pairing) -> Contrast:
    """Automatic differentiation by whole embeddings; every process does all of it."""
    with torch.autocast(query.device.type, enabled=False), torch.enable_grad(), gradient_added(loss, 1):
        q, d = (x.detach().float().requires_grad_() for x in (query, document))
        losses = loss(q, d[pairing.positive], pairing.target)
        value = (losses * pairing.share).sum()
        if value.requires_grad:
            value.backward()
    by_query, by_document = (torch.zeros_like(x) if x.grad is None else x.grad for x in (q, d))
    return Contrast(
        losses=losses.detach()[pairing.own_queries],
        value=value.item(),
        query=by_query[pairing.own_queries],
        document=by_document[pairing.own_documents],
    )


def _way_for(loss: Loss, pairing: Pairing, cells: int) -> Way:
    in_tiles = tileable(loss, pairing)
    if pairing.target is not None or cells <= (TILED if in_tiles else DENSE):
        return "dense"
    return "tiled" if in_tiles else "streamed"


def _dense(query: Tensor, document: Tensor, loss: Loss, pairing: Pairing) -> Part:
    """Automatic differentiation of the whole; every process does all of it."""
    q, d = query.requires_grad_(), document.requires_grad_()
    with torch.enable_grad():
        if pairing.target is not None:
            values = (q * d[pairing.positive]).sum(-1, keepdim=True)
            yes = torch.ones_like(values, dtype=torch.bool)
            losses = loss(Scores(values, yes, yes, pairing.target.to(values.dtype)[:, None]))
        else:
            scores = marked(q @ d.T, pairing.positive, pairing.doubtful)
            losses = loss(pairing.met(scores, slice(0, len(q))))
        if losses.requires_grad:  # a loss may be a constant (CoSENT of equal grades)
            (losses * pairing.share).sum().backward()
    mine, others = pairing.own_queries, pairing.own_documents
    by_query, by_document = (torch.zeros_like(x) if x.grad is None else x.grad for x in (q, d))
    return Part(losses.detach()[mine], by_query[mine], by_document[others])


def _streamed(query: Tensor, document: Tensor, loss: Loss, pairing: Pairing) -> Part:
    """Blocks of rows under automatic differentiation, for every loss in which a row stands alone."""
    team, share, mine = pairing.team, pairing.share, pairing.own_queries
    if pairing.target is not None:
        raise ValueError("graded pairs have no matrix of scores to stream")
    symmetric = isinstance(loss, Symmetric)
    inner = one_direction(loss)
    q, d = query.requires_grad_(), document.requires_grad_()
    q.grad, d.grad = torch.zeros_like(q), torch.zeros_like(d)
    losses = query.new_zeros(len(query), dtype=torch.float64)

    def add(values: Tensor, weight: Tensor) -> Tensor:
        if values.requires_grad:
            (values * weight).sum().backward()
        return values.detach().double()

    for rows in _blocks(mine):
        with torch.enable_grad():
            scores = marked(q[rows] @ d.T, pairing.positive[rows], pairing.doubtful, rows.start)
            losses[rows] = add(inner(pairing.met(scores, rows)), share[rows] / (2 if symmetric else 1))
    if symmetric:
        back, many = _documents(pairing, len(document)), owners(pairing, len(document))
        weight = torch.zeros(len(document), device=q.device).index_add(0, pairing.positive, share) / many
        returned = query.new_zeros(len(document), dtype=torch.float64)
        for columns in _blocks(pairing.own_documents):
            with torch.enable_grad():
                scores = back(d[columns] @ q.T, columns)
                returned[columns] = add(inner(scores).where(scores.positive.any(-1), 0.0), weight[columns] / 2)
        returned = team.sum(returned) / many
        losses = (losses + returned[pairing.positive]) / 2
    for gradient in gradients(loss):
        team.sum(gradient)
    by_document = team.scatter_sum(embedded(d.grad, pairing), pairing.documents)
    return Part(losses[mine], team.scatter_sum(q.grad, pairing.queries), by_document)


def _blocks(whole: slice) -> Iterator[slice]:
    for start in range(whole.start, whole.stop, STREAMED):
        yield slice(start, min(start + STREAMED, whole.stop))


def _documents(pairing: Pairing, documents: int) -> Callable[[Tensor, slice], Scores]:
    """Marks rows of the transposed matrix: documents against queries."""
    owned = Lookup(pairing.positive)
    rows, columns = (
        pairing.doubtful.cells(0, len(pairing.positive)) if pairing.doubtful is not None else (owned.place[:0],) * 2
    )
    doubted = Lookup(columns)

    def back(values: Tensor, which: slice) -> Scores:
        number = torch.arange(which.start, which.stop, device=values.device)
        positive, candidate = torch.zeros_like(values, dtype=torch.bool), torch.ones_like(values, dtype=torch.bool)
        row, spot = doubted(number)
        candidate[row, rows[spot]] = False
        positive[owned(number)] = True
        return Scores(values, positive, candidate | positive)

    return back


_WAYS: dict[Way, Callable[[Tensor, Tensor, Loss, Pairing], Part]] = {
    "dense": _dense,
    "tiled": tiled,
    "streamed": _streamed,
    "ring": ring,
}
