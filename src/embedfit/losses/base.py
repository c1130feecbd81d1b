"""What every loss is: scores in, one number per query out."""

from __future__ import annotations

__all__ = ["Loss"]

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from embedfit.scores import Scores


class Loss(nn.Module, ABC):
    """A loss never reduces, gathers, embeds or moves tensors: the engine does, once, for all losses.

    A loss over the whole batch (CoSENT ranks pairs of pairs) returns its one number for every query, so that the
    engine's weighted mean is that number.
    """

    @abstractmethod
    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query."""
