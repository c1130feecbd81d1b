from __future__ import annotations

import random

import pytest
import torch
from program_world import builder

import embedfit as ef
from embedfit.doctor import Outcome
from embedfit.doctor.attend import Doctor
from embedfit.probes.state import Snapshot, fingerprint


@pytest.fixture(autouse=True)
def _a_generator_of_its_own(monkeypatch):
    """The checker of shapes draws from Python's random numbers, which the state of a program contains."""
    monkeypatch.setattr("embedfit.probes.state.random", random.Random(0))


def watched(fault: str = "", steps: int = 12, **declared: object) -> tuple[Doctor, object]:
    """A loop with a doctor in it."""
    program = builder(fault)()
    doctor = ef.Doctor(program.model, program.optimizer, **declared)
    for batch in list(program.batches)[:steps]:
        out = program.train_step(batch)
        if fault != "stale":
            program.optimizer.zero_grad()
        out["loss"].backward()
        doctor.observe(query=out["query"], document=out["document"], loss=out["loss"])
        program.optimizer.step()
    return doctor, program


@pytest.mark.parametrize(
    ("fault", "code"), [("reversed", "LOS004"), ("forgotten", "OPT004"), ("stale", "OPT006"), ("warm", "LOS001")]
)
def test_a_fact_is_named_in_a_loop_of_ones_own(fault, code):
    doctor, _ = watched(fault)
    found = doctor.diagnose()
    assert found.verdict == "ill"
    assert code in {f.code for f in found.having(Outcome.ISSUE)}, str(found)


def test_nothing_is_wrong_with_a_sound_loop():
    doctor, _ = watched()
    assert not doctor.checkup().having(Outcome.ISSUE, Outcome.FAILED), str(doctor.diagnose())


def test_what_is_declared_as_frozen_is_no_fault():
    doctor, _ = watched("forgotten", frozen=["document"])
    assert "OPT004" not in {f.code for f in doctor.diagnose().troubles}


def test_a_watched_loop_ends_with_the_weights_of_an_unwatched_one():
    _, watching = watched(steps=8)
    plain = builder()()
    for batch in list(plain.batches)[:8]:
        plain.update(plain.train_step(batch)["loss"])
    for a, b in zip(plain.model.parameters(), watching.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkup_changes_nothing():
    doctor, program = watched()
    before = fingerprint(program.model, program.optimizer)
    doctor.checkup()
    doctor.diagnose()
    assert fingerprint(program.model, program.optimizer) == before


def test_closing_takes_every_hook_off():
    doctor, program = watched()
    doctor.close()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in program.model.modules())
    assert not program.optimizer._optimizer_step_pre_hooks
    assert all(not p._backward_hooks for p in program.model.parameters())


def test_a_fingerprint_sees_the_slightest_change_and_a_snapshot_takes_it_back():
    _, program = watched()
    before, kept = fingerprint(program.model, program.optimizer), Snapshot.of(program.model, program.optimizer)
    changes = [
        lambda: program.model.query[0].weight.data[0, 0].add_(1e-6),
        lambda: program.model.eval(),
        lambda: torch.rand(1),
        lambda: program.optimizer.step(),
    ]
    for change in changes:
        program.model.train()
        kept.restore(program.model, program.optimizer)
        before = fingerprint(program.model, program.optimizer)
        change()
        assert fingerprint(program.model, program.optimizer) != before
        kept.restore(program.model, program.optimizer)
        assert fingerprint(program.model, program.optimizer) == before
