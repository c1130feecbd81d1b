"""Experiments made where they can tell the causes apart: each on a sick and a sound program, and when they are made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program_world import Program, builder
from torch import nn

from embedfit.doctor import select
from embedfit.doctor.check import Outcome
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.further import constant_inputs, further, one_batch, resumed, scaled, shuffled, swapped_roles
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.inputs import of_inputs
from embedfit.doctor.lab import Lab
from embedfit.doctor.material import Material, gather
from embedfit.run import Run


def outcome(code: str, facts: dict[str, Any]) -> Outcome:
    [check] = select((code,))
    return check.examine(Run(facts=facts)).outcome


@pytest.fixture(scope="module")
def material() -> Material:
    return gather(builder()())


class Forgetful(Program):
    """A scale that learns and that no state holds."""

    def __init__(self, fault: str = "", seed: int = 0) -> None:
        super().__init__(fault, seed)
        self.scale = torch.ones(1, requires_grad=True)
        self.optimizer.add_param_group({"params": [self.scale], "lr": 0.1})

    def train_step(self, batch: Any) -> Any:
        out = dict(super().train_step(batch))
        return out | {"loss": out["loss"] * self.scale.exp() - self.scale.sum()}


class Counting(Program):
    """Dropout and random numbers of its own, and a moving mean in a buffer: all that a sound program may have."""

    def __init__(self, fault: str = "", seed: int = 0) -> None:
        super().__init__(fault, seed)
        self.model.norm = nn.BatchNorm1d(24)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)

    def train_step(self, batch: Any) -> Any:
        self.model.train()
        return super().train_step((self.model.norm(batch[0]), batch[1]))


def test_a_state_that_nobody_stores_is_missed_and_everything_else_comes_back(material: Material) -> None:
    lost = resumed(lambda seed=0: Forgetful("", seed), material)
    assert outcome("MOD012", lost) is Outcome.WATCH
    for sound in (Program, Counting):
        facts = resumed(lambda seed=0, sound=sound: sound("dropout", seed), material)
        assert facts == {"resume.loss_apart": 0.0, "resume.update_apart": 0.0}
        assert outcome("MOD012", facts) is Outcome.CLEAR


@pytest.mark.parametrize("batches", [2, 4])
def test_a_state_between_two_steps_of_an_accumulating_program_is_not_asked_for(batches: int) -> None:
    class Accumulating(Program):
        done = 0

        def update(self, loss: torch.Tensor) -> None:
            if self.done % batches == 0:
                self.optimizer.zero_grad()
            loss.backward()
            self.done += 1
            if self.done % batches == 0:
                self.optimizer.step()

    build = lambda seed=0: Accumulating("", seed)  # noqa: E731
    assert outcome("MOD012", resumed(build, gather(build()))) is Outcome.CLEAR


def test_a_loss_that_cannot_descend_does_not_learn_one_batch_and_a_sound_one_does(material: Material) -> None:
    assert outcome("OPT013", one_batch(builder("slow"), material)) is Outcome.WATCH
    sound = one_batch(builder("dropout"), material)  # without its dropout it can
    assert sound["one_batch.end"] == 1.0
    assert outcome("OPT013", sound) is Outcome.CLEAR


def test_unrelated_pairs_are_learned_as_well_as_dealt_ones_and_related_ones_better() -> None:
    def facts(fault: str) -> dict[str, Any]:
        return shuffled(builder(fault), gather(builder(fault)()), 60)

    assert outcome("PAI006", facts("")) is Outcome.CLEAR
    dealt = facts("unrelated")
    assert dealt["shuffled.dealt"] == pytest.approx(dealt["shuffled.real"], rel=0.1)


class Loud(Program):
    """One column of the queries is in another unit."""

    def __init__(self, fault: str = "", seed: int = 0) -> None:
        super().__init__(fault, seed)
        unit = torch.ones(24).index_fill(0, torch.tensor([3]), 3000.0 if fault == "loud" else 1.0)
        self.batches = [(q * unit + unit.log(), d) for q, d in self.batches]


def test_a_column_in_another_unit_is_tried_without() -> None:
    for fault, expected in (("loud", Outcome.ISSUE), ("", Outcome.CLEAR)):
        build = lambda seed=0, fault=fault: Loud(fault, seed)  # noqa: E731
        material = gather(build())
        facts = of_inputs(build(), material) | scaled(build, material, 60)
        assert outcome("DAT010", facts) is expected, facts


class Blind(Program):
    """Looks at the documents only: every query is the same."""

    def train_step(self, batch: Any) -> Any:
        return super().train_step((1e-4 * batch[0], batch[1]))


def test_a_program_that_does_not_read_its_queries_does_as_well_with_one_query() -> None:
    def facts(kind: Any) -> dict[str, Any]:
        build = lambda seed=0: kind("", seed)  # noqa: E731
        found = constant_inputs(build, gather(build()), 40)
        return found | {"start.query_alike": 0.0, "start.document_alike": 0.0}

    sound, blind = facts(Program), facts(Blind)
    assert outcome("MOD013", sound) is Outcome.CLEAR
    assert sound["constant.real"] < 0.7 * sound["constant.query"]
    assert outcome("MOD013", blind) is Outcome.WATCH
    assert blind["constant.query"] == pytest.approx(blind["constant.real"], rel=0.05)


def test_the_run_on_the_rows_as_they_are_is_taken_over_from_the_shuffled_pairs(material: Material) -> None:
    known = shuffled(builder(), material, 20)
    both = [constant_inputs(builder(), material, 20, given) for given in (known, None)]
    assert both[0] == both[1]


def test_exchanged_roles_are_seen_where_the_towers_know_something() -> None:
    class Half(nn.Module):
        """Knows its own side by a mark, and makes a mess of the other one."""

        def __init__(self, mine: bool) -> None:
            super().__init__()
            self.mine, self.scale = mine, nn.Parameter(torch.ones(24))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            marked = x[:, :1] > 0
            right = marked if self.mine else ~marked
            return torch.where(right, x, x.roll(3, 1) if self.mine else x.flip(1)) * self.scale

    class Prompted(Program):
        def __init__(self, fault: str = "", seed: int = 0) -> None:
            super().__init__(fault, seed)
            mine = fault != "swapped"
            self.model.query, self.model.document = Half(mine), Half(not mine)
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
            rows = torch.randn(640, 24, generator=torch.Generator().manual_seed(1)).abs()
            sides = [torch.cat([torch.full((640, 1), sign), rows[:, 1:]], 1) for sign in (5.0, -5.0)]
            self.batches = list(zip(sides[0].split(32), sides[1].split(32), strict=True))

    for fault, expected in (("swapped", Outcome.WATCH), ("", Outcome.CLEAR)):
        build = lambda seed=0, fault=fault: Prompted(fault, seed)  # noqa: E731
        assert outcome("PAI007", swapped_roles(build, gather(build()))) is expected


def test_inputs_of_different_width_have_no_roles_to_exchange(material: Material) -> None:
    class Narrow(Program):
        def __init__(self, fault: str = "", seed: int = 0) -> None:
            super().__init__(fault, seed)
            self.model.query[0] = nn.Linear(23, 48)

        def train_step(self, batch: Any) -> Any:
            return super().train_step((batch[0][:, :23] if batch[0].shape[1] > 23 else batch[0], batch[1]))

    class Cut:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __iter__(self) -> Any:
            return ((q[:, :23], d) for q, d in self.inner)

    def build(seed: int = 0) -> Program:
        made = Narrow("", seed)
        made.batches = Cut(made.batches)
        return made

    assert swapped_roles(build, gather(build())) == {}


@pytest.mark.parametrize(
    ("facts", "made"),
    [
        ({}, {"resume"}),
        ({"experiment.probe_start": 0.4}, {"resume", "roles"}),
        ({"experiment.control.relative": -0.5}, {"resume", "one_batch", "shuffled", "constant"}),
        ({"experiment.control.relative": -0.5, "experiment.loss.relative": -0.5}, {"resume"}),
        ({"experiment.control.relative": -0.5, "experiment.arrives": True}, {"resume"}),
    ],
)
def test_an_experiment_is_made_only_where_there_is_a_reason(
    facts: dict[str, Any], made: set[str], material: Material
) -> None:
    base = {"experiment.control.relative": 0.0, "experiment.chance": 0.02, "experiment.probe": 0.9,
            "experiment.probe_start": 0.02, "experiment.reference": 0.9, "experiment.start": 0.1,
            "experiment.rows": 256}  # fmt: skip
    gauge = Gauge(material=material, has_metric=True)
    lab = Lab(builder(), material, gauge, steps=20, planned=60, clock=Stopwatch(), deadline=60.0)
    found = further(lab, {**base, **facts})
    assert {name.split(".")[0] for name in found} == made
    assert lab.taken > 0
    lab.deadline = -1.0
    assert further(lab, {**base, **facts}) == {}


def test_random_numbers_are_left_alone(material: Material) -> None:
    before = torch.get_rng_state()
    resumed(builder(), material)
    one_batch(builder(), material, steps=3)
    assert torch.equal(torch.get_rng_state(), before)
