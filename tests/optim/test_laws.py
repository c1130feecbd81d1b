"""Noise scale from gradients whose noise is known, and the laws at their ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.optim.laws import NoiseScale, Tried, advice, noise_scale, noise_scale_of, usable

SGD = Tried(kind="sgd", batch_size=64, rate=0.1, weight_decay=0.01, betas=(0.9, 0.999), momentum=0.9)


def scale(value: float) -> NoiseScale:
    return NoiseScale(value=value, low=value * 0.8, high=value * 1.2, batch_size=64, readings=50, way="")


def gradients(batch_size: int, count: int, noise: float) -> np.ndarray:
    """Mean gradient of length 1 in 200 dimensions; the trace of one example's covariance is `noise`."""
    draw = np.random.default_rng(3)
    mean = np.zeros(200)
    mean[0] = 1.0
    return mean + draw.normal(size=(count, 200)) * np.sqrt(noise / 200 / batch_size)


def test_the_noise_scale_of_known_noise_is_found_within_its_interval() -> None:
    made = gradients(batch_size=32, count=400, noise=500.0)
    squares, products = (made**2).sum(1)[1:], (made[1:] * made[:-1]).sum(1)
    found = noise_scale(squares.tolist(), products.tolist(), 32, way="")
    assert found.low < 500 < found.high
    assert found.value == pytest.approx(500, rel=0.2)
    assert usable(found) is None


def test_products_of_independent_gradients_give_the_same_scale() -> None:
    made = gradients(batch_size=32, count=60, noise=500.0)
    found = noise_scale_of((made @ made.T).tolist(), 32, way="")
    assert found.low < 500 < found.high
    assert found.high < 2 * found.low


def test_no_advice_where_the_gradient_is_lost_in_noise_or_read_too_seldom() -> None:
    made = gradients(batch_size=1, count=30, noise=5e5)
    squares, products = (made**2).sum(1)[1:], (made[1:] * made[:-1]).sum(1)
    found = noise_scale(squares.tolist(), products.tolist(), 1, way="")
    assert "cannot be told from its noise" in str(usable(found))
    few = noise_scale([2.0] * 3, [1.0] * 3, 1, way="")
    assert "too few" in str(usable(few))


def test_at_the_batch_that_was_tried_nothing_changes() -> None:
    made = advice(64, scale(1000.0), SGD)
    assert (made.learning_rate, made.steps, made.examples) == pytest.approx((0.1, 1.0, 1.0))
    assert (made.weight_decay, made.second_beta) == (0.01, None)


@pytest.mark.parametrize(("kind", "expected"), [("sgd", 4.0), ("muon", 2.0), ("adamw", 2.0)])
def test_far_below_the_noise_scale_rates_are_linear_for_sgd_and_square_roots_for_the_others(
    kind: str, expected: float
) -> None:
    made = advice(256, scale(1e7), replace(SGD, kind=kind))
    assert made.learning_rate / 0.1 == pytest.approx(expected, rel=0.01)
    assert made.steps == pytest.approx(0.25, rel=0.01)


def test_beyond_the_noise_scale_nothing_is_gained() -> None:
    one, other = (advice(size, scale(100.0), SGD) for size in (128, 100_000))
    assert other.learning_rate == pytest.approx(one.learning_rate)
    assert other.far
    assert other.examples > 100


@settings(max_examples=40)
@given(size=st.integers(2, 4096), value=st.floats(1, 1e6), kind=st.sampled_from(["sgd", "adamw", "muon"]))
def test_the_rate_lies_in_its_interval_and_steps_and_examples_trade(size: int, value: float, kind: str) -> None:
    made = advice(size, scale(value), replace(SGD, kind=kind))
    assert made.low <= made.learning_rate <= made.high
    # (S / S_min - 1) (E / E_min - 1) = 1, with S_min and E_min of the same noise scale
    steps, examples = made.steps * (1 + value / 64), made.examples * (1 + 64 / value)
    assert (steps - 1) * (examples * 1.0 - 1) == pytest.approx(1.0, rel=1e-6)
