"""Documents that are drawn, and how likely each was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.negatives import Drawn, InBatch, Mixed, carried, log_chances


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


def test_the_probability_of_a_document_is_how_often_it_is_brought() -> None:
    """Against counting: 2 of 6 examples, 3 of 7 documents drawn besides, which some batches hold already."""
    positive, negatives = torch.tensor([0, 0, 0, 1, 4, 5]), torch.tensor([[2], [-1], [2], [3], [-1], [-1]])
    expected = log_chances(carried(7, positive, negatives), 2 / 6, drawn=3 / 7).exp()
    generator, counts = numbers(3), torch.zeros(7)
    for _ in range(4000):
        rows = torch.randperm(6, generator=generator)[:2]
        own = [int(j) for j in [*positive[rows].tolist(), *negatives[rows, 0].tolist()] if j >= 0]
        drawn = torch.randperm(7, generator=generator)[:3].tolist()
        counts += torch.bincount(torch.tensor([*own, *drawn]), minlength=7).clamp(max=1)
    # dealt without repetition, three of six are missed by two less often than with it: .2 against .3
    rare = torch.tensor([1, 3, 4, 5, 6])
    torch.testing.assert_close(counts[rare] / 4000, expected[rare], atol=0.03, rtol=0)
    assert float(counts[0]) / 4000 == pytest.approx(1 - 0.2 * 4 / 7, abs=0.03)
    assert float(log_chances(carried(7, positive, negatives), 1.0)[0]) == 0.0
