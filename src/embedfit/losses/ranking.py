"""Losses that ask a positive to stand before its negatives, and lose interest once it does."""

from __future__ import annotations

__all__ = ["Circle", "Hinge", "Homotopy", "Which"]

from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from embedfit.losses.base import NEVER, Loss, Softmax
from embedfit.losses.temperature import Temperature
from embedfit.scores import Rivals, Scores

Which = Literal["all", "semi_hard", "hardest"]

NEAR = 1e-8  # 1 - cosine below which distances are not distinguished: the slope of a root at 0 is infinite


class _Ranking(Loss):
    """A loss of one positive against all negatives of its row; several positives of a row are averaged."""

    @abstractmethod
    def of(
        self, positive: Float[Tensor, " n"], others: Float[Tensor, "n k"], negative: Bool[Tensor, "n k"]
    ) -> Float[Tensor, " n"]:
        """Loss of each positive."""

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query; 0 where it has no positive."""
        row, column = scores.positive.nonzero(as_tuple=True)
        negative = scores.candidate & ~scores.positive
        each = self.of(scores.values[row, column], scores.values[row], negative[row])
        total = torch.zeros_like(scores.values[:, 0]).index_add(0, row, each)
        return total / scores.positive.sum(-1).clamp(min=1)


class Hinge(_Ranking):
    """max(0, margin - positive + negative) over some of the negatives; 0 without negatives.

    On cosines (S = cosine) the loss of ranking SVMs; on Euclidean distances of unit vectors (S = -sqrt(2 - 2 cosine))
    the triplet loss. Which negatives:

    - all: the mean over them.
    - semi_hard: the nearest of those that are further away than the positive; where all are nearer, the furthest.
    - hardest: the nearest.

    Where all embeddings are alike the loss is the margin: a run that stays there with the hardest negatives has
    collapsed. Floor 0 for every margin up to `probes.attainable.widest_margin`.

    Args:
        margin: the lead that is asked for; >= 0.
        negatives: which.
        distance: Euclidean distances instead of cosines.

    Raises:
        ValueError: margin out of range.

    References:
        Schroff et al. 2015 (FaceNet), https://arxiv.org/abs/1503.03832, eq. 3 and section 3.2 (semi-hard).
        Faghri et al. 2018 (VSE++), https://arxiv.org/abs/1707.05612, eq. 5 and 6 (all, hardest).
        Hermans et al. 2017, https://arxiv.org/abs/1703.07737, section 2 (unsquared distances).
    """

    def __init__(self, margin: float = 0.2, negatives: Which = "all", *, distance: bool = False) -> None:
        super().__init__()
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.margin = margin
        self.negatives = negatives
        self.distance = distance

    def of(
        self, positive: Float[Tensor, " n"], others: Float[Tensor, "n k"], negative: Bool[Tensor, "n k"]
    ) -> Float[Tensor, " n"]:
        """Mean shortfall of the chosen negatives."""
        if self.distance:
            positive, others = _nearness(positive), _nearness(others)
        if self.negatives == "all":
            short = (self.margin - positive[:, None] + others).clamp(min=0).where(negative, 0.0)
            return short.sum(-1) / negative.sum(-1).clamp(min=1)
        rival = others.masked_fill(~negative, NEVER).amax(-1)
        if self.negatives == "semi_hard":
            behind = negative & (others < positive[:, None])
            nearest = others.masked_fill(~behind, NEVER).amax(-1)
            furthest = others.masked_fill(~negative, -NEVER).amin(-1)
            rival = torch.where(behind.any(-1), nearest, furthest)
        return (self.margin - positive + rival).clamp(min=0).where(negative.any(-1), 0.0)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"margin={self.margin:g}, negatives={self.negatives}, distance={self.distance}"


def _nearness(cosine: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Minus the Euclidean distance of unit vectors."""
    return -(2 * (1 - cosine).clamp(min=NEAR)).sqrt()


class Homotopy(Softmax):
    """From InfoNCE to the hinge over the hardest negative, by one falling temperature T.

    T softplus((margin + T lse(negatives / T) - positive) / T) is T times InfoNCE with a margin; as T falls to 0 it
    becomes max(0, margin - positive + hardest negative). T falls from `warm` to `cold` as a geometric sequence over the
    run, so that the collapse of a hardest hinge from the start is avoided and no switch of losses is needed.

    Args:
        warm: temperature of the first step; > 0.
        cold: temperature of the last step; > 0 and not above `warm`.
        margin: the lead that is asked for; >= 0.

    Raises:
        ValueError: an argument is out of range.

    References:
        Nesterov 2005, "Smooth minimization of non-smooth functions", section 4 (log-sum-exp as a smooth maximum).
    """

    def __init__(self, warm: float = 0.05, cold: float = 0.005, margin: float = 0.2) -> None:
        super().__init__(Temperature(warm))
        if not 0 < cold <= warm:
            raise ValueError(f"the last temperature must be positive and not above the first, {warm}; got {cold}")
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.warm, self.cold, self.margin = warm, cold, margin

    def at(self, progress: float) -> None:
        """Set the temperature."""
        self.temperature = Temperature(self.warm * (self.cold / self.warm) ** progress)

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """T softplus(lse - positive + margin / T)."""
        scale = self.scale.to(positive)
        return softplus(rivals.logsumexp - positive + self.margin * scale) / scale

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"warm={self.warm:g}, cold={self.cold:g}, margin={self.margin:g}"


class Circle(_Ranking):
    """Each similarity is weighted by how far it is from where it should be.

    log(1 + sum of exp(a_n (negative - m) / t) exp(-a_p (positive - (1 - m)) / t)) with a_p = max(0, 1 + m - positive)
    and a_n = max(0, negative + m), both without gradient: the decision boundary is a circle around (negative 0,
    positive 1), where margin softmax and triplet loss have a line.

    Args:
        temperature: 1 / gamma; > 0.
        margin: m, the radius; in (0, 1).

    Raises:
        ValueError: an argument is out of range.

    References:
        Sun et al. 2020, https://arxiv.org/abs/2002.10857, eq. 6 to 8 (gamma 80, m .25 or .4 for retrieval).
    """

    def __init__(self, temperature: float = 1 / 80, margin: float = 0.25) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if not 0 < margin < 1:
            raise ValueError(f"margin of the circle must be in (0, 1), got {margin}")
        self.temperature = temperature
        self.margin = margin

    def of(
        self, positive: Float[Tensor, " n"], others: Float[Tensor, "n k"], negative: Bool[Tensor, "n k"]
    ) -> Float[Tensor, " n"]:
        """softplus(lse of weighted negatives - weighted positive)."""
        m = self.margin
        pull = (1 + m - positive.detach()).clamp(min=0) * (positive - (1 - m))
        push = (others.detach() + m).clamp(min=0) * (others - m)
        rivals = (push / self.temperature).masked_fill(~negative, NEVER).logsumexp(-1)
        return softplus(rivals - pull / self.temperature)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"temperature={self.temperature:g}, margin={self.margin:g}"
