"""A margin by the diameter of classes follows the model that is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from little import plan, setup

from embedfit.engine.fit import Setup, fit
from embedfit.engine.widths import follow
from embedfit.losses import Diameter, InfoNCE


def margin_of(made: Setup) -> Diameter:
    loss = made.objective.loss
    assert isinstance(loss, InfoNCE)
    assert isinstance(loss.margin, Diameter)
    return loss.margin


def test_it_is_measured_on_texts_and_what_they_belong_to() -> None:
    made = setup("classes", "gru", loss__margin_kind="diameter", model__dropout=0.3)
    made.objective.model.train()
    found = follow(made.objective, 20, plan(made, steps=40), made.material)

    model, data = made.objective.model, made.material.data
    assert model.training
    query = model.encode(data.query_texts, role="query").astype(float)[data.query.numpy()]
    table = model.document.table.detach().double().numpy()
    document = (table / np.linalg.norm(table, axis=1, keepdims=True))[data.positive.numpy()]
    distance = np.sqrt(1 - (query * document).sum(1)).mean()
    assert found["margin"] == pytest.approx(min(1.0, 2 * (0.5 * 2 * distance) ** 2), rel=1e-5)


def test_it_is_measured_twenty_times_and_not_before_the_first_step() -> None:
    made = setup("classes", loss__margin_kind="diameter")
    given = plan(made, steps=60)
    measured = [number for number in range(60) if follow(made.objective, number, given, made.material)]
    assert measured == list(range(3, 60, 3))


def test_other_margins_stay() -> None:
    made = setup("classes", loss__margin=0.2)
    assert follow(made.objective, 20, plan(made, steps=40), made.material) == {}


def test_texts_of_a_class_that_meet_each_other_are_measured_and_not_each_text_with_itself() -> None:
    made = setup("classes", loss__kind="infonce", loss__margin_kind="diameter")
    assert follow(made.objective, 20, plan(made, steps=40), made.material)["margin"] > 0.01


def test_it_shrinks_with_the_classes(tmp_path: Path) -> None:
    made = setup("classes", loss__margin_kind="diameter", optim__length="60 steps")
    margins = []
    fit(
        made,
        folder=tmp_path,
        measure=lambda model: {},
        progress=lambda step, steps, found: margins.extend(v for name, v in found.items() if name == "margin"),
    )
    assert margins[0] > margins[-1] > 0
    assert margin_of(made).size == margins[-1]
