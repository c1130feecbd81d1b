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
    [("pairs", "cosent", "infonce, dcl"), ("graded", "infonce", "cosine, cosent"),
     ("pairs", "prototypes", "infonce, dcl"),
     ("classes", "cosine", "infonce, prototypes")],
)  # fmt: skip
def test_a_loss_that_does_not_fit_the_rows_is_refused(kind: str, loss: str, fits: str) -> None:
    with pytest.raises(RecipeError, match=f"loss.kind '{loss}' does not fit") as caught:
        setup(kind, loss__kind=loss)
    assert f"expected {fits}" in caught.value.message


@pytest.mark.parametrize(
    ("loss", "name", "hint"),
    [("cosine", "temperature", 'leave loss.temperature at "auto", or set loss.kind = "cosent"'),
     ("auto", "temperature", 'leave loss.temperature at "auto", or set loss.kind = "cosent"'),
     ("cosine", "margin", 'leave loss.margin at "auto"'),
     ("cosine", "label_smoothing", 'leave loss.label_smoothing at "auto"'),
     ("cosent", "margin", 'leave loss.margin at "auto"'),
     ("cosent", "label_smoothing", 'leave loss.label_smoothing at "auto"')],
)  # fmt: skip
def test_a_setting_that_the_loss_has_no_use_for_is_refused(loss: str, name: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        setup("graded", **{"loss__kind": loss, f"loss__{name}": 0.2})
    used = "cosine" if loss == "auto" else loss
    assert caught.value.message == f"loss.{name} is 0.2, and the loss '{used}' has no {name.replace('_', ' ')}"
    assert caught.value.hint == hint


def test_facts_tell_no_setting_that_the_loss_has_no_use_for() -> None:
    told = {loss: set(setup("graded", loss__kind=loss).facts) for loss in ("cosine", "cosent")}
    names = ("chosen.temperature", "chosen.margin", "chosen.label_smoothing")
    assert [name in told["cosine"] for name in names] == [False, False, False]
    assert [name in told["cosent"] for name in names] == [True, False, False]


def test_settings_that_ask_for_nothing_or_that_the_loss_has_are_taken() -> None:
    assert setup("graded", loss__margin=0, loss__label_smoothing=0.0).chosen.loss == "cosine"
    assert setup("graded", loss__kind="cosent", loss__temperature=0.2).chosen.temperature == 0.2
    for kind in ("pairs", "classes"):
        chosen = setup(kind, loss__temperature=0.2, loss__margin=0.1, loss__label_smoothing=0.1).chosen
        asked = chosen.asked
        assert (asked.temperature, asked.margin, asked.label_smoothing) == (0.2, 0.1, 0.1)


def test_durations_become_steps() -> None:
    chosen = setup(
        optim__length="2 epochs", run__evaluate_every="50%", run__checkpoint_every="1 epoch", optim__warmup="25%"
    ).chosen
    assert (chosen.steps_per_epoch, chosen.steps, chosen.evaluate_every) == (4, 8, 4)
    assert (chosen.checkpoint_every, chosen.warmup) == (4, 2)


def test_a_batch_is_no_larger_than_the_rows() -> None:
    assert setup(optim__batch_size=500).chosen.batch_size == 60
