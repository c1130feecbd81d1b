"""`Negatives`: how a batch comes by documents that are not the positives of its own queries.

Axes: q queries of a batch, d documents of it, m documents or embeddings that are added, n examples, e dimensions.
"""

from __future__ import annotations

__all__ = ["Brought", "Chances", "Embeddings", "Negatives", "carried", "log_chances"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.types import Batch, Memory

Embeddings = Callable[[], tuple[Tensor, Tensor]]
"""Embeddings of all query texts and all document texts by the model as it is now; no gradient."""

SIZES = 4  # of batches whose chances are kept: batches of an epoch differ by one example, those of stages by more


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Brought:
    """What is added to the documents that a batch has of its own.

    Attributes:
        own: documents for each query, -1 where one has fewer.
        shared: documents for all queries.
        memory: embeddings of steps before, without gradient.
    """

    own: Int[Tensor, "q k"]
    shared: Int[Tensor, " m"]
    memory: Memory | None = None

    @staticmethod
    def nothing(queries: int) -> Brought:
        """No document."""
        return Brought(own=torch.empty((queries, 0), dtype=torch.long), shared=torch.empty(0, dtype=torch.long))


class Chances:
    """Log of the probability with which a batch of so many queries brings each document.

    Args:
        counts: examples that carry each document, see `carried`.
        examples: how many there are.
        drawn: probability with which a batch of so many queries draws each document besides; none: 0.
        carried_too: queries meet what the others of the batch carry, and not only what is drawn.
    """

    def __init__(
        self,
        counts: Float[Tensor, " documents"],
        examples: int,
        *,
        drawn: Callable[[int], float] = lambda queries: 0.0,
        carried_too: bool = True,
    ) -> None:
        self.counts, self.examples, self.drawn, self.carried_too = counts, examples, drawn, carried_too
        self._known: dict[int, Tensor] = {}

    def __call__(self, queries: int) -> Float[Tensor, " documents"]:
        """Of a batch of so many queries."""
        if queries not in self._known:
            if len(self._known) >= SIZES:
                self._known.clear()
            share = min(1.0, queries / self.examples) if self.carried_too else 0.0
            self._known[queries] = log_chances(self.counts, share, drawn=self.drawn(queries))
        return self._known[queries]


class Negatives(ABC):
    """How negatives are brought to a batch.

    What is brought need not be a negative of every query: documents that belong to a query are left out of its
    comparison by their identity, however they came.

    Args:
        chances: with which sampling brings documents; None: they are not known.

    Attributes:
        seconds: spent on more than drawing numbers.
    """

    def __init__(self, chances: Chances | None = None) -> None:
        self.chances = chances
        self.seconds = 0.0

    def log_q(self, queries: int) -> Float[Tensor, " documents"] | None:
        """Log of the probability that a query of the next batch meets each document, unless it is its own.

        Args:
            queries: of that batch; stages of a run may differ in it.

        Returns:
            One per document of the catalogue; None where they are not known.
        """
        return None if self.chances is None else self.chances(queries)

    @abstractmethod
    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """What is added for some examples.

        Args:
            rows: the examples of the batch.
            draw: random numbers that depend on seed and step alone.
        """

    def refresh(self, step: int, embeddings: Embeddings) -> None:  # noqa: B027 (most have nothing to do)
        """Told before each step; may look at the model as it is."""

    def take(self, batch: Batch, document: Float[Tensor, "d e"]) -> None:  # noqa: B027
        """Told after each step what was in it."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """The inverse of `state`."""

    def facts(self) -> dict[str, float]:
        """What it cost: "negatives.seconds" and others."""
        return {"negatives.seconds": round(self.seconds, 3)}


def carried(documents: int, positive: Int[Tensor, " n"], negatives: Int[Tensor, "n k"]) -> Float[Tensor, " documents"]:
    """How many examples bring each document of the catalogue into their batch.

    Args:
        documents: how many there are.
        positive: of each example.
        negatives: that each example brings, -1 for none.
    """
    return torch.bincount(torch.cat([positive, negatives[negatives >= 0]]), minlength=documents).double()


def log_chances(
    counts: Float[Tensor, " documents"], share: float, *, drawn: float = 0.0
) -> Float[Tensor, " documents"]:
    """Log of the probability that each document is among those of some examples, or drawn besides.

    An epoch deals every example once. A share s of them misses a document that c of all carry with
    about (1 - s)^c.

    Args:
        counts: examples that carry each document, see `carried`.
        share: of the examples, in [0, 1].
        drawn: probability with which each document is drawn uniformly from the catalogue besides; the result is then
            the mixture of Yang et al. 2020, https://doi.org/10.1145/3366424.3386195, section 4.
    """
    missed = torch.special.xlog1py(counts, torch.tensor(-share, dtype=torch.float64))
    # a share of 1 misses nothing that is carried: log 0, and a probability of 1
    return (-torch.expm1(missed + torch.tensor(-drawn, dtype=torch.float64).log1p())).log().float()
