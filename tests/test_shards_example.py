"""examples/train_shards.py: on larger data than memory, in its order, whoever reads it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from embedfit.towers import TwoTower, build, load, save

SCRIPT = Path(__file__).parents[1] / "examples" / "train_shards.py"
# two checkpoints to a run of six steps, at a rate that is seen
CODE = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("train_shards", {str(SCRIPT)!r})
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
script.EVERY, script.RATE = 3, 0.01
if sys.argv[5] == "stop":
    whole, script.streamed = script.streamed, lambda s, t, n, **k: whole(s, t, n, **k) if n < 4 else sys.exit(0)
script.main(*sys.argv[1:4], int(sys.argv[4]), 40)
"""


def trained(size: int, *words: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, *map(str, words)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), said


@pytest.mark.slow
def test_two_processes_that_stop_are_followed_by_one_that_ends_where_one_alone_would(tmp_path: Path) -> None:
    texts = [f"{thing} number {i} of {colour}" for i in range(40) for thing in "ab" for colour in ("red", "blue")]
    (tmp_path / "pairs").mkdir()
    for number in range(2):
        rows = range(80 * number, 80 * (number + 1))
        # each positive twice, and now and then a query of another row
        table = {"query": [texts[i % 150] for i in rows], "positive": [f"about {texts[i // 2]}" for i in rows]}
        pl.DataFrame(table).write_parquet(tmp_path / "pairs" / f"{number}.parquet", row_group_size=17)
    tower = build("static", texts, dimension=8, seed=0)
    tower.micro = 8
    save(TwoTower(tower), tmp_path / "model")
    trained(1, tmp_path / "model", tmp_path / "pairs", tmp_path / "alone", 6, "go")
    trained(2, tmp_path / "model", tmp_path / "pairs", tmp_path / "both", 6, "stop")
    assert not (tmp_path / "both" / "model").exists()
    trained(1, tmp_path / "model", tmp_path / "pairs", tmp_path / "both", 6, "go")
    before, one, other = (load(tmp_path / name).state_dict() for name in ("model", "alone/model", "both/model"))
    assert any(float((before[k] - one[k]).abs().max()) > 1e-3 for k in one)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)
