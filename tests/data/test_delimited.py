from __future__ import annotations

import csv
import gzip
import io

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedfit.data import delimited
from embedfit.data.delimited import dialect_of, locate, read_delimited, records
from embedfit.errors import DataError


def rows_of(path, columns=("a", "b"), encoding="utf-8"):
    dialect = dialect_of(path, encoding)
    frame, lines, broken = read_delimited(dialect, list(columns))
    numbers = locate(dialect, range(frame.height)) if lines is None else lines.to_list()
    return frame.rows(), numbers, [(b.line, b.reason) for b in broken], dialect


@pytest.fixture
def write(tmp_path):
    def file(text: str | bytes, name: str = "faq.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


def test_quoted_line_ends_count_as_physical_lines(write):
    rows, lines, broken, dialect = rows_of(write('a,b\r\n"x\r\ny",1\r\n\r\n"p""q",2\n,""\n'))
    assert rows == [("x\r\ny", "1"), ('p"q', "2"), ("", "")]
    assert lines == [2, 5, 6]
    assert not broken
    assert dialect.sound


def test_rows_with_too_few_or_too_many_cells_are_named_and_the_others_kept(write):
    rows, lines, broken, _ = rows_of(write("a,b\n1,2\n3\n4,5,6\n\n7,8\n"))
    assert rows == [("1", "2"), ("7", "8")]
    assert lines == [2, 6]
    assert broken == [
        (3, "1 cells, the header has 2"),
        (4, "3 cells, the header has 2 (a ',' inside a cell needs quotation marks)"),
    ]


def test_a_stray_quotation_mark_costs_one_row(write):
    rows, lines, broken, dialect = rows_of(write('a,b\n1,2\n"x" y,3\n5" pipe,4\n"never closed,5\n6,7\n'))
    assert not dialect.sound
    assert rows == [("1", "2"), ('5" pipe', "4"), ("6", "7")]
    assert lines == [2, 4, 6]
    assert broken == [(3, "text after a closing quotation mark"), (5, "a quotation mark is opened and never closed")]


def test_tab_separated_text_with_stray_marks_has_no_quoting(write):
    rows, lines, _, dialect = rows_of(write('a\tb\n"x" y\t"z\n"w\t1\n', "faq.tsv"))
    assert rows == [('"x" y', '"z'), ('"w', "1")]
    assert lines == [2, 3]
    assert "quotation marks are ordinary characters" in dialect.notes[0]
    rows, _, _, dialect = rows_of(write('a\tb\n"x\ty"\t1\n', "faq.tsv"))
    assert rows == [("x\ty", "1")]
    assert dialect.notes == ()


@pytest.mark.parametrize(("mark", "name"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_delimiter_is_found_and_said(write, mark, name):
    rows, _, _, dialect = rows_of(write(f"a{mark}b\n1, 5{mark}2\n3{mark}4\n"))
    assert rows == [("1, 5", "2"), ("3", "4")]
    assert f"columns are separated by {name}" in dialect.notes[0]


def test_one_column_stays_one_column(write):
    assert dialect_of(write("text\nhello; you\nwell\n"), "utf-8").header == ("text",)


def test_a_mark_at_the_start_compressed_files_and_other_encodings_read_alike(write):
    expected = [("如何", "1")]
    assert rows_of(write("\ufeffa,b\n如何,1\n"))[0] == expected
    assert rows_of(write(gzip.compress("a,b\n如何,1\n".encode()), "faq.csv.gz"))[0] == expected
    rows, lines, _, _ = rows_of(write("a,b\n如何,1\n".encode("gb18030")), encoding="gb18030")
    assert (rows, lines) == (expected, [2])
    assert rows_of(write("a,b\n如何,1\n".encode("utf-16")), encoding="utf-16")[0] == expected


def test_a_carriage_return_inside_an_unquoted_cell_is_no_line_end(write):
    rows, lines, broken, _ = rows_of(write('a,b\n1,2\n3\rx,4\n"5\r",6\n'))
    assert rows == [("1", "2"), ("5\r", "6")]
    assert lines == [2, 4]
    assert broken == [(3, "a carriage return inside an unquoted cell")]
    assert rows_of(write("a,b\r1,2\r3,4\r"))[:2] == ([("1", "2"), ("3", "4")], [2, 3])


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_file_is_refused(write, text):
    with pytest.raises(DataError, match=r"faq.csv is empty\nhint: the first line names the columns"):
        dialect_of(write(text), "utf-8")


def test_two_columns_of_one_name_are_refused(write):
    with pytest.raises(DataError, match=r"has 2 columns named 'a'"):
        dialect_of(write("a,b,a\n1,2,3\n"), "utf-8")


def test_a_wrong_encoding_is_named_even_in_the_first_lines(write):
    with pytest.raises(DataError, match=r"is not UTF-8: line 1"):
        dialect_of(write("文本,标签\n".encode("gb18030")), "utf-8")


def test_rows_longer_than_a_block_of_the_fast_reader_are_read(write, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 1 << 10)
    monkeypatch.setattr(delimited, "_CHUNK_ROWS", 2)
    rows, lines, _, _ = rows_of(write("a,b\n" + "1,2\n" * 3 + "x" * 300_000 + ",1\n3,4\n"))
    assert [len(a) for a, _ in rows] == [1, 1, 1, 300_000, 1]
    assert lines == [2, 3, 4, 5, 6]


KINDS = st.sampled_from([(",", "csv"), ("\t", "tsv")])
CELL = st.text(st.sampled_from("ab ,;\t\"\n\r'é密😀\u2028\x85\x1c\ufeff"), max_size=6)


@given(
    st.lists(st.tuples(CELL, CELL), max_size=6),
    st.sampled_from([(",", "csv"), ("\t", "tsv")]),
    st.sampled_from(["\r\n", "\n"]),
)
@example([("\ufeff", '"'), ("\r", "\n")], (",", "csv"), "\n")
def test_what_python_writes_is_read_back_the_fast_and_the_slow_way(tmp_path_factory, rows, kind, end):
    delimiter, suffix = kind
    out = io.StringIO()
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL  # Python 3.11 forgets to quote a lone \\r
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("a", "b"), *rows])
    path = tmp_path_factory.getbasetemp() / f"round.{suffix}"
    path.write_bytes(out.getvalue().encode())
    read, _, broken, dialect = rows_of(path)
    assert read == rows
    assert not broken
    assert dialect.sound or "\r" in "".join(cell for row in rows for cell in row)
    assert [cells for _, cells in records(dialect)][1:] == [list(row) for row in rows]


@given(st.lists(st.tuples(CELL, CELL), max_size=6))
def test_what_polars_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "polars.csv"
    pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row").write_csv(path, quote_style="always")
    assert rows_of(path)[0] == rows


@given(st.text('a",\n\r', max_size=30))
def test_sound_files_mean_the_same_to_both_readers(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "sound.csv"
    path.write_text("a,b\n" + text, newline="")
    dialect = dialect_of(path, "utf-8")
    fast = delimited._read_fast(dialect, ["a", "b"]) if dialect.sound else None
    slow, lines, broken = delimited._read_slowly(dialect, ["a", "b"])
    assert fast is not None or broken or not dialect.sound
    if fast is not None:
        assert fast.equals(slow)
        assert not broken
        assert locate(dialect, range(fast.height)) == lines.to_list()
