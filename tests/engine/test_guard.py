"""Collapse is noticed, undone and said; a sound run is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from little import plan, setup
from test_loop import Notes

from embedfit.engine.curriculum import Stage
from embedfit.engine.guard import GENTLEST, Guard, Trip, alike
from embedfit.engine.loop import train
from embedfit.engine.step import train_step

STAGE = Stage(start=0, until=60, batch_size=256)


def collapse(made: Any) -> None:
    """All embeddings become one and the same."""
    with torch.no_grad():
        for p in made.objective.model.parameters():
            if p.ndim == 2:
                p.copy_(p[:1].expand_as(p).contiguous() * 0 + 0.3)


@pytest.mark.parametrize("kind", ["hinge", "infonce"])
def test_the_loss_of_equal_embeddings_is_known_exactly_and_costs_no_gradient(kind: str) -> None:
    made = setup("pairs", "static", loss__kind=kind, loss__margin=0.25)
    step = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    before = [p.grad.to_dense().clone() for p in made.objective.model.parameters() if p.grad is not None]
    expected = alike(made.objective, step)
    after = [p.grad.to_dense() for p in made.objective.model.parameters() if p.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    collapse(made)
    again = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    assert again.loss == pytest.approx(expected, rel=1e-4)


def test_a_collapsed_run_goes_back_to_its_best_weights_and_to_smaller_batches() -> None:
    more = {"loss__kind": "hinge", "optim__length": "40 steps", "optim__batch_size": 60}
    made, marks = setup("pairs", "static", **more), []
    notes = Notes([0.1, 0.5, *[0.2] * 20])

    def record(step: int, readings: Any) -> None:
        marks.extend([(step, dict(readings))] if "guard" in readings else [])
        if step == 12 and "loss" in readings:
            collapse(made)

    notes.record = record
    train(made.objective, made.material, made.groups,
          plan(made, guard=True, evaluate_every=4, patience=99, learning_rate=1e-4), notes.observer())  # fmt: skip
    ((step, readings),) = marks
    assert 13 < step < 17
    assert readings == {"guard": 1.0, "guard/back_to": 4.0, "guard/batch_size": GENTLEST, "guard/rate": 1.0}
    (trip,) = notes.kept[-1].values["guard"]["trips"]
    assert (trip["step"], trip["back_to"]) == (step, 4)
    assert "equal embeddings give" in trip["why"]


def test_a_sound_run_is_left_alone() -> None:
    made, notes = setup("pairs", "static", loss__kind="hinge", optim__length="30 steps"), Notes([0.1] * 20)
    train(made.objective, made.material, made.groups, plan(made, guard=True, evaluate_every=10), notes.observer())
    assert notes.kept[-1].values["guard"]["trips"] == []


def guarded(kind: str, **more: Any) -> list[dict[str, Any]]:
    """The returns of a run without negatives at a high rate."""
    made = setup("pairs", "static", loss__kind=kind, **{"optim__length": "90 steps", **more})
    notes = Notes([0.1, 0.5, *[0.2] * 20])
    asked = plan(made, guard=True, evaluate_every=10, patience=99, learning_rate=0.1)
    train(made.objective, made.material, made.groups, asked, notes.observer())
    return list(notes.kept[-1].values["guard"]["trips"])


def test_a_collapse_without_negatives_is_seen_by_the_spread_and_answered_by_a_lower_rate_each_time() -> None:
    """Its loss goes on falling: a copy of oneself is easily predicted where all are one."""
    trips = guarded("simsiam", loss__stop=False)
    assert "the spread of queries fell" in trips[0]["why"]
    assert [trip["rate"] for trip in trips] == [3.0**-n for n in range(1, len(trips) + 1)]
    assert {trip["batch_size"] for trip in trips} == {16}


@pytest.mark.parametrize("kind", ["simsiam", "byol"])
def test_a_sound_run_without_negatives_is_left_alone(kind: str) -> None:
    assert guarded(kind, optim__length="40 steps") == []


def test_batches_shrink_and_grow_again_then_stay_small_then_the_rate_falls() -> None:
    guard = Guard(60, on=True)
    guard.turn(12, "why", 4, STAGE)
    assert [guard.stage(n, STAGE).batch_size for n in (12, 27, 28, 43, 44)] == [32, 32, 64, 64, 256]
    guard.turn(20, "why", 4, replace(STAGE, batch_size=32))
    assert {(guard.stage(n, STAGE).batch_size, guard.stage(n, STAGE).rate) for n in (20, 59)} == {(32, 1 / 3)}
    guard.turn(30, "why", 4, STAGE)
    assert {guard.stage(n, STAGE).batch_size for n in (30, 59)} == {32}
    orders = {Guard(60, on=True).stage(0, STAGE).order, guard.stage(30, STAGE).order}
    assert len(orders) == 2


def test_a_guard_goes_on_from_its_checkpoint() -> None:
    guard, other = Guard(60, on=True), Guard(60, on=True)
    assert isinstance(guard.turn(12, "why", 4, STAGE), Trip)
    other.load(guard.state())
    assert other.trips == guard.trips
    guard.spread = 0.8
    other.load(guard.state())
    assert other.spread == 0.8
    assert other.stage(30, STAGE) == guard.stage(30, STAGE)
