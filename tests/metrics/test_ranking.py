from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from embedfit.errors import DataError
from embedfit.metrics import NEVER, Ranking, chance, join, measure, rank

METRICS = ("recall@1", "recall@3", "accuracy@1", "accuracy@3", "mrr", "mrr@2", "ndcg@1", "ndcg@3", "map")


def ranking_of(scores, gains) -> Ranking:
    query, document = np.nonzero(gains > 0)
    return rank(scores, query, document, gains[query, document])


def naive(scores: list[float], gains: list[float], metric: str) -> float:
    """One query by sorting: equal scores stand in the order that is worst for the metric."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], gains[i]))
    found = [(place, gains[i]) for place, i in enumerate(order, 1) if gains[i] > 0]
    name, _, cut = metric.partition("@")
    k = int(cut) if cut else len(scores)
    if name == "recall":
        return sum(place <= k for place, _ in found) / len(found)
    if name == "accuracy":
        return float(found[0][0] <= k)
    if name == "mrr":
        return 1 / found[0][0] if found[0][0] <= k else 0.0
    if name == "map":
        return sum(j / place for j, (place, _) in enumerate(found, 1)) / len(found)
    ideal = sum(g / math.log2(i + 1) for i, g in enumerate(sorted((g for g in gains if g > 0), reverse=True)[:k], 1))
    return sum(g / math.log2(place + 1) for place, g in found if place <= k) / ideal


@st.composite
def judged(draw):
    """Scores with many ties and grades; every query has something relevant."""
    queries, documents = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    cells = st.lists(st.integers(0, 4), min_size=documents, max_size=documents)
    scores = np.array(draw(st.lists(cells, min_size=queries, max_size=queries)), np.float64)
    grades = st.lists(st.integers(0, 3), min_size=documents, max_size=documents).filter(any)
    return scores, np.array(draw(st.lists(grades, min_size=queries, max_size=queries)), np.float64)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25)
@given(case=judged())
def test_every_metric_equals_a_sort_that_puts_relevant_documents_last_among_ties(metric, case):
    scores, gains = case
    expected = [naive(list(s), list(g), metric) for s, g in zip(scores, gains, strict=True)]
    assert measure(ranking_of(scores, gains), metric) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25)
@given(case=judged(), random=st.randoms(use_true_random=False))
def test_the_order_of_the_documents_means_nothing(metric, case, random):
    scores, gains = case
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    moved = measure(ranking_of(scores[:, order], gains[:, order]), metric)
    assert moved == pytest.approx(measure(ranking_of(scores, gains), metric))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25)
@given(case=judged(), data=st.data())
def test_a_better_score_of_a_lone_relevant_document_never_hurts(metric, case, data):
    scores, gains = case
    gains = np.zeros_like(gains)
    gains[:, 0] = 1
    better = scores.copy()
    better[:, 0] += data.draw(st.integers(0, 5))
    assert (measure(ranking_of(better, gains), metric) >= measure(ranking_of(scores, gains), metric)).all()


def test_a_model_without_opinion_gets_no_hit():
    ranking = ranking_of(np.zeros((3, 50)), np.eye(3, 50))
    assert ranking.rank.tolist() == [50, 50, 50]
    assert measure(ranking, "recall@10").sum() == 0


def test_twins_that_are_both_relevant_do_not_hurt_each_other():
    ranking = ranking_of(np.array([[1.0, 1.0, 0.0]]), np.array([[1.0, 1.0, 0.0]]))
    assert ranking.rank.tolist() == [1, 2]


def test_one_candidate_and_k_beyond_the_candidates():
    ranking = ranking_of(np.array([[0.3]]), np.array([[1.0]]))
    assert [float(measure(ranking, m)[0]) for m in ("recall@1", "recall@100", "ndcg@10", "map")] == [1, 1, 1, 1]


def test_a_relevant_document_that_is_no_candidate_is_never_found_and_still_counts():
    ranking = rank(np.array([[0.9, 0.1]]), np.array([0, 0]), np.array([0, -1]))
    assert ranking.rank.tolist() == [1, NEVER]
    assert measure(ranking, "recall@1000000") == pytest.approx([0.5])
    assert measure(ranking, "map") == pytest.approx([0.5])
    assert measure(ranking, "ndcg@2") == pytest.approx([1 / (1 + 1 / math.log2(3))])


def test_a_query_without_relevant_document_is_an_error_and_not_dropped():
    with pytest.raises(DataError, match="1 of 2 queries"):
        ranking_of(np.ones((2, 3)), np.array([[0.0, 0, 0], [1, 0, 0]]))


def test_nan_scores_are_an_error():
    with pytest.raises(DataError, match="NaN"):
        ranking_of(np.array([[np.nan, 1.0]]), np.array([[1.0, 0.0]]))


@pytest.mark.parametrize("metric", ["recall", "recall@0", "map@3", "mrr@", "precision@1", "ndcg@x"])
def test_an_unknown_metric_is_named(metric):
    with pytest.raises(DataError, match="no metric"):
        measure(ranking_of(np.eye(2), np.eye(2)), metric)


def test_blocks_joined_equal_the_whole(rng):
    scores, gains = rng.normal(size=(9, 20)), (rng.random((9, 20)) < 0.2).astype(float)
    gains[:, 0] = 1
    parts = [ranking_of(scores[i : i + 4], gains[i : i + 4]) for i in (0, 4, 8)]
    whole, joined = ranking_of(scores, gains), join(parts)
    assert joined.rank.tolist() == whole.rank.tolist()
    assert joined.query.tolist() == whole.query.tolist()
    assert joined.queries == whole.queries == 9


def test_without_ties_it_is_what_scikit_learn_says(rng):
    scores, gains = rng.normal(size=(6, 30)), rng.integers(0, 4, size=(6, 30)).astype(float)
    ranking = ranking_of(scores, gains)
    assert measure(ranking, "ndcg@10").mean() == pytest.approx(ndcg_score(gains, scores, k=10))
    expected = [average_precision_score(g > 0, s) for g, s in zip(gains, scores, strict=True)]
    assert measure(ranking, "map") == pytest.approx(np.array(expected))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("gains", [[1, 0, 0, 0, 0], [2, 1, 0, 0, 0], [1, 1, 1, 1, 1], [3, 1, 1, 0, 0], [1]])
def test_the_chance_level_is_the_mean_over_all_orders(metric, gains):
    documents = len(gains)
    orders = list(permutations(range(documents)))
    expected = np.mean([naive([float(s) for s in order], gains, metric) for order in orders])
    ranking = ranking_of(np.arange(float(documents))[None], np.array([gains], float))
    assert chance(ranking, metric) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_chance_level_counts_relevant_documents_that_are_no_candidates(metric):
    ranking = rank(np.array([[1.0, 2, 3, 4]]), np.zeros(3, int), np.array([0, 2, -1]))
    total = []
    for order in permutations(range(4)):
        scores = np.array([order], float)
        total.append(float(measure(rank(scores, np.zeros(3, int), np.array([0, 2, -1])), metric)[0]))
    assert chance(ranking, metric) == pytest.approx(np.mean(total), abs=1e-12)


@settings(max_examples=25)
@given(st.integers(2, 200), st.integers(1, 50))
def test_chance_of_recall_is_k_over_n(documents, k):
    ranking = ranking_of(np.arange(float(documents))[None], np.eye(1, documents))
    assert chance(ranking, f"recall@{k}") == pytest.approx(min(k, documents) / documents)
    assert chance(ranking, f"accuracy@{k}") == pytest.approx(min(k, documents) / documents)
