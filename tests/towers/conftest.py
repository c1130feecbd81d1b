from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from small_towers import SIZES, TEXTS, Make

from embedfit.towers import Tower, build


@pytest.fixture(scope="session")
def make() -> Make:
    """Builds a small tower of a kind in `SIZES` from `TEXTS`; sizes given win."""

    def build_small(name: str, **given: Any) -> Tower:
        return build(name.split()[0], TEXTS, **{**SIZES[name], **given})

    return build_small


@pytest.fixture(scope="session")
def sentence_transformer() -> Callable[..., Any]:
    """`SentenceTransformer(folder)` on the CPU; imported once, for it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports use deprecated names of other packages
        module = pytest.importorskip("sentence_transformers")

    def load(folder: object) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # transformers warns about its own arguments
            return module.SentenceTransformer(str(folder), device="cpu")

    return load
