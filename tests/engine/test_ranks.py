"""One, two, three and four processes train the same model: losses, gradients and weights do not depend on how many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from torch import Tensor

SIZES = (1, 2, 3, 4)
STEPS = (
    {
        f"{job}/{way}": ("steps", {"job": job, "micro": 5, "way": way})
        for job in ranks.JOBS
        for way in ("dense", "blocks")
        if way == "dense" or job not in ("cosine", "cosent")
    }
    | {
        f"{job}/ring": ("steps", {"job": job, "micro": 5, "way": "ring"})
        for job in ("pairs", "two towers, dropout", "same-label pairs", "label smoothing", "debiased", "logq")
    }
    | {
        # micro-batches as large as the batch: all processes but one have nothing to embed
        f"idle {job}/{way}": ("steps", {"job": job, "micro": 64, "way": way})
        for job in ("pairs", "classes")
        for way in ("dense", "blocks", "ring")
    }
)


def together(size: int, out: Path, job: dict[str, Any]) -> list[dict[str, Tensor]]:
    """What each of some processes found."""
    store = out / f"store-{size}-{len(list(out.iterdir()))}"
    processes = [
        subprocess.Popen(
            [sys.executable, ranks.__file__, str(rank), str(size), str(store), str(out), json.dumps(job)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(said)
    return [torch.load(out / f"{size}-{rank}.pt", weights_only=True) for rank in range(size)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Tensor]]]:
    """By number of processes, what each of them found."""
    out = tmp_path_factory.mktemp("ranks")
    return {size: together(size, out, STEPS) for size in SIZES}


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("job", STEPS)
def test_nothing_depends_on_the_number_of_processes(
    found: dict[int, list[dict[str, Tensor]]], size: int, job: str
) -> None:
    alone = {k: v for k, v in found[1][0].items() if k.startswith(f"{job}|") and not k.endswith("|at hand")}
    assert {name.split("|")[1].split("/")[0] for name in alone} == {"loss", "gradient", "weight"}
    for process in found[size]:
        for name, value in alone.items():
            error = float((process[name].double() - value.double()).norm())
            assert error <= 1e-5 * float(value.double().norm()), (name, error)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("job", [job for job in STEPS if job.endswith("/ring") and not job.startswith("idle")])
def test_in_a_ring_no_process_has_all_documents_and_the_gradient_is_that_of_gathered_ones(
    found: dict[int, list[dict[str, Tensor]]], size: int, job: str
) -> None:
    gathered = job.replace("/ring", "/blocks")
    for process in found[size]:
        assert process[f"{gathered}|at hand"] == 1
        assert 0 < float(process[f"{job}|at hand"]) < 0.8
        for key, value in process.items():
            if key.startswith(f"{gathered}|") and not key.endswith("|at hand"):
                other = process[key.replace(gathered, job)].double()
                assert float((other - value.double()).norm()) <= 1e-5 * float(value.double().norm()), key


@pytest.mark.slow
@pytest.mark.parametrize("job", [job for job in STEPS if job.endswith("/blocks")])
def test_tiles_and_blocks_give_what_the_whole_matrix_gives(found: dict[int, list[dict[str, Tensor]]], job: str) -> None:
    name = job.removesuffix("/blocks")
    for key, value in found[1][0].items():
        if key.startswith(f"{job}|") and ("gradient" in key or "loss" in key):
            whole = found[1][0][key.replace(job, f"{name}/dense")]
            assert float((value.double() - whole.double()).norm()) <= 1e-5 * float(whole.double().norm()), key


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_by_three_and_by_one(tmp_path: Path) -> None:
    def cut_off(size: int, folder: Path, **more: Any) -> list[dict[str, Tensor]]:
        job = {"run": ("run", {"folder": str(folder), "resume": False, "stop": -1, **more})}
        return together(size, tmp_path, job)

    for part in ("undisturbed", "by three", "by one"):
        (tmp_path / part).mkdir()
    whole = cut_off(1, tmp_path / "undisturbed")[0]
    for size, name in ((3, "by three"), (1, "by one")):
        assert cut_off(2, tmp_path / name, stop=4) == [{}, {}]
        for process in cut_off(size, tmp_path / name, resume=True):
            assert process.keys() == whole.keys()
            for key, value in process.items():
                torch.testing.assert_close(value, whole[key], rtol=1e-4, atol=1e-6)
        steps = [json.loads(line)["step"] for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        assert sorted(set(steps)) == list(range(10))
