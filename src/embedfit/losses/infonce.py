"""Softmax over candidates: InfoNCE and its use on class prototypes."""

from __future__ import annotations

__all__ = ["InfoNCE"]

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from embedfit.losses.base import Softmax
from embedfit.losses.margins import Additive, Margin
from embedfit.losses.temperature import Temperature
from embedfit.scores import Rivals


class InfoNCE(Softmax):
    """Cross-entropy of the positive against the candidate negatives, on cosines divided by the temperature.

    With a margin the positive's cosine is lowered before the softmax; with document prototypes and this loss, that is
    exactly margin softmax on classes. With label smoothing the target gives each of the C candidates (the positive and
    its negatives) an equal part of `label_smoothing`, the positive the rest.

    The positive is taken out of the log-sum-exp, loss = softplus(lse(negatives) - positive), which keeps full relative
    precision near convergence, where 1 - p of a plain softmax cancels.

    Floor: log(1 + (C - 1) exp(-(1 + 1 / (C - 1)) / temperature)) without margin and smoothing (`probes.floor`).

    Args:
        temperature: divides the cosines; > 0.
        margin: lowers the positive's cosine; a number is subtracted from it.
        label_smoothing: share of the target spread over all candidates, in [0, 1).

    Raises:
        ValueError: an argument is out of range.

    References:
        van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4.
        Szegedy et al. 2016 (label smoothing), https://arxiv.org/abs/1512.00567, section 7.
    """

    def __init__(
        self, temperature: float | Temperature = 0.05, margin: float | Margin = 0.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(temperature)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.margin = margin if isinstance(margin, Margin) else Additive(margin)
        self.label_smoothing = label_smoothing
        self.means = label_smoothing > 0

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """softplus(lse - lowered positive), and its share of the mean over all candidates where labels are smoothed."""
        scale = self.scale.to(positive)
        lowered = positive if self.margin.size == 0 else self.margin(positive / scale) * scale
        short = rivals.logsumexp - lowered
        if self.label_smoothing == 0:
            return softplus(short)
        # -sum of target x log p, with a target of 1 - a on the positive and a / C on each of the C candidates
        mean = (lowered + rivals.count * rivals.mean) / (1 + rivals.count)
        spread = torch.logaddexp(lowered, rivals.logsumexp) - mean
        return (1 - self.label_smoothing) * softplus(short) + self.label_smoothing * spread

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"label_smoothing={self.label_smoothing:g}"
