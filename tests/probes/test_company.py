"""Embeddings in other company, against towers whose dependence is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from embedfit.probes.company import agreement, trimmed
from embedfit.probes.rows import Table, table

WORDS = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
ROWS = 24


def ids(pad: int = 0, width: int = 12, unknown: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(1)
    words = torch.randint(2, 60, (ROWS, width), generator=g)
    lengths = torch.randint(2, width - 1, (ROWS, 1), generator=g)
    words[:, 1] = unknown or words[:, 1]
    return words.masked_fill(torch.arange(width) >= lengths, pad)


def batch(pad: int = 0, unknown: int = 0) -> Table:
    words = ids(pad, unknown=unknown)
    return table({"ids": words, "mask": (words != pad).long()}, ROWS)


def masked(x: dict[str, Tensor]) -> Tensor:
    mask = x["mask"][..., None].float()
    return (WORDS[x["ids"]] * mask).sum(1) / mask.sum(1)


def unmasked(x: dict[str, Tensor]) -> Tensor:
    return WORDS[x["ids"]].mean(1)


def last(x: dict[str, Tensor]) -> Tensor:
    return WORDS[x["ids"][:, -1]] + 0.1 * masked(x)


def centred(x: dict[str, Tensor]) -> Tensor:
    out = masked(x)
    return out - out.mean(0)


def sorted_by_length(x: dict[str, Tensor]) -> Tensor:
    """Packs the longest first, and forgets to put rows back."""
    return masked(x)[x["mask"].sum(1).argsort(descending=True, stable=True)]


@pytest.mark.parametrize(
    ("tower", "dependent"),
    [
        (masked, set()),
        (unmasked, {"padding"}),
        (last, {"padding"}),
        (centred, {"alone"}),
        (sorted_by_length, {"alone", "place"}),
    ],
)
def test_each_kind_of_dependence_is_told_from_the_others(tower: Callable[..., Tensor], dependent: set[str]) -> None:
    found = agreement(lambda given: [tower(given)], batch())
    assert set(found) == {"alone", "place", "padding"}
    assert {name for name, apart in found.items() if apart > 1e-3} - {"padding"} == dependent - {"padding"}
    assert (found["padding"] > 1e-3) is ("padding" in dependent)


def test_padding_is_known_by_its_value_whatever_that_is_and_unknown_words_do_not_hide_it() -> None:
    for rows in (batch(pad=1), batch(pad=1, unknown=1)):
        assert agreement(lambda given: [unmasked(given)], rows)["padding"] > 1e-3
    cut = trimmed(batch(pad=1).take([0, 1]), like=batch(pad=1))
    assert cut is not None
    assert cut.columns["ids"].shape == cut.columns["mask"].shape
    assert not bool((torch.as_tensor(cut.columns["mask"])[:, -1] == 0).all())


@pytest.mark.parametrize(
    "column",
    [
        torch.randint(0, 2, (ROWS, 40), generator=torch.Generator().manual_seed(2)) * 7,  # pixels, many of them empty
        torch.randint(1, 9, (ROWS, 5), generator=torch.Generator().manual_seed(2)),  # five categories
        torch.randn(ROWS, 12, generator=torch.Generator().manual_seed(2)),  # numbers
        torch.randint(1, 9, (ROWS, 2), generator=torch.Generator().manual_seed(2)),  # an id and its kind
    ],
)
def test_what_is_no_padding_is_not_cut(column: Tensor) -> None:
    rows = table({"x": column}, ROWS)
    assert trimmed(rows.take([0, 1, 2]), like=rows) is None


def test_texts_are_embedded_alone_and_among_longer_ones() -> None:
    def embed(texts: list[str]) -> Any:
        width = max(map(len, texts))
        numbers = torch.tensor([[ord(c) % 60 for c in text.ljust(width)] for text in texts])
        return [WORDS[numbers].mean(1)]

    texts = ["ab", "cd ef", *["a rather long text " * k for k in range(1, 8)]]
    rows = Table(rows=len(texts), columns={"": texts}, frame=table(texts, len(texts)).frame)
    found = agreement(embed, rows)
    assert found["alone"] > 1e-3
    assert found["place"] < 1e-6


def test_a_model_that_takes_one_size_only_is_asked_what_it_can_answer() -> None:
    def whole(given: dict[str, Tensor]) -> list[Tensor]:
        if len(given["ids"]) != ROWS or given["ids"].shape[1] != 12:
            raise ValueError("one size only")
        return [masked(given)]

    assert set(agreement(whole, batch())) == {"place"}
