"""How low any loss of scores can get, how large a margin can be met: from the geometry of unit vectors alone.

Let p be the mean cosine of C queries with their own documents, n that of the queries with the other documents. Then

    n >= -(C - (C - 2) p) / (2 (C - 1)),

because C p + C (C - 1) n = |sum s|^2 - |sum t|^2 with s, t = (query +- document) / 2, and |sum t|^2 <= C sum |t|^2 =
C^2 (1 - p) / 2. The bound is reached for every p: q = a u + b w, d = a u - b w with u the corners of a simplex and w
orthogonal to it. A loss that is convex in the cosines of a row, alike in all negatives and does not fall with them can
therefore not get below its least value along that line (Jensen), and reaches it. One search over p gives the floor of
every such loss; for one that is not convex it gives the level of the best symmetric arrangement.

Axes: m points along the line.
"""

from __future__ import annotations

__all__ = ["Row", "collapsed", "lowest", "orthogonal_probability", "widest_angle", "widest_margin"]

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from embedfit.probes.floor import Number, widest_gap

Points = Float[np.ndarray, " m"]
Row = Callable[[Points, Points], Points]

POINTS, ZOOMS = 201, 3


def lowest(row: Row, candidates: Number) -> float:
    """The lowest mean loss of a batch.

    Args:
        row: loss of a query whose positive has one cosine and whose negatives all have another, elementwise.
        candidates: documents each query is compared with, C > 1; as many as queries.

    Returns:
        The floor.

    References:
        Lee et al. 2024, https://arxiv.org/abs/2402.12613 (the arrangement is optimal for the sigmoid loss).
    """

    def along(p: Points) -> Points:
        # for a mean number of candidates below 2 the formula leaves the cosines
        n = np.maximum(-1.0, -(candidates - (candidates - 2) * p) / (2 * (candidates - 1)))
        return row(p, n)

    return _least(along)


def collapsed(row: Row) -> float:
    """The loss of the best embedding that cannot tell candidates apart: all cosines are the same."""
    return _least(lambda c: row(c, c))


def _least(function: Callable[[Points], Points]) -> float:
    low, high, found = -1.0, 1.0, math.inf
    for _ in range(ZOOMS):
        points = np.linspace(low, high, POINTS)
        values = function(points)
        best = int(values.argmin())
        found = min(found, float(values[best]))
        low, high = points[max(0, best - 1)], points[min(POINTS - 1, best + 1)]
    return found


def widest_margin(candidates: Number, dimension: int) -> float:
    """Largest lead of a positive's cosine over the nearest negative's that every query can have at once.

    1 + 1 / (C - 1) while C <= e + 1 (the simplex); beyond that two of C directions are always at a right angle or
    nearer, so that it is at most 1.

    Args:
        candidates: documents each query is compared with, C > 1.
        dimension: e of an embedding.

    References:
        Rankin 1955, "The closest packing of spherical caps in n dimensions"; Wang et al. 2018 (CosFace),
        https://arxiv.org/abs/1801.09414, section 3.4.
    """
    return widest_gap(candidates) if candidates <= dimension + 1 else 1.0


def widest_angle(candidates: Number, dimension: int) -> float:
    """The same as an angle between the positive and the nearest negative, in radians (ArcFace)."""
    return math.acos(1 - widest_margin(candidates, dimension))


def orthogonal_probability(candidates: Number, temperature: Number) -> float:
    """Softmax share of a positive at cosine 1 among orthogonal negatives: a target that unit vectors do reach.

    e^(1/t) / (e^(1/t) + C - 1): .405 for 5 candidates at temperature 1.

    Args:
        candidates: documents each query is compared with, C >= 1.
        temperature: divides the cosines; > 0.
    """
    return 1 / (1 + (candidates - 1) * math.exp(-1 / temperature))
