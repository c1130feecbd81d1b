"""Whether ids and the table that is looked up with them belong together, by the company that words keep.

Axes: n rows of ids, v rows of the table, e coordinates.
"""

from __future__ import annotations

__all__ = ["Coherence", "coherence", "is_trained"]

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

COMMON = 0.02
"""Share of the rows above which a word says nothing of its row: function words, padding, separators."""
LEAST = 40  # rows with two words or more that are not common
WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Coherence:
    """How much more alike words are that occur together.

    Attributes:
        table: by the table's vectors, in standard errors, in a text or in all texts about a thing, whichever is more.
        data: by what the rows themselves say of their words: vectors learned from one half of the rows, tried on the
            other; high where words keep company at all.
        things: whose words were compared.
    """

    table: float
    data: float
    things: int


def is_trained(weight: Float[Tensor, "v e"]) -> bool:
    """Whether a table's rows have a common direction, as trained ones have and fresh ones have not."""
    common = normalize(weight.detach().double(), dim=1).mean(0).norm()
    return bool(common > 5 / math.sqrt(len(weight)))


@torch.no_grad()
def coherence(
    rows: Sequence[Int[Tensor, " _"]], things: Sequence[Int[Tensor, " _"]], weight: Float[Tensor, "v e"]
) -> Coherence | None:
    """Compare words that occur together with words dealt anew, by the table and by the rows themselves.

    Args:
        rows: ids of each text.
        things: ids of all texts about one thing, under each other: few texts hold more pairs of words this way.
        weight: the table.

    Returns:
        None where too few rows or things have two words that are not common.
    """
    texts, abouts = _uncommon(rows, len(weight)), _uncommon(things, len(weight))
    half = len(texts) // 2
    if half < LEAST or len(abouts) < LEAST:
        return None
    learned = torch.zeros(len(weight), WIDTH, dtype=torch.float64)
    marks = torch.randn(half, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, mark in zip(texts[:half], marks, strict=True):
        learned[row] += mark
    known = learned.any(1)
    tried = [row for row in (row[known[row]] for row in texts[half:]) if len(row) > 1]
    if len(tried) < LEAST:
        return None
    vectors = weight.detach().double().cpu()
    return Coherence(
        # texts whose documents are not theirs keep their own company
        table=max(_together(given, vectors - vectors[torch.cat(given).unique()].mean(0)) for given in (abouts, texts)),
        data=_together(tried, learned), things=len(abouts),
    )  # fmt: skip


def _uncommon(rows: Sequence[Int[Tensor, " _"]], words: int) -> list[Int[Tensor, " _"]]:
    """Rows without the words that most rows have, and without those that no other row has; of two words at least."""
    each = [row.unique().long() for row in rows]
    if not each:
        return []
    seen = torch.bincount(torch.cat(each), minlength=words)
    kept = (seen > 1) & (seen <= max(2.0, COMMON * len(each)))
    return [row for row in (row[kept[row]] for row in each) if len(row) > 1]


def _together(rows: Sequence[Int[Tensor, " _"]], vectors: Float[Tensor, "v e"]) -> float:
    """Excess of the mean cosine within rows over that of words dealt to rows anew, in standard errors."""
    units = normalize(vectors, dim=1)
    flat = torch.cat(list(rows))
    dealt = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(1))].split([len(r) for r in rows])
    excess = torch.stack([_mean_cosine(units[a]) - _mean_cosine(units[b]) for a, b in zip(rows, dealt, strict=True)])
    error = float(excess.std()) / math.sqrt(len(excess))
    return float(excess.mean()) / error if error > 0 else 0.0


def _mean_cosine(units: Float[Tensor, "_ e"]) -> Tensor:
    total = units.sum(0).square().sum() - units.square().sum()
    return total / (len(units) * (len(units) - 1))
