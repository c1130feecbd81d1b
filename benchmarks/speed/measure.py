"""Contestants in processes of their own, taken in turns; what comes back, and how two of them compare.

Knows no torch: see the package.
"""

from __future__ import annotations

__all__ = ["Call", "Comparison", "Options", "Reading", "compare", "contest", "here", "run"]

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
MARK = "reading: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured.

    Attributes:
        rounds: how often each contestant runs.
        threads: of the contestants.
        quick: tiny sizes, which only prove that everything runs; all in this process, which saves the many imports.
    """

    rounds: int
    threads: int
    quick: bool = False

    def play(self, target: str, **arguments: Any) -> Reading:
        """Run a contestant that takes no turns with others."""
        return play(Call(target=target, arguments=arguments, threads=self.threads), self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One contestant: a function of this package and what it is called with.

    Attributes:
        target: `module:function` below `benchmarks.speed`.
        arguments: keyword arguments, plain values.
        threads: of torch, OpenMP, tokenizers and polars.
    """

    target: str
    arguments: Mapping[str, Any]
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one contestant said of one run.

    Attributes:
        wall: seconds of the timed part.
        cpu: seconds of all threads in the timed part.
        work: examples, queries or calls done in it.
        extra_mb: peak memory of the timed part beyond what the process held before.
        peak_mb: peak memory of the process.
        facts: what else is worth knowing.
    """

    wall: float
    cpu: float
    work: float
    extra_mb: float
    peak_mb: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def run(call: Call) -> Reading:
    """Run a contestant in a fresh process.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    threads = str(call.threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS")
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "benchmarks.speed.child", call.target, json.dumps(dict(call.arguments)), threads]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(names, threads), **quiet},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not said:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-20:])
        raise RuntimeError(f"{call.target} ended with status {done.returncode}:\n{tail}")
    return Reading(**json.loads(said[-1].removeprefix(MARK)))


def here(call: Call) -> Reading:
    """Run a contestant in this process."""
    from benchmarks.speed import child

    return Reading(**child.answer(call.target, json.dumps(dict(call.arguments)), call.threads))


def play(call: Call, options: Options) -> Reading:
    """Run a contestant, in a fresh process if its figures are to mean anything."""
    return here(call) if options.quick else run(call)


def contest(calls: Mapping[str, Call], options: Options) -> dict[str, list[Reading]]:
    """Readings of each contestant, one per round; the order is turned round in every other round.

    Whatever else the machine does, and its temperature, then falls on all alike.
    """
    readings: dict[str, list[Reading]] = {name: [] for name in calls}
    for number in range(options.rounds):
        for name in list(calls) if number % 2 == 0 else reversed(calls):
            readings[name].append(play(calls[name], options))
    return readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One line of the table.

    Attributes:
        row: name of the row it belongs to.
        what: what was measured.
        unit: of the values.
        ours: by round.
        theirs: by round; empty where a figure stands alone.
        against: whose values `theirs` are.
        wanted: bound of the ratio ours / theirs; of ours, if `absolute`; None: for information.
        least: the bound is a lower one.
        absolute: the bound is one of our value, not of the ratio.
        cpu: the same ratio in CPU seconds, by round; empty where it makes no sense.
        setting: model, data, sizes, threads.
    """

    row: str
    what: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    against: str = ""
    wanted: float | None = None
    least: bool = True
    absolute: bool = False
    cpu: Sequence[float] = ()
    setting: Mapping[str, Any] = field(default_factory=dict)

    def ratio(self) -> float | None:
        """Ratio of the medians, ours / theirs."""
        return median(self.ours) / median(self.theirs) if self.theirs else None

    def spread(self) -> tuple[float, float] | None:
        """Smallest and largest ratio of a round."""
        ratios = [a / b for a, b in zip(self.ours, self.theirs, strict=True)] if self.theirs else []
        return (min(ratios), max(ratios)) if ratios else None

    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        value = median(self.ours) if self.absolute else self.ratio()
        if self.wanted is None or value is None:
            return None
        return value >= self.wanted if self.least else value <= self.wanted


def compare(
    row: str, what: str, ours: Sequence[Reading], theirs: Sequence[Reading], *, against: str, **more: Any
) -> Comparison:
    """Work per second of two contestants; more is better."""
    cpu = [(a.work / a.cpu) / (b.work / b.cpu) for a, b in zip(ours, theirs, strict=True)]
    return Comparison(
        row=row,
        what=what,
        ours=[r.work / r.wall for r in ours],
        theirs=[r.work / r.wall for r in theirs],
        against=against,
        cpu=cpu,
        **more,
    )
