"""Softmax over candidates: InfoNCE and its use on class prototypes."""

from __future__ import annotations

__all__ = ["InfoNCE"]

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from embedfit.losses.base import NEVER, Softmax
from embedfit.scores import Scores


class InfoNCE(Softmax):
    """Cross-entropy of the positive against the candidate negatives, on cosines divided by the temperature.

    With an additive margin m the positive's cosine is lowered by m before the softmax (AM-Softmax, CosFace); with
    document prototypes and this loss, that is exactly margin softmax on classes. With label smoothing the target gives
    each of the C candidates an equal part of `label_smoothing`, the positive the rest.

    The positive is taken out of the log-sum-exp, loss = softplus(lse(negatives) - positive), which keeps full relative
    precision near convergence, where 1 - p of a plain softmax cancels.

    Args:
        temperature: divides the cosines; > 0.
        margin: subtracted from the positive's cosine; >= 0.
        label_smoothing: share of the target spread over all candidates, in [0, 1).

    Raises:
        ValueError: an argument is out of range.

    References:
        van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4.
        Wang et al. 2018 (AM-Softmax), https://arxiv.org/abs/1801.05599, eq. 6.
        Szegedy et al. 2016 (label smoothing), https://arxiv.org/abs/1512.00567, section 7.
    """

    def __init__(self, temperature: float = 0.05, margin: float = 0.0, label_smoothing: float = 0.0) -> None:
        super().__init__(temperature)
        if not 0 <= margin < 2:
            raise ValueError(f"margin must be in [0, 2) (cosines span 2), got {margin}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.margin = margin
        self.label_smoothing = label_smoothing

    @property
    def by_rows(self) -> bool:
        """Label smoothing looks at the mean logit too."""
        return self.label_smoothing == 0

    def of(self, positive: Float[Tensor, " n"], rivals: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """softplus(rivals - (positive - margin / temperature))."""
        return softplus(rivals - (positive - self.margin * self.scale.to(positive)))

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Loss of each query, in nats; the mean over its positives where it has several, 0 where it has none."""
        loss = super().forward(scores)
        if self.label_smoothing == 0:
            return loss
        logits = scores.values * self.scale.to(scores.values)
        shifted = torch.where(scores.positive, logits - self.margin * self.scale.to(logits), logits)
        # smoothed target: (1 - a) on the positives, a / C on each candidate; -sum target * log p, p of the full softmax
        part = scores.positive | scores.candidate
        total = shifted.masked_fill(~part, NEVER).logsumexp(dim=-1)
        spread = (total[:, None] - shifted).where(part, 0.0).sum(-1) / part.sum(-1).clamp(min=1)
        return (1 - self.label_smoothing) * loss + self.label_smoothing * spread.where(scores.positive.any(-1), 0.0)
