"""The table of distilled towers, in a small world; and rows of a long measurement that are kept."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from benchmarks.ledger import Ledger

import embedfit as ef
from benchmarks import distil
from embedfit.towers import TwoTower, build

WORDS = ["card", "loan", "transfer", "pin", "rate", "fee", "top", "cash", "refund", "lost"]


def classes(seed: int, count: int) -> ef.Pairs:
    """Texts of three words, the first of which is their class."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, 3, replace=False)) for _ in range(count)]
    return ef.read([{"text": text, "label": text.split()[0]} for text in texts])


def test_students_of_a_small_teacher_are_measured_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = classes(0, 300), classes(1, 60)
    texts = distil.texts_of(train)
    monkeypatch.setattr(distil, "_cell", lambda name: (train, test))
    monkeypatch.setattr(distil.ef, "load", lambda folder: TwoTower(build("static", texts, dimension=16)).eval())
    monkeypatch.setattr(distil, "theirs", lambda texts: iter(()))
    monkeypatch.setattr(distil, "minilm", lambda: "")
    monkeypatch.setattr(distil, "students", lambda texts, at_hand, seed: iter(
        [("ours", lambda: distil._ours(ef.distil(texts, at_hand, seed=seed).model))]
    ))  # fmt: skip
    asked = argparse.Namespace(data=["small"], learn=["small"], texts=200, seeds=2, scratch=tmp_path / "scratch")
    ledger = Ledger(tmp_path / "distil.json", {"data": ["small"]})
    count = distil.contest(asked, ledger)
    assert count <= 200
    assert [(row["model"], row["seed"]) for row in ledger.rows] == [("teacher", 0), ("ours", 0), ("ours", 1)]
    lines = distil.table(ledger.rows).splitlines()
    assert len(lines) == 4
    assert "1.000" in lines[2]  # the teacher keeps all of itself
    kept = [row["values"]["small"] / ledger.rows[0]["values"]["small"] for row in ledger.rows[1:]]
    assert min(kept) > 0.8
    assert not set(distil.training_texts(["small"], {"small": (train, test)}, 1_000)) & set(distil.texts_of(test))
    again = Ledger(tmp_path / "distil.json", {"data": ["small"]})
    assert again.rows == ledger.rows
    assert len(list((tmp_path / "scratch").glob("*.npy"))) > 0


def test_a_row_is_worked_out_once_and_dropped_when_something_else_is_asked(tmp_path: Path) -> None:
    path, calls = tmp_path / "rows.json", []

    def work() -> dict[str, int]:
        calls.append(1)
        return {"value": len(calls)}

    first = Ledger(path, {"steps": 5})
    assert first.row({"seed": 0}, work) == {"seed": 0, "value": 1}
    assert first.row({"seed": 0}, work)["value"] == 1
    assert Ledger(path, {"steps": 5}).row({"seed": 0}, work)["value"] == 1
    assert Ledger(path, {"steps": 5}).of(seed=1) == []
    assert Ledger(path, {"steps": 6}).row({"seed": 0}, work)["value"] == 2
    assert Ledger(None, {}).row({"seed": 0}, work)["value"] == 3
