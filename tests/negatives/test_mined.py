"""Mined documents against a naive search, and what sieves let through."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from embedfit.negatives import Mined, Search, Sieve


def unit(count: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)


QUERY, DOCUMENT = unit(7, 0), unit(30, 1)
TEXT, POSITIVE = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0]), torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
NEVER = torch.tensor([8, 11])  # documents in doubt for every query


def mined(sieve: Sieve, *, depth: int = 5, skip: int = 0, each: int = 3) -> Mined:
    made = Mined(TEXT, POSITIVE, lambda rows, found: torch.isin(found, NEVER),
                 search=Search(each=each, depth=depth, skip=skip, every=4), sieve=sieve)  # fmt: skip
    made.refresh(0, lambda: (QUERY * 3, DOCUMENT * 0.5))  # lengths play no part
    return made


@pytest.mark.parametrize(
    ("sieve", "skip"),
    [(Sieve(), 0), (Sieve(), 2), (Sieve(kind="margin", amount=0.1), 0), (Sieve(kind="share", amount=0.9), 1)],
)
def test_what_is_found_is_what_a_naive_search_finds(sieve: Sieve, skip: int) -> None:
    made = mined(sieve, skip=skip)
    for example, (text, own) in enumerate(zip(TEXT.tolist(), POSITIVE.tolist(), strict=True)):
        cosine = (QUERY[text].double() @ DOCUMENT.double().T).tolist()
        nearest = sorted(range(30), key=lambda j: -cosine[j])[skip : skip + 5]
        limit = {"none": 2.0, "margin": cosine[own] - 0.1,
                 "share": cosine[own] * (0.9 if cosine[own] > 0 else 1 / 0.9)}[sieve.kind]  # fmt: skip
        left = [j for j in nearest if j != own and j not in NEVER.tolist() and cosine[j] <= limit]
        found = made.pool[example].tolist()
        assert [j for j in found if j >= 0] == left
        assert found == left + [-1] * (5 - len(left))


def test_a_teacher_is_asked_in_place_of_the_model() -> None:
    teacher = (torch.eye(7), torch.zeros(30, 7))
    teacher[1][:, 0] = 1.0  # for the teacher every document is query 0's own, as near as its positive
    made = mined(Sieve(kind="share", amount=0.9, teacher=teacher))
    assert (made.pool[[0, 7]] == -1).all()
    assert (made.pool[1] >= 0).any()


def test_what_is_brought_is_drawn_from_what_was_found_and_differs_from_step_to_step() -> None:
    made = mined(Sieve(), depth=12)
    rows = torch.tensor([2, 5])
    draws = [made.bring(rows, torch.Generator().manual_seed(s)).own for s in range(8)]
    for own in draws:
        for example, brought in zip(rows.tolist(), own.tolist(), strict=True):
            assert set(brought) <= set(made.pool[example].tolist())
            assert len(set(brought)) == 3
            assert -1 not in brought
    assert len({tuple(own.flatten().tolist()) for own in draws}) > 1


def test_fewer_are_brought_where_the_sieve_left_fewer() -> None:
    made = mined(Sieve(kind="margin", amount=1.9))
    assert (made.bring(torch.arange(8), torch.Generator().manual_seed(0)).own == -1).all()
    assert made.facts()["negatives.kept"] == 0.0


def test_a_search_is_made_every_so_many_steps_and_survives_a_checkpoint() -> None:
    made, other = mined(Sieve()), mined(Sieve(kind="margin", amount=1.9))
    for step in range(1, 9):
        made.refresh(step, lambda: (QUERY, DOCUMENT))
    assert made.facts()["negatives.searches"] == 3
    other.load({name: value.clone() for name, value in made.state().items()})
    assert torch.equal(other.pool, made.pool)
    assert other.facts()["negatives.searches"] == 3
