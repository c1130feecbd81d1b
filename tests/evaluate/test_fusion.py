from __future__ import annotations

import numpy as np
import pytest
from test_retrieval import small_task

from embedfit.evaluate.fusion import (
    choose_weight,
    cross_fitted,
    cross_fitted_graded,
    fuse,
    reciprocal_rank_fusion,
    standardise,
)
from embedfit.evaluate.retrieval import rank_task
from embedfit.metrics import measure, spearman


def test_standardised_scores_have_mean_zero_and_deviation_one_or_say_nothing(rng):
    scores = np.vstack([rng.normal(5, 3, size=(2, 50)), np.full((1, 50), 0.7)])
    got = standardise(scores)
    assert got[:2].mean(1) == pytest.approx(0, abs=1e-12)
    assert got[:2].std(1) == pytest.approx(1)
    assert (got[2] == 0).all()


def test_the_ends_of_the_weight_are_the_two_scorers_alone(rng):
    a, b = rng.normal(size=(2, 6, 9))
    task, rows = small_task([[0]] * 6, 9), np.arange(6)
    for weight, alone in ((0.0, a), (1.0, b)):
        mixed = fuse(lambda r: a[r], lambda r: b[r], weight)
        expected = rank_task(task, lambda r, alone=alone: alone[r].copy())
        assert rank_task(task, mixed, rows).ranking.rank.tolist() == expected.ranking.rank.tolist()


def test_reciprocal_ranks_are_summed_and_ties_share_their_worst():
    score = reciprocal_rank_fusion(
        lambda r: np.array([[3.0, 2, 2]])[r], lambda r: np.array([[1.0, 2, 3]])[r], constant=0.0
    )
    assert score(np.array([0])) == pytest.approx(np.array([[1 + 1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1]]))


def halves(rng, queries=400, candidates=30):
    """Two scorers that each see half of the truth: together they see it."""
    right = np.eye(candidates)[np.arange(queries) % candidates]
    a, b = right * 2 + rng.normal(size=(2, queries, candidates))
    task = small_task([[i % candidates] for i in range(queries)], candidates)
    return task, (lambda rows: a[rows].copy()), (lambda rows: b[rows].copy())


def test_two_halves_of_the_truth_are_better_together_also_where_the_weight_was_not_chosen(rng):
    task, a, b = halves(rng)
    alone = measure(rank_task(task, a).ranking, "accuracy@1").mean()
    mixed, weight = cross_fitted(task, a, b, "accuracy@1")
    assert mixed.mean() > alone + 0.1
    assert 0.3 < weight < 0.7


def test_the_chosen_weight_is_the_best_on_the_grid(rng):
    task, a, b = halves(rng, 60)
    chosen = choose_weight(task, a, b, "mrr")

    def value(weight):
        return measure(rank_task(task, fuse(a, b, weight)).ranking, "mrr").mean()

    assert value(chosen) == pytest.approx(max(value(i / 20) for i in range(21)))


def test_a_useless_model_gets_no_weight(rng):
    task, a, _ = halves(rng)
    noise = rng.normal(size=(400, 30))
    _, weight = cross_fitted(task, a, lambda rows: noise[rows], "mrr")
    assert weight <= 0.15


def test_one_query_can_be_fused():
    values, weight = cross_fitted(
        small_task([[0]], 2), lambda r: np.array([[1.0, 0]])[r], lambda r: np.array([[1.0, 0]])[r], "mrr"
    )
    assert (values.tolist(), weight) == ([1.0], 0.5)


def test_graded_similarities_mix_too(rng):
    target = rng.normal(size=300)
    a, b = target + rng.normal(size=(2, 300))
    mixed, _ = cross_fitted_graded(a, b, target)
    assert spearman(mixed, target) > max(spearman(a, target), spearman(b, target))
