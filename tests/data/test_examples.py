"""Pairs to examples and batches: nothing lost, identities right, random choices replayable."""

from __future__ import annotations

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedfit.data.batches import batch, order, rows_of, steps_per_epoch
from embedfit.data.examples import examples
from embedfit.errors import DataError
from embedfit.pairs import Pairs
from embedfit.types import Tokens


def pairs(rows: list[tuple[str, str]], **more: list[str | None]) -> Pairs:
    table = pl.DataFrame({"query": [r[0] for r in rows], "positive": [r[1] for r in rows], **more})
    return Pairs(kind="pairs", table=table)


def classes(rows: list[tuple[str, str]]) -> Pairs:
    return Pairs(kind="classes", table=pl.DataFrame({"text": [r[0] for r in rows], "label": [r[1] for r in rows]}))


def numbered(texts: list[str]) -> Tokens:
    """Each text is one token: its own number."""
    return Tokens.of([[i] for i in range(len(texts))])


def test_distinct_texts_stand_once_and_equal_after_normalisation_means_equal_identity() -> None:
    data = examples(pairs([("Hi there", "A"), ("hi  there!", "B"), ("Hi there", "B")]))
    assert data.query_texts == ["Hi there", "hi  there!"]
    assert data.query_id[0] == data.query_id[1]
    assert data.document_id[0] != data.document_id[1]
    assert data.query.tolist() == [0, 1, 0]
    assert data.positive.tolist() == [0, 1, 1]


def test_missing_negatives_are_left_out_of_the_batch_and_shared_documents_stand_once() -> None:
    data = examples(
        pairs([("q", "A"), ("r", "A"), ("s", "B")], negative_1=["B", None, "C"], negative_2=[None, None, "A"])
    )
    made = batch(data, numbered(data.query_texts), numbered(data.document_texts), torch.tensor([0, 1]))
    texts = [data.document_texts[i] for i in made.document.ids]
    assert sorted(texts) == ["A", "B"]
    assert [texts[i] for i in made.positive] == ["A", "A"]


def test_prototypes_meet_every_class_in_every_batch() -> None:
    data = examples(classes([("a", "x"), ("b", "y"), ("c", "z"), ("d", "x")]))
    made = batch(data, numbered(data.query_texts), numbered(data.document_texts), torch.tensor([3, 1]))
    assert [data.document_texts[i] for i in made.document.ids] == ["x", "y", "z"]
    assert made.positive.tolist() == [0, 1]
    assert not set(made.document_id.tolist()) & set(made.query_id.tolist())


def test_partners_are_other_texts_of_the_same_class_unless_there_is_none() -> None:
    rows = [(f"{label}{i}", label) for label, n in (("x", 5), ("y", 2), ("z", 1)) for i in range(n)]
    data = examples(classes(rows), prototypes=False)
    for step in range(20):
        rows_ = torch.arange(len(data))
        made = batch(data, numbered(data.query_texts), numbered(data.document_texts), rows_, draw=(0, step))
        partner = [data.document_texts[made.document.ids[p]] for p in made.positive]
        own = [data.query_texts[i] for i in data.query]
        assert all(p[0] == o[0] for p, o in zip(partner, own, strict=True))
        assert [p == o for p, o in zip(partner, own, strict=True)] == [o == "z0" for o in own]


def test_a_text_of_two_classes_has_partners_of_each_in_the_example_of_that_class() -> None:
    rows = [("both", "x"), ("x1", "x"), ("x2", "x"), ("y1", "y"), ("y2", "y"), ("both", "y")]
    data = examples(classes(rows), prototypes=False)
    assert sorted(zip(data.document_texts, data.document_group.tolist(), strict=True)) == [
        ("both", 0), ("both", 1), ("x1", 0), ("x2", 0), ("y1", 1), ("y2", 1),
    ]  # fmt: skip
    assert data.document_id[0] == data.document_id[-1] == data.query_id[0]
    met: dict[str, set[str]] = {"x": set(), "y": set()}
    for step in range(40):
        made = batch(
            data, numbered(data.query_texts), numbered(data.document_texts), torch.arange(len(data)), draw=(0, step)
        )
        for (text, label), place in zip(rows, made.positive, strict=True):
            met[label] |= {data.document_texts[made.document.ids[place]]} if text == "both" else set()
    assert met == {"x": {"x1", "x2"}, "y": {"y1", "y2"}}


ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), min_size=2, max_size=20).filter(
    lambda rows: len({label for _, label in rows}) > 1
)


@given(rows=ROWS, step=st.integers(0, 5))
def test_every_row_takes_part_with_a_partner_of_its_own_class_whatever_other_classes_its_text_has(
    rows: list[tuple[str, str]], step: int
) -> None:
    data = examples(classes(rows), prototypes=False)
    assert len(data) == len(rows)
    every = torch.arange(len(data))
    made = batch(data, numbered(data.query_texts), numbered(data.document_texts), every, draw=(3, step))
    assert torch.equal(made.document_group[made.positive], made.query_group)
    for (text, label), place in zip(rows, made.positive, strict=True):
        partner = data.document_texts[made.document.ids[place]]
        assert (partner, label) in rows
        assert partner != text or rows.count((text, label)) > 1 or [c for _, c in rows].count(label) == 1
    met = list(zip(made.document.ids.tolist(), made.document_group.tolist(), strict=True))
    assert len(set(met)) == len(met)


def test_texts_of_one_class_each_stand_once_in_the_order_of_the_rows() -> None:
    data = examples(classes([("a", "x"), ("b", "y"), ("a", "x"), ("c", "x")]), prototypes=False)
    assert data.document_texts == data.query_texts == ["a", "b", "c"]
    assert data.positive.tolist() == data.query.tolist() == [0, 1, 0, 2]
    assert torch.equal(data.document_id, data.query_id)


@given(count=st.integers(1, 200), size=st.integers(1, 64), seed=st.integers(0, 3), epoch=st.integers(0, 2))
def test_an_epoch_meets_every_example_once_in_batches_of_nearly_equal_size(
    count: int, size: int, seed: int, epoch: int
) -> None:
    steps = steps_per_epoch(count, size)
    parts = [rows_of(epoch * steps + i, count, batch_size=size, seed=seed) for i in range(steps)]
    assert sorted(torch.cat(parts).tolist()) == list(range(count))
    sizes = [len(p) for p in parts]
    assert max(sizes) - min(sizes) <= 1


def test_every_epoch_has_another_order_and_the_same_seed_the_same() -> None:
    assert not torch.equal(order(50, seed=0, epoch=0), order(50, seed=0, epoch=1))
    assert not torch.equal(order(50, seed=0, epoch=0), order(50, seed=1, epoch=0))
    order.cache_clear()
    first = order(50, seed=0, epoch=0)
    order.cache_clear()
    assert torch.equal(first, order(50, seed=0, epoch=0))


def test_a_collection_becomes_pairs_of_its_relevant_judgements() -> None:
    table = pl.DataFrame(
        {
            "query_id": ["1", "1", "2"],
            "query": ["q", "q", "r"],
            "document_id": ["a", "b", "b"],
            "relevance": [1.0, 0.0, 2.0],
        }
    )
    corpus = pl.DataFrame({"document_id": ["a", "b"], "document": ["A", "B"]})
    data = examples(Pairs(kind="collection", table=table, corpus=corpus))
    got = [(data.query_texts[q], data.document_texts[d]) for q, d in zip(data.query, data.positive, strict=True)]
    assert got == [("q", "A"), ("r", "B")]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (pairs([("q", "A")]), "has 1 row"),
        (pairs([("q", "A"), ("r", " a ")]), "same document"),
        (classes([("a", "x"), ("b", "x")]), "label 'x'"),
        (
            Pairs(
                kind="graded",
                table=pl.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, 1.0]}),
            ),
            "scores of in-memory rows are 1",
        ),
        (
            Pairs(
                kind="graded",
                table=pl.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, float("nan")]}),
            ),
            "no finite numbers",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused(made: Pairs, says: str) -> None:
    with pytest.raises(DataError, match=says):
        examples(made)
