"""Documents that the model as it is takes for the query's own: found with an index, looked through by filters."""

from __future__ import annotations

__all__ = ["Mined", "Search", "Sieve"]

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.negatives.base import Brought, Embeddings, Negatives
from embedfit.neighbours import index
from embedfit.team import ALONE, Team

Doubt = Callable[[Tensor, Tensor], Tensor]

BLOCK = 4096  # queries that are looked up at once
EXACT = 1_000_000
"""Documents up to which all are compared: for many queries at once an index of a million in clusters is no quicker
(`python -m benchmarks.speed --only million`), and would have to be built for every search."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sieve:
    """Which of the documents that were found may be negatives: most near ones belong to the query, unlabelled.

    Attributes:
        kind: "none"; "margin": those whose cosine is below the positive's by `amount` or more; "share": those below
            `amount` times the positive's.
        amount: see kind.
        teacher: unit embeddings of the query and document texts by another model, which then is asked in place of the
            one that is trained.

    References:
        Moreira et al. 2024 (NV-Retriever: TopK-MarginPos, TopK-PercPos), https://arxiv.org/abs/2407.15831, section 3.
    """

    kind: Literal["none", "margin", "share"] = "none"
    amount: float = 0.95
    teacher: tuple[Float[Tensor, "queries t"], Float[Tensor, "documents t"]] | None = None

    def __call__(self, found: Float[Tensor, "q k"], positive: Float[Tensor, " q"]) -> Bool[Tensor, "q k"]:
        """True where a document may be a negative."""
        match self.kind:
            case "none":
                return torch.ones_like(found, dtype=torch.bool)
            case "margin":
                return found <= positive[:, None] - self.amount
            case "share":  # a positive that is not near has no share of nearness to give
                return found <= positive[:, None] * torch.where(positive > 0, self.amount, 1 / self.amount)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How documents are looked for.

    Attributes:
        each: how many are brought for each query, drawn from those found.
        depth: how many are looked at.
        skip: of the nearest ones, so many are passed over.
        every: steps between searches; the first before the first step.
    """

    each: int
    depth: int
    skip: int = 0
    every: int


class Mined(Negatives):
    """Documents near each query by an index of the current model, made anew every so many steps.

    Args:
        query: query text of each example.
        positive: document of each example.
        doubtful: (examples, documents found for each) to True where a document may belong to the query after all.
        search: how documents are looked for.
        sieve: which may be negatives.
        team: of several processes, all take what the first one found.

    References:
        Xiong et al. 2020 (ANCE), https://arxiv.org/abs/2007.00808; Huang et al. 2020 (embedding-based retrieval:
        ranks 101 to 500 taught best), https://arxiv.org/abs/2006.11632, section 6.1.
    """

    def __init__(
        self,
        query: Int[Tensor, " n"],
        positive: Int[Tensor, " n"],
        doubtful: Doubt,
        *,
        search: Search,
        sieve: Sieve,
        team: Team = ALONE,
    ) -> None:
        super().__init__()
        self.query = query
        self.positive = positive
        self.doubtful = doubtful
        self.search = search
        self.sieve = sieve
        self.team = team
        self.pool = torch.empty((len(query), 0), dtype=torch.int32)
        self.searches = 0
        self.kept = 0.0

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """Some of those found, drawn anew for each step; fewer where the sieve left fewer."""
        pool = self.pool[rows].long()
        # those that were left out stand last, as -1
        count = (pool >= 0).sum(1, keepdim=True)
        key = torch.rand(pool.shape, generator=draw).masked_fill(torch.arange(pool.shape[1]) >= count, 2.0)
        own = pool.gather(1, key.argsort(1)[:, : self.search.each])
        return Brought(own=own, shared=torch.empty(0, dtype=torch.long))

    def refresh(self, step: int, embeddings: Embeddings) -> None:
        """Search anew, where it is time."""
        if step % self.search.every:
            return
        began = time.perf_counter()
        query, document = (normalize(x.float(), dim=-1).cpu() for x in embeddings())
        self.pool = self.team.copy(self._found(query, document).to(self.team.device)).cpu()
        self.searches += 1
        self.kept = float((self.pool >= 0).float().mean()) if self.pool.numel() else 0.0
        self.seconds += time.perf_counter() - began

    def _found(self, query: Tensor, document: Tensor) -> Int[Tensor, "n depth"]:
        made = index(document.numpy(), kind="flat" if len(document) <= EXACT else "auto")
        width = min(self.search.depth, len(document) - 1)
        asked, judged = self.sieve.teacher or (query, document)
        pool = torch.full((len(self.query), width), -1, dtype=torch.int32)
        for rows in torch.arange(len(self.query)).split(BLOCK):
            text, own = self.query[rows], self.positive[rows]
            _, numbers = made.search(query[text].numpy(), self.search.skip + width)
            found = torch.from_numpy(np.ascontiguousarray(numbers[:, self.search.skip :]))
            there = found.clamp(min=0)
            near = torch.einsum("qe,qke->qk", asked[text], judged[there])
            positive = (asked[text] * judged[own]).sum(-1)
            fit = (found >= 0) & (there != own[:, None]) & ~self.doubtful(rows, there) & self.sieve(near, positive)
            order = (~fit).long().argsort(dim=1, stable=True)  # those that fit first, the nearest of them first
            best = found.where(fit, -1).gather(1, order)
            pool[rows, : best.shape[1]] = best.int()
        return pool

    def state(self) -> dict[str, Tensor]:
        """What was found last."""
        counts = torch.tensor([self.searches, self.kept, self.seconds], dtype=torch.float64)
        return {"pool": self.pool, "counts": counts}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.pool = state["pool"]
        searches, self.kept, self.seconds = state["counts"].tolist()
        self.searches = int(searches)

    def facts(self) -> dict[str, float]:
        """What it cost, and how many of those looked for were left."""
        return {
            **super().facts(),
            "negatives.searches": self.searches,
            "negatives.kept": round(self.kept, 4),
            "negatives.megabytes": round(self.pool.numel() * 4 / 1e6, 3),
        }
