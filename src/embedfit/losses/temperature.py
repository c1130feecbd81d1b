"""Temperatures: given, or learned within bounds."""

from __future__ import annotations

__all__ = ["COLDEST", "WARMEST", "Temperature"]

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

COLDEST, WARMEST = 0.01, 1.0  # between which a temperature is learned


class Temperature(nn.Module):
    """Divides cosines.

    Learned, it moves on a logarithmic scale between two bounds, log t = log(coldest) + sigmoid(x) log(warmest /
    coldest): it can come near a bound and leave it again. A clamped parameter (CLIP's, at a scale of 100) has no
    gradient behind its bound.

    Args:
        value: the temperature, or where it begins.
        learned: whether training moves it.

    Raises:
        ValueError: it is not positive, or is to be learned and begins outside the bounds.

    References:
        Radford et al. 2021 (CLIP), https://arxiv.org/abs/2103.00020, section 2.5 (learned, bounded by 0.01).
    """

    def __init__(self, value: float, *, learned: bool = False) -> None:
        super().__init__()
        if not value > 0:
            raise ValueError(f"temperature must be positive, got {value}")
        if learned and not COLDEST < value < WARMEST:
            raise ValueError(f"a learned temperature must begin between {COLDEST} and {WARMEST}, got {value}")
        self.given = value
        self.learned = learned
        if learned:
            share = math.log(value / COLDEST) / math.log(WARMEST / COLDEST)
            self.place = nn.Parameter(torch.tensor(math.log(share / (1 - share))))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """1 / temperature."""
        if not self.learned:
            return torch.tensor(1 / self.given)
        return (-math.log(COLDEST) - torch.sigmoid(self.place) * math.log(WARMEST / COLDEST)).exp()

    @property
    def value(self) -> float:
        """What it is now."""
        return 1 / float(self.scale.detach())

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"{self.given:g}, learned={self.learned}"
