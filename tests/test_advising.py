"""Advice from a run folder: what its readings say, and refusal where they say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embedfit.advising import advise
from embedfit.errors import RunError
from embedfit.recipe import Recipe, to_toml


def folder(tmp_path: Path, noise: float, readings: int = 40, *, finished: bool = True) -> Path:
    """A run at batches of 64 whose gradients have length 1 and a covariance of trace `noise`."""
    draw = np.random.default_rng(0)
    (tmp_path / "recipe.toml").write_text(to_toml(Recipe()))
    facts = {"chosen.batch_size": 64, "chosen.learning_rate": 0.002, "chosen.betas": [0.9, 0.999],
             "chosen.momentum": 0.0, "chosen.warmup": 5, "loss.candidates": 60.0, "chosen.loss": "infonce"}  # fmt: skip
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    lines = []
    for step in range(readings):
        spread = noise / 64
        square, product = 1 + spread * draw.normal(1, 0.05), 1 + spread * draw.normal(0, 0.05)
        lines.append(json.dumps({"step": 3 * step, "loss": 1.0, "noise/square": square, "noise/product": product}))
    (tmp_path / "history.jsonl").write_text("\n".join(lines) + "\n")
    if finished:
        (tmp_path / "evaluation.json").write_text(json.dumps({"recall@10": 0.5, "metric": "recall@10"}))
    return tmp_path


def test_the_run_s_own_batch_keeps_its_rate_and_others_follow_the_law(tmp_path: Path) -> None:
    found = advise(folder(tmp_path, noise=640.0), batch_size=96)
    assert found.noise is not None
    assert found.noise.low < 640 < found.noise.high
    rates = {option.batch_size: option.learning_rate for option in found.options}
    assert list(rates) == [16, 32, 64, 96, 128, 256]
    assert rates[64] == pytest.approx(0.002)
    assert rates[256] / rates[16] == pytest.approx(((1 + 640 / 16) / (1 + 640 / 256)) ** 0.5, rel=0.05)
    assert any("harder question" in remark for remark in found.remarks)


def test_readings_of_the_warmup_are_left_out(tmp_path: Path) -> None:
    found = advise(folder(tmp_path, noise=640.0))
    assert found.noise is not None
    assert found.noise.readings == 38


@pytest.mark.parametrize(
    ("noise", "readings", "why"), [(1e6, 40, "cannot be told"), (640.0, 5, "too few"), (1.0, 0, "no readings")]
)
def test_nothing_is_advised_from_what_says_nothing(tmp_path: Path, noise: float, readings: int, why: str) -> None:
    found = advise(folder(tmp_path, noise, readings))
    assert why in str(found.refusal)
    assert found.options == ()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not finished"):
        advise(folder(tmp_path, 640.0, finished=False))
