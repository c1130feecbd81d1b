"""The programs of the fault benchmark: they run, they repeat themselves, and a fault changes them."""

from __future__ import annotations

import pytest
import torch
from benchmarks.faults.cases import Case, every
from benchmarks.faults.causes import CODES
from benchmarks.faults.loops import LOOPS, REAL
from benchmarks.faults.parts import Parts, builder, reciprocal_rank
from benchmarks.faults.plant import FAULTS
from benchmarks.faults.plant.fine import FINE
from benchmarks.faults.worlds import WORLDS, faq, towers, vectors

from embedfit.doctor.catalogue import CHECKS
from embedfit.doctor.check import COMPONENTS
from embedfit.doctor.program import Evaluates, Program, Updates

SMALL = {"faq/demo": faq.demo, "vectors/digits": vectors.digits, "towers/shop": towers.shop}


@pytest.fixture(scope="module")
def worlds() -> dict[str, Parts]:
    return {name: make() for name, make in SMALL.items()}


def first_loss(parts: Parts, seed: int = 0) -> torch.Tensor:
    program = builder(parts)(seed)
    out = program.train_step(next(iter(program.batches)))
    assert len(out["document"]) >= len(out["query"])
    program.update(out["loss"])
    return out["loss"].detach()


def test_a_world_is_a_program_that_repeats_itself_by_its_seed(worlds: dict[str, Parts]) -> None:
    for parts in worlds.values():
        program = builder(parts)(3)
        assert isinstance(program, Program)
        assert isinstance(program, Updates)
        assert isinstance(program, Evaluates)
        assert first_loss(parts, 3) == first_loss(parts, 3) != first_loss(parts, 4)


def test_an_evaluation_leaves_the_modes_as_they_were(worlds: dict[str, Parts]) -> None:
    program = builder(worlds["vectors/digits"])(0)
    program.model.bent.eval()
    program.evaluate()
    assert program.model.training
    assert not program.model.bent.training


@pytest.mark.parametrize("name", [f.name for f in FAULTS.values() if "pretrained" not in f.needs])
def test_every_fault_takes_a_step_at_every_severity(name: str, worlds: dict[str, Parts]) -> None:
    fault = FAULTS[name]
    parts = next(parts for parts in worlds.values() if fault.fits(parts))
    healthy = first_loss(parts)
    for level in fault.levels:
        spoiled = fault.plant(parts, level)
        assert first_loss(spoiled).shape == healthy.shape
        assert spoiled is not parts


@pytest.mark.parametrize("name", list(FINE))
def test_every_oddity_takes_a_step(name: str, worlds: dict[str, Parts]) -> None:
    fitting = [parts for parts in worlds.values() if FINE[name].fits(parts)]
    assert fitting
    assert torch.isfinite(first_loss(FINE[name].plant(fitting[0])))


@pytest.mark.parametrize("name", [*LOOPS, *REAL])
def test_every_foreign_loop_takes_a_step(name: str) -> None:
    program = {**LOOPS, **REAL}[name].build(0)
    assert isinstance(program, Program)
    out = program.train_step(next(iter(program.batches)))
    assert out["query"].shape[1] == out["document"].shape[1]
    assert len(out["document"]) >= len(out["query"])
    assert torch.isfinite(out["loss"])


def test_faults_name_components_and_causes_that_exist() -> None:
    assert len(FAULTS) >= 35
    assert {f.components[0] for f in FAULTS.values()} == set(COMPONENTS)
    for fault in FAULTS.values():
        assert set(fault.components) <= set(COMPONENTS)
        assert fault.cause in CODES
    assert {code for codes in CODES.values() for code in codes} <= {check.code for check in CHECKS}
    for loop in {**LOOPS, **REAL}.values():
        assert set(loop.components) <= set(COMPONENTS)
        assert not loop.cause or loop.cause in CODES


def test_the_cases_are_told_apart_and_two_in_five_are_healthy() -> None:
    cases = [case for name in ("faq/demo", "towers/shop") for case in every([name])]
    assert len({case.key for case in cases}) == len(cases)
    assert sum(not case.truth for case in cases) >= 0.38 * len(cases)
    assert sum(len(case.truth) == 2 for case in cases) * len(WORLDS) / 2 >= 30
    assert all(len(set(a.components) & set(b.components)) == 0 for c in cases if len(c.truth) == 2
               for a, b in [c.truth])  # fmt: skip


def test_a_pair_carries_both_faults() -> None:
    case = Case(world="faq/demo", faults=(("temperature too high", 1), ("rare steps", 1)))
    parts = case.parts()
    assert parts.step_every == FAULTS["rare steps"].levels[1]
    assert [t.cause for t in case.truth] == ["temperature too high", "accumulation"]
    assert [one.faults for one in case.alone] == [(("temperature too high", 1),), (("rare steps", 1),)]


def test_ties_and_what_is_no_number_count_against_the_right_answer() -> None:
    scores = torch.tensor([[1.0, 1.0], [float("nan"), 0.0], [2.0, 0.0]])
    assert reciprocal_rank(scores, torch.tensor([0, 0, 0])) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
