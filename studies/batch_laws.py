"""Learning rate at other batch sizes: the rate that `advise` names against a grid, and against three rules of thumb.

    python -m studies.batch_laws                writes studies/results/batch_laws.{json,md}
    python -m studies.batch_laws --quick

At a first batch size the best rate of a grid is taken, and the noise scale is read there. At four and sixteen times
that batch, with equally many examples, the same grid says what could be had; the regret of a rule is what its rate
loses against that, the grid's own rates interpolated in the logarithm.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np

from embedfit.advising import advise
from embedfit.job import train
from embedfit.recipe import Recipe, patch
from studies.common import arguments, interval, keep, rows_of, run, table, verdicts

FIRST, TIMES = 32, (4, 16)
GRID = [0.003 * 3.0**k for k in range(-3, 4)]
KINDS = {"sgd": 100.0, "adamw": 1.0, "muon": 1.0}  # optimiser to the middle of its grid, over that of AdamW
ENOUGH = 0.01  # regret that nobody minds
RULES = {"none": 0.0, "square root": 0.5, "linear": 1.0}


def settings_for(kind: str, batch: int, rate: float, length: str) -> dict[str, object]:
    """What differs from the default."""
    return {
        "model.kind": "static",
        "optim.kind": kind,
        "optim.batch_size": batch,
        "optim.learning_rate": rate,
        "optim.length": length,
        "optim.patience": 1000,
        "run.threads": 1,
    }


def main() -> None:
    """All optimisers on all data sets."""
    asked = arguments(__doc__, data=["hwu64", "stackfaq"], seeds=3)
    kinds, grid, times = (["adamw"], GRID[2:5], TIMES[:1]) if asked.quick else (list(KINDS), GRID, TIMES)
    length = "2 epochs" if asked.quick else "10 epochs"
    rows, lines, regrets = [], [], []
    for data in asked.data:
        for kind in kinds:
            rates = [rate * KINDS[kind] for rate in grid]
            means = {}
            for batch in (FIRST, *(FIRST * k for k in times)):
                for rate in rates:
                    found = [
                        run(rows_of(data, seed), settings_for(kind, batch, rate, length), seed=seed).last
                        for seed in range(asked.seeds)
                    ]
                    means[batch, rate] = mean(found)
                    rows.append({"data": data, "kind": kind, "batch": batch, "rate": rate, "metrics": found})
            start = max(rates, key=lambda rate: means[FIRST, rate])
            with TemporaryDirectory() as folder:
                recipe = patch(Recipe(), settings_for(kind, FIRST, start, length))
                train(rows_of(data, 0), recipe, Path(folder) / "run")
                for k in times:
                    batch = FIRST * k
                    told = advise(Path(folder) / "run", batch_size=batch)
                    option = next((o for o in told.options if o.batch_size == batch), None)
                    top = max(means[batch, rate] for rate in rates)
                    tried = {name: start * k**power for name, power in RULES.items()}
                    if option is not None:
                        tried["advised"] = option.learning_rate
                    lost = {
                        name: top - _at(rate, rates, [means[batch, r] for r in rates]) for name, rate in tried.items()
                    }
                    regrets.append(lost)
                    rows.append(
                        {
                            "data": data,
                            "kind": kind,
                            "batch": batch,
                            "tried": tried,
                            "regret": lost,
                            "refusal": told.refusal,
                        }
                    )
                    noise = "-" if told.noise is None else f"{told.noise.value:,.0f}"
                    lines.append(
                        [
                            data,
                            kind,
                            batch,
                            noise,
                            *(f"{lost[n]:.4f}" if n in lost else "refused" for n in ("advised", *RULES)),
                        ]
                    )
    heads = ["data", "optimiser", "batch", "noise scale", "regret: advised", *RULES]
    totals = {n: [lost[n] for lost in regrets if n in lost] for n in ("advised", *RULES)}
    shown = {n: interval(values) if values else "refused" for n, values in totals.items()}
    text = [table(heads, lines), "Mean regret: " + ", ".join(f"{n} {value}" for n, value in shown.items())]
    if totals["advised"]:
        advised, thumb = mean(totals["advised"]), min(mean(totals[name]) for name in RULES)
        verdict = "refuted" if advised > ENOUGH else "reproduced" if advised < thumb else "refined"
        why = f"regret {advised:.4f}, the best rule of thumb {thumb:.4f}"
        text.append(verdicts({"S1.7, S1.8 the noise scale tells the rate": (verdict, why)}))
    keep("batch_laws", rows, "\n\n".join(text), asked)


def _at(rate: float, rates: list[float], metrics: list[float]) -> float:
    """The metric at a rate between those of the grid; beyond its ends, that of the end."""
    return float(np.interp(math.log(rate), [math.log(r) for r in rates], metrics))


if __name__ == "__main__":
    main()
