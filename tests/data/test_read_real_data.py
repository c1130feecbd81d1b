from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from embedfit.data import describe_binding, leakage, read, split
from embedfit.errors import DataError
from embedfit.pairs import normalise

pytestmark = pytest.mark.data


@pytest.mark.parametrize(
    ("file", "kind", "rows", "labels"),
    [
        ("banking77/train.csv", "classes", 10_003, 77),
        ("hwu64/train.csv", "classes", 8_954, 64),
        ("stackfaq/rephrase.tsv", "pairs", 1_249, 125),
        ("stsb/stsb_en.tsv.gz", "graded", 8_628, None),
    ],
)
def test_real_files_are_read_whole_and_divided_without_leakage(real_data, file, kind, rows, labels):
    pairs = read(real_data / file)
    assert (pairs.kind, len(pairs)) == (kind, rows)
    if labels:
        assert pairs.table["label" if kind == "classes" else "positive"].n_unique() == labels
    train, held = split(pairs)
    assert len(held) == round(rows * 0.1)
    assert leakage(train, held) == 0.0


def test_banking77_is_what_python_reads(real_data):
    path = real_data / "banking77" / "train.csv"
    with path.open(newline="", encoding="utf-8") as file:
        assert read(path).table.rows() == [tuple(row) for row in csv.reader(file)][1:]


def test_a_folder_of_train_and_test_is_refused(real_data):
    with pytest.raises(DataError, match="the held-out rows would be trained on"):
        read(real_data / "banking77")


def test_the_leak_of_banking77_is_found(real_data):
    train, test = (read(real_data / "banking77" / f"{name}.csv") for name in ("train", "test"))
    known = {normalise(text) for text in train.table["text"]}
    assert leakage(train, test) == pytest.approx(sum(normalise(t) in known for t in test.table["text"]) / 3080)
    assert leakage(train, test) >= 6 / 3080


def test_parallel_grades_are_read_by_named_columns(real_data):
    path = real_data / "stsb" / "en_zh_parallel.tsv"
    with pytest.raises(DataError, match="do not say what they are"):
        read(path)
    chinese = read(path, sentence1="zh1", sentence2="zh2", score="score_zh")
    english = read(path, sentence1="en1", sentence2="en2", score="score_en")
    assert len(chinese) == len(english) == 8_050
    assert chinese.table.row(0) == ("一架飞机要起飞了。", "一架飞机正在起飞。", 5.0)
    assert english.table["score"].floor().equals(chinese.table["score"])


def test_clinc_is_read_from_rows(real_data):
    rows = json.loads((real_data / "clinc150" / "data_full.json").read_text())["train"]
    pairs = read([{"text": text, "intent": intent} for text, intent in rows])
    assert pairs.table.rows() == [tuple(row) for row in rows]
    with pytest.raises(DataError, match=r"is no object|expected an object|broken JSON|names no columns|do not say"):
        read(real_data / "clinc150" / "data_full.json")


def test_cmrc_is_a_collection_with_two_empty_questions(real_data):
    files = {"queries": "cmrc2018_queries.tsv", "qrels": "cmrc2018_queries.tsv", "corpus": "cmrc2018_passages.tsv"}
    paths: dict[str, Path] = {role: real_data / "cmrc2018" / name for role, name in files.items()}
    roles = {"query_id": "qid", "query": "question", "document_id": "pid", "document": "title_and_text"}
    with pytest.raises(DataError, match="line 749, column 'question': empty; 1 more bad row \\(line 810\\)"):
        read(**paths, **roles)
    pairs = read(**paths, **roles, on_bad_rows="skip")
    assert len(pairs) == 4_219
    assert pairs.corpus is not None
    assert pairs.corpus.height == 1_104
    assert {(b.line, b.reason) for b in pairs.left_out} == {
        (749, "empty"),
        (810, "empty"),
        (749, "'TRIAL_776_QUERY_4' is not in the queries"),
        (810, "'TRIAL_20_QUERY_0' is not in the queries"),
    }


def test_cranfield_is_a_collection_with_its_odd_grades(real_data):
    paths = {r: real_data / "cranfield" / f"cranfield_{n}.tsv" for r, n in
             (("corpus", "docs"), ("queries", "queries"), ("qrels", "qrels"))}  # fmt: skip
    pairs = read(**paths)
    assert len(pairs) == 1_837
    assert set(pairs.table["relevance"]) == {-1.0, 1.0, 2.0, 3.0, 4.0}
    assert pairs.corpus is not None
    first = pairs.corpus["document"][0]
    assert first.startswith("experimental investigation of the aerodynamics of a wing in a slipstream .")
    assert first.count("experimental investigation") == 1
    assert "225 queries (0 without judgement), 1,400 documents" in describe_binding(pairs)
    train, held = split(pairs)
    assert set(train.table["query_id"]).isdisjoint(held.table["query_id"])


def test_a_click_log_is_read_with_the_table_of_its_documents(real_data):
    folder = real_data / "clicklog_cmrc"
    with pytest.raises(DataError, match=r"looks like a click log .* lacks 'document'"):
        read(folder / "impressions.csv")
    with pytest.raises(DataError, match="line 1562, column 'query': empty; 49 more bad rows"):
        read(folder / "impressions.csv", corpus=folder / "documents.csv")
    log = read(folder / "impressions.csv", corpus=folder / "documents.csv", on_bad_rows="skip")
    assert (log.kind, len(log), len(log.left_out)) == ("clicks", 83_350, 50)
    with (folder / "impressions.csv").open(newline="", encoding="utf-8") as file:
        assert log.table["clicked"].sum() == sum(r["clicked"] == "1" and r["query"] != "" for r in csv.DictReader(file))


def test_a_file_without_a_header_is_not_guessed(real_data):
    with pytest.raises(DataError, match=r"do not say what they are.*\nhint: .*the first line must be a header"):
        read(real_data / "covid_q" / "classes_testA.csv")
