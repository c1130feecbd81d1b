from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.speed import __main__ as command
from benchmarks.speed import audit, large, losses, measure, search, texts, time_to_quality, training
from benchmarks.speed.measure import Call, Comparison, Options, Reading
from benchmarks.speed.table import keep, machine, markdown

from embedfit.pairs import normalise

FULL = Options(rounds=2, threads=2)


class Stage:
    """Plays every contestant without running it: ours takes 1 s, any other 5 s."""

    def __init__(self, **facts: Any) -> None:
        self.calls: list[Call] = []
        self.facts = {"data": "none", "loss": 1.0, "answers": 1, "error": 1e-6, "overhead": 5.0, **facts}

    def __call__(self, call: Call) -> Reading:
        self.calls.append(call)
        slow = (
            1.0 if call.target.endswith(("ours:train", ":ours")) or call.arguments.get("contender") == "ours" else 5.0
        )
        work = call.arguments.get("batch_size", 1) * call.arguments.get("steps", 1)
        return Reading(wall=slow, cpu=slow, work=work, extra_mb=slow, peak_mb=slow, facts=self.facts)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(measure, "run", stage)
    yield stage
    for call in stage.calls:  # whatever was to be run is there
        name, _, function = call.target.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.speed.{name}"), function))


def test_minilm_is_compared_in_fp32_and_in_bf16_on_equal_terms(stage: Stage) -> None:
    lines = [line for line in training.minilm(FULL) if line.unit == "examples/s"]
    assert [(line.wanted, line.ratio()) for line in lines] == [(2.0, 5.0), (4.0, 5.0), (None, 5.0)]
    assert {(c.arguments["batch_size"], c.arguments["steps"], c.threads) for c in stage.calls} == {(64, 6, 2)}


def test_light_towers_have_one_thread_or_all_and_the_peer_gets_all_threads_beside(stage: Stage) -> None:
    found = training.light(FULL)
    lines = [line for line in found if line.unit == "examples/s"]
    assert [line.wanted for line in lines] == [8.0, None, None, 8.0, None]
    added = [line for line in found if line.unit == "%"]
    assert [(line.wanted, line.met()) for line in added] == [(15.0, True)] * 2
    static = [c for c in stage.calls if c.arguments["model"] == "static"]
    assert {(c.target, c.threads) for c in static} == {
        ("ours:train", 1), ("ours:overhead", 1), ("sbert:train", 1), ("sbert:train", 2),
    }  # fmt: skip


def test_the_loss_is_wanted_faster_and_smaller(stage: Stage) -> None:
    lines = losses.rows(FULL)
    targets = {(line.what, line.against): line.wanted for line in lines if line.wanted is not None}
    assert targets[("contrastive loss, n = 4,096", losses.TITLES["dense"])] == 0.6
    assert targets[("contrastive loss, n = 4,096: extra memory", losses.TITLES["dense"])] == pytest.approx(1 / 7)
    assert targets[("contrastive loss, n = 32,768", losses.TITLES["bare_products"])] == 1.15
    assert targets[("contrastive loss, n = 32,768: extra memory", "")] == pytest.approx(307.2)
    assert all(line.met() for line in lines if line.wanted == 0.6)


def test_the_audit_has_a_minute_and_four_gigabytes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"saw \[1, 1\] rows of 10000000"):
        audit.rows(FULL)
    monkeypatch.setattr(audit, "ROWS", 1)
    assert [(line.unit, line.wanted) for line in audit.rows(FULL)] == [("s", 60.0), ("s", None), ("MB", 4096.0)]


def test_our_time_to_their_quality_counts_against_the_best_of_their_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(call: Call) -> Reading:
        best = call.arguments.get("learning_rate") == 1e-4 and call.arguments["epochs"] == 1
        ours = call.target.endswith("ours")
        facts = {"curve": [(1.0, 0.5), (4.0, 0.9 if best or ours else 0.8)], "dev": 0.9 if best else 0.7, "final": 0.9}
        return Reading(wall=40.0 if best else 99.0, cpu=1, work=1, extra_mb=1, peak_mb=1, facts=facts)

    monkeypatch.setattr(measure, "run", play)
    lines = time_to_quality.rows(FULL)
    assert len(lines) == 2 * len(time_to_quality.DATA)
    assert [(line.ours, line.theirs, line.wanted) for line in lines[:2]] == [
        ([4.0], [40.0], 0.2),
        ([4.0], [40.0], None),
    ]


def test_contenders_that_compute_another_loss_are_refused() -> None:
    one, other = (Reading(wall=1, cpu=1, work=1, extra_mb=1, peak_mb=1, facts={"loss": v}) for v in (1.0, 1.01))
    with pytest.raises(RuntimeError, match="do not compute the same loss"):
        losses._check_agreement({"ours": [one], "dense": [other]})


def test_a_search_that_finds_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(range(100))

    def play(call: Call) -> Reading:
        return Reading(wall=1, cpu=1, work=1, extra_mb=1, peak_mb=1, facts={"answers": next(answers)})

    monkeypatch.setattr(measure, "run", play)
    with pytest.raises(RuntimeError, match="found different documents"):
        search.rows(FULL)


def test_search_finds_what_faiss_finds() -> None:
    sizes = {"queries": 40, "documents": 300, "dimension": 16}
    assert search.ours(**sizes)["facts"] == search.faiss_flat(**sizes)["facts"]


def test_the_audit_sees_every_generated_row(tmp_path: Path) -> None:
    path = str(tmp_path / "clicks.csv")
    audit.generate(path, 3_000)
    found = audit.look(path)
    assert found["work"] == 3_000
    assert 500 < found["facts"]["texts"] < 3_000


def test_no_text_stands_in_two_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBEDFIT_DATA", str(tmp_path / "absent"))
    pairs, source = texts.intent_pairs()
    every = [normalise(text) for pair in pairs for text in pair]
    assert source == texts.EMBEDDED
    assert len(every) == len(set(every)) > 100
    assert texts.intent_pairs(5)[0] == pairs[:5]


def test_long_rows_and_rows_of_what_does_not_exist_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        command.Row(name="a", measure=lambda _: []),
        command.Row(name="b", measure=lambda _: [], long=True),
        command.Row(name="c", measure=lambda _: [], exists=lambda: False),
    )
    monkeypatch.setattr(command, "ROWS", rows)
    assert [row.name for row in command.chosen(None)] == ["a"]
    assert [row.name for row in command.chosen(None, quick=True)] == ["a", "b"]
    assert [row.name for row in command.chosen(["b"])] == ["b"]


def test_time_to_quality_is_the_first_point_at_the_goal() -> None:
    curve = [(1.0, 0.2), (2.0, 0.6), (3.0, 0.5), (4.0, 0.7)]
    assert time_to_quality.first_at(curve, 0.6) == 2.0
    assert time_to_quality.first_at(curve, 0.8) is None


def test_a_row_that_is_measured_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    where, path = {"processor": "x"} | dict.fromkeys(machine(), "y"), tmp_path / "speed.json"
    first = [Comparison(row=row, what=row, unit="s", ours=[2.0], theirs=[4.0]) for row in ("b", "a")]
    keep(path, first, where, ["a", "b"])
    keep(path, [Comparison(row="b", what="new", unit="s", ours=[2.0])], where, ["a", "b"])
    table = path.with_suffix(".md").read_text("utf-8")
    assert table.index("| a | a | 2 s | 4 s | 0.50 (0.50 to 0.50) |") < table.index("| b | new | 2 s |")
    assert "| b | b |" not in table
    keep(path, first[:1], where | {"processor": "another"}, ["a", "b"])
    assert "| a | a |" not in path.with_suffix(".md").read_text("utf-8")


def test_the_table_says_what_was_wanted_and_whether_it_is_so() -> None:
    where = dict.fromkeys(machine(), "y")
    table = markdown(
        [
            Comparison(row="r", what="time", unit="s", ours=[70.0], wanted=60.0, least=False, absolute=True),
            Comparison(
                row="r", what="speed", unit="examples/s", ours=[3_000.0, 5_000.0], theirs=[1_000.0, 1_000.0],
                against="peer", wanted=2.0, cpu=[2.5, 3.5], setting={"batch_size": 64},
            ),
        ],
        where,
    )  # fmt: skip
    assert "| r | time | 70 s |  |  |  | <= 60 s | no |  |" in table
    assert (
        "| r | speed | 4,000 examples/s | 1,000 examples/s | 4.00 (3.00 to 5.00) | 3.00 | >= 2 | yes | peer |" in table
    )
    assert "- r, speed: batch size 64" in table


def test_the_large_batch_has_eight_gigabytes_and_no_text_twice(stage: Stage) -> None:
    stage.facts |= {"precision": "bfloat16"}
    lines = large.rows(FULL)
    assert [(line.unit, line.wanted, line.met()) for line in lines[:2]] == [("MB", 8192.0, True), ("s", None, None)]
    assert stage.calls[0].arguments["pairs"] == 32_768
    made, _ = large._pairs(32_768)
    assert len({text for pair in made for text in pair}) == 2 * 32_768
