"""What every loss is: scores in, one number per query out."""

from __future__ import annotations

__all__ = ["NEVER", "Loss", "Softmax"]

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.losses.temperature import Temperature
from embedfit.scores import NONE, Rivals, Scores

# a logit no softmax sees; finite, because the gradient of a log-sum-exp over nothing but -inf is NaN
NEVER = NONE


class Loss(nn.Module, ABC):
    """A loss never reduces, gathers, embeds or moves tensors: the engine does, once, for all losses.

    A loss over the whole batch (CoSENT ranks pairs of pairs) returns its one number for every query, so that the
    engine's weighted mean is that number.
    """

    @abstractmethod
    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query."""

    def at(self, progress: float) -> None:
        """Told before every step which part of the run is done; most losses are the same throughout.

        Args:
            progress: from 0 at the first step towards 1 at the last.
        """


class Softmax(Loss):
    """A loss that sees a row only through its positives and what its negatives come to.

    That is all the engine needs to know to work it out tile by tile, without the matrix of scores.

    Args:
        temperature: divides the cosines; > 0.

    Attributes:
        means: whether `of` looks at the mean and the number of the negatives, besides their log-sum-exp.
        corrects: whether the logits of negatives are lowered by the log of the probability with which sampling brings
            them, where it is known.

    Raises:
        ValueError: temperature out of range.
    """

    means: bool = False
    corrects: bool = False

    def __init__(self, temperature: float | Temperature) -> None:
        super().__init__()
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What turns a cosine into a logit."""
        return self.temperature.scale

    @abstractmethod
    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """Loss of each pair.

        Args:
            positive: logit of the positive.
            rivals: what its certain negatives come to.
        """

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query, in nats; the mean over its positives where it has several, 0 where it has none.

        Every positive faces the negatives alone, so that several positives do not fight each other.
        """
        logits = scores.values * self.scale.to(scores.values)
        negative = scores.candidate & ~scores.positive
        log_q = scores.log_q if self.corrects else None
        others = logits if log_q is None else logits - log_q
        count = negative.sum(-1).to(logits)
        # a pass over all cells, forward and backward, that few losses look at
        mean = (
            others.where(negative, 0.0).sum(-1) / count.clamp(min=1) if self.means else torch.full_like(count, math.nan)
        )
        row, column = scores.positive.nonzero(as_tuple=True)
        around = Rivals(
            logsumexp=others.masked_fill(~negative, NEVER).logsumexp(dim=-1),
            mean=mean,
            count=count,
        ).at(row)
        if log_q is not None:
            around = Rivals(
                logsumexp=around.logsumexp, mean=around.mean, count=around.count, log_q=log_q[column].to(logits)
            )
        each = self.of(logits[row, column], around)
        return torch.zeros_like(count).index_add(0, row, each) / scores.positive.sum(-1).clamp(min=1)
