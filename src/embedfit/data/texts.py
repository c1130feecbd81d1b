"""Reading a plain list of texts: one column of a table, or the lines of a text file."""

from __future__ import annotations

__all__ = ["Texts", "open_texts", "read_texts"]

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedfit.data.bind import key
from embedfit.data.paths import find_files, format_of
from embedfit.data.tables import open_files
from embedfit.data.textfile import open_text
from embedfit.errors import DataError

USUAL = ("text", "query", "question", "document", "sentence", "utterance", "passage", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts that need not be in memory all at once.

    Attributes:
        count: how many.
        parts: all of them in order, so many at a time; may be called again.
    """

    count: int
    parts: Callable[[int], Iterator[list[str]]]

    def at(self, rows: Sequence[int]) -> list[str]:
        """The texts of some rows, ascending."""
        found: list[str] = []
        start = 0
        for part in self.parts(1 << 16):
            while len(found) < len(rows) and rows[len(found)] < start + len(part):
                found.append(part[rows[len(found)] - start])
            start += len(part)
        return found


def open_texts(source: str | os.PathLike[str], *, column: str | None = None, encoding: str = "utf-8") -> Texts:
    """The same texts as `read_texts`; those of Parquet files, one or a folder of them, are read as they are wanted.

    Arguments and errors are those of `read_texts`; that a text is empty shows when its part is read.
    """
    files = [] if Path(source).suffix == ".txt" else find_files(source)
    if not files or format_of(files[0]) != "parquet":
        texts = read_texts(source, column=column, encoding=encoding)
        return Texts(count=len(texts), parts=lambda size: (texts[i : i + size] for i in range(0, len(texts), size)))
    table = open_files(files, encoding)  # says what is wrong with the files
    name = _column(table.columns, column, str(source))

    def parts(size: int) -> Iterator[list[str]]:
        before = 0
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(size, columns=[name]):
                texts = batch.column(0).cast(pa.large_string()).to_pylist()
                _refuse_empty(texts, f"{source}, column '{name}'", before)
                before += len(texts)
                yield texts

    return Texts(count=sum(pq.read_metadata(file).num_rows for file in files), parts=parts)


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
    _refuse_empty(texts, f"{source}, column '{name}'")
    return texts


def _refuse_empty(texts: Sequence[str | None], where: str, before: int = 0) -> None:
    empty = [i for i, text in enumerate(texts, before + 1) if text is None or not str(text).strip()]
    if empty:
        raise DataError(
            f"{where}: {len(empty)} of {len(texts)} texts are empty, first in row {empty[0]}",
            hint="fill them or take them out: a text without words has no embedding",
        )


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
