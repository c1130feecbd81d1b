"""How answers of the fault benchmark are judged, and a small form of the whole."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from benchmarks.faults import __main__ as benchmark
from benchmarks.faults.answers import Answer, ask
from benchmarks.faults.baselines import rules
from benchmarks.faults.cases import Case, Truth
from benchmarks.faults.harm import Outcome, counts, drop, kept, measure
from benchmarks.faults.score import Share, f1, frequent, judge
from benchmarks.faults.table import Row, markdown

LOSS, RATE = Truth(("loss", "negatives"), "no negatives"), Truth(("optimiser",), "weight decay")


def outcome(metric: float, losses: list[float] | None = None) -> Outcome:
    return Outcome(metric=metric, first=0.1, seconds=2.0, losses=losses or [2.0, 1.0, 0.5])


def answer(*named: tuple[str, str], issues: int | None = None, verdict: str = "ill") -> Answer:
    return Answer(verdict=verdict, named=list(named), issues=len(named) if issues is None else issues)


def test_the_component_named_first_counts_and_the_cause_within_three() -> None:
    right = judge([LOSS], answer(("negatives", "NEG003"), ("data", "DAT001")))
    assert (right.top, right.cause, right.alarm, right.wrong) == (True, True, True, 1)
    late = judge([LOSS], answer(("data", "DAT001"), ("data", "DAT002"), ("order", "DAT003"), ("loss", "NEG003")))
    assert (late.top, late.cause, late.right) == (False, False, 1)


def test_a_watch_counts_where_there_is_no_issue_and_the_verdict_is_not_healthy() -> None:
    open_question = answer(("loss", "NEG003"), issues=0, verdict="cannot-tell")
    assert judge([LOSS], open_question).top
    assert not judge([], open_question).alarm
    passed_over = judge([LOSS], answer(("loss", "NEG003"), issues=0, verdict="healthy"))
    assert not passed_over.top
    assert not passed_over.cause


def test_every_issue_on_a_healthy_program_is_a_false_alarm() -> None:
    assert judge([], answer(("loss", "LOS001"), verdict="cannot-tell")).alarm
    assert judge([], answer(verdict="ill")).alarm
    assert not judge([], answer(verdict="healthy")).alarm


def test_f1_over_pairs_counts_what_was_missed_and_what_was_invented() -> None:
    both = judge([LOSS, RATE], answer(("loss", "NEG003"), ("optimiser", "OPT008")))
    half = judge([LOSS, RATE], answer(("loss", "NEG003"), ("teacher", "TEA001")))
    assert f1([both]) == 1.0
    assert f1([both, half]) == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert f1([judge([LOSS, RATE], answer(verdict="healthy"))]) == 0.0


def test_a_share_is_printed_with_its_wilson_interval() -> None:
    assert str(Share(0, 50)) == "0.0% (0.0% to 7.1%, 0 of 50)"
    assert str(Share(0, 0)) == "none"


def test_a_fault_counts_only_if_it_costs_a_tenth() -> None:
    case = Case(world="faq/demo", faults=(("dropout", 1),))
    table = {case.key: outcome(0.46), case.healthy.key: outcome(0.5)}
    assert drop(case, table) == pytest.approx(0.08)
    assert counts(case, table) is False
    assert counts(case, table | {case.key: outcome(0.44)}) is True
    assert counts(case, {}) is None


def test_an_oddity_counts_only_if_it_does_no_harm_unless_its_data_are_harder() -> None:
    odd = Case(world="faq/demo", fine="rate doubled")
    table = {odd.key: outcome(0.4), odd.healthy.key: outcome(0.5)}
    assert counts(odd, table) is False
    assert counts(odd, table | {odd.key: outcome(0.49)}) is True
    hard = Case(world="faq/demo", fine="hard but honest")
    assert counts(hard, table | {hard.key: outcome(0.1)}) is True
    assert counts(hard, table) is None


def test_a_pair_counts_only_if_each_of_its_faults_hurts_alone() -> None:
    pair = Case(world="faq/demo", faults=(("dropout", 1), ("sorted rows", 1)))
    table = {pair.key: outcome(0.1), pair.healthy.key: outcome(0.5)}
    assert counts(pair, table) is None
    table |= {one.key: outcome(0.2) for one in pair.alone}
    assert counts(pair, table) is True
    assert counts(pair, table | {pair.alone[0].key: outcome(0.5)}) is False


def test_the_rules_read_a_loss_curve() -> None:
    assert rules(outcome(0.5, [4.0, 2.0, 1.0, 0.9, 0.9])) == []
    assert rules(outcome(0.5, [4.0, 9.0, 30.0, 40.0]))[0] == ("optimiser", "schedule")
    assert rules(outcome(0.5, [4.0, float("nan"), float("nan")]))[0] == ("optimiser",)
    assert rules(outcome(0.5, [0.0, 0.0, 0.0]))[0] == ("negatives", "loss")


def test_the_most_frequent_answers_are_those_of_the_cases() -> None:
    cases = [Case(world="w", faults=(("dropout", 0),)), Case(world="w", faults=(("noise on the embeddings", 0),))]
    assert frequent(cases, 1) == (["regularisation"], ["dropout"])


def test_outcomes_are_kept_and_not_measured_twice(tmp_path: Path) -> None:
    path, case = tmp_path / "harm.json", Case(world="vectors/digits", fine="nothing changed")
    mine = {case.key: outcome(0.9), case.healthy.key: outcome(0.9)}
    path.write_text("{}", "utf-8")
    assert kept(path) == {}
    assert measure([case], minutes=0.0, path=path) == {}
    from benchmarks.faults.harm import _write

    _write(mine, path)
    assert measure([case], path=path) == mine


def test_the_table_shows_shares_costs_rivals_and_what_was_wrong() -> None:
    sick = Case(world="faq/demo", faults=(("no negatives", 2),))
    well = Case(world="faq/demo", fine="rate doubled")
    outcomes = {sick.key: outcome(0.1), sick.healthy.key: outcome(0.5), well.key: outcome(0.5)}
    others = {"torchmortem": [["loss"]]}
    rows = [
        Row(case=sick, answer=dataclasses.replace(answer(("loss", "NEG003")), seconds=3.0, cured=0.45), others=others),
        Row(case=well, answer=answer(("data", "DAT001")), others=others),
    ]
    text = markdown(rows, outcomes, "make bench-faults", 2)
    assert "| embedfit | 100.0% (20.7% to 100.0%, 1 of 1) | 100.0%" in text
    assert "| torchmortem | 100.0% (20.7% to 100.0%, 1 of 1) |" in text
    assert "the gap closed by at least 80%: 100.0%" in text
    assert "- faq/demo | rate doubled | 0 (costs 0%): nothing wanted; ill, data DAT001" in text


def test_a_doctor_that_breaks_is_counted_and_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(build: object, budget: object) -> None:
        raise ValueError("no pulse")

    monkeypatch.setattr("benchmarks.faults.answers.investigate", broken)
    found = ask(Case(world="vectors/digits"), "1s")
    assert found.verdict == "failed"
    assert found.why.startswith("ValueError: no pulse (test_faults_scores.py:")


@pytest.mark.slow
def test_the_small_form_prints_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", "--quick", "--budget", "20s"])
    benchmark.main()
    said = capsys.readouterr().out
    assert "| embedfit |" in said
    assert "vectors/digits" in said
