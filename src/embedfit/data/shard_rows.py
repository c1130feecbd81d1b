"""The rows of shards: which of them a step has, what stands in them, and a sample for a first look.

Which rows a step has follows from (seed, step) and the sizes of the row groups alone, not from the number of processes:

- In each epoch the row groups of all files are shuffled, and cut into windows of about so many rows.
- The rows of a window are shuffled. Steps take rows from one window after the other, in equal parts.

A process reads the row groups that are its own, and holds those of the windows that a step touches. So rows meet only
rows of their own window: files whose rows are sorted should be written with small row groups, or shuffled first.

Axes: n rows of a step, m rows of this process.
"""

from __future__ import annotations

__all__ = ["Slice", "sample_of", "slice_of", "texts_of"]

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int

from embedfit.data.batches import generator, steps_per_epoch
from embedfit.data.shards import Shards
from embedfit.errors import BadRow, DataError
from embedfit.pairs import Pairs, normalise
from embedfit.team import ALONE, Team

SAMPLE = 50_000
"""Rows that stand for all where all cannot be looked at."""
SAMPLED = 64
"""Row groups that they are taken from, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """The rows of a step.

    Attributes:
        group: row group of each row.
        row: its number in there.
        owner: process that reads it.
        window: row groups that this step may take rows from.
    """

    group: Int[np.ndarray, " n"]
    row: Int[np.ndarray, " n"]
    owner: Int[np.ndarray, " n"]
    window: tuple[int, ...]

    def counts(self, processes: int) -> list[int]:
        """Rows that each process reads."""
        return np.bincount(self.owner, minlength=processes).tolist()


def slice_of(shards: Shards, step: int, *, batch_size: int, seed: int, processes: int = 1, first: int = 0) -> Slice:
    """The rows of a step, counted from 0 over the whole run.

    Args:
        shards: where they are.
        step: counted from 0.
        batch_size: rows of a step, give or take one.
        seed: of the order.
        processes: that read; decides who reads a row and nothing else.
        first: number of the first epoch.
    """
    steps = steps_per_epoch(len(shards), batch_size)
    epoch, place = divmod(step, steps)
    epoch += first
    start, stop = (len(shards) * p // steps for p in (place, place + 1))
    found, taken = [], []
    for number, (begin, groups) in enumerate(_windows(shards.sizes, shards.window, seed, epoch)):
        sizes = [shards.sizes[g] for g in groups]
        a, b = max(start, begin), min(stop, begin + sum(sizes))
        if a >= b:
            continue
        taken += groups
        at = _shuffled(sum(sizes), seed, epoch, number)[a - begin : b - begin]
        ends = np.cumsum(sizes)
        which = np.searchsorted(ends, at, side="right")
        found.append((np.array(groups)[which], at - (ends - sizes)[which]))
    group, row = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    return Slice(group=group, row=row, owner=group % processes, window=tuple(taken))


@lru_cache(maxsize=4)
def _windows(sizes: tuple[int, ...], window: int, seed: int, epoch: int) -> list[tuple[int, list[int]]]:
    """First row and row groups of each window of an epoch."""
    order = torch.randperm(len(sizes), generator=generator(seed, epoch, 2)).tolist()
    out: list[tuple[int, list[int]]] = []
    first, rows, groups = 0, 0, list[int]()
    for g in order:
        groups.append(g)
        rows += sizes[g]
        if rows >= window:
            out.append((first, groups))
            first, rows, groups = first + rows, 0, []
    return [*out, (first, groups)] if groups else out


@lru_cache(maxsize=4)
def _shuffled(rows: int, seed: int, epoch: int, window: int) -> Int[np.ndarray, " rows"]:
    return torch.randperm(rows, generator=generator(seed, epoch, 3 + window)).numpy()


def texts_of(shards: Shards, part: Slice, team: Team = ALONE) -> tuple[list[str], list[str], list[bool]]:
    """Queries and positives of the rows of a step that this process reads, and which of them are to be trained on.

    They stand in the order of the step. Row groups stay in memory while steps take rows from their window.

    Raises:
        DataError: a file cannot be read, or a text is missing.
    """
    mine = part.owner == team.rank
    group, row = part.group[mine], part.row[mine]
    for g in [g for g in shards.held if g not in part.window]:
        del shards.held[g]
    queries, positives, taken = [""] * len(group), [""] * len(group), [False] * len(group)
    for g in np.unique(group).tolist():
        if g not in shards.held:
            shards.held[g] = _read(shards, g)
        places = np.flatnonzero(group == g)
        for place, number, query, positive in zip(places, row[places], *_cells(shards, g, row[places]), strict=True):
            if _sound(shards, g, int(number), query, positive):
                queries[place], positives[place] = query, positive
                taken[place] = not shards.held_out or normalise(query) not in shards.held_out
    return queries, positives, taken


def sample_of(shards: Shards, *, seed: int, rows: int = SAMPLE) -> Pairs:
    """Some rows, drawn from some row groups: for whatever needs to look at rows before training begins.

    Those of them that have no text are named as left out, where such rows are to be skipped.

    Raises:
        DataError: a file cannot be read, or a text is missing.
    """
    draw = generator(seed, 0, 1)
    drawn = torch.randperm(len(shards.groups), generator=draw).tolist()
    groups = sorted(sorted(drawn, key=lambda g: shards.sizes[g] == 0)[:SAMPLED])
    there = sum(shards.sizes[g] for g in groups)
    table: dict[str, list[str]] = {"query": [], "positive": []}
    left_out: list[BadRow] = []
    for g in groups:
        count = min(shards.sizes[g], -(-rows * shards.sizes[g] // max(1, there)))
        at = torch.randperm(shards.sizes[g], generator=draw)[:count].sort().values.numpy()
        shards.held[g] = _read(shards, g)
        for number, query, positive in zip(at, *_cells(shards, g, at), strict=True):
            if _sound(shards, g, int(number), query, positive):
                table["query"].append(query)
                table["positive"].append(positive)
            else:
                column = _lacking(shards, query, positive)[0]
                left_out.append(BadRow(shards.place(g, int(number)), 0, column, "no text"))
        del shards.held[g]
    name = f"{shards.files[0].parent} ({len(shards.files)} files)" if len(shards.files) > 1 else str(shards.files[0])
    read = pl.DataFrame(table, schema={"query": pl.String, "positive": pl.String})
    return Pairs(kind="pairs", table=read, source=name, left_out=tuple(left_out), binding=shards.binding)


def _cells(shards: Shards, group: int, rows: Int[np.ndarray, " k"]) -> tuple[list[Any], list[Any]]:
    """Queries and positives of some rows of a row group that is held."""
    found = shards.held[group].take(pa.array(rows))
    query, positive = (found[name].to_pylist() for name in shards.columns)
    return query, positive


def _read(shards: Shards, group: int) -> pa.Table:
    file, number = shards.groups[group]
    try:
        return pq.ParquetFile(shards.files[file]).read_row_group(number, columns=list(shards.columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shards.files[file]} cannot be read: {error}", hint="is it cut off?") from None


def _sound(shards: Shards, group: int, row: int, *texts: object) -> bool:
    """Whether a row has both texts.

    Raises:
        DataError: it has not, and such rows are not to be skipped.
    """
    lacking = _lacking(shards, *texts)
    if lacking and shards.on_bad_rows == "error":
        raise DataError(
            f"{shards.place(group, row)} has no text in the column '{lacking[0]}'",
            hint="leave such rows out and go on: --resume --set data.on_bad_rows=skip",
        )
    return not lacking


def _lacking(shards: Shards, *texts: object) -> list[str]:
    """The columns in which a row has no text."""
    return [name for name, text in zip(shards.columns, texts, strict=True) if not _is_text(text)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
