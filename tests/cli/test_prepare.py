from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from commands import QUICK, typed

from embedfit.engine.defaults import loss_for
from embedfit.pairs import Kind
from embedfit.recipe import from_toml


def test_audit_shows_facts_on_stdout_and_what_was_bound_on_stderr(faq: Path) -> None:
    shown = typed("audit", faq)
    assert shown.exit_code == 0
    assert "faq.csv: pairs, 240 rows" in shown.stdout
    assert "query <- 'question', positive <- 'standard_question'" in shown.stderr


def test_audit_as_json_is_one_object(faq: Path) -> None:
    found = json.loads(typed("audit", faq, "--format", "json").stdout)
    assert found["facts"]["data.rows"] == 240
    assert {"name", "severity", "sentence", "examples"} == set(found["findings"][0])


def test_audit_has_exit_status_1_where_a_finding_is_an_issue(faq: Path) -> None:
    Path("one.csv").write_text("question,standard_question\nhello,How are you?\n")
    shown = typed("audit", "one.csv")
    assert "issue" in shown.stdout
    assert shown.exit_code == 1


def test_audit_measures_leakage_into_held_out_rows(faq: Path) -> None:
    found = json.loads(typed("audit", faq, "--dev", faq, "--format", "json").stdout)
    assert found["facts"]["data.leakage"] == 1.0


def test_audit_reads_other_encodings_and_columns(faq: Path) -> None:
    text = "frage,antwort\n" + "".join(f"Größe {i}?,Maß {i}\n" for i in range(30))
    Path("latin.csv").write_bytes(text.encode("latin-1"))
    shown = typed(
        "audit", "latin.csv", "--encoding", "latin-1", "--column", "query=frage", "--column", "positive=antwort"
    )
    assert "pairs, 30 rows" in shown.stdout
    assert typed("audit", "latin.csv").exit_code == 2


def test_audit_leaves_bad_rows_out_only_when_asked(faq: Path) -> None:
    with faq.open("a") as file:
        file.write("one cell too many,How?,x\n")
    assert "line 242" in typed("audit", faq).stderr
    shown = typed("audit", faq, "--on-bad-rows", "skip")
    assert shown.exit_code == 0
    assert "1 rows were left out" in shown.stderr


def test_init_writes_a_commented_recipe_that_trains(faq: Path) -> None:
    shown = typed("init", faq)
    assert (shown.exit_code, shown.stdout) == (0, "recipe.toml\n")
    text = Path("recipe.toml").read_text("utf-8")
    assert "relative to the folder in which that command is run" in text
    assert "# auto: from the number of candidates (floor below 5 % of chance); here: 0.0" in text
    recipe = from_toml(Path("recipe.toml"))
    assert recipe.data.files == ("faq.csv",)
    assert recipe.data.kind == "pairs"
    assert recipe.data.columns == {"query": "question", "positive": "standard_question"}
    assert typed("train", "recipe.toml", *QUICK, "--out", "out").exit_code == 0


def test_init_leaves_an_existing_file_alone(faq: Path) -> None:
    Path("recipe.toml").write_text("mine")
    shown = typed("init", faq)
    assert shown.exit_code == 2
    assert "hint: name another file with -o" in shown.stderr
    assert Path("recipe.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("text,label\n" + "".join(f"text {i},{i % 3}\n" for i in range(60)), "classes"),
        ("sentence1,sentence2,score\n" + "".join(f"a {i},b {i},{i % 5}\n" for i in range(60)), "graded"),
    ],
)
def test_init_to_stdout_says_what_auto_would_choose(faq: Path, rows: str, kind: Kind) -> None:
    Path("rows.csv").write_text(rows)
    shown = typed("init", "rows.csv", "-o", "-")
    table = tomllib.loads(shown.stdout)
    assert table["data"]["kind"] == kind
    assert table["loss"]["kind"] == "auto"
    assert f"the objective; here: {loss_for(kind)}" in shown.stdout
    assert not Path("recipe.toml").exists()
