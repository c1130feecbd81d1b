"""What a run says of itself while it trains, and when it gives up: real runs, one sick and one healthy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from embedfit import job
from embedfit.errors import NonFiniteLossError
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch
from embedfit.run import Run, load
from embedfit.watching import Watch

SMALL = {
    "model.kind": "static", "model.dimension": 64, "optim.batch_size": 32, "optim.learning_rate": 0.1,
    "optim.length": "120 steps", "optim.patience": 50, "run.threads": 1, "run.evaluate_every": "10 steps",
}  # fmt: skip


class Told:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    def begin(self, *anything: Any) -> None:
        pass

    def step(self, step: int, steps: int, readings: Any) -> None:
        self.steps = step

    def say(self, text: str) -> None:
        self.said.append(text)


def rows(kind: str, n: int = 240) -> job.Rows:
    """Pairs that share a word, or that have nothing to do with each other."""
    rng = np.random.default_rng(0)
    word = ["".join(rng.choice(list("abcdefghijklmnop"), 7)) for _ in range(2 * n)]
    other = word[:n] if kind == "related" else word[n:]
    pairs = Pairs(kind="pairs", table=pl.DataFrame({"query": word[:n], "positive": [f"{w} thing" for w in other]}))
    return job.divide(pairs, 0.25, seed=0)


def trained(folder: Path, kind: str, **change: Any) -> tuple[Any, Told]:
    recipe, told = patch(Recipe(), {**SMALL, **{k.replace("__", "."): v for k, v in change.items()}}), Told()
    record, _ = job.train(rows(kind), recipe, folder, watcher=told)
    return record, told


def test_a_run_whose_weights_never_move_is_given_up_at_the_first_sight_with_the_reason(tmp_path: Path) -> None:
    record, told = trained(tmp_path / "run", "related", optim__learning_rate=0.0)
    assert record.facts["train.stopped"] == "hopeless: no step ever moved the weights (OPT001 unmoved-weights)"
    assert told.steps < 30
    [line] = [text for text in told.said if "OPT001" in text]
    assert line.startswith("doctor   step 10: no step ever moved the weights")
    [found] = json.loads((tmp_path / "run" / "findings.json").read_text("utf-8"))["findings"]
    assert (found["step"], found["code"], found["outcome"]) == (10, "OPT001", "issue")
    assert record.evaluation  # the run is a whole one: judged, and with a report
    assert (tmp_path / "run" / "report.html").is_file()


def test_rows_without_a_relation_are_given_up_once_they_are_memorised(tmp_path: Path) -> None:
    record, told = trained(tmp_path / "run", "unrelated")
    assert "nothing carries over (EVA006 metric-at-chance)" in record.facts["train.stopped"]
    assert 48 <= told.steps < 120
    assert record.facts["metric.chance"] == pytest.approx(10 / record.evaluation["candidates"])


def test_the_recipe_says_whether_a_run_may_be_given_up_and_findings_are_told_all_the_same(tmp_path: Path) -> None:
    record, told = trained(tmp_path / "run", "unrelated", run__give_up=False)
    assert record.facts["train.stopped"] == "finished"
    assert told.steps == 120
    assert len([text for text in told.said if "EVA006" in text]) == 1


def test_a_healthy_run_hears_nothing_of_the_doctor_and_trains_to_its_end(tmp_path: Path) -> None:
    record, told = trained(tmp_path / "run", "related")
    assert record.facts["train.stopped"] == "finished"
    assert told.steps == 120
    assert not [text for text in told.said if text.startswith("doctor")]
    assert not (tmp_path / "run" / "findings.json").exists()


def test_a_loss_that_is_no_number_is_written_down_before_the_run_breaks_off(tmp_path: Path) -> None:
    told = Told()
    recipe = patch(Recipe(), {**SMALL, "optim.learning_rate": 1e38, "optim.warmup": "0 steps"})
    with pytest.raises(NonFiniteLossError):
        job.train(rows("related"), recipe, tmp_path / "run", watcher=told)
    found = json.loads((tmp_path / "run" / "findings.json").read_text("utf-8"))["findings"]
    assert [f["code"] for f in found] == ["NUM001"]
    assert any("NUM001" in text for text in told.said)
    assert load(tmp_path / "run").evaluation == {}


def interrupted(folder: Path, *, checkpoint: bool) -> list[dict[str, Any]]:
    """What is found when a run that had told of OPT001 is taken up again and its first loss is no number."""
    (folder / "checkpoints").mkdir(parents=True)
    if checkpoint:
        (folder / "checkpoints" / "last.safetensors").touch()
    (folder / "history.jsonl").write_text("".join(json.dumps({"step": s, "loss": 1.0}) + "\n" for s in range(7)))
    (folder / "findings.json").write_text(json.dumps({"findings": [{"step": 3, "code": "OPT001"}]}))
    watch = Watch(folder, Told(), Run(), resume=True)
    assert ("OPT001" in watch.vigil.told) == checkpoint
    with pytest.raises(NonFiniteLossError), watch:
        raise NonFiniteLossError("the loss is nan", rows=[])
    return list(json.loads((folder / "findings.json").read_text("utf-8"))["findings"])


def test_a_loss_that_is_no_number_in_the_first_step_after_an_interruption_is_told_where_it_happened(
    tmp_path: Path,
) -> None:
    found = interrupted(tmp_path, checkpoint=True)
    assert [(f["step"], f["code"]) for f in found] == [(3, "OPT001"), (7, "NUM001")]


def test_a_run_that_is_taken_up_without_a_checkpoint_begins_anew_and_so_does_what_is_told_of_it(tmp_path: Path) -> None:
    found = interrupted(tmp_path, checkpoint=False)
    assert [(f["step"], f["code"]) for f in found] == [(1, "NUM001")]
