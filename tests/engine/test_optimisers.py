"""Every optimiser and schedule in the loop: on again bit for bit, and what accumulation and rates do."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from little import equal, plan, setup, weights
from test_loop import Notes

from embedfit.engine.accumulate import accumulated
from embedfit.engine.loop import train
from embedfit.engine.step import train_step
from embedfit.errors import RecipeError
from embedfit.negatives import Queue
from embedfit.optim import Kind, Schedule

GROWING = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_every_optimiser_and_schedule_goes_on_as_if_nothing_had_happened() -> None:
    schedules = get_args(Schedule)
    for i, kind in enumerate(get_args(Kind)):
        more = {"optim__kind": kind, "optim__schedule": schedules[i], "optim__accumulate": 1 + i % 2}
        whole, notes = setup("pairs", "ngram", **more), Notes(GROWING)
        train(whole.objective, whole.material, whole.groups, plan(whole), notes.observer())
        half, first = setup("pairs", "ngram", **more), Notes(GROWING)
        with pytest.raises(KeyboardInterrupt):
            train(half.objective, half.material, half.groups, plan(half),
                  first.observer(stop=lambda first=first: len(first.losses) == 4))  # fmt: skip
        again, second = setup("pairs", "ngram", **more), Notes(GROWING[2:])
        train(again.objective, again.material, again.groups, plan(again), second.observer(), first.kept[-1])
        assert equal(weights(again), weights(whole)), kind
        assert first.losses + second.losses == notes.losses, kind


def test_the_gradient_of_accumulated_batches_is_the_mean_of_theirs() -> None:
    made = setup("pairs", "gru", model__dropout=0.3, optim__accumulate=3)
    made.objective.model.train()
    batches = made.material.batches_of(2, plan(made), plan(made).stage(2))
    assert [b.rows.tolist() for b in batches] == [
        made.material.batch_of(6 + i, plan(made)).rows.tolist() for i in range(3)
    ]
    expected: dict[str, torch.Tensor] = {}
    losses = []
    for i, batch in enumerate(batches):
        losses.append(train_step(made.objective, batch, number=6 + i, seed=1).loss)
        for name, p in made.objective.model.named_parameters():
            expected[name] = expected.get(name, 0) + p.grad / 3
            p.grad = None
    step = accumulated(made.objective, batches, number=2, seed=1)
    assert step.loss == pytest.approx(sum(losses) / 3)
    for name, p in made.objective.model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name])


def test_a_queue_holds_the_documents_of_all_accumulated_batches() -> None:
    made = setup("pairs", optim__accumulate=3, negatives__kind="queue", optim__length="1 steps", optim__batch_size=4)
    notes = Notes([0.0, 0.0])
    train(made.objective, made.material, made.groups, plan(made), notes.observer())
    batches = made.material.batches_of(0, plan(made), plan(made).stage(0))
    assert isinstance(made.material.negatives, Queue)
    assert made.material.negatives.held is not None
    wanted = {int(i) for batch in batches for i in batch.document_id}
    assert set(made.material.negatives.held.identity.tolist()) == wanted
    assert len(wanted) > len(batches[-1].document_id)


def test_accumulated_batches_make_fewer_steps_of_an_epoch() -> None:
    one, three = setup(optim__length="6 epochs"), setup(optim__length="6 epochs", optim__accumulate=2)
    assert three.chosen.steps == one.chosen.steps // 2


def test_a_rate_of_0_holds_a_place_of_the_tower() -> None:
    made = setup("pairs", "gru", optim__rates={"embeddings": 0.0})
    before = weights(made)
    train(made.objective, made.material, made.groups, plan(made), Notes(GROWING).observer())
    after = weights(made)
    held = {name for name in before if torch.equal(before[name], after[name])}
    assert held
    assert all("embedding" in name for name in held)


def test_a_rate_for_a_document_tower_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="one tower embeds queries and documents"):
        setup("pairs", optim__rates={"document": 0.1})


def test_plateau_cuts_the_rate_where_the_held_out_metric_stands_still() -> None:
    made = setup(optim__schedule="plateau", optim__warmup="0%")
    rates: list[float] = []
    notes = Notes([0.5, *[0.4] * 9])
    notes.record = lambda step, readings: rates.append(readings["learning_rate"]) if "loss" in readings else None
    train(made.objective, made.material, made.groups, plan(made, evaluate_every=1, patience=99), notes.observer())
    assert rates == pytest.approx([0.01, 0.01, *[0.003] * 2, *[0.0009] * 2, *[0.00027] * 2, 0.000081])


def test_plateau_is_refused_where_nothing_is_held_out() -> None:
    made = setup(optim__schedule="plateau")
    with pytest.raises(RecipeError, match="nothing is held out"):
        train(made.objective, made.material, made.groups, plan(made), Notes().observer())
