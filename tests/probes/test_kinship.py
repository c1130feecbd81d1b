from __future__ import annotations

import random

import pytest
import torch

from embedfit.probes.kinship import kinship
from embedfit.probes.rows import keys


def classes(own: bool, n: int = 600, groups: int = 20) -> tuple[list[int], list[int], list[list[int]]]:
    """Members of groups (numbers that are equal modulo `groups`), each with a positive and a negative."""
    draw = random.Random(0)
    members = [list(range(g, n, groups)) for g in range(groups)]
    queries = draw.sample(range(n), n)
    positives = [draw.choice(members[q % groups]) for q in queries]
    shift = 0 if own else 1
    return queries, positives, [[draw.choice(members[(q + shift) % groups]) for q in queries]]


def test_negatives_of_the_own_class_are_found_by_chains_of_pairs():
    found = kinship(*classes(own=True))
    assert found.chained > 0.4
    assert found.chance < 0.1
    assert found.known < 0.2


def test_negatives_of_other_classes_are_no_kin():
    found = kinship(*classes(own=False))
    assert (found.known, found.chained) == (0.0, 0.0)


def test_a_known_positive_and_the_query_itself_are_known():
    found = kinship(["a", "b", "c", "d"], ["1", "2", "3", "4"], [["1", "1", "c", "3"]])
    assert found.known == pytest.approx(0.5)


def test_chains_that_lead_everywhere_lead_from_other_rows_as_well():
    draw = random.Random(0)
    users, items = [draw.randrange(100) for _ in range(2000)], [f"i{draw.randrange(50)}" for _ in range(2000)]
    found = kinship(users, items, [[f"i{draw.randrange(50)}" for _ in range(2000)]])
    assert found.chained == found.chance == 1.0


@pytest.mark.parametrize("width", [6, 8, 15, 16, 20, 31, 40])
def test_a_row_is_known_again_however_wide_it_is_filled_up(width: int) -> None:
    row = torch.tensor([101, 5, 7, 9, 102])
    filled = torch.zeros(2, width, dtype=torch.long)
    filled[0, :5] = row
    narrow = keys([row[None]], 1)
    assert keys([filled], 2)[0] == narrow[0]
    assert keys([filled], 2)[1] != narrow[0]
