"""The learning-rate test: it leaves no trace, and picks a rate one would pick by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from little import equal, plan, setup, weights

from embedfit.engine import rate as rates
from embedfit.engine.fit import Setup
from embedfit.engine.rate import RateTest, learning_rate_test


def outcome(made: Setup, *, anchor: float, trial: int = 12) -> RateTest:
    return learning_rate_test(made.objective, made.material, made.groups, plan(made), anchor=anchor, trial=trial)


@pytest.mark.parametrize(("kind", "model"), [("pairs", "static"), ("classes", "gru"), ("graded", "ngram")])
def test_weights_are_put_back_bit_for_bit(kind: str, model: str) -> None:
    made = setup(kind, model)
    before, loss = weights(made), {k: v.clone() for k, v in made.objective.loss.state_dict().items()}
    random = torch.get_rng_state()
    outcome(made, anchor=0.01, trial=4)
    assert equal(weights(made), before)
    assert equal(dict(made.objective.loss.state_dict()), loss)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in made.objective.model.parameters())


def test_weights_are_put_back_when_the_user_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = setup()
    before, real, calls = weights(made), rates.accumulated, []

    def until(*words: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*words, **more)

    monkeypatch.setattr(rates, "accumulated", until)
    with pytest.raises(KeyboardInterrupt):
        outcome(made, anchor=0.01)
    assert equal(weights(made), before)


@pytest.mark.parametrize("anchor", [1e-4, 0.01, 0.3])
def test_the_chosen_rate_gains_nearly_as_much_as_the_best_and_does_not_hang_on_the_anchor(anchor: float) -> None:
    test = outcome(setup(), anchor=anchor)
    best = min(test.losses.values())
    chosen = min(test.losses, key=lambda rate: abs(math.log(rate / test.chosen)))
    assert 1e-3 < test.chosen < 0.5
    assert test.losses[chosen] <= best + 0.1 * (test.start - best)
    assert all(loss > best + 0.1 * (test.start - best) for rate, loss in test.losses.items() if rate < chosen)
    assert test.steps == 12 * len(test.losses)


def failing_above(limit: float, monkeypatch: pytest.MonkeyPatch, real: Any = rates._trial) -> None:
    """Trials at rates above the limit diverge."""

    def trial(objective: Any, material: Any, learned: Any, groups: Any, plan: Any) -> bool:
        return plan.learning_rate <= limit and real(objective, material, learned, groups, plan)

    monkeypatch.setattr(rates, "_trial", trial)


def test_rates_that_diverge_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_above(0.02, monkeypatch)
    test = outcome(setup(), anchor=0.01)
    assert test.losses[0.03] == math.inf
    assert test.chosen <= 0.02


def test_an_anchor_that_diverges_by_far_is_left_downwards(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_above(0.02, monkeypatch)
    test = outcome(setup(), anchor=0.3)
    assert test.chosen <= 0.02
    assert max(test.losses) == 0.3


def test_a_gradient_that_overflows_counts_as_diverged() -> None:
    made = setup()
    next(made.objective.model.parameters()).register_hook(lambda gradient: gradient * math.inf)
    before = weights(made)
    assert all(loss == math.inf for loss in outcome(made, anchor=0.01).losses.values())
    assert equal(weights(made), before)


def test_examples_that_judge_are_not_learned_from() -> None:
    made = setup()
    learned, judged = rates._divided(made.material, plan(made))
    apart = torch.cat([batch.rows for batch in judged])
    assert not set(learned.tolist()) & set(apart.tolist())
    assert len(learned) + len(apart) == len(made.material.data)
