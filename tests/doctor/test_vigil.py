"""A run watched while it trains: facts are told once, hopeless runs are named, healthy ones are left alone."""

from __future__ import annotations

import dataclasses

import pytest
from cases import COLLAPSED, HEALTHY, SICK, falling, run

from embedfit.doctor import CHECKS, Outcome
from embedfit.doctor.vigil import HOPELESS, Vigil
from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.run import History, Run

FLOOR, CHANCE = infonce_floor(77, 0.056), infonce_chance(77)
AT_CHANCE = {"dev/accuracy@1": [0.013, 0.02, 0.011, 0.015, 0.013, 0.018, 0.012, 0.02, 0.01, 0.013]}
MEMORISED = run(readings={**AT_CHANCE, "loss": falling(4.3, 0.01)})
NOTHING = run(readings={**AT_CHANCE, "loss": [4.34, 4.36] * 20, "in_batch/recall@1": 0.014})
FROZEN = run(readings={"update_ratio": 0.0})
LOST = run(readings={**COLLAPSED, **AT_CHANCE, "loss": [CHANCE] * 40})


def first_steps(record: Run, until: int) -> Run:
    log = History()
    for name, curve in record.history.readings.items():
        log.readings[name] = [(step, value) for step, value in curve if step <= until]
    return dataclasses.replace(record, history=log, evaluation={})


@pytest.mark.parametrize(
    ("record", "code", "by"),
    [(MEMORISED, "EVA006", 360), (NOTHING, "EVA006", 200), (FROZEN, "OPT001", 80), (LOST, "GEO003", 240)],
)
def test_a_hopeless_run_is_named_and_not_before_it_is_certain(record: Run, code: str, by: int) -> None:
    found = Vigil(first_steps(record, by)).hopeless()
    assert found is not None
    assert found.code == code
    assert Vigil(first_steps(record, 0)).hopeless() is None


@pytest.mark.parametrize("code", sorted(HEALTHY))
@pytest.mark.parametrize("until", [40, 120, 200, 400])
def test_no_healthy_run_is_hopeless_at_any_time(code: str, until: int) -> None:
    assert Vigil(first_steps(HEALTHY[code], until)).hopeless() is None


@pytest.mark.parametrize(
    "readings",
    [
        # at chance for long, and then it learns
        {"dev/accuracy@1": [0.013] * 5 + [0.2, 0.5, 0.6, 0.7, 0.7], "loss": [4.3] * 20 + falling(4.3, 0.3)[:20]},
        # at chance on held-out rows, and the loss still falls
        {**AT_CHANCE, "loss": falling(4.3, 1.5)},
        # the loss never left chance, yet pairs are told apart
        {**AT_CHANCE, "loss": 4.3, "in_batch/recall@1": 0.6},
        # the loss is near chance, and the rate still rises
        {**AT_CHANCE, "loss": 4.3, "in_batch/recall@1": 0.014, "learning_rate": [0.001 * k for k in range(1, 41)]},
        # the loss is near chance, and on its way down
        {**AT_CHANCE, "loss": [4.34 - 0.004 * k for k in range(40)], "in_batch/recall@1": 0.014},
        # the loss is at its floor, and the rows held out are too few to tell chance from something
        {**AT_CHANCE, "loss": falling(4.3, 0.01), "few": 1.0},
        # all cosines are high from the start, and pairs are told apart
        {**COLLAPSED, "in_batch/recall@1": 0.5},
        # collapsed for twenty readings of forty, and the loss falls
        {**COLLAPSED, "loss": falling(4.3, 0.5)},
        # collapsed at first
        {**COLLAPSED, "query/mean_direction": [0.99] * 25 + [0.5] * 15},
    ],
)
def test_what_looks_hopeless_and_moves_is_given_its_time(readings) -> None:
    facts = {"metric.chance_error": 0.05} if "few" in readings else {}
    for until in range(40, 400, 40):
        assert Vigil(first_steps(run(facts, readings), until)).hopeless() is None


def test_stages_may_hold_the_weights() -> None:
    change = {"curriculum.stages": [{"until": "50%", "rate": 0.0}]}
    assert Vigil(run(readings={"update_ratio": 0.0}, change=change)).hopeless() is None


def test_a_fact_is_told_once_and_readings_never() -> None:
    vigil = Vigil(first_steps(SICK["LOS001"], 400))
    assert [f.code for f in vigil.look()] == ["LOS001"]
    assert vigil.look() == ()
    vigil.take(410, {"loss": float("nan")})
    assert [f.code for f in vigil.look()] == ["NUM001"]
    assert Vigil(SICK["OPT002"]).look() == ()
    assert Vigil(SICK["LOS001"], ("LOS001",)).look() == ()


def test_what_is_hopeless_is_a_fact_of_a_check() -> None:
    assert set(HOPELESS) <= {check.code for check in CHECKS}
    for record in (MEMORISED, NOTHING, FROZEN, LOST):
        found = Vigil(record).hopeless()
        assert found is not None
        assert found.outcome is Outcome.ISSUE
