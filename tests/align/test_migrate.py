"""Indexes streamed through a map: every format, bounded memory, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest
from spaces import noise, unit

from embedfit.align import migrate
from embedfit.align.closed import Affine, as_map
from embedfit.errors import DataError, ModelError
from embedfit.towers.vector_map import VectorMap

ROWS = noise(50, 6, 0)


@pytest.fixture
def vector_map() -> VectorMap:
    return as_map(Affine(weight=noise(6, 4, 1), bias=noise(1, 4, 2)[0]), "linear", unit=True).eval()


@pytest.mark.parametrize("source", ["old.npy", "old.npz", "old.parquet"])
@pytest.mark.parametrize("block", [7, 1000])
def test_every_format_gives_the_mapped_rows(tmp_path: Path, vector_map: VectorMap, source: str, block: int) -> None:
    np.save(tmp_path / "old.npy", ROWS.astype(np.float16))
    np.savez(tmp_path / "old.npz", old=ROWS.astype(np.float16))
    half = ROWS.astype(np.float16).astype(np.float32)
    ids = [f"item {i}" for i in range(50)]
    pl.DataFrame({"id": ids, "embedding": half.tolist()}).write_parquet(tmp_path / "old.parquet")
    expected, told = vector_map.map(half), []
    for out in ("new.npy", "new.parquet", "new.faiss"):
        moved = migrate(vector_map, tmp_path / source, tmp_path / out, block=block, progress=told.append)
        assert (moved.rows, moved.dimension) == (50, 4)
        assert moved.rate > 0
    assert told[-1] == 50
    np.testing.assert_allclose(np.load(tmp_path / "new.npy", mmap_mode="r"), expected, atol=1e-6)
    table = pl.read_parquet(tmp_path / "new.parquet")
    np.testing.assert_allclose(table["embedding"].to_numpy(), expected, atol=1e-6)
    assert table.columns == (["id", "embedding"] if source == "old.parquet" else ["embedding"])
    index = faiss.read_index(str(tmp_path / "new.faiss"))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert index.search(expected, 1)[1][:, 0].tolist() == list(range(50))


def test_a_space_that_is_not_of_unit_length_is_indexed_by_distance(tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", ROWS)
    made = as_map(Affine(weight=noise(6, 4, 1), bias=noise(1, 4, 2)[0]), "linear").eval()
    migrate(made, tmp_path / "old.npy", tmp_path / "new.faiss")
    assert faiss.read_index(str(tmp_path / "new.faiss")).metric_type == faiss.METRIC_L2


def test_what_is_there_is_left_alone_and_nothing_half_written_stays(tmp_path: Path, vector_map: VectorMap) -> None:
    broken = unit(noise(40, 6, 3))
    broken[30, 2] = np.nan
    np.save(tmp_path / "old.npy", broken)
    with pytest.raises(DataError, match="row 30 is not finite"):
        migrate(vector_map, tmp_path / "old.npy", tmp_path / "new.npy", block=8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.npy"]
    with pytest.raises(DataError, match="exists; it is left as it is"):
        migrate(vector_map, tmp_path / "old.npy", tmp_path / "old.npy")
    with pytest.raises(DataError, match="vectors are written to"):
        migrate(vector_map, tmp_path / "old.npy", tmp_path / "new.csv")
    np.save(tmp_path / "narrow.npy", noise(4, 5, 4))
    with pytest.raises(ModelError, match="takes vectors of 6 dimensions"):
        migrate(vector_map, tmp_path / "narrow.npy", tmp_path / "new.npy")
