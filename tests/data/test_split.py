from __future__ import annotations

from collections import Counter
from contextlib import nullcontext, suppress

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfit.data import leakage, read, split
from embedfit.errors import DataError
from embedfit.pairs import Pairs, normalise

WORD = st.text("abAB ?", min_size=1, max_size=3).filter(str.strip)


def pairs_of(queries: list[str]) -> Pairs:
    return Pairs(
        kind="pairs", table=pl.DataFrame({"query": queries, "positive": [f"p{i}" for i in range(len(queries))]})
    )


def classes_of(rows: list[tuple[str, str]]) -> Pairs:
    return Pairs(kind="classes", table=pl.DataFrame(rows, schema=["text", "label"], orient="row"))


def graded_of(rows: list[tuple[str, str]]) -> Pairs:
    table = pl.DataFrame(rows, schema=["sentence1", "sentence2"], orient="row").with_columns(score=pl.lit(1.0))
    return Pairs(kind="graded", table=table)


@given(st.lists(WORD, min_size=2, max_size=20), st.floats(0.05, 0.9), st.integers(-3, 3))
def test_no_row_is_lost_and_no_query_is_on_both_sides(queries, dev, seed):
    pairs = pairs_of(queries)
    distinct = {normalise(q) for q in queries}
    if len(distinct) < 2:
        with pytest.raises(
            DataError, match=r"nothing can be held out: .* rows have 1 different queries; expected at least 2"
        ):
            split(pairs, dev=dev, seed=seed)
        return
    train, held = split(pairs, dev=dev, seed=seed)
    assert sorted(train.table.rows() + held.table.rows()) == sorted(pairs.table.rows())
    assert len(train)
    assert len(held)
    assert leakage(train, held) == 0.0
    order = pairs.table["positive"].to_list()
    assert held.table["positive"].to_list() == sorted(held.table["positive"].to_list(), key=order.index)


@given(st.lists(WORD, min_size=4, max_size=20), st.randoms())
def test_the_division_does_not_depend_on_the_order_of_rows(queries, random):
    if len({normalise(q) for q in queries}) < 2:
        return
    shuffled = random.sample(queries, len(queries))
    held = [sorted(split(pairs_of(q), dev=0.3, seed=1)[1].table["query"].to_list()) for q in (queries, shuffled)]
    assert held[0] == held[1]


def test_the_seed_decides_and_the_share_is_met():
    pairs = pairs_of([f"question {i}" for i in range(1000)])
    first, again, other = (split(pairs, dev=0.1, seed=s)[1].table["query"].to_list() for s in (0, 0, 1))
    assert first == again != other
    assert len(first) == 100
    assert len(split(pairs, dev=37)[1]) == 37


def test_new_rows_move_few_old_ones():
    queries = [f"question {i}" for i in range(1000)]
    before = set(split(pairs_of(queries))[1].table["query"])
    after = set(split(pairs_of([*queries, *(f"new {i}" for i in range(100))]))[1].table["query"])
    assert len(before - after) < 20


def test_repeated_queries_count_with_all_their_rows():
    pairs = pairs_of(["often"] * 50 + [f"once {i}" for i in range(50)])
    train, held = split(pairs, dev=0.2)
    assert len(held) == 20
    assert "often" in set(train.table["query"])


@given(st.lists(st.tuples(WORD, st.sampled_from("xyz")), min_size=1, max_size=25), st.floats(0.05, 0.95))
def test_every_class_keeps_a_text_in_training(rows, dev):
    pairs = classes_of(rows)
    texts = {(normalise(t), label) for t, label in rows}
    sizes = Counter(label for _, label in texts)
    if max(sizes.values()) == 1:
        with pytest.raises(DataError, match="every class keeps at least one in training"):
            split(pairs, dev=dev)
        return
    with suppress(DataError) if len(texts) > len({text for text, _ in texts}) else nullcontext():
        _check_classes(split(pairs, dev=dev), texts, sizes)


def _check_classes(sides: tuple[Pairs, Pairs], texts: set[tuple[str, str]], sizes: Counter[str]) -> None:
    train, held = sides
    assert leakage(train, held) == 0.0
    assert {normalise(t) for t, _ in train.table.rows()}.isdisjoint(normalise(t) for t, _ in held.table.rows())
    assert set(train.table["label"]) == {label for _, label in texts}
    assert all(sizes[label] > 1 for label in held.table["label"])


def test_a_text_of_two_classes_stays_in_training():
    train, held = split(classes_of([("?a", "x"), ("b", "x"), ("b", "y")]), dev=1)
    assert held.table.rows() == [("?a", "x")]
    assert len(train) == 2


def test_classes_are_held_out_in_proportion():
    rows = [(f"{label} {i}", label) for label, n in (("a", 1000), ("b", 100), ("c", 20), ("d", 1)) for i in range(n)]
    _, held = split(classes_of(rows), dev=0.1)
    count = Counter(held.table["label"])
    assert abs(count["a"] - 100) <= 2
    assert abs(count["b"] - 10) <= 1
    assert abs(count["c"] - 2) <= 1
    assert count["d"] == 0


def test_classes_of_one_text_cannot_be_divided():
    with pytest.raises(
        DataError, match="3 different texts, and every class keeps at least one in training\nhint: give more"
    ):
        split(classes_of([("a", "x"), ("b", "y"), ("c", "z")]))


def test_graded_pairs_that_share_a_sentence_stay_together():
    rows = [(f"s{i}", f"t{i}") for i in range(100)] + [(f"T{i}!", f"u{i}") for i in range(100)]
    train, held = split(graded_of(rows), dev=40)
    assert len(held) == 40
    assert leakage(train, held) == 0.0
    assert "the same sentence is never on both sides" in train.binding.notes[-1]


def test_widely_shared_sentences_go_to_training():
    rows = [("hub", f"h{i}") for i in range(30)] + [(f"s{i}", f"t{i}") for i in range(100)]
    train, held = split(graded_of(rows), dev=0.2)
    assert "hub" not in set(held.table["sentence1"])
    assert leakage(train, held) == 0.0
    assert "23% of the rows share sentences widely: to train" in train.binding.notes[-1]


def test_where_everything_hangs_together_equal_pairs_do():
    chain = [(f"s{i}", f"s{i + 1}") for i in range(100)]
    train, held = split(graded_of([*chain, *((b.upper(), a) for a, b in chain)]), dev=0.2)
    assert "the same pair is never on both sides, single sentences are: they tie 100%" in held.binding.notes[-1]
    assert len(held) == 40
    both = [{frozenset((a.lower(), b.lower())) for a, b, _ in side.table.rows()} for side in (train, held)]
    assert both[0].isdisjoint(both[1])
    assert leakage(train, held) > 0.5


def test_a_collection_is_divided_by_query_and_keeps_its_corpus():
    table = pl.DataFrame(
        {
            "query_id": ["1", "1", "2", "3"],
            "query": ["a", "a", "A?", "b"],
            "document_id": ["x"] * 4,
            "relevance": [1.0] * 4,
        }
    )
    pairs = Pairs(kind="collection", table=table, corpus=pl.DataFrame({"document_id": ["x"], "document": ["d"]}))
    train, held = split(pairs, dev=1)
    assert held.table["query"].to_list() == ["b"]
    assert train.corpus is held.corpus is pairs.corpus


@pytest.mark.parametrize("dev", [0.0, 1.0, -0.1, 1.5, float("nan"), 0, 5, -1, True])
def test_a_share_out_of_range_is_refused(dev):
    with pytest.raises(
        DataError, match=r"of 5 rows is not possible; expected a share between 0 and 1 or .* from 1 to 4\nhint"
    ):
        split(pairs_of(list("abcde")), dev=dev)


def test_leakage_is_the_share_of_held_out_queries_seen_in_training():
    train, held = pairs_of(["How?", "why", "when"]), pairs_of([" how", "WHY!", "where", "who"])
    assert leakage(train, held) == 0.5
    assert leakage(train, pairs_of(["x"]).take([])) == 0.0
    assert leakage(graded_of([("a", "b")]), graded_of([("c", "A."), ("d", "e")])) == 0.5


def test_notes_of_the_source_stay():
    pairs = read([{"text": t, "label": "x", "other": 1} for t in "abc"])
    train, _ = split(pairs, dev=1)
    assert dict(train.binding) == {"text": "text", "label": "label"}
    assert train.binding.unused == ("other",)
    assert train.binding.notes == ("split: 2 rows to train on, 1 held out; the same text is never on both sides",)
