"""Rows that are in memory already: lists of dicts, columns, frames (polars, pandas, Arrow), Hugging Face data sets."""

from __future__ import annotations

__all__ = ["is_saved_dataset", "load_hub", "load_saved", "open_memory"]

import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from embedfit.data.objects import keys_of, read_objects
from embedfit.data.tables import SAMPLE_ROWS, Part, Table, all_numbers, objects_are_numbers, rows_part
from embedfit.errors import DataError

STREAM_ROWS = 1_000_000
"""At most so many rows are taken from a stream, which may never end."""
_NAME = "in-memory rows"


def open_memory(source: Any, split: str | None) -> Table:
    """A table over rows in memory; other libraries are recognised by their types' names, so none has to be installed.

    Raises:
        DataError: no type of source that is known, or no rows, or columns of different lengths.
    """
    if _is(source, "datasets", "DatasetDict") or _is(source, "datasets", "IterableDatasetDict"):
        return _dataset_dict(source, split)
    if _is(source, "datasets", "Dataset"):
        return _dataset(source)
    if _is(source, "datasets", "IterableDataset"):
        return _stream(source)
    if isinstance(source, pl.LazyFrame):
        return _frame(source.collect())
    if isinstance(source, pl.DataFrame):
        return _frame(source)
    if _is(source, "pandas", "DataFrame"):
        return _frame(pl.from_pandas(source))
    if _is(source, "pyarrow", "Table") or _is(source, "pyarrow", "RecordBatch"):
        return _frame(pl.DataFrame(pl.from_arrow(source)))
    if isinstance(source, Mapping):
        return _columns(source)
    if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
        return _objects(source, _NAME)
    raise DataError(
        f"cannot read rows from {_described(source)}",
        hint="expected a path, a list of dicts, a dict of columns, a frame of polars, pandas or Arrow, or a Dataset",
    )


def load_hub(name: str, split: str | None) -> Table:
    """A data set of the Hugging Face hub, or of its local cache when the hub cannot be reached.

    Raises:
        DataError: the `datasets` library is missing, the hub cannot be reached, or it has no such data set.
    """
    datasets = _datasets_library(f"'{name}' is no file or folder here; as a data set of the Hugging Face hub")
    online = _hub_answers()
    try:
        with _offline(datasets, not online):
            found = datasets.load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        why = str(error).split("\n", 1)[0] if online else "the hub cannot be reached, and the local cache has no copy"
        raise DataError(
            f"'{name}' is no file or folder here, and as a data set of the Hugging Face hub it cannot be loaded: {why}",
            hint="check the spelling; offline, download it first or name a local file",
        ) from error
    table = open_memory(found, split)
    return replace(table, name=name, notes=(f"'{name}' comes from the Hugging Face hub", *table.notes))


def is_saved_dataset(folder: Path) -> bool:
    """Whether `Dataset.save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def load_saved(folder: Path, split: str | None) -> Table:
    """A data set that `Dataset.save_to_disk` wrote."""
    datasets = _datasets_library(f"{folder} was written by Dataset.save_to_disk; it")
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} cannot be read as a saved data set: {error}",
            hint="was the folder copied whole? Save the data set again with Dataset.save_to_disk",
        ) from error
    return replace(open_memory(found, split), name=str(folder))


def _is(source: object, package: str, name: str) -> bool:
    return any(t.__name__ == name and t.__module__.split(".")[0] == package for t in type(source).__mro__)


def _datasets_library(what: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{what} needs the library 'datasets', which is not installed", hint="pip install embedfit[datasets]"
        ) from error
    return datasets


def _hub_answers() -> bool:
    """Ask once, briefly: the hub's own client tries for half a minute before it says that there is no network."""
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "TRUE"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def _offline(datasets: Any, offline: bool) -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = offline or before
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _described(source: object) -> str:
    empty = isinstance(source, Sequence | Mapping) and not source
    return f"an empty {type(source).__name__}" if empty else f"an object of type {type(source).__name__}"


def _frame(frame: pl.DataFrame, name: str = _NAME) -> Table:
    if not frame.width:
        raise DataError("the table has no columns", hint="it needs at least two, for example query and positive")

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        return [rows_part(frame.select(columns), name)]

    return Table(
        name=name,
        columns=tuple(frame.columns),
        is_numeric=lambda column: all_numbers(frame[column].head(SAMPLE_ROWS)),
        load=load,
    )


def _columns(columns: Mapping[Any, Any]) -> Table:
    lengths = {str(name): len(values) for name, values in columns.items() if isinstance(values, Sequence | pl.Series)}
    arrays = {str(name): list(values) for name, values in columns.items()} if len(lengths) == len(columns) else None
    if arrays is None or any(isinstance(v, str | bytes) for v in columns.values()):
        raise DataError(
            "a dict of columns needs a list under every name; got "
            + ", ".join(f"'{n}': {type(v).__name__}" for n, v in columns.items()),
            hint="one row alone is a list with one dict: [{'query': ..., 'positive': ...}]",
        )
    if len(set(lengths.values())) > 1:
        raise DataError(
            "the columns have different lengths: " + ", ".join(f"'{n}' {length}" for n, length in lengths.items()),
            hint="every column needs one value per row",
        )
    if not lengths:
        raise DataError("cannot read rows from an empty dict", hint="expected name -> list of values")
    rows = [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]
    return replace(_objects(rows, _NAME), columns=tuple(arrays))


def _objects(rows: Sequence[Mapping[str, Any]], name: str) -> Table:
    keys, _ = keys_of(enumerate(rows, start=1), len(rows))

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        found = read_objects(enumerate(rows, start=1), columns, lists)
        part = Part(
            frame=found.frame,
            file=name,
            broken=[],
            position=lambda rows: found.numbers.gather(list(rows)).to_list(),
            has_lines=False,
            columns=keys,
        )
        return [replace(part, broken=[part.bad_row(*bad) for bad in found.broken])]

    def is_numeric(column: str) -> bool:
        return objects_are_numbers(rows[:SAMPLE_ROWS], column)

    return Table(name=name, columns=keys, is_numeric=is_numeric, load=load)


def _dataset_dict(source: Any, split: str | None) -> Table:
    splits = list(source)
    chosen = split if split is not None else "train" if "train" in splits else splits[0] if len(splits) == 1 else None
    if chosen not in splits:
        said = f"no split '{split}'" if split is not None else "several splits and none is called 'train'"
        raise DataError(
            f"the data set has {said}; its splits are {', '.join(splits) or 'none'}",
            hint=f"name one: split='{splits[0]}'" if splits else "the data set is empty",
        )
    table = open_memory(source[chosen], None)
    others = ", ".join(f"'{s}'" for s in splits if s != chosen)
    note = (
        (f"took the split '{chosen}'; left aside: {others} (choose with split=...)",)
        if others and split is None
        else ()
    )
    return replace(table, notes=(*note, *table.notes))


def _dataset(source: Any) -> Table:
    names = tuple(source.column_names)
    some = source.select(range(min(len(source), SAMPLE_ROWS)))

    def load(columns: Sequence[str], lists: Collection[str]) -> list[Part]:
        frame = source.select_columns(list(columns)).with_format(None).to_polars()
        return [rows_part(_with_class_names(frame, source.features), _NAME)]

    def is_numeric(column: str) -> bool:
        return all_numbers(some.select_columns([column]).with_format(None).to_polars()[column])

    return Table(name=_NAME, columns=names, is_numeric=is_numeric, load=load)


def _with_class_names(frame: pl.DataFrame, features: Mapping[str, Any]) -> pl.DataFrame:
    """Numbers of classes become the names that the data set gives them; -1 (no label) becomes null."""
    for column in frame.columns:
        if _is(features[column], "datasets", "ClassLabel"):
            names = dict(enumerate(features[column].names))
            frame = frame.with_columns(pl.col(column).replace_strict(names, default=None, return_dtype=pl.String))
    return frame


def _stream(source: Any) -> Table:
    rows: list[Mapping[str, Any]] = list(islice(iter(source), STREAM_ROWS + 1))
    cut = len(rows) > STREAM_ROWS
    if not rows:
        raise DataError("the stream has no rows", hint="it may have been read to its end before: make it afresh")
    note = (
        f"a stream: its first {STREAM_ROWS:,} rows were taken"
        if cut
        else f"a stream: all its {len(rows):,} rows were taken"
    )
    table = _objects(_named_classes(rows[:STREAM_ROWS], source.features or {}), _NAME)
    return replace(table, notes=(note,))


def _named_classes(rows: list[Mapping[str, Any]], features: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = {c: dict(enumerate(f.names)) for c, f in features.items() if _is(f, "datasets", "ClassLabel")}
    if not named:
        return rows
    return [{c: named[c].get(v) if c in named else v for c, v in row.items()} for row in rows]
