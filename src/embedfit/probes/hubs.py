"""Documents that are found too often: by everybody (hubs), or too seldom for how often they are right (popularity).

Axes: q queries, d documents, of which every query has one of its own.
"""

from __future__ import annotations

__all__ = ["Corrected", "evened", "isotropic_skewness", "neighbour_skewness", "reciprocal_rank", "with_popularity"]

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

NEAR, DRAWS = 10, 8
WEIGHTS = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0)
"""Of standardised log frequencies beside standardised scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What a correction of the scores does to the mean reciprocal rank.

    Attributes:
        before: without it.
        after: with it.
        z: their paired difference in standard errors; 0 where nothing changed.
    """

    before: float
    after: float
    z: float


def reciprocal_rank(scores: Float[Tensor, "q d"], own: Int[Tensor, " q"]) -> Float[Tensor, " q"]:
    """1 / rank of each query's own document; ties count against it."""
    return 1.0 / (scores >= scores.gather(1, own[:, None])).sum(1).float()


@torch.no_grad()
def neighbour_skewness(scores: Float[Tensor, "q d"], own: Int[Tensor, " q"], near: int = NEAR) -> float:
    """Skewness of how often each document is among the nearest of a query whose own document it is not.

    A document that is right often is among the nearest often and is no hub; so its own queries do not count.

    Args:
        scores: every query against every document.
        own: document of each query.
        near: how many are nearest.

    References:
        Radovanovic, Nanopoulos and Ivanovic 2010, Hubs in space, https://jmlr.org/papers/v11/radovanovic10a.html
    """
    others = scores.scatter(1, own[:, None], -torch.inf)
    nearest = others.topk(min(near, scores.shape[1] - 1), dim=1).indices
    count = torch.bincount(nearest.flatten(), minlength=scores.shape[1]).double()
    spread = count.std(correction=0)
    return float(((count - count.mean()) ** 3).mean() / spread**3) if float(spread) > 0 else 0.0


@functools.lru_cache(maxsize=64)
def isotropic_skewness(queries: int, documents: int, dimension: int, near: int = NEAR) -> float:
    """Mean of `neighbour_skewness` over seeded draws of even directions: some skewness is chance."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(DRAWS):
        q, d = (normalize(torch.randn(n, dimension, generator=generator), dim=-1) for n in (queries, documents))
        found.append(neighbour_skewness(q @ d.T, torch.arange(queries) % documents, near))
    return sum(found) / len(found)


@torch.no_grad()
def evened(scores: Float[Tensor, "q d"], own: Int[Tensor, " q"], near: int = NEAR) -> Corrected:
    """The rank with each document's mean similarity to its nearest queries taken off (CSLS).

    References:
        Conneau et al. 2018, Word translation without parallel data, https://arxiv.org/abs/1710.04087, section 2.3.
    """
    crowd = scores.topk(min(near, len(scores)), dim=0).values.mean(0)
    return _compared(reciprocal_rank(scores, own), reciprocal_rank(2 * scores - crowd, own))


@torch.no_grad()
def with_popularity(
    scores: Float[Tensor, "q d"],
    own: Int[Tensor, " q"],
    counts: Float[Tensor, " d"],
    weights: Sequence[float] = WEIGHTS,
) -> Corrected:
    """The rank with the logarithm of each document's frequency added to the scores, with a weight from other queries.

    Every half of the queries is ranked with the weight that suits the other half best, so that a weight which is only
    luck wins nothing. Scores of a softmax whose candidates were drawn as they occur know nothing of frequency, unless
    the loss is corrected for it; what they lack, this adds.

    Args:
        scores: every query against every document.
        own: document of each query.
        counts: how often each document occurs in the training rows.
        weights: that are tried.
    """
    fame = (counts.float() + 1).log()
    fame = (fame - fame.mean()) / fame.std().clamp(min=1e-9)
    level = (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True).clamp(min=1e-9)
    ranks = torch.stack([reciprocal_rank(level + weight * fame, own) for weight in weights])
    before, after = reciprocal_rank(level, own), torch.empty(len(own))
    even = torch.arange(len(own)) % 2 == 0
    for half in (even, ~even):
        best = int(ranks[:, ~half].mean(1).argmax())
        after[half] = ranks[best, half]
    return _compared(before, after)


def _compared(before: Float[Tensor, " q"], after: Float[Tensor, " q"]) -> Corrected:
    gain = (after - before).double()
    error = float(gain.std()) / math.sqrt(len(gain))
    z = float(gain.mean()) / error if error > 0 else 0.0
    return Corrected(before=float(before.mean()), after=float(after.mean()), z=z)
