"""How low a loss can get and where it starts: exact floors and chance levels, from arithmetic alone.

Unit vectors cannot all point away from each other. Among C candidates the positive can lead the others by a cosine of
1 + 1/(C - 1) at most (the regular simplex), so that a softmax at temperature t never falls below
log(1 + (C - 1) exp(-(1 + 1/(C - 1)) / t)): with 256 candidates and t = 1 that is 4.55, where chance is 5.55. Such a
run looks stuck and is not.

Axes: C candidates of a query, its positive among them; q queries; d documents.
"""

from __future__ import annotations

__all__ = [
    "cosent_chance",
    "cosent_floor",
    "infonce_chance",
    "infonce_floor",
    "prototypes_floor",
    "sufficient_temperature",
    "widest_gap",
]

import math
import sys
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

Number = int | float


def widest_gap(candidates: Number, queries: Number | None = None) -> float:
    """Largest possible lead of a positive's cosine over the mean of its negatives' cosines, averaged over the queries.

    With as many documents as queries it is 1 + 1/(C - 1), reached by the regular simplex if the embedding has at least
    C - 1 dimensions; with fewer dimensions it remains an upper bound. Documents that are nobody's positive may all
    gather opposite the queries, which widens it, up to 2 for a single query.

    Args:
        candidates: documents each query is compared with, C > 1; a mean where masks make it differ between queries.
        queries: queries with different positives among these documents; None: as many as documents.

    Returns:
        A difference of cosines in (1, 2].

    Raises:
        ValueError: no negative among the candidates, or more queries than candidates.

    References:
        Wang et al. 2017 (NormFace), https://arxiv.org/abs/1704.06369, proposition 2, for the square case. With d > q
        documents: query i does best along the difference of its positive and the mean of the others; the squared
        length of that difference, averaged over i, is (d^2 - 2 d P.S / q + |S|^2) / (d - 1)^2 with P the sum of the
        positives and S that of all documents, largest where the brought negatives coincide and oppose P.
    """
    if not candidates > 1:
        raise ValueError(f"a gap needs a negative beside the positive, got {candidates} candidate(s)")
    if queries is None:
        return min(2.0, candidates / (candidates - 1))
    if not 1 <= queries <= candidates:
        raise ValueError(f"queries must lie between 1 and the {candidates} candidates, got {queries}")
    brought = candidates - queries
    positives = min(queries, brought**2 / (2 * candidates - queries))
    squared = candidates**2 - 2 * candidates / queries * positives * (positives - brought) + (positives - brought) ** 2
    return math.sqrt(squared) / (candidates - 1)


def infonce_floor(
    candidates: Number,
    temperature: Number,
    *,
    margin: Number = 0.0,
    label_smoothing: Number = 0.0,
    queries: Number | None = None,
) -> float:
    """The loss that no embedding of unit vectors can get below, in nats; 0 where there is no negative.

    A bound on the mean over a batch, in any number of dimensions. Where the identity mask takes cells out, `candidates`
    is the number left.

    Args:
        candidates: size C of the softmax, the positive included.
        temperature: divides the cosines; > 0.
        margin: subtracted from the positive's cosine (AM-Softmax).
        label_smoothing: share of the target spread over all candidates.
        queries: see `widest_gap`.

    Returns:
        The floor, in nats.

    Raises:
        ValueError: an argument is out of range.

    References:
        Wang et al. 2017 (NormFace), https://arxiv.org/abs/1704.06369, proposition 2; convexity of log-sum-exp carries
        it from class prototypes to any batch. Margin and smoothing alike: the loss is convex in the lead.
    """
    _check(candidates, temperature, label_smoothing)
    if candidates == 1:
        return 0.0
    lead = (widest_gap(candidates, queries) - margin) / temperature
    if label_smoothing > 0:
        # a smoothed target is met exactly at a finite lead, and every further step away from it costs
        elsewhere = max(label_smoothing * (1 - 1 / candidates), sys.float_info.min)  # a half of the least number is 0
        lead = min(lead, math.log((1 - elsewhere) * (candidates - 1)) - math.log(elsewhere))
    return _loss_at(lead, candidates, label_smoothing)


def infonce_chance(
    candidates: Number, temperature: Number = 1.0, *, margin: Number = 0.0, label_smoothing: Number = 0.0
) -> float:
    """The loss when all candidates look alike, in nats: log C without margin, whatever the temperature.

    Args:
        candidates: size C of the softmax, the positive included.
        temperature: divides the margin; of no influence without one.
        margin: subtracted from the positive's cosine.
        label_smoothing: share of the target spread over all candidates.

    Returns:
        The chance level, in nats.

    Raises:
        ValueError: an argument is out of range.
    """
    _check(candidates, temperature, label_smoothing)
    return 0.0 if candidates == 1 else _loss_at(-margin / temperature, candidates, label_smoothing)


def prototypes_floor(
    classes: Number, temperature: Number, *, margin: Number = 0.0, label_smoothing: Number = 0.0
) -> float:
    """Floor of a softmax over unit class prototypes, in nats, for classes that count equally.

    Where some classes have more examples than others, the mean over the classes is bounded; the mean over the examples
    may lie a little lower. The chance level is `infonce_chance(classes, ...)`.

    Args:
        classes: number of prototypes.
        temperature: divides the cosines (1 / scale).
        margin: subtracted from the cosine of the example's own class.
        label_smoothing: share of the target spread over all classes.

    Returns:
        The floor, in nats.

    Raises:
        ValueError: an argument is out of range.

    References:
        Wang et al. 2017 (NormFace), https://arxiv.org/abs/1704.06369, proposition 2; with margin, Wang et al. 2018
        (CosFace), https://arxiv.org/abs/1801.09414, section 3.4.
    """
    return infonce_floor(classes, temperature, margin=margin, label_smoothing=label_smoothing)


def sufficient_temperature(candidates: Number, share: Number = 0.05, *, margin: Number = 0.0) -> float:
    """The highest temperature whose floor is at most `share` of chance: the smallest cure of an unreachable loss.

    Necessary, not optimal: good temperatures often lie below. Solves infonce_floor(C, t, margin) = share * log C.

    Args:
        candidates: size C of the softmax, the positive included; > 1.
        share: wanted floor as a share of the chance level log C, in (0, 1).
        margin: subtracted from the positive's cosine; must leave room below `widest_gap`.

    Returns:
        The temperature: .181 for 64 candidates, .150 for 256, .128 for 1,024.

    Raises:
        ValueError: an argument is out of range, or the margin is so wide that no temperature suffices.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    room = widest_gap(candidates) - margin
    if room <= 0:
        raise ValueError(
            f"with {candidates} candidates a positive can lead by {widest_gap(candidates):.3f} at most; "
            f"a margin of {margin} is out of reach at any temperature"
        )
    return room / math.log((candidates - 1) / math.expm1(share * math.log(candidates)))


def cosent_chance(counts: Sequence[Number]) -> float:
    """CoSENT's loss when all cosines are alike: log(1 + number of pairs of different grade).

    Args:
        counts: how many examples of a batch have each grade (a mean need not be whole).

    Returns:
        The chance level, in nats; 0 for a batch of equal grades.
    """
    total = sum(counts)
    return math.log1p(max(0.0, total**2 - sum(count**2 for count in counts)) / 2)


def cosent_floor(counts: Sequence[Number], temperature: Number) -> float:
    """The lowest CoSENT loss of a batch: its grades spread over the cosines -1 to 1 in the best way.

    A convex problem with one unknown per grade (examples of one grade share a cosine, by convexity), solved
    numerically.

    Args:
        counts: how many examples of the batch have each grade, from the lowest grade to the highest.
        temperature: divides the differences of cosines; > 0.

    Returns:
        The floor, in nats; 0 for a batch of equal grades.

    Raises:
        ValueError: temperature out of range.

    References:
        Su 2022, https://kexue.fm/archives/8847 (the loss); the floor is ours.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    sizes = np.array([count for count in counts if count > 0], dtype=np.float64)
    if sizes.size < 2:
        return 0.0
    low, high = np.triu_indices(sizes.size, 1)
    weight = np.log(sizes[low]) + np.log(sizes[high])

    def objective(inner: np.ndarray) -> tuple[float, np.ndarray]:
        cosine = np.concatenate([[-1.0], inner, [1.0]])
        terms = weight + (cosine[low] - cosine[high]) / temperature
        share = softmax(terms) / temperature
        slope = np.bincount(low, share, sizes.size) - np.bincount(high, share, sizes.size)
        return float(logsumexp(terms)), slope[1:-1]

    start = np.linspace(-1, 1, sizes.size)[1:-1]
    if start.size == 0:
        return math.log1p(math.exp(objective(start)[0]))
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(-1, 1)] * start.size,
        options={"ftol": 1e-13, "gtol": 1e-10, "maxiter": 5000},
    )  # fmt: skip
    return math.log1p(math.exp(float(found.fun)))


def _loss_at(lead: float, candidates: Number, label_smoothing: Number) -> float:
    """Cross-entropy when the positive's logit is `lead` above all others, which are equal."""
    rivals = math.log(candidates - 1) - lead
    plain = max(rivals, 0.0) + math.log1p(math.exp(-abs(rivals)))  # log(1 + e^rivals), without overflow
    return plain + label_smoothing * (1 - 1 / candidates) * lead


def _check(candidates: Number, temperature: Number, label_smoothing: Number) -> None:
    if not candidates >= 1:
        raise ValueError(f"candidates must be at least 1 (the positive itself), got {candidates}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
