"""Embeddings of steps before as negatives: many of them at the price of none, and a little out of date."""

from __future__ import annotations

__all__ = ["Queue"]

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from scipy.optimize import brentq
from torch import Tensor

from embedfit.negatives.base import Brought, Chances, Negatives, log_chances
from embedfit.types import Batch, Memory


class Queue(Negatives):
    """The document embeddings of the last steps, the oldest dropped first. No gradient reaches them.

    What is held is what the last examples brought: with those of the batch a query meets the documents of a window over
    the rows. It grows with the steps until what it brings fills the queue. `log_q` is of that window: far above the
    probability of one batch, and 0 once every document is held.

    Args:
        size: embeddings that are kept.
        counts: examples that carry each document, see `carried`.
        identity: of each document, in the numbering of the batches.
        examples: how many there are.

    References:
        Wu et al. 2018 (memory bank), https://arxiv.org/abs/1805.01978; He et al. 2020 (MoCo),
        https://arxiv.org/abs/1911.05722; Wang et al. 2020 (cross-batch memory), https://arxiv.org/abs/1912.06798; Che
        et al. 2002, https://doi.org/10.1109/JSAC.2002.801752, section IV (the window of what was used last).
    """

    def __init__(
        self, size: int, counts: Float[Tensor, " documents"], identity: Int[Tensor, " documents"], *, examples: int
    ) -> None:
        super().__init__()
        self.size = size
        self.chances = Chances(counts, examples)
        self.place = torch.zeros(int(identity.max()) + 1, dtype=torch.long)
        self.place[identity] = torch.arange(len(identity))
        self.examples = examples
        self.widest = window(counts, size)
        self.taken = 0
        self.held: Memory | None = None

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """All that is kept."""
        nothing, log_q = Brought.nothing(len(rows)), self.log_q(len(rows))
        if self.held is None:
            return nothing
        memory = replace(self.held, log_q=log_q[self.place[self.held.identity]])
        return Brought(own=nothing.own, shared=nothing.shared, memory=memory)

    def log_q(self, queries: int) -> Float[Tensor, " documents"]:
        """Of the window that the batch ends."""
        assert self.chances is not None
        return self.chances(queries + min(round(self.widest * self.examples), self.taken))

    def take(self, batch: Batch, document: Float[Tensor, "d e"]) -> None:
        """Keep the documents of a step, each once."""
        new = Memory(
            vectors=document.detach().float(),
            identity=batch.document_id,
            group=batch.document_group,
        ).to("cpu")
        self.held = new.followed(self.held, self.size)
        self.taken += len(batch)

    def state(self) -> dict[str, Tensor]:
        """What is kept."""
        return {} if self.held is None else {**self.held.tensors(), "taken": torch.tensor(self.taken)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        kept = dict(state)
        self.taken = int(kept.pop("taken", 0))
        self.held = Memory(**kept) if kept else None

    def facts(self) -> dict[str, float]:
        """What it cost."""
        held = 0 if self.held is None else self.held.vectors.numel() * 4
        return {**super().facts(), "negatives.megabytes": round(held / 1e6, 3)}


def window(counts: Float[Tensor, " documents"], size: int) -> float:
    """Share of the examples that carries so many different documents; 1 where all of them do not carry more."""
    if size >= int((counts > 0).sum()):
        return 1.0
    return float(brentq(lambda share: float(log_chances(counts, share).double().exp().sum()) - size, 0.0, 1.0))
