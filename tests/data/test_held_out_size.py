"""How many rows are held out where nobody says."""

from __future__ import annotations

import pytest

from embedfit.data.split import held_out_size


@pytest.mark.parametrize(
    ("rows", "size"),
    [(20, 0.1), (5_000, 0.1), (5_001, 500), (10_003, 500), (50_000, 500), (100_000, 1_000), (10_000_000, 100_000)],
)
def test_a_tenth_of_few_rows_and_less_of_many(rows: int, size: float) -> None:
    assert held_out_size(rows) == size
