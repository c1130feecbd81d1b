"""The company that words keep, against tables and rows that are made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedfit.probes.vocabulary import Coherence, coherence, is_trained

G = torch.Generator().manual_seed(0)
TOPIC = torch.arange(600) % 40


def rows(related: bool = True, count: int = 400) -> list[torch.Tensor]:
    about = torch.randint(40, (count, 1), generator=G)
    words = about + 40 * torch.randint(15, (count, 5), generator=G)
    return list(words if related else torch.randint(600, (count, 5), generator=G))


def weight(knows: float) -> torch.Tensor:
    return knows * torch.randn(40, 24, generator=G)[TOPIC] + torch.randn(600, 24, generator=G)


def found(given: list[torch.Tensor], table: torch.Tensor) -> Coherence:
    result = coherence(given, given, table)
    assert result is not None
    return result


def test_related_words_are_seen_by_a_table_that_knows_them_and_by_the_rows_alone() -> None:
    known, strange = found(rows(), weight(1.0)), found(rows(), weight(1.0)[torch.randperm(600, generator=G)])
    assert known.table > 10
    assert strange.table < 3
    assert min(known.data, strange.data) > 10
    assert known.things > 300


def test_words_that_keep_no_company_give_standard_normal_numbers() -> None:
    drawn = [found(rows(related=False, count=200), weight(1.0)) for _ in range(24)]
    assert abs(float(np.mean([c.data for c in drawn]))) < 0.8
    assert max(abs(c.data) for c in drawn) < 4
    assert max(c.table for c in drawn) < 4


def test_words_of_most_rows_do_not_count() -> None:
    shared = [torch.cat([row, torch.tensor([0, 1, 2])]) for row in rows(related=False)]
    table = weight(1.0)
    table[:3] = 5.0  # three words that are alike, in every row
    assert abs(found(shared, table).table) < 4


def test_too_few_rows_say_nothing() -> None:
    assert coherence(rows(count=60), rows(count=60), weight(1.0)) is None
    assert coherence([], [], weight(1.0)) is None


@pytest.mark.parametrize(("common", "trained"), [(0.0, False), (0.5, True)])
def test_a_trained_table_has_a_common_direction(common: float, trained: bool) -> None:
    assert is_trained(torch.randn(2000, 16, generator=G) + common) is trained
