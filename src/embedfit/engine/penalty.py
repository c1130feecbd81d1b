"""Gradients of regularisers, beside that of the objective."""

from __future__ import annotations

__all__ = ["Penalties", "penalised", "shrink"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from embedfit.engine.contrast import Contrast
from embedfit.engine.pairing import Pairing
from embedfit.losses.regularise import Regulariser, spectral_norm
from embedfit.optim.groups import tables


@dataclass(frozen=True, slots=True)
class Penalties:
    """What is asked beside the objective.

    Attributes:
        embeddings: weight and regulariser; each takes the mean of the queries' and the documents' number.
        spectral: weight of half the sum of the squared spectral norms of all matrices but tables.
    """

    embeddings: Sequence[tuple[float, Regulariser]] = ()
    spectral: float = 0.0


def penalised(found: Contrast, query: Tensor, document: Tensor, pairing: Pairing, asked: Penalties) -> Contrast:
    """The gradient of the embeddings of a step with that of the regularisers.

    Args:
        found: of the objective.
        query: embeddings of the queries of all processes.
        document: embeddings of the documents of all processes.
        pairing: which of them are this process's.
        asked: the regularisers.
    """
    if not asked.embeddings:
        return found
    by_query = _gradient(query, asked)[pairing.own_queries]
    by_document = _gradient(document[: sum(pairing.documents)], asked)[pairing.own_documents]
    return replace(found, query=found.query + by_query / 2, document=found.document + by_document / 2)


def _gradient(embedding: Tensor, asked: Penalties) -> Tensor:
    with torch.enable_grad(), torch.autocast(embedding.device.type, enabled=False):
        leaf = embedding.detach().float().requires_grad_()
        total = torch.stack([weight * regulariser(leaf) for weight, regulariser in asked.embeddings]).sum()
        (gradient,) = torch.autograd.grad(total, leaf)
    return gradient


def shrink(model: nn.Module, weight: float) -> None:
    """Add the gradient of the spectral penalty to matrices that already have one; tables of rows are left alone.

    Args:
        model: the towers, after the gradients of all processes have been added up.
        weight: of half the sum of the squares.
    """
    if weight == 0:
        return
    rows = tables(model)
    for parameter in model.parameters():
        if parameter.ndim == 2 and parameter.grad is not None and id(parameter) not in rows:
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(spectral_norm(parameter).square() / 2, parameter)
            parameter.grad.add_(gradient, alpha=weight)
