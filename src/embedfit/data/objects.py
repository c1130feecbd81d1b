"""JSON objects, one per line of a file or one per item of a list, become text columns."""

from __future__ import annotations

__all__ = ["ObjectRows", "json_lines", "keys_of", "read_objects"]

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from embedfit.data.textfile import open_text, utf8_chunks
from embedfit.errors import DataError

_CHUNK_ROWS = 100_000
Numbered = tuple[int, Mapping[str, Any] | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRows:
    """What a series of objects holds.

    Attributes:
        frame: the wanted keys as columns of text, or of lists of text; an absent key is null.
        numbers: line or position (from 1) of each row of `frame`.
        broken: objects that could not be read: their number, key (or ""), and why.
        keys: every key met, in the order in which they were met.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    broken: list[tuple[int, str, str]]
    keys: tuple[str, ...]


def json_lines(path: Path, encoding: str) -> Iterator[Numbered]:
    """The objects of a JSONL file with their physical lines; a str says why a line is no object.

    Raises:
        DataError: the file is not in `encoding`, or holds one JSON array.
    """
    try:
        with open_text(path, encoding, newline="\n") as file:
            for line, text in enumerate(file, start=1):
                if text.isspace():
                    continue
                if line == 1 and text.lstrip().startswith("["):
                    raise DataError(
                        f"{path} is one JSON array; expected one object per line",
                        hint="write it as JSON Lines, or load it with json.load and hand over the list",
                    )
                yield line, _parsed(text)
    except (UnicodeDecodeError, OSError, EOFError):
        for _ in utf8_chunks(path, encoding):  # says which byte of which line
            pass
        raise


def keys_of(objects: Iterable[Numbered], rows: int) -> tuple[tuple[str, ...], list[Mapping[str, Any]]]:
    """The keys of the first objects, in the order in which they appear, and those objects."""
    some = [found for _, found in islice(objects, rows) if not isinstance(found, str)]
    return tuple(dict.fromkeys(k for found in some for k in found)), some


def read_objects(objects: Iterable[Numbered], columns: Collection[str], lists: Collection[str]) -> ObjectRows:
    """Take these keys of every object; only the keys in `lists` may hold several texts."""
    keys: dict[str, None] = {}
    broken: list[tuple[int, str, str]] = []
    frames: list[pl.DataFrame] = []
    values: dict[str, list[Any]] = {c: [] for c in columns}
    numbers, all_numbers = list[int](), [pl.Series("number", [], dtype=pl.UInt64)]
    for number, found in objects:
        if isinstance(found, str):
            broken.append((number, "", found))
            continue
        if not keys.keys() >= found.keys():
            keys.update(dict.fromkeys(found))
        try:
            cells = [_cell(found.get(c), c, lists) for c in columns]
        except _BadCellError as error:
            broken.append((number, error.column, error.reason))
            continue
        for column, cell in zip(columns, cells, strict=True):
            values[column].append(cell)
        numbers.append(number)
        if len(numbers) == _CHUNK_ROWS:
            frames.append(_frame(values))
            all_numbers.append(pl.Series("number", numbers, dtype=pl.UInt64))
            values, numbers = {c: [] for c in columns}, []
    frames.append(_frame(values))
    all_numbers.append(pl.Series("number", numbers, dtype=pl.UInt64))
    return ObjectRows(frame=_joined(frames), numbers=pl.concat(all_numbers), broken=broken, keys=tuple(keys))


class _BadCellError(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def _parsed(text: str) -> Mapping[str, Any] | str:
    try:
        found = json.loads(text)
    except ValueError as error:
        return f"broken JSON: {error}"
    except RecursionError:
        return "broken JSON: nested too deeply"
    return found if isinstance(found, dict) else f"expected an object {{...}}, got {_kind_of(found)}"


def _cell(value: Any, column: str, lists: Collection[str]) -> str | list[str | None] | None:
    if isinstance(value, list | tuple):
        if column not in lists:
            raise _BadCellError(column, "a list where one text was expected")
        return [_text(v, column) for v in value]
    return _text(value, column)


def _text(value: Any, column: str) -> str | None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise _BadCellError(column, "half of a character (a lone surrogate)") from error
        return value
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple | set | bytes):
        raise _BadCellError(column, f"{_kind_of(value)} where text was expected")
    return str(value)


def _kind_of(value: object) -> str:
    names: tuple[tuple[type, str], ...] = (
        (dict, "an object"),
        (list, "a list"),
        (str, "a string"),
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number"),
        (bytes, "bytes"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__}")


def _frame(values: Mapping[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame([_series(column, cells) for column, cells in values.items()])


def _series(column: str, cells: list[Any]) -> pl.Series:
    if any(type(c) is list for c in cells):
        several = [c if c is None or type(c) is list else [c] for c in cells]
        return pl.Series(column, several, dtype=pl.List(pl.String))
    return pl.Series(column, cells, dtype=pl.String)


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One frame of all; a column that holds lists in one chunk holds lists in every chunk."""
    several = {c for f in frames for c, kind in f.schema.items() if kind == pl.List(pl.String)}
    as_lists = [
        f.with_columns(
            pl.when(pl.col(c).is_not_null()).then(pl.concat_list(c)).alias(c)
            for c in several
            if f.schema[c] == pl.String
        )
        for f in frames
    ]
    return pl.concat(as_lists)
