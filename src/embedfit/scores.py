"""`Scores`: similarities and what identities say of each cell. Losses, probes and miners speak this noun.

Axes: q queries, k candidate documents of each query, e dimensions.
"""

from __future__ import annotations

__all__ = ["Known", "Scores", "cosine", "paired_scores", "score"]

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.types import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every query against its candidates.

    Attributes:
        values: raw similarity, before any temperature.
        positive: known relevant.
        candidate: counts as evidence; False where a cell is neither the row's positive nor a certain negative.
        target: graded label or teacher score, where there is one.
    """

    values: Float[Tensor, "q k"]
    positive: Bool[Tensor, "q k"]
    candidate: Bool[Tensor, "q k"]
    target: Float[Tensor, "q k"] | None = None

    @property
    def T(self) -> Scores:  # noqa: N802
        """Documents against queries."""
        target = None if self.target is None else self.target.T
        return Scores(self.values.T, self.positive.T, self.candidate.T, target)


class Known:
    """Pairs that are known to belong together, for looking cells up by identity.

    A pair (query, document) is one 64-bit key in a sorted vector: n pairs take 8 n bytes and a lookup log n, where a
    matrix of q x d x positives would not fit.
    """

    def __init__(self, query_id: Int[Tensor, " n"], document_id: Int[Tensor, " n"]) -> None:
        self.stride = int(document_id.max()) + 1 if document_id.numel() else 1
        self.keys = torch.unique(query_id.long() * self.stride + document_id.long())

    def __call__(self, query_id: Int[Tensor, " q"], document_id: Int[Tensor, " d"]) -> Bool[Tensor, "q d"]:
        """True where the pair is known."""
        if not self.keys.numel():
            return torch.zeros(query_id.numel(), document_id.numel(), dtype=torch.bool)
        inside = document_id < self.stride  # a document never seen in a pair cannot be known, whatever its key
        wanted = query_id.long()[:, None] * self.stride + document_id.long()[None, :]
        keys = self.keys.to(wanted.device)
        spot = torch.searchsorted(keys, wanted).clamp_(max=keys.numel() - 1)
        return (keys[spot] == wanted) & inside[None, :]


def cosine(query: Float[Tensor, "q e"], document: Float[Tensor, "d e"]) -> Float[Tensor, "q d"]:
    """Cosine of every query with every document, in fp32 whatever the towers run in."""
    with torch.autocast(query.device.type, enabled=False):
        return normalize(query.float(), dim=-1) @ normalize(document.float(), dim=-1).T


def score(
    query: Float[Tensor, "q e"], document: Float[Tensor, "d e"], batch: Batch, known: Known | None = None
) -> Scores:
    """Cosine scores of a batch; positives and doubtful cells are marked from identities alone.

    A document that is not the query's own positive is no candidate for it (neither positive nor negative) when it is
    the same text as the positive or the query, belongs to the same class, or is a known positive of the query.

    Args:
        query: embeddings of the q queries.
        document: embeddings of the d documents.
        batch: the identities.
        known: all pairs known to belong together, beyond this batch.

    Returns:
        Scores with values [q, d] in [-1, 1].
    """
    q, d = query.shape[0], document.shape[0]
    positive = torch.zeros(q, d, dtype=torch.bool, device=query.device)
    positive[torch.arange(q, device=query.device), batch.positive] = True
    own = batch.document_id[batch.positive]
    doubtful = own[:, None] == batch.document_id[None, :]
    doubtful |= (batch.query_group[:, None] == batch.document_group[None, :]) & (batch.query_group >= 0)[:, None]
    # the query itself among the documents (shared corpora) would be a negative at cosine 1
    doubtful |= batch.query_id[:, None] == batch.document_id[None, :]
    if known is not None:
        doubtful |= known(batch.query_id, batch.document_id)
    return Scores(cosine(query, document), positive, positive | ~doubtful)


def paired_scores(query: Float[Tensor, "q e"], document: Float[Tensor, "q e"], target: Float[Tensor, " q"]) -> Scores:
    """Each query against its own document only, with its graded label: values [q, 1]."""
    with torch.autocast(query.device.type, enabled=False):
        values = (normalize(query.float(), dim=-1) * normalize(document.float(), dim=-1)).sum(-1, keepdim=True)
    yes = torch.ones_like(values, dtype=torch.bool)
    return Scores(values, yes, yes, target.to(values.dtype)[:, None])
