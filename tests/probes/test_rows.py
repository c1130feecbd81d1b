from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedfit.probes.rows import distinct, joined, table

BATCHES = {
    "a tuple of tensors": (torch.arange(12).view(4, 3), torch.arange(8.0).view(4, 2)),
    "lists of texts": (["a", "b", "c", "d"], ["e", "f", "g", "h"]),
    "a mapping of mappings": {"query": {"ids": torch.arange(8).view(4, 2)}, "scale": 3.0, "text": ["a", "b", "c", "d"]},
    "a list of examples": [("a", 1), ("b", 2), ("c", 3), ("d", 4)],
    "a list of mappings": [{"q": text, "d": torch.tensor([i])} for i, text in enumerate("abcd")],
    "a list of texts": ["a", "b", "c", "d"],
}


def same(a: object, b: object) -> bool:
    """Whether two batches are equal, tensors included."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_taken_apart_and_put_together_is_the_same(batch):
    whole = table(batch, 4)
    assert whole.columns
    assert same(whole.batch(), batch)
    assert same(whole.take([2, 0, 3, 1]).take([1, 3, 0, 2]).batch(), batch)
    halves = [whole.take([0, 1]), whole.take([2, 3])]
    assert same(joined(halves).batch(), batch)


def test_negatives_behind_the_positives_stay_with_their_rows():
    whole = table({"query": torch.arange(4), "document": torch.arange(8)}, 4)
    assert whole.take([3, 0]).batch()["document"].tolist() == [3, 0, 7, 4]
    assert joined([whole, whole]).columns["document"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]


def test_one_column_can_be_moved_alone():
    whole = table((torch.arange(4), ["a", "b", "c", "d"]), 4)
    assert whole.take([1, 2, 3, 0], only=["1"]).batch()[1] == ["b", "c", "d", "a"]
    assert whole.take([1, 2, 3, 0], only=["1"]).batch()[0].tolist() == [0, 1, 2, 3]


def test_rows_of_different_width_are_filled_up_with_what_short_rows_end_with():
    short, long = torch.tensor([[5, 1], [6, 1], [7, 1]]), torch.tensor([[5, 6, 7, 1], [8, 1, 1, 1], [9, 2, 1, 1]])
    whole = joined([table([short], 3), table([long], 3)])
    assert whole.columns["0"].tolist()[0] == [5, 1, 1, 1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_equal_rows_have_equal_numbers_whatever_they_are_filled_up_to(rows):
    numbers = torch.nn.functional.one_hot(torch.tensor(rows), 5).float()
    padded = torch.nn.functional.pad(numbers, (0, 3))
    found = distinct([numbers], len(rows)).tolist()
    assert found == distinct([padded], len(rows)).tolist() == distinct([[str(r) for r in rows]], len(rows)).tolist()
    assert all((found[i] == found[j]) == (rows[i] == rows[j]) for i in range(len(rows)) for j in range(len(rows)))


def test_batches_that_are_not_alike_are_refused():
    with pytest.raises(ValueError, match="same columns"):
        joined([table({"a": torch.ones(3)}, 3), table({"b": torch.ones(3)}, 3)])
