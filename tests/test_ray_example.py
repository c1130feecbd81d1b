"""The scripts in examples/ run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import embedfit as ef

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_ray_train_shares_a_run_between_two_workers(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is absent: pip install embedfit[ray]")
    changes = ["model.kind=static", "optim.length=10 steps", "optim.learning_rate=0.003"]
    home = {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ray_train.py"), str(ef.demo() / "questions.csv"), "run", *changes],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", **home},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    reported = json.loads(done.stdout.splitlines()[-1])
    assert reported["chosen.processes"] == 2
    run = ef.load_run(tmp_path / "run")
    assert run.evaluation["recall@10"] == reported["recall@10"] > 0
    kept = [path.parent for path in (tmp_path / "run-ray").rglob("evaluation.json")]
    assert [ef.load_run(folder).evaluation["recall@10"] for folder in kept] == [reported["recall@10"]]
