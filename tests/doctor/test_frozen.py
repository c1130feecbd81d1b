"""Frozen encoders that are computed once: nothing changes but the time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from program_world import Program
from torch import nn

from embedfit.doctor.arms import Arm, train
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.frozen import Memory
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.investigation import investigate, remembered
from embedfit.doctor.lab import CONTROL
from embedfit.doctor.material import gather

WIDE = 24


class Encoder(nn.Module):
    """Stands for a large one, and counts the rows that it is asked for."""

    def __init__(self, dropout: float = 0.0, wait: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDE, 512), nn.Tanh(), *[
            layer for _ in range(6) for layer in (nn.Linear(512, 512), nn.Tanh())
        ], nn.Dropout(dropout), nn.Linear(512, WIDE))  # fmt: skip
        self.rows = 0
        self.wait = wait

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        self.rows += len(x)
        time.sleep(self.wait * len(x))
        return scale * self.net(x)


class Headed(Program):
    """Heads on an encoder that is frozen, unless the fault says otherwise."""

    def __init__(self, fault: str = "", seed: int = 0) -> None:
        super().__init__(fault, seed)
        torch.manual_seed(7)
        self.model.encoder = Encoder(0.3 if fault == "random" else 0.0, 0.001 if fault == "slow" else 0.0)
        for p in self.model.encoder.parameters():
            p.requires_grad_(fault == "trained")

    def train_step(self, batch: Any) -> Any:
        query, document = (x + 0.1 * self.model.encoder(x) for x in batch)
        if self.fault == "moving":
            with torch.no_grad():
                for p in self.model.encoder.parameters():
                    p.mul_(0.999)
        return super().train_step((query, document))


@pytest.fixture(autouse=True)
def however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Type checks make looking up slower than it is."""
    monkeypatch.setattr("embedfit.doctor.frozen.TRIED", 10**9)


def ran(fault: str, memory: Memory | None) -> tuple[Any, int]:
    torch.manual_seed(0)
    program = Headed(fault)
    gauge = Gauge(material=gather(Headed(fault)), has_metric=False, memory=memory or Forgetting())
    trial = train(program, CONTROL, gauge, steps=48, seed=0, clock=Stopwatch(), deadline=100.0)
    return trial, program.model.encoder.rows


class Forgetting(Memory):
    """Remembers nothing."""

    @contextlib.contextmanager
    def into(self, model: nn.Module, way: str = "") -> Iterator[None]:
        del model, way
        yield


def test_a_frozen_encoder_is_computed_once_per_row_and_the_run_is_the_same() -> None:
    memory = Memory()
    (plain, all_rows), (first, some), (second, none) = ran("", None), ran("", memory), ran("", memory)
    torch.testing.assert_close(torch.tensor(first.losses), torch.tensor(plain.losses), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.tensor(second.losses), torch.tensor(first.losses), rtol=1e-4, atol=1e-4)
    assert first.probe == pytest.approx(plain.probe, abs=0.02)
    assert some < 0.75 * all_rows
    assert none < 0.1 * all_rows  # tails of a single row
    assert memory.modules == {"encoder"}
    assert memory.recalled > memory.computed


@pytest.mark.parametrize("fault", ["trained", "random", "moving"])
def test_what_is_trained_random_or_moved_is_not_remembered_while_it_is(fault: str) -> None:
    memory = Memory()
    (plain, _), (trial, rows) = ran(fault, None), ran(fault, memory)
    assert trial.losses == plain.losses  # the same random numbers, too
    assert rows >= 48 * 2 * 32  # every step; metrics may be recalled


def test_the_arm_that_trains_the_encoder_computes_it() -> None:
    memory = Memory()
    program = Headed()
    gauge = Gauge(material=gather(Headed()), has_metric=False, memory=memory)
    train(program, Arm(), gauge, steps=8, seed=0, clock=Stopwatch(), deadline=100.0)
    assert not memory.modules
    assert "forward" not in program.model.encoder.__dict__


def test_other_arguments_and_other_weights_are_other_rows() -> None:
    memory, x = Memory(), torch.randn(16, WIDE, generator=torch.Generator().manual_seed(0))
    one, other = Headed().model, Headed().model
    with torch.no_grad():
        other.encoder.net[0].weight.add_(0.01)
    for model in (one, other, one):
        with memory.into(model):
            for scale in (1.0, 2.0):
                torch.testing.assert_close(model.encoder(x, scale=scale), scale * model.encoder.net(x))
    assert memory.recalled == 32


def test_the_saving_is_told_where_there_is_one() -> None:
    assert remembered(Memory()) == {}
    assert remembered(Memory(computed=10, recalled=90, saved=-0.1, modules={"encoder"})) == {}
    facts = remembered(Memory(computed=10, recalled=90, saved=3.0, modules={"encoder"}))
    assert facts == {"cached.modules": ["encoder"], "cached.share": 0.9, "cached.seconds": 3.0}


@pytest.mark.slow
def test_an_investigation_says_what_it_did_not_compute_again() -> None:
    found = investigate(lambda seed=0: Headed("slow", seed), budget=8)
    assert found.evidence.facts["cached.modules"] == ["encoder"]
    assert found.evidence.facts["cached.share"] > 0.5
    assert "were not computed again" in found.why
