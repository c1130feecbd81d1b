"""`Pairing`: what belongs together in a batch, and which part of it this process holds.

Axes: q queries and d documents of all processes.
"""

from __future__ import annotations

__all__ = ["Pairing"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores import Doubtful, Scores
from embedfit.team import ALONE, Team


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairing:
    """What belongs together in a batch.

    Attributes:
        positive: position among the documents of each query's own positive.
        weight: how much each query counts in the mean.
        doubtful: cells that are no certain negatives.
        target: grade of each query with its own document (one to one); such pairs have no negatives.
        log_q: log of the probability with which sampling brings each document; None: the loss does not correct for it.
        own: positions of the documents that each query is compared with besides its positive, -1 for none; None: all.
        queries: how many queries each process holds, in order of rank.
        documents: how many documents each process holds, in order of rank; embeddings of steps before come after them.
        team: the processes.
    """

    positive: Int[Tensor, " q"]
    weight: Float[Tensor, " q"]
    doubtful: Doubtful | None = None
    target: Float[Tensor, " q"] | None = None
    log_q: Float[Tensor, " d"] | None = None
    own: Int[Tensor, "q k"] | None = None
    queries: Sequence[int]
    documents: Sequence[int]
    team: Team = ALONE

    @property
    def own_queries(self) -> slice:
        """Those of this process."""
        return self._own(self.queries)

    @property
    def own_documents(self) -> slice:
        """Those of this process."""
        return self._own(self.documents)

    def _own(self, counts: Sequence[int]) -> slice:
        first = sum(counts[: self.team.rank])
        return slice(first, first + counts[self.team.rank])

    @property
    def share(self) -> Float[Tensor, " q"]:
        """Weights that sum to 1."""
        return self.weight / self.weight.sum().clamp(min=torch.finfo(torch.float32).tiny)

    def met(self, scores: Scores, rows: slice) -> Scores:
        """Scores of some queries with what is known of sampling, and without the documents brought for others."""
        candidate = scores.candidate
        if self.own is not None:
            own = self.own[rows]
            row, place = (own >= 0).nonzero(as_tuple=True)
            met = torch.zeros_like(candidate)
            met[row, own[row, place]] = True
            candidate = (candidate & met) | scores.positive
        return replace(scores, candidate=candidate, log_q=self.log_q)
