"""Settings that cannot be, refused before a run begins; and margins that cannot be met, said."""

from __future__ import annotations

import pytest
from little import setup

from embedfit.engine.levels import too_wide
from embedfit.errors import RecipeError


def test_an_embedding_without_two_halves_is_refused_where_a_loss_reads_them() -> None:
    with pytest.raises(RecipeError, match="it has 7 dimensions"):
        setup("graded", loss__kind="angle", model__dimension=7)
    stages = [{"until": "3 steps", "loss": {"kind": "angle"}}]
    with pytest.raises(RecipeError, match="it has 7 dimensions"):
        setup("graded", model__dimension=7, curriculum__stages=stages)


def test_a_warmup_may_last_as_long_as_the_run_and_no_longer() -> None:
    assert setup(optim__length="9 steps", optim__warmup="9 steps").chosen.warmup == 9
    with pytest.raises(RecipeError, match="is '10 steps', 10 steps, and the run has 9"):
        setup(optim__length="9 steps", optim__warmup="10 steps")


@pytest.mark.parametrize(("kind", "rows"), [("hinge", "pairs"), ("triplet", "pairs"), ("prototypes", "classes")])
def test_a_margin_that_cannot_be_met_is_said(kind: str, rows: str) -> None:
    made = setup(rows, loss__kind=kind)
    assert too_wide(made.facts) == ""
    widest = made.facts["loss.widest_margin"]
    said = too_wide(setup(rows, loss__kind=kind, loss__margin=widest + 0.01).facts)
    assert said.startswith(f"margin {widest + 0.01:.3g} is more than every query can be given at once, {widest:.3g}")


def test_a_loss_without_a_lead_has_no_margin_that_is_too_wide() -> None:
    assert too_wide(setup("pairs", loss__kind="circle", loss__margin=0.9).facts) == ""
