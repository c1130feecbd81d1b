from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from embedfit.errors import DataError
from embedfit.metrics import accuracy, f1, pearson, spearman

LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@settings(max_examples=25)
@given(LABELS)
def test_f1_equals_scikit_learn(rows):
    label, predicted = np.array(rows).T
    assert f1(label, predicted, "macro") == pytest.approx(f1_score(label, predicted, average="macro"))
    assert f1(label, predicted, "micro") == pytest.approx(f1_score(label, predicted, average="micro"))
    assert accuracy(label, predicted) == pytest.approx(f1(label, predicted, "micro"))


@settings(max_examples=25)
@given(LABELS)
def test_refused_answers_are_no_class_but_cost_recall(rows):
    label, predicted = np.array(rows).T
    classes = [c for c in np.unique([label, predicted]) if c != 0]
    if classes:
        expected = f1_score(label, predicted, labels=classes, average="micro", zero_division=0)
        assert f1(label, predicted, "micro", no_class=0) == pytest.approx(expected)


def test_nothing_but_refusals_has_f1_zero():
    assert f1(np.array([-1, -1]), np.array([-1, -1]), "macro", no_class=-1) == 0.0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-3, 3)), min_size=2, max_size=40))
def test_correlations_equal_scipy_with_ties(rows):
    x, y = np.array(rows, float).T
    if np.unique(x).size > 1 and np.unique(y).size > 1:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    else:
        assert spearman(x, y) == pearson(x, y) == 0.0


@settings(max_examples=25)
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=30, unique=True))
def test_spearman_knows_only_order(values):
    x = np.array(values, float)
    assert spearman(x, np.exp(x / 10)) == pytest.approx(1.0)
    assert spearman(x, -(x**3)) == pytest.approx(-1.0)


def test_a_constant_far_from_zero_is_still_a_constant():
    x = np.full(7, 0.1) * 3
    assert pearson(x, np.arange(7.0)) == 0.0


def test_float32_values_a_hair_apart_are_told_apart():
    x = np.nextafter(np.float32(0.5), np.float32([0, 1])).astype(np.float32)
    assert pearson(x, np.array([0.0, 1.0])) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad):
    with pytest.raises(DataError, match="finite"):
        spearman(np.array([0.0, bad]), np.array([0.0, 1.0]))


def test_one_row_has_no_correlation():
    with pytest.raises(DataError, match="at least 2"):
        pearson(np.array([1.0]), np.array([1.0]))
