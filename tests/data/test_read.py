from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedfit.data import describe_binding, read, textfile
from embedfit.data import paths as paths_module
from embedfit.errors import BadRow, DataError


@pytest.fixture
def write(tmp_path):
    def file(text: str, name: str = "faq.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return tmp_path / name

    return file


TEXT = st.text(st.sampled_from("ab ,;\t\"\n\r'é密码😀\u2028"), max_size=5).map(lambda s: f"{s}x{s}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5), st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_rows_come_back_as_they_were_written(tmp_path, rows, suffix):
    path = tmp_path / f"round.{suffix}"
    frame = pl.DataFrame(rows, schema=["query", "positive"], orient="row")
    if suffix == "parquet":
        frame.write_parquet(path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in frame.to_dicts()), newline="")
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="," if suffix == "csv" else "\t")
            writer.writerows([("query", "positive"), *rows])
    assert read(path).table.rows() == rows


def test_what_was_bound_is_said(write):
    pairs = read(write("thread,standard_question,user_query\n1,s,u\n"))
    assert pairs.kind == "pairs"
    assert pairs.table.to_dicts() == [{"query": "u", "positive": "s"}]
    assert dict(pairs.binding) == {"query": "user_query", "positive": "standard_question"}
    assert describe_binding(pairs) == (
        "pairs: query <- 'user_query', positive <- 'standard_question'; not used: 'thread'"
    )


def test_the_order_of_columns_means_nothing(write):
    one, other = read(write("query,positive\nq,p\n")), read(write("positive,query\np,q\n", "b.csv"))
    assert one.table.equals(other.table)


def test_columns_and_roles_say_the_same(write):
    path = write("a,b,c\nq,p,n\n")
    by_name = read(path, query="a", positive="b", negative="c")
    assert by_name.table.equals(read(path, columns={"query": "a", "positive": "b", "negative": "c"}).table)
    assert by_name.negatives == ("negative_1",)


def test_files_of_a_folder_are_put_together_and_named(write, tmp_path):
    write("text,label\na,x\n", "1.csv")
    write("label,text\ny,b\n", "2.csv")
    pairs = read(tmp_path)
    assert pairs.table.rows() == [("a", "x"), ("b", "y")]
    assert "note: 2 files: " in describe_binding(pairs)
    assert read([tmp_path / "2.csv", str(tmp_path / "1.csv")]).table.rows() == [("b", "y"), ("a", "x")]
    assert len(read(str(tmp_path / "?.csv"))) == 2


def test_files_with_other_columns_are_refused(write, tmp_path):
    write("text,label\na,x\n", "1.csv")
    write("text,intent\nb,y\n", "2.csv")
    with pytest.raises(DataError, match=r"2.csv has other columns than .*1.csv: it lacks 'label'; has 'intent' too"):
        read(tmp_path)
    pl.DataFrame({"text": "a", "label": "x"}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"text": "a"}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2.parquet has other columns than .*1.parquet: it lacks 'label'\n"):
        read(str(tmp_path / "*.parquet"))


BAD = {
    "query,positive\nq,p\n,p\nq,p\n": (3, "query", "empty"),
    "query,positive\nq,p\n \u3000\u200b,p\n": (3, "query", "empty"),
    'query,positive\n"q\nr",p\nq,""\n': (4, "positive", "empty"),
    "query,positive\nq,p\0p\n": (2, "positive", "a NUL byte inside the text"),
    "query,positive\nq\n": (2, "", "1 cells, the header has 2"),
    'query,positive\n"q" r,p\n': (2, "", "text after a closing quotation mark"),
    "text,label\nt,\n": (2, "label", "empty"),
    "query,positive,weight\nq,p,-1\n": (2, "weight", "negative: -1"),
    "query,positive,weight\nq,p,much\n": (2, "weight", "not a number: 'much'"),
    "sentence1,sentence2,score\na,b,\n": (2, "score", "empty"),
    "sentence1,sentence2,score\na,b,NaN\n": (2, "score", "not a finite number: 'NaN'"),
    "sentence1,sentence2,score\na,b,inf\n": (2, "score", "not a finite number: 'inf'"),
    'sentence1,sentence2,score\na,b,"3,5"\n': (2, "score", "not a number: '3,5'"),
    "sentence1,sentence2,score\n,,x\n": (2, "sentence1", "empty"),
}


@pytest.mark.parametrize(("text", "place"), BAD.items())
def test_a_bad_row_is_an_error_with_its_place_or_is_left_out_and_listed(write, text, place):
    fit = {"query": "q0,p0", "text": "t0,l0", "sentence1": "a0,b0,1"}[text.split(",", 1)[0]]
    fit += ",1" if "weight" in text else ""
    path = write(f"{text}{fit}\n")
    line, column, reason = place
    bad = BadRow(str(path), line, column, reason)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.message.startswith(str(bad))
    assert "on_bad_rows='skip' (--on-bad-rows skip)" in str(caught.value.hint)
    pairs = read(path, on_bad_rows="skip")
    assert pairs.left_out[0].reason.startswith(reason)
    assert (pairs.left_out[0].line, pairs.left_out[0].column) == (line, column)
    assert (
        len(pairs) + len(pairs.left_out)
        == len(list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))) - 1
    )
    assert pairs.table.row(-1)[0] == fit.split(",", maxsplit=1)[0]


def test_an_error_counts_the_other_bad_rows_and_names_some_lines(write):
    path = write("query,positive\n" + "q,p\n,p\n" * 6)
    with pytest.raises(DataError, match=r"line 3, column 'query': empty; 5 more bad rows \(lines 5, 7, 9, ...\)"):
        read(path)
    with pytest.raises(DataError, match=r"line 2, column 'query': empty; 1 more bad row \(line 3\)"):
        read(write("query,positive\n,p\n,p\nq,p\n"))


def test_bad_rows_of_both_sorts_are_listed_in_the_order_of_lines(write):
    pairs = read(write("query,positive\n,p\nq\nq,p\nq,\n"), on_bad_rows="skip")
    assert [(b.line, b.column) for b in pairs.left_out] == [(2, "query"), (3, ""), (5, "positive")]


def test_scores_are_numbers_and_words_for_true_and_false_count(write):
    pairs = read(write("question1,question2,is_duplicate\na,b,true\nc,d, 0 \ne,f,1e-1\n"))
    assert pairs.table["score"].to_list() == [1.0, 0.0, 0.1]


def test_empty_negatives_are_absent_not_bad(write):
    pairs = read(write("query,positive,negative_1,negative_2\nq,p,n,\nr,s, ,m\n"))
    assert pairs.table.select(pairs.negatives).rows() == [("n", None), (None, "m")]


def test_a_very_long_cell_is_fit_and_noted(write):
    pairs = read(write(f"query,positive\nq,p\n{'x' * 1_000_001},p\n"))
    assert len(pairs) == 2
    assert "line 3, column 'query': 1,000,001 bytes of text in one cell; 1 such cells over 1 MB" in describe_binding(
        pairs
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "query,positive\n", "a.csv has a header but no rows"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "query\nq\n", "has one column, 'query'; expected at least two"),
        ("a.csv", "query,positive\n,\n,\n", "empty; 1 more bad row"),
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", "not json\n", "a.jsonl, line 1: broken JSON"),
        ("a.jsonl", "{}\n", "names no columns"),
        ("a.json", '[{"query": "q"}]', "one JSON array; expected one object per line"),
        ("a.parquet", "no parquet", "a.parquet cannot be read as Parquet"),
    ],
)
def test_files_without_rows_say_so(write, name, text, message):
    with pytest.raises(DataError, match=message):
        read(write(text, name))


def test_skipping_every_row_is_an_error(write):
    with pytest.raises(DataError, match=r"no row of .*faq.csv is fit: .*line 2, column 'query': empty, and 1 more"):
        read(write("query,positive\n,\n,\n"), on_bad_rows="skip")


def test_a_file_that_may_not_be_read_is_named(write, monkeypatch):
    path = write("query,positive\nq,p\n")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(textfile.Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*faq.csv: Permission denied"):
        read(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pears"}, "kind='pears' is not possible; expected one of auto, pairs"),
        ({"on_bad_rows": "ignore"}, "on_bad_rows='ignore' is not possible"),
        ({"qrels": "c.jsonl"}, "read from three files, got a source, qrels"),
        ({"corpus": "c.jsonl"}, "has no column for 'document_id'"),
    ],
)
def test_options_that_do_not_exist_are_refused(write, options, message):
    path = write("query,positive\nq,p\n")
    checked = read.__wrapped__ if "kind" in options or "on_bad_rows" in options else read
    with pytest.raises(DataError, match=message):
        checked(path, **options)


def test_no_source_is_refused():
    with pytest.raises(DataError, match=r"no source was given"):
        read()


def test_lists_of_positives_become_rows_and_lists_of_negatives_columns(write, tmp_path):
    rows = [
        {"query": "q", "pos": ["a", "b"], "neg": ["n", "m", "k"]},
        {"query": "r", "pos": ["c"], "neg": []},
        {"query": "s", "pos": "d", "neg": "l"},
    ]
    path = write("".join(json.dumps(row) + "\n" for row in rows), "flag.jsonl")
    expected = [
        ("q", "a", "n", "m", "k"),
        ("q", "b", "n", "m", "k"),
        ("r", "c", None, None, None),
        ("s", "d", "l", None, None),
    ]
    pairs = read(path)
    assert pairs.table.rows() == expected
    assert dict(pairs.binding) == {"query": "query", "positive": "pos", **{f"negative_{i}": "neg" for i in (1, 2, 3)}}
    pl.DataFrame(rows[:2]).write_parquet(tmp_path / "flag.parquet")
    assert read(tmp_path / "flag.parquet").table.rows() == expected[:3]


def test_one_bad_text_of_a_list_is_left_out_alone(write):
    pairs = read(
        write('{"query": "q", "pos": ["a", "", "b"]}\n{"query": "r", "pos": []}\n', "l.jsonl"), on_bad_rows="skip"
    )
    assert pairs.table.rows() == [("q", "a"), ("q", "b")]
    assert [(b.line, b.reason) for b in pairs.left_out] == [(1, "empty"), (2, "no value")]


JSON = '{"query": "q", "positive": "p"}\n'


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ('{"query": "q", "positive": ', "", "broken JSON: "),
        ("[1, 2]", "", "expected an object {...}, got a list"),
        ('"text"', "", "expected an object {...}, got a string"),
        ('{"query": ["q"], "positive": "p"}', "query", "a list where one text was expected"),
        ('{"query": {"a": 1}, "positive": "p"}', "query", "an object where text was expected"),
        ('{"query": "q", "positive": [["p"]]}', "positive", "a list where text was expected"),
        ('{"query": "q"}', "positive", "no value"),
        ('{"query": null, "positive": "p"}', "query", "no value"),
        ('{"query": "\\ud83d", "positive": "\\ud83d"}', "query", "half of a character"),
        ("[" * 100_000, "", "broken JSON: nested too deeply"),
    ],
)
def test_bad_lines_of_json_are_named(write, line, column, reason):
    pairs = read(write(f"{JSON}\n{line}\n{JSON}", "a.jsonl"), on_bad_rows="skip")
    assert len(pairs) == 2
    (bad,) = pairs.left_out
    assert (bad.line, bad.column) == (3, column)
    assert bad.reason.startswith(reason)


def test_numbers_as_labels_are_their_spelling(write):
    pairs = read(write('{"text": "t", "label": 3}\n{"text": 5, "label": true}\n', "a.jsonl"))
    assert pairs.table.rows() == [("t", "3"), ("5", "true")]


def test_keys_that_appear_late_are_bound_all_the_same(write):
    pairs = read(write(JSON * 1500 + '{"query": "q", "positive": "p", "negative": "n"}\n', "late.jsonl"))
    assert pairs.table["negative_1"].drop_nulls().to_list() == ["n"]
    pairs = read(write(JSON * 1500 + '{"query": "q", "positive": "p", "extra": {"deep": 1}}\n', "late.jsonl"))
    assert pairs.table.columns == ["query", "positive"]


def test_rows_of_parquet_are_named_by_their_number(tmp_path):
    pl.DataFrame({"text": ["a", None], "label": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet, column 'text': no value \(row 2\)"):
        read(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", on_bad_rows="skip").table.rows() == [("a", "1")]


def test_a_column_of_another_type_is_refused(tmp_path):
    pl.DataFrame({"text": ["a"], "label": [{"x": 1}]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'label' holds Struct.*needs text\nhint: turn it into text"):
        read(tmp_path / "a.parquet")


def test_another_encoding_is_read_when_it_is_named(tmp_path):
    for name, text in (("a.csv", "text,label\n如何,账户\n"), ("a.jsonl", '{"text": "如何", "label": "账户"}\n')):
        path = tmp_path / name
        path.write_bytes(text.encode("gb18030"))
        with pytest.raises(DataError, match=r"is not UTF-8: line [12], byte .*\nhint: it looks like GBK"):
            read(path)
        assert read(path, encoding="gbk").table.rows() == [("如何", "账户")]


def test_reading_needs_no_heavy_library():
    code = "import sys, embedfit.data; print({'torch', 'datasets', 'pandas', 'scipy', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_what_the_formats_are_called_is_one_list():
    assert set(paths_module._FORMATS.values()) == {"csv", "tsv", "jsonl", "parquet"}
