from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from embedfit.data.texts import open_texts, read_texts
from embedfit.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        texts = [f"text {i}" for i in range(10 * number, 10 * number + 10)]
        pl.DataFrame({"id": range(10), "text": texts}).write_parquet(tmp_path / f"{number}.parquet", row_group_size=4)
    return tmp_path


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_texts_read_in_parts_are_those_read_whole(folder: Path, size: int) -> None:
    texts = open_texts(folder)
    for _ in range(2):
        parts = list(texts.parts(size))
        assert [text for part in parts for text in part] == read_texts(folder)
        assert max(map(len, parts)) <= size
    assert texts.count == 30


def test_texts_of_some_rows(folder: Path, tmp_path: Path) -> None:
    assert open_texts(folder).at([0, 9, 10, 29]) == ["text 0", "text 9", "text 10", "text 29"]
    (tmp_path / "lines.txt").write_text("a\n\nb\nc\n")
    lines = open_texts(tmp_path / "lines.txt")
    assert (lines.count, lines.at([1, 2]), list(lines.parts(2))) == (3, ["b", "c"], [["a", "b"], ["c"]])


def test_an_empty_text_is_named_by_its_row_among_all(folder: Path) -> None:
    pl.DataFrame({"id": [1, 2], "text": ["fine", " "]}).write_parquet(folder / "3.parquet")
    texts = open_texts(folder)
    with pytest.raises(DataError, match="first in row 32"):
        list(texts.parts(5))
    with pytest.raises(DataError, match="no column 'words'"):
        open_texts(folder, column="words")
