from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from cases import HEALTHY, SICK, run

from embedfit.doctor import CHECKS, Outcome, diagnose
from embedfit.doctor.check import COMPONENTS, Check, Finding
from embedfit.doctor.examine import examine
from embedfit.run import Run

LOSSES = [check.code for check in CHECKS if check.code.startswith("LOS") and check.code != "LOS010"]


@dataclass(frozen=True)
class Crashing(Check):
    code = "ZZZ999"
    name = "crashing-check"
    component = "mode"
    needs = ("loss",)

    def examine(self, run: Run) -> Finding:
        raise ZeroDivisionError("planted")


def test_a_crashing_check_becomes_a_finding():
    finding = examine(Crashing(), run())
    assert finding.outcome is Outcome.FAILED
    assert finding.symptom == "the check itself failed: ZeroDivisionError: planted"
    assert examine(Crashing(), Run()).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("code", list(SICK))
def test_every_check_appears_once_and_the_worst_first(code):
    findings = diagnose(SICK[code]).findings
    assert sorted(f.code for f in findings) == sorted(c.code for c in CHECKS)
    assert [f.outcome.badness for f in findings] == sorted(f.outcome.badness for f in findings)
    assert code in {f.code for f in findings if f.outcome in (Outcome.ISSUE, Outcome.WATCH)}


@pytest.mark.parametrize("code", list(HEALTHY))
def test_a_healthy_run_is_called_healthy(code):
    diagnosis = diagnose(HEALTHY[code])
    assert diagnosis.verdict == "healthy", str(diagnosis)
    assert not diagnosis.troubles


@pytest.mark.parametrize("code", ["DAT004", "NEG001", "LOS001", "NUM001"])
def test_a_fact_convicts(code):
    diagnosis = diagnose(SICK[code])
    assert diagnosis.verdict == "ill"
    assert diagnosis.why == diagnosis.findings[0].symptom
    assert diagnosis.findings[0].code == code


@pytest.mark.parametrize("code", ["LOS002", "GEO002", "OPT001", "EVA001", "DAT003"])
def test_a_reading_alone_leaves_the_verdict_open(code):
    diagnosis = diagnose(SICK[code])
    assert diagnosis.verdict == "cannot-tell"
    assert "proves nothing" in diagnosis.why


@pytest.mark.parametrize("code", ["DAT001", "DAT005", "OPT003", "EVA002", "EVA003"])
def test_advice_does_not_put_a_good_result_in_doubt(code):
    diagnosis = diagnose(SICK[code])
    assert diagnosis.verdict == "healthy"
    assert diagnosis.findings[0].code == code


def test_without_a_held_out_metric_nothing_is_called_healthy():
    diagnosis = diagnose(Run())
    assert diagnosis.verdict == "cannot-tell"
    assert "no held-out metric" in diagnosis.why


def test_a_part_of_the_checks_leaves_the_others_skipped_and_the_verdict_open():
    diagnosis = diagnose(run({"trace.kind": "softmax"}), ["LOS", "GEO001"])
    assert [f.code for f in diagnosis.having(Outcome.CLEAR)] == [*LOSSES, "GEO001"]
    assert len(diagnosis.having(Outcome.SKIPPED, Outcome.NOT_APPLICABLE)) == len(CHECKS) - len(LOSSES) - 1
    assert diagnosis.verdict == "cannot-tell"
    assert diagnose(SICK["LOS001"], ["LOS"]).verdict == "ill"


def test_the_dictionary_has_the_published_schema():
    diagnosis = diagnose(SICK["LOS001"])
    table = diagnosis.to_dict()
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert list(table) == ["verdict", "why", "cost", "findings"]
    assert list(table["cost"]) == ["seconds", "steps"]
    outcomes = {"issue", "watch", "clear", "not-applicable", "skipped", "ignored", "failed"}
    assert {outcome.value for outcome in Outcome} == outcomes
    for finding in table["findings"]:
        assert list(finding) == [
            "code", "name", "outcome", "component", "symptom", "statistic", "effect", "confirmed", "prescription",
            "seconds",
        ]  # fmt: skip
        assert finding["outcome"] in outcomes
        assert finding["component"] in COMPONENTS
        if finding["statistic"] is not None:
            assert list(finding["statistic"]) == ["name", "value", "limit", "n"]
        for cure in finding["prescription"]:
            assert list(cure) == ["why", "change"]


def test_a_number_that_is_not_finite_is_null_in_json():
    diagnosis = diagnose(run({"data.leakage": float("inf")}))
    finding = next(f for f in diagnosis.to_dict()["findings"] if f["code"] == "DAT004")
    assert finding["statistic"]["value"] is None


def test_the_print_is_short_names_the_cause_first_and_says_what_to_do():
    lines = str(diagnose(SICK["LOS001"])).splitlines()
    assert lines[0].startswith("doctor: ILL - the loss cannot fall below")
    assert "issue    LOS001 unreachable-loss" in lines[1]
    assert "limit 0.05" in lines[2]
    assert lines[3].strip().startswith("do: loss.temperature = 0.")
    assert "no training steps" in lines[-1]


def test_the_print_stays_below_25_lines_when_everything_is_wrong():
    sick = Run(
        recipe=SICK["DAT004"].recipe,
        facts={k: v for case in SICK.values() for k, v in case.facts.items() if HEALTHY["DAT005"].facts.get(k) != v},
        history=SICK["LOS003"].history,
        evaluation=SICK["EVA001"].evaluation,
    )
    for case in (sick, run(), Run(), *SICK.values()):
        lines = str(diagnose(case)).splitlines()
        assert len(lines) <= 25
        assert max(map(len, lines)) <= 116


def test_examining_changes_nothing():
    case = SICK["OPT002"]
    before = {name: list(case.history[name]) for name in case.history}
    diagnose(case)
    assert {name: case.history[name] for name in case.history} == before
