"""Pairs in Parquet files larger than memory: what is known of them before any row is read."""

from __future__ import annotations

__all__ = ["Shards", "open_shards", "too_large"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from embedfit.data.bind import bind
from embedfit.data.binding import Binding
from embedfit.data.paths import find_files, format_of
from embedfit.errors import DataError

WINDOW = 1 << 18
"""Rows of a window, give or take a row group."""
BYTES_A_ROW = 600
"""What a row takes in memory beside its characters: two strings, their numbers, their tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shards:
    """Pairs in Parquet files, of which nothing but the sizes has been read.

    Attributes:
        files: the files.
        groups: file and number of each row group.
        sizes: rows of each row group.
        binding: which column is the query, which the positive.
        on_bad_rows: skip: rows without a text are left out of their steps.
        window: rows that are shuffled among each other.
        held_out: normalised queries that are never trained on.
        held: texts of the row groups that are in memory now.
    """

    files: tuple[Path, ...]
    groups: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    binding: Binding
    on_bad_rows: Literal["error", "skip"] = "error"
    window: int = WINDOW
    held_out: frozenset[str] = frozenset()
    held: dict[int, pa.Table] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def columns(self) -> tuple[str, str]:
        """Names of the two columns that are read, query and positive."""
        return self.binding["query"], self.binding["positive"]

    def named(self, row: int) -> str:
        """Where a row is, counted over all files."""
        ends = np.cumsum(self.sizes)
        group = int(np.searchsorted(ends, row, side="right"))
        return self.place(group, row - int(ends[group]) + self.sizes[group])

    def place(self, group: int, row: int) -> str:
        """Where a row of a row group is."""
        file, number = self.groups[group]
        return f"{self.files[file]}: row {row + 1} of row group {number + 1}"


def too_large(source: str | Path | Sequence[str | Path]) -> bool:
    """Whether this is Parquet whose rows, read whole, would take more than half of the memory of this machine."""
    try:
        files = find_files(source)
    except DataError:  # no file: a name on the hub, or what reading will complain of
        return False
    if format_of(files[0]) != "parquet":
        return False
    opened = [_metadata(file) for file in files]
    groups = [metadata.row_group(g) for metadata in opened for g in range(metadata.num_row_groups)]
    wanted = sum(group.total_byte_size + BYTES_A_ROW * group.num_rows for group in groups)
    return wanted > psutil.virtual_memory().total / 2


def open_shards(
    source: str | Path | Sequence[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    on_bad_rows: Literal["error", "skip"] = "error",
    window: int = WINDOW,
) -> Shards:
    """Shards of a file, a folder, a glob or a list of those.

    Args:
        source: Parquet files of pairs.
        columns: which column plays a role (`query`, `positive`) where its name does not say it.
        on_bad_rows: skip: rows without a text are left out of their steps; else the first of them ends the run.
        window: rows that are shuffled among each other; a process holds its part of them in memory.

    Raises:
        DataError: nothing there, not Parquet, other columns than the first file's, or no pairs.
    """
    files = find_files(source)
    if format_of(files[0]) != "parquet":
        raise DataError(
            f"{files[0]} is read whole; only Parquet can be read in parts",
            hint="write Parquet, for example with polars' scan_csv(...).sink_parquet(...), or set data.stream = false",
        )
    opened = [_metadata(file) for file in files]
    names = opened[0].schema.to_arrow_schema().names
    for file, metadata in zip(files, opened, strict=True):
        if set(metadata.schema.to_arrow_schema().names) != set(names):
            raise DataError(f"{file} has other columns than {files[0]}", hint="give all files the same columns")
    _, binding = bind(names, kind="pairs", roles=columns or {}, numeric=lambda column: False, name=str(source))
    binding = _two_columns(binding)
    groups = [(i, g) for i, metadata in enumerate(opened) for g in range(metadata.num_row_groups)]
    sizes = [opened[i].row_group(g).num_rows for i, g in groups]
    if sum(sizes) < 2:
        raise DataError(f"{source} has {sum(sizes)} rows; training needs at least 2", hint="look into the files")
    return Shards(
        files=tuple(files),
        groups=tuple(groups),
        sizes=tuple(sizes),
        binding=binding,
        on_bad_rows=on_bad_rows,
        window=window,
    )


def _two_columns(binding: Binding) -> Binding:
    """Query and positive, and a note on what else the rows have."""
    rest = [column for role, column in binding.items() if role not in ("query", "positive")]
    kept = Binding({role: binding[role] for role in ("query", "positive")}, (*binding.unused, *rest), binding.notes)
    return kept.with_notes(f"of shards, queries and positives are read: not {', '.join(rest)}") if rest else kept


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {error}", hint="is it cut off?") from None
