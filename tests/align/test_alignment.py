"""Verdicts on spaces that map, that do not, and that are ill: each finding has a sick and a healthy case."""

from __future__ import annotations

import json

import numpy as np
import pytest
from spaces import noise, pairs, turned, unit

from embedfit.align import Alignment, Descent, align
from embedfit.align.search import search_quality
from embedfit.errors import DataError, RecipeError

QUICK = Descent(steps=60, batch_size=64, evaluate_every=10)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfit.align.exam.STEPS", 40)
    monkeypatch.setattr("embedfit.align.maps.HIDDEN", 32)


def names(found: Alignment) -> set[str]:
    return {finding.name for finding in found.findings}


@pytest.fixture(scope="module")
def healthy() -> Alignment:
    return align(pairs(*turned()), descent=QUICK)


def test_a_turned_space_is_recognised_and_an_orthogonal_map_is_enough(healthy: Alignment) -> None:
    assert healthy.exists
    assert "an orthogonal map is enough" in healthy.verdict
    assert healthy.findings == ()
    assert healthy.fit is not None
    assert healthy.fit.kind == "orthogonal"
    assert healthy.fit.quality.recall(1) > 0.95
    assert healthy.fit.search.own > 0.95
    assert healthy.fit.enough() in {*healthy.fit.learning} - {healthy.fit.pairs}
    evidence = {e.name: e for e in healthy.exam.evidence}
    assert set(evidence) == {"ridge", "procrustes", "mlp", "cca", "neighbours", "distance correlation"}
    assert all(e.value > e.shuffled + 0.2 for e in evidence.values())


def test_an_alignment_is_plain_values(healthy: Alignment) -> None:
    found = json.loads(json.dumps(healthy.to_dict()))
    assert found["exists"] is True
    assert found["fit"]["recall@1"] > 0.95
    assert next(m["kind"] for m in found["maps"]) == "orthogonal"


def test_the_saved_map_takes_raw_vectors_to_raw_vectors() -> None:
    x = noise(300, 6, 1) * np.array([1, 10, 100, 1, 1, 1], np.float32) + 7
    y = (x @ noise(6, 4, 2) * np.array([1, 50, 1, 1], np.float32) - 3).astype(np.float32)
    found = align(pairs(x, y), kind="linear")
    assert found.fit is not None
    np.testing.assert_allclose(found.fit.map.map(x), y, rtol=0.02, atol=0.02 * np.abs(y).max())


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_pairs_have_no_mapping(seed: int) -> None:
    x, y = turned(seed=seed)
    found = align(pairs(x, y[np.random.default_rng(seed).permutation(len(y))]))
    assert names(found) >= {"no_mapping"}
    assert not found.exists
    assert found.fit is None
    assert "there is no mapping" in found.verdict


def test_unrelated_spaces_have_no_mapping() -> None:
    assert not align(pairs(unit(noise(300, 8, 3)), unit(noise(300, 8, 4)))).exists


def test_dependence_that_no_map_carries_over_is_told_from_none() -> None:
    x = unit(noise(600, 16, 5))
    hidden = np.sign(x[:, 0] * x[:, 1]) * 3  # a parity, which few pairs do not teach
    y = unit(np.hstack([hidden[:, None], noise(600, 6, 6)]).astype(np.float32))
    assert not align(pairs(x, y)).exists


def test_a_weak_mapping_is_called_one() -> None:
    x = unit(noise(600, 10, 7))
    y = unit(0.5 * x[:, :6] + noise(600, 6, 8) / 6)
    found = align(pairs(x, y))
    assert "weak_mapping" in names(found)
    assert "weak" in found.verdict


def test_mismatched_rows_are_counted_and_named() -> None:
    x, y = turned(n=500, off=0.02)
    swapped = np.arange(0, 40)
    y[swapped] = y[np.roll(swapped, 1)]
    found = align(pairs(x, y), descent=QUICK)
    finding = next(f for f in found.findings if f.name == "mismatched_rows")
    assert {int(str(e["row"]).split()[1]) for e in finding.examples} <= set(swapped.tolist())
    assert all(e["nearest"] == f"row {(int(str(e['row']).split()[1]) + 1) % 40}" for e in finding.examples)
    share = float(finding.sentence.split("about ")[1].split(" %")[0]) / 100
    assert 0.04 < share < 0.13  # 8 % are
    assert found.fit is not None
    assert found.fit.objective == "euclidean"
    assert found.fit.curve is not None


def test_outliers_of_the_target_are_named_and_met_by_a_robust_objective() -> None:
    x = noise(300, 5, 9)
    y = (x @ noise(5, 5, 10)).astype(np.float32)
    y[7] *= 300
    found = align(pairs(x, y), descent=QUICK)
    finding = next(f for f in found.findings if f.name == "outliers_target")
    assert finding.examples[0]["row"] == "row 7"
    assert found.fit is not None
    assert found.fit.objective == "euclidean"


def test_lengths_that_differ_are_mentioned() -> None:
    x, y = turned()
    assert "norm_mismatch" in names(align(pairs(x, 10 * y)))


def test_a_target_of_more_directions_than_the_source_cannot_be_reached() -> None:
    y = unit(noise(300, 12, 11))
    assert "unreachable_target" in names(align(pairs(y[:, :3].copy(), y)))


def test_few_pairs_and_repeated_rows_are_mentioned() -> None:
    x, y = turned(n=60, e=16)
    assert "few_pairs" in names(align(pairs(x, y)))
    found = align(pairs(np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)))
    assert {"repeated_source", "repeated_target"} <= names(found)


@pytest.mark.parametrize(("kind", "objective"), [("linear", "cosine"), ("mlp", "auto"), ("orthogonal", "huber")])
def test_kind_and_objective_can_be_chosen(kind: str, objective: str) -> None:
    found = align(pairs(*turned(n=200, e=8)), kind=kind, objective=objective, descent=QUICK)  # type: ignore[arg-type]
    assert found.fit is not None
    assert found.fit.kind == kind
    assert found.fit.curve is not None
    assert found.fit.quality.recall(1) > 0.8


def test_what_cannot_be_asked_is_refused() -> None:
    x, y = turned(n=20)
    with pytest.raises(DataError, match="20 pairs say nothing"):
        align(pairs(x, y))
    with pytest.raises(RecipeError, match="no vector objective"):
        align(pairs(*turned(n=60)), objective="mean")
    with pytest.raises(RecipeError, match="no map of kind 'low-rank'"):
        align(pairs(*turned(n=60, e=4)), kind="low-rank")


def test_search_of_old_new_and_migrated_vectors() -> None:
    x, y = turned(n=200)
    labels = np.arange(200) % 4
    found = search_quality(x, y, y, queries=np.arange(40), labels=labels)
    assert (found.queries, found.documents, found.own, found.agreement[1]) == (40, 160, 1.0, 1.0)
    assert found.accuracy is not None
    assert found.accuracy[1] == found.accuracy[2]
    other = search_quality(x, y, unit(noise(200, 12, 12)), queries=np.arange(40))
    assert other.agreement[1] < 0.2
    assert other.accuracy is None
