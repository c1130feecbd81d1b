"""Every row loss beside its definition, cell by cell in float64: what the tests of losses run over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from embedfit.losses import (
    DCL,
    Additive,
    Angular,
    Circle,
    Debiased,
    Focal,
    Hinge,
    Homotopy,
    InfoNCE,
    Least,
    LogQ,
    Loss,
    Margin,
    Multiple,
    Sigmoid,
    TargetProbability,
    Temperature,
)
from embedfit.scores import Scores

Naive = Callable[[float, list[float]], float]


@dataclass(frozen=True)
class Case:
    """A loss and what it is of one positive's cosine and those of its negatives.

    `alone` tells whether each positive of a row faces the negatives alone, and their mean counts.
    """

    name: str
    loss: Loss
    naive: Naive
    alone: bool = True

    def __str__(self) -> str:
        return self.name


def share(positive: float, negatives: list[float], t: float) -> float:
    """Softmax share of the positive."""
    own = math.exp(positive / t)
    return own / (own + sum(math.exp(n / t) for n in negatives))


def infonce(t: float, lower: Callable[[float], float] = lambda c: c, smoothing: float = 0.0) -> Naive:
    """Cross-entropy with a lowered positive and a smoothed target."""

    def loss(positive: float, negatives: list[float]) -> float:
        cells = [lower(positive), *negatives]
        total = sum(math.exp(c / t) for c in cells)
        logs = [math.log(math.exp(c / t) / total) for c in cells]
        targets = [smoothing / len(cells) + (1 - smoothing if i == 0 else 0) for i in range(len(cells))]
        return -sum(target * log for target, log in zip(targets, logs, strict=True))

    return loss


def dcl(t: float) -> Naive:
    """No positive below the line."""
    return lambda p, ns: math.log(sum(math.exp(n / t) for n in ns)) - p / t if ns else 0.0


def debiased(t: float, prior: float) -> Naive:
    """Equations 7 and 8 of Chuang et al."""

    def loss(positive: float, negatives: list[float]) -> float:
        if not negatives:
            return 0.0
        mean = sum(math.exp(n / t) for n in negatives) / len(negatives)
        g = max((mean - prior * math.exp(positive / t)) / (1 - prior), math.exp(-1 / t))
        return -math.log(math.exp(positive / t) / (math.exp(positive / t) + len(negatives) * g))

    return loss


def focal(t: float, focus: float) -> Naive:
    """(1 - p)^focus times -log p."""

    def loss(positive: float, negatives: list[float]) -> float:
        p = share(positive, negatives, t)
        return (1 - p) ** focus * -math.log(p) if negatives else 0.0

    return loss


def target(t: float, wanted: float, clipped: bool) -> Naive:
    """How far p is from the target."""

    def loss(positive: float, negatives: list[float]) -> float:
        p = share(positive, negatives, t)
        return max(0.0, math.log(wanted / p)) if clipped else (p - wanted) ** 2

    return loss


def sigmoid(t: float, bias: float, power: float) -> Naive:
    """Binary cross-entropy of p^n, of all cells."""

    def loss(positive: float, negatives: list[float]) -> float:
        def p(c: float) -> float:
            return (1 / (1 + math.exp(-c / t - bias))) ** power

        return -math.log(p(positive)) - sum(math.log(1 - p(n)) for n in negatives)

    return loss


def hinge(m: float, which: str, distance: bool) -> Naive:
    """Shortfalls of some negatives."""

    def near(c: float) -> float:
        return -math.sqrt(2 - 2 * c) if distance else c

    def loss(positive: float, negatives: list[float]) -> float:
        p, ns = near(positive), sorted(near(n) for n in negatives)
        if not ns:
            return 0.0
        if which == "hardest":
            ns = ns[-1:]
        if which == "semi_hard":
            behind = [n for n in ns if n < p]
            ns = behind[-1:] or ns[:1]
        return sum(max(0.0, m - p + n) for n in ns) / len(ns)

    return loss


def homotopy(t: float, m: float) -> Naive:
    """T softplus((m + T lse(n / T) - p) / T)."""

    def loss(positive: float, negatives: list[float]) -> float:
        if not negatives:
            return 0.0
        smooth = t * math.log(sum(math.exp(n / t) for n in negatives))
        return t * math.log1p(math.exp((m + smooth - positive) / t))

    return loss


def circle(t: float, m: float) -> Naive:
    """Equations 6 to 8 of Sun et al."""

    def loss(positive: float, negatives: list[float]) -> float:
        pull = max(0.0, 1 + m - positive) * (positive - 1 + m)
        push = [max(0.0, n + m) * (n - m) for n in negatives]
        return math.log1p(sum(math.exp(x / t) for x in push) * math.exp(-pull / t))

    return loss


def angle(lower: Callable[[float], float]) -> Callable[[float], float]:
    """A margin told in angles."""
    return lambda cosine: lower(math.acos(cosine))


def arc(m: float) -> Callable[[float], float]:
    """ArcFace while the angle leaves room."""
    return angle(lambda a: math.cos(a + m) if a + m < math.pi else math.cos(a) + math.cos(m) - 1)


def sphere(m: int) -> Callable[[float], float]:
    """psi of SphereFace."""

    def psi(a: float) -> float:
        k = min(int(a * m / math.pi), m - 1)
        return (-1) ** k * math.cos(m * a) - 2 * k

    return angle(psi)


MARGINS: list[tuple[Margin, Callable[[float], float]]] = [
    (Additive(0.3), lambda c: c - 0.3),
    (Angular(0.5), arc(0.5)),
    (Multiple(2), sphere(2)),
    (Multiple(4), sphere(4)),
    (Least(4), angle(lambda a: min(math.cos(4 * a), math.cos(a)))),
]

SOFTMAX = [
    Case("infonce", InfoNCE(0.05), infonce(0.05)),
    Case("smoothed", InfoNCE(0.07, label_smoothing=0.1), infonce(0.07, smoothing=0.1)),
    Case("smoothed with margin", InfoNCE(0.07, 0.2, 0.3), infonce(0.07, lambda c: c - 0.2, 0.3)),
    Case("learned", InfoNCE(Temperature(0.2, learned=True)), infonce(0.2)),
    *(Case(repr(m), InfoNCE(0.1, m), infonce(0.1, lower)) for m, lower in MARGINS),
    Case("dcl", DCL(0.1), dcl(0.1)),
    Case("debiased", Debiased(0.5, 0.1), debiased(0.5, 0.1)),
    Case("debiased, cold", Debiased(0.1, 0.3), debiased(0.1, 0.3)),
    Case("focal", Focal(0.2, 2.0), focal(0.2, 2.0)),
    Case("target", TargetProbability(1.0, 0.4), target(1.0, 0.4, False)),
    Case("target, clipped", TargetProbability(0.5, 0.4, clipped=True), target(0.5, 0.4, True)),
    Case("logq without frequencies", LogQ(0.1), infonce(0.1)),
]
CELLS = [
    Case("sigmoid", Sigmoid(0.1, bias=-3.0), sigmoid(0.1, -3.0, 1.0), alone=False),
    Case("power", Sigmoid(0.3, bias=0.5, power=4.0), sigmoid(0.3, 0.5, 4.0), alone=False),
]
RANKING = [
    *(
        Case(f"{'triplet' if distance else 'hinge'} {which}", Hinge(0.3, which, distance=distance),
             hinge(0.3, which, distance))
        for which in ("all", "semi_hard", "hardest")
        for distance in (False, True)
    ),
    Case("circle", Circle(0.1, 0.25), circle(0.1, 0.25)),
]  # fmt: skip
SOFTMAX.append(Case("homotopy", Homotopy(0.1, 0.01, 0.2), homotopy(0.1, 0.2)))
ROWS = [*SOFTMAX, *CELLS, *RANKING]


def by_definition(case: Case, scores: Scores) -> torch.Tensor:
    """The losses of all queries."""
    out = []
    for values, positive, candidate in zip(scores.values, scores.positive, scores.candidate, strict=True):
        own = values[positive].tolist()
        rivals = values[candidate & ~positive].tolist()
        each = [case.naive(p, rivals) for p in own]
        out.append(sum(each) / len(each) if each else 0.0)
    return torch.tensor(out, dtype=torch.float64)


def random_scores(q: int, d: int, seed: int, *, several: bool = True) -> Scores:
    """Cosines in [-1, 1], one to three positives in a row, a tenth of the other cells doubtful."""
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(q, d, generator=g, dtype=torch.float64) * 2 - 1
    positive = torch.zeros(q, d, dtype=torch.bool)
    first = torch.randperm(d, generator=g)[:q] if d >= q else torch.randint(d, (q,), generator=g)
    positive[torch.arange(q), first] = True
    if several:
        positive |= torch.rand(q, d, generator=g) < 0.05
    candidate = positive | (torch.rand(q, d, generator=g) < 0.9)
    return Scores(values, positive, candidate)
