from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.speed import measure
from benchmarks.speed.child import Clock
from benchmarks.speed.measure import Call, Comparison, Options, Reading, compare, contest, run


def reading(wall: float = 1.0, *, cpu: float = 1.0, work: float = 1.0, **facts: object) -> Reading:
    return Reading(wall=wall, cpu=cpu, work=work, extra_mb=1.0, peak_mb=1.0, facts=facts)


def test_contestants_take_turns_and_the_order_is_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []

    def play(call: Call) -> Reading:
        played.append(call.target)
        return reading(len(played))

    monkeypatch.setattr(measure, "run", play)
    calls = {n: Call(target=n, arguments={}, threads=1) for n in ("a", "b")}
    found = contest(calls, Options(rounds=3, threads=1))
    assert played == ["a", "b", "b", "a", "a", "b"]
    assert [r.wall for r in found["a"]] == [1, 4, 5]


def test_the_ratio_is_that_of_the_medians_and_the_spread_that_of_the_rounds() -> None:
    line = Comparison(
        row="r", what="w", unit="s", ours=[1.0, 2.0, 9.0], theirs=[4.0, 4.0, 3.0], wanted=0.5, least=False
    )
    assert line.ratio() == 0.5
    assert line.spread() == (0.25, 3.0)
    assert line.met() is True


@pytest.mark.parametrize(
    ("least", "absolute", "met"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_target_bounds_the_ratio_from_below_or_above_or_our_own_value(
    *, least: bool, absolute: bool, met: bool
) -> None:
    line = Comparison(row="r", what="w", unit="s", ours=[2.0], theirs=[0.5], wanted=3.0, least=least, absolute=absolute)
    assert line.met() is met


def test_a_figure_without_a_competitor_has_no_ratio() -> None:
    line = Comparison(row="r", what="w", unit="s", ours=[2.0])
    assert (line.ratio(), line.spread(), line.met()) == (None, None, None)


def test_speed_is_work_by_time_in_wall_and_in_cpu_seconds() -> None:
    line = compare(
        "r", "w", [reading(2.0, cpu=4.0, work=100)], [reading(5.0, cpu=5.0, work=50)], against="x", unit="1/s"
    )
    assert line.ratio() == 5.0
    assert list(line.cpu) == [2.5]


def test_a_contestant_runs_in_its_own_process_and_tells_its_reading() -> None:
    sizes = {"queries": 20, "documents": 50, "dimension": 8}
    found = run(Call(target="search:faiss_flat", arguments=sizes, threads=1))
    assert found.work == 20
    assert found.wall > 0
    assert found.peak_mb > 20  # a Python with torch in it


def test_the_quick_form_runs_a_contestant_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "run", None)
    options = Options(rounds=1, threads=1, quick=True)
    assert options.play("search:ours", queries=20, documents=50, dimension=8).work == 20


def test_a_contestant_that_fails_is_quoted() -> None:
    with pytest.raises(RuntimeError, match=r"search:nobody ended with status 1(.|\n)*no attribute 'nobody'"):
        run(Call(target="search:nobody", arguments={}, threads=1))


def test_the_clock_stands_still_while_it_is_paused() -> None:
    clock = Clock()
    clock.start()
    clock.pause()
    time.sleep(0.2)
    clock.resume()
    assert clock.stop(1)["wall"] < 0.1


MEMORY = """
import json
import numpy as np
from benchmarks.speed.child import Clock

np.ones(40 << 20, dtype=np.int8).sum()
np.ones(200 << 20, dtype=np.int8).sum()
clock = Clock()
clock.start()
np.ones(60 << 20, dtype=np.int8).sum()
print(json.dumps(clock.stop(1, name="x")))
"""


def test_the_clock_sees_memory_that_was_taken_and_given_back_and_not_that_of_before() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        pytest.skip("this system does not set a process's peak memory back")
    # in a process of its own: this one may hold freed memory, which it would take again without growing
    said = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)
    assert 50 < found["extra_mb"] < 90
    assert found["peak_mb"] > found["extra_mb"] + 100
    assert found["facts"] == {"name": "x"}
