"""What flows between data, towers and losses. Knows torch and nothing of ours.

Axes: q queries, d documents, n texts, t tokens of all texts together, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Batch", "Memory", "Tokens"]

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of n texts, end to end: nothing is padded until a tower needs a rectangle.

    Attributes:
        ids: the ids of all texts, one after the other.
        lengths: how many ids each text has; a text may have none.
    """

    ids: Int[Tensor, " t"]
    lengths: Int[Tensor, " n"]

    def __len__(self) -> int:
        return self.lengths.numel()

    def starts(self) -> Int[Tensor, " n"]:
        """Position of the first id of each text."""
        return self._starts

    @cached_property
    def _starts(self) -> Int[Tensor, " n"]:
        # worked out once: every step selects from the tokens of all texts
        return self.lengths.cumsum(0) - self.lengths

    def select(self, rows: Int[Tensor, " m"]) -> Tokens:
        """The texts at `rows`, in that order; a row may be named more than once."""
        lengths = self.lengths.index_select(0, rows)
        last = lengths.cumsum(0)
        total = int(last[-1]) if len(last) else 0
        shift = (self.starts().index_select(0, rows) - last).add_(lengths)
        place = torch.repeat_interleave(shift, lengths, output_size=total)
        return Tokens(self.ids.index_select(0, place.add_(torch.arange(total, device=self.ids.device))), lengths)

    def padded(self, value: int) -> Int[Tensor, "n longest"]:
        """A rectangle of ids, filled up with `value` on the right; at least one column wide."""
        width = max(1, int(self.lengths.max())) if len(self) else 1
        out = self.ids.new_full((len(self), width), value)
        out[self.mask(width)] = self.ids
        return out

    def mask(self, width: int | None = None) -> Tensor:
        """True where `padded` holds a real id, [n, longest]."""
        if width is None:
            width = max(1, int(self.lengths.max())) if len(self) else 1
        return torch.arange(width, device=self.lengths.device) < self.lengths[:, None]

    def to(self, device: torch.device | str) -> Tokens:
        """The same tokens on another device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))

    @staticmethod
    def of(rows: list[list[int]]) -> Tokens:
        """From a list of lists of ids."""
        lengths = torch.tensor([len(r) for r in rows], dtype=torch.long)
        ids = torch.tensor([i for r in rows for i in r], dtype=torch.long)
        return Tokens(ids, lengths)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Memory:
    """Document embeddings of steps before, which a batch is compared with too.

    Attributes:
        vectors: embeddings, not normalised, without gradient.
        identity: of each, in the numbering of the batches.
        group: class of each, -1 where there are no classes.
        log_q: as in `Batch`.
    """

    vectors: Float[Tensor, "m e"]
    identity: Int[Tensor, " m"]
    group: Int[Tensor, " m"]
    log_q: Float[Tensor, " m"] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name; without what is not there."""
        every = {"vectors": self.vectors, "identity": self.identity, "group": self.group, "log_q": self.log_q}
        return {name: value for name, value in every.items() if value is not None}

    def to(self, device: torch.device | str) -> Memory:
        """The same embeddings on another device."""
        return Memory(**{name: value.to(device) for name, value in self.tensors().items()})

    def without(self, identity: Int[Tensor, " d"]) -> Memory:
        """Those of other identities."""
        apart = ~torch.isin(self.identity, identity)
        return Memory(**{name: value[apart] for name, value in self.tensors().items()})

    def followed(self, older: Memory | None, size: int) -> Memory:
        """These before older ones, at most `size` of them; of two with one identity, the newer."""
        mine = self.tensors()
        if older is not None:
            others = older.without(self.identity).tensors()
            mine = {name: torch.cat([value, others[name]]) for name, value in mine.items()}
        return Memory(**{name: value[:size] for name, value in mine.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input: q queries meet d documents, and identities travel with them.

    Each document stands once, however many queries it belongs to. With class prototypes the documents are all classes.

    Attributes:
        query: tokens of the queries.
        document: tokens of the documents.
        positive: position among the documents of each query's own positive.
        query_id: identity of each query (texts that are equal after normalisation share an id).
        document_id: identity of each document, in the same numbering.
        query_group: class of each query, -1 where there are no classes.
        document_group: class of each document, -1 where there are no classes.
        weight: how much each query counts in the mean.
        target: graded similarity of each query and its positive, only for graded pairs.
        rows: which examples these are, for messages.
        log_q: log of the probability with which sampling brings each document into a batch, where it is known.
        own: positions among the documents of those that each query is compared with besides its positive, -1 for none;
            None: all documents of the batch.
        memory: embeddings that each query is compared with besides the documents.
    """

    query: Tokens
    document: Tokens
    positive: Int[Tensor, " q"]
    query_id: Int[Tensor, " q"]
    document_id: Int[Tensor, " d"]
    query_group: Int[Tensor, " q"]
    document_group: Int[Tensor, " d"]
    weight: Float[Tensor, " q"]
    target: Float[Tensor, " q"] | None
    rows: Int[Tensor, " q"]
    log_q: Float[Tensor, " d"] | None = None
    own: Int[Tensor, "q k"] | None = None
    memory: Memory | None = None

    def __len__(self) -> int:
        return self.query_id.numel()

    @property
    def candidate_id(self) -> Int[Tensor, " c"]:
        """Identity of whatever queries are compared with: the documents, and after them the memory."""
        return self.document_id if self.memory is None else torch.cat([self.document_id, self.memory.identity])

    @property
    def candidate_group(self) -> Int[Tensor, " c"]:
        """Class of whatever queries are compared with."""
        return self.document_group if self.memory is None else torch.cat([self.document_group, self.memory.group])

    @property
    def candidate_log_q(self) -> Float[Tensor, " c"] | None:
        """`log_q` of whatever queries are compared with."""
        if self.log_q is None or self.memory is None or self.memory.log_q is None:
            return None if self.memory is not None else self.log_q
        return torch.cat([self.log_q, self.memory.log_q])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            query=self.query.to(device),
            document=self.document.to(device),
            positive=self.positive.to(device),
            query_id=self.query_id.to(device),
            document_id=self.document_id.to(device),
            query_group=self.query_group.to(device),
            document_group=self.document_group.to(device),
            weight=self.weight.to(device),
            target=None if self.target is None else self.target.to(device),
            rows=self.rows.to(device),
            log_q=None if self.log_q is None else self.log_q.to(device),
            own=None if self.own is None else self.own.to(device),
            memory=None if self.memory is None else self.memory.to(device),
        )

    def reordered(self, queries: Int[Tensor, " some_q"], documents: Int[Tensor, " some_d"]) -> Batch:
        """The same batch, or a part of it, with queries and documents in other orders; what belongs together stays so.

        A part has the positive of each of its queries.
        """
        place = documents.new_full((len(self.document),), -1)
        place[documents] = torch.arange(len(documents), device=documents.device)
        return Batch(
            query=self.query.select(queries),
            document=self.document.select(documents),
            positive=place[self.positive[queries]],
            query_id=self.query_id[queries],
            document_id=self.document_id[documents],
            query_group=self.query_group[queries],
            document_group=self.document_group[documents],
            weight=self.weight[queries],
            target=None if self.target is None else self.target[queries],
            rows=self.rows[queries],
            log_q=None if self.log_q is None else self.log_q[documents],
            own=None if self.own is None else place[self.own[queries]].where(self.own[queries] >= 0, -1),
            memory=self.memory,
        )
