"""Public recipes for negatives across processes, beside the gradient of one process; and ours, which has that one."""

from __future__ import annotations

import pytest
from benchmarks.gather import OURS, RECIPES, Row, measure

PROCESSES = 2
EXACT = (1.0, 1.0)
TOO_SMALL, TOO_LARGE = 1 / PROCESSES, float(PROCESSES)
SIZES = {  # recipe -> size of the towers' gradient, of the temperature's
    "gathered, own rows alive; loss of the whole batch": (TOO_SMALL, 1.0),
    "gathered, own rows alive; loss of the whole batch, times processes": (1.0, TOO_LARGE),
    "gathered with gradient; loss of the whole batch": EXACT,
    "gathered with gradient; loss of the whole batch, times processes": (TOO_LARGE, TOO_LARGE),
    "gathered with gradient; loss of own rows": EXACT,
    "gathered with the mean of gradients; loss of own rows": (TOO_SMALL, 1.0),
    "gathered with gradient; loss of own rows; temperature summed": (1.0, TOO_LARGE),
    "passed from neighbour to neighbour with gradient; sigmoid loss of own rows": EXACT,
    OURS: EXACT,
}
ASTRAY = {
    "nothing gathered",
    "gathered without gradient; loss of own rows",
    "gathered, own rows alive; loss of own rows, times processes",
}
STOPS = "documents gathered with gradient; their direction against own queries"


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """What two processes found, by recipe."""
    return {row.recipe: row for row in measure(PROCESSES)}


@pytest.mark.slow
def test_every_recipe_is_judged(rows: dict[str, Row]) -> None:
    assert set(rows) == {*RECIPES, OURS} == SIZES.keys() | ASTRAY | {STOPS}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SIZES)
def test_a_recipe_has_the_right_direction_and_this_size(rows: dict[str, Row], recipe: str) -> None:
    found = rows[recipe]
    assert found.cosine == pytest.approx(1, abs=1e-6)
    assert (found.towers, found.temperature) == pytest.approx(SIZES[recipe], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted(ASTRAY))
def test_a_recipe_goes_astray(rows: dict[str, Row], recipe: str) -> None:
    cosine = rows[recipe].cosine
    assert cosine is not None
    assert cosine < 0.99


@pytest.mark.slow
def test_a_recipe_has_a_label_too_few_for_its_rows_and_stops(rows: dict[str, Row]) -> None:
    assert "batch_size (64) to match target batch_size (32)" in rows[STOPS].stops
