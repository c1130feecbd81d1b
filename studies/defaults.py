"""The table behind the defaults: each setting that "auto" chooses, beside what else it could be.

    python -m studies.defaults            all variants, writes studies/results/defaults.{json,md}
    python -m studies.defaults --only classes --data hwu64 --seeds 1

Every figure is the main metric on the test rows and, for choosing, on the held-out rows; a variant changes one setting
of the default and nothing else. The held-out figure is the one that decides; the test figure is shown so that a reader
can see whether the choice carries over.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.datasets import CELLS, Cell
from benchmarks.quality import run_cell

import embedfit as ef
from embedfit.pairs import Pairs

RESULTS = Path(__file__).parent / "results"


def _demo(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    """The embedded data set and its exam."""
    del seed
    return ef.read(ef.demo() / "questions.csv"), None, ef.read(ef.demo() / "exam.csv")


DEMO = Cell(name="demo", metrics=("recall@10",), scratch=("",), minilm=("",), load=_demo)
SETS: Mapping[str, tuple[str, ...]] = {
    "classes": ("hwu64", "banking77", "clinc150"),
    "pairs": ("demo", "stackfaq", "cmrc2018"),
    "graded": ("stsb English", "stsb Chinese"),
}
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "classes": {
        "default": {},
        "learning rate as the family's anchor, untested": {"optim.learning_rate": 0.003},
        "texts of a class as each other's positives": {"loss.kind": "infonce"},
        "one part of 256 dimensions": {"model.layers": 1, "model.dimension": 256},
        "no feature dropout": {"model.dropout": 0.0},
        "additive margin .2": {"loss.margin": 0.2},
        "label smoothing .1": {"loss.label_smoothing": 0.1},
        "temperature .1": {"loss.temperature": 0.1},
        "static tower": {"model.kind": "static"},
        "gru tower": {"model.kind": "gru"},
    },
    "pairs": {
        "default": {},
        "learning rate as the family's anchor, untested": {"optim.learning_rate": 0.003},
        "one part of 256 dimensions": {"model.layers": 1, "model.dimension": 256},
        "no feature dropout": {"model.dropout": 0.0},
        "temperature .1": {"loss.temperature": 0.1},
        "static tower": {"model.kind": "static"},
    },
    "graded": {
        "default": {},
        "learning rate as the family's anchor, untested": {"optim.learning_rate": 0.003},
        "CoSENT": {"loss.kind": "cosent"},
        "one part of 256 dimensions": {"model.layers": 1, "model.dimension": 256},
        "no feature dropout": {"model.dropout": 0.0},
        "static tower": {"model.kind": "static"},
    },
}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Results as Markdown: held-out figure / test figure, mean over the seeds."""
    lines = []
    for kind, names in SETS.items():
        lines += [f"| {kind} | " + " | ".join(names) + " | seconds |", "|" + "---|" * (len(names) + 2)]
        for variant in VARIANTS[kind]:
            cells, seconds = [], []
            for name in names:
                mine = [r for r in rows if r["cell"] == name and r["variant"] == variant]
                seconds += [r["seconds"] for r in mine]
                cells.append(
                    f"{mean(r['held_out'] for r in mine):.3f} / {mean(r['test'] for r in mine):.3f}" if mine else ""
                )
            if any(cells):
                lines.append(f"| {variant} | " + " | ".join(cells) + f" | {mean(seconds):.0f} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="The table behind the defaults.")
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--data", nargs="*", help="names of data sets")
    parser.add_argument("--variant", nargs="*", help="names of variants")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    path = RESULTS / "defaults.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    cells = {cell.name: cell for cell in (*CELLS, DEMO)}
    for kind in arguments.only:
        for variant, settings in VARIANTS[kind].items():
            for name in SETS[kind]:
                if (arguments.data and name not in arguments.data) or (
                    arguments.variant and variant not in arguments.variant
                ):
                    continue
                for seed in range(arguments.seeds):
                    row = one(cells[name], variant, seed, settings)
                    print(json.dumps(row), flush=True)
                    same = (name, variant, seed)
                    rows = [r for r in rows if (r["cell"], r["variant"], r["seed"]) != same] + [row]
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
                    said = (
                        "Printed by `python -m studies.defaults`. Held-out / test metric, means over the seeds run.\n"
                    )
                    path.with_suffix(".md").write_text(f"{said}\n{table(rows)}", "utf-8")
    print(table(rows))


def one(cell: Cell, variant: str, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One variant on one data set."""
    metric = cell.metrics[0] if cell.name != "stackfaq" else "mrr@10"  # its recall stands at the ceiling
    found = run_cell(cell, "auto", seed, {"model.kind": "auto", **settings})
    return {
        "cell": cell.name,
        "variant": variant,
        "seed": seed,
        "held_out": found["dev"][metric],
        "test": found["values"][metric],
        "seconds": found["seconds"],
        "chosen": found["chosen"],
    }


if __name__ == "__main__":
    main()
