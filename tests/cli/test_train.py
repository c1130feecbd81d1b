from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from commands import QUICK, typed

from embedfit.recipe import from_toml


def test_the_result_as_json_names_model_report_and_metrics(trained: Result, run: Path) -> None:
    result = json.loads(trained.stdout)
    assert result["metric"] == "recall@10"
    assert result["value"] == result["evaluation"]["recall@10"]
    assert result["verdict"].startswith("recall@10 is ")
    assert {"recall@10/low", "recall@10/high", "lexical/recall@10"} <= set(result["evaluation"])
    assert Path(result["report"]).is_file()
    assert (Path(result["model"]) / "embedfit.json").is_file()
    assert result["facts"]["chosen.steps"] > 0


def test_the_talk_goes_to_stderr(trained: Result) -> None:
    for said in ("query <- 'question'", "watch  ordered_by_class", "floor", "chance", "held-out recall@10", "TF-IDF"):
        assert said in trained.stderr


def test_the_result_as_text_is_verdict_table_and_places(faq: Path) -> None:
    shown = typed("train", faq, *QUICK)
    assert shown.exit_code == 0, shown.stderr
    for said in (
        "A 'static' tower",
        "95 % interval",
        "recall@10 is ",
        "runs/faq-1/report.html",
        "embedfit search runs/faq-1",
    ):
        assert said in shown.stdout
    assert typed("train", faq, *QUICK).stdout.count("runs/faq-2/") == 2


def test_a_recipe_is_changed_by_what_is_typed_and_by_nothing_else(faq: Path) -> None:
    Path("r.toml").write_text('[data]\nfiles = ["faq.csv"]\nencoding = "ascii"\ndev = 0.2\n[optim]\nseed = 7\n')
    assert typed("train", "r.toml", *QUICK, "--out", "out", "--set", "optim.seed=8").exit_code == 0
    written = from_toml(Path("out/recipe.toml"))
    assert (written.data.encoding, written.data.dev, written.optim.seed) == ("ascii", 0.2, 8)


def test_the_folder_of_a_run_is_a_recipe(faq: Path, run: Path) -> None:
    shown = typed("train", run, "--out", "again", "--format", "json")
    assert shown.exit_code == 0, shown.stderr
    first = json.loads((run / "evaluation.json").read_text("utf-8"))
    assert json.loads(shown.stdout)["value"] == first["recall@10"]


def test_held_out_rows_may_come_from_a_file(faq: Path) -> None:
    lines = faq.read_text().splitlines()
    Path("dev.csv").write_text("\n".join([lines[0], *lines[1::8]]))
    shown = typed("train", faq, "--dev", "dev.csv", *QUICK, "--out", "out")
    assert "held out dev.csv: 30 rows" in shown.stderr
    assert from_toml(Path("out/recipe.toml")).data.dev_files == ("dev.csv",)


def test_columns_that_were_bound_and_left_unused_are_said_and_recorded(faq: Path) -> None:
    lines = faq.read_text().splitlines()
    Path("more.csv").write_text("\n".join([f"{lines[0]},topic", *(f"{line},bikes" for line in lines[1:])]))
    Path("dev.csv").write_text("\n".join(["day,text,answer", *(f"1,{line}" for line in lines[1::8])]))
    shown = typed("train", "more.csv", "--dev", "dev.csv", *QUICK, "--out", "out")
    assert shown.exit_code == 0, shown.stderr
    assert "query <- 'question', positive <- 'standard_question'; not used: 'topic'" in shown.stderr
    assert "held out pairs: query <- 'text', positive <- 'answer'; not used: 'day'" in shown.stderr
    facts = json.loads(Path("out/facts.json").read_text("utf-8"))
    assert facts["data.columns"] == {"query": "question", "positive": "standard_question"}
    assert facts["data.columns_unused"] == ["topic"]
    page = Path("out/report.html").read_text("utf-8")
    assert "query &lt;- question, positive &lt;- standard_question" in page
    assert "columns of the source that were not used" in page
    assert "not used: 'topic'" in typed("audit", "more.csv").stdout


def test_texts_without_an_answer_set_the_threshold(faq: Path) -> None:
    def train(*more: str) -> tuple[str, str, dict[str, float], float]:
        out = f"out{len(list(Path().glob('out*')))}"
        shown = typed("train", faq, *QUICK, "--out", out, *more)
        assert shown.exit_code == 0, shown.stderr
        values = json.loads(Path(out, "evaluation.json").read_text())
        threshold = json.loads(Path(out, "catalogue/catalogue.json").read_text())["threshold"]
        assert values["threshold"] == threshold
        return shown.stderr, shown.stdout, values, threshold

    # they begin like the questions and end otherwise, so that some of them score above the weakest right answer
    texts = [
        f"{how} {what}"
        for how in ("help, my", "the", "hello the")
        for what in ["cat", "dog", "sun", "tree", "song", "joke", "cup", "sea"]
    ]
    Path("none.txt").write_text("\n".join(texts))
    Path("few.txt").write_text("\n".join(texts[:3]))
    alone = train()
    few = train("--out-of-scope", "few.txt")
    assert "3 texts without an answer: too few" in few[0]
    assert few[3] == alone[3]
    assert "out_of_scope/refused" not in alone[2]
    many = train("--out-of-scope", "none.txt")
    assert "24 texts without an answer: the threshold is chosen with them" in many[0]
    assert many[3] != alone[3]
    assert 0 <= many[2]["out_of_scope/refused"] <= 1
    assert 0 < many[2]["out_of_scope/right_kept"] <= 1
    assert "of the texts without an answer and keeps" in many[1]
    assert "of the texts without an answer and keeps" in Path("out2/report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("setting", "said", "hint"),
    [
        ("loss.temprature=0.1", "there is no setting 'loss.temprature'", "did you mean 'loss.temperature'?"),
        ("optim.lr=3e-4", "there is no setting 'optim.lr'", "did you mean 'optim.learning_rate'?"),
        ("temperature=0.1", "there is no setting 'temperature'", "did you mean 'loss.temperature'?"),
        ("run.colour=1", "there is no setting 'run.colour'", "settings: data.files"),
        ("optim.patience=many", "'optim.patience' got 'many'", "evaluations without a better held-out metric"),
        ("optim.length=3 weeks", "got '3 weeks'", "how long to train"),
        ("patience", "expected key=value, got 'patience'", "--set loss.temperature=0.05"),
        ("model.kind=[1]", "'model.kind' got [1]", "model.kind"),
    ],
)
def test_a_wrong_setting_is_named_with_the_right_one(faq: Path, setting: str, said: str, hint: str) -> None:
    shown = typed("train", faq, "--set", setting)
    assert shown.exit_code == 2
    assert said in shown.stderr.splitlines()[0]
    assert hint in shown.stderr.splitlines()[1]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.csv"], "there is no file or folder 'nope.csv'"),
        (["nope.toml"], "no recipe at 'nope.toml'"),
        (["faq.csv", "--column", "query=quest"], "no column 'quest'"),
        (["faq.csv", "--dev", "nope.csv"], "there is no file or folder 'nope.csv'"),
        (["faq.csv", "--resume"], "there is no unfinished run 'runs/faq-<n>' to resume"),
        (["faq.csv", "--model", "./nope"], "nope"),
        (["faq.csv", "--kind", "graded"], "graded"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing_behind(faq: Path, words: list[str], said: str) -> None:
    shown = typed("train", *words)
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr
    assert [p.name for p in Path().iterdir()] == ["faq.csv"]


def test_a_finished_run_is_not_overwritten_and_nothing_is_read_for_it(run: Path) -> None:
    shown = typed("train", "no such file.csv", "--out", run)
    assert shown.exit_code == 2
    assert shown.stderr == f"error: '{run}' holds a finished run\nhint: choose another folder with --out\n"


def test_without_held_out_rows_the_reason_is_said(faq: Path) -> None:
    shown = typed("train", faq, "--dev", "0", *QUICK, "--out", "out")
    assert shown.exit_code == 0
    assert "no held-out metric: nothing is held out, as asked" in shown.stderr
