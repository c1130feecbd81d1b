"""Reading a plain list of texts: one column of a table, or the lines of a text file."""

from __future__ import annotations

__all__ = ["read_texts"]

import os
from pathlib import Path

from embedfit.data.bind import key
from embedfit.data.paths import find_files
from embedfit.data.tables import open_files
from embedfit.data.textfile import open_text
from embedfit.errors import DataError

USUAL = ("text", "query", "question", "document", "sentence", "utterance", "passage", "content")


def read_texts(source: str | os.PathLike[str], *, column: str | None = None, encoding: str = "utf-8") -> list[str]:
    """Texts in the order of the file.

    Args:
        source: a `.txt` file with one text in each line, or a table (CSV, TSV, JSONL, Parquet).
        column: of the table; found by its usual name, or because it is the only one, where it is not given.
        encoding: of text files.

    Raises:
        DataError: nothing there, not readable, no such column, or an empty text (with its row).
    """
    path = Path(source)
    if path.suffix == ".txt":
        if not path.is_file():
            find_files(source)  # says what is there instead
        with open_text(path, encoding) as file:
            return [line.rstrip("\r\n") for line in file if line.strip()]
    table = open_files(find_files(source), encoding)
    name = _column(table.columns, column, str(source))
    texts = [text for part in table.load([name], ()) for text in part.frame[name].to_list()]
    empty = [i for i, text in enumerate(texts, 1) if text is None or not str(text).strip()]
    if empty:
        raise DataError(
            f"{source}: {len(empty)} of {len(texts)} texts in the column '{name}' are empty, first in row {empty[0]}",
            hint="fill them or take them out: a text without words has no embedding",
        )
    return texts


def _column(columns: tuple[str, ...], wanted: str | None, source: str) -> str:
    if wanted is not None:
        if wanted in columns:
            return wanted
        raise DataError(f"{source} has no column '{wanted}'", hint=f"its columns are {', '.join(columns)}")
    found = [c for usual in USUAL for c in columns if key(c) == usual] or (list(columns) if len(columns) == 1 else [])
    if not found:
        raise DataError(
            f"{source}: which of the columns {', '.join(columns)} holds the texts?", hint="name it with --column NAME"
        )
    return found[0]
