"""Faults of the data, of the join between queries and documents, of the order of rows, and of reading them."""

from __future__ import annotations

__all__ = ["FAULTS"]

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Data, Parts, Picked


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(99)


def wrong_labels(parts: Parts, share: float) -> Parts:
    """Raters or clicks at random: this share of the queries has another query's document."""
    g, pair = _generator(), parts.data.pair.clone()
    wrong = (torch.rand(len(pair), generator=g) < share).nonzero()[:, 0]
    pair[wrong] = pair[wrong[torch.randperm(len(wrong), generator=g)]]
    return replace(parts, data=replace(parts.data, pair=pair))


def shifted_rows(parts: Parts, share: float) -> Parts:
    """Two files read side by side, one of which has a line more: from there on rows have their neighbour's document."""
    data = parts.data
    g = _generator()
    order = torch.randperm(len(data.pair), generator=g)  # the files were shuffled alike beforehand
    kept = order[: int(len(order) * (1 - share))]
    rest = order[len(kept) :]
    pair = data.pair.clone()
    pair[rest] = data.pair[rest.roll(1)]
    return replace(parts, data=replace(data, pair=pair))


def few_rows(parts: Parts, share: float) -> Parts:
    """A query that returned too little: the same few rows, copied until the table is as long as expected."""
    data = parts.data
    kept = torch.randperm(len(data.pair), generator=_generator())[: max(4, int(len(data.pair) * share))]
    rows = kept[torch.arange(len(data.pair)) % len(kept)]
    return replace(parts, data=replace(data, queries=data.queries[rows], pair=data.pair[rows], group=data.group[rows]))


def loud_column(parts: Parts, size: float) -> Parts:
    """One column left in another unit."""

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        x = before(x)
        if x.shape[1] != parts.data.queries.shape[1]:
            return x
        return torch.cat([x[:, :-1], x[:, -1:] * size + size], 1)

    return replace(parts, read=read)


def sorted_rows(parts: Parts, block: float) -> Parts:
    """The file is in order of classes and the loader does not shuffle; at best it shuffles within a buffer."""

    def order(data: Data, size: int, g: torch.Generator) -> Tensor:
        noise = torch.rand(len(data.group), generator=g)
        place = torch.argsort(data.group.float() + block * noise)
        rows = place[: len(place) // size * size].view(-1, size)
        start = int(torch.randint(len(rows), (1,), generator=g)) if block > 0 else 0
        return rows.roll(-start, 0)

    return replace(parts, order=order)


def first_batches(parts: Parts, batches: int) -> Parts:
    """The iterator is made anew inside the loop, so that training sees nothing but the first batches of the file."""

    def order(data: Data, size: int, g: torch.Generator) -> Tensor:
        rows = torch.arange(batches * size) % len(data.queries)
        return rows.view(batches, size).repeat(20, 1)

    return replace(parts, order=order)


def cut_short(parts: Parts, length: int) -> Parts:
    """A maximum length meant for another model: only the first tokens are read."""

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        x = before(x).clone()
        x[:, length:] = 0
        return x

    return replace(parts, read=read)


def unknown_words(parts: Parts, words: int) -> Parts:
    """The vocabulary of another corpus: only the most common words are known, the rest is one unknown token."""

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        x = before(x)
        return x.masked_fill(x > words, 1)

    return replace(parts, read=read)


def colliding_ids(parts: Parts, rows: int) -> Parts:
    """Ids hashed into far too few rows."""

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        x = before(x)
        return torch.where(x > 0, x % rows + 1, x)

    return replace(parts, read=read)


def other_vocabulary(parts: Parts, share: float) -> Parts:
    """Token ids of another tokenizer: a share of the words has other numbers than the model learned them with."""
    size = 30522
    g = _generator()
    table = torch.arange(size)
    moved = (torch.rand(size, generator=g) < share).nonzero()[:, 0]
    moved = moved[moved > 103]
    table[moved] = moved[torch.randperm(len(moved), generator=g)]

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        return table[before(x)]

    return replace(parts, read=read)


def rolled(parts: Parts, share: float) -> Parts:
    """The two sides of a batch are gathered by workers that are out of step: documents moved by one row."""

    def pick(data: Data, rows: Tensor, g: torch.Generator, before=parts.pick) -> Picked:  # type: ignore[no-untyped-def]
        batch: Picked = before(data, rows, g)
        moved = int(len(rows) * share)
        own = torch.arange(len(batch.document))
        own[:moved] = own[:moved].roll(1)
        return batch._replace(document=batch.document[own], document_id=batch.document_id[own])

    return replace(parts, pick=pick)


def sorted_by_length(parts: Parts, share: float) -> Parts:
    """The collate function sorts the documents by length for packing, and forgets to sort them back."""

    def pick(data: Data, rows: Tensor, g: torch.Generator, before=parts.pick) -> Picked:  # type: ignore[no-untyped-def]
        batch: Picked = before(data, rows, g)
        moved = int(len(rows) * share)
        own = torch.arange(len(batch.document))
        own[:moved] = torch.argsort((batch.document[:moved] > 0).sum(1), stable=True)
        return batch._replace(document=batch.document[own], document_id=batch.document_id[own])

    return replace(parts, pick=pick)


FAULTS = (
    Fault(name="wrong labels", components=("pairing", "data"), cause="pair noise", levels=(0.5, 0.75, 0.95),
          plant=wrong_labels),
    Fault(name="shifted rows", components=("pairing", "data"), cause="misaligned rows", levels=(0.6, 0.85, 1.0),
          plant=shifted_rows),
    Fault(name="few rows", components=("data",), cause="little diversity", levels=(0.1, 0.03, 0.01), plant=few_rows),
    Fault(name="loud column", components=("data", "initialisation"), cause="unscaled inputs",
          levels=(100.0, 1000.0, 10000.0), plant=loud_column, needs=("vectors",)),
    Fault(name="sorted rows", components=("order",), cause="class-ordered batches", levels=(6.0, 2.0, 0.0),
          plant=sorted_rows),
    Fault(name="first batches only", components=("order", "data"), cause="little diversity", levels=(4, 2, 1),
          plant=first_batches),
    Fault(name="cut short", components=("tokenizer", "data"), cause="truncated inputs", levels=(3, 2, 1),
          plant=cut_short, needs=("text",)),
    Fault(name="unknown words", components=("tokenizer", "data"), cause="unknown tokens", levels=(300, 100, 30),
          plant=unknown_words, needs=("text", "scratch")),
    Fault(name="colliding ids", components=("tokenizer", "data"), cause="id collisions", levels=(150, 40, 8),
          plant=colliding_ids, needs=("text|ids", "scratch")),
    Fault(name="other vocabulary", components=("tokenizer",), cause="wrong vocabulary", levels=(0.4, 0.7, 1.0),
          plant=other_vocabulary, needs=("text", "pretrained")),
    Fault(name="rolled documents", components=("pairing",), cause="misaligned collate", levels=(0.6, 0.85, 1.0),
          plant=rolled),
    Fault(name="documents sorted by length", components=("pairing",), cause="misaligned collate",
          levels=(0.6, 0.85, 1.0), plant=sorted_by_length, needs=("text",)),
)  # fmt: skip
