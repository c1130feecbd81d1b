"""Stages: where they end, what they change, and on again in the middle of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from little import equal, plan, setup, weights
from test_loop import Notes

from embedfit.engine.curriculum import staged
from embedfit.engine.loop import train
from embedfit.errors import RecipeError
from embedfit.losses import InfoNCE
from embedfit.recipe import StageSection, build, from_toml, parse_change, patch, to_toml

GROWING = [0.1, 0.2, 0.3, 0.4, 0.5]


def ends(length: str, *sections: dict[str, Any], steps: int = 100) -> list[tuple[int, int]]:
    made = staged([StageSection(**s) for s in sections], length=length, steps=steps, batch_size=64, accumulate=1,
                  examples=640, loss_of=lambda changes: InfoNCE(**changes))  # fmt: skip
    assert [one.until for one in made[:-1]] == [other.start for other in made[1:]]
    return [(stage.until, stage.batch_size) for stage in made]


def test_a_run_of_steps_keeps_its_steps_and_shares_are_of_those() -> None:
    assert ends("100 steps", {"until": "30%", "batch_size": 8}, {"until": "40 steps"}) == [(30, 8), (40, 64), (100, 64)]


def test_a_run_of_epochs_keeps_its_examples_and_takes_more_steps_with_small_batches() -> None:
    # 10 epochs of 640: half of them in batches of 16, the rest in batches of 64
    assert ends("10 epochs", {"until": "50%", "batch_size": 16}) == [(200, 16), (250, 64)]
    assert ends("10 epochs", {"until": "1 epoch", "batch_size": 16}, {"until": "1280 examples", "batch_size": 32}) == [
        (40, 16), (60, 32), (140, 64)]  # fmt: skip


def test_without_stages_there_is_one_and_it_is_the_run() -> None:
    assert ends("auto") == [(100, 64)]


@pytest.mark.parametrize("sections", [[{"until": "40%"}, {"until": "30%"}], [{"until": "200 steps"}]])
def test_a_stage_that_cannot_be_is_refused(sections: list[dict[str, Any]]) -> None:
    with pytest.raises(RecipeError, match="of the curriculum is to end after"):
        ends("100 steps", *sections)


STAGES = [
    {"until": "3 steps", "batch_size": 6, "loss": {"temperature": 0.5}, "rates": {"embeddings": 0.0}},
    {"until": "6 steps", "batch_size": 12, "rate": 0.1},
]


def test_each_stage_has_its_batches_its_loss_its_rate_and_what_it_holds() -> None:
    made = setup("pairs", "static", curriculum__stages=STAGES, optim__warmup="0%", optim__schedule="constant")
    rates, tables = [], []
    table = next(p for name, p in made.objective.model.named_parameters() if p.ndim == 2)
    notes = Notes(GROWING)

    def record(step: int, readings: Any) -> None:
        if "loss" in readings:
            rates.append(readings["learning_rate"])
            tables.append(table.detach().clone())

    notes.record = record
    sizes = [len(made.material.batch_of(step, plan(made))) for step in range(9)]
    train(made.objective, made.material, made.groups, plan(made), notes.observer())
    assert sizes == [6, 6, 6, 12, 12, 12, 15, 15, 15]
    assert rates == pytest.approx([0.01] * 3 + [0.001] * 3 + [0.01] * 3)
    assert torch.equal(tables[0], tables[2])
    assert not torch.equal(tables[2], tables[3])
    assert float(made.stages[0].loss.loss.scale) == pytest.approx(2.0)


def test_a_run_goes_on_in_the_middle_of_a_stage_as_if_nothing_had_happened() -> None:
    more = {"curriculum__stages": STAGES, "model__dropout": 0.3, "loss__learned": True}
    whole, notes = setup("pairs", "gru", **more), Notes(GROWING)
    train(whole.objective, whole.material, whole.groups, plan(whole), notes.observer())
    half, first = setup("pairs", "gru", **more), Notes(GROWING)
    with pytest.raises(KeyboardInterrupt):
        train(half.objective, half.material, half.groups, plan(half),
              first.observer(stop=lambda: len(first.losses) == 4))  # fmt: skip
    again, second = setup("pairs", "gru", **more), Notes(GROWING[2:])
    train(again.objective, again.material, again.groups, plan(again), second.observer(), first.kept[-1])
    assert equal(weights(again), weights(whole))
    assert first.losses + second.losses == notes.losses


def test_stages_are_written_and_read_again(tmp_path: Any) -> None:
    recipe = patch(
        build({}), dict([parse_change('curriculum.stages=[{until="30%", batch_size=8, loss={margin=0.1}}]')])
    )
    (tmp_path / "recipe.toml").write_text(to_toml(recipe, comments=True))
    assert from_toml(tmp_path / "recipe.toml") == recipe
    assert recipe.curriculum.stages[0].loss == {"margin": 0.1}
