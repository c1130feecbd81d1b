"""Move an index: vectors stream through a map, block by block, whatever their number.

Axes: n rows, b rows of a block, e dimensions.
"""

from __future__ import annotations

__all__ = ["Moved", "migrate"]

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embedfit.data.vector_files import stream
from embedfit.errors import DataError
from embedfit.run import write_atomically
from embedfit.towers.vector_map import VectorMap

BLOCK = 4_096  # rows mapped at once: few enough to stay in the cache from the product to the file
Write = Callable[[Float[np.ndarray, "b e"], list[str] | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a migration did.

    Attributes:
        rows: how many vectors.
        dimension: of the new ones.
        seconds: reading, mapping and writing.
    """

    rows: int
    dimension: int
    seconds: float

    @property
    def rate(self) -> float:
        """Vectors per second."""
        return self.rows / max(self.seconds, 1e-9)


def migrate(
    vector_map: VectorMap,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    id_column: str | None = None,
    block: int = BLOCK,
    progress: Callable[[int], None] | None = None,
) -> Moved:
    """Map all vectors of a file into a new one, in memory for a few blocks (a FAISS index is built in memory whole).

    Args:
        vector_map: old space to new space.
        source: `.npy`, `.npz:name` or `.parquet:column` with vectors of the old space.
        out: `.npy`, `.parquet` (with the ids, if there are any) or `.faiss` (flat: inner product of unit rows, else
            squared distance; row i is vector i). It is complete or not there at all; one that is there is left alone.
        id_column: array or column with the ids.
        block: vectors mapped at once.
        progress: told the number of vectors done after every block.

    Raises:
        DataError: the source cannot be read or holds rows that are not finite; the output exists, or has no known end.
        ModelError: vectors of another dimension.
        RunError: the disk is full or not writable.
    """
    place = Path(out)
    if place.exists():
        raise DataError(f"'{out}' exists; it is left as it is", hint="name another file, or delete it")
    writers = {".npy": _npy, ".parquet": _parquet, ".faiss": _faiss}
    if place.suffix not in writers:
        raise DataError(f"vectors are written to {', '.join(writers)}, got '{out}'", hint="for example new.npy")
    began, done = time.perf_counter(), 0
    size = vector_map.shape.target
    with write_atomically(place) as part, writers[place.suffix](part, size, vector_map.shape.unit) as write:
        for rows, ids in stream(source, rows=block, id_column=id_column):
            moved = vector_map.map(rows)
            with np.errstate(invalid="ignore", over="ignore"):
                total = moved.sum()  # cheaper than looking at each number
            if not np.isfinite(total):
                _refuse(moved, done, source)
            write(moved, ids)
            done += len(rows)
            if progress is not None:
                progress(done)
        if not done:
            raise DataError(f"{source}: there are no vectors", hint="nothing was written")
    return Moved(rows=done, dimension=size, seconds=time.perf_counter() - began)


def _refuse(moved: Float[np.ndarray, "b e"], done: int, source: str | os.PathLike[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(moved).all(1))
    if bad.size:
        more = f", nor are {bad.size - 1} more of its block" if bad.size > 1 else ""
        raise DataError(
            f"{source}: row {done + bad[0]} is not finite{more}",
            hint="mend these vectors or take them out; nothing was written",
        )


@contextmanager
def _npy(path: Path, size: int, unit: bool) -> Iterator[Write]:
    """Rows are appended; the header, whose length is fixed, is written again once their number is known."""
    del unit
    count = 0
    with path.open("wb") as file:
        _header(file, 2**40, size)
        length = file.tell()

        def write(rows: Float[np.ndarray, "b e"], ids: list[str] | None) -> None:
            nonlocal count
            count += len(rows)
            file.write(np.ascontiguousarray(rows, np.float32).data)

        yield write
        file.seek(0)
        _header(file, count, size)
        assert file.tell() == length, "numpy pads headers for a growing first axis"


def _header(file: Any, rows: int, size: int) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, size)})


@contextmanager
def _parquet(path: Path, size: int, unit: bool) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    del unit
    vectors = pa.list_(pa.float32(), size)
    writer: pq.ParquetWriter | None = None

    def write(rows: Float[np.ndarray, "b e"], ids: list[str] | None) -> None:
        nonlocal writer
        columns = {} if ids is None else {"id": pa.array(ids, pa.string())}
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=vectors)
        table = pa.table(columns)
        if writer is None:
            # floats hardly compress, and trying to costs more than mapping them
            writer = pq.ParquetWriter(
                path,
                table.schema,
                compression="none",
                use_dictionary=False,
                memory_pool=pa.system_memory_pool(),  # pyarrow's own pool beside torch's grows with the file
            )
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _faiss(path: Path, size: int, unit: bool) -> Iterator[Write]:
    import faiss

    index = faiss.IndexFlatIP(size) if unit else faiss.IndexFlatL2(size)
    yield lambda rows, ids: index.add(np.ascontiguousarray(rows, np.float32))
    faiss.write_index(index, str(path))
