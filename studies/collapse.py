"""S3.13-S3.21: the hinge on hardest negatives, by batch size, plain and in stages, at equal steps and equal examples.

    python -m studies.collapse                  writes studies/results/collapse.{json,md}
    python -m studies.collapse --quick

A run has collapsed when its loss ends within 5 % of what equal embeddings give and the mean unit embedding of queries
is longer than 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.common import Outcome, arguments, interval, keep, rows_of, run, table, verdicts

MARGIN = 0.3
HINGE = {"loss.kind": "hinge", "loss.negatives": "hardest", "loss.margin": MARGIN}
LARGE = 1024


def ways(large: int, *, steps: int) -> Mapping[str, Mapping[str, Any]]:
    """Settings by name; `steps` is what the large batch alone takes for its examples."""
    stages = [{"until": f"{25 * i}%", "batch_size": max(8, large // by)} for i, by in ((1, 32), (2, 8), (3, 2))]
    entropy = [{"until": "50%", "loss": {"kind": "infonce", "margin": 0.0}}]
    examples = f"{steps * large} examples"
    staged_steps = round(steps * large / 4 * sum(1 / s["batch_size"] for s in [*stages, {"batch_size": large}]))
    off = {"curriculum.guard": False}
    return {
        "plain, equal examples": {**HINGE, **off, "optim.batch_size": large, "optim.length": examples},
        "plain, equal steps": {**HINGE, **off, "optim.batch_size": large, "optim.length": f"{staged_steps} steps"},
        "staged": {**HINGE, **off, "optim.batch_size": large, "optim.length": examples, "curriculum.stages": stages},
        "cross-entropy, then hinge": {
            **HINGE,
            **off,
            "optim.batch_size": large,
            "optim.length": examples,
            "curriculum.stages": entropy,
        },
        "plain with the guard": {
            **HINGE,
            "curriculum.guard": True,
            "optim.batch_size": large,
            "optim.length": f"{staged_steps} steps",
        },
        "homotopy": {
            "loss.kind": "homotopy",
            "loss.margin": MARGIN,
            **off,
            "optim.batch_size": large,
            "optim.length": examples,
        },
        "cross-entropy": {"loss.kind": "infonce", **off, "optim.batch_size": large, "optim.length": examples},
        "plain, batch of 32": {**HINGE, **off, "optim.batch_size": 32, "optim.length": examples},
    }


def collapsed(found: Outcome) -> bool:
    """By loss and direction, see above; a loss that is no number has not collapsed, it has burst."""
    level = found.facts.get("loss.chance", MARGIN)
    return abs(found.loss - level) <= 0.05 * level and found.readings.get("query/mean_direction", 0.0) > 0.9


def main() -> None:
    """All ways, ten seeds."""
    asked = arguments(__doc__, data=["cmrc2018"], seeds=10)
    large, steps = (64, 3) if asked.quick else (LARGE, 40)
    rows, text = [], []
    for data in asked.data:
        lines, rate = [], {}
        for name, settings in ways(large, steps=steps).items():
            found = []
            for seed in range(asked.seeds):
                more = {
                    "model.kind": "gru",
                    "model.dimension": 32 if asked.quick else 128,
                    "optim.learning_rate": 1e-3,
                    "optim.schedule": "constant",
                    "optim.average": 0.0,
                    "optim.patience": 1000,
                    **settings,
                }
                outcome = run(rows_of(data, seed), more, seed=seed)
                found.append(outcome)
                rows.append(
                    {
                        "data": data,
                        "way": name,
                        "seed": seed,
                        "metric": outcome.last,
                        "loss": outcome.loss,
                        "direction": outcome.readings.get("query/mean_direction"),
                        "collapsed": collapsed(outcome),
                        "steps": outcome.facts.get("chosen.steps"),
                        "returns": outcome.facts.get("train.returns"),
                    }
                )
            rate[name] = sum(map(collapsed, found))
            steps_taken = found[0].facts.get("chosen.steps")
            lines.append(
                [
                    name,
                    steps_taken,
                    f"{rate[name]} of {asked.seeds}",
                    interval([o.last for o in found]),
                    interval([o.loss for o in found]),
                ]
            )
        text += [f"### {data}, batches of {large}", table(["way", "steps", "collapsed", "final metric", "loss"], lines)]
        most, some = asked.seeds / 2, rate["plain, equal examples"]
        longer, warmed = rate["plain, equal steps"], rate["cross-entropy, then hinge"]
        text.append(
            verdicts(
                {
                    "S3.13 the plain hinge collapses": _judge(
                        some > most, f"{some} of {asked.seeds} at equal examples, {longer} at equal steps"
                    ),
                    "S3.19 stages of batch growth do not": _judge(
                        rate["staged"] == 0, f"{rate['staged']} of {asked.seeds}"
                    ),
                    "S3.15 cross-entropy first is a stable start": _judge(warmed == 0, f"{warmed} of {asked.seeds}"),
                }
            )
        )
    keep("collapse", rows, "\n\n".join(text), asked)


def _judge(holds: bool, why: str) -> tuple[str, str]:
    return ("reproduced" if holds else "refuted", why)


if __name__ == "__main__":
    main()
