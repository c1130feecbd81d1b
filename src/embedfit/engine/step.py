"""One step: embed, score, lose, backward. The only place where towers, scores and losses meet."""

from __future__ import annotations

__all__ = ["Objective", "Step", "loss_of", "train_step"]

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.engine.contrast import Contrast, contrast
from embedfit.engine.embed import Side, deal
from embedfit.engine.exchange import sum_gradients
from embedfit.engine.pairing import Pairing
from embedfit.engine.penalty import Penalties, penalised, shrink
from embedfit.engine.sharding import is_sharded
from embedfit.engine.tiling import tileable
from embedfit.errors import NonFiniteLossError
from embedfit.losses import BYOL, Loss, PairLoss
from embedfit.scores import Doubtful, Guide, Known
from embedfit.team import ALONE, Team
from embedfit.towers import Tower, TwoTower
from embedfit.types import Batch, Memory

RING = 1 << 20  # of 768 numbers each they take 3 GB on every process, their gradients as much again
SEEN = 4_096  # queries of a step in a ring that probes are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a step minimises, and with what.

    Attributes:
        model: the towers.
        loss: scores, or the embeddings of each pair, to one number per query.
        known: pairs known to belong together beyond the batch, never used as negatives; "batch": those of the batch
            itself, where a vector of all pairs is what one has to do without.
        guide: another model that is asked which documents may belong to a query after all.
        penalties: what is asked of embeddings and weights beside the loss.
        nested: prefixes of the embeddings that have a loss of their own, besides the whole; the mean counts.
        precision: arithmetic of the towers; scores and loss are fp32 whatever it is.
        memory: bytes that activations may take; what does not fit is worked out twice.
        ring: documents of a step from which on several processes do not gather them; embeddings go round instead.
        team: the processes that share each batch.
    """

    model: TwoTower
    loss: Loss | PairLoss
    known: Known | Literal["batch"] | None = None
    guide: Guide | None = None
    penalties: Penalties = Penalties()  # noqa: RUF009 (frozen)
    nested: tuple[int, ...] = ()
    precision: torch.dtype = torch.float32
    memory: float = math.inf
    ring: int = RING
    team: Team = ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a probe may see of one training step; all tensors are detached, and all but the losses cover all processes.

    Where no process has all embeddings (`Objective.ring`), batch, pairing and embeddings are those of some queries and
    their positives.

    Attributes:
        number: counted from 0.
        batch: what went in, in the order of the embeddings.
        pairing: what belongs together in it.
        query: embeddings of the queries, not normalised.
        document: embeddings of the documents and, after them, those of steps before; not normalised.
        losses: one per query of this process.
        loss: weighted mean of the losses.
    """

    number: int
    batch: Batch
    pairing: Pairing
    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    losses: Float[Tensor, " own_q"]
    loss: float


def train_step(objective: Objective, batch: Batch, *, number: int, seed: int = 0) -> Step:
    """Leave the gradient of one batch in the parameters.

    Args:
        objective: what is minimised.
        batch: of all processes; the same on each.
        number: of the step, from 0.
        seed: of the run; with the number it decides dropout.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite; no gradient has been computed and the weights are untouched.
    """
    if isinstance(objective.loss, BYOL):
        objective.loss.follow(objective.model.query)
    batch, queries, documents, pairing = _divided(objective, batch, (seed, number))
    query, document, found = _forward(objective, queries, documents, pairing, batch.memory)
    _check_finite(found, objective, pairing, batch, query, number)
    if in_ring(objective, pairing, batch.memory):
        batch, pairing, query, document = seen(batch, pairing, query, document, known=_known(objective, batch))
    found = penalised(found, query, document, pairing, objective.penalties)
    queries.backward(found.query)
    documents.backward(found.document)
    sum_gradients(objective.model, objective.team)
    shrink(objective.model, objective.penalties.spectral)
    return Step(
        number=number,
        batch=batch,
        pairing=pairing,
        query=query,
        document=document,
        losses=found.losses,
        loss=found.value,
    )


@torch.no_grad()
def loss_of(objective: Objective, batch: Batch) -> float:
    """The loss of a batch in evaluation mode, without gradient; the towers' mode is restored."""
    was = objective.model.training
    objective.model.eval()
    objective.loss.eval()
    learned = {p: p.grad for p in objective.loss.parameters()}
    try:
        batch, queries, documents, pairing = _divided(objective, batch, None)
        return _forward(objective, queries, documents, pairing, batch.memory)[2].value
    finally:
        objective.model.train(was)
        objective.loss.train(was)
        for p, gradient in learned.items():
            p.grad = gradient


def _forward(
    objective: Objective, queries: Side, documents: Side, pairing: Pairing, memory: Memory | None
) -> tuple[Tensor, Tensor, Contrast]:
    """Embeddings of all processes, and their loss with its gradient by those of this process."""
    parts, nested, loss = objective.model.query.parts, objective.nested, objective.loss
    query, document = queries.forward(), documents.forward()
    if in_ring(objective, pairing, memory):
        return query, document, contrast(query, document, loss, pairing, parts=parts, nested=nested, way="ring")
    query, document = objective.team.gather(query, pairing.queries), objective.team.gather(document, pairing.documents)
    if memory is not None:
        document = torch.cat([document, memory.vectors.to(document)])
    return query, document, contrast(query, document, loss, pairing, parts=parts, nested=nested)


def in_ring(objective: Objective, pairing: Pairing, memory: Memory | None) -> bool:
    """Whether the documents of a step are too many to be gathered, and the objective does not need them together."""
    if pairing.team.size == 1 or sum(pairing.documents) < objective.ring:
        return False
    apart = memory is None and not objective.penalties.embeddings
    return apart and isinstance(objective.loss, Loss) and tileable(objective.loss, pairing)


def seen(
    batch: Batch, pairing: Pairing, query: Tensor, document: Tensor, *, known: Known | None
) -> tuple[Batch, Pairing, Tensor, Tensor]:
    """Some queries of all processes and their positives, evenly from the batch: what is shown of a step in a ring.

    Args:
        batch: whole.
        pairing: of it.
        query: embeddings of this process's queries.
        document: embeddings of this process's documents.
        known: pairs known to belong together beyond the batch.
    """
    queries = torch.arange(0, len(batch), -(-len(batch) // SEEN), device=query.device)
    documents = batch.positive[queries].unique()
    shown = [
        _shown(pairing.team, rows, which, counts, own)
        for rows, which, counts, own in (
            (query, queries, pairing.queries, pairing.own_queries),
            (document, documents, pairing.documents, pairing.own_documents),
        )
    ]
    part = batch.reordered(queries, documents)
    some = Pairing(
        positive=part.positive,
        weight=part.weight,
        doubtful=Doubtful.of(part, known),
        log_q=part.log_q,
        queries=shown[0][1],
        documents=shown[1][1],
        team=pairing.team,
    )
    return part, some, shown[0][0], shown[1][0]


def _shown(team: Team, rows: Tensor, which: Tensor, counts: Sequence[int], own: slice) -> tuple[Tensor, list[int]]:
    """Embeddings of rows by their (ascending) numbers, and how many of them each process has."""
    ends = torch.tensor(counts, device=which.device).cumsum(0)
    number = torch.bincount(torch.searchsorted(ends, which, right=True), minlength=len(counts)).tolist()
    mine = which[(which >= own.start) & (which < own.stop)] - own.start
    return team.gather(rows[mine], number), number


def _of_documents(objective: Objective) -> Tower:
    if not isinstance(objective.loss, BYOL):
        return objective.model.document
    assert isinstance(objective.loss.target, Tower)
    return objective.loss.target


def _divided(objective: Objective, batch: Batch, seed: tuple[int, int] | None) -> tuple[Batch, Side, Side, Pairing]:
    """The batch in the order of the processes, this process's queries and documents, and what belongs together."""
    team, model = objective.team, objective.model
    of_documents = _of_documents(objective)
    sharded = {tower: team.size > 1 and is_sharded(tower) for tower in (model.query, of_documents)}
    of_query = deal(batch.query.lengths, model.query.micro, team, even=sharded[model.query])
    of_document = deal(batch.document.lengths, of_documents.micro, team, even=sharded[of_documents])
    if team.size > 1:
        batch = batch.reordered(of_query.order, of_document.order)
    pairing = Pairing(
        positive=batch.positive,
        weight=batch.weight,
        doubtful=None if batch.target is not None else Doubtful.of(batch, _known(objective, batch), objective.guide),
        target=batch.target,
        log_q=batch.candidate_log_q,
        own=batch.own,
        queries=of_query.counts,
        documents=of_document.counts,
        team=team,
    )
    own_q = torch.arange(pairing.own_queries.start, pairing.own_queries.stop)
    own_d = torch.arange(pairing.own_documents.start, pairing.own_documents.stop)
    query = Side(
        tower=model.query,
        tokens=batch.query if team.size == 1 else batch.query.select(own_q),
        deal=of_query,
        seed=None if seed is None else (*seed, 0),
        precision=objective.precision,
        memory=objective.memory / 2,
        abreast=team if sharded[model.query] else ALONE,
    )
    document = replace(
        query,
        tower=of_documents,
        tokens=batch.document if team.size == 1 else batch.document.select(own_d),
        deal=of_document,
        seed=None if seed is None else (*seed, 1),
        abreast=team if sharded[of_documents] else ALONE,
        kept={},
    )
    return batch, query, document, pairing


def _known(objective: Objective, batch: Batch) -> Known | None:
    if objective.known == "batch":
        return Known(batch.query_id, batch.document_id[batch.positive])
    return objective.known


def _check_finite(
    found: Contrast, objective: Objective, pairing: Pairing, batch: Batch, query: Tensor, number: int
) -> None:
    if math.isfinite(found.value):
        return
    for p in objective.loss.parameters():
        p.grad = None
    losses = objective.team.gather(found.losses, pairing.queries)
    bad = batch.rows[~torch.isfinite(losses)].tolist()
    raise NonFiniteLossError(
        f"the loss of step {number} is {found.value}, in {len(bad)} of {len(losses)} examples, rows {bad[:5]}; "
        f"largest entry of a query embedding {float(query.abs().max()):.3g}",
        rows=bad or batch.rows.tolist(),
        hint="the weights are still those of the step before: lower optim.learning_rate, or look at these rows",
    )
