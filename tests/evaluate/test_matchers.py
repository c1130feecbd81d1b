"""Two texts, one meaning or not: ways to tell, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from embedfit import compare_scorers
from embedfit.errors import DataError, ModelError
from embedfit.evaluate.matchers import Matching, Towers, decisions
from embedfit.pairs import Pairs
from embedfit.towers import TwoTower, build

WORDS = ("lamp", "brake", "wheel", "chain", "saddle", "pedal", "bell", "tyre", "pump", "lock")


class Told:
    """Knows by itself, but for some pairs, what is the same."""

    def __init__(self, wrong: Callable[[str, str], bool] = lambda a, b: False, wait: float = 0.0) -> None:
        self.wrong, self.wait = wrong, wait

    def score(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        both = zip(queries, documents, strict=True)
        return np.array([float((a.split()[0] == b.split()[0]) != self.wrong(a, b)) for a, b in both])

    def against(self, documents: Sequence[str]) -> Callable[[str], np.ndarray]:
        def ask(query: str) -> np.ndarray:
            time.sleep(self.wait)
            return self.score([query] * len(documents), documents)

        return ask


def graded(n: int, *, grade: Callable[[bool], float] = float) -> Pairs:
    """Sentences about the same thing or not, whose other words are the same for every second pair."""
    rows = []
    for i in range(n):
        same, shared = i % 2 == 0, (i // 2) % 2 == 0
        a, b = WORDS[i % 10], WORDS[(i if same else i + 1) % 10]
        rows.append((f"{a} of my old bike {i}", f"{b} of my old bike {i}" if shared else f"{b} what else", grade(same)))
    return Pairs(kind="graded", table=pl.DataFrame(rows, schema=["sentence1", "sentence2", "score"], orient="row"))


def test_accuracy_is_that_of_the_threshold_and_told_apart_by_words_in_common() -> None:
    def shared_words(a: str, b: str) -> bool:
        return "bike" in b and b.endswith(("0", "4"))

    found = compare_scorers({"right": Told(), "wrong where shared": Told(shared_words)}, graded(40), graded(80))
    right, other = found.ways["right"], found.ways["wrong where shared"]
    assert right.accuracy.value == right.few_shared.value == right.many_shared.value == 1
    wrong = np.array([shared_words(a, b) for a, b in graded(80).table.select("sentence1", "sentence2").iter_rows()])
    assert 0 < wrong.sum() < 40
    assert other.accuracy.value == 1 - wrong.mean()
    assert other.few_shared.value == 1 > other.accuracy.value > other.many_shared.value
    lead = found.lead("right", "wrong where shared")
    assert lead.value == pytest.approx(wrong.mean())
    assert lead.low > 0
    assert found.overlap[wrong].min() >= np.quantile(found.overlap, 2 / 3)


def test_the_threshold_is_chosen_on_the_dev_rows() -> None:
    class Shifted(Told):
        def score(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
            return super().score(queries, documents) * (0.2 if len(queries) == 40 else 0.6)

    # what is between .2 and .6 on the test rows is above every threshold of the dev rows
    found = compare_scorers({"shifted": Shifted()}, graded(40), graded(80))
    assert 0 < found.ways["shifted"].threshold <= 0.2


def test_time_is_without_what_is_worked_out_beforehand_and_shown() -> None:
    found = compare_scorers({"slow": Told(wait=0.02), "fast": Told()}, graded(40), graded(40), documents=7)
    assert found.ways["slow"].seconds > 0.02 > found.ways["fast"].seconds
    assert found.documents == 7
    text = str(found)
    assert "ms for 7" in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["slow", "fast"]


@pytest.mark.parametrize(("same", "count"), [(None, 20), (5.0, 10), (1.0, 40)])
def test_a_grade_divides_the_rows(same: float | None, count: int) -> None:
    rows = graded(40, grade=lambda yes: 4.0 if yes else 1.0)
    rows = Pairs(
        kind="graded",
        table=rows.table.with_columns(pl.when(pl.int_range(40) % 4 == 0).then(5.0).otherwise("score").alias("score")),
    )
    if count == 40:
        with pytest.raises(DataError, match="40 of 40 mean the same"):
            compare_scorers({"told": Told()}, rows, rows, same=same)
    else:
        middle = (1 + 5) / 2 if same is None else same
        assert decisions(rows, middle, "dev").same.sum() == count
        assert isinstance(compare_scorers({"told": Told()}, rows, rows, same=same), Matching)


def test_of_pairs_the_nearest_other_document_is_the_rival() -> None:
    documents = ["lamp does not shine", "lamp shines all night", "brake is worn", "brake is loose"]
    rows = [("my lamp is dark", documents[0]), ("my lamp is dark", documents[1]), ("brake squeals", documents[2])]
    pairs = Pairs(kind="pairs", table=pl.DataFrame(rows, schema=["query", "positive"], orient="row"))
    made = decisions(pairs, None, "dev")
    assert made.same.tolist() == [True] * 3 + [False] * 3
    assert made.first[3:] == [query for query, _ in rows]
    assert made.second[3:5] == [documents[2]] * 2  # both about lamps are its own
    assert made.second[5] in documents[:2]


def test_two_towers_are_compared_as_they_are() -> None:
    rows = graded(40)
    model = TwoTower(build("ngram", rows.table["sentence1"].to_list(), dimension=8))
    found = compare_scorers({"two towers": model, "told": Told()}, rows, rows)
    a, b = (model.encode(rows.table[name].to_list()) for name in ("sentence1", "sentence2"))
    np.testing.assert_allclose(found.ways["two towers"].similarity, (a.astype(np.float64) * b).sum(1), atol=1e-6)
    np.testing.assert_allclose(Towers(model).against(["lamp", "bell"])("lamp")[0], 1.0, atol=1e-6)


def test_what_cannot_be_compared_is_refused() -> None:
    rows = graded(20)
    pairs = Pairs(kind="pairs", table=pl.DataFrame({"query": ["a", "b"], "positive": ["c", "d"]}))
    classes = Pairs(kind="classes", table=pl.DataFrame({"text": ["a", "b"], "label": ["c", "d"]}))
    with pytest.raises(DataError, match="nothing to compare"):
        compare_scorers({}, rows, rows)
    with pytest.raises(DataError, match="the test rows 'pairs'"):
        compare_scorers({"told": Told()}, rows, pairs)
    with pytest.raises(DataError, match="expected graded or pairs"):
        compare_scorers({"told": Told()}, classes, classes)

    class Broken(Told):
        def score(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
            return super().score(queries, documents) / 0 if len(queries) == 20 else super().score(queries, documents)

    with np.errstate(all="ignore"), pytest.raises(ModelError, match="not finite"):
        compare_scorers({"broken": Broken()}, rows, rows)
