"""What the studies share: cells that are kept as they come, one run with its curve, intervals over seeds, tables."""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
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
FACTS = ("chosen.steps", "chosen.batch_size", "loss.chance", "loss.floor", "train.stopped", "train.returns")
READINGS = ("query/mean_direction", "query/effective_rank", "query/spread", "positive/mean", "negative/max")

Figures = Mapping[str, Any]
Judge = Callable[[TwoTower], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run.

    Attributes:
        best: best held-out metric; 0 where the loss was no number.
        last: held-out metric at the end.
        curve: (step, held-out metric).
        trace: (step, loss, norm of the mean unit embedding of queries), wherever both were read.
        loss: mean of the last tenth of the steps; None where it was no number.
        readings: the last reading of each of `READINGS`, and of every "dev/" metric.
        facts: of the run, `FACTS` of them.
        seconds: of training.
    """

    best: float
    last: float
    curve: Sequence[tuple[int, float]]
    trace: Sequence[tuple[int, float, float]]
    loss: float | None
    readings: Mapping[str, float]
    facts: Mapping[str, Any]
    seconds: float

    def steps_to(self, target: float) -> float:
        """Steps until the held-out metric first reached a target; infinite where it never did."""
        return next((float(step) for step, value in self.curve if value >= target), math.inf)


class Study:
    """A table of the claims: what it is asked for, and its cells, each kept on disk as soon as it is known.

    Args:
        name: of the files in `studies/results`.
        doc: the module's docstring.
        data: data sets, by the names of the quality table.
        seeds: how many.
    """

    def __init__(self, name: str, doc: str | None, *, data: Sequence[str] = (), seeds: int = 1) -> None:
        parser = argparse.ArgumentParser(description=(doc or "").split("\n", maxsplit=1)[0])
        parser.add_argument("--data", nargs="+", default=list(data), help="data sets, as the quality table names them")
        parser.add_argument("--seeds", type=int, default=seeds)
        parser.add_argument("--quick", action="store_true", help="one seed and few steps, to try it; nothing is kept")
        asked = parser.parse_args()
        self.name = name
        self.quick: bool = asked.quick
        self.data: list[str] = ["demo"] if asked.quick and data else asked.data
        self.seeds = range(1 if asked.quick else asked.seeds)
        self.path = RESULTS / f"{name}.json"
        self.cells: dict[str, Figures] = {} if asked.quick else self._kept()

    def _kept(self) -> dict[str, Figures]:
        kept = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else []
        return {_key(row["cell"]): row for row in kept}

    def cell(self, work: Callable[[], Figures], **cell: Any) -> Figures:
        """The figures of a cell: from disk where it has been run, else by running it.

        Args:
            work: measures it.
            cell: names everything the figures depend on.
        """
        key = _key(cell)
        if key not in self.cells:
            found = work()
            shown = {k: v for k, v in found.items() if isinstance(v, int | float | str)}
            print(json.dumps({**{k: v for k, v in cell.items() if k != "settings"}, **shown}), flush=True)
            self.cells[key] = {"cell": cell, "found": found}
            if not self.quick:
                RESULTS.mkdir(exist_ok=True)
                self.cells = {**self._kept(), **self.cells}  # another process may have run others meanwhile
                lines = ",\n".join(json.dumps(row) for row in self.cells.values())
                fresh = self.path.with_suffix(".new")  # killed while writing, nothing is lost
                fresh.write_text(f"[\n{lines}\n]\n", "utf-8")
                fresh.replace(self.path)
        return self.cells[key]["found"]

    def run(
        self,
        rows: Callable[[], Rows],
        settings: Mapping[str, Any],
        *,
        seed: int,
        judge: Judge | None = None,
        folder: str | None = None,
        **cell: Any,
    ) -> Outcome:
        """A cell that is one run, see `run`; of a pretrained encoder in a folder, wherever that lies."""

        def work() -> Figures:
            everything = settings if folder is None else {**settings, "model.kind": folder}
            return asdict(run(rows(), everything, seed=seed, judge=judge))

        found = self.cell(work, **cell, seed=seed, settings=dict(settings))
        return Outcome(**found)

    def write(self, text: str) -> None:
        """Print the page and keep it; the quick form only prints."""
        print(text)
        if self.quick:
            print("\nThis was the quick form: that it runs, and no verdict.")
            return
        said = f"`python -m studies.{self.name}`, {_counted(len(self.seeds))}"
        (RESULTS / f"{self.name}.md").write_text(f"{said}\n\n{text}\n", "utf-8")


def _counted(seeds: int) -> str:
    return "1 seed." if seeds == 1 else f"{seeds} seeds; intervals are of 95 % over them."


def _key(cell: Mapping[str, Any]) -> str:
    return json.dumps(cell, sort_keys=True)


@functools.lru_cache(maxsize=4)
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


def run(rows: Rows, settings: Mapping[str, Any], *, seed: int, judge: Judge | None = None) -> Outcome:
    """Train once and watch.

    Args:
        rows: to train on, and held out.
        settings: what differs from the default recipe.
        seed: of everything.
        judge: of the towers during training, in place of the usual metrics on the held-out rows; the first of its
            readings, whose names begin with "dev/", is the metric of the outcome.
    """
    recipe = patch(Recipe(), {"run.threads": 1, "optim.seed": seed, **settings})
    setup, dev = prepare(rows.train, recipe), rows.dev
    assert isinstance(dev, Pairs)
    light, quick = lighter(dev, seed=seed), quick_keys(setup.objective.model, rows.train)
    curve: list[tuple[int, float]] = []
    trace: list[tuple[int, float, float]] = []
    losses: list[float] = []
    seen: dict[str, float] = {}

    def measure(model: TwoTower) -> Mapping[str, float]:
        return judge(model) if judge else readings(model, light, rows.train, quick, ALONE)

    def progress(step: int, steps: int, found: Mapping[str, float]) -> None:
        del steps
        seen.update(found)
        if "loss" in found:
            losses.append(found["loss"])
            if "query/mean_direction" in found:
                trace.append((step, found["loss"], found["query/mean_direction"]))
        curve.extend((step, value) for name, value in list(found.items())[:1] if name.startswith("dev/"))

    began = time.perf_counter()
    facts: Mapping[str, Any]
    try:
        with TemporaryDirectory() as folder:
            facts = fit(setup, folder=Path(folder), measure=measure, progress=progress, held_out="dev").facts
        burst = False
    except NonFiniteLossError as error:
        facts, burst = {**setup.facts, "train.stopped": error.message}, True
    tail = losses[-max(1, len(losses) // 10) :]
    return Outcome(
        best=0.0 if burst else max(value for _, value in curve),
        last=0.0 if burst else curve[-1][1],
        curve=curve,
        trace=trace,
        loss=None if burst else sum(tail) / len(tail),
        readings={name: value for name, value in seen.items() if name in READINGS or name.startswith("dev/")},
        facts={name: facts[name] for name in FACTS if name in facts},
        seconds=time.perf_counter() - began,
    )


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean and half of its 95 % interval (Student's t) over seeds."""
    found = np.asarray(values, float)
    if len(found) < 2:
        return f"{found.mean():.{digits}f}"
    half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
    return f"{found.mean():.{digits}f} ± {half:.{digits}f}"


def lead(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """By how much one leads another, seed by seed: the mean, and half of its 95 % interval (infinite from one seed)."""
    found = np.asarray(one, float) - np.asarray(other, float)
    if len(found) < 2:
        return float(found.mean()), math.inf
    return float(found.mean()), float(student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5)


def table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    out = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*out, *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def verdicts(found: Mapping[str, tuple[str, str]]) -> str:
    """Claim to (reproduced | refined | refuted | open, why)."""
    return table(["claim", "verdict", "why"], [(claim, *why) for claim, why in found.items()])


def judged(one: Sequence[float], other: Sequence[float], *, claim: str = "leads") -> tuple[str, str]:
    """The verdict on "one leads other", from pairs of seeds: open where the interval of the difference holds 0."""
    mean, half = lead(one, other)
    said = f"{claim} by {mean:+.3f}" + ("" if math.isinf(half) else f" ± {half:.3f}")
    return ("open" if abs(mean) <= half else "reproduced" if mean > 0 else "refuted", said)
