"""Vectors from files: what is read, how rows find each other, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embedfit.data.vector_files import read_labels, read_vectors, stream
from embedfit.data.vectors import Vectors, match
from embedfit.errors import DataError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def vectors(values: np.ndarray, ids: str | None = None, source: str = "a") -> Vectors:
    return Vectors(values=values, ids=None if ids is None else tuple(ids), source=source)


def parquet(path: Path, values: np.ndarray, **columns: object) -> Path:
    pl.DataFrame({**columns, "embedding": values.tolist()}).write_parquet(path)
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_a_matrix_of_any_numbers_is_read_from_each_format(tmp_path: Path, dtype: type) -> None:
    values = ROWS.astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", old=values, label=np.arange(4))
    parquet(tmp_path / "a.parquet", values)
    for name in ("a.npy", "a.npz", "a.npz:old", "a.parquet", "a.parquet:embedding"):
        found = read_vectors(f"{tmp_path}/{name}")
        np.testing.assert_array_equal(np.asarray(found.values, np.float32), ROWS)
        assert found.ids is None


def test_a_matrix_on_disk_is_not_read_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    assert isinstance(read_vectors(tmp_path / "a.npy").values, np.memmap)


def test_ids_come_along_from_npz_and_parquet(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", old=ROWS, id=np.array(["p", "q", "r", "s"]))
    parquet(tmp_path / "a.parquet", ROWS, sku=[7, 8, 9, 10])
    assert read_vectors(tmp_path / "a.npz").ids == ("p", "q", "r", "s")
    assert read_vectors(tmp_path / "a.parquet").ids is None
    assert read_vectors(tmp_path / "a.parquet", id_column="sku").ids == ("7", "8", "9", "10")


def test_labels_are_numbered_in_the_order_they_come(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", label=np.array([5, 5, 2]), wide=ROWS)
    (tmp_path / "a.txt").write_text("card\nloan\ncard\n", "utf-8")
    assert read_labels(f"{tmp_path}/a.npz:label", 3).tolist() == [0, 0, 1]
    assert read_labels(tmp_path / "a.txt", 3).tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="3 labels for 4 rows"):
        read_labels(tmp_path / "a.txt", 4)


def test_rows_are_matched_by_id_whatever_their_order() -> None:
    found = match(vectors(ROWS, "abcd"), vectors(ROWS[::-1] * 10, "dcba"))
    np.testing.assert_array_equal(found.target, found.source * 10)
    assert found.names[0] == "id 'a'"
    assert found.left_out == ()


def test_items_of_one_side_alone_are_left_out_and_named() -> None:
    found = match(vectors(ROWS, "abcd", "old"), vectors(ROWS, "bcdx", "new"))
    assert found.rows.tolist() == [1, 2, 3]
    assert [str(row) for row in found.left_out] == [
        "old: id 'a' is missing in new",
        "new: id 'x' is missing in old",
    ]


def test_rows_that_are_not_finite_and_ids_that_come_again_are_errors_that_name_them() -> None:
    broken = ROWS.copy()
    broken[2, 1] = np.nan
    with pytest.raises(DataError, match="1 rows cannot be used: a: row 2 is not finite"):
        match(vectors(broken), vectors(ROWS))
    with pytest.raises(DataError, match="id 'b' of row 3 is already that of row 1"):
        match(vectors(ROWS, "abcb"), vectors(ROWS, "abcd"))


def test_bad_rows_are_left_out_on_both_sides_where_asked() -> None:
    broken = ROWS.copy()
    broken[2, 1] = np.inf
    found = match(vectors(broken), vectors(ROWS), on_bad_rows="skip")
    assert found.rows.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(found.source, found.target)
    found = match(vectors(ROWS, "abcb"), vectors(broken, "abcd"), on_bad_rows="skip")
    assert found.names == ("id 'a'", "id 'b'")
    assert len(found.left_out) == 3  # c is not finite, b comes again, d has no partner


def test_spaces_that_cannot_be_matched_are_refused() -> None:
    with pytest.raises(DataError, match="4 rows, b 3, and there are no ids"):
        match(vectors(ROWS), vectors(ROWS[:3], source="b"))
    with pytest.raises(DataError, match="a has ids and b has none"):
        match(vectors(ROWS, "abcd"), vectors(ROWS, source="b"))
    with pytest.raises(DataError, match="no usable item in common"):
        match(vectors(ROWS, "abcd"), vectors(ROWS, "wxyz"))


@pytest.mark.parametrize("name", ["a.npy", "a.npz:old", "a.parquet"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_streaming_gives_the_rows_of_reading(tmp_path: Path, name: str, rows: int) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", old=ROWS)
    parquet(tmp_path / "a.parquet", ROWS, id=list("abcd"))
    blocks = list(stream(f"{tmp_path}/{name}", rows=rows))
    assert max(len(block) for block, _ in blocks) <= rows
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), ROWS)
    if name == "a.parquet":
        assert [i for _, ids in blocks for i in ids or ()] == list("abcd")


def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.arange(3.0))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    np.savez(tmp_path / "two.npz", old=ROWS, new=ROWS)
    pl.DataFrame({"embedding": [[1.0], [1.0, 2.0]]}).write_parquet(tmp_path / "ragged.parquet")
    pl.DataFrame({"x": [1.0]}).write_parquet(tmp_path / "none.parquet")
    said = {
        "flat.npy": r"expected a matrix of numbers",
        "objects.npy": "it holds Python objects",
        "broken.npz": "cannot be read",
        "broken.parquet": "cannot be read",
        "two.npz": "holds 2 matrices of 2 arrays",
        "two.npz:old2": "has no array 'old2'",
        "ragged.parquet": "different dimensions, 1 to 2",
        "none.parquet": "0 columns of lists",
        "none.parquet:y": "has no column 'y'",
        "absent.npy": "there is no file",
        "a.csv": "vectors are read from",
    }
    for name, words in said.items():
        with pytest.raises(DataError, match=words) as error:
            read_vectors(f"{tmp_path}/{name}")
        assert error.value.hint


def test_a_missing_vector_or_id_of_a_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"embedding": [[1.0, 2.0], None, [3.0, 4.0]]}).write_parquet(path)
    with pytest.raises(DataError, match="row 1 is not finite"):
        match(read_vectors(path), read_vectors(path))
    pl.DataFrame({"id": ["a", None], "embedding": [[1.0], [2.0]]}).write_parquet(path)
    with pytest.raises(DataError, match="1 ids are missing, first in row 1"):
        read_vectors(path)
