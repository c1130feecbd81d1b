"""What a search finds before and after a move: old queries on old vectors, new on new, new on migrated.

Axes: n items, q queries, a dimensions of the old space, e of the new one.
"""

from __future__ import annotations

__all__ = ["Search", "search_quality"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors

from embedfit.align.quality import places
from embedfit.align.spaces import groups_of

K = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Held-out items as queries, all others as documents.

    Attributes:
        queries: how many.
        documents: how many.
        own: recall@1 of each query's own migrated vector, among those of all items.
        own_at_10: recall@10 of the same.
        agreement: share of the first ten that are those of new queries on new vectors: of the old vectors, and of the
            migrated ones.
        accuracy: share of the queries whose first document has their label: old, new, migrated; none without labels.
    """

    queries: int
    documents: int
    own: float
    own_at_10: float
    agreement: tuple[float, float]
    accuracy: tuple[float, float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        out: dict[str, Any] = {
            "queries": self.queries,
            "documents": self.documents,
            "own/recall@1": self.own,
            "own/recall@10": self.own_at_10,
            "agreement@10/old": self.agreement[0],
            "agreement@10/migrated": self.agreement[1],
        }
        if self.accuracy is not None:
            out |= {f"accuracy@1/{name}": v for name, v in zip(("old", "new", "migrated"), self.accuracy, strict=True)}
        return out


def search_quality(
    old: Float[np.ndarray, "n a"],
    new: Float[np.ndarray, "n e"],
    migrated: Float[np.ndarray, "n e"],
    *,
    queries: Int[np.ndarray, " q"],
    labels: Int[np.ndarray, " n"] | None = None,
    cosine: bool = True,
) -> Search:
    """Search with some items among all others, in each of the three ways.

    Args:
        old: all items in the old space, scaled as they are compared.
        new: all items in the new space.
        migrated: all items, mapped from the old space to the new one.
        queries: the items that search; the others are found.
        labels: class of each item.
        cosine: whether nearness in the new space is the cosine (of unit rows); else the distance.
    """
    documents = np.setdiff1d(np.arange(len(old)), queries)
    k = min(K, len(documents))
    found = [
        documents[NearestNeighbors(n_neighbors=k, algorithm="brute").fit(d[documents]).kneighbors(q[queries])[1]]
        for q, d in ((old, old), (new, new), (new, migrated))
    ]
    group = groups_of(migrated)
    first = np.unique(group, return_index=True)[1]
    place = places(new[queries], migrated[first], group[queries], cosine=cosine)
    agreement = [float((f[:, :, None] == found[1][:, None, :]).any(2).mean()) for f in (found[0], found[2])]
    accuracy = None
    if labels is not None:
        hits = [float(np.mean(labels[f[:, 0]] == labels[queries])) for f in found]
        accuracy = (hits[0], hits[1], hits[2])
    return Search(
        queries=len(queries),
        documents=len(documents),
        own=float(np.mean(place <= 1)),
        own_at_10=float(np.mean(place <= K)),
        agreement=(agreement[0], agreement[1]),
        accuracy=accuracy,
    )
