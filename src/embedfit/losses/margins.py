"""Margins: what the cosine of a positive is lowered to before the softmax, so that a lead is asked for.

On class prototypes these are the margin softmaxes of face recognition; in a batch they ask the same of documents. All
have a finite slope at cosine 1 and -1, and none rises where the cosine falls.
"""

from __future__ import annotations

__all__ = ["Additive", "Angular", "Diameter", "Least", "Margin", "Multiple"]

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

FLAT = 1e-12  # 1 - cosine^2 below which arcs are not distinguished from a pole


class Margin(nn.Module, ABC):
    """Lowers the cosine of a positive.

    Attributes:
        size: how much, in the unit of its kind.
    """

    size: float

    @abstractmethod
    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The lowered cosine."""

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"{self.size:g}"


class Additive(Margin):
    """cos - m (AM-Softmax, CosFace).

    Args:
        size: m, a difference of cosines in [0, 2).

    Raises:
        ValueError: out of range.

    References:
        Wang et al. 2018 (AM-Softmax), https://arxiv.org/abs/1801.05599, eq. 6; Wang et al. 2018 (CosFace),
        https://arxiv.org/abs/1801.09414, eq. 4.
    """

    def __init__(self, size: float) -> None:
        super().__init__()
        if not 0 <= size < 2:
            raise ValueError(f"margin must be in [0, 2) (cosines span 2), got {size}")
        self.size = size

    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """cos - m."""
        return cosine - self.size


class Diameter(Margin):
    """cos - m with m from how wide classes are, which is measured again and again while they shrink.

    Texts are told apart by a softmax when each is nearer to its own prototype than to others; searching asks for more,
    that any two texts of a class are nearer to each other than to texts of other classes. By the triangle inequality
    in the distance d = sqrt(1 - cos) the first implies the second once it holds with a lead of the mean diameter D of
    a class, d(text, own) + D < d(text, other). At the mean distance D / 2 that is a lead of 2 D^2 between cosines.

    Args:
        share: of the measured width that classes are taken to have, D in both places; > 0, 1 in the source.
        widest: the lead is never more, however wide the classes are; in [0, 2).

    Raises:
        ValueError: out of range.

    References:
        Su 2021, https://kexue.fm/archives/8656 (the diameter, in the distance; between cosines it is our step).
    """

    lead: Tensor

    def __init__(self, share: float = 1.0, widest: float = 1.0) -> None:
        super().__init__()
        if not share > 0:
            raise ValueError(f"the share of the diameter must be positive, got {share}")
        if not 0 <= widest < 2:
            raise ValueError(f"the widest margin must be in [0, 2) (cosines span 2), got {widest}")
        self.share = share
        self.widest = widest
        self.register_buffer("lead", torch.tensor(0.0))  # a checkpoint holds it: it was measured on weights of before

    @property
    def size(self) -> float:  # type: ignore[override]
        """m as it is now; 0 until classes have been measured."""
        return float(self.lead)

    def measured(self, distance: float) -> None:
        """Set m.

        Args:
            distance: mean of sqrt(1 - cos) between texts and what they belong to: half the mean diameter.
        """
        self.lead.fill_(min(self.widest, 2 * (self.share * 2 * distance) ** 2))

    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """cos - m."""
        return cosine - self.lead


class Angular(Margin):
    """cos(angle + m) (ArcFace), followed below angle = pi - m by a line of slope 1, so that it falls everywhere.

    The slope by the cosine, cos m + sin m cos / sin, is infinite at cosine 1 although that by the embedding is not;
    there, the arc counts as flat.

    Args:
        size: m, an angle in [0, pi).

    Raises:
        ValueError: out of range.

    References:
        Deng et al. 2019 (ArcFace), https://arxiv.org/abs/1801.07698, eq. 3.
    """

    def __init__(self, size: float) -> None:
        super().__init__()
        if not 0 <= size < math.pi:
            raise ValueError(f"an angular margin must be in [0, pi), got {size}")
        self.size = size

    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """cos(angle + m)."""
        sine = (1 - cosine.square()).clamp(min=FLAT).sqrt()
        there = cosine * math.cos(self.size) - sine * math.sin(self.size)
        return torch.where(cosine > -math.cos(self.size), there, cosine + math.cos(self.size) - 1)


class Multiple(Margin):
    """(-1)^k cos(m angle) - 2k where k pi <= m angle <= (k + 1) pi (A-Softmax, SphereFace).

    cos(m angle) is a polynomial of the cosine (Chebyshev's), with slope m^2 at cosine 1.

    Args:
        size: m, a whole number from 1 to 8.

    Raises:
        ValueError: out of range.

    References:
        Liu et al. 2017 (SphereFace), https://arxiv.org/abs/1704.08063, section 3.2.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = self.turns = _whole(size)

    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """psi(angle)."""
        m = self.turns
        passed = (cosine.detach().clamp(-1, 1).arccos() * m / math.pi).floor().clamp(max=m - 1)
        sign = 1 - 2 * passed.remainder(2)
        return sign * _chebyshev(cosine, m) - 2 * passed


class Least(Margin):
    """min(cos(m angle), cos angle): the simpler form of A-Softmax.

    Args:
        size: m, a whole number from 1 to 8; 4 in the source.

    Raises:
        ValueError: out of range.

    References:
        Su 2018, https://kexue.fm/archives/5743.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = self.turns = _whole(size)

    def forward(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The lesser of the two."""
        return torch.minimum(_chebyshev(cosine, self.turns), cosine)


def _whole(size: int) -> int:
    if size not in range(1, 9):
        raise ValueError(f"a multiple of an angle must be a whole number from 1 to 8, got {size}")
    return size


def _chebyshev(cosine: Float[Tensor, " n"], m: int) -> Float[Tensor, " n"]:
    """cos(m angle)."""
    before, now = torch.ones_like(cosine), cosine
    for _ in range(m - 1):
        before, now = now, 2 * cosine * now - before
    return now
