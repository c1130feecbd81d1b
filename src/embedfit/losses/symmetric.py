"""A loss in both directions."""

from __future__ import annotations

__all__ = ["Symmetric", "one_direction"]

from jaxtyping import Float
from torch import Tensor

from embedfit.losses.base import Loss
from embedfit.scores import Scores


class Symmetric(Loss):
    """Half the loss of queries against documents, half of documents against queries.

    A document's loss is credited to the queries it is the positive of, in equal parts; documents that are nobody's
    positive (brought negatives) have no query of their own and no loss in the second direction.

    Args:
        loss: the loss of one direction.

    References:
        Radford et al. 2021 (CLIP), https://arxiv.org/abs/2103.00020, figure 3.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def at(self, progress: float) -> None:
        """Passed on."""
        self.loss.at(progress)

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query."""
        there = self.loss(scores)
        owners = scores.positive.sum(0).clamp(min=1)
        back = self.loss(scores.T).where(scores.positive.any(0), 0.0) / owners
        return (there + scores.positive.to(back.dtype) @ back) / 2


def one_direction(loss: Loss) -> Loss:
    """The loss of queries against documents, of a loss in both directions too."""
    return loss.loss if isinstance(loss, Symmetric) else loss
