"""CSV and TSV: pyarrow reads whole files of sound rows; Python's csv reads the rest and knows physical lines.

The fast way is taken only where both readers see the same cells: every row has as many cells as the header, and every
quotation mark opens, closes or is doubled inside a quoted cell.
"""

from __future__ import annotations

__all__ = ["Dialect", "dialect_of", "locate", "read_delimited", "sample"]

import codecs
import csv
import sys
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from embedfit.data.paths import format_of
from embedfit.data.textfile import open_text, survey, utf8_chunks
from embedfit.errors import BadRow, DataError

_BLOCK = 1 << 24  # bytes that pyarrow parses at once; a longer row sends the file the slow way
_CHUNK_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one delimited file is written.

    Attributes:
        path: the file.
        encoding: of its text.
        delimiter: one character.
        quoting: False when quotation marks are ordinary characters.
        sound: True when pyarrow and Python's csv see the same cells.
        newline: "" when a carriage return ends a line too, "\\n" when only a line feed does.
        header: names of the columns.
        notes: what was found out by looking.
    """

    path: Path
    encoding: str
    delimiter: str
    quoting: bool = True
    sound: bool = True
    newline: str = ""
    header: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def dialect_of(path: Path, encoding: str) -> Dialect:
    """Look through the whole file once: encoding, delimiter, quoting, header.

    Raises:
        DataError: not in this encoding, empty, or two columns of one name.
    """
    tsv = format_of(path) == "tsv"
    found = Dialect(path=path, encoding=encoding, delimiter="\t" if tsv else ",")
    if all(chunk.isspace() for chunk in utf8_chunks(path, encoding)):
        raise DataError(f"{path} is empty", hint="the first line names the columns, every other line is a row")
    with suppress(UnicodeDecodeError, OSError, EOFError):  # the complete survey below says what is wrong, and where
        found = _sniffed(found)
    seen = survey(utf8_chunks(path, encoding), found.delimiter)
    literal = found.delimiter == "\t" and not seen.clean_quotes
    if literal:
        # Most programs that write tab-separated text never quote; a mark that closes nothing proves it.
        found = replace(found, notes=(*found.notes, f"{path}: quotation marks are ordinary characters of this file"))
    sound = (seen.clean_quotes or literal) and not seen.stray_returns and codecs.lookup(encoding).name == "utf-8"
    found = replace(found, quoting=not literal, sound=sound, newline="\n" if seen.stray_returns else "")
    header = next((cells for _, cells in records(found) if not isinstance(cells, str)), [])
    twice = [name for name, n in Counter(header).items() if n > 1]
    if twice:
        raise DataError(f"{path} has {header.count(twice[0])} columns named '{twice[0]}'", hint="rename one of them")
    return replace(found, header=tuple(header))


def sample(dialect: Dialect, rows: int) -> pl.DataFrame:
    """The first sound rows as text, to tell numbers from words."""
    width = len(dialect.header)
    sound = (cells for _, cells in islice(records(dialect), 1, None) if len(cells) == width and isinstance(cells, list))
    return pl.DataFrame(list(islice(sound, rows)), schema=dict.fromkeys(dialect.header, pl.String), orient="row")


def read_delimited(dialect: Dialect, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.Series | None, list[BadRow]]:
    """The rows of a file, these columns only, every cell as text.

    Returns:
        frame: the sound rows; an empty cell is "".
        lines: physical line of each row, None where it was not needed (see `locate`).
        broken: rows with too few or too many cells, or with broken quoting.
    """
    frame = _read_fast(dialect, columns) if dialect.sound else None
    return (frame, None, []) if frame is not None else _read_slowly(dialect, columns)


def locate(dialect: Dialect, rows: Sequence[int]) -> list[int]:
    """Physical lines on which these rows (counted from 0, after the header) begin; for files without broken rows."""
    wanted = sorted(set(rows))
    found: dict[int, int] = {}
    if wanted:
        for row, (line, _) in enumerate(islice(records(dialect), 1, wanted[-1] + 2)):
            found[row] = line
    return [found[row] for row in rows]


def records(dialect: Dialect) -> Iterator[tuple[int, list[str] | str]]:
    """Every record with the physical line it begins on, header first; a str says why the line is no record.

    After broken quoting reading goes on at the next physical line, so that one stray mark costs one row.
    """
    with open_text(dialect.path, dialect.encoding, dialect.newline) as file, _long_cells():
        waiting: deque[str] = deque()
        taken: list[str] = []

        def lines() -> Iterator[str]:
            while text := waiting.popleft() if waiting else file.readline():
                taken.append(text)
                yield text

        def reader_of(source: Iterator[str]) -> Iterator[list[str]]:
            if dialect.quoting:
                return csv.reader(source, delimiter=dialect.delimiter, strict=True)
            return csv.reader(source, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)

        line, reader = 1, reader_of(lines())
        while True:
            taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, _why(error)
                waiting.extendleft(reversed(taken[1:]))
                line, reader = line + 1, reader_of(lines())
                continue
            if cells:
                yield line, cells
            line += len(taken)


def _why(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quotation mark is opened and never closed"
    return "a carriage return inside an unquoted cell" if "new-line" in said else "text after a closing quotation mark"


@contextmanager
def _long_cells() -> Iterator[None]:
    """The csv module refuses cells over 128 KB unless its (global) limit is raised."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _sniffed(dialect: Dialect) -> Dialect:
    """The delimiter that the extension promises, or, when it separates nothing, the one the first lines agree on."""

    def widths(delimiter: str) -> list[int]:
        some = islice(records(replace(dialect, delimiter=delimiter)), 20)
        return [len(cells) for _, cells in some if not isinstance(cells, str)]

    if max(widths(dialect.delimiter)[:1], default=1) > 1:
        return dialect
    for other in ("\t", ";", "|", ","):
        found = widths(other)
        if found and found[0] > 1 and found.count(found[0]) >= 0.9 * len(found):
            name = {"\t": "tabs", ",": "commas"}.get(other, f"'{other}'")
            note = f"{dialect.path}: columns are separated by {name}, not by what the file's name promises"
            return replace(dialect, delimiter=other, notes=(*dialect.notes, note))
    return dialect


def _read_fast(dialect: Dialect, columns: Sequence[str]) -> pl.DataFrame | None:
    try:
        with pa.input_stream(str(dialect.path), compression="gzip" if dialect.path.suffix == ".gz" else None) as stream:
            batches = arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=_BLOCK),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char='"' if dialect.quoting else False,
                    newlines_in_values=dialect.quoting,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types={c: pa.string() for c in columns},
                    strings_can_be_null=False,
                ),
            )
            frames = [pl.DataFrame(pl.from_arrow(batch)) for batch in batches]
    except pa.ArrowInvalid:
        return None
    empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.concat([empty, *frames])


def _read_slowly(dialect: Dialect, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.Series, list[BadRow]]:
    at = [dialect.header.index(c) for c in columns]
    schema = dict.fromkeys(columns, pl.String)
    frames, rows, broken = [pl.DataFrame(schema=schema)], list[list[str]](), list[BadRow]()
    lines = array("Q")
    for line, cells in islice(records(dialect), 1, None):
        if isinstance(cells, str) or len(cells) != len(dialect.header):
            reason = cells if isinstance(cells, str) else _ragged(cells, dialect)
            broken.append(BadRow(str(dialect.path), line, "", reason))
            continue
        rows.append([cells[i] for i in at])
        lines.append(line)
        if len(rows) == _CHUNK_ROWS:
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows.clear()
    frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(frames), pl.Series("line", np.frombuffer(lines, dtype=np.uint64)), broken


def _ragged(cells: list[str], dialect: Dialect) -> str:
    more = len(cells) > len(dialect.header)
    why = f" (a '{dialect.delimiter}' inside a cell needs quotation marks)" if more and dialect.quoting else ""
    return f"{len(cells)} cells, the header has {len(dialect.header)}{why}"
