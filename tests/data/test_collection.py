from __future__ import annotations

import json

import pytest

from embedfit.data import describe_binding, read
from embedfit.errors import DataError


@pytest.fixture
def beir(tmp_path):
    def write(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    documents = [{"_id": "d1", "title": "T", "text": "one"}, {"_id": "d2", "title": "", "text": "two"}]
    documents += [{"_id": "d3", "title": "Three", "text": "Three is a number"}, {"_id": "d4", "title": "", "text": ""}]
    write("corpus.jsonl", "".join(json.dumps(d) + "\n" for d in documents))
    write("queries.jsonl", "".join(json.dumps({"_id": f"q{i}", "text": f"query {i}"}) + "\n" for i in (1, 2, 3)))
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td2\t2\n")
    return tmp_path, write


def test_a_folder_in_beir_layout_is_a_collection(beir):
    folder, _ = beir
    pairs = read(folder)
    assert pairs.kind == "collection"
    assert pairs.table.rows() == [
        ("q1", "query 1", "d1", 1.0),
        ("q1", "query 1", "d2", 0.0),
        ("q2", "query 2", "d2", 2.0),
    ]
    assert pairs.corpus is not None
    assert pairs.corpus.rows() == [("d1", "T one"), ("d2", "two"), ("d3", "Three is a number"), ("d4", "")]
    said = describe_binding(pairs)
    assert "3 queries (1 without judgement), 4 documents (2 not judged), 3 judgements; 1 documents have no text" in said
    assert "query_id <- '_id'" in said


def test_the_split_of_the_judgements_is_chosen(beir):
    folder, write = beir
    write("qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq3\td3\t1\n")
    with pytest.raises(
        DataError, match=r"several qrels, none called 'train'\nhint: name one: split='dev' or split='test'"
    ):
        read(folder)
    assert len(read(folder, split="dev")) == 1
    with pytest.raises(DataError, match=r"no qrels called 'valid'"):
        read(folder, split="valid")
    write("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq3\td3\t1\nq3\td1\t1\n")
    assert len(read(folder)) == 2


def test_an_incomplete_layout_says_what_is_missing(beir, tmp_path):
    folder, _ = beir
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"no collection in BEIR layout: it lacks queries\n"):
        read(folder)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"it lacks corpus, queries, qrels"):
        read(tmp_path / "other", kind="collection")


def three(folder, **options):
    return read(
        corpus=folder / "corpus.jsonl", queries=folder / "queries.jsonl", qrels=folder / "qrels/test.tsv", **options
    )


def test_three_files_make_a_collection_too(beir):
    folder, _ = beir
    assert three(folder).table.equals(read(folder).table)
    with pytest.raises(DataError, match=r"three files, got corpus"):
        read(corpus=folder / "corpus.jsonl")
    with pytest.raises(DataError, match=r"is a folder; a file is expected here"):
        read(corpus=folder, queries=folder, qrels=folder)


def test_judgements_of_unknown_ids_are_refused_or_left_out(beir):
    folder, write = beir
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq9\td1\t1\nq1\td8\t1\nq2\td9\t1\n")
    with pytest.raises(
        DataError, match=r"line 3, column 'query-id': an id that is unknown: 'q9' not in the queries \(1 j"
    ):
        read(folder)
    pairs = read(folder, on_bad_rows="skip")
    assert pairs.table["query_id"].to_list() == ["q1"]
    assert [(b.line, b.column, b.reason) for b in pairs.left_out] == [
        (3, "query-id", "'q9' is not in the queries"),
        (4, "corpus-id", "'d8' is not in the corpus"),
        (5, "corpus-id", "'d9' is not in the corpus"),
    ]
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\td1\t1\n")
    with pytest.raises(DataError, match=r"no judgement of .* names a known query and a known document"):
        read(folder, on_bad_rows="skip")


def test_an_id_stands_for_one_text(beir):
    folder, write = beir
    line = json.dumps({"_id": "q1", "text": "query 1"}) + "\n"
    write("queries.jsonl", line * 2 + json.dumps({"_id": "q2", "text": "query 2"}))
    assert "1 rows repeat an id with the same text" in describe_binding(read(folder))
    write("queries.jsonl", line + line.replace("query 1", "query one"))
    with pytest.raises(
        DataError, match=r"queries.jsonl: 'q1' stands for different texts\nhint: every query_id needs one text"
    ):
        read(folder)


def test_judgements_may_repeat_but_not_contradict(beir):
    folder, write = beir
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t1.0\n")
    pairs = read(folder)
    assert len(pairs) == 1
    assert "1 judgements were given twice" in describe_binding(pairs)
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t0\n")
    with pytest.raises(DataError, match=r"judges the query 'q1' and the document 'd1' in two ways \(1 such pairs\)"):
        read(folder)


def test_without_relevance_every_judgement_is_relevant(beir):
    folder, write = beir
    write("qrels/test.tsv", "query-id\tcorpus-id\nq1\td1\n")
    pairs = read(folder)
    assert pairs.table["relevance"].to_list() == [1.0]
    assert "every judgement counts as relevant" in describe_binding(pairs)


def test_columns_of_a_collection_are_named_where_they_exist(beir):
    folder, write = beir
    write("queries.jsonl", '{"_id": "q1", "ask": "query 1"}\n{"_id": "q2", "ask": "query 2"}\n')
    with pytest.raises(DataError, match=r"queries.jsonl has no column for 'query': it has '_id', 'ask'"):
        three(folder)
    assert three(folder, query="ask").table["query"].to_list() == ["query 1", "query 1", "query 2"]
    with pytest.raises(DataError, match=r"no role 'text'; its roles are document_id, document, title, query_id"):
        three(folder, query="ask", text="ask")
    with pytest.raises(DataError, match=r"no file of the collection has a column 'none' for the role 'title'"):
        three(folder, query="ask", title="none")


def test_bad_judgements_are_named(beir):
    folder, write = beir
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tgood\nq1\td2\t1\n")
    with pytest.raises(DataError, match=r"line 2, column 'score': not a number: 'good'"):
        read(folder)
    assert len(read(folder, on_bad_rows="skip")) == 1
