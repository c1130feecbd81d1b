"""From settings to objectives: every one trains, is refused what it does not have, and knows its floor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from little import plan, setup

from embedfit.engine.levels import levels
from embedfit.engine.objective import OBJECTIVES
from embedfit.engine.step import train_step
from embedfit.errors import RecipeError
from embedfit.losses import Symmetric, Temperature
from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.recipe import LossSection

IN_BATCH = [name for name, kind in OBJECTIVES.items() if kind.rows == "pairs" and name != "prototypes"]


def test_a_recipe_names_every_objective_and_no_other() -> None:
    assert set(get_args(LossSection.model_fields["kind"].annotation)) == {"auto", *OBJECTIVES}


def test_every_option_is_a_setting() -> None:
    assert all(set(kind.options) <= set(LossSection.model_fields) for kind in OBJECTIVES.values())


def levels_of(rows: str, **settings: Any) -> tuple[float, float, float]:
    """Floor, loss of the first batch, and loss after a few steps on it."""
    made = setup(rows, **{f"loss__{name}": value for name, value in settings.items()})
    batch, optimiser = made.material.batch_of(0, plan(made)), plan(made).mover(made.groups)
    first = train_step(made.objective, batch, number=0).loss
    for _ in range(8):
        optimiser.step(0.003)
        last = train_step(made.objective, batch, number=0).loss
    assert made.facts["loss.floor"] <= made.facts["loss.chance"]
    return made.facts["loss.floor"], last, first


@pytest.mark.parametrize("name", IN_BATCH)
def test_an_objective_falls_towards_its_floor_on_pairs(name: str) -> None:
    floor, last, first = levels_of("pairs", kind=name)
    assert floor <= last < first


@pytest.mark.parametrize("name", ["focal", "hinge", "sigmoid", "circle"])
def test_an_objective_may_look_at_the_prototypes_of_all_classes(name: str) -> None:
    made = setup("classes", loss__kind=name, loss__against="prototypes")
    assert made.material.data.catalogue
    floor, last, first = levels_of("classes", kind=name, against="prototypes")
    assert floor <= last < first


@pytest.mark.parametrize("kind", ["additive", "diameter", "angular", "multiple", "least"])
@pytest.mark.parametrize("name", ["prototypes", "infonce"])
def test_a_margin_of_every_kind_is_asked_of_prototypes_and_in_a_batch(name: str, kind: str) -> None:
    made = setup("classes", loss__kind=name, loss__margin=2.0 if kind in ("multiple", "least") else 0.3,
                 loss__margin_kind=kind)  # fmt: skip
    step = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    assert made.facts["loss.floor"] < step.loss
    assert made.facts["chosen.margin_kind"] == kind


def test_a_recipe_may_ask_for_one_direction() -> None:
    assert isinstance(setup().objective.loss, Symmetric)
    assert not isinstance(setup(loss__directions="documents").objective.loss, Symmetric)


def test_a_learned_temperature_is_trained_and_its_floor_is_that_of_the_coldest() -> None:
    made = setup(loss__learned=True, loss__temperature=0.3)
    temperatures = [module for module in made.objective.loss.modules() if isinstance(module, Temperature)]
    train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    assert [t.place.grad is not None and bool(t.place.grad != 0) for t in temperatures] == [True]
    trained = {id(p) for group in made.groups for p in group["params"]}
    assert id(temperatures[0].place) in trained
    assert made.facts["loss.floor"] < setup(loss__temperature=0.3).facts["loss.floor"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "hinge", "temperature": 0.1}, "loss.temperature is 0.1, and the loss 'hinge' has no temperature"),
        ({"kind": "dcl", "margin": 0.1}, "loss.margin is 0.1, and the loss 'dcl' has no margin"),
        ({"prior": 0.1}, "loss.prior is 0.1, and the loss 'infonce' has no prior"),
        ({"kind": "hinge", "learned": True}, "loss.learned is true, and the loss 'hinge' has no learned"),
        ({"negatives": "hardest"}, "loss.negatives is \"hardest\", and the loss 'infonce' has no negatives"),
        ({"margin": 2.5}, "margin must be in \\[0, 2\\)"),
        ({"margin": 0.5, "margin_kind": "least"}, "must be a whole number from 1 to 8"),
        ({"margin_kind": "diameter", "views": "dropout"}, "every text is a class of its own"),
        ({"temperature": 3.0, "learned": True}, "must begin between 0.01 and 1"),
        ({"kind": "homotopy", "temperature": 0.1, "coldest": 0.2}, "not above the first"),
        ({"kind": "hinge", "against": "prototypes"}, "these rows have no classes"),
    ],
)
def test_settings_that_do_not_fit_an_objective_are_refused_with_a_hint(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        setup("pairs", **{f"loss__{name}": value for name, value in settings.items()})
    assert caught.value.hint


def test_sampling_is_not_corrected_where_nothing_is_sampled() -> None:
    with pytest.raises(RecipeError, match="no sampling is to be corrected"):
        setup("classes", loss__kind="logq", loss__against="prototypes")


@pytest.mark.parametrize("candidates", [2.0, 17.3, 400.0])
def test_the_floor_of_infonce_is_the_closed_form(candidates: float) -> None:
    for settings in ({}, {"loss__margin": 0.2}, {"loss__label_smoothing": 0.1}):
        made = setup(loss__temperature=0.2, **settings)
        floor, chance = levels(made.objective.loss, candidates)
        shape = {"margin": made.chosen.asked.margin, "label_smoothing": made.chosen.asked.label_smoothing}
        assert floor == pytest.approx(infonce_floor(candidates, 0.2, **shape), rel=1e-4)
        assert chance == pytest.approx(infonce_chance(candidates, 0.2, **shape), rel=1e-4)


@pytest.mark.parametrize("name", ["prototypes", "logq"])
def test_a_step_may_meet_the_prototypes_of_some_classes_and_moves_no_other(name: str) -> None:
    made = setup("classes", loss__kind=name, loss__against="prototypes", negatives__kind="mixed", negatives__size=4,
                 optim__batch_size=3)  # fmt: skip
    batch, optimiser = made.material.batch_of(0, plan(made)), plan(made).mover(made.groups)
    assert len(batch.document) < len(made.material.data.document_texts)
    table = made.objective.model.document.table
    before = table.detach().clone()
    train_step(made.objective, batch, number=0)
    optimiser.step(0.01)
    moved = (table.detach() != before).any(1).nonzero()[:, 0]
    assert set(moved.tolist()) == set(batch.document.ids.tolist())


@pytest.mark.parametrize("name", ["hinge", "triplet"])
def test_the_widest_margin_is_the_last_with_a_floor_of_zero(name: str) -> None:
    def facts(**more: Any) -> Mapping[str, Any]:
        return setup("pairs", loss__kind=name, model__dimension=16, **more).facts  # a simplex of 11 fits

    widest = facts()["loss.widest_margin"]
    assert facts(loss__margin=widest)["loss.floor"] == pytest.approx(0, abs=1e-3)
    assert facts(loss__margin=widest + 0.1)["loss.floor"] == pytest.approx(0.1, abs=1e-3)


def test_the_widest_angle_is_that_of_the_widest_margin() -> None:
    cosine = setup("classes", loss__kind="prototypes").facts["loss.widest_margin"]
    angle = setup("classes", loss__kind="prototypes", loss__margin=0.2, loss__margin_kind="angular").facts
    assert math.cos(angle["loss.widest_margin"]) == pytest.approx(1 - cosine)


@pytest.mark.parametrize("name", ["dcl", "circle", "sigmoid", "simsiam"])
def test_a_loss_that_asks_for_no_lead_has_no_widest_margin(name: str) -> None:
    assert "loss.widest_margin" not in setup("pairs", loss__kind=name).facts
