from __future__ import annotations

import numpy as np
import pytest

from embedfit.neighbours import Neighbours, index, kind_for, top_k


def world(count: int = 3_000, e: int = 24, seed: int = 0) -> np.ndarray:
    """Unit rows in clouds, as embeddings lie."""
    draw = np.random.default_rng(seed)
    middle = draw.normal(size=(count // 30, e))
    x = middle[draw.integers(len(middle), size=count)] + 0.5 * draw.normal(size=(count, e))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def found_of_ten(made: Neighbours, rows: np.ndarray, query: np.ndarray) -> float:
    """Recall by sets, the long way."""
    truth = np.argsort(-(query.astype(float) @ rows.T.astype(float)), axis=1)[:, :10]
    got = made.search(query, 10)[1]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), got.tolist(), strict=True)]))


@pytest.mark.parametrize("kind", ["flat", "ivf", "pq", "hnsw"])
def test_every_kind_says_the_recall_that_it_has(kind):
    rows = world(12_000, 16) if kind == "pq" else world()
    made = index(rows, kind=kind)
    assert made.kind == kind
    draw = np.random.default_rng(5)
    query = rows[draw.choice(len(rows), 200)] + 0.02 * draw.normal(size=(200, rows.shape[1]))
    assert made.recall >= 0.95
    assert found_of_ten(made, rows, query.astype(np.float32)) == pytest.approx(made.recall, abs=0.05)


def test_flat_finds_what_exact_search_finds():
    rows, query = world(), world(seed=1)[:50]
    made = index(rows, kind="flat")
    assert made.recall == 1.0
    assert made.search(query, 7)[1].tolist() == top_k(query, rows, 7)[1].tolist()


def test_an_index_that_looks_nowhere_says_so_and_looking_further_helps():
    rows = np.random.default_rng(0).normal(size=(4_000, 32)).astype(np.float32)  # no clouds: the hard case
    near, far = (index(rows, kind="ivf", wanted=wanted) for wanted in (0.01, 0.97))
    assert near.recall < 0.5 < far.recall
    assert near.engine.nprobe < far.engine.nprobe
    assert str(far.engine.nprobe) in far.reach()


def test_codes_are_small_and_what_they_find_is_scored_exactly():
    rows, query = world(12_000, 16), world(3_000, 16, seed=1)[:20]
    made = index(rows, kind="pq")
    scores, found = made.search(query, 5)
    exact = np.einsum("qe,qke->qk", query.astype(float), rows[found].astype(float))
    assert scores == pytest.approx(exact, abs=1e-6)
    assert made.engine.pq.code_size <= rows.shape[1] // 4


def test_recall_is_that_of_the_questions_that_are_given():
    """Questions from elsewhere are harder than the rows themselves, and are measured as such."""
    rows = world()
    elsewhere = -rows.mean(0) + 0.01 * world(seed=2)[:300]
    own, other = (index(rows, kind="ivf", wanted=0.5, questions=q) for q in (None, elsewhere.astype(np.float32)))
    assert found_of_ten(other, rows, elsewhere.astype(np.float32)) == pytest.approx(other.recall, abs=0.06)
    assert own.recall >= 0.5


def test_rows_are_read_from_a_file_a_part_at_a_time(tmp_path, monkeypatch):
    rows = world()
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    here, there = index(rows, kind="ivf"), index(mapped, kind="ivf")
    for a, b in zip(here.search(rows[:9], 5), there.search(rows[:9], 5), strict=True):
        assert a.tolist() == b.tolist()


def test_equal_rows_are_found_instead_of_each_other():
    rows = np.repeat(world(300), 40, axis=0)
    assert index(rows, kind="ivf").recall == 1.0


@pytest.mark.parametrize("kind", ["flat", "ivf", "pq", "hnsw"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_few_rows_are_no_difficulty(kind, count):
    rows = world(300)[:count]
    scores, found = index(rows, kind=kind).search(rows, 10)
    assert found[:, 0].tolist() == list(range(count))
    assert scores.shape == (count, min(count, 10))


def test_the_kind_follows_from_the_size():
    assert [kind_for(n, 256) for n in (100, 200_000, 200_001, 4_000_000, 10_000_000)] == [
        "flat", "flat", "ivf", "ivf", "pq",
    ]  # fmt: skip
