from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from embedfit.metrics import (
    bootstrap_mean,
    bootstrap_pearson,
    bootstrap_spearman,
    paired_mean,
    paired_spearman,
    spearman,
)
from embedfit.metrics.agreement import pearson_of, spearman_of


def test_the_interval_of_a_mean_has_the_width_theory_gives(rng):
    values = (rng.random(2000) < 0.3).astype(float)
    got = bootstrap_mean(values)
    error = np.sqrt(got.value * (1 - got.value) / 2000)
    assert (got.low, got.high) == pytest.approx((got.value - 1.96 * error, got.value + 1.96 * error), abs=0.1 * error)


def test_drawing_distinct_values_equals_drawing_rows(rng):
    values = rng.choice([0.0, 0.25, 1.0], size=80)
    rows = values[rng.integers(80, size=(20_000, 80))].mean(1)
    got = bootstrap_mean(values, draws=20_000)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(rows, [0.025, 0.975])), abs=0.006)


def test_the_same_seed_gives_the_same_interval_and_another_does_not(rng):
    values = rng.random(50)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_nothing_but_hits_is_no_certainty():
    got = bootstrap_mean(np.ones(20))
    assert (got.value, got.high) == (1.0, 1.0)
    assert got.low == pytest.approx(stats.beta.ppf(0.025, 20, 1))
    assert bootstrap_mean(np.zeros(20)).high == pytest.approx(1 - got.low)


def test_a_weighted_correlation_is_the_correlation_of_the_repeated_rows(rng):
    x, y = rng.integers(0, 9, size=(2, 40)).astype(float)
    counts = rng.integers(0, 4, size=(5, 40))
    for statistic, reference in ((spearman_of, stats.spearmanr), (pearson_of, stats.pearsonr)):
        expected = [reference(np.repeat(x, c), np.repeat(y, c)).statistic for c in counts]
        assert statistic(x, y)(counts.astype(float)) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("bootstrap", [bootstrap_spearman, bootstrap_pearson])
def test_the_interval_of_a_correlation_covers_the_truth_about_as_often_as_it_says(bootstrap):
    rng = np.random.default_rng(0)
    truth = {bootstrap_spearman: 6 / np.pi * np.arcsin(0.3), bootstrap_pearson: 0.6}[bootstrap]
    covered = 0
    for _ in range(100):
        x, z = rng.normal(size=(2, 150))
        got = bootstrap(x, 0.6 * x + 0.8 * z, draws=300)
        covered += got.low <= truth <= got.high
    assert 86 <= covered <= 100  # 95 of 100, four standard errors


def test_a_paired_comparison_sees_what_two_intervals_miss(rng):
    hard = rng.random(400)  # queries differ far more than models do
    first, second = (hard < 0.52).astype(float), (hard < 0.48).astype(float)
    a, b, d = bootstrap_mean(first), bootstrap_mean(second), paired_mean(first, second)
    assert a.low < b.high
    assert d.low > 0
    assert d.p is not None
    assert d.p < 0.01


def test_equal_models_differ_by_nothing():
    got = paired_mean(np.array([1.0, 0, 1]), np.array([1.0, 0, 1]))
    assert (got.value, got.low, got.high, got.p) == (0, 0, 0, 1)


def test_p_is_about_uniform_when_there_is_no_difference():
    rng = np.random.default_rng(0)
    p = [paired_mean(*rng.normal(size=(2, 60)), draws=400).p for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_the_better_of_two_correlations_is_found(rng):
    target = rng.normal(size=300)
    good, poor = target + rng.normal(size=300), target + 2 * rng.normal(size=300)
    got = paired_spearman(good, poor, target, draws=500)
    assert got.value == pytest.approx(spearman(good, target) - spearman(poor, target))
    assert got.low > 0
    assert got.p is not None
    assert got.p < 0.05
    assert paired_spearman(poor, poor, target, draws=100).p == 1
