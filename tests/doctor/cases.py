"""A sick and a healthy run for every check, built by hand. The healthy ones are odd where it is easy to be fooled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from program_cases import ILL, ODD, WELL

from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.recipe import Recipe, patch
from embedfit.run import History, Run

STEPS = range(0, 400, 10)
EVALUATIONS = range(0, 400, 40)


def falling(start: float, end: float) -> list[float]:
    """A reading that falls (or rises) quickly at first and then levels off."""
    return [end + (start - end) * math.exp(-6 * k / len(STEPS)) for k in range(len(STEPS))]


def history(readings: Mapping[str, Sequence[float] | float]) -> History:
    log = History()
    for name, given in readings.items():
        steps = EVALUATIONS if name.startswith("dev/") else STEPS
        values = [given] * len(steps) if isinstance(given, int | float) else given
        for step, value in zip(steps, values, strict=True):
            log.add(step, {name: value})
    return log


def run(
    facts: Mapping[str, Any] | None = None,
    readings: Mapping[str, Sequence[float] | float] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    change: Mapping[str, Any] | None = None,
) -> Run:
    """A run in which every check can be made and all is well, with some of it replaced; None takes a fact away."""
    base_facts = {
        "metric": "accuracy@1", "data.kind": "classes", "data.rows": 9003, "data.texts": 8990, "data.duplicate_rows": 3,
        "data.conflicting_texts": 0, "data.order_autocorrelation": 0.98, "data.leakage": 0.0, "data.classes": 77,
        "data.classes_at_most_3": 0.0, "data.truncated_share": 0.004, "train.shuffled": True,
        "train.stopped": "finished", "chosen.loss": "prototypes", "chosen.temperature": 0.056, "chosen.margin": 0.0,
        "chosen.candidates": 77, "chosen.learning_rate": 3e-3, "chosen.steps": 400, "chosen.max_tokens": 64,
        "loss.floor": infonce_floor(77, 0.056), "loss.chance": infonce_chance(77), "model.dimension": 256,
        "metric.chance": 0.013, "metric.chance_error": 0.0036,
        "shuffled.start": 4.3, "shuffled.real": 2.0, "shuffled.dealt": 4.0, "resume.loss_apart": 0.0,
        "resume.update_apart": 1e-7, "roles.as_is": 0.5, "roles.swapped": 0.46, "roles.z": -3.0, "roles.rows": 256,
        "one_batch.start": 0.03, "one_batch.end": 1.0, "one_batch.rows": 64,
    }  # fmt: skip
    base_readings = {
        "loss": falling(4.3, 0.2), "gradient_norm": falling(3, 0.4), "update_ratio": 2e-3, "learning_rate": 3e-3,
        "positive/mean": falling(0.1, 0.8), "negative/mean": 0.02, "negative/max": 0.7,
        "negative/false_share": 0.0, "query/effective_rank": 0.45, "query/mean_direction": 0.15,
        "in_batch/recall@1": falling(0.02, 0.97),
        "dev/accuracy@1": [0.02, 0.5, 0.7, 0.8, 0.84, 0.86, 0.87, 0.872, 0.873, 0.873],
    }  # fmt: skip
    base_evaluation = {
        "accuracy@1": 0.873, "accuracy@1/low": 0.85, "accuracy@1/high": 0.892, "lexical/accuracy@1": 0.824,
        "lexical/accuracy@1/low": 0.80, "lexical/accuracy@1/high": 0.846, "queries": 1000, "candidates": 77,
    }  # fmt: skip
    merged = {k: v for k, v in {**WELL, **base_facts, **(facts or {})}.items() if v is not None}
    return Run(
        recipe=patch(Recipe(), change or {}),
        facts=merged,
        history=history({**base_readings, **(readings or {})}),
        evaluation={k: v for k, v in {**base_evaluation, **(evaluation or {})}.items() if v is not None},
    )


COLLAPSED = {
    "query/mean_direction": 0.999, "positive/mean": 0.9991, "negative/mean": 0.9989, "query/effective_rank": 0.3,
    "in_batch/recall@1": 0.014,
}  # fmt: skip

SICK: dict[str, Run] = {
    "DAT001": run({"data.duplicate_rows": 1200}),
    "DAT002": run({"data.conflicting_texts": 400}),
    "DAT003": run({"train.shuffled": False}),
    "DAT004": run({"data.leakage": 0.06}, change={"data.dev_files": ["dev.csv"]}),
    "DAT005": run({"data.truncated_share": 0.3}),
    "DAT006": run({"data.classes_at_most_3": 0.79, "data.classes": 575}),
    "NEG001": run(readings={"negative/false_share": 0.068}),
    "LOS001": run({"loss.floor": infonce_floor(77, 1.0), "chosen.temperature": 1.0}),
    "LOS002": run(readings={"loss": falling(4.9, 4.31), "in_batch/recall@1": 0.02}),
    "LOS003": run(readings={**COLLAPSED, "loss": falling(4.9, infonce_chance(77))}),
    "GEO001": run(readings={"query/effective_rank": falling(0.4, 0.02)}),
    "GEO002": run(readings={"query/mean_direction": 0.98, "in_batch/recall@1": falling(0.01, 0.11)}),
    "GEO003": run(
        readings={
            **COLLAPSED,
            "loss": [infonce_chance(77)] * 40,
            "dev/accuracy@1": [0.02, *[0.013] * 9],
        }
    ),
    "OPT001": run(readings={"update_ratio": 4e-8}),
    "OPT002": run(readings={"update_ratio": 0.3, "loss": [4.0] * 20 + [4.4] * 20}),
    "OPT003": run(readings={"dev/accuracy@1": [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.86]}),
    "NUM001": run(readings={"loss": [*falling(4.3, 1.0)[:-1], math.nan]}),
    "EVA001": run(evaluation={"accuracy@1": 0.70, "accuracy@1/low": 0.67, "accuracy@1/high": 0.728}),
    "EVA002": run(readings={"dev/accuracy@1": [0.02, 0.5, 0.7, 0.8, 0.82, 0.81, 0.8, 0.78, 0.77, 0.76]}),
    "EVA003": run(evaluation={"accuracy@1/low": 0.77, "accuracy@1/high": 0.94, "queries": 60}),
    "EVA006": run(readings={"dev/accuracy@1": [0.013, 0.02] * 5, "loss": falling(4.3, 0.01)}),
}

HEALTHY: dict[str, Run] = {
    # some questions are asked again and again
    "DAT001": run({"data.duplicate_rows": 300}),
    # four texts with two labels, as in a well-kept public set
    "DAT002": run({"data.conflicting_texts": 4}),
    # a file sorted by class is the usual case, and training shuffles
    "DAT003": run({"data.order_autocorrelation": 1.0}),
    # six test texts of three thousand are also in train
    "DAT004": run({"data.leakage": 0.002}),
    "DAT005": run({"data.truncated_share": 0.03}),
    # tiny classes, but the objective compares texts
    "DAT006": run({"data.classes_at_most_3": 0.79, "data.classes": 575, "chosen.loss": "infonce"}),
    # every batch is full of texts of the same class, and all of them are masked
    "NEG001": run(readings={"negative/masked_share": 0.2}),
    # a temperature ten times the usual, with so few candidates that it suffices
    "LOS001": run({"chosen.candidates": 2, "loss.floor": infonce_floor(2, 0.5), "loss.chance": infonce_chance(2)}),
    # many candidates: the loss has hardly moved, and half of the pairs are found
    "LOS002": run(
        {"loss.chance": infonce_chance(4096), "loss.floor": infonce_floor(4096, 0.05), "chosen.candidates": 4096},
        {"loss": falling(8.9, 7.7), "in_batch/recall@1": falling(0.0, 0.5)},
    ),
    # the loss happens to pass log 2
    "LOS003": run(readings={"loss": falling(4.3, math.log(2))}),
    # six classes need five directions of 256
    "GEO001": run(
        {"data.classes": 6, "chosen.candidates": 6, "loss.chance": infonce_chance(6), "loss.floor": 0.0},
        {"query/effective_rank": 0.021, "loss": falling(1.7, 0.1)},
    ),
    # an encoder all of whose cosines are high, and which is very good
    "GEO002": run(readings={"query/mean_direction": 0.94, "negative/mean": 0.88, "positive/mean": 0.95}),
    # a common direction that a very good encoder has from the start
    "GEO003": run(
        readings={
            **COLLAPSED,
            "in_batch/recall@1": 0.9,
            "negative/mean": 0.975,
            "positive/mean": 0.99,
        }
    ),
    # a pretrained encoder with a small learning rate
    "OPT001": run(readings={"update_ratio": 3e-5}),
    # large steps at the beginning only
    "OPT002": run(readings={"update_ratio": [0.4] * 8 + [3e-3] * 32}),
    # still rising, by a hair
    "OPT003": run(readings={"dev/accuracy@1": [0.02, 0.5, 0.7, 0.8, 0.84, 0.86, 0.866, 0.868, 0.87, 0.873]}),
    # a spike of the loss
    "NUM001": run(readings={"loss": [*falling(4.3, 0.3)[:-5], 90.0, 0.4, 0.3, 0.3, 0.3]}),
    # a little below the baseline, within the intervals
    "EVA001": run(evaluation={"accuracy@1": 0.81, "accuracy@1/low": 0.786, "accuracy@1/high": 0.833}),
    # the metric wavers at the end
    "EVA002": run(readings={"dev/accuracy@1": [0.02, 0.5, 0.7, 0.8, 0.84, 0.86, 0.872, 0.866, 0.871, 0.86]}),
    "EVA003": run(evaluation={"accuracy@1/low": 0.83, "accuracy@1/high": 0.91, "queries": 290}),
    # at chance for half of the run
    "EVA006": run(readings={"dev/accuracy@1": [0.013] * 5 + [0.1, 0.4, 0.7, 0.86, 0.865]}),
}

SICK |= {
    "PAI006": run({"shuffled.dealt": 2.1}),
    "PAI007": run({"roles.swapped": 0.7, "roles.z": 9.0}),
    "MOD012": run({"resume.loss_apart": 0.3}),
    "OPT013": run({"one_batch.end": 0.05}),
}
HEALTHY |= {
    # half of what is learned is learned by heart
    "PAI006": run({"shuffled.dealt": 3.0}),
    # the other way round is a hair better
    "PAI007": run({"roles.swapped": 0.53, "roles.z": 5.0}),
    # sums in another order
    "MOD012": run({"resume.loss_apart": 3e-6, "resume.update_apart": 2e-4}),
    # slowly, but it is learned
    "OPT013": run({"one_batch.start": 0.05, "one_batch.end": 0.4}),
}
SICK |= {code: run(facts) for code, facts in ILL.items()}
HEALTHY |= {code: run(facts) for code, facts in ODD.items()}
