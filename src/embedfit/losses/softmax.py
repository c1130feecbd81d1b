"""Relatives of InfoNCE: other functions of the positive and of what its negatives come to."""

from __future__ import annotations

__all__ = ["DCL", "Debiased", "Focal", "LogQ", "TargetProbability"]

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from embedfit.losses.base import NEVER, Softmax
from embedfit.losses.temperature import Temperature
from embedfit.scores import Rivals


class DCL(Softmax):
    """InfoNCE without the positive in the denominator: lse(negatives) - positive; 0 without negatives.

    A pair that stands out already is pulled as hard as any other, so that small batches lose less. The loss has no
    bound at 0; its floor is log(C - 1) - (1 + 1 / (C - 1)) / temperature.

    References:
        Yeh et al. 2022, "Decoupled contrastive learning", https://arxiv.org/abs/2110.06848, eq. 6.
    """

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """lse - positive."""
        return (rivals.logsumexp - positive).where(rivals.logsumexp > NEVER / 2, 0.0)


class Debiased(Softmax):
    """InfoNCE for batches whose negatives are unlabelled: a share of them is taken to be positives in truth.

    With N negatives, prior P and temperature t, each negative's expected weight
    g = max((mean of exp(negative) - P exp(positive)) / (1 - P), exp(-1 / t)), loss = softplus(log(N g) - positive).

    Args:
        temperature: divides the cosines; > 0.
        prior: share P of the negatives that belong to the query in truth, in [0, 1); 0 is InfoNCE.

    Raises:
        ValueError: an argument is out of range.

    References:
        Chuang et al. 2020, https://arxiv.org/abs/2007.00224, eq. 7 and 8 (M = 1).
    """

    means = True

    def __init__(self, temperature: float | Temperature = 0.05, prior: float = 0.01) -> None:
        super().__init__(temperature)
        if not 0 <= prior < 1:
            raise ValueError(f"prior must be in [0, 1), got {prior}")
        self.prior = prior

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """softplus(log(N g) - positive)."""
        number = rivals.count.clamp(min=1).log()
        least = number - self.scale.to(positive)
        weights = rivals.logsumexp
        if self.prior > 0:
            taken = number + math.log(self.prior) + positive - weights  # log of the share that is no negative
            left = (-torch.expm1(taken.clamp(max=-1e-12))).log() - math.log1p(-self.prior)
            weights = torch.where(taken < 0, weights + left, NEVER)
        # of nothing but certain negatives no weight is below the least, rounding aside
        total = torch.maximum(weights, least) if self.prior > 0 else weights
        return softplus(total.where(rivals.count > 0, NEVER) - positive)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"prior={self.prior:g}"


class Focal(Softmax):
    """Cross-entropy weighted by how wrong it is: (1 - p)^focus times -log p, p the softmax's share of the positive.

    Args:
        temperature: divides the cosines; > 0.
        focus: the exponent, >= 0; 0 is InfoNCE.

    Raises:
        ValueError: an argument is out of range.

    References:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 4.
    """

    def __init__(self, temperature: float | Temperature = 0.05, focus: float = 2.0) -> None:
        super().__init__(temperature)
        if not focus >= 0:
            raise ValueError(f"focus must not be negative, got {focus}")
        self.focus = focus

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """(1 - p)^focus softplus(lse - positive)."""
        short = rivals.logsumexp - positive
        return (self.focus * logsigmoid(short)).exp() * softplus(short)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"focus={self.focus:g}"


class TargetProbability(Softmax):
    """Asks for a probability below 1: the squared distance of the positive's softmax share p to a target.

    At temperature 1, unit vectors reach p = e / (e + K) among K orthogonal negatives and no loss that asks for p = 1
    comes near 0 (K = 4: p = .405). The remedy of a DSSM that "did not converge" was to ask for that; a lower
    temperature is the other one. `probes.floor.orthogonal_probability` gives e^(1/t) / (e^(1/t) + K).

    Args:
        temperature: divides the cosines; > 0.
        target: the probability, in (0, 1].
        clipped: instead of (p - target)^2, log(target / p) where p is below the target and 0 above it.

    Raises:
        ValueError: an argument is out of range.

    References:
        Huang et al. 2013 (DSSM), https://doi.org/10.1145/2505515.2505665, eq. 5 and 6, for p; the target is a
        practitioner's.
    """

    def __init__(self, temperature: float | Temperature = 1.0, target: float = 0.4, *, clipped: bool = False) -> None:
        super().__init__(temperature)
        if not 0 < target <= 1:
            raise ValueError(f"target must be in (0, 1], got {target}")
        self.target = target
        self.clipped = clipped

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """(p - target)^2, or log(target / p) from below."""
        short = rivals.logsumexp - positive
        if self.clipped:
            return (softplus(short) + math.log(self.target)).clamp(min=0)
        return (torch.sigmoid(-short) - self.target).square()

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"target={self.target:g}, clipped={self.clipped}"


class LogQ(Softmax):
    """Softmax over the whole catalogue, estimated from the documents that a batch happens to hold.

    A popular document is in many batches and would be pushed away more often than a rare one. Each negative's logit is
    therefore lowered by the log of the probability with which sampling brings it. The positive is there in any case
    and is not corrected; its probability p under the whole catalogue then weighs the sample, -stop(1 - p) (positive -
    lse(negatives)), which has the gradient of softplus(lse(negatives) - positive): that is what is returned, because it
    has a floor.

    Documents of a batch are distinct, so that the probability is that of being in the batch at all.

    Args:
        temperature: divides the cosines; > 0.
        positive_too: correct the positive as if it had been sampled.

    References:
        Khrylchenko et al. 2025, "Correcting the LogQ correction", https://arxiv.org/abs/2507.09331.
        Yi et al. 2019, https://doi.org/10.1145/3298689.3346996, section 4 (`positive_too`).
    """

    corrects = True

    def __init__(self, temperature: float | Temperature = 0.05, *, positive_too: bool = False) -> None:
        super().__init__(temperature)
        self.positive_too = positive_too

    def of(self, positive: Float[Tensor, " n"], rivals: Rivals) -> Float[Tensor, " n"]:
        """softplus(lse - positive)."""
        own = rivals.log_q if self.positive_too and rivals.log_q is not None else torch.zeros_like(positive)
        return softplus(rivals.logsumexp - (positive - own))

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"positive_too={self.positive_too}"
