"""Losses in which every cell is a question of its own: does this document belong to this query?"""

from __future__ import annotations

__all__ = ["Sigmoid"]

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from embedfit.losses.base import Loss
from embedfit.losses.temperature import Temperature
from embedfit.scores import Scores


class Sigmoid(Loss):
    """Binary cross-entropy of every candidate, summed over the candidates of a query (SigLIP).

    With x = cosine / temperature + bias and p = sigmoid(x): -log p^n on positives, -log(1 - p^n) on negatives. n = 1 is
    SigLIP; a higher power lets the few positives among many negatives begin near p^n = their share without a bias.

    Floor: positives and negatives at the cosines that suit temperature and bias best (`probes.floor.lowest`).

    Args:
        temperature: divides the cosines; > 0.
        bias: added to the logits; where it begins, if it is learned.
        power: the exponent n of p; >= 1.
        learned: whether the bias is learned.

    Raises:
        ValueError: an argument is out of range.

    References:
        Zhai et al. 2023 (SigLIP), https://arxiv.org/abs/2303.15343, eq. 2; bias begins at -10 there.
        Su 2020, https://kexue.fm/archives/7161 (the power).
    """

    def __init__(
        self, temperature: float | Temperature = 0.1, bias: float = -10.0, power: float = 1.0, *, learned: bool = True
    ) -> None:
        super().__init__()
        if not power >= 1:
            raise ValueError(f"power must be at least 1, got {power}")
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=learned)
        self.power = power

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query, in nats."""
        logits = scores.values * self.temperature.scale.to(scores.values) + self.bias.to(scores.values)
        cells = self._of(logits, scores.positive)
        return cells.where(scores.candidate | scores.positive, 0.0).sum(-1)

    def _of(self, logits: Float[Tensor, "q k"], positive: Bool[Tensor, "q k"]) -> Float[Tensor, "q k"]:
        if self.power == 1:
            return softplus(torch.where(positive, -logits, logits))
        cost = self.power * softplus(-logits)  # -log p^n
        # -log(1 - p^n): far out p^n is 1 in floating point, and 1 - p^n is n exp(-x)
        far = logits > FAR
        near = cost.masked_fill(far, 1.0)
        against = torch.where(far, logits - math.log(self.power), -(-torch.expm1(-near)).log())
        return torch.where(positive, cost, against)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"power={self.power:g}"


FAR = 15.0  # logit from which on 1 - sigmoid^n = n exp(-x) to 6 digits (n up to 20)
