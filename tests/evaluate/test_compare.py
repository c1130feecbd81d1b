from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from worlds import classes, graded, oracle, pairs, random_encoder

from embedfit.errors import DataError
from embedfit.evaluate import Evaluation, compare, evaluate_bare, evaluate_binary


def faq(phrasings: range, questions: int = 40) -> list[tuple[str, str]]:
    return [(f"ask{v} #{q}", f"standard #{q}") for q in range(questions) for v in phrasings]


def meaning(text: str) -> str:
    return text.split("#")[1]


def asked(encode, rows=None) -> Evaluation:
    return evaluate_bare(encode, encode, pairs(*(rows or faq(range(2)))))


def test_a_better_model_is_named_with_both_figures_and_the_difference():
    right, blind = asked(oracle(meaning)), asked(random_encoder())
    got = compare(right, blind)
    assert got.metric == "recall@10"
    assert got.values["recall@10"] == (1.0, blind.value)
    assert got.difference.value == pytest.approx(1 - blind.value)
    assert got.difference.low > 0
    head = f"recall@10 is 1.000 for new and {blind.value:.3f} for old: new is better, by {1 - blind.value:.3f} ("
    assert got.verdict("new", "old").startswith(head)
    assert "on 80 rows." in got.verdict()
    assert ": the second is better, by" in compare(blind, right).verdict()
    assert compare(blind, right).difference.high < 0


def test_every_metric_that_was_measured_is_compared_the_one_asked_for_first():
    right, blind = asked(oracle(meaning)), asked(random_encoder())
    got = compare(right, blind, "mrr@10")
    assert next(iter(got.values)) == got.metric == "mrr@10"
    assert set(got.values) == set(right.per_query)
    assert json.loads(json.dumps(got.to_dict()))["metrics"]["recall@1"]["difference"]["low"] > 0


def test_a_model_is_no_better_than_itself():
    same = asked(random_encoder())
    got = compare(same, same)
    assert (got.difference.value, got.difference.p) == (0, 1)
    assert "no difference can be shown, +0.000" in got.verdict()


def test_the_difference_is_that_of_the_same_queries_and_not_of_two_samples(rng):
    hits = (rng.random(300) < 0.5).astype(float)
    base = asked(oracle(meaning), faq(range(3), 100))
    one, other = (
        replace(base, values={**base.values, "recall@10": float(h.mean())}, per_query={"recall@10": h})
        for h in (np.where(np.arange(300) < 12, 1.0, hits), np.where(np.arange(300) < 12, 0.0, hits))
    )
    got = compare(one, other).difference
    assert got.value == pytest.approx(0.04)
    assert got.low > 0  # as two independent samples of 300 such a difference would be lost


def test_only_what_is_the_same_can_be_compared():
    encode = random_encoder()
    a, b = asked(encode, faq(range(2), 6)), asked(encode, faq(range(2, 4), 6))
    with pytest.raises(DataError, match="asked different things"):
        compare(a, b)
    with pytest.raises(DataError, match="not measured"):
        compare(a, a, "spearman")
    known = pairs(("another #x", "other #x"))
    more = evaluate_bare(encode, encode, pairs(*faq(range(2), 6)), known=known)
    with pytest.raises(DataError, match="among 6 candidates, the other among 7"):
        compare(a, more)
    one, other = (evaluate_bare(encode, encode, graded(("a", "b", 1.0), ("c", "d", s))) for s in (2.0, 3.0))
    with pytest.raises(DataError, match="different grades"):
        compare(one, other)


def test_classes_are_compared_by_accuracy_and_graded_rows_by_rank_correlation(rng):
    rows = classes(*[(f"ask{v} #{q}", str(q)) for q in range(9) for v in range(3)])
    right, blind = (evaluate_bare(e, e, rows) for e in (oracle(lambda t: t.split("#")[-1]), random_encoder()))
    assert compare(right, blind).metric == "accuracy@1"
    grades = graded(*[(f"a #{i % 7}", f"b #{(i * i) % 7}", float(i % 7 == (i * i) % 7)) for i in range(60)])
    right, blind = (evaluate_bare(e, e, grades) for e in (oracle(meaning), random_encoder()))
    assert list(compare(right, blind).values) == ["spearman"]
    assert compare(right, blind).difference.low > 0


def test_pairs_that_are_the_same_or_not_are_compared_with_and_without_thresholds():
    rows = [(f"a{i} #{i % 9}", f"b{i} #{i * i % 9}", float(i % 9 == i * i % 9)) for i in range(200)]
    test, dev = graded(*rows[::2]), graded(*rows[1::2])
    right, blind = (evaluate_binary(e, e, test, dev=dev) for e in (oracle(meaning), random_encoder()))
    got = compare(right, blind)
    assert list(got.values) == ["average_precision", "accuracy", "f1"]
    assert all(d.low > 0 for d in got.differences.values())
    assert got.differences["f1"].value == pytest.approx(right.values["f1"] - blind.values["f1"])
    bare = [evaluate_binary(e, e, test) for e in (oracle(meaning), random_encoder())]
    assert list(compare(*bare).values) == ["average_precision"]
