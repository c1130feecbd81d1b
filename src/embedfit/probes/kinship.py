"""Whether a row's own negatives are kin of its query: known positives of it, by one pair or by a chain of pairs."""

from __future__ import annotations

__all__ = ["Kinship", "kinship"]

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinship:
    """What pairs say of negatives.

    Attributes:
        known: share of the negatives that are a known positive of their query, or the query itself.
        chained: share that a chain of pairs leads to: a positive of a query that shares a positive with it, and so on.
        chance: the same of negatives dealt to other rows; near one where chains lead everywhere and mean nothing.
    """

    known: float
    chained: float
    chance: float


def kinship(
    queries: Sequence[Hashable], positives: Sequence[Hashable], negatives: Sequence[Sequence[Hashable]]
) -> Kinship:
    """Look negatives up among the pairs.

    Args:
        queries: what tells the query of each row apart.
        positives: ditto its document.
        negatives: ditto its first negative, its second one, and so on; each has as many entries as there are rows.
    """
    pairs = set(zip(queries, positives, strict=True)) | {(q, q) for q in queries}
    above: dict[Hashable, Hashable] = {}
    for query, positive in zip(queries, positives, strict=True):
        above[_top(above, query)] = _top(above, positive)
    order = torch.randperm(len(queries), generator=torch.Generator().manual_seed(0)).tolist()
    own = [(q, n) for column in negatives for q, n in zip(queries, column, strict=True)]
    other = [(queries[i], n) for column in negatives for i, n in zip(order, column, strict=True)]
    known = sum(pair in pairs for pair in own)
    chained, chance = (sum(_top(above, q) == _top(above, n) for q, n in meetings) for meetings in (own, other))
    total = max(1, len(own))
    return Kinship(known=known / total, chained=chained / total, chance=chance / total)


def _top(above: dict[Hashable, Hashable], one: Hashable) -> Hashable:
    """The eldest of a family; the way there is made shorter on the way."""
    while (parent := above.get(one, one)) != one:
        above[one] = above.get(parent, parent)
        one = parent
    return one
