"""Faults of the candidates, and of what several processes or a memory of former batches do to them."""

from __future__ import annotations

__all__ = ["FAULTS"]

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Data, Parts, Picked

Loss = Callable[[Tensor, Tensor, Picked, Any], Tensor]


def _sliced(parts: Parts, size: int, *, detached: bool) -> Parts:
    """The loss over slices of the batch, each against its own documents, or against all of them without gradient."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module, whole: Loss = parts.loss) -> Tensor:
        total: list[Tensor] = []
        for start in range(0, len(query) - size + 1, size):
            own = slice(start, start + size)
            documents, ids = document[own], batch.document_id[own]
            if detached:
                far = torch.ones(len(document), dtype=torch.bool)
                far[own] = False
                documents = torch.cat([documents, document[far].detach()])
                ids = torch.cat([ids, batch.document_id[far]])
            total.append(whole(query[own], documents, batch._replace(document_id=ids), model))
        return torch.stack(total).mean()

    return replace(parts, loss=loss)


def few_candidates(parts: Parts, candidates: int) -> Parts:
    """Each query meets its own document and very few others: with one candidate there is nothing to choose."""
    return _sliced(parts, candidates, detached=False)


def no_gather(parts: Parts, ranks: int) -> Parts:
    """Many processes, each with the negatives of its own small share of the batch, none gathered."""
    return _sliced(parts, max(1, parts.batch_size // ranks), detached=False)


def stale_documents(parts: Parts, age: int) -> Parts:
    """The documents of the batch come from an index that is rebuilt every `age` steps only."""

    def document(model: Any, x: Tensor, now=parts.document) -> Tensor:  # type: ignore[no-untyped-def]
        if not torch.is_grad_enabled():
            return now(model, x)
        memory = model.__dict__.setdefault("memory", {"steps": 0, "model": None})
        if memory["steps"] % age == 0:
            memory["model"] = None
            memory["model"] = copy.deepcopy(model)
        memory["steps"] += 1
        with torch.no_grad():
            return now(memory["model"], x)

    return replace(parts, document=document)


def repeated_documents(parts: Parts, times: int) -> Parts:
    """A sampler that takes several queries of the same document into a batch, and a loss that does not mask them."""

    def order(data: Data, size: int, g: torch.Generator) -> Tensor:
        noise = torch.randperm(len(data.pair), generator=g)
        place = noise[torch.argsort(data.pair[noise], stable=True)]
        blocks = place[: len(place) // times * times].view(-1, times)
        blocks = blocks[torch.randperm(len(blocks), generator=g)].flatten()
        return blocks[: len(blocks) // size * size].view(-1, size)

    return _unmasked(replace(parts, order=order))


def _unmasked(parts: Parts) -> Parts:
    """The loss no longer knows which documents are the same."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module, whole: Loss = parts.loss) -> Tensor:
        return whole(query, document, batch._replace(document_id=torch.arange(len(document))), model)

    return replace(parts, loss=loss)


def positives_as_negatives(parts: Parts, copies: int) -> Parts:
    """Mined "hard negatives" that are the right answers of these very queries."""

    def pick(data: Data, rows: Tensor, g: torch.Generator, before=parts.pick) -> Picked:  # type: ignore[no-untyped-def]
        batch: Picked = before(data, rows, g)
        more = batch.document[: len(rows)].repeat(copies, *[1] * (batch.document.dim() - 1))
        fresh = int(batch.document_id.max()) + 1 + torch.arange(len(more))
        return batch._replace(
            document=torch.cat([batch.document, more]), document_id=torch.cat([batch.document_id, fresh])
        )

    return replace(parts, pick=pick)


def easiest_only(parts: Parts, share: float) -> Parts:
    """A filter against false negatives that removes nearly all rivals: only the easiest remain."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module, whole: Loss = parts.loss) -> Tensor:
        del whole
        q, d = nn.functional.normalize(query, dim=-1), nn.functional.normalize(document, dim=-1)
        scores = q @ d.T
        rivals = scores.detach().clone()
        rivals.fill_diagonal_(-9)
        hidden = rivals >= rivals.quantile(1 - share, dim=1, keepdim=True)
        hidden.fill_diagonal_(False)
        return nn.functional.cross_entropy((scores / 0.05).masked_fill(hidden, -1e4), torch.arange(len(q)))

    return replace(parts, loss=loss)


FAULTS = (
    Fault(name="few candidates", components=("negatives", "loss"), cause="one candidate", levels=(3, 2, 1),
          plant=few_candidates, needs=("contrastive",)),
    Fault(name="negatives of the own rank only", components=("distribution", "negatives"), cause="no gather",
          levels=(8, 16, 32), plant=no_gather, needs=("contrastive",)),
    Fault(name="stale documents", components=("distribution", "negatives", "architecture"), cause="stale queue",
          levels=(40, 120, 10**9), plant=stale_documents, needs=("contrastive",)),
    Fault(name="repeated documents unmasked", components=("negatives", "order"), cause="false negatives",
          levels=(4, 8, 16), plant=repeated_documents, needs=("contrastive", "text|vectors")),
    Fault(name="positives among the negatives", components=("negatives",), cause="false negatives", levels=(1, 3, 6),
          plant=positives_as_negatives, needs=("contrastive", "text|vectors")),
    Fault(name="hard negatives filtered away", components=("negatives",), cause="easy negatives",
          levels=(0.8, 0.95, 0.99), plant=easiest_only, needs=("contrastive",)),
)  # fmt: skip
