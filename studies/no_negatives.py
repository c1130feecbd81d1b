"""S1.37-S1.43: SimSiam without stop-gradient collapses: a toy against its closed forms, and texts.

    python -m studies.no_negatives [--quick]    writes studies/results/no_negatives.{json,md}

The toy is l = (phi theta - theta)^2 / 2, theta an encoder of one weight and phi its predictor, under gradient flow.
With the second theta held, phi goes to 1 and theta^2 - phi^2 stays; without, theta^2 - (1 - phi)^2 stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from scipy.integrate import solve_ivp

from studies.common import Outcome, Study, interval, judged, rows_of, table, verdicts

STARTS = ((0.6, 0.1), (1.5, 0.1), (-0.6, 0.1))  # phi, theta
WAYS: Mapping[str, Mapping[str, Any]] = {
    "SimSiam": {"loss.kind": "simsiam"},
    "SimSiam without stop-gradient": {"loss.kind": "simsiam", "loss.stop": False},
    "SimSiam, predictor at 10 times the rate": {"loss.kind": "simsiam", "optim.rates": {"loss": 10.0}},
    "BYOL": {"loss.kind": "byol"},
    "InfoNCE on the same views": {"loss.kind": "infonce"},
}
SPREAD = 0.5  # of the standard deviation that even directions have; a collapsed space has 0


def flow(phi: float, theta: float, *, stop: bool) -> tuple[float, float]:
    """Where gradient flow ends."""

    def slope(_: float, at: Sequence[float]) -> tuple[float, float]:
        p, t = at
        gap = p * t - t
        return -t * gap, -gap * (p if stop else p - 1)

    end = solve_ivp(slope, (0.0, 2_000.0), (phi, theta), method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    return float(end[0]), float(end[1])


def closed(phi: float, theta: float, *, stop: bool) -> tuple[float, float]:
    """The same by what gradient flow conserves: theta^2 - phi^2, or theta^2 - (1 - phi)^2."""
    if stop:
        left = 1 - phi**2 + theta**2
        # phi rises to 1 unless theta has reached 0 on the way: where phi^2 = phi_0^2 - theta_0^2, on the side it is on
        on_the_way = phi**2 > theta**2 and (phi < 0 or left < 0)
        return (math.copysign(math.sqrt(phi**2 - theta**2), phi), 0.0) if on_the_way else (1.0, math.sqrt(left))
    gap = (1 - phi) ** 2 - theta**2
    return (1 - math.copysign(math.sqrt(gap), 1 - phi), 0.0) if gap >= 0 else (1.0, math.sqrt(-gap))


def toy() -> tuple[str, float]:
    """The table of the toy, and its largest error."""
    lines, errors = [], []
    for phi, theta in STARTS:
        for stop in (True, False):
            end, form = flow(phi, theta, stop=stop), closed(phi, theta, stop=stop)
            errors.append(max(abs(a - b) for a, b in zip(end, form, strict=True)))
            ends = [f"{p:.4f}, {t:.4f}" for p, t in (end, form)]
            lines.append([f"{phi:g}, {theta:g}", "yes" if stop else "no", *ends])
    return table(["start: phi, theta", "stop-gradient", "end, integrated", "end, closed form"], lines), max(errors)


def main() -> None:
    """The toy, and texts under two dropouts."""
    study = Study("no_negatives", __doc__, data=["hwu64"], seeds=5)
    shown, error = toy()
    text = ["### The toy", shown]
    for data in study.data:
        found = {
            name: [
                study.run(partial(rows_of, data, seed), settings_for(way, quick=study.quick), seed=seed, data=data)
                for seed in study.seeds
            ]
            for name, way in WAYS.items()
        }
        text += [f"### {data}: texts as their own positives, under another dropout", drawn(found)]
        text.append(of_claims(found, error))
    study.write("\n\n".join(text))


def settings_for(way: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    """A GRU with the dropout that makes the views."""
    return {
        "model.kind": "gru",
        "model.dimension": 32 if quick else 64,
        "model.dropout": 0.2,
        "loss.views": "dropout",
        "optim.batch_size": 128,
        "optim.learning_rate": 3e-3,
        "optim.length": "10 steps" if quick else "250 steps",
        "optim.average": 0.0,
        "optim.patience": 1000,
        "run.evaluate_every": "20%",
        **way,
    }


def drawn(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The table of the texts."""
    lines = [
        [
            name,
            interval([o.loss or 0.0 for o in runs]),
            interval([o.readings["query/spread"] for o in runs]),
            interval([o.curve[0][1] for o in runs]),
            interval([o.last for o in runs]),
        ]
        for name, runs in found.items()
    ]
    return table(["objective", "loss", "spread", "metric, untrained", "metric"], lines)


def of_claims(found: Mapping[str, Sequence[Outcome]], error: float) -> str:
    """What becomes of the claims."""
    spread = {name: [o.readings["query/spread"] for o in runs] for name, runs in found.items()}
    last = {name: [o.last for o in runs] for name, runs in found.items()}
    start = [o.curve[0][1] for o in found["SimSiam"]]
    narrow, wide = (sum(s < SPREAD for s in spread[name]) for name in ("SimSiam without stop-gradient", "SimSiam"))
    runs = len(start)
    keys = "reproduced" if narrow == runs and not wide else "refined" if narrow > wide else "refuted"
    return verdicts(
        {
            "S1.41 the toy ends where its closed form says": (
                "reproduced" if error < 1e-4 else "refuted",
                f"largest difference {error:.1e}",
            ),
            "S1.41 stop-gradient alone keeps theta from 0": (
                "refuted" if any(closed(*s, stop=True)[1] == 0 for s in STARTS) else "reproduced",
                "it goes to 0 from "
                + ", ".join(f"({p:g}, {t:g})" for p, t in STARTS if not closed(p, t, stop=True)[1]),
            ),
            "S1.38 without stop-gradient the space collapses, with it it does not": (
                keys,
                f"spread below {SPREAD} in {narrow} of {runs} runs without it, in {wide} with it",
            ),
            "SimSiam on texts is better than no training": judged(last["SimSiam"], start),
            "negatives are worth having": judged(last["InfoNCE on the same views"], last["SimSiam"]),
        }
    )


if __name__ == "__main__":
    main()
