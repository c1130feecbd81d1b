"""Regularisers: what is asked of all embeddings together, or of the weights, beside the objective.

Each is a number per batch, weighed and added to the gradient; the loss that a run reports stays the objective's own, so
that it keeps its floor.

Axes: n embeddings, e dimensions.
"""

from __future__ import annotations

__all__ = ["Covariance", "Regulariser", "Uniformity", "Variance", "spectral_norm"]

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

STEPS = 8  # of the power iteration: enough where one singular value leads, and a lower bound in any case


class Regulariser(nn.Module, ABC):
    """Embeddings of one side of a batch, not normalised, to one number."""

    @abstractmethod
    def forward(self, embedding: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The penalty."""


class Uniformity(Regulariser):
    """log of the mean of exp(-t |x - y|^2) over pairs of unit embeddings: low when they are spread evenly.

    0 when all are the same; at most about -t for two opposite halves, and -2 t for independent directions of many
    dimensions.

    Args:
        t: sharpness; > 0.

    Raises:
        ValueError: t out of range.

    References:
        Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1.2.
    """

    def __init__(self, t: float = 2.0) -> None:
        super().__init__()
        if not t > 0:
            raise ValueError(f"t must be positive, got {t}")
        self.t = t

    def forward(self, embedding: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The penalty; 0 for a single embedding."""
        n = len(embedding)
        if n < 2:
            return embedding.sum() * 0
        unit = normalize(embedding, dim=-1)
        closeness = 2 * self.t * (unit @ unit.T - 1)
        own = torch.eye(n, dtype=torch.bool, device=unit.device)
        return closeness.masked_fill(own, -torch.inf).flatten().logsumexp(0) - math.log(n * (n - 1))


class Variance(Regulariser):
    """Mean shortfall of each coordinate's standard deviation from that of even directions: max(0, 1 - std).

    Coordinates are those of unit embeddings times sqrt(e), whose standard deviation is 1 where directions are even and
    0 where all embeddings are the same. (The paper takes embeddings of any length; cosines do not see the length.)

    References:
        Bardes et al. 2022 (VICReg), https://arxiv.org/abs/2105.04906, eq. 1 and 2.
    """

    def forward(self, embedding: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The penalty, from 0 to 1."""
        spread = (_even(embedding).var(0, correction=0) + 1e-4).sqrt()
        return (1 - spread).clamp(min=0).mean()


class Covariance(Regulariser):
    """Sum of the squared covariances between different coordinates, over e: 0 when none repeats another.

    Coordinates as in `Variance`.

    References:
        Bardes et al. 2022 (VICReg), https://arxiv.org/abs/2105.04906, eq. 3 and 4.
    """

    def forward(self, embedding: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The penalty."""
        centred = _even(embedding)
        centred = centred - centred.mean(0)
        together = centred.T @ centred / max(1, len(centred))
        return (together.square().sum() - together.diagonal().square().sum()) / embedding.shape[1]


def _even(embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    return normalize(embedding, dim=-1) * embedding.shape[1] ** 0.5


def spectral_norm(weight: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    """Largest singular value of a matrix, by power iteration from fixed vectors; its gradient is u v^T.

    References:
        Yoshida and Miyato 2017, https://arxiv.org/abs/1705.10941, algorithm 1.
    """
    with torch.no_grad():
        # no singular vector of a trained matrix is orthogonal to this one
        v = normalize(torch.arange(1, weight.shape[1] + 1, dtype=weight.dtype, device=weight.device).cos(), dim=0)
        for _ in range(STEPS):
            u = normalize(weight @ v, dim=0)
            v = normalize(weight.T @ u, dim=0)
    return u @ weight @ v
