"""One step: embed, score, lose, backward. The only place where towers, scores and losses meet."""

from __future__ import annotations

__all__ = ["Objective", "Step", "loss_of", "train_step"]

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from embedfit.errors import NonFiniteLossError
from embedfit.losses import Loss
from embedfit.scores import Known, Scores, paired_scores, score
from embedfit.towers import TwoTower
from embedfit.types import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a step minimises.

    Attributes:
        model: the towers.
        loss: scores to one number per query.
        known: pairs known to belong together beyond the batch, never used as negatives.
        precision: arithmetic of the towers; scores and loss are fp32 whatever it is.
    """

    model: TwoTower
    loss: Loss
    known: Known | None = None
    precision: torch.dtype = torch.float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a probe may see of one training step; all tensors are detached.

    Attributes:
        number: counted from 0.
        batch: what went in.
        query: embeddings of the queries, not normalised.
        document: embeddings of the documents, not normalised.
        scores: their cosines.
        losses: one per query.
        loss: their weighted mean.
    """

    number: int
    batch: Batch
    query: Float[Tensor, "q e"]
    document: Float[Tensor, "d e"]
    scores: Scores
    losses: Float[Tensor, " q"]
    loss: float


def _forward(objective: Objective, batch: Batch) -> tuple[Tensor, Tensor, Scores, Tensor, Tensor]:
    device = batch.weight.device.type
    with torch.autocast(device, dtype=objective.precision, enabled=objective.precision != torch.float32):
        query = objective.model.query(batch.query).float()
        document = objective.model.document(batch.document).float()
    scores = _score(query, document, batch, objective.known)
    losses = objective.loss(scores)
    parts = objective.model.query.parts
    if parts > 1:  # an ensemble in one vector: each part is trained as an embedding of its own
        pairs = zip(query.chunk(parts, dim=-1), document.chunk(parts, dim=-1), strict=True)
        losses = sum(objective.loss(_score(q, d, batch, objective.known)) for q, d in pairs) / parts
    mean = (losses * batch.weight).sum() / batch.weight.sum().clamp(min=torch.finfo(torch.float32).tiny)
    return query, document, scores, losses, mean


def _score(query: Tensor, document: Tensor, batch: Batch, known: Known | None) -> Scores:
    if batch.target is not None:
        return paired_scores(query, document, batch.target)
    return score(query, document, batch, known)


def train_step(objective: Objective, batch: Batch, *, number: int) -> Step:
    """Leave the gradient of one batch in the parameters.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite; no gradient has been computed and the weights are untouched.
    """
    query, document, scores, losses, mean = _forward(objective, batch)
    if not bool(torch.isfinite(mean)):
        bad = batch.rows[~torch.isfinite(losses)].tolist()
        raise NonFiniteLossError(
            f"the loss of step {number} is {mean.item()}, in {len(bad)} of {len(losses)} examples, rows {bad[:5]}; "
            f"largest entry of a query embedding {float(query.detach().abs().max()):.3g}",
            rows=bad or batch.rows.tolist(),
            hint="the weights are still those of the step before: lower optim.learning_rate, or look at these rows",
        )
    mean.backward()
    seen = Scores(scores.values.detach(), scores.positive, scores.candidate, scores.target)
    return Step(
        number=number,
        batch=batch,
        query=query.detach(),
        document=document.detach(),
        scores=seen,
        losses=losses.detach(),
        loss=mean.item(),
    )


@torch.no_grad()
def loss_of(objective: Objective, batch: Batch) -> float:
    """The loss of a batch in evaluation mode, without gradient; the towers' mode is restored."""
    was = objective.model.training
    objective.model.eval()
    try:
        return _forward(objective, batch)[-1].item()
    finally:
        objective.model.train(was)
