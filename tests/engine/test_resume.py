"""Killed at any moment and resumed, a run ends as if nothing had happened: bit for bit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killed import INTERRUPTED, train
from little import QUESTIONS, SMALL, left_behind
from safetensors.torch import load_file

from embedfit.engine import checkpoint

DROPOUT = {"model__dropout": 0.3}


def record(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions."""
    facts, evaluation = (json.loads((folder / name).read_text("utf-8")) for name in ("facts.json", "evaluation.json"))
    for name in ("train.seconds", "job.seconds"):
        facts.pop(name)
    evaluation.pop("seconds", None)
    tensors = {
        f"{path.relative_to(folder)}/{name}": tensor.numpy().tobytes()
        for path in sorted((folder / "model").rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    assert tensors
    history = (folder / "history.jsonl").read_bytes()
    return {"facts": facts, "evaluation": evaluation, "weights": tensors, "history": history}


def assert_same(folder: Path, undisturbed: Path) -> None:
    one, other = record(folder), record(undisturbed)
    assert one["weights"].keys() == other["weights"].keys()
    assert [name for name in one["weights"] if one["weights"][name] != other["weights"][name]] == []
    assert one["history"] == other["history"]
    assert one["evaluation"] == other["evaluation"]
    assert one["facts"] == other["facts"]
    assert left_behind(folder) == []
    assert not (folder / "checkpoints").exists()


EVERYWHERE = ("step 1", "checkpoint 1", "step 4", "checkpoint 2", "evaluation 1", "ctrl-c 8", "judging", "model",
              "samples", "report")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "model", "more", "moments"),
    [
        pytest.param("pairs", "static", {}, EVERYWHERE, marks=pytest.mark.slow),
        ("classes", "gru", DROPOUT, ("step 2", "checkpoint 3", "judging")),
        ("classes", "ngram", {"run__checkpoint_every": "3 steps"}, ("step 2", "step 5", "checkpoint 1", "step 8")),
        ("graded", "ngram", {}, ("step 3", "evaluation 2")),
        ("graded", "static", {"loss__kind": "cosent", **DROPOUT}, ("checkpoint 4",)),
        ("classes", "static", {"loss__kind": "infonce", **DROPOUT}, ("step 6",)),
        ("pairs", "gru", {"model__shared": False, **DROPOUT}, ("checkpoint 5",)),
        # the margin was measured a step before, on other weights
        ("classes", "static", {"loss__margin_kind": "diameter", "optim__length": "45 steps"}, ("checkpoint 7",)),
        ("pairs", "static", {"optim__learning_rate": "auto"}, ("step 5", "checkpoint 2")),
        # training ends by itself, before the plan does, and must not begin again
        (
            "pairs", "static",
            {"run__evaluate_every": "1 step", "optim__patience": 2, "optim__learning_rate": 1e-9},
            ("judging", "judging"),
        ),
    ],
)  # fmt: skip
def test_a_killed_run_ends_as_the_undisturbed_one(
    tmp_path: Path, kind: str, model: str, more: dict[str, Any], moments: tuple[str, ...]
) -> None:
    for moment in moments:
        expected = INTERRUPTED if moment.startswith("ctrl-c") else -signal.SIGKILL
        assert train(kind, model, tmp_path / "one", more, moment) == expected
        assert not (tmp_path / "one" / "evaluation.json").exists()
    assert train(kind, model, tmp_path / "one", more) == 0
    assert train(kind, model, tmp_path / "other", more) == 0
    assert_same(tmp_path / "one", tmp_path / "other")


def test_ctrl_c_keeps_a_checkpoint_of_that_very_step(tmp_path: Path) -> None:
    more = {"run__checkpoint_every": "100 steps"}
    assert train("pairs", "static", tmp_path, more, "ctrl-c 4") == INTERRUPTED
    assert checkpoint.values_of(tmp_path / "checkpoints" / "last.safetensors")["step"] == 4
    steps = [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert max(steps) == 4


def test_a_half_written_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    assert train("pairs", "static", tmp_path, {}, "checkpoint 3") == -signal.SIGKILL
    assert checkpoint.values_of(tmp_path / "checkpoints" / "last.safetensors")["step"] == 2
    assert len(left_behind(tmp_path)) == 1


@pytest.mark.slow
def test_the_program_killed_from_outside_goes_on_with_the_printed_command(tmp_path: Path) -> None:
    with (tmp_path / "faq.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "standard_question"), *[(q, d) for q, d, _ in QUESTIONS]])
    settings = {**SMALL, "optim.length": "300 steps", "run.evaluate_every": "50 steps", "model.dimension": 8}
    words = ["train", "faq.csv", "--model", "static", *(w for k, v in settings.items() for w in ("--set", f"{k}={v}"))]

    def program(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from embedfit.cli import main; main()", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, env=environment)

    first = program(*words, "--out", "one")
    until = time.monotonic() + 60
    while not (tmp_path / "one/checkpoints/last.safetensors").is_file() and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert program("train", "one", "--resume").wait(60) == 0
    assert program(*words, "--out", "other").wait(60) == 0
    assert_same(tmp_path / "one", tmp_path / "other")
