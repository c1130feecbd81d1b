"""Encoders sharded by FSDP2 over two processes learn what whole ones learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import sharded
import torch

from embedfit.engine.embed import deal
from embedfit.engine.sharding import is_sharded, shard
from embedfit.errors import ModelError
from embedfit.team import ALONE, Team


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("sharded")
    processes = [
        subprocess.Popen(
            [sys.executable, sharded.__file__, str(rank), "2", str(out / "store"), str(out)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(said)
    return [json.loads((out / f"{rank}.json").read_text("utf-8")) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("model", sharded.SIZES)
@pytest.mark.parametrize("memory", sharded.MEMORY)
def test_sharded_encoders_have_the_losses_and_the_gradient_of_whole_ones_and_fit_refuses_them(
    found: list[dict[str, Any]], model: str, memory: str
) -> None:
    for process in found:
        errors = process[f"{model}, {memory}"]
        assert errors["loss"] < 1e-5
        assert errors["gradient"] < 1e-4
        assert errors["share"] < 0.6
        assert "sharded" in errors["fit"]


@pytest.mark.parametrize(("texts", "size", "processes"), [(15, 4, 2), (3, 1, 2), (2, 8, 2), (64, 8, 3), (7, 2, 3)])
def test_an_even_deal_gives_every_process_equally_many_micro_batches(texts: int, size: int, processes: int) -> None:
    lengths = torch.randint(1, 30, (texts,), generator=torch.Generator().manual_seed(texts))
    dealt = [deal(lengths, size, Team(rank=rank, size=processes), even=True) for rank in range(processes)]
    assert len({len(one.micro) for one in dealt}) == 1
    assert all(len(rows) > 0 for one in dealt for rows in one.micro)
    assert sorted(place for one in dealt for place in one.places) == list(range(len(dealt[0].micro) * processes))
    assert dealt[0].order.sort().values.tolist() == list(range(texts))


def test_fewer_texts_than_processes_cannot_be_dealt_evenly() -> None:
    with pytest.raises(ModelError, match="1 texts for 2 processes"):
        deal(torch.tensor([3]), 4, Team(rank=0, size=2), even=True)


def test_one_process_alone_has_nothing_to_shard_over() -> None:
    model = sharded.made_for({}).objective.model
    assert not is_sharded(model)
    with pytest.raises(ModelError, match="one process"):
        shard(model, ALONE)
