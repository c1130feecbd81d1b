from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedfit.probes.embedding import (
    alike_share,
    collapse_gauge,
    effective_rank,
    isotropic_rank,
    isotropic_singular_values,
    mean_direction,
    mean_norm,
    rank_share,
    singular_values,
)


def naive_unit(rows):
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def naive_effective_rank(rows):
    unit = np.array(naive_unit(rows))
    centred = unit - unit.mean(0)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    shares = [v / values.sum() for v in values if v > 0]
    return math.exp(-sum(p * math.log(p) for p in shares))


def cloud(n, dimension, seed=0, **kind):
    return torch.randn(n, dimension, generator=torch.Generator().manual_seed(seed), **kind)


@given(st.integers(3, 30), st.integers(2, 12), st.integers(0, 99))
def test_effective_rank_agrees_with_the_eigenvalues_of_the_covariance(n, dimension, seed):
    rows = cloud(n, dimension, seed, dtype=torch.float64)
    assert effective_rank(rows) == pytest.approx(naive_effective_rank(rows.tolist()), rel=1e-5)


def test_effective_rank_counts_equally_strong_directions():
    corners = torch.cat([torch.eye(5), -torch.eye(5)])
    assert effective_rank(torch.nn.functional.pad(corners, (0, 20))) == pytest.approx(5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_that_are_all_alike_have_no_rank_whatever_the_rounding(dtype):
    row = cloud(1, 48, dtype=dtype)
    same = torch.cat([row * scale for scale in torch.linspace(0.3, 3, 40, dtype=dtype)])
    assert effective_rank(same) == rank_share(same) == 0.0


@pytest.mark.parametrize(("n", "dimension", "known"), [(128, 64, 59.2), (1024, 768, 673.0)])
def test_isotropic_rank_agrees_with_figures_measured_elsewhere(n, dimension, known):
    assert isotropic_rank(n, dimension) == pytest.approx(known, rel=0.005)


@pytest.mark.parametrize(("n", "dimension"), [(8, 4), (8, 64), (20, 100), (64, 8)])
def test_isotropic_rank_is_within_one_percent_of_many_draws(n, dimension):
    draws = [effective_rank(cloud(n, dimension, seed, dtype=torch.float64)) for seed in range(1000, 1400)]
    assert isotropic_rank(n, dimension) == pytest.approx(sum(draws) / len(draws), rel=0.01)


def test_isotropic_singular_values_hold_nearly_all_of_the_unit_length_of_every_row():
    values = isotropic_singular_values(100, 20)
    assert len(values) == 20
    assert list(values) == sorted(values, reverse=True)
    # n rows of length 1, less n times the squared norm of their mean, which is 1 / n on average
    assert sum(v * v for v in values) == pytest.approx(100 - 1, rel=0.01)


def test_rank_share_is_one_for_an_even_cloud_and_small_for_a_thin_one():
    even = cloud(96, 32)
    thin = cloud(96, 2) @ cloud(2, 32, 1) + 0.01 * even
    assert rank_share(even) == pytest.approx(1, abs=0.05)
    assert rank_share(thin) < 0.15
    assert rank_share(even[:1]) == 1.0


def test_singular_values_belong_to_the_centred_unit_rows():
    rows = cloud(12, 5, dtype=torch.float64)
    unit = np.array(naive_unit(rows.tolist()))
    expected = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    np.testing.assert_allclose(singular_values(rows).numpy(), expected, rtol=1e-6)


@given(st.integers(1, 20), st.integers(2, 9), st.integers(0, 99))
def test_direction_norm_and_gauge_agree_with_loops(n, dimension, seed):
    rows = cloud(n, dimension, seed, dtype=torch.float64)
    unit = naive_unit(rows.tolist())
    means = [sum(row[k] for row in unit) / n for k in range(dimension)]
    deviations = [math.sqrt(sum((row[k] - means[k]) ** 2 for row in unit) / n) for k in range(dimension)]
    assert mean_direction(rows) == pytest.approx(math.sqrt(sum(m * m for m in means)))
    assert mean_norm(rows) == pytest.approx(sum(math.sqrt(sum(x * x for x in r)) for r in rows.tolist()) / n)
    assert collapse_gauge(rows) == pytest.approx(sum(deviations) / dimension * math.sqrt(dimension), abs=1e-9)


def test_gauges_tell_collapse_from_spread():
    even, collapsed = cloud(500, 64), cloud(500, 64) * 0.01 + 1
    assert collapse_gauge(even) == pytest.approx(1, abs=0.02)
    assert collapse_gauge(collapsed) < 0.02
    assert mean_direction(even) < 0.1
    assert mean_direction(collapsed) > 0.99


def test_measuring_leaves_no_gradient_and_no_trace():
    rows = cloud(10, 4).requires_grad_()
    before, state = rows.detach().clone(), torch.get_rng_state()
    rank_share(rows)
    assert singular_values(rows).requires_grad is False
    assert rows.grad is None
    assert torch.equal(rows, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_different_inputs_with_one_embedding_are_counted_and_equal_inputs_are_not():
    rows = cloud(6, 4)
    rows[1], rows[4], rows[5] = rows[0], rows[0], 2 * rows[2]
    number = torch.tensor([0, 0, 1, 2, 3, 4])  # rows 0 and 1 are the same input
    assert alike_share(rows, number) == pytest.approx(2 / 5)  # of inputs 0, 1, 2, 3 and 4, the first and the fourth
    assert alike_share(torch.ones(6, 4), number) == 1.0
    assert math.isnan(alike_share(rows[:2], number[:2]))
