"""S1.3-S1.12: the learning rate that `advise` names for other batch sizes, against a grid and three rules of thumb.

    python -m studies.batch_laws [--quick]      writes studies/results/batch_laws.{json,md}

At a first batch size the best rate of a grid is taken, and the noise scale is read there: over the run by consecutive
gradients, and at the trained weights by independent batches (the probe), which the advice follows where the run's own
readings say nothing. At four and sixteen times
that batch, with equally many examples, the same grid says what could be had; the regret of a rule is what its rate
loses against that, the metric between rates of the grid interpolated over their logarithms. A law of the best rate is
said to hold where the interval of its power, over data sets and batch sizes, holds that law and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from embedfit.advising import advise
from embedfit.gathering import gather
from embedfit.job import train
from embedfit.optim.laws import NoiseScale
from embedfit.recipe import Recipe, patch
from studies.common import Study, interval, lead, rows_of, table, verdicts

FIRST, TIMES = 32, (4, 16)
GRID = [0.03 * 3.0**k for k in range(6)]
KINDS = {"sgd": 100.0, "adamw": 1.0, "muon": 1.0}  # optimiser to the middle of its grid, over that of AdamW
MORE = {"muon": {"model.layers": 1}}  # it moves matrices, and a table of sub-words is none
ENOUGH = 0.01  # regret that nobody minds
RULES = {"unchanged": 0.0, "square root": 0.5, "linear": 1.0}


def settings_for(kind: str, batch: int, rate: float, length: str) -> dict[str, object]:
    """What differs from the default."""
    return {
        "model.kind": "static",
        "model.dimension": 64,
        "optim.kind": kind,
        "optim.batch_size": batch,
        "optim.learning_rate": rate,
        "optim.length": length,
        "optim.patience": 1000,
        "run.evaluate_every": "100%",
        "run.threads": 1,
        **MORE.get(kind, {}),
    }


def main() -> None:
    """All optimisers on all data sets."""
    study = Study("batch_laws", __doc__, data=["hwu64", "banking77"], seeds=3)
    kinds, grid, times = (["adamw"], GRID[:3], TIMES[:1]) if study.quick else (list(KINDS), GRID, TIMES)
    length = "2 epochs"
    lines, regrets, best = [], [], {}
    for data in study.data:
        for kind in kinds:
            rates = [rate * KINDS[kind] for rate in grid]
            means = {
                batch: [
                    mean(
                        study.run(
                            partial(rows_of, data, seed), settings_for(kind, batch, rate, length), seed=seed, data=data
                        ).last
                        for seed in study.seeds
                    )
                    for rate in rates
                ]
                for batch in (FIRST, *(FIRST * k for k in times))
            }
            start = rates[int(np.argmax(means[FIRST]))]
            for k in times:
                batch = FIRST * k
                settings = settings_for(kind, FIRST, start, length)
                told = study.cell(
                    partial(advised, data, settings, batch),
                    data=data,
                    advised_for=batch,
                    probed=True,
                    settings=settings,
                )
                tops = [peak(rates, means[size]) for size in (FIRST, batch)]
                if not {rates[0], rates[-1]} & set(tops):  # else the best lies beyond the grid
                    best[data, kind, batch] = tops[1] / tops[0]
                tried = {name: start * k**power for name, power in RULES.items()}
                tried |= {"advised": told["rate"]} if told["rate"] else {}
                lost = {name: max(means[batch]) - at(rate, rates, means[batch]) for name, rate in tried.items()}
                regrets.append(lost)
                lines.append(
                    [
                        data,
                        kind,
                        batch,
                        *(f"{told[name]:,.0f}" if told[name] else "-" for name in ("noise", "at_end")),
                        f"{best[data, kind, batch]:.3g}" if (data, kind, batch) in best else "beyond the grid",
                        f"{told['rate'] / start:.3g}" if told["rate"] else "refused",
                        *(f"{lost[n]:.4f}" if n in lost else "refused" for n in ("advised", *RULES)),
                    ]
                )
    heads = ["data", "optimiser", "batch", "noise scale", "by the probe",
             "best rate, times the first", "advised, times the first"]  # fmt: skip
    study.write(
        "\n\n".join([table([*heads, "regret: advised", *RULES], lines), *of_regrets(regrets), of_laws(best, kinds)])
    )


def advised(data: str, settings: Mapping[str, Any], batch: int) -> Mapping[str, Any]:
    """What a run at the first batch size says of another one."""
    with TemporaryDirectory() as folder:
        rows, files = rows_of(data, 0), [Path(folder) / name for name in ("train.csv", "dev.csv")]
        for part, file in zip((rows.train, rows.dev), files, strict=True):
            assert part is not None
            part.table.write_csv(file)  # the probe reads the rows again
        where = {"data.files": [str(files[0])], "data.dev_files": [str(files[1])]}
        recipe = patch(Recipe(), {**settings, **where})
        train(gather(recipe), recipe, Path(folder) / "run")
        told = advise(Path(folder) / "run", batch_size=batch, probed=True)
    option = next((o for o in told.options if o.batch_size == batch), None)
    return {
        "rate": option and option.learning_rate,
        "noise": finite(told.noise),
        "at_end": finite(told.probed),
        "refusal": told.refusal,
    }


def finite(scale: NoiseScale | None) -> float | None:
    """The noise scale, where there is one."""
    return scale.value if scale is not None and math.isfinite(scale.value) and scale.value else None


def at(rate: float, rates: Sequence[float], metrics: Sequence[float]) -> float:
    """The metric at a rate between those of the grid; beyond its ends on along its last line, never upwards."""
    grid, where = [math.log(r) for r in rates], math.log(rate)
    if grid[0] <= where <= grid[-1]:
        return float(np.interp(where, grid, metrics))
    (x0, y0), (x1, y1) = [(grid[i], metrics[i]) for i in ((0, 1) if where < grid[0] else (-1, -2))]
    return max(0.0, min(y0, y0 + (where - x0) * (y1 - y0) / (x1 - x0)))


def peak(rates: Sequence[float], metrics: Sequence[float]) -> float:
    """The best rate: the top of the parabola through the best of the grid and its neighbours, over log rates."""
    best = int(np.argmax(metrics))
    if best in (0, len(rates) - 1):
        return rates[best]
    before, top, after = metrics[best - 1 : best + 2]
    bend = before - 2 * top + after
    shift = 0.0 if bend == 0 else (before - after) / (2 * bend)
    return rates[best] * (rates[best + 1] / rates[best]) ** shift


def of_regrets(regrets: Sequence[Mapping[str, float]]) -> list[str]:
    """Means, and the verdict on advice, over the cases in which there was some."""
    rules = table(
        ["rule", "cases", "regret"],
        [
            [name, len(found), interval(found, 4) if found else "refused"]
            for name in ("advised", *RULES)
            for found in [[lost[name] for lost in regrets if name in lost]]
        ],
    )
    answered = [lost for lost in regrets if "advised" in lost]
    if not answered:
        return [rules]
    mine = [lost["advised"] for lost in answered]
    thumb = min(RULES, key=lambda name: mean(lost[name] for lost in answered))
    other = [lost[thumb] for lost in answered]
    verdict = "refuted" if mean(mine) > ENOUGH else "reproduced" if mean(mine) <= mean(other) else "refined"
    said = f"regret {mean(mine):.4f}; the best rule of thumb, {thumb}, {mean(other):.4f} in the same cases"
    return [rules, verdicts({"S1.7, S1.8 the noise scale tells the rate": (verdict, said)})]


def of_laws(best: Mapping[tuple[str, str, int], float], kinds: Sequence[str]) -> str:
    """The exponent of the best rate in the batch size, by optimiser: which of the laws its interval holds."""
    said = {"sgd": ("S1.4 linear with SGD", "linear"), "adamw": ("S1.5 square root with Adam", "square root")}
    found = {}
    for kind in kinds:
        powers = [math.log(times) / math.log(batch / FIRST) for (_, k, batch), times in best.items() if k == kind]
        claim, wanted = said.get(kind, (f"square root with {kind}", "square root"))
        if len(powers) < 2:
            found[claim] = ("open", "the best rates lie beyond the grid")
            continue
        middle, half = lead(powers, [0.0] * len(powers))
        held = [name for name, power in RULES.items() if abs(power - middle) <= half]
        word = "reproduced" if held == [wanted] else "open" if wanted in held else "refuted"
        within = f"; its interval holds {' and '.join(held)}" if held else "; its interval holds none of the laws"
        found[claim] = (word, f"the best rate goes by the power {interval(powers, 2)} of the batch size{within}")
    return verdicts(found)


if __name__ == "__main__":
    main()
