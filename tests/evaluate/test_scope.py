"""When a query gets no answer: chosen with queries that have none, measured on queries it was not chosen on."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from worlds import classes, oracle

from embedfit.evaluate import lexical
from embedfit.evaluate.classify import Answers, rejection_threshold
from embedfit.evaluate.scope import ENOUGH, Refusal, best_scores, refusal, refusal_of
from embedfit.evaluate.tasks import task_of


def answered(right: np.ndarray, wrong: np.ndarray) -> Answers:
    """Answers with these scores."""
    return Answers(
        score=np.concatenate([right, wrong]).astype(np.float64),
        predicted=np.zeros(right.size + wrong.size, np.int64),
        label=np.repeat([0, 1], [right.size, wrong.size]),
    )


def test_with_enough_queries_without_an_answer_the_threshold_stands_between_them_and_the_right_answers() -> None:
    right, outside = np.linspace(0.6, 0.9, 50), np.linspace(0.1, 0.5, ENOUGH)
    given = answered(right, np.linspace(0.2, 0.55, 30))
    found = refusal(given, outside)
    assert found is not None
    assert 0.5 < found.threshold < 0.6
    assert found.kept == 1.0
    # the last ones of a half may lie beyond the limit of the other half
    assert found.refused == pytest.approx(1.0, abs=0.2)


def test_refusing_costs_a_tenth_of_the_right_answers_at_most() -> None:
    # all but every fifth right answer lies among the queries without an answer
    right = np.concatenate([np.linspace(0.0, 0.5, 80), np.linspace(0.8, 0.9, 20)])
    found = refusal(answered(right, np.empty(0)), np.linspace(0.0, 0.6, 400))
    assert found is not None
    assert float((right >= found.threshold).mean()) == pytest.approx(0.9, abs=0.011)


def test_with_few_or_none_it_keeps_the_right_answers_as_without_them() -> None:
    given = answered(np.linspace(0.3, 0.9, 100), np.linspace(0.2, 0.5, 30))
    alone = refusal(given, np.empty(0))
    assert alone == Refusal(threshold=rejection_threshold(given))
    for few in (1, 2, ENOUGH - 1):
        found = refusal(given, np.linspace(0.0, 0.25, few))
        assert found is not None
        assert found.threshold == alone.threshold
        assert found.refused == 1.0
        assert found.kept == pytest.approx(0.97, abs=0.04)


def test_without_a_right_answer_there_is_no_threshold() -> None:
    assert refusal(answered(np.empty(0), np.array([0.5, 0.7])), np.linspace(0, 1, 40)) is None


def test_one_right_answer_is_measured_where_the_threshold_was_chosen() -> None:
    found = refusal(answered(np.array([0.9]), np.array([0.5])), np.linspace(0, 0.6, 40))
    assert found is not None
    assert (found.refused, found.kept) == (1.0, 1.0)


def test_scores_that_mean_nothing_are_not_flattered() -> None:
    gains = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = refusal(answered(rng.random(30), rng.random(10)), rng.random(30), seed=seed)
        assert found is not None
        assert found.refused is not None
        assert found.kept is not None
        gains.append(found.refused + found.kept - 1)
    # chosen and measured on the same queries it would be .2
    assert abs(float(np.mean(gains))) < 0.05


def test_a_model_refuses_what_it_knows_nothing_of() -> None:
    known = [(f"known{i} #{q}", f"class {q}") for q in range(30) for i in range(2)]
    asked = [(f"asked #{q}", f"class {q}") for q in range(30)]
    encode = oracle(lambda text: text.partition("#")[2])
    task = task_of(classes(*asked), classes(*known))
    found = refusal_of(encode, encode, task, [f"other #x{i}" for i in range(40)], how="blend")
    assert found is not None
    assert found.refused == found.kept == 1.0
    assert 0.5 < found.threshold < 1
    both = task, task_of(classes(*asked), classes(*known), "phrasings")
    build = partial(lexical.build, encode, encode, both, how="blend", weight=0.5)
    fused, bare = build(outside=[f"other #x{i}" for i in range(40)]), build()
    assert fused.threshold is not None
    assert bare.threshold is not None
    assert fused.threshold < bare.threshold  # just above the others, no more at the last of the right answers
    alone = refusal_of(encode, encode, task, [], how="blend")
    assert alone is not None
    assert alone.threshold == pytest.approx(1)


def test_the_best_scores_are_taken_block_by_block() -> None:
    table = np.random.default_rng(0).random((700, 5))
    np.testing.assert_array_equal(best_scores(lambda rows: table[rows], 700), table.max(1))
    assert best_scores(lambda rows: table[rows], 0).shape == (0,)
