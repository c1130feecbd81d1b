"""Negatives that are drawn: none but the others of the batch, some for each query, or some for all."""

from __future__ import annotations

__all__ = ["Drawn", "InBatch", "Mixed"]

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from embedfit.negatives.base import Brought, Chances, Negatives


class InBatch(Negatives):
    """The documents of the other queries of the batch, and nothing else."""

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """Nothing."""
        return Brought.nothing(len(rows))


class Drawn(Negatives):
    """Some documents of the catalogue for each query, drawn uniformly.

    Args:
        documents: size of the catalogue.
        each: how many for each query.
        chances: see `Negatives`.

    References:
        Huang et al. 2013 (DSSM, four random documents per clicked one), https://doi.org/10.1145/2505515.2505665.
    """

    def __init__(self, documents: int, each: int, chances: Chances | None = None) -> None:
        super().__init__(chances)
        self.documents = documents
        self.each = each

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """So many for each query."""
        own = torch.randint(self.documents, (len(rows), self.each), generator=draw)
        return Brought(own=own, shared=torch.empty(0, dtype=torch.long))


class Mixed(Negatives):
    """Some documents of the catalogue for all queries of a batch, drawn uniformly, beside those of the batch.

    The documents of a batch come by their popularity: rare ones are hardly ever anybody's negative. With some drawn
    uniformly every document is, and the probability of each under the mixture is known, for a loss that corrects
    for it.

    Args:
        documents: size of the catalogue.
        count: how many for a batch, all different.
        chances: see `Negatives`.

    References:
        Yang et al. 2020 (mixed negative sampling), https://doi.org/10.1145/3366424.3386195, section 4.
    """

    def __init__(self, documents: int, count: int, chances: Chances | None = None) -> None:
        super().__init__(chances)
        self.documents = documents
        self.count = min(count, documents)

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """So many for all."""
        numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=draw)))
        shared = torch.from_numpy(numbers.choice(self.documents, self.count, replace=False, shuffle=False))
        return Brought(own=torch.empty((len(rows), 0), dtype=torch.long), shared=shared)
