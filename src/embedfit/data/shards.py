"""Pairs in Parquet files larger than memory, read by several processes, in an order that can be taken up again.

Which rows a step has follows from (seed, step) and the sizes of the row groups alone, not from the number of processes:

- In each epoch the row groups of all files are shuffled, and cut into windows of about so many rows.
- The rows of a window are shuffled. Steps take rows from one window after the other, in equal parts.

A process reads the row groups that are its own, and holds those of the windows that a step touches. So rows meet only
rows of their own window: files whose rows are sorted should be written with small row groups, or shuffled first.

Axes: n rows of a step, m rows of this process.
"""

from __future__ import annotations

__all__ = ["Shards", "Slice", "open_shards", "slice_of", "texts_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int

from embedfit.data.batches import generator, steps_per_epoch
from embedfit.data.bind import bind
from embedfit.data.paths import find_files, format_of
from embedfit.errors import DataError
from embedfit.team import ALONE, Team

WINDOW = 1 << 18
"""Rows of a window, give or take a row group."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shards:
    """Pairs in Parquet files, of which nothing but the sizes has been read.

    Attributes:
        files: the files.
        groups: file and number of each row group.
        sizes: rows of each row group.
        columns: names of the two columns, query and positive.
        window: rows that are shuffled among each other.
        held: texts of the row groups that are in memory now.
    """

    files: tuple[Path, ...]
    groups: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    columns: tuple[str, str]
    window: int = WINDOW
    held: dict[int, pa.Table] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(self.sizes)


def open_shards(
    source: str | Path | Sequence[str | Path], *, columns: Mapping[str, str] | None = None, window: int = WINDOW
) -> Shards:
    """Shards of a file, a folder, a glob or a list of those.

    Args:
        source: Parquet files of pairs.
        columns: which column plays a role (`query`, `positive`) where its name does not say it.
        window: rows that are shuffled among each other; a process holds its part of them in memory.

    Raises:
        DataError: nothing there, not Parquet, other columns than the first file's, or no pairs.
    """
    files = find_files(source)
    if format_of(files[0]) != "parquet":
        raise DataError(
            f"{files[0]} is read whole; only Parquet can be read in parts",
            hint="write Parquet, for example with polars' scan_csv(...).sink_parquet(...)",
        )
    opened = [_metadata(file) for file in files]
    names = opened[0].schema.to_arrow_schema().names
    for file, metadata in zip(files, opened, strict=True):
        if set(metadata.schema.to_arrow_schema().names) != set(names):
            raise DataError(f"{file} has other columns than {files[0]}", hint="give all files the same columns")
    _, binding = bind(names, kind="pairs", roles=columns or {}, numeric=lambda column: False, name=str(source))
    groups = [(i, g) for i, metadata in enumerate(opened) for g in range(metadata.num_row_groups)]
    sizes = [opened[i].row_group(g).num_rows for i, g in groups]
    if sum(sizes) < 2:
        raise DataError(f"{source} has {sum(sizes)} rows; training needs at least 2", hint="look into the files")
    return Shards(
        files=tuple(files),
        groups=tuple(groups),
        sizes=tuple(sizes),
        columns=(str(binding["query"]), str(binding["positive"])),
        window=window,
    )


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {error}", hint="is it cut off?") from None


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


def slice_of(shards: Shards, step: int, *, batch_size: int, seed: int, processes: int = 1) -> Slice:
    """The rows of a step, counted from 0 over the whole run.

    Args:
        shards: where they are.
        step: counted from 0.
        batch_size: rows of a step, give or take one.
        seed: of the order.
        processes: that read; decides who reads a row and nothing else.
    """
    steps = steps_per_epoch(len(shards), batch_size)
    epoch, place = divmod(step, steps)
    start, stop = (len(shards) * p // steps for p in (place, place + 1))
    found, taken = [], []
    for number, (first, groups) in enumerate(_windows(shards.sizes, shards.window, seed, epoch)):
        sizes = [shards.sizes[g] for g in groups]
        a, b = max(start, first), min(stop, first + sum(sizes))
        if a >= b:
            continue
        taken += groups
        at = _shuffled(sum(sizes), seed, epoch, number)[a - first : b - first]
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


def texts_of(shards: Shards, part: Slice, team: Team = ALONE) -> tuple[list[str], list[str]]:
    """Queries and positives of the rows of a step that this process reads, in the order of the step.

    Row groups stay in memory while steps take rows from their window.

    Raises:
        DataError: a file cannot be read, or a text is missing.
    """
    mine = part.owner == team.rank
    group, row = part.group[mine], part.row[mine]
    for g in [g for g in shards.held if g not in part.window]:
        del shards.held[g]
    sides: tuple[list[str], list[str]] = ([""] * len(group), [""] * len(group))
    for g in np.unique(group).tolist():
        if g not in shards.held:
            shards.held[g] = _read(shards, g)
        places = np.flatnonzero(group == g)
        rows = shards.held[g].take(pa.array(row[places]))
        for side, name in zip(sides, shards.columns, strict=True):
            for place, text in zip(places.tolist(), rows[name].to_pylist(), strict=True):
                side[place] = _sound(text, shards, g, int(row[place]), name)
    return sides


def _read(shards: Shards, group: int) -> pa.Table:
    file, number = shards.groups[group]
    try:
        return pq.ParquetFile(shards.files[file]).read_row_group(number, columns=list(shards.columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shards.files[file]} cannot be read: {error}", hint="is it cut off?") from None


def _sound(text: object, shards: Shards, group: int, row: int, column: str) -> str:
    if isinstance(text, str) and text.strip():
        return text
    file, number = shards.groups[group]
    raise DataError(
        f"{shards.files[file]}: row {row + 1} of row group {number + 1} has no text in the column '{column}'",
        hint="leave such rows out when the files are written: they cannot be named and skipped in mid-run",
    )
