from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

import embedfit as ef
from embedfit.cli.app import app
from embedfit.clinic import cures, differing, trained_for
from embedfit.doctor import Diagnosis, diagnose
from embedfit.doctor.diagnosis import Cost
from embedfit.errors import EmbedfitError
from embedfit.recipe import Recipe, patch
from embedfit.run import Run


def invoke(*words: str):
    return CliRunner().invoke(app, list(words), prog_name="embedfit")


def test_settings_that_are_not_embedfits_own_are_sorted_by_component():
    recipe = patch(Recipe(), {"loss.temperature": 3.0, "optim.weight_decay": 0.5, "optim.length": "2 epochs"})
    assert differing(recipe) == {
        "loss": {"loss.temperature": "auto"},
        "regularisation": {"optim.weight_decay": 0.01},
    }
    assert differing(Recipe()) == {}


def test_the_prescription_of_a_fact_becomes_a_change_of_the_recipe():
    recipe = patch(Recipe(), {"loss.temperature": 3.0})
    facts = {"loss.floor": 3.6, "loss.chance": 4.0, "chosen.temperature": 3.0, "chosen.candidates": 55}
    found = cures(diagnose(Run(recipe=recipe, facts=facts)))
    assert [cure.code for cure in found] == ["LOS001"]
    assert 0.1 < trained_for(recipe, found).loss.temperature < 0.3


def test_without_a_prescription_there_is_nothing_to_fix():
    with pytest.raises(EmbedfitError, match="no prescription"):
        cures(Diagnosis(verdict="healthy", why="", cost=Cost(seconds=0.0), findings=()))


def test_a_log_is_diagnosed_from_its_curves(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n1,2.0\n2,nan\n", "utf-8")
    result = invoke("diagnose", str(tmp_path / "log.csv"), "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["code"] == "NUM001"


@pytest.mark.slow
def test_a_spoiled_run_is_named_and_fixed(tmp_path):
    rows = pl.read_csv(ef.demo() / "questions.csv").filter(pl.col("language") == "en").head(200)
    rows.select("question", "standard_question").write_csv(tmp_path / "faq.csv")
    spoiled = {"loss.temperature": 3.0, "optim.length": "20 steps", "model.kind": "static", "optim.learning_rate": 0.01}
    run = ef.fit(str(tmp_path / "faq.csv"), out=str(tmp_path / "run"), settings=spoiled)
    result = invoke("diagnose", str(run.folder), "--budget", "20s", "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["cost"]["steps"] > 0
    fixed = invoke("fix", str(run.folder), "--passive", "--out", str(tmp_path / "fixed"), "--format", "json")
    assert fixed.exit_code == 0, fixed.output
    assert "loss.temperature" in json.loads(fixed.stdout)["applied"][0]["change"]
    assert (tmp_path / "fixed" / "evaluation.json").is_file()
