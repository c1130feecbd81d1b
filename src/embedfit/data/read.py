"""`read`: from whatever the user has to `Pairs`."""

from __future__ import annotations

__all__ = ["read"]

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from embedfit.data.bind import bind, is_list_role
from embedfit.data.binding import Binding
from embedfit.data.clicks import check
from embedfit.data.collection import find_collection, read_collection
from embedfit.data.log import read_log
from embedfit.data.memory import is_saved_dataset, load_hub, load_saved, open_memory
from embedfit.data.paths import find_files, looks_like_hub_name
from embedfit.data.rows import OnBadRows, gather
from embedfit.data.tables import Part, Table, open_files
from embedfit.errors import DataError
from embedfit.pairs import KINDS, Kind, Pairs

_COLLECTION = ("corpus", "queries", "qrels")


def read(
    source: Any = None,
    *,
    kind: Literal["auto"] | Kind = "auto",
    on_bad_rows: OnBadRows = "error",
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    split: str | None = None,
    **roles: str | Sequence[str] | os.PathLike[str],
) -> Pairs:
    """Read rows and bind their columns to roles by name; the order of columns never means anything.

    Args:
        source: a path, folder or glob (CSV, TSV, JSONL, each also .gz, Parquet), or a list of those; a folder in BEIR
            layout; a `datasets` data set or the name of one on the Hugging Face hub; a list of dicts, a dict of
            columns, a frame of polars, pandas or Arrow. None when a collection is named by its three files.
        kind: what a row is; "auto" infers it from the names of the columns.
        on_bad_rows: "error" refuses data with a broken row and names it; "skip" leaves such rows out and lists them in
            `Pairs.left_out`.
        columns: role -> column; the same as `roles`, for names that are not Python words.
        encoding: of text files.
        split: which split of a data set, or which qrels of a collection; "train" where there is one.
        **roles: `query="user_question"`, `positive=...`, `negative=[...]`, `text=...`, `label=...`, `sentence1=...`
            name the column of a role; the others are found by their usual names. `corpus=`, `queries=`, `qrels=` name
            the three files of a collection, whose roles are `query_id`, `query`, `document_id`, `document`, `title`,
            `relevance`. `corpus=` alone, beside a log of clicks, names the table of its documents.

    Returns:
        The rows under canonical names; `describe_binding` says which column became what.

    Raises:
        DataError: nothing there, not readable, columns missing or ambiguous, or bad rows; with a hint.
    """
    _check("kind", kind, ("auto", *KINDS))
    _check("on_bad_rows", on_bad_rows, ("error", "skip"))
    named: dict[str, Any] = {**(columns or {}), **roles}
    files = {role: named.pop(role) for role in _COLLECTION if role in named}
    if source is not None and list(files) == ["corpus"] and kind in ("auto", "clicks"):
        table, corpus = _open(source, encoding, split), Path(files["corpus"])
        return _checked(read_log(table, corpus, roles=named, on_bad_rows=on_bad_rows, encoding=encoding))
    found = _collection_files(source, files, kind, split)
    if found:
        return read_collection(found, roles=named, on_bad_rows=on_bad_rows, encoding=encoding)
    table = _open(source, encoding, split)
    chosen, binding, parts = _load(table, kind, named)
    rows, binding, left_out = gather(parts, binding, on_bad_rows, table.name)
    binding = Binding(binding.columns, binding.unused, (*table.notes, *binding.notes))
    return _checked(Pairs(kind=chosen, table=rows, source=table.name, binding=binding, left_out=left_out))


def _checked(pairs: Pairs) -> Pairs:
    """A log of clicks has to hold one, and its reader should know what counts as a negative."""
    if pairs.kind != "clicks" or not isinstance(pairs.binding, Binding):
        return pairs
    return replace(pairs, binding=pairs.binding.with_notes(*check(pairs)))


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise DataError(
            f"{name}='{value}' is not possible; expected one of {', '.join(allowed)}",
            hint=f"leave it out for '{allowed[0]}'",
        )


def _collection_files(source: Any, files: dict[str, Any], kind: str, split: str | None) -> dict[str, Path]:
    if files:
        missing = [role for role in _COLLECTION if role not in files]
        if missing or source is not None:
            raise DataError(
                "a collection is read from three files, got "
                + ", ".join([*(["a source"] if source is not None else []), *files]),
                hint="write read(corpus='...', queries='...', qrels='...')",
            )
        return {role: Path(path) for role, path in files.items()}
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        return find_collection(Path(source), split, required=kind == "collection")
    return {}


def _open(source: Any, encoding: str, split: str | None) -> Table:
    if source is None:
        raise DataError("nothing to read: no source was given", hint="name a file, or corpus=, queries= and qrels=")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir() and is_saved_dataset(path):
            return load_saved(path, split)
        if isinstance(source, str) and looks_like_hub_name(source):
            return load_hub(source, split)
        return open_files(find_files(source), encoding)
    if isinstance(source, list | tuple) and all(isinstance(one, str | os.PathLike) for one in source):
        return open_files(find_files(source), encoding)
    return open_memory(source, split)


def _load(table: Table, kind: str, roles: Mapping[str, Any]) -> tuple[Kind, Binding, list[Part]]:
    """Bind and load; where objects further down bring new keys, bind again with them."""
    while True:
        chosen, binding = bind(table.columns, kind=kind, roles=roles, numeric=table.is_numeric, name=table.name)
        lists = [column for role, column in binding.items() if is_list_role(role)]
        parts = table.load(list(binding.values()), lists)
        late = dict.fromkeys(c for part in parts for c in part.columns if c not in table.columns)
        if not late:
            return chosen, binding, parts
        table = replace(table, columns=(*table.columns, *late))
