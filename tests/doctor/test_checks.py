"""Every check against the runs of `cases.py`, and where its limits and words lie."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from cases import COLLAPSED, HEALTHY, SICK, run

from embedfit.doctor import CHECKS, Outcome, select
from embedfit.doctor.examine import examine
from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.recipe import patch
from embedfit.run import Run

CODES = [check.code for check in CHECKS]
KNOCK_INS = ("DAT007", "NEG002", "LOS011", "MOD006", "MOD007", "MOD008", "OPT010", "NUM003", "NEG004", "MOD009")
BELOW = {
    "DAT011",
    "DAT012",
    "OPT013",
    "EVA006",
    "GEO001",
    "OPT001",
    "EVA001",
    "LOS003",
    "PAI003",
    "NEG003",
    "LOS004",
    "NEG005",
    "NUM004",
    "OPT014",
    "LOS006",
    "LOS008",
    "MOD004",
    "OPT006",
    "OPT007",
    "OPT009",
    "EVA004",
    *KNOCK_INS,
}
SOMETIMES = {
    "LOS004",
    "LOS009",
    "LOS010",
    "NEG005",
    "PAI005",
    "EVA004",
    "TEA002",
}  # on some kinds of loss or metric only
TROUBLE = (Outcome.ISSUE, Outcome.WATCH)
FACTS = {
    "DAT004",
    "NEG001",
    "LOS001",
    "NUM001",
    "DAT008",
    "PAI001",
    "PAI002",
    "PAI003",
    "PAI004",
    "PAI005",
    "NEG003",
    "LOS004",
    "LOS005",
    "LOS006",
    "LOS007",
    "LOS008",
    "OPT004",
    "OPT005",
    "OPT006",
    "OPT011",
    "OPT012",
    "NUM002",
    "EVA004",
    "EVA007",
    "MOD010",
    "MOD013",
    "NEG007",
    "NEG008",
    "DAT010",
    "DAT011",
    "DAT012",
    "TEA002",
    "EVA008",
    "EVA006",
    "GEO003",
    "MOD005",
    "DAT009",
}
"""Exact, or an experiment: these convict."""


def look(code: str, case: Run):
    [check] = select((code,))
    return examine(check, case)


def test_every_check_has_a_sick_and_a_healthy_case():
    assert set(SICK) == set(HEALTHY) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_check_fires_on_its_sick_case(code):
    finding = look(code, SICK[code])
    assert finding.outcome is (Outcome.ISSUE if code in FACTS else Outcome.WATCH), finding.symptom
    assert finding.prescription
    assert finding.confirmed is None
    assert (finding.effect is not None) == code.startswith(KNOCK_INS)


@pytest.mark.parametrize("case", CODES)
@pytest.mark.parametrize("code", CODES)
def test_a_check_is_silent_on_every_healthy_case(code, case):
    finding = look(code, HEALTHY[case])
    assert finding.outcome is Outcome.CLEAR or code in SOMETIMES, finding.symptom
    assert finding.outcome not in TROUBLE


@pytest.mark.parametrize("code", CODES)
def test_the_prescription_is_a_valid_patch_of_the_recipe_that_changes_it(code):
    for cure in look(code, SICK[code]).prescription:
        if cure.change:
            assert patch(SICK[code].recipe, cure.change) != SICK[code].recipe


@pytest.mark.parametrize("code", CODES)
def test_a_finding_survives_the_round_trip_to_json(code):
    for case in (SICK[code], HEALTHY[code], Run()):
        table = look(code, case).to_dict()
        assert json.loads(json.dumps(table, allow_nan=False)) == table


@pytest.mark.parametrize("code", CODES)
def test_a_statistic_is_on_the_side_of_its_limit_that_the_outcome_says(code):
    sick, healthy = look(code, SICK[code]).statistic, look(code, HEALTHY[code]).statistic
    below = code in BELOW
    assert (sick.value < sick.limit) if below else (sick.value > sick.limit)
    if code not in {
        "DAT003",
        "DAT006",
        "LOS002",
        "LOS003",
        "GEO002",
        "GEO003",
        "PAI007",
        "OPT013",
        "PAI001",
        "DAT009",
        "DAT010",
        "DAT012",
        "TEA002",
        "PAI002",
    }:  # these look at a second reading, too
        assert (healthy.value >= healthy.limit) if below else (healthy.value <= healthy.limit)


@pytest.mark.parametrize("code", CODES)
def test_an_empty_run_gives_a_reason_instead_of_a_finding(code):
    finding = look(code, Run())
    assert finding.outcome is Outcome.NOT_APPLICABLE
    assert "this run has no '" in finding.symptom


def test_a_threshold_is_a_field_that_can_be_moved():
    [check] = select(("DAT001",))
    strict = dataclasses.replace(check, share=0.01)
    assert examine(strict, HEALTHY["DAT001"]).outcome is Outcome.WATCH
    assert "1%" in strict.page


@pytest.mark.parametrize(
    ("temperature", "outcome"), [(0.15, Outcome.CLEAR), (0.2, Outcome.WATCH), (0.4, Outcome.ISSUE)]
)
def test_an_unreachable_loss_is_graded_by_its_floor(temperature, outcome):
    facts = {
        "loss.floor": infonce_floor(256, temperature),
        "loss.chance": infonce_chance(256),
        "chosen.candidates": 256,
    }
    assert look("LOS001", run(facts)).outcome is outcome


@pytest.mark.parametrize("margin", [0.0, 0.2])
@pytest.mark.parametrize("known", [True, False])
def test_the_prescribed_temperature_makes_the_loss_reachable(margin, known):
    facts = {
        "loss.floor": infonce_floor(256, 1.0, margin=margin),
        "loss.chance": infonce_chance(256),
        "chosen.margin": margin,
        "chosen.candidates": 256 if known else None,
    }
    [cure] = look("LOS001", run(facts)).prescription
    temperature = cure.change["loss.temperature"]
    assert infonce_floor(256, temperature, margin=margin) <= 0.05 * infonce_chance(256)
    assert infonce_floor(256, temperature * 1.02, margin=margin) > 0.05 * infonce_chance(256)


def test_a_ranking_loss_may_have_a_high_floor():
    assert look("LOS001", run({"chosen.loss": "cosent", "loss.floor": 4.2})).outcome is Outcome.NOT_APPLICABLE


def test_a_loss_at_log_two_or_at_the_margin_is_pinned_only_if_the_embeddings_collapsed():
    for level, facts in ((math.log(2), {}), (0.3, {"chosen.margin": 0.3})):
        readings = {"loss": [2.0] * 10 + [level * 1.005, level] * 15}
        assert look("LOS003", run(facts, {**COLLAPSED, **readings})).outcome is Outcome.WATCH
        assert look("LOS003", run(facts, readings)).outcome is Outcome.CLEAR


def test_no_gradient_and_no_step_are_facts():
    assert look("OPT001", run(readings={"update_ratio": 0.0})).outcome is Outcome.ISSUE
    finding = look("OPT001", run(readings={"gradient_norm": 0.0, "update_ratio": 1e-4}))
    assert finding.outcome is Outcome.ISSUE
    assert finding.symptom == "no gradient ever reached the weights"


def test_rows_in_order_are_watched_when_nobody_knows_of_shuffling():
    finding = look("DAT003", run({"train.shuffled": None}))
    assert finding.outcome is Outcome.WATCH
    assert "not known" in finding.symptom


def test_training_that_stopped_on_a_non_finite_loss_is_known_from_its_last_word():
    assert look("NUM001", run({"train.stopped": "non-finite loss"})).outcome is Outcome.ISSUE


def test_large_steps_without_a_rising_loss_are_no_explosion():
    assert look("OPT002", run(readings={"update_ratio": 0.3})).outcome is Outcome.CLEAR


def test_a_falling_metric_with_a_rising_loss_is_no_overfitting():
    dev = [0.02, 0.5, 0.7, 0.8, 0.82, 0.6, 0.5, 0.4, 0.3, 0.2]
    readings = {"dev/accuracy@1": dev, "loss": [2.0] * 18 + [4.0] * 22}
    assert look("EVA002", run(readings=readings)).outcome is Outcome.CLEAR


def test_a_longer_training_is_prescribed_in_the_unit_of_the_recipe():
    rising = {"dev/accuracy@1": [k / 20 for k in range(10)]}
    [cure] = look("OPT003", run(readings=rising, change={"optim.length": "3 epochs"})).prescription
    assert cure.change == {"optim.length": "6 epochs"}
    [cure] = look("OPT003", run(readings=rising)).prescription
    assert cure.change == {"optim.length": "800 steps"}


def test_a_held_out_set_too_large_for_the_data_is_not_prescribed():
    [cure] = look("EVA003", run({"data.rows": 300}, evaluation=dict(SICK["EVA003"].evaluation))).prescription
    assert cure.change == {}
    [cure] = look("EVA003", SICK["EVA003"]).prescription
    assert cure.change == {"data.dev": 0.02}


def test_a_model_as_good_with_constant_inputs_is_worth_a_look_and_one_that_hardly_learns_is_not_compared():
    finding = look("MOD013", run({"constant.query": 1.25}))
    assert finding.outcome is Outcome.WATCH
    assert "the same query in every row" in finding.symptom
    assert look("MOD013", run({"constant.start": 1.3, "constant.query": 1.2})).outcome is Outcome.CLEAR


def test_an_embedding_that_changes_with_its_place_alone_is_told_from_one_that_changes_with_its_batch():
    assert "place" in look("MOD002", run({"mode.place_dependence": 0.4})).symptom
    assert "with its batch" in look("MOD002", run({"mode.batch_dependence": 0.4, "mode.place_dependence": 0.4})).symptom


def test_of_towers_that_give_one_embedding_nothing_is_said_about_negatives():
    blind = run({"trace.negatives": 0.0, "start.query_alike": 1.0})
    assert look("NEG003", blind).outcome is Outcome.NOT_APPLICABLE


def test_popularity_is_no_fault_of_a_model_that_learned_little_or_that_follows_it_already():
    sick = {"popularity.before": 0.4, "popularity.after": 0.6, "popularity.z": 6.0, "popularity.correlation": -0.5}
    assert look("NEG007", run({**sick, "popularity.correlation": 0.6})).outcome is Outcome.CLEAR
    little = {"popularity.before": 0.02, "popularity.after": 0.05}
    assert look("NEG007", run({**sick, **little})).outcome is Outcome.NOT_APPLICABLE
    assert look("NEG007", run({**sick, "popularity.after": 0.48})).outcome is Outcome.WATCH


def test_hubs_that_even_directions_have_too_are_none():
    sick = {"hubs.after": 0.5, "hubs.z": 9.0, "hubs.skewness": 6.0}
    assert look("GEO004", run({**sick, "hubs.isotropic": 5.0})).outcome is Outcome.CLEAR


def test_a_teacher_that_fills_few_directions_is_at_fault_if_held_out_rows_are_found_worse():
    few = {"demand.trained_documents": False, "start.document_rank": 0.03, "demand.real": 4.4}
    assert look("TEA002", run({**few, "experiment.reference": 0.7})).outcome is Outcome.ISSUE
    assert look("TEA002", run(few)).outcome is Outcome.CLEAR  # as many directions as there are classes
    assert look("TEA002", run({**few, "evaluation.kind": "share"})).outcome is Outcome.WATCH
    assert look("TEA002", run()).outcome is Outcome.NOT_APPLICABLE


def test_of_noise_it_is_the_teacher_that_is_blamed_and_not_the_pairs():
    sick = dict(SICK["PAI005"].facts)
    assert look("PAI005", run(sick)).outcome is Outcome.ISSUE
    noise = {**sick, "demand.trained_documents": False, "start.document_rank": 0.98}
    assert look("PAI005", run(noise)).outcome is Outcome.NOT_APPLICABLE
    assert look("TEA002", run(noise)).outcome is Outcome.ISSUE


def test_a_metric_that_falls_with_a_rising_loss_is_no_overfitting_and_one_that_never_rose_is():
    course = SICK["EVA008"].facts["experiment.course"]
    rising = run({"experiment.course": course}, {"loss": [2.0] * 20 + [2.0 + 0.1 * k for k in range(20)]})
    assert look("EVA008", rising).outcome is Outcome.CLEAR
    slight = run({"experiment.course": [[0, 0.02], [100, 0.6], [400, 0.5]]})
    assert look("EVA008", slight).outcome is Outcome.WATCH
    never = {"experiment.course": [[0, 0.02], [200, 0.04], [400, 0.03]], "experiment.author_probe": 0.05}
    assert look("EVA008", run(never)).outcome is Outcome.ISSUE
    assert look("EVA008", run({**never, "experiment.author_probe": 0.9})).outcome is Outcome.CLEAR  # the metric is odd
    assert look("EVA008", run({**never, "overfit.train": 0.3})).outcome is Outcome.CLEAR  # nothing is learned


def test_a_loud_column_is_only_worth_a_look_until_it_was_tried():
    loud = {"inputs.loudest": 0.9, "scaled.raw": None, "scaled.standard": None}
    assert look("DAT010", run(loud)).outcome is Outcome.WATCH


def test_repeated_rows_that_are_not_known_by_heart_are_only_worth_a_look():
    assert look("DAT011", run({"rows.pairs": 60})).outcome is Outcome.WATCH
