"""Floors and chance levels against geometry built by hand, numerical descent and naive float64 loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch.nn.functional import cross_entropy, normalize

from embedfit.probes.floor import (
    cosent_chance,
    cosent_floor,
    infonce_chance,
    infonce_floor,
    prototypes_floor,
    sufficient_temperature,
    widest_gap,
)


def naive_infonce(query, document, temperature, margin=0.0, smoothing=0.0):
    """Mean over queries, one float64 loop per query; query i's positive is document i."""
    losses = []
    for i, q in enumerate(query):
        logits = [(float(q @ d) - (margin if i == j else 0.0)) / temperature for j, d in enumerate(document)]
        log_sum = math.log(sum(math.exp(x - max(logits)) for x in logits)) + max(logits)
        target = [smoothing / len(logits) + (1 - smoothing if i == j else 0.0) for j in range(len(logits))]
        losses.append(sum(t * (log_sum - x) for t, x in zip(target, logits, strict=True)))
    return sum(losses) / len(losses)


def simplex(n: int) -> np.ndarray:
    centred = np.eye(n) - 1 / n
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def descend(loss, *shapes, steps=700):
    """The lowest value that gradient descent on unit vectors finds, float64."""
    torch.manual_seed(0)
    raw = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    optimizer = torch.optim.Adam(raw, lr=0.03)
    best = math.inf
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(*(normalize(x, dim=-1) for x in raw))
        value.backward()
        optimizer.step()
        best = min(best, value.item())
    return best


@pytest.mark.parametrize(("n", "temperature", "margin"), [(2, 1.0, 0.0), (5, 0.3, 0.0), (16, 0.1, 0.2), (40, 1.0, 0.1)])
def test_the_simplex_reaches_the_infonce_floor(n, temperature, margin):
    corners = simplex(n)
    assert infonce_floor(n, temperature, margin=margin) == pytest.approx(
        naive_infonce(corners, corners, temperature, margin), rel=1e-9
    )


@given(
    st.integers(2, 9), st.integers(1, 12), st.floats(0.02, 3), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 99)
)
def test_no_embedding_gets_below_the_floor(n, dimension, temperature, margin, smoothing, seed):
    rng = np.random.default_rng(seed)
    query, document = rng.normal(size=(2, n, dimension))
    document = query + 0.1 * document  # near a solution, where the bound is tight
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    document /= np.linalg.norm(document, axis=1, keepdims=True)
    loss = naive_infonce(query, document, temperature, margin, smoothing)
    assert loss >= infonce_floor(n, temperature, margin=margin, label_smoothing=smoothing) - 1e-9


@pytest.mark.parametrize(("queries", "documents"), [(4, 4), (1, 6), (3, 6), (4, 5), (2, 9)])
def test_descent_finds_the_widest_gap_and_no_wider_one(queries, documents):
    own = torch.eye(queries, documents, dtype=torch.bool)

    def negative_gap(query, document):
        cosine = query @ document.T
        others = cosine.masked_fill(own, 0.0).sum(1) / (documents - 1)
        return (others - cosine.diagonal()).mean()

    found = -descend(negative_gap, (queries, documents), (documents, documents))
    assert found == pytest.approx(widest_gap(documents, queries), abs=2e-4)
    assert found <= widest_gap(documents, queries) + 1e-9


def test_descent_with_brought_negatives_stays_above_the_floor():
    labels = torch.arange(3)
    found = descend(lambda q, d: cross_entropy(q @ d.T / 0.5, labels), (3, 8), (7, 8))
    floor = infonce_floor(7, 0.5, queries=3)
    assert floor <= found < infonce_floor(7, 0.5)
    assert found == pytest.approx(floor, rel=0.2)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_descent_on_a_smoothed_target_reaches_its_floor(temperature):
    labels = torch.arange(6)
    found = descend(
        lambda q, d: cross_entropy(q @ d.T / temperature, labels, label_smoothing=0.1), (6, 8), (6, 8), steps=1500
    )
    assert found == pytest.approx(infonce_floor(6, temperature, label_smoothing=0.1), rel=1e-4)


def test_known_floors_of_common_mistakes():
    assert infonce_floor(256, 1.0) == pytest.approx(4.548, abs=5e-4)
    assert infonce_floor(256, math.exp(-1)) / infonce_chance(256) == pytest.approx(0.52, abs=5e-3)
    assert infonce_floor(256, 0.1) / infonce_chance(256) == pytest.approx(0.002, abs=5e-4)


@given(st.integers(2, 50), st.floats(0.02, 2), st.floats(0, 0.9), st.floats(0, 0.5))
def test_chance_is_the_loss_of_equal_embeddings(n, temperature, margin, smoothing):
    same = np.ones((n, 1))
    expected = naive_infonce(same, same, temperature, margin, smoothing)
    assert infonce_chance(n, temperature, margin=margin, label_smoothing=smoothing) == pytest.approx(expected, rel=1e-9)


def test_one_candidate_leaves_nothing_to_learn():
    assert infonce_floor(1, 0.05) == infonce_chance(1, 0.05) == 0.0


def test_descent_on_class_prototypes_reaches_their_floor():
    labels = torch.arange(5).repeat_interleave(2)
    found = descend(lambda x, w: cross_entropy(x @ w.T / 0.4, labels), (10, 6), (5, 6))
    assert found == pytest.approx(prototypes_floor(5, 0.4), rel=1e-4)
    assert found >= prototypes_floor(5, 0.4) - 1e-9


@given(st.integers(2, 5000), st.floats(0.001, 0.9), st.floats(0, 0.9))
def test_sufficient_temperature_agrees_with_bisection(candidates, share, margin):
    expected = brentq(
        lambda t: infonce_floor(candidates, t, margin=margin) - share * math.log(candidates), 1e-3, 1e4, xtol=1e-12
    )
    assert sufficient_temperature(candidates, share, margin=margin) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: infonce_floor(8, 0.0), "temperature must be positive"),
        (lambda: infonce_floor(0, 1.0), "at least 1"),
        (lambda: infonce_floor(8, 1.0, label_smoothing=1.0), "label_smoothing"),
        (lambda: widest_gap(1), "needs a negative"),
        (lambda: widest_gap(4, 5), "between 1 and the 4"),
        (lambda: sufficient_temperature(64, 1.0), "share"),
        (lambda: sufficient_temperature(64, margin=1.5), "out of reach at any temperature"),
        (lambda: cosent_floor([1, 1], -1.0), "temperature must be positive"),
    ],
)
def test_a_senseless_argument_is_refused_with_its_value(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def naive_cosent(cosine, grade, temperature):
    total = 1.0
    for i in range(len(grade)):
        for j in range(len(grade)):
            if grade[i] > grade[j]:
                total += math.exp((cosine[j] - cosine[i]) / temperature)
    return math.log(total)


def test_cosent_chance_is_the_loss_of_equal_cosines():
    grade = [0] * 3 + [1] * 2 + [2] * 4
    assert cosent_chance([3, 2, 4]) == pytest.approx(naive_cosent([0.3] * 9, grade, 0.05))


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
def test_cosent_floor_agrees_with_a_fine_grid_over_three_grades(temperature):
    grade = [0] * 3 + [1] + [2] * 4
    grid = min(naive_cosent([-1.0] * 3 + [x] + [1.0] * 4, grade, temperature) for x in np.linspace(-1, 1, 2001))
    assert cosent_floor([3, 1, 4], temperature) == pytest.approx(grid, rel=1e-5)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.floats(0.05, 1), st.integers(0, 99))
def test_no_cosines_get_below_the_cosent_floor(counts, temperature, seed):
    rng = np.random.default_rng(seed)
    grade = np.repeat(np.arange(len(counts)), counts)
    cosine = np.clip(np.linspace(-1, 1, len(counts))[grade] + 0.1 * rng.normal(size=len(grade)), -1, 1)
    floor = cosent_floor(counts, temperature)
    assert naive_cosent(cosine, grade, temperature) >= floor * (1 - 1e-7) - 1e-12


def test_a_batch_of_equal_grades_has_nothing_to_rank():
    assert cosent_floor([7], 0.05) == cosent_chance([7]) == 0.0
