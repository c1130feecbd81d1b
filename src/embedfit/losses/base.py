"""What every loss is: scores in, one number per query out."""

from __future__ import annotations

__all__ = ["NEVER", "Loss", "Softmax"]

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.scores import Scores

# a logit no softmax sees; finite, because the gradient of a log-sum-exp over nothing but -inf is NaN
NEVER = -1e30


class Loss(nn.Module, ABC):
    """A loss never reduces, gathers, embeds or moves tensors: the engine does, once, for all losses.

    A loss over the whole batch (CoSENT ranks pairs of pairs) returns its one number for every query, so that the
    engine's weighted mean is that number.
    """

    @abstractmethod
    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query."""


class Softmax(Loss):
    """A loss that sees a row only through its positives and the log-sum-exp of its negatives.

    That is all the engine needs to know to work it out tile by tile, without the matrix of scores.

    Args:
        temperature: divides the cosines; > 0.

    Raises:
        ValueError: temperature out of range.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What turns a cosine into a logit."""
        return torch.tensor(1 / self.temperature)

    @property
    def by_rows(self) -> bool:
        """Whether `of` is all there is to this loss, as it is set."""
        return True

    @abstractmethod
    def of(self, positive: Float[Tensor, " n"], rivals: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Loss of each pair.

        Args:
            positive: logit of the positive.
            rivals: log-sum-exp of the logits of its certain negatives; `NEVER` or below where there are none.
        """

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query, in nats; the mean over its positives where it has several, 0 where it has none.

        Every positive faces the negatives alone, so that several positives do not fight each other.
        """
        logits = scores.values * self.scale.to(scores.values)
        rivals = logits.masked_fill(scores.positive | ~scores.candidate, NEVER).logsumexp(dim=-1)
        row, column = scores.positive.nonzero(as_tuple=True)
        count = scores.positive.sum(-1).clamp(min=1)
        each = self.of(logits[row, column], rivals[row])
        return torch.zeros_like(rivals).index_add(0, row, each) / count
