"""Arms of strangers' programs: an exchange may break a program, never the investigation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from program_world import Program, Towers
from torch.optim.lr_scheduler import LambdaLR

from embedfit.doctor.arms import PARTS, TRUSTED, Arm
from embedfit.doctor.battery import experiment
from embedfit.doctor.check import Outcome
from embedfit.doctor.checks.update import ForgottenParameters, GradientUnderflow, NeverSteps, StaleGradients
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.diagnosis import Verdict
from embedfit.doctor.examine import examine
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.investigation import summed_up
from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.look import look
from embedfit.doctor.material import gather
from embedfit.doctor.program import Build
from embedfit.run import Run


class ReplacedAfterwards(Program):
    """The model is made anew when optimiser and schedule are there already."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=3e-3)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / 100)
        self.model = Towers(0.0)

    def update(self, loss: torch.Tensor) -> None:
        super().update(loss)
        self.schedule.step()


class InNoOtherOrder(Program):
    """A program that accepts its own batches alone."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.batches = list(self.batches)
        self.own = [batch[0] for batch in self.batches]

    def train_step(self, batch: Any) -> Mapping[str, torch.Tensor]:
        if self.model.training and torch.is_grad_enabled() and not any(batch[0] is x for x in self.own):
            raise ValueError("these rows are not mine")
        return super().train_step(batch)


def opened(build: Build, steps: int = 12) -> Lab:
    material = gather(build(seed=0))
    return Lab(build, material, Gauge(material=material, has_metric=True), steps, steps, Stopwatch(), 60.0)


def test_an_optimiser_with_a_schedule_is_given_the_parameters_it_has_forgotten() -> None:
    lab = opened(ReplacedAfterwards, steps=40)
    cured, author = lab.run(Arm(author=frozenset(PARTS) - {"trainable"})), lab.run(CONTROL)
    assert not cured.raised, cured.broken
    assert cured.metric > 2 * author.metric


def test_an_optimiser_made_too_early_is_named_with_what_it_moves_instead() -> None:
    facts = look(ReplacedAfterwards, gather(ReplacedAfterwards()))
    run = Run(facts={name: value for name, value in facts.items() if value is not None})
    others = [examine(check, run) for check in (GradientUnderflow(), NeverSteps(), StaleGradients())]
    assert {found.outcome for found in others} == {Outcome.NOT_APPLICABLE}
    found = examine(ForgottenParameters(), run)
    assert found.outcome is Outcome.ISSUE
    assert "8 tensors that are no part of the model" in found.symptom
    assert "after the model" in found.prescription[0].why


def test_an_exchange_that_a_program_cannot_bear_ends_no_investigation() -> None:
    lab = opened(InNoOtherOrder)
    assert lab.run(lab.gold).raised
    assert "these rows are not mine" in lab.run(lab.gold).broken
    facts = experiment(lab, {})
    verdict: Verdict
    verdict, why = summed_up([], facts)
    assert verdict == "cannot-tell"
    assert "does not run" in why
    assert lab.gold.name == TRUSTED


def test_what_a_program_raises_by_itself_is_raised() -> None:
    class Failing(Program):
        def update(self, loss: torch.Tensor) -> None:
            raise RuntimeError("my own fault")

    with pytest.raises(RuntimeError, match="my own fault"):
        opened(Failing).run(CONTROL)
