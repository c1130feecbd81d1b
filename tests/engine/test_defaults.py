"""What "auto" becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from little import setup

from embedfit.engine.defaults import temperature_for
from embedfit.errors import RecipeError
from embedfit.probes.floor import infonce_chance, infonce_floor


@given(st.one_of(st.integers(2, 2000), st.integers(2, 10**6), st.sampled_from([2, 3, 10**6])))
def test_the_temperature_lets_the_loss_fall_below_5_percent_of_chance(candidates: int) -> None:
    temperature = temperature_for(candidates)
    assert infonce_floor(candidates, temperature) < 0.05 * infonce_chance(candidates, temperature)


def test_the_temperature_falls_with_the_number_of_candidates() -> None:
    values = [temperature_for(n) for n in (2, 3, 10, 64, 256, 4096, 10**6)]
    assert values == sorted(values, reverse=True)
    assert [round(temperature_for(n), 3) for n in (64, 256, 4096)] == [0.057, 0.049, 0.039]


@pytest.mark.parametrize(
    ("kind", "loss"), [("pairs", "infonce"), ("classes", "prototypes"), ("graded", "cosine")]
)  # fmt: skip
def test_each_kind_of_rows_has_its_loss(kind: str, loss: str) -> None:
    assert setup(kind).chosen.loss == loss


@pytest.mark.parametrize(
    ("kind", "loss", "fits"),
    [("pairs", "cosent", "infonce"), ("graded", "infonce", "cosent or cosine"), ("pairs", "prototypes", "infonce"),
     ("classes", "cosine", "infonce or prototypes")],
)  # fmt: skip
def test_a_loss_that_does_not_fit_the_rows_is_refused(kind: str, loss: str, fits: str) -> None:
    with pytest.raises(RecipeError, match=f"loss.kind '{loss}' does not fit") as caught:
        setup(kind, loss__kind=loss)
    assert f"expected {fits}" in caught.value.message


def test_durations_become_steps() -> None:
    chosen = setup(
        optim__length="2 epochs", run__evaluate_every="50%", run__checkpoint_every="1 epoch", optim__warmup="25%"
    ).chosen
    assert (chosen.steps_per_epoch, chosen.steps, chosen.evaluate_every) == (4, 8, 4)
    assert (chosen.checkpoint_every, chosen.warmup) == (4, 2)


def test_a_batch_is_no_larger_than_the_rows() -> None:
    assert setup(optim__batch_size=500).chosen.batch_size == 60
