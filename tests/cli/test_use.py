from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import QUICK, typed

from embedfit.api import load, load_run
from embedfit.evaluate import index as indexes


def test_search_prints_documents_with_scores_best_first(run: Path) -> None:
    shown = typed("search", run, "the light is broken", "-k", "3")
    assert shown.exit_code == 0
    rows = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[0][2] == "How do I repair the light?"
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert "threshold" in shown.stderr


def test_search_without_an_answer_has_exit_status_1(run: Path) -> None:
    shown = typed("search", run, "quarterly dividend outlook")
    assert (shown.exit_code, shown.stdout) == (1, "no answer\n")
    assert "below the threshold" in shown.stderr


@pytest.mark.parametrize(("text", "answered"), [("the light is broken", True), ("quarterly dividend outlook", False)])
def test_search_as_json_tells_answers_from_what_was_merely_near(run: Path, text: str, answered: bool) -> None:
    shown = typed("search", run, text, "-k", "2", "--format", "json")
    found = json.loads(shown.stdout)
    assert shown.exit_code == (0 if answered else 1)
    assert found["answered"] is answered
    assert len(found["nearest"]) == 2
    assert found["answers"] == (found["nearest"] if answered else [])
    assert (found["nearest"][0]["score"] >= found["threshold"]) is answered
    assert set(found["nearest"][0]) == {"document", "score", "rank"}


def test_a_fused_search_adds_words_by_the_weight_of_the_held_out_rows(run: Path) -> None:
    shown = typed("search", run, "the light is broken", "-k", "3", "--fuse")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.splitlines()[0].endswith("How do I repair the light?")
    values = json.loads((run / "evaluation.json").read_text("utf-8"))
    weight = json.loads((run / "catalogue" / "words.json").read_text("utf-8"))["weight"]
    assert weight == values["fused/weight"]
    assert f"weight of the model {weight:.3g}; on held-out rows recall@10 is" in shown.stderr
    alone = json.loads(typed("search", run, "the light is broken", "--format", "json").stdout)
    fused = json.loads(typed("search", run, "the light is broken", "--format", "json", "--fuse").stdout)
    assert fused["threshold"] != alone["threshold"]
    assert fused["answered"]


def test_fusion_in_python_finds_what_the_command_finds(run: Path) -> None:
    found = load_run(run).search("the light is broken", k=2, fuse=True)
    shown = json.loads(typed("search", run, "the light is broken", "-k", "2", "--fuse", "--format", "json").stdout)
    assert [a.document for a in found] == [a["document"] for a in shown["answers"]]


def test_a_run_without_a_lexical_side_says_why_it_cannot_fuse(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "old")
    (tmp_path / "old" / "catalogue" / "words.json").unlink()
    assert typed("search", tmp_path / "old", "the light is broken").exit_code == 0
    shown = typed("search", tmp_path / "old", "the light is broken", "--fuse")
    assert shown.exit_code == 2
    assert "chosen on held-out rows" in shown.stderr
    assert "hint: search without fusion" in shown.stderr


def test_search_in_documents_of_a_file_works_with_a_bare_model(run: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a broken wheel\nthe chain arrived late\n")
    shown = typed("search", run / "model", "my chain arrived late", "--documents", tmp_path / "texts.txt")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0].endswith("the chain arrived late")
    assert len(shown.stdout.splitlines()) == 2


def test_search_in_an_index_finds_what_search_in_its_file_finds(run: Path, tmp_path: Path) -> None:
    lines = [line.split(",")[0] for line in (run.parent / "faq.csv").read_text("utf-8").splitlines()[1:]]
    texts = tmp_path / "texts.parquet"
    pl.DataFrame({"text": list(dict.fromkeys(lines))}).write_parquet(texts, row_group_size=50)
    wanted = typed("search", run, "my chain arrived late", "--documents", texts, "-k", "5").stdout
    for kind in ("flat", "ivf"):
        words = ("--index", tmp_path / kind, "--index-kind", kind)
        said = typed("encode", run, texts, "-o", tmp_path / "e.npy", "--role", "document", *words)
        assert said.exit_code == 0, said.stderr
        assert ("recall@10" in said.stdout) == (kind == "ivf")
        found = typed(
            "search", run, "my chain arrived late", "--index", tmp_path / kind, "--documents", texts, "-k", "5"
        )
        assert found.exit_code == 0, found.stderr
        assert found.stdout == wanted
    bare = typed("search", run, "my chain arrived late", "--index", tmp_path / "flat", "-k", "5").stdout.splitlines()
    at = [int(line.split()[2]) for line in bare]
    assert [pl.read_parquet(texts)["text"][i] for i in at] == [
        line.split(maxsplit=2)[2] for line in wanted.splitlines()
    ]
    (tmp_path / "other.txt").write_text("one\ntwo\n")
    other = typed("search", run, "x", "--index", tmp_path / "flat", "--documents", tmp_path / "other.txt")
    assert (other.exit_code, "has 2 texts, the index" in other.stderr) == (2, True)
    fused = typed("search", run, "x", "--index", tmp_path / "flat", "--fuse")
    assert (fused.exit_code, "an index holds no words" in fused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}", " "], "the text to search for is empty"),
        (["{run}", "x", "--index", "nope"], "no readable index in 'nope'"),
        (["{run}/model", "x"], "a model has no documents of its own"),
        (["{run}x", "x"], "no model folder at"),
        (["{run}", "x", "--documents", "nope.txt"], "no file or folder 'nope.txt'"),
        (["{run}", "x", "--documents", "nope.txt", "--fuse"], "holds for the documents of a run"),
        (["{run}/model", "x", "--fuse"], "a model has no documents of its own"),
    ],
)
def test_search_that_cannot_be_done_says_why(run: Path, words: list[str], said: str) -> None:
    shown = typed("search", *(word.format(run=run) for word in words))
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert "hint: " in shown.stderr


def test_an_unfinished_run_names_the_command_that_finishes_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text((run / "recipe.toml").read_text("utf-8"), "utf-8")
    shown = typed("search", tmp_path, "x")
    assert shown.exit_code == 2
    assert f"hint: go on with `embedfit train {tmp_path} --resume`" in shown.stderr


def test_evaluate_knows_the_rows_of_the_run(run: Path) -> None:
    faq = run.parent / "faq.csv"
    shown = typed("evaluate", run, faq)
    assert shown.exit_code == 0, shown.stderr
    assert "TF-IDF" in shown.stdout
    assert "240 rows of the run" in shown.stderr
    found = json.loads(typed("evaluate", run, faq, "--format", "json").stdout)
    assert found["leaked_queries"] == 240
    assert found["recall@10/low"] <= found["recall@10"] <= found["recall@10/high"]


def test_two_models_are_compared_on_the_same_rows(run: Path, tmp_path: Path) -> None:
    faq = run.parent / "faq.csv"
    assert typed("train", faq, "--model", "ngram", *QUICK[2:], "--out", tmp_path / "other").exit_code == 0
    shown = typed("evaluate", run, faq, "--against", tmp_path / "other")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.splitlines()[-1].startswith("recall@10 is ")
    assert f"for {run} and " in shown.stdout
    assert "240 rows of the run" in shown.stderr
    found = json.loads(typed("evaluate", run, faq, "--against", tmp_path / "other", "--format", "json").stdout)
    assert found["verdict"] == shown.stdout.splitlines()[-1]
    compared = found["metrics"]["recall@10"]
    assert compared["first"] == found["first"]["recall@10"]
    assert compared["second"] == found["second"]["recall@10"]
    assert compared["difference"]["value"] == pytest.approx(compared["first"] - compared["second"])
    assert compared["difference"]["low"] <= compared["difference"]["value"] <= compared["difference"]["high"]
    assert "lexical/recall@10" in found["first"]
    itself = typed("evaluate", run, faq, "--against", run / "model")
    assert "no difference can be shown, +0.000" in itself.stdout


def write_pairs(path: Path, rows: int) -> Path:
    """Pairs of questions: about the same trouble, or about another one."""
    lines = [line.split(",")[0] for line in (path / "faq.csv").read_text("utf-8").splitlines()[1:]]
    pairs = [(lines[i], lines[i + 1 if i % 2 == 0 else (i + 90) % 240], (i + 1) % 2) for i in range(rows)]
    table = pl.DataFrame(pairs, schema=["sentence1", "sentence2", "score"], orient="row")
    table.write_csv(path / f"same{rows}.csv")
    return path / f"same{rows}.csv"


def test_pairs_with_scores_zero_and_one_are_classified(run: Path) -> None:
    test, dev = write_pairs(run.parent, 100), write_pairs(run.parent, 60)
    bare = typed("evaluate", run, test)
    assert bare.exit_code == 0, bare.stderr
    assert "No threshold was chosen: that needs other rows (--dev FILE)" in bare.stdout
    shown = typed("evaluate", run, test, "--dev", dev)
    assert "chosen on 60 other pairs" in shown.stdout
    found = json.loads(typed("evaluate", run, test, "--dev", dev, "--format", "json").stdout)
    assert found["metric"] == "average_precision"
    assert {"threshold", "accuracy", "f1", "lexical/accuracy", "lexical/f1"} <= set(found)


def test_the_threshold_of_a_run_on_such_pairs_is_chosen_on_its_held_out_rows(run: Path, tmp_path: Path) -> None:
    data = write_pairs(run.parent, 238)
    assert typed("train", data, *QUICK, "--out", tmp_path / "same").exit_code == 0
    shown = typed("evaluate", tmp_path / "same", write_pairs(run.parent, 100))
    assert shown.exit_code == 0, shown.stderr
    assert "held-out rows of the run" in shown.stderr
    assert "At the threshold" in shown.stdout


def test_rows_to_choose_a_threshold_on_are_refused_where_there_is_none(run: Path) -> None:
    faq = run.parent / "faq.csv"
    shown = typed("evaluate", run, faq, "--dev", faq)
    assert shown.exit_code == 2
    assert "got rows of kind 'pairs'" in shown.stderr


def test_evaluate_takes_other_known_rows_and_a_bare_model(run: Path, tmp_path: Path) -> None:
    lines = (run.parent / "faq.csv").read_text().splitlines()
    (tmp_path / "known.csv").write_text("\n".join([lines[0], *lines[1::2]]))
    (tmp_path / "asked.csv").write_text("\n".join([lines[0], *lines[2:60:2]]))
    shown = typed(
        "evaluate", run / "model", tmp_path / "asked.csv", "--known", tmp_path / "known.csv", "--format", "json"
    )
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout)["candidates"] == 40
    alone = json.loads(typed("evaluate", run / "model", tmp_path / "asked.csv", "--format", "json").stdout)
    assert alone["candidates"] < 40


def test_evaluate_says_when_the_rows_of_the_run_are_gone(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "moved")
    recipe = tmp_path / "moved" / "recipe.toml"
    recipe.write_text(recipe.read_text("utf-8").replace("faq.csv", "gone.csv"), "utf-8")
    shown = typed("evaluate", tmp_path / "moved", run.parent / "faq.csv")
    assert shown.exit_code == 0, shown.stderr
    assert "the rows of the run cannot be read" in shown.stderr


def test_encode_writes_what_the_model_gives(run: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("my light is lost\nthe wheel is broken\n")
    assert typed("encode", run, tmp_path / "texts.txt", "-o", tmp_path / "e.npy").exit_code == 0
    expected = load(run).encode(["my light is lost", "the wheel is broken"], role="document")
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), expected)


def test_encode_with_an_index_says_what_was_checked(run: Path, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "e.parquet", "--column", "standard_question", "--index", tmp_path / "ix"]
    shown = typed("encode", run, run.parent / "faq.csv", *words)
    assert shown.exit_code == 0, shown.stderr
    assert "checked: 240 documents, encoded afresh, found themselves first with cosine 1" in shown.stdout
    assert "exact duplicate" in shown.stdout
    table = pl.read_parquet(tmp_path / "e.parquet")
    made = indexes.load(tmp_path / "ix")
    _, found = indexes.search(made, load(run).encode(["how do I replace the motor"]), 1)
    assert table["text"][int(made.ids[found[0, 0]])] == "How do I replace the motor?"


def test_an_index_whose_documents_do_not_find_themselves_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = indexes.build

    def mixed_up(embedding: np.ndarray, ids: list[str], **more: str) -> indexes.Index:
        return real(embedding[::-1].copy(), ids, **more)

    monkeypatch.setattr("embedfit.cli.embedding.build", mixed_up)
    (tmp_path / "texts.txt").write_text("my light is lost\nthe wheel is broken\n")
    shown = typed("encode", run, tmp_path / "texts.txt", "-o", tmp_path / "e.npy", "--index", tmp_path / "ix")
    assert shown.exit_code == 2
    assert "do not find themselves" in shown.stderr
    assert "checked" not in shown.stdout
    assert not (tmp_path / "ix").exists()


def test_encode_refuses_another_format_before_it_loads_anything(tmp_path: Path) -> None:
    shown = typed("encode", "no such model", "no such file", "-o", "e.txt")
    assert shown.exit_code == 2
    assert "written to .npy or .parquet, got 'e.txt'" in shown.stderr
