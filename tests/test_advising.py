"""Advice from a run folder: what its readings say, and refusal where they say nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from embedfit import advising
from embedfit.advising import advise
from embedfit.errors import RunError
from embedfit.gathering import gather
from embedfit.job import train
from embedfit.optim.laws import NoiseScale
from embedfit.recipe import Recipe, patch, to_toml
from embedfit.towers import load


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


def probed(monkeypatch: pytest.MonkeyPatch, value: float, high: float) -> NoiseScale:
    scale = NoiseScale(value=value, low=value / 2, high=high, batch_size=64, readings=16, way="made up")
    monkeypatch.setattr(advising, "_at_end", lambda run, folder: scale)
    return scale


@pytest.mark.parametrize(("noise", "readings"), [(1e6, 40), (640.0, 5), (1.0, 0)])
def test_the_probe_is_advised_from_where_the_run_itself_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: float, readings: int
) -> None:
    scale = probed(monkeypatch, 600.0, 900.0)
    found = advise(folder(tmp_path, noise, readings), probed=True)
    assert found.refusal is None
    assert found.probed == scale
    rates = {option.batch_size: option.learning_rate for option in found.options}
    assert rates[128] / rates[64] == pytest.approx(((1 + 600 / 64) / (1 + 600 / 128)) ** 0.5)
    assert any("follows from the trained weights" in remark for remark in found.remarks) == (readings > 0)


def test_a_refusal_names_both_reasons_and_two_that_say_nothing_do_not_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed(monkeypatch, math.inf, math.inf)
    quiet = NoiseScale(value=math.inf, low=5.0, high=math.inf, batch_size=64, readings=5, way="made up")
    monkeypatch.setattr(advising, "_over", lambda run, tried: quiet)
    found = advise(folder(tmp_path, 640.0), probed=True)
    assert "too few" in str(found.refusal)
    assert "at the trained weights: the gradient cannot be told from its noise" in str(found.refusal)
    assert not any("differ" in remark for remark in found.remarks)


def test_two_estimates_that_say_different_things_are_said_to_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed(monkeypatch, 6000.0, 9000.0)
    found = advise(folder(tmp_path, 640.0), probed=True)
    assert any("differ" in remark for remark in found.remarks)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not finished"):
        advise(folder(tmp_path, 640.0, finished=False))


@pytest.mark.parametrize(
    ("columns", "more"), [(("text", "label"), {}), (("query", "positive"), {"model.shared": False})]
)
def test_the_probe_measures_the_trained_weights(
    columns: tuple[str, str], more: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"how do I mend the {part} number {i}", part) for part in ("light", "brake", "wheel") for i in range(12)]
    pl.DataFrame(rows, schema=list(columns), orient="row").write_csv(tmp_path / "rows.csv")
    recipe = patch(Recipe(), {"data.files": [str(tmp_path / "rows.csv")], "model.kind": "static", "model.dimension": 8,
                              "optim.length": "12 steps", "optim.batch_size": 8, "optim.learning_rate": 0.05,
                              **more})  # fmt: skip
    train(gather(recipe), recipe, tmp_path / "run")
    seen: dict[str, torch.Tensor] = {}
    real = advising.probe
    monkeypatch.setattr(
        advising,
        "probe",
        lambda objective, *a, **k: (seen.update(objective.model.state_dict()), real(objective, *a, **k))[1],
    )
    found = advise(tmp_path / "run", probed=True)
    assert found.probed is not None
    trained = load(tmp_path / "run" / "model").state_dict()
    assert seen.keys() == trained.keys()
    assert all(torch.equal(seen[name], value) for name, value in trained.items())
