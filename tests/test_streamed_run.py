"""`fit` on Parquet files that are read in parts: a whole run, in its order whoever reads it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch

import embedfit as ef
from embedfit import job
from embedfit.errors import DataError, RecipeError
from embedfit.recipe import Recipe, patch

SETTINGS = {
    "data.stream": True,
    "data.dev": 12,
    "model.kind": "static",
    "model.dimension": 8,
    "optim.batch_size": 80,
    "optim.learning_rate": 0.01,
    "optim.length": "6 steps",
    "run.checkpoint_every": "2 steps",
    "run.evaluate_every": "6 steps",
    "run.threads": 1,
}
# texts are embedded eight at a time, so that two processes share a batch; "stop" dies at a step
CODE = f"""
import sys
import torch.distributed as dist
import embedfit as ef
from embedfit.engine.stream import Stream
from embedfit.towers import Tower
Tower.micro = 8
whole = Stream.batch
def batch(self, step, **more):
    return whole(self, step, **more) if sys.argv[3] == "go" or step < 4 else sys.exit(0)
Stream.batch = batch
if int(sys.argv[4]) > 1:
    dist.init_process_group("gloo")
run = ef.fit(sys.argv[1], out=sys.argv[2], settings={SETTINGS!r}, resume=True)
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """320 pairs in two files of row groups of 17; each positive twice, now and then a query of another row."""
    things = [f"{thing} number {i} of {colour}" for i in range(80) for thing in "ab" for colour in ("red", "blue")]
    (tmp_path / "pairs").mkdir()
    for number in range(2):
        rows = range(160 * number, 160 * (number + 1))
        table = {"query": [things[i % 310] for i in rows], "positive": [f"about {things[i // 2]}" for i in rows]}
        pl.DataFrame(table).write_parquet(tmp_path / "pairs" / f"{number}.parquet", row_group_size=17)
    return tmp_path / "pairs"


def test_a_run_on_shards_trains_evaluates_and_says_what_it_looked_at(pairs: Path, tmp_path: Path) -> None:
    run = ef.fit(pairs, out=tmp_path / "run", settings={**SETTINGS, "optim.length": "auto"})
    assert run.facts["data.streamed"] == 320
    assert run.facts["chosen.steps"] == 4  # each row once
    assert run.record.recipe.data.stream is True
    assert run.evaluation["queries"] >= 10
    assert len(run.history["loss"]) == 4
    assert not (tmp_path / "run" / "catalogue").exists()
    text = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "320" in text


def test_rows_with_a_held_out_query_are_never_trained_on(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = job.gather(patch(Recipe(), {**SETTINGS, "data.files": [str(pairs)]}))
    assert rows.shards is not None
    assert rows.dev is not None
    kept = set(rows.dev.table["query"].to_list())
    assert len(rows.train) + len(rows.dev) == len(rows.shards) == 320
    seen: list[str] = []
    from embedfit.data.shard_rows import slice_of, texts_of

    for step in range(4):
        queries, _, taken = texts_of(rows.shards, slice_of(rows.shards, step, batch_size=80, seed=0))
        seen += [query for query, is_taken in zip(queries, taken, strict=True) if is_taken]
    assert not kept & set(seen)
    assert sorted(seen) == sorted(rows.train.table["query"].to_list())
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=100_000))
    large = job.gather(patch(Recipe(), {"data.files": [str(pairs)]}))
    assert large.shards is not None
    assert job.gather(patch(Recipe(), {"data.files": [str(pairs)], "data.stream": False})).shards is None


def test_what_needs_all_rows_at_hand_is_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'negatives.kind = "queue": needs all rows at hand'):
        ef.fit(pairs, out=tmp_path / "run", settings={**SETTINGS, "negatives.kind": "queue"})


def trained(size: int, *words: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, *map(str, words), str(size)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), said


@pytest.mark.slow
def test_two_processes_that_stop_are_followed_by_one_that_ends_where_one_alone_would(
    pairs: Path, tmp_path: Path
) -> None:
    trained(1, pairs, tmp_path / "alone", "go")
    trained(2, pairs, tmp_path / "both", "stop")
    assert (tmp_path / "both" / "checkpoints" / "last.safetensors").exists()
    trained(1, pairs, tmp_path / "both", "go")
    one, other = (ef.load_run(tmp_path / name) for name in ("alone", "both"))
    losses = [torch.tensor([value for _, value in run.history["loss"]]) for run in (one, other)]
    assert len(losses[0]) == 6
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0.0)
    weights = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)


def test_rows_without_text_are_named_in_the_sample_and_their_share_is_said(pairs: Path) -> None:
    table = pl.read_parquet(pairs / "1.parquet")
    table = table.with_columns(positive=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("positive"))
    table.write_parquet(pairs / "1.parquet", row_group_size=17)
    rows = job.gather(patch(Recipe(), {**SETTINGS, "data.files": [str(pairs)], "data.on_bad_rows": "skip"}))
    assert rows.dev is not None
    assert len(rows.train) + len(rows.dev) == 280
    assert len(rows.train.left_out) == 40
    assert str(rows.train.left_out[1]) == f"{pairs / '1.parquet'}: row 5 of row group 1, column 'positive': no text"
    assert "40 of 320 rows looked at (12.5%) have no text; such rows are skipped" in job._notes(rows)
    assert len(job._notes(replace(rows, train=replace(rows.train, left_out=())))) == 1


def test_more_held_out_rows_than_the_sample_has_are_said_to_be_of_the_sample(pairs: Path) -> None:
    recipe = patch(Recipe(), {**SETTINGS, "data.files": [str(pairs)], "data.dev": 60_000})
    with pytest.raises(
        DataError, match=r"60000, and there are 320 rows in the sample of the 320 that are read in parts"
    ):
        job.gather(recipe)
