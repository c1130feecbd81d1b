"""What others say of the same programs: rules on the loss curve, torchmortem and training-doctor.

Neither package knows our components, so every alarm of theirs counts for each component that it could be about; that
is generous. Constant answers and the most frequent answer need no program and are worked out in `score`.
"""

from __future__ import annotations

__all__ = ["RIVALS", "rivals", "rules"]

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.faults.cases import Case
from benchmarks.faults.harm import Outcome, train

RIVALS = ("rules on the loss curve", "torchmortem", "training-doctor")

RATE = ("optimiser", "schedule")
SAYS = {
    "gradient_flow": ("architecture", "initialisation", "optimiser"),
    "dead_units": ("architecture", "initialisation"),
    "saturation": ("architecture", "initialisation"),
    "update_ratio": RATE,
    "loss_dynamics": RATE,
    "rank_collapse": ("architecture", "loss"),
    "weight_norm": ("regularisation", "optimiser"),
    "gradient_noise": RATE,
    "Learning rate likely too high": RATE,
    "Learning rate may be too low": RATE,
    "Gradient instability detected": (*RATE, "precision"),
    "Possible mixed precision instability": ("precision",),
    "Overfitting detected": ("data", "regularisation"),
    "Unusual train/eval pattern": ("evaluation", "data"),
    "Training plateau detected": RATE,
    "Early training plateau": ("loss", "architecture", *RATE),
}


def rules(outcome: Outcome) -> list[tuple[str, ...]]:
    """What a practised eye makes of a loss curve: nothing, or components in the order of their likelihood."""
    losses = outcome.losses
    start, end, least = losses[0], sum(losses[-3:]) / 3, min(losses)
    if not all(map(math.isfinite, losses)):
        return [("optimiser",), ("precision",), ("loss",)]
    if end > 1.2 * start:
        return [("optimiser", "schedule"), ("loss",)]
    if end < 1e-3 * max(abs(start), 1e-9) or abs(start) < 1e-6:
        return [("negatives", "loss"), ("data",)]
    if end > 0.98 * start:
        return [("optimiser", "schedule"), ("loss",), ("pairing", "data")]
    if end > 1.3 * least and end > 0.5 * start:
        return [("optimiser", "schedule"), ("data",)]
    if end > 0.85 * start:
        return [("loss",), ("pairing", "data"), ("optimiser", "schedule")]
    return []


def rivals(case: Case, outcome: Outcome) -> dict[str, list[list[str]]]:
    """The alarms of each rival on a whole run, worst first, as components."""
    found = {"rules on the loss curve": [list(x) for x in rules(outcome)]}
    for name, watch in (("torchmortem", _torchmortem), ("training-doctor", _training_doctor)):
        with contextlib.suppress(ImportError):
            found[name] = [list(SAYS.get(alarm, ())) for alarm in watch(case.build()())]
    return found


def _quiet(work: Callable[[], Any]) -> Any:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return work()
    finally:
        logging.disable(logging.NOTSET)


def _torchmortem(program: Any) -> list[str]:
    from torchmortem import Autopsy

    def work() -> list[str]:
        with Autopsy(program.model, optimizer=program.optimizer) as autopsy:
            train(program, lambda _, loss: autopsy.step(loss=loss))
        report = autopsy.get_report()
        worst = sorted(report.findings, key=lambda f: -int(f.severity)) if report else []
        return list(dict.fromkeys(f.category for f in worst if int(f.severity) > 0))

    return list(_quiet(work))


def _training_doctor(program: Any) -> list[str]:
    from training_doctor import Doctor

    def work() -> list[str]:
        doctor, alarms, step = Doctor(), [], 0

        def log(program: Any, loss: float) -> None:
            nonlocal step
            norms = [float(w.grad.norm()) for w in program.model.parameters() if w.grad is not None]
            rate = program.optimizer.param_groups[0]["lr"]
            alarms.extend(doctor.log(step=step, loss=loss, lr=rate, grad_norm=math.hypot(*norms)) or [])
            step += 1

        train(program, log)
        worst = sorted(alarms, key=lambda d: -d.confidence)
        return list(dict.fromkeys(d.problem for d in worst if d.severity.value != "info"))

    return list(_quiet(work))
