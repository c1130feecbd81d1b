"""examples/ray_train.py runs, and two workers end where one process does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import embedfit as ef
from embedfit.recipe import parse_change

EXAMPLES = Path(__file__).parents[1] / "examples"
# all its questions in each batch: each worker has a share of every step
CHANGES = (
    "model.kind=static",
    "optim.batch_size=600",
    "optim.length=10 steps",
    "optim.learning_rate=0.003",
    "run.evaluate_every=10 steps",
)


@pytest.mark.slow
def test_ray_train_shares_a_run_between_two_workers_and_changes_nothing_in_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is absent: pip install embedfit[ray]")
    data, home = str(ef.demo() / "questions.csv"), {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ray_train.py"), data, "run", *CHANGES],
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

    settings = dict(parse_change(change) for change in ("run.threads=1", *CHANGES))
    alone = ef.fit(data, out=tmp_path / "alone", settings=settings)
    assert alone.facts["chosen.processes"] == 1
    ours, theirs = (torch.tensor([value for _, value in r.history["loss"]]) for r in (run, alone))
    assert len(ours) == 10
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0.0)
    weights = alone.model.state_dict()
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-6)
