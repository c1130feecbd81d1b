"""Which examples share a step, and what they look like to the towers.

Order and partners follow from (seed, epoch) alone: any step of a run can be made again without the steps before it.
"""

from __future__ import annotations

__all__ = ["Addition", "batch", "generator", "order", "rows_of", "steps_per_epoch"]

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.data.examples import Examples
from embedfit.types import Batch, Tokens


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Steps that see every example once, in batches that are equal give or take one example and near `batch_size`."""
    return max(1, round(count / batch_size))


@lru_cache(maxsize=2)
def order(count: int, *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """A permutation of the examples, different in every epoch."""
    return torch.randperm(count, generator=generator(seed, epoch, 0))


def rows_of(step: int, count: int, *, batch_size: int, seed: int, first: int = 0) -> Int[Tensor, " q"]:
    """The examples of a step, counted from 0 over the whole run; `first` is the number of its first epoch."""
    steps = steps_per_epoch(count, batch_size)
    epoch, place = divmod(step, steps)
    permuted = order(count, seed=seed, epoch=first + epoch)
    # equal parts: a last batch of two examples would have one negative and a loss unlike all others
    return permuted.tensor_split(steps)[place]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Addition:
    """Documents that are brought to a batch beside those of its rows.

    Attributes:
        own: for each query, -1 for none.
        shared: for all queries.
        log_q: log of the probability with which sampling brings each document of all.
        alone: each query is compared with the documents brought for it, and with no other.
    """

    own: Int[Tensor, "q k"] | None = None
    shared: Int[Tensor, " m"] | None = None
    log_q: Float[Tensor, " documents"] | None = None
    alone: bool = False


NOTHING = Addition()


def batch(
    data: Examples,
    query_tokens: Tokens,
    document_tokens: Tokens,
    rows: Int[Tensor, " q"],
    *,
    draw: tuple[int, int] = (0, 0),
    more: Addition = NOTHING,
) -> Batch:
    """The batch of some examples.

    Args:
        data: all examples.
        query_tokens: tokens of `data.query_texts`.
        document_tokens: tokens of `data.document_texts`.
        rows: the examples of the step.
        draw: (seed, step) of the random choices of a batch (partners of the same class).
        more: documents that are brought beside those of the table.
    """
    query = data.query[rows]
    positive = _partners(data, rows, draw) if data.partners else data.positive[rows]
    theirs = None
    if data.target is not None:  # graded pairs meet one to one
        documents, place = positive, torch.arange(len(positive))
    elif data.catalogue and (more.shared is None or not len(more.shared)):  # some drawn: those, and the positives
        documents, place = torch.arange(len(data.document_texts)), positive
    else:
        brought = data.negatives[rows] if more.own is None else torch.cat([data.negatives[rows], more.own], 1)
        there = brought >= 0
        others = [] if more.shared is None else [more.shared]
        documents, place = torch.unique(torch.cat([positive, brought[there], *others]), return_inverse=True)
        if more.alone:
            theirs = torch.full_like(brought, -1)
            theirs[there] = place[len(positive) : len(positive) + int(there.sum())]
        place = place[: len(positive)]
    return Batch(
        query=query_tokens.select(query),
        document=document_tokens.select(documents),
        positive=place,
        query_id=data.query_id[query],
        document_id=data.document_id[documents],
        query_group=data.group[rows],
        document_group=data.document_group[documents],
        weight=data.weight[rows],
        target=None if data.target is None else data.target[rows],
        rows=rows,
        log_q=None if more.log_q is None else more.log_q[documents],
        own=theirs,
    )


def _partners(data: Examples, rows: Int[Tensor, " q"], draw: tuple[int, int]) -> Int[Tensor, " q"]:
    """For each example the text of another of its class, drawn at random; its own where it is alone in its class."""
    by_class = torch.argsort(data.group, stable=True)
    sizes = torch.bincount(data.group)
    first = sizes.cumsum(0) - sizes
    place = torch.empty_like(by_class)
    place[by_class] = torch.arange(len(by_class))
    group = data.group[rows]
    size, inside = sizes[group], place[rows] - first[group]
    jump = 1 + (torch.rand(len(rows), generator=generator(*draw, 1)) * (size - 1)).long()
    return data.positive[by_class[first[group] + (inside + jump) % size]]


def generator(seed: int, number: int, stream: int) -> torch.Generator:
    """Random numbers that depend on (seed, number, stream) alone."""
    # a generator's state depends on the low bits of its seed alone, so that the three numbers must be mixed
    mixed = (seed * 1_000_003 + number) * 1_000_003 + stream
    return torch.Generator().manual_seed((mixed * 0x9E3779B97F4A7C15) % 2**63)
