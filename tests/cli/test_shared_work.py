"""Several processes embed together what one would embed alone, to the last bit; the first one writes and speaks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embedfit.api import load_run


def started(size: int, *words: object) -> list[str]:
    """What each of some processes of one command prints; started as Slurm or torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "embedfit", *map(str, words)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=240) for process in processes]
    ended = [process.returncode for process in processes]
    assert ended == [0] * size, f"{ended}: {said}"  # a text is shown whole
    return [out for out, _ in said]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Parquet files with 900 different texts, some of them twice."""
    folder = tmp_path_factory.mktemp("shards")
    things = ("light", "chain", "wheel", "bell", "saddle")
    texts = [f"the {things[i % 5]} of bicycle {i * 7} is {'broken ' * (i % 4)}again" for i in range(900)]
    for number, start in enumerate(range(0, 900, 300)):
        part = pl.DataFrame({"id": range(310), "text": texts[start : start + 300] + texts[:10]})
        part.write_parquet(folder / f"{number}.parquet", row_group_size=128)
    return folder


@pytest.mark.slow
def test_two_processes_encode_what_one_encodes(run: Path, shards: Path, tmp_path: Path) -> None:
    [alone] = started(1, "encode", run, shards, "-o", tmp_path / "1.npy")
    first, second = started(2, "encode", run, shards, "-o", tmp_path / "2.npy", "--index", tmp_path / "index")
    assert "930 embeddings" in alone
    assert "930 embeddings" in first
    assert "930 documents, exact inner product" in first
    assert second == ""
    one, two = (np.load(tmp_path / f"{n}.npy") for n in (1, 2))
    assert (one == two).all()
    assert (one[300:310] == one[:10]).all()


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(run: Path) -> None:
    command = ("evaluate", run, run.parent / "faq.csv", "--against", run / "model", "--format", "json")
    found = [json.loads(started(size, *command)[0]) for size in (1, 2)]
    for side in ("first", "second"):
        one, two = ({k: v for k, v in f[side].items() if k != "seconds"} for f in found)
        assert one == two


@pytest.mark.slow
def test_two_processes_measure_while_they_train_what_one_measures(run: Path, tmp_path: Path) -> None:
    faq, found = run.parent / "faq.csv", []
    settings = {"model.kind": "static", "optim.length": "8 steps", "run.evaluate_every": "4 steps"}
    settings |= {"optim.learning_rate": "0.01", "optim.batch_size": "32"}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    for size in (1, 2):
        started(size, "train", faq, "--out", tmp_path / str(size), *words)
        record = load_run(tmp_path / str(size))
        found.append((record.evaluation, [value for _, value in record.history["dev/recall@10"]]))
    (one, first), (two, second) = found
    assert len(first) == 3
    assert first == pytest.approx(second, abs=0.02)
    assert one["recall@10"] == pytest.approx(two["recall@10"], abs=0.02)


@pytest.mark.slow
def test_what_ends_the_first_process_ends_the_others_without_a_word(run: Path, tmp_path: Path) -> None:
    pl.DataFrame({"text": ["fine", ""]}).write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(AssertionError, match=r"\[2, 0\]") as failure:
        started(2, "encode", run, tmp_path / "texts.parquet", "-o", tmp_path / "e.npy")
    assert "defect" not in str(failure.value)
    assert "1 of 2 texts are empty, first in row 2" in str(failure.value)
