"""Which cells of a q x d score matrix are no certain negatives, found from O(q + d) identities.

A batch of 32,768 has 10^9 cells, of which identities rule out a few ten thousand. They are looked up row block by row
block through sorted keys; no q x d comparison is ever made.

Axes: q queries, d documents, n known pairs, h cells found.
"""

from __future__ import annotations

__all__ = ["Doubtful", "Guide", "Known"]

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from embedfit.types import Batch

Cells = tuple[Int[Tensor, " h"], Int[Tensor, " h"]]


class Lookup:
    """Where each key stands in a vector of keys.

    Args:
        keys: may repeat.
    """

    def __init__(self, keys: Int[Tensor, " d"]) -> None:
        self.keys, self.place = keys.long().sort(stable=True)

    def __call__(self, wanted: Int[Tensor, " w"]) -> Cells:
        """All (position in `wanted`, position in the keys) whose keys are equal."""
        wanted = wanted.long()
        low = torch.searchsorted(self.keys, wanted)
        high = torch.searchsorted(self.keys, wanted, right=True)
        row, spot = _spread(low, high - low)
        return row, self.place[spot]

    def unsorted(self) -> Int[Tensor, " d"]:
        """The keys as they stood."""
        out = torch.empty_like(self.keys)
        out[self.place] = self.keys
        return out


def _spread(first: Int[Tensor, " w"], count: Int[Tensor, " w"]) -> Cells:
    """For each i the numbers first[i], first[i] + 1, ... (count[i] of them), each beside its i."""
    last = count.cumsum(0)
    total = int(last[-1]) if len(last) else 0
    row = torch.repeat_interleave(torch.arange(len(count), device=count.device), count, output_size=total)
    return row, (first - last + count)[row] + torch.arange(total, device=count.device)


class Known:
    """Pairs that are known to belong together, for looking cells up by identity.

    A pair (query, document) is one 64-bit key in a sorted vector: n pairs take 8 n bytes and a lookup log n, where a
    matrix of q x d x positives would not fit.
    """

    def __init__(self, query_id: Int[Tensor, " n"], document_id: Int[Tensor, " n"]) -> None:
        self.stride = int(document_id.max()) + 1 if document_id.numel() else 1
        self.keys = torch.unique(query_id.long() * self.stride + document_id.long())

    def to(self, device: torch.device | str) -> Known:
        """The same pairs on another device."""
        moved = copy.copy(self)
        moved.keys = self.keys.to(device)
        return moved

    def documents(self, query_id: Int[Tensor, " q"]) -> Cells:
        """All (position of the query, identity of a document known to belong to it)."""
        wanted = query_id.long() * self.stride
        low, high = torch.searchsorted(self.keys, wanted), torch.searchsorted(self.keys, wanted + self.stride)
        row, spot = _spread(low, high - low)
        return row, self.keys[spot] - wanted[row]

    def pairs(self, query_id: Int[Tensor, " q"], document_id: Int[Tensor, "q k"]) -> Bool[Tensor, "q k"]:
        """True where the pair of a query and one of the documents at its side is known."""
        # beyond the stride are documents that no known pair has
        wanted = query_id.long()[:, None] * self.stride + document_id.clamp(max=self.stride - 1)
        place = torch.searchsorted(self.keys, wanted).clamp(max=max(0, len(self.keys) - 1))
        return (document_id < self.stride) & (self.keys[place] == wanted) if len(self.keys) else wanted < 0

    def __call__(self, query_id: Int[Tensor, " q"], document_id: Int[Tensor, " d"]) -> Bool[Tensor, "q d"]:
        """True where the pair is known."""
        found = torch.zeros(len(query_id), len(document_id), dtype=torch.bool, device=query_id.device)
        row, document = self.documents(query_id)
        at, column = Lookup(document_id)(document)
        found[row[at], column] = True
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """What another model thinks: a document it finds nearer to a query than the query's own positive is in doubt.

    Attributes:
        vectors: unit embedding by that model of each identity.
        margin: documents are in doubt from so much below the positive on.

    References:
        Solatorio 2024 (GISTEmbed), https://arxiv.org/abs/2402.16829, section 3.2.
    """

    vectors: Float[Tensor, "ids t"]
    margin: float = 0.0

    def to(self, device: torch.device | str) -> Guide:
        """The same on another device."""
        return Guide(self.vectors.to(device), self.margin)

    def cells(self, query: Int[Tensor, " q"], own: Int[Tensor, " q"], document: Int[Tensor, " d"]) -> Cells:
        """Rows and columns in doubt, by the identities of queries, of their positives and of the documents."""
        asked = self.vectors[query]
        limit = (asked * self.vectors[own]).sum(-1, keepdim=True) - self.margin
        row, column = (asked @ self.vectors[document].T > limit).nonzero(as_tuple=True)
        return row, column


@dataclass(frozen=True, slots=True, eq=False)
class Doubtful:
    """The cells of a batch that are neither a query's own positive nor certain negatives.

    A document is doubtful for a query when it is the same text as the query's positive or as the query itself, is of
    the same class, is a known positive of that query, or is nearer to it than its positive for another model that is
    asked.

    Attributes:
        own: identity of each query's own positive.
        query_id: identity of each query.
        query_group: class of each query, -1 where there are no classes.
        document_id: identities of the documents.
        document_group: their classes.
        known: pairs known to belong together, beyond this batch.
        guide: another model that is asked.
    """

    own: Int[Tensor, " q"]
    query_id: Int[Tensor, " q"]
    query_group: Int[Tensor, " q"]
    document_id: Lookup
    document_group: Lookup
    known: Known | None = None
    guide: Guide | None = None

    @staticmethod
    def of(batch: Batch, known: Known | None = None, guide: Guide | None = None) -> Doubtful:
        """From the identities of a batch and of its memory."""
        return Doubtful(
            own=batch.document_id[batch.positive],
            query_id=batch.query_id,
            query_group=batch.query_group,
            document_id=Lookup(batch.candidate_id),
            document_group=Lookup(batch.candidate_group),
            known=known,
            guide=guide,
        )

    def cells(self, start: int, stop: int) -> Cells:
        """Rows (counted from `start`) and columns of the doubtful cells of queries start to stop.

        A cell may be named more than once, and the own positive is among them: it is the same text as itself.
        """
        row, column = self.document_id(torch.cat([self.own[start:stop], self.query_id[start:stop]]))
        found = [(row % max(1, stop - start), column)]
        grouped = (self.query_group[start:stop] >= 0).nonzero()[:, 0]
        if len(grouped):
            row, column = self.document_group(self.query_group[start:stop][grouped])
            found.append((grouped[row], column))
        if self.known is not None:
            row, document = self.known.documents(self.query_id[start:stop])
            at, column = self.document_id(document)
            found.append((row[at], column))
        if self.guide is not None:
            query, own = self.query_id[start:stop], self.own[start:stop]
            found.append(self.guide.cells(query, own, self.document_id.unsorted()))
        return torch.cat([row for row, _ in found]), torch.cat([column for _, column in found])
