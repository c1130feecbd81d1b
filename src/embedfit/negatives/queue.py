"""Embeddings of steps before as negatives: many of them at the price of none, and a little out of date."""

from __future__ import annotations

__all__ = ["Queue"]

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.negatives.base import Brought, Negatives
from embedfit.types import Batch, Memory


class Queue(Negatives):
    """The document embeddings of the last steps, the oldest dropped first. No gradient reaches them.

    Args:
        size: embeddings that are kept.
        log_q: see `Negatives`.

    References:
        Wu et al. 2018 (memory bank), https://arxiv.org/abs/1805.01978; He et al. 2020 (MoCo),
        https://arxiv.org/abs/1911.05722; Wang et al. 2020 (cross-batch memory), https://arxiv.org/abs/1912.06798.
    """

    def __init__(self, size: int, log_q: Float[Tensor, " documents"] | None = None) -> None:
        super().__init__(log_q)
        self.size = size
        self.held: Memory | None = None

    def bring(self, rows: Int[Tensor, " q"], draw: torch.Generator) -> Brought:
        """All that is kept."""
        nothing = Brought.nothing(len(rows))
        return Brought(own=nothing.own, shared=nothing.shared, memory=self.held)

    def take(self, batch: Batch, document: Float[Tensor, "d e"]) -> None:
        """Keep the documents of a step, each once."""
        new = Memory(
            vectors=document.detach().float(),
            identity=batch.document_id,
            group=batch.document_group,
            log_q=batch.log_q,
        ).to("cpu")
        self.held = new.followed(self.held, self.size)

    def state(self) -> dict[str, Tensor]:
        """What is kept."""
        return {} if self.held is None else self.held.tensors()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.held = Memory(**state) if state else None

    def facts(self) -> dict[str, float]:
        """What it cost."""
        held = 0 if self.held is None else self.held.vectors.numel() * 4
        return {**super().facts(), "negatives.megabytes": round(held / 1e6, 3)}
