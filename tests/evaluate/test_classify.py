from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from embedfit.errors import DataError
from embedfit.evaluate.classify import (
    Answers,
    coverage_curve,
    pair_decision,
    pair_threshold,
    precision_threshold,
    rejection,
    rejection_threshold,
)

SCORED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=25)


def cuts(score: np.ndarray) -> list[float]:
    """Every different decision there is."""
    values = sorted(set(score.tolist()))
    return [-np.inf, *[(a + b) / 2 for a, b in pairwise(values)], np.inf]


def answers(rows) -> Answers:
    score, predicted, label = np.array(rows).T
    return Answers(score=score.astype(np.float64), predicted=predicted, label=label)


def balanced(a: Answers, threshold: float) -> float:
    got = rejection(a, threshold)
    return (got["in_scope_accuracy"] + got["oos_recall"]) / 2


@settings(max_examples=60)
@given(SCORED)
def test_no_threshold_is_better_than_the_chosen_one(rows):
    a = answers(rows)
    if (a.label < 0).all() or (a.label >= 0).all():
        with pytest.raises(DataError, match="out of scope"):
            rejection_threshold(a, "balanced")
        return
    assert balanced(a, rejection_threshold(a, "balanced")) == pytest.approx(max(balanced(a, t) for t in cuts(a.score)))
    best = max(rejection(a, t)["accuracy"] for t in cuts(a.score))
    assert rejection(a, rejection_threshold(a, "accuracy"))["accuracy"] == pytest.approx(best)


def separated(a: Answers, threshold: float) -> float:
    kept = (a.score[a.right()] >= threshold).mean()
    return float(kept + (a.score[a.label < 0] < threshold).mean()) / 2


@settings(max_examples=60)
@given(SCORED)
def test_no_threshold_separates_right_answers_from_queries_without_one_better_than_the_chosen_one(rows):
    a = answers(rows)
    if not a.right().any() or (a.label >= 0).all():
        with pytest.raises(DataError):
            rejection_threshold(a, "separate")
        return
    chosen = rejection_threshold(a, "separate")
    assert separated(a, chosen) == pytest.approx(max(separated(a, t) for t in cuts(a.score)))


def test_separating_does_not_silence_a_weak_model_and_balancing_does():
    rows = [(9, 1, 1)] + [(i % 7 + 1, 0, 1) for i in range(98)] + [(3, 1, 1)] + [(i % 5, 0, -1) for i in range(100)]
    a = answers(rows)
    assert rejection_threshold(a, "separate") < 3 < rejection_threshold(a, "balanced")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25).filter(
        lambda r: any(s for _, s in r)
    )
)
def test_no_threshold_on_pairs_is_better_than_the_chosen_one(rows):
    score, same = np.array([s for s, _ in rows], float), np.array([y for _, y in rows])
    for objective in ("f1", "accuracy"):
        got = pair_decision(score, same, pair_threshold(score, same, objective))[objective]
        assert got == pytest.approx(max(pair_decision(score, same, t)[objective] for t in cuts(score)))


@settings(max_examples=40)
@given(SCORED, st.sampled_from([0.3, 0.5, 0.9]))
def test_the_precision_asked_for_is_kept_with_the_most_answers(rows, precision):
    a = answers(rows)
    got = rejection(a, precision_threshold(a, precision))
    kept = [r for t in cuts(a.score) if (r := rejection(a, t))["precision"] >= precision]
    assert got["precision"] >= precision
    assert got["coverage"] == pytest.approx(max(r["coverage"] for r in kept))


def test_what_a_threshold_is_worth_by_hand():
    a = answers([(9, 1, 1), (8, 2, 1), (7, 3, -1), (3, 2, 2), (2, 1, -1), (1, 1, -1)])
    got = rejection(a, 5.0)
    assert got == pytest.approx(
        {
            "threshold": 5,
            "accuracy": 3 / 6,
            "in_scope_accuracy": 1 / 3,
            "oos_recall": 2 / 3,
            "coverage": 3 / 6,
            "precision": 1 / 3,
            "macro_f1": f1_score(a.label, [1, 2, 3, -1, -1, -1], labels=[1, 2, 3], average="macro", zero_division=0),
            "micro_f1": f1_score(a.label, [1, 2, 3, -1, -1, -1], labels=[1, 2, 3], average="micro", zero_division=0),
        }
    )


def test_the_threshold_lies_half_way_between_neighbours():
    score, same = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])
    assert pair_threshold(score, same) == pytest.approx(0.4)


def test_scores_one_bit_apart_are_separated():
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert (
        pair_decision(
            np.array([low, high]),
            np.array([False, True]),
            pair_threshold(np.array([low, high]), np.array([False, True])),
        )["f1"]
        == 1.0
    )


def test_a_threshold_is_chosen_on_dev_and_worth_less_on_test(rng):
    same = rng.random(2000) < 0.5
    score = same + rng.normal(size=2000)
    dev, test = slice(0, 40), slice(40, 2000)
    threshold = pair_threshold(score[dev], same[dev], "accuracy")
    on_dev = pair_decision(score[dev], same[dev], threshold)["accuracy"]
    on_test = pair_decision(score[test], same[test], threshold)["accuracy"]
    assert on_test < on_dev
    assert 0.55 < on_test < 0.72  # the best threshold there is gets 0.69


def test_all_scores_alike_leave_two_decisions():
    curve = coverage_curve(answers([(1, 0, 0), (1, 0, 1), (1, 0, -1)]))
    assert curve == [{"threshold": -np.inf, "coverage": 1.0, "precision": pytest.approx(1 / 3)}]


def test_the_curve_goes_from_all_to_the_surest(rng):
    label = rng.integers(0, 3, 500)
    right = rng.random(500) < 0.6
    a = Answers(score=right + rng.normal(size=500), predicted=np.where(right, label, 3), label=label)
    curve = coverage_curve(a, points=50)
    assert len(curve) == 50
    assert curve[0]["coverage"] == 1
    assert curve[0]["precision"] == pytest.approx(right.mean())
    assert curve[-1]["coverage"] == pytest.approx(1 / 500)
    for point in curve[::10]:
        got = rejection(a, point["threshold"])
        assert (got["coverage"], got["precision"]) == pytest.approx((point["coverage"], point["precision"]))


def test_nan_scores_are_an_error():
    with pytest.raises(DataError, match="NaN"):
        Answers(score=np.array([np.nan]), predicted=np.array([0]), label=np.array([0]))
    with pytest.raises(DataError, match="no query"):
        Answers(score=np.array([]), predicted=np.array([], int), label=np.array([], int))


def test_pairs_none_of_which_is_the_same_are_an_error():
    with pytest.raises(DataError, match="none of 2"):
        pair_decision(np.array([0.1, 0.2]), np.array([False, False]), 0.15)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=40))
def test_the_threshold_that_keeps_right_answers_is_the_highest_that_does(rows):
    a = answers(rows)
    right = a.score[a.right()]
    if not right.size:
        with pytest.raises(DataError, match="no answer is right"):
            rejection_threshold(a)
        return
    chosen = rejection_threshold(a)
    assert (right >= chosen).mean() >= 0.97
    higher = [t for t in cuts(a.score) if (right >= t).mean() >= 0.97]
    assert (a.score >= chosen).sum() == min((a.score >= t).sum() for t in higher)
