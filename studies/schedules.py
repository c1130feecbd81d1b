"""S0.13-S0.18: the learning-rate schedules, with figures in the place of stars.

    python -m studies.schedules [--quick]       writes studies/results/schedules.{json,md}

For each schedule a grid of learning rates: the best final metric, the steps to 95 % of the best of all, and how many
rates of the grid (each 3 times the one before) end within 5 % of the schedule's own best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

from studies.common import Outcome, Study, interval, judged, rows_of, table, verdicts

SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "constant": {"optim.schedule": "constant", "optim.warmup": "0%"},
    "step": {"optim.schedule": "step", "optim.warmup": "0%"},
    "warmup, step": {"optim.schedule": "step"},
    "cosine": {"optim.schedule": "cosine", "optim.warmup": "0%"},
    "warmup, cosine": {"optim.schedule": "cosine"},
    "linear": {"optim.schedule": "linear"},
    "cyclic": {"optim.schedule": "cyclic"},
    "one cycle": {"optim.schedule": "one_cycle"},
    "plateau": {"optim.schedule": "plateau"},
    "warmup, stable, decay": {"optim.schedule": "wsd"},
    "schedule-free": {"optim.kind": "schedule_free"},
}
DEFAULT = "warmup, cosine"
RATES = [0.01 * 3.0**k for k in range(-2, 5)]
NEAR = 0.95
SLACK = 0.01  # of the metric: less is no difference


def settings_for(schedule: str, rate: float, steps: int) -> dict[str, Any]:
    """A small tower that nothing but the rate and its schedule drives."""
    return {
        "model.kind": "static",
        "model.dimension": 64,
        "optim.batch_size": 64,
        "optim.length": f"{steps} steps",
        "optim.learning_rate": rate,
        "optim.average": 0.0,
        "optim.patience": 1000,
        "run.evaluate_every": f"{max(1, steps // 15)} steps",
        **SCHEDULES[schedule],
    }


def main() -> None:
    """All schedules on all data sets."""
    study = Study("schedules", __doc__, data=["hwu64", "stsb English"], seeds=3)
    rates, steps = (RATES[1:4], 30) if study.quick else (RATES, 300)
    text = []
    for data in study.data:
        found = {
            (name, rate): [
                study.run(partial(rows_of, data, seed), settings_for(name, rate, steps), seed=seed, data=data)
                for seed in study.seeds
            ]
            for name in SCHEDULES
            for rate in rates
        }
        text += [f"### {data}, {steps} steps", *page(found, rates)]
    study.write("\n\n".join(text))


def page(found: Mapping[tuple[str, float], Sequence[Outcome]], rates: Sequence[float]) -> list[str]:
    """The table and the verdicts of one data set."""
    top = max(mean(o.last for o in outcomes) for outcomes in found.values())
    lines, width, finals = [], {}, {}
    for name in SCHEDULES:
        means = {rate: mean(o.last for o in found[name, rate]) for rate in rates}
        best = max(rates, key=lambda rate: means[rate])
        width[name] = sum(value >= NEAR * means[best] for value in means.values())
        finals[name] = [o.last for o in found[name, best]]
        steps = median(o.steps_to(NEAR * top) for o in found[name, best])
        lines.append([name, f"{best:.2g}", interval(finals[name]), f"{steps:g}", f"{width[name]} of {len(rates)}"])
    heads = ["schedule", "best rate", "final metric", f"steps to {NEAR:.0%} of the best", "rates within 5 %"]
    default, highest = mean(finals[DEFAULT]), max(mean(values) for values in finals.values())
    claims = {
        "S0.13 never a fixed rate": judged(finals[DEFAULT], finals["constant"], claim=f"{DEFAULT} leads constant"),
        "S0.14 warmup and cosine as the default": (
            "reproduced" if default >= highest - SLACK else "refuted",
            f"{default:.3f}, the best of all {highest:.3f}",
        ),
        "S0.17 warmup steadies": (
            "open"
            if width["warmup, step"] == width["step"]
            else "reproduced"
            if width["warmup, step"] > width["step"]
            else "refuted",
            f"{width['warmup, step']} rates within 5 % with it, {width['step']} without",
        ),
        "S0.17 schedules differ by stars": (
            "reproduced" if highest - min(mean(v) for v in finals.values()) > 2 * SLACK else "refuted",
            f"best {highest:.3f}, worst {min(mean(v) for v in finals.values()):.3f}, each at its own best rate",
        ),
    }
    return [table(heads, lines), verdicts(claims)]


if __name__ == "__main__":
    main()
