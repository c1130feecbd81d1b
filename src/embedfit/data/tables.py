"""One shape for every source: names of columns, a sample, and a way to load the columns that are wanted."""

from __future__ import annotations

__all__ = ["Part", "Table", "all_numbers", "objects_are_numbers", "open_files", "rows_part"]

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from embedfit.data import delimited, objects
from embedfit.data.paths import format_of
from embedfit.errors import BadRow, DataError

SAMPLE_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The wanted columns of one file or of rows in memory, as they are; nothing judged yet.

    Attributes:
        frame: one row per record, sound in its form.
        file: what to call the source.
        broken: records that have no sound form.
        position: rows of `frame` -> physical lines (or positions from 1, where there are no lines).
        has_lines: whether positions are physical lines.
        columns: every column met, wanted or not.
    """

    frame: pl.DataFrame
    file: str
    broken: list[BadRow]
    position: Callable[[Sequence[int]], list[int]]
    has_lines: bool
    columns: tuple[str, ...]

    def bad_row(self, position: int, column: str, reason: str) -> BadRow:
        """A `BadRow` at this position: by its line, or in words where the source has no lines."""
        if self.has_lines:
            return BadRow(self.file, position, column, reason)
        return BadRow(self.file, 0, column, f"{reason} (row {position:,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A source whose columns are known and whose rows are not read yet.

    Attributes:
        name: what to call it.
        columns: their names.
        is_numeric: whether the first values of a column are numbers, nothing else.
        load: wanted columns, and those of them that may hold lists -> parts.
        notes: what was found out while opening it.
    """

    name: str
    columns: tuple[str, ...]
    is_numeric: Callable[[str], bool]
    load: Callable[[Sequence[str], Collection[str]], list[Part]]
    notes: tuple[str, ...] = ()


def all_numbers(values: pl.Series) -> bool:
    """Whether these values are numbers, or texts that read as numbers."""
    if values.dtype.is_numeric():
        return True
    if values.dtype != pl.String:
        return False
    said = values.drop_nulls().str.strip_chars()
    said = said.filter(said != "")
    return len(said) > 0 and said.cast(pl.Float64, strict=False).null_count() == 0


def objects_are_numbers(some: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether this key of these objects holds numbers, nothing else."""
    return all_numbers(objects.read_objects(enumerate(some, start=1), [column], [column]).frame[column])


def open_files(files: Sequence[Path], encoding: str) -> Table:
    """A table over files of one format.

    Raises:
        DataError: a file is empty, cannot be decoded or has other columns than the first one.
    """
    opened = {"csv": _delimited, "tsv": _delimited, "jsonl": _json_lines, "parquet": _parquet}
    table = opened[str(format_of(files[0]))](files, encoding)
    if not table.columns:
        raise DataError(
            f"{table.name} names no columns", hint="a header (or keys of objects) is needed to know what is what"
        )
    return table


def _name(files: Sequence[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _notes(files: Sequence[Path]) -> tuple[str, ...]:
    return (f"{len(files)} files: {', '.join(str(f) for f in files)}",) if len(files) > 1 else ()


def _require_same_columns(files: Sequence[Path], columns: Sequence[Sequence[str]]) -> None:
    for file, names in zip(files, columns, strict=True):
        if set(names) != set(columns[0]):
            lacks = ", ".join(f"'{c}'" for c in columns[0] if c not in names)
            extra = ", ".join(f"'{c}'" for c in names if c not in columns[0])
            differs = "; ".join(
                part for part in (f"lacks {lacks}" if lacks else "", f"has {extra} too" if extra else "") if part
            )
            raise DataError(
                f"{file} has other columns than {files[0]}: it {differs}",
                hint="read files with different columns apart, or name only those that belong together",
            )


def _delimited(files: Sequence[Path], encoding: str) -> Table:
    dialects = [delimited.dialect_of(file, encoding) for file in files]
    _require_same_columns(files, [d.header for d in dialects])

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        return [_delimited_part(d, columns) for d in dialects]

    some = delimited.sample(dialects[0], SAMPLE_ROWS)
    return Table(
        name=_name(files),
        columns=dialects[0].header,
        is_numeric=lambda column: all_numbers(some[column]),
        load=load,
        notes=(*_notes(files), *(note for d in dialects for note in d.notes)),
    )


def _delimited_part(dialect: delimited.Dialect, columns: Sequence[str]) -> Part:
    frame, lines, broken = delimited.read_delimited(dialect, columns)

    def position(rows: Sequence[int]) -> list[int]:
        return delimited.locate(dialect, rows) if lines is None else lines.gather(list(rows)).to_list()

    return Part(
        frame=frame, file=str(dialect.path), broken=broken, position=position, has_lines=True, columns=dialect.header
    )


def _json_lines(files: Sequence[Path], encoding: str) -> Table:
    first = [objects.keys_of(objects.json_lines(file, encoding), SAMPLE_ROWS) for file in files]
    empty = [file for file in files if next(objects.json_lines(file, encoding), None) is None]
    if empty:
        raise DataError(f"{empty[0]} is empty", hint="every line is one JSON object")
    columns = tuple(dict.fromkeys(key for keys, _ in first for key in keys))
    line, why = next(objects.json_lines(files[0], encoding))
    if not columns and isinstance(why, str):
        raise DataError(f"{BadRow(str(files[0]), line, '', str(why))}", hint="every line is one JSON object")

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        return [_object_part(file, encoding, columns, lists) for file in files]

    def is_numeric(column: str) -> bool:
        return objects_are_numbers(first[0][1], column)

    return Table(name=_name(files), columns=columns, is_numeric=is_numeric, load=load, notes=_notes(files))


def _object_part(file: Path, encoding: str, columns: Sequence[str], lists: Collection[str]) -> Part:
    found = objects.read_objects(objects.json_lines(file, encoding), columns, lists)
    return Part(
        frame=found.frame,
        file=str(file),
        broken=[BadRow(str(file), line, key, why) for line, key, why in found.broken],
        position=lambda rows: found.numbers.gather(list(rows)).to_list(),
        has_lines=True,
        columns=found.keys,
    )


def _parquet(files: Sequence[Path], encoding: str) -> Table:
    schemas = [tuple(_collect(pl.scan_parquet(file).head(0), file).columns) for file in files]
    _require_same_columns(files, schemas)

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        return [_parquet_part(file, columns) for file in files]

    def is_numeric(column: str) -> bool:
        return all_numbers(_collect(pl.scan_parquet(files[0]).select(column).head(SAMPLE_ROWS), files[0])[column])

    return Table(name=_name(files), columns=schemas[0], is_numeric=is_numeric, load=load, notes=_notes(files))


def _collect(rows: pl.LazyFrame, file: Path) -> pl.DataFrame:
    try:
        return rows.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{file} cannot be read as Parquet: {error}", hint="is it cut off, or of another format?"
        ) from error


def _parquet_part(file: Path, columns: Sequence[str]) -> Part:
    frame = _collect(pl.scan_parquet(file).select(columns), file)
    return rows_part(frame, str(file))


def rows_part(frame: pl.DataFrame, name: str) -> Part:
    """A part without lines: positions are row numbers from 1."""
    return Part(
        frame=frame,
        file=name,
        broken=[],
        position=lambda rows: [row + 1 for row in rows],
        has_lines=False,
        columns=tuple(frame.columns),
    )
