"""The loop: what it keeps, when it stops, and what it leaves alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from little import equal, plan, recipe, rows, setup, weights

from embedfit.engine import checkpoint
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.fit import Setup, fingerprint, fit, prepare
from embedfit.engine.loop import Best, Observer, train
from embedfit.errors import NonFiniteLossError, RunError
from embedfit.pairs import Pairs
from embedfit.towers import TwoTower


class Notes:
    """An observer that writes everything down; the held-out metric is what the test says."""

    def __init__(self, metrics: Sequence[float] = (), at: Callable[[int], None] = lambda step: None) -> None:
        self.metrics = list(metrics)
        self.kept: list[Checkpoint] = []
        self.losses: list[float] = []
        self.at = at

    def record(self, step: int, readings: Any) -> None:
        if "loss" in readings:
            self.losses.append(readings["loss"])
            self.at(step)

    def observer(self, *, stop: Callable[[], bool] = lambda: False) -> Observer:
        return Observer(
            read=lambda step, optimiser: {},
            measure=lambda: {"dev/metric": self.metrics.pop(0)} if self.metrics else {},
            record=self.record,
            keep=self.kept.append,
            keep_now=lambda step: False,
            due=lambda number: False,
            stop=stop,
        )


def run(made: Setup, notes: Notes, **more: Any) -> tuple[Any, str]:
    return train(made.objective, made.material, made.groups, plan(made, **more), notes.observer())


def test_the_same_seed_gives_the_same_run_and_another_seed_another_one() -> None:
    runs = []
    for seed in (3, 3, 4):
        torch.rand(17)  # the caller's random state plays no part
        made, notes = setup("classes", "gru", model__dropout=0.3, optim__seed=seed), Notes()
        run(made, notes)
        runs.append((weights(made), notes.losses))
    assert equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not equal(runs[0][0], runs[2][0])
    assert runs[0][1] != runs[2][1]


def test_training_leaves_the_random_state_of_the_caller() -> None:
    made, before = setup("classes", "gru", model__dropout=0.3), torch.get_rng_state()
    run(made, Notes())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_untrained_model_is_kept_when_nothing_is_better() -> None:
    made = setup()
    before = weights(made)
    best, ended = run(made, Notes([0.5, 0.4, 0.5, 0.3]), evaluate_every=3)
    assert best.step == 0
    assert ended == "finished"
    assert equal(weights(made), before)
    assert not made.objective.model.training


def test_the_best_weights_are_those_of_the_best_evaluation_and_a_tie_goes_to_the_earlier() -> None:
    states = []
    made = setup()
    best, _ = run(made, Notes([0.1, 0.3, 0.3, 0.2], at=lambda step: states.append(weights(made))), evaluate_every=3)
    assert best.step == 3
    assert equal(weights(made), states[2])


def test_a_metric_that_is_not_a_number_is_beaten_by_any_that_is() -> None:
    best, _ = run(setup(), Notes([math.nan, 0.0, math.nan, -0.5]), evaluate_every=3)
    assert best.step == 3


@pytest.mark.parametrize(
    ("metrics", "patience", "steps", "ended"),
    [
        ([0.5, 0.4, 0.3, 0.2], 2, 2, "no better for 2 evaluations"),
        ([0.5, 0.4, 0.6, 0.5, 0.6, 0.7], 2, 4, "no better for 2 evaluations"),
        ([0.1 * i for i in range(10)], 1, 9, "finished"),
    ],
)
def test_training_ends_after_so_many_evaluations_without_a_better_metric(
    metrics: list[float], patience: int, steps: int, ended: str
) -> None:
    notes = Notes(metrics)
    assert run(setup(), notes, evaluate_every=1, patience=patience)[1] == ended
    assert len(notes.losses) == steps


def test_training_ends_after_the_evaluation_at_which_it_is_hopeless_and_can_be_gone_on_with() -> None:
    made, notes = setup(), Notes([0.5, 0.6, 0.7, 0.8])
    observer = replace(notes.observer(), hopeless=lambda: "the weights stand still" if len(notes.losses) > 3 else "")
    best, ended = train(made.objective, made.material, made.groups, plan(made, evaluate_every=3), observer)
    assert (len(notes.losses), best.step, ended) == (6, 6, "hopeless: the weights stand still")
    assert notes.kept[-1].values["step"] == 6
    again = train(made.objective, made.material, made.groups, plan(made, evaluate_every=3), observer, notes.kept[-1])
    assert (len(notes.losses), again[1]) == (6, "hopeless: the weights stand still")


def test_with_nothing_held_out_all_steps_are_taken_and_the_newest_weights_kept() -> None:
    made, notes = setup(), Notes()
    best, ended = run(made, notes, patience=1)
    assert (len(notes.losses), best.step, ended) == (9, 9, "finished")


def test_the_average_is_what_is_measured_and_kept() -> None:
    seen: list[dict[str, torch.Tensor]] = []
    made = setup()
    notes = Notes()
    live: list[dict[str, torch.Tensor]] = []
    notes.at = lambda step: live.append(weights(made))
    observer = notes.observer()
    measuring = Observer(**{
        **{name: getattr(observer, name) for name in Observer.__slots__},
        "measure": lambda: seen.append(weights(made)) or {"dev/metric": float(len(seen))},
    })  # fmt: skip
    train(made.objective, made.material, made.groups, plan(made, average=0.5, evaluate_every=9), measuring)
    assert not equal(seen[-1], live[-1])
    assert equal(weights(made), seen[-1])


def broken_at(step: int, made: Setup) -> Notes:
    """Notes that make a weight NaN after a step."""

    def spoil(done: int) -> None:
        if done == step:
            with torch.no_grad():
                next(made.objective.model.parameters())[:] = math.nan

    return Notes(at=spoil)


def test_a_loss_that_is_not_finite_stops_before_the_optimiser_moves() -> None:
    made = setup()
    notes = broken_at(4, made)
    with pytest.raises(NonFiniteLossError, match="the loss of step 4 is nan"):
        run(made, notes)
    assert len(notes.losses) == 4


def test_a_gradient_that_is_not_finite_stops_before_the_optimiser_moves() -> None:
    made = setup()
    table = next(made.objective.model.parameters())
    table.register_hook(lambda gradient: gradient * math.inf)
    before = weights(made)
    with pytest.raises(NonFiniteLossError, match=r"the gradient of step 0 is (nan|inf) at a loss of \d") as caught:
        run(made, Notes())
    assert equal(weights(made), before)
    assert caught.value.rows


def quietly(made: Setup, folder: Path, measure: Callable[[TwoTower], dict[str, float]], **more: Any) -> Any:
    return fit(made, folder=folder, measure=measure, progress=lambda *words: None, **more)


def test_the_message_names_step_rows_and_texts_and_the_checkpoint_before_is_sound(tmp_path: Path) -> None:
    made = setup()
    calls = 0

    def measure(model: TwoTower) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:  # after step 3
            with torch.no_grad():
                next(model.parameters())[:] = math.nan
        return {}

    with pytest.raises(NonFiniteLossError) as caught:
        quietly(made, tmp_path, measure)
    message = caught.value.message
    texts = [made.material.data.query_texts[made.material.data.query[row]] for row in caught.value.rows[:3]]
    assert "step 3 " in message
    assert all(str(row) in message for row in caught.value.rows[:5])
    assert all(text in message for text in texts)
    assert checkpoint.values_of(tmp_path / "checkpoints" / "last.safetensors")["step"] == 3
    assert max(json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()) == 3


def test_threads_of_the_caller_are_put_back(tmp_path: Path) -> None:
    before, inside = torch.get_num_threads(), []
    made = setup(run__threads=2, optim__length="2 steps")
    quietly(made, tmp_path, lambda model: inside.append(torch.get_num_threads()) or {})
    assert set(inside) == {2}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "change",
    [{"optim__seed": 1}, {"loss__temperature": 0.3}, {"model__dimension": 16}, {"kind": "classes"}],
)
def test_a_checkpoint_of_other_rows_or_settings_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    quietly(setup(), tmp_path, lambda model: {})
    other = {"kind": "pairs", **change}
    with pytest.raises(RunError, match="belongs to other data or other settings"):
        quietly(setup(**other), tmp_path, lambda model: {}, resume=True)


def test_other_grades_are_other_rows() -> None:
    table = rows("graded")
    again = [0.5, *table.table["score"].to_list()[1:]]
    changed = Pairs(kind="graded", table=table.table.with_columns(score=pl.Series(again)))
    prints = [fingerprint(prepare(one, recipe())) for one in (table, rows("graded"), changed)]
    assert prints[0] == prints[1] != prints[2]


def test_housekeeping_may_change_between_runs() -> None:
    one, other = setup(), setup(run__threads=2, run__checkpoint_every="5 steps")
    assert fingerprint(one) == fingerprint(other)


def test_later_weights_within_the_slack_are_kept_and_do_not_count_as_progress() -> None:
    best = Best()
    for step, value in enumerate([0.5, 0.9, 0.86, 0.91, 0.88, 0.7]):
        best.offer((value,), step, {"w": torch.tensor(value)}, lambda at: 0.05)
        kept = best.step
    assert (best.metric, kept, best.weights["w"].item()) == ((0.91,), 4, pytest.approx(0.88))
    assert best.waited == 2
    strict = Best()
    for step, value in enumerate([0.5, 0.9, 0.86, 0.91, 0.88]):
        strict.offer((value,), step, {})
    assert (strict.step, strict.waited) == (3, 1)
