"""Files of vectors: .npy (a matrix, memory-mapped), .npz and .parquet (a matrix or column by name, ids beside).

A place inside a file follows a colon: `file.npz:name`, `file.parquet:column`. Nothing is ever un-pickled.

Axes: n rows, b rows of a block, e dimensions.
"""

from __future__ import annotations

__all__ = ["is_vectors", "read_label_values", "read_labels", "read_vectors", "stream"]

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

from embedfit.data.paths import find_files
from embedfit.data.texts import read_texts
from embedfit.data.vectors import Vectors
from embedfit.errors import DataError

ENDS = (".npy", ".npz", ".parquet", ".pq")
IDS = ("id", "ids", "_id", "document_id", "doc_id", "item_id", "query_id", "row_id")


def is_vectors(source: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a file of vectors (which need not exist)."""
    return _divided(source)[0].suffix.lower() in ENDS


def read_vectors(source: str | os.PathLike[str], *, id_column: str | None = None) -> Vectors:
    """Vectors of a file; an .npy file stays on disk until its rows are used.

    Args:
        source: `file.npy`, `file.npz:name` or `file.parquet:column`; what comes after the colon may be left out where
            there is only one candidate.
        id_column: array or column with the ids; found by its usual name where it is not given.

    Raises:
        DataError: nothing there, not readable, no matrix of numbers, or ids that do not fit.
    """
    path, name = _divided(source)
    kind = path.suffix.lower()
    if kind not in ENDS:
        raise DataError(f"vectors are read from .npy, .npz or .parquet, got '{source}'", hint="save them as .npy")
    if not path.is_file():
        _missing(path)
    if kind == ".npy":
        if name or id_column:
            raise DataError(f"an .npy file holds one matrix and no '{name or id_column}'", hint=f"name it '{path}'")
        return Vectors(values=_matrix(_mapped(path), str(source)), ids=None, source=str(source))
    found, ids = _of_npz(path, name, id_column) if kind == ".npz" else _of_parquet(path, name, id_column)
    values = _matrix(found, str(source))
    if ids is not None and len(ids) != len(values):
        raise DataError(f"{source}: {len(values)} rows and {len(ids)} ids", hint="every row needs one id")
    return Vectors(values=values, ids=ids, source=str(source))


def read_labels(source: str | os.PathLike[str], count: int, *, column: str | None = None) -> Int[np.ndarray, " n"]:
    """A class number for each row; see `read_label_values`."""
    number: dict[Any, int] = {}
    return np.array(
        [number.setdefault(value, len(number)) for value in read_label_values(source, count, column=column)]
    )


def read_label_values(source: str | os.PathLike[str], count: int, *, column: str | None = None) -> list[Any]:
    """A label for each row: an array of an .npz or .npy file, or one text per line or cell.

    Args:
        source: `file.npz:name`, `file.npy`, or a table or text file as `read_texts` reads it.
        count: how many there must be.
        column: of a table.

    Raises:
        DataError: not readable, or another number of labels.
    """
    path, name = _divided(source)
    if path.suffix.lower() == ".npz":
        with _archive(path) as archive:
            values = np.asarray(_named(archive, name, path)).reshape(-1).tolist()
    elif path.suffix.lower() == ".npy":
        values = np.asarray(_mapped(path)).reshape(-1).tolist()
    else:
        values = read_texts(source, column=column)
    if len(values) != count:
        raise DataError(f"{source}: {len(values)} labels for {count} rows", hint="every row needs one label")
    return values


def stream(
    source: str | os.PathLike[str], *, rows: int, id_column: str | None = None
) -> Iterator[tuple[Shaped[np.ndarray, "b e"], list[str] | None]]:
    """Blocks of at most `rows` vectors with their ids; never more than a block of an .npy or Parquet file in memory.

    Raises:
        DataError: as `read_vectors`.
    """
    path, name = _divided(source)
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        vectors = read_vectors(source, id_column=id_column)
        for start in range(0, len(vectors), rows):
            part = slice(start, start + rows)
            # mapped anew for each block: pages that were read once would count as held until the end
            values = _mapped(path) if isinstance(vectors.values, np.memmap) else vectors.values
            yield values[part], None if vectors.ids is None else list(vectors.ids[part])
        return
    import pyarrow.parquet as pq

    column, ids = _columns(path, name, id_column)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=[c for c in (column, ids) if c is not None]):
            table = pl.from_arrow(batch)
            assert isinstance(table, pl.DataFrame)
            yield _rectangle(table[column], source), None if ids is None else table[ids].cast(pl.String).to_list()


def _divided(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """`file.npz:name` -> the file, and the name."""
    text = os.fspath(source)
    file, colon, name = text.rpartition(":")
    if colon and Path(file).suffix.lower() in ENDS:
        return Path(file), name
    return Path(text), None


def _missing(path: Path) -> None:
    find_files(path)  # says what is there instead
    raise DataError(f"'{path}' is no file", hint="name a file of vectors")


def _mapped(path: Path) -> Any:
    """The matrix of an .npy file, still on disk."""
    with _readable(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    """The arrays of an .npz file, by name."""
    if not path.is_file():
        _missing(path)
    with path.open("rb") as file, _readable(path), np.load(file, allow_pickle=False) as arrays:
        yield arrays


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        _missing(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        pickled = any(word in str(error) for word in ("allow_pickle", "Python objects"))
        reason = "it holds Python objects" if pickled else " ".join(str(error).split())
        raise DataError(f"'{path}' cannot be read: {reason}", hint="save numbers or fixed text, with numpy") from None


def _named(archive: Any, name: str | None, path: Path) -> Any:
    names = list(archive)
    if name is None:
        wanted = [n for n in names if archive[n].ndim == 2]
        if len(wanted) != 1:
            raise DataError(
                f"'{path}' holds {len(wanted)} matrices of {len(names)} arrays; which one is meant?",
                hint=f"name it, for example '{path}:{(wanted or names or ['name'])[0]}' (of {', '.join(names)})",
            )
        name = wanted[0]
    if name not in names:
        raise DataError(f"'{path}' has no array '{name}'", hint=f"it holds {', '.join(names)}")
    return archive[name]


def _of_npz(path: Path, name: str | None, id_column: str | None) -> tuple[Any, tuple[str, ...] | None]:
    with _archive(path) as archive:
        values = _named(archive, name, path)
        found = id_column or next((n for n in IDS if n in archive and n != name), None)
        if found is None:
            return values, None
        return values, tuple(map(str, np.asarray(_named(archive, found, path)).reshape(-1).tolist()))


def _of_parquet(path: Path, name: str | None, id_column: str | None) -> tuple[Any, tuple[str, ...] | None]:
    column, ids = _columns(path, name, id_column)
    frame = pl.read_parquet(path, columns=[c for c in (column, ids) if c is not None])
    if ids is not None and frame[ids].null_count():
        row = frame[ids].is_null().arg_max()
        raise DataError(f"{path}: {frame[ids].null_count()} ids are missing, first in row {row}", hint="fill them in")
    names = None if ids is None else tuple(frame[ids].cast(pl.String).to_list())
    return _rectangle(frame[column], f"{path}"), names


def _columns(path: Path, name: str | None, id_column: str | None) -> tuple[str, str | None]:
    """The column of the vectors and that of the ids."""
    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"'{path}' cannot be read: {reason}", hint="was it written to its end?") from None
    lists = [c for c, kind in schema.items() if isinstance(kind, pl.List | pl.Array)]
    for wanted in (name, id_column):
        if wanted is not None and wanted not in schema:
            raise DataError(f"{path} has no column '{wanted}'", hint=f"its columns are {', '.join(schema)}")
    if name is None and len(lists) != 1:
        raise DataError(
            f"{path} has {len(lists)} columns of lists; which one holds the vectors?",
            hint=f"name it, for example '{path}:{(lists or ['embedding'])[0]}'",
        )
    ids = id_column or next((c for c in IDS if c in schema), None)
    return name or lists[0], ids


def _rectangle(column: pl.Series, source: object) -> Shaped[np.ndarray, "n e"]:
    """A column of lists as a matrix; rows that are missing become NaN, so that they are named with the others."""
    if not isinstance(column.dtype, pl.List | pl.Array):
        raise DataError(f"{source}: '{column.name}' holds {column.dtype}, no lists of numbers", hint="name another one")
    lengths = column.list.len() if isinstance(column.dtype, pl.List) else column.arr.len()
    sizes = lengths.drop_nulls().unique().to_list()
    if len(sizes) > 1:
        odd = int((lengths != lengths.drop_nulls().mode()[0]).arg_max() or 0)
        raise DataError(
            f"{source}: vectors of different dimensions, {min(sizes)} to {max(sizes)}; the first odd one is row {odd}",
            hint="all rows need the same number of dimensions",
        )
    wide = sizes[0] if sizes else 1
    try:
        cast = column.cast(pl.List(pl.Float32)).fill_null([float("nan")] * wide)
        return cast.explode(empty_as_null=True).fill_null(float("nan")).to_numpy().reshape(len(column), wide)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise DataError(f"{source}: '{column.name}' holds no numbers: {error}", hint="name another column") from None


def _matrix(values: Any, source: str) -> Shaped[np.ndarray, "n e"]:
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not values.size:
        raise DataError(
            f"{source}: expected a matrix of numbers, one row per item; got shape {values.shape} of {values.dtype}",
            hint="an array [items, dimensions] of floats",
        )
    return values
