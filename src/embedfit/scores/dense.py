"""`Scores`: similarities and what identities say of each cell. Losses, probes and miners speak this noun.

Axes: q queries, k candidate documents of each query, e dimensions.
"""

from __future__ import annotations

__all__ = ["Scores", "cosine", "marked", "paired_scores", "score", "units"]

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.scores.cells import Doubtful, Known
from embedfit.types import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every query against its candidates.

    Attributes:
        values: raw similarity, before any temperature.
        positive: known relevant.
        candidate: counts as evidence; False where a cell is neither the row's positive nor a certain negative.
        target: graded label or teacher score, where there is one.
        log_q: log of the probability with which sampling brings each document, where it is known.
    """

    values: Float[Tensor, "q k"]
    positive: Bool[Tensor, "q k"]
    candidate: Bool[Tensor, "q k"]
    target: Float[Tensor, "q k"] | None = None
    log_q: Float[Tensor, " k"] | None = None

    @property
    def T(self) -> Scores:  # noqa: N802
        """Documents against queries; how the queries were sampled is not known."""
        target = None if self.target is None else self.target.T
        return Scores(self.values.T, self.positive.T, self.candidate.T, target)


def units(embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """The embeddings at length 1, in fp32 whatever the towers run in."""
    with torch.autocast(embedding.device.type, enabled=False):
        return normalize(embedding.float(), dim=-1)


def cosine(query: Float[Tensor, "q e"], document: Float[Tensor, "d e"]) -> Float[Tensor, "q d"]:
    """Cosine of every query with every document, in fp32 whatever the towers run in."""
    with torch.autocast(query.device.type, enabled=False):
        return units(query) @ units(document).T


def marked(
    values: Float[Tensor, "b d"], positive: Int[Tensor, " b"], doubtful: Doubtful | None = None, start: int = 0
) -> Scores:
    """Values of some rows, with positives and doubtful cells marked.

    Args:
        values: similarities of queries start to start + b with all documents.
        positive: column of each of these queries' own positive.
        doubtful: cells that are no certain negatives.
        start: number of the first query.
    """
    rows = torch.arange(len(values), device=values.device)
    is_positive = torch.zeros_like(values, dtype=torch.bool)
    is_positive[rows, positive] = True
    candidate = torch.ones_like(is_positive)
    if doubtful is not None:
        candidate[doubtful.cells(start, start + len(values))] = False
    return Scores(values, is_positive, candidate | is_positive)


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
    return marked(cosine(query, document), batch.positive, Doubtful.of(batch, known))


def paired_scores(query: Float[Tensor, "q e"], document: Float[Tensor, "q e"], target: Float[Tensor, " q"]) -> Scores:
    """Each query against its own document only, with its graded label: values [q, 1]."""
    values = (units(query) * units(document)).sum(-1, keepdim=True)
    yes = torch.ones_like(values, dtype=torch.bool)
    return Scores(values, yes, yes, target.to(values.dtype)[:, None])
