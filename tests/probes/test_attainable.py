"""Floors of any loss by one search, against closed forms, embeddings built by hand, and descent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.probes.attainable import collapsed, lowest, orthogonal_probability, widest_angle, widest_margin
from embedfit.probes.floor import infonce_chance, infonce_floor


def infonce(candidates: float, temperature: float, margin: float = 0.0):
    def row(p, n):
        return np.logaddexp(0, math.log(candidates - 1) + (n - p + margin) / temperature)

    return row


@given(st.floats(2, 5000), st.floats(0.02, 2), st.floats(0, 0.5))
@settings(max_examples=40)
def test_the_search_finds_the_closed_forms_of_infonce(candidates, temperature, margin):
    row = infonce(candidates, temperature, margin)
    assert lowest(row, candidates) == pytest.approx(infonce_floor(candidates, temperature, margin=margin), rel=1e-6)
    assert collapsed(row) == pytest.approx(infonce_chance(candidates, temperature, margin=margin), rel=1e-6)


@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 999), st.sampled_from(["sigmoid", "hinge", "square"]))
@settings(max_examples=60)
def test_no_embedding_gets_below_the_floor_of_a_convex_loss(n, dimension, seed, kind):
    def row(p, q, count=n - 1):
        """Loss with a positive at p and `count` negatives at q."""
        if kind == "sigmoid":
            return np.logaddexp(0, -(3 * p - 1)) + count * np.logaddexp(0, 3 * q - 1)
        if kind == "hinge":
            return np.maximum(0, 1.3 - p + q)
        return (1 - p) ** 2 + count * np.maximum(0, q + 0.5) ** 2

    rng = np.random.default_rng(seed)
    query = rng.normal(size=(n, dimension))
    document = query * rng.choice([1, -1]) + rng.normal(size=(n, dimension)) * rng.uniform(0, 1)
    query, document = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, document))
    cosine = query @ document.T
    losses = []
    for i in range(n):
        rivals = np.delete(cosine[i], i)
        own = row(cosine[i, i], 0.0, 0) if kind != "hinge" else 0.0
        each = row(cosine[i, i], rivals) if kind == "hinge" else row(np.full(n - 1, cosine[i, i]), rivals, 1) - own
        losses.append(own + (each.mean() if kind == "hinge" else each.sum()))
    assert np.mean(losses) >= lowest(row, n) - 1e-9


@pytest.mark.parametrize("p", [1.0, 0.3, -0.5])
def test_the_line_of_best_arrangements_is_reached(p):
    n = 5
    corners = np.eye(n) - 1 / n
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    a, b = math.sqrt((1 + p) / 2), math.sqrt((1 - p) / 2)
    query = np.hstack([a * corners, np.full((n, 1), b)])
    document = np.hstack([a * corners, np.full((n, 1), -b)])
    cosine = query @ document.T
    found = {}
    lowest(lambda x, y: found.update(zip(x.tolist(), y.tolist(), strict=True)) or x * 0, n)
    nearest = min(found, key=lambda x: abs(x - p))
    assert np.diag(cosine) == pytest.approx(p)
    assert cosine[~np.eye(n, dtype=bool)] == pytest.approx(found[nearest], abs=0.01)


def test_margins_are_as_wide_as_the_sphere_has_room():
    assert widest_margin(2, 8) == 2
    assert widest_margin(9, 8) == pytest.approx(1 + 1 / 8)
    assert widest_margin(10, 8) == 1
    assert widest_angle(10, 8) == pytest.approx(math.pi / 2)
    assert widest_angle(2, 8) == pytest.approx(math.pi)


def test_the_target_of_a_dssm_with_four_random_negatives_is_about_point_four():
    assert orthogonal_probability(5, 1.0) == pytest.approx(math.e / (math.e + 4))
    assert orthogonal_probability(1, 0.1) == 1
