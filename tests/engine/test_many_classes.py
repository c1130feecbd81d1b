"""Prototypes of very many classes: a step costs what it draws, not what there is."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import polars as pl
import pytest
import torch
from little import plan, recipe

from embedfit.engine.fit import Setup, prepare
from embedfit.engine.step import train_step
from embedfit.pairs import Pairs
from embedfit.towers import Prototypes

CLASSES, BATCH, DRAWN = 100_000, 64, 512


def many(**more: Any) -> Setup:
    """A text for each class, of two words of a few hundred."""
    texts = [f"{first:03d} {second:03d}" for first in range(400) for second in range(CLASSES // 400)]
    table = pl.DataFrame({"text": texts, "label": [f"class {i}" for i in range(CLASSES)]})
    asked = recipe(optim__batch_size=BATCH, model__vocabulary=600, model__dimension=32, **more)
    return prepare(Pairs(kind="classes", table=table), asked)


def seconds(made: Setup, steps: int = 5) -> float:
    """Processor time of a step, the slow first one left out."""
    mover, taken = plan(made).mover(made.groups), []
    for number in range(steps + 1):
        batch, began = made.material.batch_of(number, plan(made)), time.process_time()
        train_step(made.objective, batch, number=number)
        mover.step(0.01)
        taken.append(time.process_time() - began)
    return median(taken[1:])


@pytest.mark.slow
def test_a_step_among_a_hundred_thousand_classes_costs_what_it_draws() -> None:
    made = many(negatives__kind="mixed", negatives__size=DRAWN)
    prototypes = made.objective.model.document
    assert isinstance(prototypes, Prototypes)
    assert len(prototypes.table) == CLASSES
    before = prototypes.table.detach().clone()
    batch = made.material.batch_of(0, plan(made))
    assert len(batch.document) <= BATCH + DRAWN
    train_step(made.objective, batch, number=0)
    gradient = prototypes.table.grad
    assert gradient is not None
    assert gradient.is_sparse
    rows = gradient.coalesce().indices()[0]
    assert len(rows) <= BATCH + DRAWN  # the memory of a step: so many rows, of a table of 100,000
    plan(made).mover(made.groups).step(0.01)
    moved = (prototypes.table.detach() != before).any(1).nonzero()[:, 0]
    assert set(moved.tolist()) <= set(rows.tolist())
    assert len(moved) > 0.9 * len(rows)
    assert torch.isfinite(prototypes.table).all()
    assert seconds(made) < seconds(many()) / 3  # against all of them
