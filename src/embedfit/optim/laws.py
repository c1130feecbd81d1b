"""Learning rate and batch size: what gradient noise says of the one at another of the other.

Symbols: B batch size, B_s = tr(cov of one example's gradient) / |mean gradient|^2 the noise scale, b1 the decay of the
first moment, rho = (1 - b1) / (1 + b1): momentum averages as many gradients as a batch 1 / rho times as large holds.
"""

from __future__ import annotations

__all__ = ["Advice", "NoiseScale", "Tried", "advice", "noise_scale", "noise_scale_of", "usable"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedfit.optim.kinds import Kind

RESAMPLES = 2000
TOO_WIDE = 10.0  # ratio of the ends of an interval that says nothing
FAR = 4.0  # times the batch size that was tried: beyond it no law is to be trusted without a trial
MEMORY_OF_SQUARES = 0.9  # least decay of the second moment


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """B_s at the batch size and learning rate at which it was measured.

    Attributes:
        value: examples; infinite where no gradient was told from the noise.
        low: lower end of the 95 % interval.
        high: upper end; infinite where the interval of the squared gradient holds 0.
        batch_size: at which gradients were taken.
        readings: how many there were.
        way: how they were taken, in words.
    """

    value: float
    low: float
    high: float
    batch_size: int
    readings: int
    way: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What goes with a batch size.

    Attributes:
        batch_size: queries in a step.
        learning_rate: by the law.
        low: the rate at one end of the interval of the noise scale.
        high: at the other.
        steps: to the same loss, as a share of those at the batch size that was tried.
        examples: the same for examples.
        weight_decay: that leaves the memory of decoupled decay equally many examples long.
        second_beta: decay of the second moment, over equally many examples; None where there is none.
        far: beyond four times, or below a quarter of, what was tried.
    """

    batch_size: int
    learning_rate: float
    low: float
    high: float
    steps: float
    examples: float
    weight_decay: float
    second_beta: float | None
    far: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A run whose learning rate was good.

    Attributes:
        kind: of its optimiser.
        batch_size: queries in a step.
        rate: its learning rate.
        weight_decay: for its matrices.
        betas: of its moments.
        momentum: of SGD and Muon.
    """

    kind: Kind
    batch_size: int
    rate: float
    weight_decay: float
    betas: tuple[float, float]
    momentum: float


def noise_scale(
    squares: Sequence[float], products: Sequence[float], batch_size: int, *, way: str, seed: int = 0
) -> NoiseScale:
    """B_s = B (A - C) / C from squared norms A of gradients and products C of two of independent batches.

    The product of two independent gradients of the same weights is the squared mean gradient on average, and a squared
    norm is that plus the trace of the covariance. Gradients of consecutive steps will do while weights move little. The
    usual estimate, from the gradients of parts of a batch, does not hold where queries are compared with each other's
    documents: parts of one batch share their negatives.

    Args:
        squares: A, one per reading.
        products: C, one per reading.
        batch_size: B.
        way: how they were taken.
        seed: of the bootstrap.

    References:
        McCandlish et al. 2018, https://arxiv.org/abs/1812.06162, eq. 2.9 and appendix A.1.
    """
    a, c = np.asarray(squares, float), np.asarray(products, float)
    picks = np.random.default_rng(seed).integers(0, len(a), (RESAMPLES, len(a)))
    drawn = _scale(a[picks].mean(1), c[picks].mean(1), batch_size)
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    value = float(_scale(a.mean(keepdims=True), c.mean(keepdims=True), batch_size)[0])
    return NoiseScale(value=value, low=float(low), high=float(high), batch_size=batch_size, readings=len(a), way=way)


def noise_scale_of(table: Sequence[Sequence[float]], batch_size: int, *, way: str, seed: int = 0) -> NoiseScale:
    """The same from the products of every two of some independent gradients of one set of weights.

    Args:
        table: product of each gradient with each, its own square on the diagonal.
        batch_size: B.
        way: how they were taken.
        seed: of the bootstrap, which draws gradients and leaves out the products of one with itself.
    """
    products = np.asarray(table, float)
    count = len(products)
    draw = np.random.default_rng(seed)
    weights = draw.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)
    weights = np.vstack([np.ones(count), weights])
    apart = products - np.diag(np.diag(products))
    pairs = (weights.sum(1) ** 2 - (weights**2).sum(1)).clip(min=1.0)
    found = _scale(
        weights @ np.diag(products) / count, np.einsum("ri,ij,rj->r", weights, apart, weights) / pairs, batch_size
    )
    low, high = np.quantile(found[1:], [0.025, 0.975], method="nearest")
    return NoiseScale(
        value=float(found[0]), low=float(low), high=float(high), batch_size=batch_size, readings=count, way=way
    )


def _scale(square: np.ndarray, product: np.ndarray, batch_size: int) -> np.ndarray:
    """B (A - C) / C; infinite where no mean gradient is seen, and never below 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = batch_size * (square - product) / product
    return np.where(product > 0, np.maximum(found, 0.0), np.inf)


def usable(noise: NoiseScale) -> str | None:
    """Why nothing can be advised from a noise scale; None where something can."""
    if noise.readings < 8:
        return f"{noise.readings} readings of the gradient are too few; a longer run has more"
    if not np.isfinite(noise.high):
        return "the gradient cannot be told from its noise: the interval of its square holds 0"
    if noise.high > TOO_WIDE * max(noise.low, 1.0):
        return f"the interval of the noise scale is too wide: {noise.low:,.0f} to {noise.high:,.0f}"
    return None


def advice(batch_size: int, noise: NoiseScale, tried: Tried) -> Advice:
    """What goes with a batch size, from a rate that was good at another.

    The rate of SGD follows 1 / (1 + rho B_s / B), that of Adam and its kin (1 + B_s / B)^-1/2, that of Muon
    (1 + rho B_s / B)^-1/2, each no higher than at B = B_s. Steps to the same loss follow 1 + B_s / B.

    Args:
        batch_size: B.
        noise: B_s.
        tried: what was good at another.

    References:
        McCandlish et al. 2018, https://arxiv.org/abs/1812.06162, eq. 2.6 and 2.11 (SGD, steps and examples);
        Su 2024 and 2025, https://kexue.fm/archives/10542, /11280 (Adam), /11285 (Muon), /11301 (momentum),
        /11459 (weight decay).
    """
    ends = (noise.value, noise.low, noise.high)
    rates = [_rate(float(scale), batch_size, tried) for scale in ends]
    k = batch_size / tried.batch_size
    steps = (1 + noise.value / batch_size) / (1 + noise.value / tried.batch_size)
    adaptive = tried.kind in ("adamw", "adam", "muon", "schedule_free")
    return Advice(
        batch_size=batch_size,
        learning_rate=rates[0],
        low=min(rates),
        high=max(rates),
        steps=steps,
        examples=steps * k,
        weight_decay=tried.weight_decay * k * tried.rate / rates[0],
        second_beta=max(MEMORY_OF_SQUARES, 1 - k * (1 - tried.betas[1])) if adaptive else None,
        far=not 1 / FAR <= k <= FAR,
    )


def _rate(scale: float, batch_size: int, tried: Tried) -> float:
    def law(size: float) -> float:
        rho = (1 - tried.momentum) / (1 + tried.momentum)
        match tried.kind:
            case "sgd":
                return 1 / (1 + rho * scale / size)
            case "muon":
                return float((1 + rho * scale / size) ** -0.5)
        return float((1 + scale / size) ** -0.5)

    first = float(tried.batch_size)
    ceiling = max(scale, first)  # beyond B_s nothing was ever seen to be gained
    return tried.rate * law(min(float(batch_size), ceiling)) / law(first)
