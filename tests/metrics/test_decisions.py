from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from embedfit.metrics import (
    average_precision,
    average_precision_of,
    bootstrap_statistic,
    f1_of,
    paired_statistics,
    rank,
)


def by_hand(score: np.ndarray, same: np.ndarray) -> float:
    """Sorted, of equal scores the others first; the mean of the precision where one is the same."""
    order = np.lexsort((same, -score))
    found = same[order]
    return float((np.cumsum(found) / np.arange(1, found.size + 1))[found].mean())


@st.composite
def decisions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(2, 40))
    same = rng.random(n) < 0.4
    same[0] = True
    return draw(st.sampled_from([rng.integers(0, 4, n).astype(float), rng.normal(size=n)])), same, rng


@settings(max_examples=60)
@given(decisions())
def test_average_precision_of_resampled_rows_is_that_of_the_repeated_rows(case):
    score, same, rng = case
    counts = rng.integers(0, 4, size=(5, score.size))
    counts[:, 0] += 1
    expected = [by_hand(np.repeat(score, c), np.repeat(same, c)) for c in counts]
    assert average_precision_of(score, same)(counts.astype(float)) == pytest.approx(np.array(expected), abs=1e-9)


@settings(max_examples=30)
@given(decisions())
def test_counted_once_it_is_the_average_precision_of_the_ranking(case):
    score, same, _ = case
    ranking = rank(score[None], np.zeros(int(same.sum()), np.int64), np.flatnonzero(same))
    once = average_precision_of(score, same)(np.ones((1, score.size)))[0]
    assert once == pytest.approx(average_precision(ranking)[0], abs=1e-9)
    if np.unique(score).size == score.size:
        assert once == pytest.approx(average_precision_score(same, score), abs=1e-9)


def test_f1_of_resampled_rows_is_that_of_the_repeated_rows(rng):
    same, said = rng.random((2, 50)) < 0.5
    counts = rng.integers(0, 4, size=(5, 50))
    expected = [f1_score(np.repeat(same, c), np.repeat(said, c)) for c in counts]
    assert f1_of(same, said)(counts.astype(float)) == pytest.approx(np.array(expected))


def test_where_there_is_nothing_to_find_both_are_zero():
    nothing = np.zeros(3, bool)
    assert average_precision_of(np.arange(3.0), nothing)(np.ones((1, 3))) == [0]
    assert f1_of(nothing, nothing)(np.ones((1, 3))) == [0]


def test_a_better_score_is_seen_as_better_on_the_same_rows(rng):
    same = rng.random(400) < 0.3
    good, poor = same + rng.normal(size=400) * 0.6, same + rng.normal(size=400) * 1.5
    got = paired_statistics(average_precision_of(good, same), average_precision_of(poor, same), 400, draws=500)
    assert got.value == pytest.approx(by_hand(good, same) - by_hand(poor, same))
    assert 0 < got.low < got.value < got.high
    alone = bootstrap_statistic(average_precision_of(good, same), 400, draws=500)
    assert alone.low < by_hand(good, same) < alone.high
