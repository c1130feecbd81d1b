from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from commands import again, interrupted_at, stop, typed

from embedfit.data.demo import demo


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded data set cut down to a few standard questions, and an empty current folder."""
    files = tmp_path / "data"
    shutil.copytree(demo(), files)
    questions = pl.read_csv(files / "questions.csv")
    sizes = questions.group_by("language", "standard_question").len().sort("len", "standard_question", descending=True)
    kept = sizes.group_by("language", maintain_order=True).head(12)["standard_question"].implode()
    for name in ("questions.csv", "exam.csv"):
        pl.read_csv(files / name).filter(pl.col("standard_question").is_in(kept)).write_csv(files / name)
    monkeypatch.setattr("embedfit.cli.exhibit.demo", lambda: files)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return files


def test_the_demo_trains_sits_the_exam_searches_and_reports(small: Path) -> None:
    shown = typed("demo", "--model", "static")
    assert shown.exit_code == 0, shown.stderr
    for said in ("recall@10 is ", "English", "Chinese", "TF-IDF", "refused", "runs/demo/report.html", "embedfit train"):
        assert said in shown.stdout
    assert shown.stdout.count("$ embedfit search runs/demo ") == 3
    values = json.loads(Path("runs/demo/evaluation.json").read_text("utf-8"))
    for language in ("en", "zh"):
        assert 0 <= values[f"exam/{language}/recall@10"] <= 1
        assert f"exam/{language}/lexical/recall@10" in values
        assert 0 <= values[f"exam/{language}/oos_recall"] <= 1
    exam = pl.read_csv(small / "exam.csv")
    assert values["exam/zh/queries"] == exam.filter(pl.col("language") == "zh")["question"].n_unique()
    assert Path("runs/demo/report.html").is_file()

    second = typed("demo", "--model", "static")
    assert second.exit_code == 0
    assert "runs/demo exists: this run goes to runs/demo-2" in second.stderr
    assert Path("runs/demo-2/report.html").is_file()


def test_an_interrupted_demo_goes_on_with_the_printed_command(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupted_at(3, patch)
        shown = typed("demo", "--model", "static")
    assert shown.exit_code == 130
    words = again(shown.stderr.splitlines()[-1])
    assert words == ["demo", "--out", "runs/demo", "--model", "static"]
    with monkeypatch.context() as patch:
        patch.setattr("embedfit.cli.exhibit.sit", stop)
        shown = typed(*words)
    assert "holds an unfinished demo: going on with it" in shown.stderr
    assert shown.stderr.splitlines()[-1] == "interrupted: the trained model is kept in runs/demo"
