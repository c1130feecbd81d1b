from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.data.shard_rows import sample_of, slice_of, texts_of
from embedfit.data.shards import Shards, open_shards, too_large
from embedfit.errors import DataError
from embedfit.team import Team


def written(folder: Path, rows: int = 230, files: int = 3, group: int = 20) -> Path:
    """Pairs `query i`, `document i` in several files of several row groups each."""
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(np.array_split(np.arange(rows), files)):
        table = pl.DataFrame({"document": [f"document {i}" for i in part], "query": [f"query {i}" for i in part]})
        table.write_parquet(folder / f"{number}.parquet", row_group_size=group)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("pairs"))


def queries(shards: Shards, step: int, processes: int = 1, **more: int) -> list[str]:
    """The queries of a step in its order, put together from what each process reads."""
    part = slice_of(shards, step, **{"batch_size": 32, "seed": 0, **more}, processes=processes)
    out = [""] * len(part.row)
    for rank in range(processes):
        own, positives, taken = texts_of(shards, part, Team(rank=rank, size=processes))
        assert [q.replace("query", "document") for q in own] == positives
        assert all(taken)
        for place, text in zip(np.flatnonzero(part.owner == rank).tolist(), own, strict=True):
            out[place] = text
    return out


def test_an_epoch_sees_every_pair_once_in_equal_steps(folder):
    shards = open_shards(folder, window=70)
    steps = [queries(shards, step) for step in range(7)]  # 230 rows in batches near 32
    assert sorted(text for step in steps for text in step) == sorted(f"query {i}" for i in range(230))
    assert {len(step) for step in steps} <= {32, 33}


@given(processes=st.integers(2, 5), step=st.integers(0, 30), window=st.sampled_from([1, 50, 1000]))
@settings(max_examples=20)
def test_the_order_does_not_depend_on_the_number_of_processes(folder, processes, step, window):
    shards = open_shards(folder, window=window)
    assert queries(shards, step, processes) == queries(shards, step)


def test_each_epoch_and_each_seed_has_an_order_of_its_own(folder):
    shards = open_shards(folder, window=70)
    first, second, other = queries(shards, 0), queries(shards, 7), queries(shards, 0, seed=1)
    assert len({tuple(x) for x in (first, second, other)}) == 3
    assert first == queries(open_shards(folder, window=70), 0)


def test_rows_meet_rows_of_other_files_and_of_their_window_only(folder):
    shards = open_shards(folder, window=70)
    part = slice_of(shards, 3, batch_size=32, seed=0)
    assert len(set(part.group.tolist())) > 2
    assert set(part.group.tolist()) <= set(part.window)
    assert sum(shards.sizes[g] for g in part.window) < 2 * (70 + 20)


def test_a_process_holds_its_own_row_groups_of_the_window_and_no_others(folder):
    shards = open_shards(folder, window=70)
    for step in range(7):
        part = slice_of(shards, step, batch_size=32, seed=0, processes=2)
        texts_of(shards, part, Team(rank=1, size=2))
        assert set(shards.held) <= {g for g in part.window if g % 2 == 1}
    assert shards.held


def test_what_cannot_be_streamed_is_an_error(tmp_path):
    (tmp_path / "a.csv").write_text("query,positive\na,b\n")
    with pytest.raises(DataError, match="only Parquet"):
        open_shards(tmp_path / "a.csv")
    pl.DataFrame({"query": ["a", "b", "c"], "positive": ["x", None, "z"]}).write_parquet(tmp_path / "b.parquet")
    shards = open_shards(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="row 2 of row group 1 has no text in the column 'positive'"):
        texts_of(shards, slice_of(shards, 0, batch_size=8, seed=0))
    pl.DataFrame({"q": ["a"], "other": ["x"]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="other columns"):
        open_shards([tmp_path / "b.parquet", tmp_path / "c.parquet"])
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"d\.parquet cannot be read as Parquet"):
        open_shards(tmp_path / "d.parquet")


def test_a_sample_is_of_many_row_groups_and_the_same_for_one_seed(folder):
    shards = open_shards(folder)
    few, again, other = (sample_of(shards, seed=seed, rows=36) for seed in (0, 0, 1))
    assert few.table.equals(again.table)
    assert not few.table.equals(other.table)
    assert 36 <= len(few) <= 36 + len(shards.groups)
    assert few.table["query"].n_unique() == len(few)
    numbers = few.table["query"].str.strip_prefix("query ").cast(pl.Int64)
    assert (numbers // 20).n_unique() >= len(shards.groups) - 3
    assert few.table["positive"].to_list() == [f"document {i}" for i in numbers]
    assert len(sample_of(shards, seed=0)) == 230
    assert not shards.held


def test_columns_beside_the_pair_are_named_as_not_read(tmp_path):
    table = {"query": ["a", "b"], "positive": ["x", "y"], "negative_1": ["y", "x"], "page": ["1", "2"]}
    pl.DataFrame(table).write_parquet(tmp_path / "p.parquet")
    binding = sample_of(open_shards(tmp_path), seed=0).binding
    assert dict(binding) == {"query": "query", "positive": "positive"}
    assert set(binding.unused) == {"page", "negative_1"}
    assert binding.notes == ("of shards, queries and positives are read: not negative_1",)


def test_only_parquet_that_half_of_the_memory_would_not_hold_is_too_large(folder, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("query,positive\na,b\n")
    assert not any(map(too_large, (folder, tmp_path / "a.csv", "owner/name", "nowhere.parquet")))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=200_000))
    assert too_large(folder)
    assert not too_large(tmp_path / "a.csv")
