"""Studies from end to end, but for the training: what they ask for, keep, draw and say."""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from studies.collapse import PLAIN, collapsed
from studies.common import Outcome, Study, judged, lead
from studies.corpora import sizes
from studies.no_negatives import toy

from embedfit.recipe import Recipe, patch
from studies import common

STUDIES = ("schedules", "sweeps", "collapse", "negatives", "corpora", "unseen", "graded", "no_negatives", "batch_laws",
           "transfer", "interaction")  # fmt: skip


def outcome(metric: float = 0.5, *, loss: float = 0.1, direction: float = 0.2) -> Outcome:
    """Of a run that was never made."""
    return Outcome(
        best=metric,
        last=metric,
        curve=[(0, 0.1), (5, metric / 2), (10, metric)],
        trace=[(1, 1.0, 0.2), (10, loss, direction)],
        loss=loss,
        readings={"query/mean_direction": direction, "query/spread": 0.9}
        | {f"dev/top{k}": 0.5 + k / 100 for k in (1, 5, 10)},
        facts={"loss.chance": 0.3, "chosen.steps": 10},
        seconds=1.0,
    )  # fmt: skip


def pretended(rows: object, settings: Mapping[str, Any], *, seed: int, judge: object = None) -> Outcome:
    """A run whose figures are drawn from its settings, which have to be those of a recipe."""
    del rows, judge
    patch(Recipe(), {"optim.seed": seed, **settings})
    number = zlib.crc32(json.dumps([settings, seed], sort_keys=True).encode()) % 1000
    return outcome(0.3 + number / 2000)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where studies write, nothing being trained."""
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "run", pretended)
    return tmp_path


def without_training(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A study whose cells that are no plain runs are made up too."""
    study = importlib.import_module(f"studies.{name}")
    if name == "batch_laws":
        monkeypatch.setattr(
            study, "advised", lambda *a: {"rate": 0.02, "noise": 100.0, "at_end": None, "refusal": None}
        )
    if name == "transfer":
        told = {"metric": 0.5, "first": 0.4, "correlation": 0.3, "choices": {"objective": "infonce", "rate": 1.0}}
        monkeypatch.setattr(study, "kind_of", lambda rows: "pairs")
        monkeypatch.setattr(study, "rows_of", lambda *a: None)
        monkeypatch.setattr(study, "found_by_tune", lambda *a: told)
        monkeypatch.setattr(
            study, "metric", lambda *a, objective, rate, whole: {"metric": len(objective) / 60 + whole / 9}
        )
    if name == "interaction":
        figures = {
            "accuracy": 0.8,
            "few shared words": 0.9,
            "many shared words": 0.7,
            "spearman": 0.8,
            "milliseconds": 2.0,
        }
        monkeypatch.setattr(
            study, "measured", lambda way, rate, steps, seed, rows: {**figures, "accuracy": 0.7 + len(way) / 90}
        )
    return study


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_in_a_table_and_verdicts_and_goes_on_where_it_was(
    name: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = without_training(name, monkeypatch)
    monkeypatch.setattr(sys, "argv", [name, "--seeds", "2"])
    study.main()
    page = (results / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"`python -m studies.{name}`")
    words = ("| reproduced |", "| refined |", "| refuted |", "| open |")
    assert "| claim | verdict | why |" in page
    assert any(word in page for word in words)
    kept = (results / f"{name}.json").read_text("utf-8")

    def never(*args: object, **more: object) -> None:
        raise AssertionError("a cell that is kept was run again")

    monkeypatch.setattr(common, "run", never)
    study.main()
    assert (results / f"{name}.md").read_text("utf-8") == page
    assert (results / f"{name}.json").read_text("utf-8") == kept


def test_a_cell_is_run_again_where_its_settings_are_others(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["any"])
    ran = []
    for rate in (0.1, 0.1, 0.2):
        study = Study("any", "What.", data=["demo"])
        study.cell(lambda rate=rate: ran.append(rate) or {"value": rate}, settings={"rate": rate}, seed=0)
    assert ran == [0.1, 0.2]
    assert len(json.loads((results / "any.json").read_text("utf-8"))) == 2


def test_the_quick_form_keeps_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["any", "--quick"])
    study = Study("any", "What.", data=["hwu64"], seeds=5)
    study.run(lambda: None, {}, seed=0)
    study.write("text")
    assert (study.data, len(study.seeds)) == (["demo"], 1)
    assert not list(results.iterdir())


def test_a_lead_is_open_while_its_interval_holds_nothing() -> None:
    assert judged([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])[0] == "reproduced"
    assert judged([0.4, 0.5, 0.6], [0.5, 0.6, 0.7])[0] == "refuted"
    assert judged([0.5, 0.6, 0.7], [0.4, 0.7, 0.6])[0] == "open"
    assert judged([0.9], [0.1])[0] == "open"
    mean, half = lead([1.0, 3.0], [0.0, 0.0])
    assert (mean, half) == (2.0, pytest.approx(12.7062, abs=1e-3))  # t of one degree of freedom


def test_a_run_has_collapsed_at_the_margin_with_all_embeddings_one_way() -> None:
    assert collapsed(outcome(loss=0.301, direction=0.97), PLAIN)
    assert not collapsed(outcome(loss=0.301, direction=0.5), PLAIN)
    assert not collapsed(outcome(loss=0.2, direction=0.97), PLAIN)


@pytest.mark.parametrize(("types", "each"), [(50, 3), (100, 12), (150, 25)])
def test_a_long_tail_has_as_many_texts_as_an_even_corpus(types: int, each: int) -> None:
    long = sizes(types, each, "long")
    assert sum(long) == sum(sizes(types, each, "even")) == types * each
    assert 99 >= max(long) > 5 * each or max(long) == 99
    assert min(long) >= 1
    assert sum(size <= each for size in long) > types / 2


def test_the_toy_of_simsiam_ends_where_its_closed_forms_say() -> None:
    page, error = toy()
    assert error < 1e-6
    assert "1.0000, 0.8062" in page
    assert "0.6127" in page
