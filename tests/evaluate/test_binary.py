from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score
from worlds import classes, graded, lookup, oracle, random_encoder

from embedfit.errors import DataError
from embedfit.evaluate import evaluate_binary, is_binary


def world(rng: np.random.Generator, n: int):
    """Pairs at known cosines: those that are the same lie higher, with overlap."""
    same = rng.random(n) < 0.4
    cosine = np.clip(rng.normal(0.2, 0.2, size=n) + 0.3 * same, -0.99, 0.99)
    rows = [(f"a{i}", f"b{i}", float(s)) for i, s in enumerate(same)]
    vectors = {f"a{i}": [1.0, 0.0] for i in range(n)}
    vectors |= {f"b{i}": [c, math.sqrt(1 - c * c)] for i, c in enumerate(cosine.tolist())}
    return rows, lookup(vectors), cosine, same


def test_the_threshold_is_chosen_on_dev_and_reported_on_test(rng):
    rows, encode, cosine, same = world(rng, 600)
    got = evaluate_binary(encode, encode, graded(*rows[:300]), dev=graded(*rows[300:]))
    values = got.values
    best = max(np.unique(cosine[300:]), key=lambda t: f1_score(same[300:], cosine[300:] >= t))
    assert values["threshold"] <= best + 1e-6
    assert ((cosine[300:] >= values["threshold"] - 1e-6) == (cosine[300:] >= best)).all()
    said = cosine[:300] >= values["threshold"]
    for name, metric in (
        ("accuracy", accuracy_score),
        ("f1", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        assert values[name] == pytest.approx(metric(same[:300], said)), name
    assert values["average_precision"] == got.value == pytest.approx(average_precision_score(same[:300], cosine[:300]))
    for name in ("average_precision", "accuracy", "f1"):
        assert values[f"{name}/low"] < values[name] < values[f"{name}/high"]
        assert f"lexical/{name}" in values
    assert (got.per_query["said"] == said).all()
    assert f"accuracy is {values['accuracy']:.3f}" in got.verdict
    assert "chosen on 300 other pairs" in got.verdict


def test_without_other_rows_there_is_average_precision_and_no_threshold(rng):
    rows, encode, _, _ = world(rng, 100)
    got = evaluate_binary(encode, encode, graded(*rows))
    assert got.value > got.values["chance/average_precision"]
    assert not {"threshold", "accuracy", "f1", "lexical/f1"} & set(got.values)
    assert "--dev" in got.verdict


def test_chance_is_what_a_random_encoder_gets(rng):
    rows, _, _, _ = world(rng, 200)
    got = evaluate_binary(random_encoder(), random_encoder(), graded(*rows), details=False)
    assert got.values["average_precision/low"] < got.values["chance/average_precision"]
    assert got.values["chance/average_precision"] < got.values["average_precision/high"]
    assert "no better than chance" in got.verdict
    assert not any(name.startswith("lexical") for name in got.values)


def test_pairs_that_words_tell_apart_are_told_apart_by_words():
    rows = [(f"where is w{i}", f"w{i + (i % 2)} where is", float(i % 2 == 0)) for i in range(80)]
    got = evaluate_binary(random_encoder(), random_encoder(), graded(*rows[:40]), dev=graded(*rows[40:]))
    assert got.values["lexical/accuracy"] > 0.9
    assert "TF-IDF without any training does better" in got.verdict
    assert "adding TF-IDF" not in got.verdict  # that was not measured


def test_pairs_the_threshold_was_chosen_on_are_counted():
    rows = [(f"a #{i}", f"b #{i + i % 2}", float(i % 2 == 0)) for i in range(40)]
    encode = oracle(lambda text: text.split("#")[1])
    got = evaluate_binary(encode, encode, graded(*rows), dev=graded(*rows[:10]))
    assert "10 of the pairs are among those" in got.verdict
    assert got.values["accuracy"] == 1


@pytest.mark.parametrize(
    ("rows", "binary"),
    [
        (graded(("a", "b", 1.0), ("c", "d", 0.0)), True),
        (graded(("a", "b", 1.0), ("c", "d", 1.0)), False),
        (graded(("a", "b", 0.0), ("c", "d", 1.0), ("e", "f", 0.5)), False),
        (classes(("a", "0"), ("b", "1")), False),
    ],
)
def test_only_graded_rows_with_zeros_and_ones_are_binary(rows, binary):
    assert is_binary(rows) is binary
    good = graded(("a", "b", 1.0), ("c", "d", 0.0))
    if not binary:
        with pytest.raises(DataError, match="the rows are no pairs"):
            evaluate_binary(random_encoder(), random_encoder(), rows)
        with pytest.raises(DataError, match="to choose the threshold on are no pairs"):
            evaluate_binary(random_encoder(), random_encoder(), good, dev=rows)
