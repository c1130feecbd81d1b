"""A small table, and a run trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from commands import QUICK, typed, write_faq


@pytest.fixture
def faq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table as `faq.csv` in the current, otherwise empty folder."""
    monkeypatch.chdir(tmp_path)
    write_faq(tmp_path / "faq.csv")
    return Path("faq.csv")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The command that trained `run`, as it ended."""
    folder = tmp_path_factory.mktemp("cli")
    return typed("train", write_faq(folder / "faq.csv"), *QUICK, "--out", folder / "run", "--format", "json")


@pytest.fixture(scope="session")
def run(trained: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run; its table lies beside it."""
    assert trained.exit_code == 0, trained.stderr
    return Path(json.loads(trained.stdout)["run"])
