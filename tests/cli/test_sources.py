from __future__ import annotations

from pathlib import Path

import pytest

from embedfit.cli.sources import free_folder, held_out, name_of, numbered


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["faq.csv"], "faq"),
        (["data/my faq.v2.csv.gz"], "my-faq"),
        (["data/train-*.parquet"], "data"),
        (["owner/name"], "name"),
        (["folder/"], "folder"),
        (["客服.csv"], "客服"),
        ([], "run"),
    ],
)
def test_a_run_is_named_after_its_data(files: list[str], name: str) -> None:
    assert name_of(files) == name


def test_runs_are_counted_not_sorted_as_text(tmp_path: Path) -> None:
    for name in ("faq-10", "faq-9", "faq-x", "faqs-3", "faq-2"):
        (tmp_path / name).mkdir()
    assert [p.name for p in numbered(tmp_path / "faq")] == ["faq-2", "faq-9", "faq-10"]


def test_the_next_free_folder_skips_what_is_there(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert free_folder(tmp_path / "demo") == tmp_path / "demo-3"


def test_held_out_rows_are_a_share_a_number_or_a_file() -> None:
    assert held_out("0.2") == {"data.dev": 0.2}
    assert held_out("500") == {"data.dev": 500.0}
    assert held_out("dev.csv") == {"data.dev_files": ["dev.csv"]}
