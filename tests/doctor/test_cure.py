"""Prescriptions filled: the author's program with one part exchanged, trained as its author would."""

from __future__ import annotations

import pytest
import torch
from program_world import SIZE, N, Program, builder

from embedfit.doctor.check import Finding, Outcome, Prescription
from embedfit.doctor.cure import CHANGES, prescribed
from embedfit.doctor.diagnosis import Cost, Diagnosis
from embedfit.errors import EmbedfitError

INFONCE = {"loss.kind": "infonce", "loss.temperature": 0.05}


def trained(program, steps: int) -> float:
    done = 0
    while done < steps:
        for batch in program.batches:
            program.update(program.train_step(batch)["loss"])
            done += 1
            if done == steps:
                break
    return program.evaluate()


def finding(outcome: Outcome, change: dict) -> Finding:
    return Finding(code="LOS011", name="costly-loss", outcome=outcome, component="loss", symptom="",
                   prescription=(Prescription(why="", change=change),))  # fmt: skip


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(verdict="ill", why="", cost=Cost(seconds=0.0), findings=findings)


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("reversed", INFONCE),
        ("positives", {"loss.kind": "infonce"}),
        ("slow", {"optim.kind": "adamw", "optim.learning_rate": 3e-3}),
        ("slow", {"optim.learning_rate": 3e-3}),
        ("dropout", {"model.dropout": 0.0}),
        ("forgotten", {"model.parameters": "all"}),
    ],
)
def test_what_is_prescribed_brings_most_of_the_metric_back(fault, change):
    sick, cured, well = builder(fault)(), prescribed(builder(fault), change)(), builder()()
    metrics = [trained(program, 60) for program in (sick, cured, well)]
    assert metrics[0] < 0.85 * metrics[2]
    assert metrics[1] - metrics[0] > 0.8 * (metrics[2] - metrics[0]), metrics


def test_rows_are_drawn_at_random_all_of_them_where_the_order_is_exchanged():
    program = prescribed(builder(), {"data.shuffle": True})(seed=1)
    batches = [batch[0] for batch in program.batches]
    assert len(torch.cat(batches).unique(dim=0)) == N
    assert all(len(batch) == SIZE for batch in batches)


def test_without_a_change_the_program_is_the_authors():
    steps = prescribed(builder(), {"run.precision": "fp32"})()
    assert trained(steps, 20) == trained(Program(), 20)


def test_every_exchange_can_be_prescribed_and_other_settings_are_refused():
    for change in CHANGES.values():
        prescribed(builder(), change)
    with pytest.raises(EmbedfitError, match=r"no exchange stands for 'model\.layers'"):
        prescribed(builder(), {"model.layers": 3})


def test_a_diagnosis_gives_back_the_program_that_its_issues_prescribe():
    found = diagnosis(
        finding(Outcome.ISSUE, INFONCE),
        finding(Outcome.ISSUE, {"loss.temperature": 1.0, "data.shuffle": True}),
        finding(Outcome.WATCH, {"model.dropout": 0.0}),
    )
    assert found.change == {**INFONCE, "data.shuffle": True}
    assert trained(found.cured(builder("reversed"))(seed=0), 60) > 0.5
    build = builder()
    assert diagnosis(finding(Outcome.ISSUE, {})).cured(build) is build
