from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from worlds import pairs, unit

from embedfit.evaluate import faq, retrieval
from embedfit.evaluate.faq import centroids, entries, scorer
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.tasks import Task, task_of
from embedfit.metrics import NEVER


def small_task(relevant: list[list[int]], candidates: int, owner: list[int] | None = None) -> Task:
    owner = list(range(candidates)) if owner is None else owner
    triples = [(q, c) for q, cs in enumerate(relevant) for c in cs]
    return Task(
        queries=tuple(f"q{i}" for i in range(len(relevant))),
        candidates=tuple(f"c{i}" for i in range(candidates)),
        keys=tuple(f"k{i}" for i in range(len(owner))),
        owner=np.array(owner),
        phrased=np.zeros(len(owner), bool),
        query=np.array([q for q, _ in triples]),
        relevant=np.array([c for _, c in triples]),
        gain=np.ones(len(triples)),
        itself=np.full(len(relevant), -1),
    )


def test_documents_with_equal_embeddings_tie_exactly_and_count_worst(rng):
    # in one matrix product, equal columns may differ in the last bit: 67 columns leave the kernel an uneven edge
    document = unit(rng.normal(size=(67, 33)))
    document[[1, 40, 66]] = document[0]
    query = unit(document[:1] + 0.01 * rng.normal(size=(50, 33)))
    ranked = rank_task(small_task([[0]] * 50, 67), scorer(query, document, np.arange(67)))
    assert (ranked.ranking.rank == 4).all()
    assert np.isin(ranked.answer, [1, 40, 66]).all()


def test_a_collapsed_model_gets_the_worst_ranks(rng):
    same = unit(np.ones((30, 8)))
    ranked = rank_task(small_task([[i] for i in range(30)], 30), scorer(same, same, np.arange(30)))
    assert (ranked.ranking.rank == 30).all()


def test_the_size_of_the_blocks_means_nothing(rng, monkeypatch):
    query, document = unit(rng.normal(size=(23, 5))), unit(rng.normal(size=(40, 5)))
    task = small_task([[int(c) for c in rng.choice(40, 3, replace=False)] for _ in range(23)], 40)
    whole = rank_task(task, scorer(query, document, np.arange(40)))
    monkeypatch.setattr(retrieval, "_CELLS", 100)
    parts = rank_task(task, scorer(query, document, np.arange(40)))
    assert parts.ranking.rank.tolist() == whole.ranking.rank.tolist()
    assert parts.answer.tolist() == whole.answer.tolist()


def test_some_queries_in_any_order_get_their_own_ranks(rng):
    query, document = unit(rng.normal(size=(9, 5))), unit(rng.normal(size=(40, 5)))
    task, rows = small_task([[i, i + 9] for i in range(9)], 40), np.array([7, 2, 5])
    whole = rank_task(task, scorer(query, document, np.arange(40))).ranking
    some = rank_task(task, scorer(query, document, np.arange(40)), rows).ranking
    assert some.first().tolist() == whole.first()[rows].tolist()


def test_the_answer_and_the_expected_candidate_are_named_with_their_scores():
    document = np.eye(3, dtype=np.float32)
    query = unit(np.array([[3.0, 2, 1], [1, 2, 3]]))
    ranked = rank_task(small_task([[0], [0, 1]], 3), scorer(query, document, np.arange(3)))
    assert ranked.answer.tolist() == [0, 2]
    assert ranked.expected.tolist() == [0, 1]
    assert ranked.score == pytest.approx(query[[0, 1], [0, 2]])
    assert ranked.expected_score == pytest.approx(query[[0, 1], [0, 1]])


def test_where_nothing_relevant_is_a_candidate_nothing_is_expected():
    ranked = rank_task(
        small_task([[-1]], 2), scorer(np.eye(1, 2, dtype=np.float32), np.eye(2, dtype=np.float32), np.arange(2))
    )
    assert (ranked.expected.tolist(), ranked.ranking.rank.tolist()) == ([-1], [NEVER])


def test_the_query_itself_is_never_its_answer():
    task = task_of(pairs(("a", "b"), ("b", "a"), ("c", "d")))
    vectors = {"a": [1, 0.0], "b": [1, 0.1], "c": [0, 1.0], "d": [0.1, 1]}
    query = unit(np.array([vectors[t] for t in task.queries], float))
    key = unit(np.array([vectors[t] for t in task.keys], float))
    assert rank_task(task, scorer(query, key, task.owner)).ranking.rank.tolist() == [1, 1, 1]


@st.composite
def grouped(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    key = unit(rng.normal(size=(sum(sizes), 4)))
    if draw(st.booleans()):
        key[-1] = key[0]
    return unit(rng.normal(size=(3, 4))), key, np.repeat(np.arange(len(sizes)), sizes)


@settings(max_examples=40)
@given(grouped(), st.sampled_from(["blend", "max", "centroid", "top2"]), st.booleans())
def test_several_keys_of_a_candidate_become_one_score_as_a_loop_would_have_it(case, how, as_sparse):
    query, key, owner = case

    def one(q: np.ndarray, keys: np.ndarray) -> float:
        scores = np.sort(keys.astype(float) @ q.astype(float))[::-1]
        middle = keys.astype(float).sum(0)
        centroid = float(q @ middle / np.linalg.norm(middle))
        top2 = float(scores[:2].mean())
        return {"max": scores[0], "top2": top2, "centroid": centroid, "blend": (scores[0] + centroid) / 2}[how]

    expected = np.array([[one(q, key[owner == c]) for c in range(owner[-1] + 1)] for q in query])
    if as_sparse:
        query, key = sparse.csr_matrix(query), sparse.csr_matrix(key)
    assert scorer(query, key, owner, how)(np.arange(3)) == pytest.approx(expected, abs=1e-5)


def test_keys_that_cancel_have_no_direction():
    assert centroids(np.array([[1.0, 0], [-1, 0]], np.float32), np.array([0, 0])).tolist() == [[0, 0]]


def test_anchored_is_two_thirds_the_prototype_and_one_third_the_best_phrasing():
    rng = np.random.default_rng(0)
    owner = np.array([0, 0, 0, 1, 2, 2])
    key = rng.normal(size=(6, 4)).astype(np.float32)
    query = rng.normal(size=(3, 4)).astype(np.float32)
    got = scorer(query, key, owner, "anchored")(np.arange(3))
    cell = query @ key.T
    expected = [[(2 * r[0] + max(r[1], r[2])) / 3, r[3], (2 * r[4] + r[5]) / 3] for r in cell]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@settings(max_examples=60)
@given(grouped(), st.sampled_from(["blend", "max", "centroid", "top2", "anchored"]))
def test_mixed_beforehand_the_best_row_of_a_candidate_is_its_score(case, how):
    query, key, owner = case
    row, of = entries(key, owner, how)
    assert (np.diff(of) >= 0).all()
    best = np.stack([(query @ row[of == c].T).max(axis=1) for c in range(owner[-1] + 1)], axis=1)
    assert best == pytest.approx(scorer(query, key, owner, how)(np.arange(3)), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 7, 5_000])
def test_equal_rows_are_found_and_no_others(dtype, count):
    draw = np.random.default_rng(count)
    x = draw.normal(size=(count, 5)).astype(dtype)
    assert faq._distinct_rows(x)[0] is x  # nothing equal: no copy
    x = np.nextafter(x[draw.integers(count, size=2 * count)], draw.choice([0, 1], (2 * count, 5)).astype(dtype))
    x[::9, 2] = -0.0
    x[::6, 2] = 0.0
    distinct, back = faq._distinct_rows(x)
    assert (distinct[back] == x).all()
    assert len(distinct) == len({tuple(row) for row in (x + 0.0).tolist()})
