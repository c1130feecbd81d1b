"""Under torchrun: a process that is killed in mid-run takes nothing with it but the steps since the last checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import embedfit as ef

STEPS = 60


def _output(launcher: subprocess.Popen[str]) -> str:
    """What a launcher and its processes say until they end; one that hangs is ended and fails the test."""
    try:
        return launcher.communicate(timeout=240)[0]
    except subprocess.TimeoutExpired:
        for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
            process.kill()
        pytest.fail(f"still running after 240 seconds:\n{launcher.communicate()[0][-3000:]}")


@pytest.mark.slow
def test_a_run_of_two_processes_survives_the_death_of_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {
        "optim.length": f'"{STEPS} steps"',
        "optim.learning_rate": "0.003",
        "optim.patience": str(STEPS),
        "run.checkpoint_every": '"5 steps"',
        "run.evaluate_every": '"30 steps"',
        "model.kind": "static",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2"]
    command += ["--standalone", "-m", "embedfit", "train", str(ef.demo() / "questions.csv"), "--resume"]
    command += ["--out", str(out), *(part for k, v in settings.items() for part in ("--set", f"{k}={v}"))]
    launcher = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    kept = out / "checkpoints" / "last.safetensors"
    deadline = time.monotonic() + 240
    while not kept.is_file() and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(launcher.pid).children(recursive=True) if launcher.poll() is None else []
    victims = [w for w in workers if w.environ().get("RANK") == "1"]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    said = _output(launcher)
    assert launcher.returncode == 0, said[-3000:]
    assert victims, "the run was over before a process could be killed"
    steps = [json.loads(line)["step"] for line in (out / "history.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(STEPS + 1))
    assert ef.load_run(out).facts["chosen.processes"] == 2
