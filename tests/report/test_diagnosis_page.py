"""The page of a diagnosis: what it draws, what it says of rivals and of what is not known, and that it is one file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from example_run import HOSTILE, example_run, hostile_run

from embedfit.doctor import Diagnosis, Effect, Outcome, diagnose
from embedfit.doctor.alarms import Alarms
from embedfit.report.diagnosis import render_diagnosis
from embedfit.report.evidence import forest, rivals
from embedfit.run import History, Run

EFFECTS = {"LOS001": (-0.31, -0.38, -0.24), "OPT010": (0.02, -0.04, 0.08), "DAT007": (-0.14, -0.22, -0.06)}


def tried(effects: dict[str, tuple[float, float, float]] = EFFECTS) -> Diagnosis:
    """A diagnosis in which some parts were exchanged."""
    run = example_run()
    found = diagnose(replace(run, facts={**run.facts, "metric.chance": 0.013, "metric.chance_error": 0.004}))
    findings = []
    for f in found.findings:
        if f.code in effects:
            relative, low, high = effects[f.code]
            outcome = Outcome.ISSUE if relative < -0.25 else Outcome.WATCH if relative < -0.1 else Outcome.CLEAR
            effect = Effect(relative=relative, low=low, high=high)
            f = replace(f, effect=effect, outcome=outcome, confirmed=relative < -0.1)
        findings.append(f)
    return replace(found, findings=tuple(sorted(findings, key=lambda f: f.outcome.badness)), verdict="ill")


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


def test_the_page_is_one_small_file_that_asks_for_nothing_and_holds_the_diagnosis() -> None:
    page = render_diagnosis(tried())
    assert len(page) < 500_000
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "{%" not in page
    kept = json.loads(page.split('id="diagnosis">')[1].split("</script>")[0])
    assert kept["verdict"] == "ill"
    assert len(kept["findings"]) == len(tried().findings)


def test_every_effect_is_drawn_with_its_interval_the_dearest_first_over_both_bands() -> None:
    drawn = str(forest(tried().findings))
    names = re.findall(r">([A-Z]{3}\d{3}) [a-z-]+</text>", drawn)
    assert names == ["LOS001", "DAT007", "OPT010"]
    assert "-31% (-38% to -24%)" in drawn
    assert drawn.count("<circle") == drawn.count("whisker") == 3
    assert 'class="band breaks"' in drawn
    assert 'class="band slows"' in drawn
    whisker = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"[^>]*whisker', drawn)
    assert all(float(a) < float(b) for a, b in whisker)


def test_without_an_experiment_there_is_no_forest_and_no_empty_section() -> None:
    page = render_diagnosis(diagnose(example_run()))
    assert forest(diagnose(example_run()).findings) is None
    assert 'id="effects"' not in page
    assert 'id="rivals"' not in page


def test_an_effect_beyond_everything_stays_in_the_picture() -> None:
    drawn = str(forest(tried({"LOS001": (-0.99, -2.5, 0.52)}).findings))
    ends = [float(x) for pair in re.findall(r'<line x1="([-\d.]+)" x2="([-\d.]+)"[^>]*whisker', drawn) for x in pair]
    assert min(ends) >= 0
    assert max(ends) <= 420


def test_rivals_are_named_with_what_excluded_them_and_not_called_fine() -> None:
    found = tried()
    [rival] = rivals(found.findings)
    assert (rival.finding.code, rival.why) == ("OPT010", "its exchange changes the metric by +2% (-4% to +8%)")
    page = render_diagnosis(found)
    assert "OPT010" in section(page, "rivals")
    assert "OPT010" not in section(page, "fine")


def test_floor_and_chance_are_drawn_into_the_curves() -> None:
    curves = section(render_diagnosis(tried()), "course")
    for words in ("chance 0.01", "lexical 0.81", "chance 4.34", "floor 0.0", "Learning rate"):
        assert words in curves


def test_the_course_of_an_experiment_is_drawn_beside_the_reference() -> None:
    log = History()
    for step in range(1, 61):
        log.add(step, {"loss": 3.0 - step / 60, "learning_rate": 1e-3})
    facts = {"experiment.course": [[0, 0.05], [30, 0.4], [60, 0.6]], "experiment.reference": 0.9,
             "experiment.chance": 0.02, "loss.floor": 0.1, "loss.chance": 3.4}  # fmt: skip
    curves = section(render_diagnosis(diagnose(Run(facts=facts, history=log))), "course")
    for words in ("this program", "reference 0.90", "chance 0.02", "chance 3.40", "floor 0.10"):
        assert words in curves


def test_worst_pairs_are_there_as_text_and_what_is_not_known_with_its_reason() -> None:
    page = render_diagnosis(tried())
    assert "rank" in section(page, "pairs")
    unknown = section(page, "unknown")
    assert "this run has no" in unknown
    assert "PAI001" in unknown


def test_without_evidence_the_page_says_what_it_can() -> None:
    page = render_diagnosis(replace(tried(), evidence=None))
    assert 'id="course"' not in page
    assert "unreachable-loss" in page


def test_texts_of_users_are_no_markup() -> None:
    page = render_diagnosis(diagnose(hostile_run()))
    assert HOSTILE not in page.split('<script type="application/json"')[0]
    assert "<script>alert" not in page


def test_a_false_alarm_rate_is_told_with_its_interval_and_never_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"healthy": 200, "asked": ["LOS001", "OPT010"], "false": {"LOS001": 3}}
    assert "was not measured" in section(render_diagnosis(tried()), "fine") or "healthy programs" in section(
        render_diagnosis(tried()), "fine"
    )
    monkeypatch.setattr("embedfit.doctor.alarms._measured", lambda: measured)
    page = render_diagnosis(tried())
    assert "1.5% (0.5% to 4.3%): 3 of 200 healthy programs" in section(page, "findings")
    assert str(Alarms(false=0, healthy=200)).startswith("0.0% (0.0% to 1.9%)")
    assert "not measured" in section(page, "fine")
