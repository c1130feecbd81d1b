"""Embeddings on disk: written a part at a time, read back without being in memory all at once.

Axes: n rows, m rows of a part, e dimensions.
"""

from __future__ import annotations

__all__ = ["export", "read_exported"]

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from embedfit.errors import DataError
from embedfit.run import write_atomically

Part = tuple[np.ndarray, Mapping[str, Sequence[str]]]
_ROWS = 1 << 14  # of a part, where the embeddings are at hand


def export(
    embedding: Float[np.ndarray, "n e"] | Iterable[Part],
    path: Path,
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write embeddings, float32, in the order of the rows.

    Args:
        embedding: what is written; or at least one part of it after the other, each with its part of the columns.
        path: ends in `.npy` (the matrix alone) or `.parquet` (a column `embedding` beside the given ones).
        columns: columns of n texts each, for example ids; Parquet only.

    Raises:
        DataError: another ending, or columns where the format has none.
        RunError: the disk is full or not writable.
    """
    if path.suffix not in (".npy", ".parquet") or (path.suffix == ".npy" and columns):
        given = f"'{path.suffix}'" + (" with columns" if columns else "")
        raise DataError(f"embeddings are written to .npy or .parquet, got {given}", hint="columns need .parquet")
    parts = _cut(embedding, columns or {}) if isinstance(embedding, np.ndarray) else iter(embedding)
    with write_atomically(path) as part:
        (_write_npy if path.suffix == ".npy" else _write_parquet)(part, parts)


def read_exported(path: Path) -> Float[np.ndarray, "n e"]:
    """What `export` wrote: mapped from a `.npy` file, read whole from a `.parquet` file."""
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return pl.read_parquet(path, columns=["embedding"])["embedding"].to_numpy()


def _cut(embedding: Float[np.ndarray, "n e"], columns: Mapping[str, Sequence[str]]) -> Iterator[Part]:
    for start in range(0, max(1, len(embedding)), _ROWS):
        rows = slice(start, start + _ROWS)
        yield embedding[rows], {name: values[rows] for name, values in columns.items()}


def _write_npy(path: Path, parts: Iterator[Part]) -> None:
    count, width = 0, 0
    with path.open("wb") as file:
        # the header has room for the number of rows to grow, so that it can be written again when they are known
        for embedding, _ in parts:
            rows = np.ascontiguousarray(embedding, "<f4")
            if file.tell() == 0:
                width = rows.shape[1]
                np.lib.format.write_array_header_1_0(file, _header(0, width))
            file.write(rows.tobytes())
            count += len(rows)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, _header(count, width))


def _header(count: int, width: int) -> dict[str, object]:
    return {"descr": "<f4", "fortran_order": False, "shape": (count, width)}


def _write_parquet(path: Path, parts: Iterator[Part]) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for embedding, columns in parts:
            rows = np.ascontiguousarray(embedding, np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
            texts = {name: pa.array(list(values), pa.large_string()) for name, values in columns.items()}
            table = pa.table({**texts, "embedding": vectors})
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
