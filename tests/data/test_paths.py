from __future__ import annotations

import pytest

from embedfit.data.paths import find_files, looks_like_hub_name, require_file
from embedfit.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.csv", "a.csv", "README.md", ".hidden.csv"):
        (tmp_path / name).write_text("text,label\n")
    return tmp_path


def test_a_folder_gives_its_readable_files_sorted(folder):
    assert [p.name for p in find_files(folder)] == ["a.csv", "b.csv"]
    assert [p.name for p in find_files(str(folder / "*.csv"))] == ["a.csv", "b.csv"]
    assert [p.name for p in find_files([folder / "b.csv", folder])] == ["b.csv", "a.csv"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("aa.csv", "no file or folder '.*aa.csv'\nhint: did you mean '.*a.csv'"),
        ("nothing-like-it", "\nhint: '.*' holds .*README.md"),
        ("README.md", "the format of 'README.md' is not known"),
        ("*.tsv", "no readable file matches"),
        ("missing/deeper/x.csv", "no file or folder"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(folder, source, message):
    with pytest.raises(DataError, match=message):
        find_files(str(folder / source))


def test_a_folder_without_readable_files_says_what_it_holds(tmp_path):
    with pytest.raises(DataError, match=r"no readable file \(it holds nothing\)"):
        find_files(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"it holds notes.txt\); readable are .csv"):
        find_files(tmp_path)


def test_several_formats_are_not_mixed(folder):
    (folder / "c.tsv").write_text("text\tlabel\n")
    with pytest.raises(DataError, match=r"several formats: csv, tsv"):
        find_files(folder)
    with pytest.raises(DataError, match=r"several formats"):
        find_files([folder / "a.csv", folder / "c.tsv"])


def test_training_and_held_out_files_of_a_folder_are_not_mixed(tmp_path):
    for name in ("train_5.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\n")
    with pytest.raises(DataError, match=r"held-out rows would be trained on\nhint: name the file: '.*train_5.csv'"):
        find_files(tmp_path)
    assert len(find_files(str(tmp_path / "*.csv"))) == 2


def test_a_folder_is_no_file_and_an_empty_list_no_source(folder):
    with pytest.raises(DataError, match=r"is a folder; a file is expected here"):
        require_file(folder)
    with pytest.raises(DataError, match=r"empty list of files"):
        find_files([])


def test_a_hub_name_is_told_from_a_mistyped_path(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert looks_like_hub_name("owner/name")
    assert not looks_like_hub_name(f"{folder.name}/a")
    assert not looks_like_hub_name("owner/name.csv")
    assert not looks_like_hub_name("name")
