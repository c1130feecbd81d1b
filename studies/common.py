"""What the studies share: one run with its curve, intervals over seeds, and tables on disk."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from benchmarks.datasets import CELLS
from scipy.stats import t as student

import embedfit as ef
from embedfit.engine.fit import fit, prepare
from embedfit.errors import NonFiniteLossError
from embedfit.evaluate.tasks import without_label_texts
from embedfit.judging import Rows, lighter, quick_keys, readings
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch
from embedfit.team import ALONE
from embedfit.towers import TwoTower

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run.

    Attributes:
        best: best held-out metric; 0 where the loss was no number.
        last: held-out metric at the end.
        curve: (step, held-out metric).
        loss: mean of the last tenth of the steps.
        readings: the last reading of each probe.
        facts: of the run.
        seconds: of training.
    """

    best: float
    last: float
    curve: tuple[tuple[int, float], ...]
    loss: float
    readings: Mapping[str, float]
    facts: Mapping[str, Any]
    seconds: float

    def steps_to(self, target: float) -> float:
        """Steps until the held-out metric first reached a target; infinite where it never did."""
        return next((float(step) for step, value in self.curve if value >= target), float("inf"))


def rows_of(name: str, seed: int) -> Rows:
    """Training and held-out rows of a data set by its name; "demo" is the embedded one."""
    if name == "demo":
        train, dev = ef.split(ef.read(ef.demo() / "questions.csv"), dev=0.2, seed=seed)
    else:
        train, held_out, test = next(cell for cell in CELLS if cell.name == name).load(seed)
        dev = test if held_out is None else held_out
    return Rows(train=without_label_texts(train), dev=without_label_texts(dev))


def part(rows: Rows, count: int, seed: int) -> Rows:
    """About so many training rows, those of one query together."""
    if count >= len(rows.train):
        return rows
    return replace(rows, train=ef.split(rows.train, dev=count, seed=seed)[1])


def run(rows: Rows, settings: Mapping[str, Any], *, seed: int, threads: int = 1) -> Outcome:
    """Train once and watch."""
    recipe = patch(Recipe(), {"run.threads": threads, "optim.seed": seed, **settings})
    setup, dev = prepare(rows.train, recipe), rows.dev
    assert isinstance(dev, Pairs)
    light, quick = lighter(dev, seed=seed), quick_keys(setup.objective.model, rows.train)
    curve: list[tuple[int, float]] = []
    losses: list[float] = []
    seen: dict[str, float] = {}

    def measure(model: TwoTower) -> Mapping[str, float]:
        return readings(model, light, rows.train, quick, ALONE)

    def progress(step: int, steps: int, found: Mapping[str, float]) -> None:
        seen.update(found)
        if "loss" in found:
            losses.append(found["loss"])
        curve.extend((step, value) for name, value in list(found.items())[:1] if name.startswith("dev/"))

    began = time.perf_counter()
    try:
        with TemporaryDirectory() as folder:
            facts = fit(setup, folder=Path(folder), measure=measure, progress=progress, held_out="dev").facts
    except NonFiniteLossError as error:
        return Outcome(best=0.0, last=0.0, curve=tuple(curve), loss=float("nan"), readings=seen,
                       facts={"train.stopped": error.message}, seconds=time.perf_counter() - began)  # fmt: skip
    tail = losses[-max(1, len(losses) // 10) :]
    return Outcome(
        best=max(value for _, value in curve),
        last=curve[-1][1],
        curve=tuple(curve),
        loss=sum(tail) / len(tail),
        readings=seen,
        facts=facts,
        seconds=time.perf_counter() - began,
    )


def interval(values: Sequence[float]) -> str:
    """Mean and half of its 95 % interval (Student's t) over seeds."""
    found = np.asarray(values, float)
    if len(found) < 2:
        return f"{found.mean():.3f}"
    half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
    return f"{found.mean():.3f} +- {half:.3f}"


def table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    out = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*out, *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def verdicts(found: Mapping[str, tuple[str, str]]) -> str:
    """Claim to (reproduced | refined | refuted | not decided, why)."""
    return table(["claim", "verdict", "why"], [(claim, *why) for claim, why in found.items()])


def keep(name: str, rows: Sequence[Mapping[str, Any]], text: str, arguments: argparse.Namespace) -> None:
    """Write a study's figures and its page; the quick form only prints."""
    print(text)
    if arguments.quick:
        print("\nThis was the quick form: that it runs, and no verdict.")
        return
    RESULTS.mkdir(exist_ok=True)
    asked = {"data": arguments.data, "seeds": arguments.seeds, "threads": torch.get_num_threads()}
    record = {"asked": asked, "rows": list(rows)}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(text + "\n", "utf-8")


def arguments(doc: str | None, *, data: Sequence[str], seeds: int) -> argparse.Namespace:
    """What every study can be asked."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", default=list(data), help="data sets, by the names of the quality table")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--quick", action="store_true", help="one seed and few steps on the embedded data, to try it")
    asked = parser.parse_args()
    if asked.quick:
        asked.data, asked.seeds = ["demo"], 1
    return asked
