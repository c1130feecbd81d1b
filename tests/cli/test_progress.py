"""What the terminal says when a run begins."""

from __future__ import annotations

import polars as pl
import pytest

from embedfit.cli.progress import Live
from embedfit.engine.setup import prepare
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch


@pytest.mark.parametrize(("margin", "said"), [(0.2, False), (1.9, True)])
def test_a_margin_that_cannot_be_met_is_said_when_a_run_begins(
    margin: float, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.DataFrame(
        {"query": [f"question {n}" for n in range(12)], "positive": [f"answer {n}" for n in range(12)]}
    )
    settings = {"model.kind": "static", "model.dimension": 8, "loss.kind": "hinge", "loss.margin": margin}
    recipe = patch(Recipe(), {**settings, "run.threads": 1})
    Live().begin(prepare(Pairs(kind="pairs", table=table), recipe), "recall@10", None)
    assert ("more than every query can be given at once" in " ".join(capsys.readouterr().err.split())) is said
