"""Whether towers in bf16 learn as well as in fp32: a pretrained MiniLM on three data sets, seed by seed.

    python -m benchmarks.precision                    all cells; writes benchmarks/results/precision.{json,md}
    python -m benchmarks.precision --only hwu64 --seeds 1
    python -m benchmarks.precision --quick            two steps on few rows of the first cell, nothing kept

The two runs of a cell and seed differ in `run.precision` alone: same rows, order, dropout and learning rate. They are
measured in fp32. Each run is kept as it ends; what is there is not made again.
"""

from __future__ import annotations

__all__ = ["Difference", "difference", "markdown"]

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from scipy.stats import t as student

import embedfit as ef
from benchmarks.datasets import CELLS, Cell
from benchmarks.quality import minilm

RESULTS = Path(__file__).parent / "results"
NAMES = ("hwu64", "stackfaq", "stsb English")
PRECISIONS = ("fp32", "bf16")
SETTINGS = {"optim.length": "2 epochs", "optim.learning_rate": 1e-4, "run.evaluate_every": "1 epoch"}
QUICK = 48  # rows, about
MARGIN = 0.01  # a difference that nobody would give half of the speed for


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """bf16 less fp32, over seeds.

    Attributes:
        mean: of the differences.
        low: lower end of the 95 % interval by Student's t; -inf from one seed alone.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    def said(self) -> str:
        """In words: equal within the margin, different, or not known."""
        if self.low > -MARGIN and self.high < MARGIN:
            return f"equal within {MARGIN:g}"
        if self.high < 0 or self.low > 0:
            return "worse" if self.mean < 0 else "better"
        return "not told apart, and not known to be equal"


def difference(fp32: Sequence[float], bf16: Sequence[float]) -> Difference:
    """Of paired values."""
    found = [b - a for a, b in zip(fp32, bf16, strict=True)]
    if len(found) == 1:
        return Difference(mean=found[0], low=float("-inf"), high=float("inf"))
    half = float(student.ppf(0.975, len(found) - 1)) * stdev(found) / len(found) ** 0.5
    return Difference(mean=mean(found), low=mean(found) - half, high=mean(found) + half)


def run(cell: Cell, precision: str, seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Train and measure once."""
    train, dev, test = cell.load(seed)
    settings = dict(SETTINGS)
    if quick:
        train, dev, test = (
            rows and rows.take(list(range(0, len(rows), max(1, len(rows) // QUICK)))) for rows in (train, dev, test)
        )
        settings["optim.length"] = "2 steps"
    chosen = {"model.kind": minilm(), "optim.seed": seed, "run.precision": precision, **settings}
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        made = ef.fit(train, dev=dev, out=Path(folder) / "run", settings=chosen)
        cpu = time.process_time() - cpu
        metric = cell.metrics[0]
        value = ef.measure(made, test, known=train, details=False).values[metric]
        loss = made.history["loss"][-1][1]
    return {
        "cell": cell.name, "precision": precision, "seed": seed, "metric": metric, "value": round(float(value), 5),
        "last_loss": round(loss, 5), "cpu_seconds": round(cpu, 1),
    }  # fmt: skip


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of all cells whose seeds are there in both precisions."""
    lines = [
        "Printed by `python -m benchmarks.precision`: a MiniLM fine-tuned with its towers in fp32 and in bf16, "
        f"{', '.join(f'{k} {v}' for k, v in SETTINGS.items())}.",
        "",
        "| data | metric | seeds | fp32 | bf16 | difference (95 %) | said | CPU-s, fp32 | bf16 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["cell"] for row in rows):
        by = {p: {r["seed"]: r for r in rows if (r["cell"], r["precision"]) == (name, p)} for p in PRECISIONS}
        seeds = sorted(set(by["fp32"]) & set(by["bf16"]))
        if not seeds:
            continue
        values = [[by[p][seed]["value"] for seed in seeds] for p in PRECISIONS]
        spent = [mean(by[p][seed]["cpu_seconds"] for seed in seeds) for p in PRECISIONS]
        found = difference(*values)
        lines.append(
            f"| {name} | {by['fp32'][seeds[0]]['metric']} | {len(seeds)} | {mean(values[0]):.4f} | "
            f"{mean(values[1]):.4f} | {found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}) | {found.said()} | "
            f"{spent[0]:.0f} | {spent[1]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(words: list[str] | None = None) -> int:
    """Parse, run what is missing, print, keep."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(words)
    path = RESULTS / "precision.json"
    rows = json.loads(path.read_text("utf-8")) if path.is_file() and not given.quick else []
    cells = {cell.name: cell for cell in CELLS}
    for seed in range(1 if given.quick else given.seeds):
        for name in given.only[:1] if given.quick else given.only:
            for precision in PRECISIONS:
                if any((r["cell"], r["precision"], r["seed"]) == (name, precision, seed) for r in rows):
                    continue
                rows.append(run(cells[name], precision, seed, quick=given.quick))
                print(rows[-1], file=sys.stderr, flush=True)
                if not given.quick:
                    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
                    path.with_suffix(".md").write_text(markdown(rows), "utf-8")
    print(f"bf16 in the processor: {torch.cpu.get_capabilities().get('avx512_bf16', 'unknown')}", file=sys.stderr)
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
