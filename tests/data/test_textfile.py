from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfit.data import textfile
from embedfit.data.textfile import open_text, survey, utf8_chunks
from embedfit.errors import DataError


@pytest.mark.parametrize(
    ("encoding", "text", "guess"),
    [
        ("gb18030", "text,label\nok,ok\n如何重置我的密码,账户\n", "gb18030"),
        ("latin-1", "text,label\nok,ok\nle café est fermé,horaires\n", "cp1252"),
        ("utf-16", "text,label\nok,ok\n", "utf-16"),
    ],
)
def test_a_wrong_encoding_is_named_with_line_and_byte_and_guessed(tmp_path, encoding, text, guess):
    path = tmp_path / "faq.csv"
    path.write_bytes(text.encode(encoding))
    byte = next(i for i, b in enumerate(path.read_bytes()) if b >= 0x80)
    line = path.read_bytes()[:byte].count(b"\n") + 1
    with pytest.raises(DataError, match=f"is not UTF-8: line {line}, byte {byte} of the file \\(0x") as caught:
        list(utf8_chunks(path, "utf-8"))
    assert f"encoding='{guess}' (--encoding {guess})" in str(caught.value.hint)
    assert b"".join(utf8_chunks(path, guess)).decode() == text


def test_the_place_of_a_wrong_byte_is_right_across_chunks_marks_and_cut_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(textfile, "_CHUNK", 4)
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "密码\n密码".encode() + b"\n\xff")
    with pytest.raises(DataError, match=r"line 3, byte 17 "):
        list(utf8_chunks(path, "utf-8"))
    path.write_bytes(b"ab\n" + "密".encode()[:2])
    with pytest.raises(DataError, match=r"line 2, byte 3 "):
        list(utf8_chunks(path, "utf-8"))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext")
    assert b"".join(utf8_chunks(path, "utf8")) == b"text"
    with open_text(path, "UTF-8") as file:
        assert file.read() == "text"


def test_an_unknown_encoding_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    with pytest.raises(DataError, match=r"no encoding 'utf-88'"):
        list(utf8_chunks(path, "utf-88"))
    with pytest.raises(DataError, match=r"no encoding 'utf-88'"):
        open_text(path, "utf-88")


def test_a_cut_off_archive_is_named(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" * 1000)[:-10])
    with pytest.raises(DataError, match=r"cut off or not compressed"):
        list(utf8_chunks(path, "utf-8"))
    path.write_bytes(b"text,label\n")
    with pytest.raises(DataError, match=r"cut off or not compressed"):
        list(utf8_chunks(path, "utf-8"))


def _clean_by_hand(text: str) -> bool:
    """RFC 4180, one character at a time."""
    inside, i = False, 0
    while i < len(text):
        if text[i] == '"':
            if not inside:
                if i and text[i - 1] not in ",\n\r":
                    return False
                inside = True
            elif text[i + 1 : i + 2] == '"':
                i += 1
            else:
                if text[i + 1 : i + 2] not in ("", ",", "\n", "\r"):
                    return False
                inside = False
        i += 1
    return not inside


@given(st.text("a\r\n", max_size=12), st.integers(1, 5))
def test_carriage_returns_that_end_no_line_are_noticed(text, size):
    chunks = [text[i : i + size].encode() for i in range(0, len(text), size)]
    assert survey(chunks, ",").stray_returns == ("\n" in text and "\r" in (text + "\n").replace("\r\n", ""))


@given(st.text('",\na\r', max_size=24), st.integers(1, 5))
def test_clean_quoting_is_told_from_stray_marks_however_the_text_is_cut(text, size):
    chunks = [text[i : i + size].encode() for i in range(0, len(text), size)]
    assert survey(chunks, ",").clean_quotes == _clean_by_hand(text)
