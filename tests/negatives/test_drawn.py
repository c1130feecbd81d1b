"""Documents that are drawn, and how likely each was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.negatives import Drawn, InBatch, Mixed, shares


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_is_brought_where_the_batch_is_enough() -> None:
    brought = InBatch().bring(torch.arange(5), numbers(0))
    assert brought.own.shape == (5, 0)
    assert brought.shared.numel() == 0


def test_the_same_numbers_draw_the_same_documents_and_others_draw_others() -> None:
    way, rows = Drawn(1000, 4), torch.arange(8)
    assert torch.equal(way.bring(rows, numbers(1)).own, way.bring(rows, numbers(1)).own)
    assert not torch.equal(way.bring(rows, numbers(1)).own, way.bring(rows, numbers(2)).own)


@settings(max_examples=25)
@given(documents=st.integers(1, 60), count=st.integers(1, 80), seed=st.integers(0, 99))
def test_documents_for_all_are_different_and_as_many_as_there_are(documents: int, count: int, seed: int) -> None:
    shared = Mixed(documents, count).bring(torch.arange(3), numbers(seed)).shared
    assert len(set(shared.tolist())) == len(shared) == min(documents, count)
    assert 0 <= int(shared.min()) <= int(shared.max()) < documents


def test_the_probability_of_a_document_is_its_share_of_what_is_drawn() -> None:
    """Against counting: batches of one example each, 5 documents, 2 drawn uniformly for each query."""
    positive, negatives = torch.tensor([0, 0, 0, 1]), torch.tensor([[2], [-1], [2], [3]])
    expected = shares(5, positive, negatives, uniform=2.0)
    generator, counts = numbers(3), torch.zeros(5)
    for _ in range(4000):
        row = int(torch.randint(4, (), generator=generator))
        drawn = [int(positive[row]), *[int(j) for j in negatives[row] if j >= 0]]
        drawn += torch.randint(5, (2,), generator=generator).tolist()
        counts += torch.bincount(torch.tensor(drawn), minlength=5)
    assert float(expected.sum()) == pytest.approx(1.0)
    torch.testing.assert_close(counts / counts.sum(), expected, atol=0.01, rtol=0)
