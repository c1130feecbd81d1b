"""Evidence is of a size that a page can hold."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
from worlds import classes

from embedfit.evaluate import evaluate
from embedfit.pairs import Pairs

HUGE = "\u4e00\u4e8c" * 500_000


def encode(texts: list[str]) -> np.ndarray:
    """Unit rows that follow from the lengths of the texts alone."""
    rows = np.array([[1.0, len(t) % 7, len(t) % 3] for t in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_megabyte_in_one_cell_is_shown_by_its_beginning() -> None:
    known = classes(("one", "a"), ("three", "b"), (HUGE, "c"))
    graded = pl.DataFrame(
        {"sentence1": [HUGE, "a", "bb", "c"], "sentence2": ["x", HUGE, "y", "z"], "score": [0.0, 1.0, 2.0, 3.0]}
    )
    pairs = pl.DataFrame({"query": [HUGE, "a", "bb"], "positive": ["x", HUGE, "y"]})
    for made, beside in (
        (classes((HUGE, "b"), ("two", "a")), known),
        (Pairs(kind="graded", table=graded), None),
        (Pairs(kind="pairs", table=pairs), None),
    ):
        shown = json.dumps(evaluate(encode, encode, made, known=beside).samples, ensure_ascii=False)
        assert HUGE[:1_000] in shown
        assert len(shown) < 30_000
