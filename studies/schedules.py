"""S0.13-S0.18: the learning-rate schedules, with figures in the place of stars.

    python -m studies.schedules           writes studies/results/schedules.{json,md}
    python -m studies.schedules --quick

For each schedule a grid of learning rates: the best final metric, steps to 95 % of the best metric of all, and the
width of the range of rates within 5 % of the schedule's own best, in factors of 3.
"""

from __future__ import annotations

from statistics import mean, median

from embedfit.recipe import Recipe
from studies.common import arguments, interval, keep, rows_of, run, table, verdicts

SCHEDULES = {
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
RATES = [0.003 * 3.0**k for k in range(-3, 4)]
NEAR, TARGET = 0.95, 0.95


def main() -> None:
    """All schedules on all data sets."""
    asked = arguments(__doc__, data=["hwu64", "stackfaq"], seeds=3)
    rates = RATES[2:5] if asked.quick else RATES
    steps = 30 if asked.quick else 600
    rows, text = [], []
    for data in asked.data:
        found = {}
        for name, settings in SCHEDULES.items():
            for rate in rates:
                for seed in range(asked.seeds):
                    more = {
                        "model.kind": "static",
                        "optim.length": f"{steps} steps",
                        "optim.learning_rate": rate,
                        "optim.patience": 1000,
                        "run.evaluate_every": f"{max(1, steps // 20)} steps",
                        **settings,
                    }
                    found[name, rate, seed] = run(rows_of(data, seed), more, seed=seed)
        top = max(o.last for o in found.values())
        lines, width, quickest = [], {}, {}
        for name in SCHEDULES:
            means = {r: mean(found[name, r, s].last for s in range(asked.seeds)) for r in rates}
            best = max(means, key=lambda r: means[r])
            width[name] = sum(value >= NEAR * means[best] for value in means.values())
            quickest[name] = median(found[name, best, s].steps_to(TARGET * top) for s in range(asked.seeds))
            finals = [found[name, best, s].last for s in range(asked.seeds)]
            lines.append([name, f"{best:.2g}", interval(finals), quickest[name], f"{width[name]} of {len(rates)}"])
            rows.append({"data": data, "schedule": name, "means": means, "steps_to_target": quickest[name]})
        heads = ["schedule", "best rate", "final metric", f"steps to {TARGET:.0%} of the best", "rates within 5 %"]
        text += [f"### {data}, {steps} steps", table(heads, lines)]
        finals = {name: max(row["means"].values()) for row in rows if row["data"] == data for name in [row["schedule"]]}
        default = finals["warmup, cosine"]
        claims = {
            "S0.13 never a fixed rate": _judge(finals["constant"] < NEAR * default, finals["constant"], default),
            "S0.14 warmup and cosine as the default": _judge(
                default >= NEAR * max(finals.values()), default, max(finals.values())
            ),
            "S0.17 warmup steadies": _judge(
                width["warmup, step"] > width["step"], width["warmup, step"], width["step"]
            ),
        }
        text.append(verdicts(claims))
    assert Recipe().optim.schedule == "auto"  # what the default of the table stands for
    keep("schedules", rows, "\n\n".join(text), asked)


def _judge(holds: bool, one: float, other: float) -> tuple[str, str]:
    return ("reproduced" if holds else "refuted", f"{one:.3f} against {other:.3f}")


if __name__ == "__main__":
    main()
