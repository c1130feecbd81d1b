"""Little tables, little towers, and all that a test needs to train on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from embedfit.engine.fit import Setup, plan_for, prepare
from embedfit.engine.plan import Plan
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch

THINGS = ("battery", "light", "brake", "wheel")
TROUBLES = {"is broken": "repair", "is lost": "replace", "arrived late": "refund"}
OPENINGS = ("my", "the", "help, my", "hello the", "sorry but our")
QUESTIONS = [
    (f"{how} {thing} {trouble}", f"How do I {cure} the {thing}?", f"{cure} {thing}")
    for thing in THINGS
    for trouble, cure in TROUBLES.items()
    for how in OPENINGS
]

SMALL: dict[str, Any] = {
    "optim.length": "9 steps",
    "optim.batch_size": 16,
    "optim.learning_rate": 0.01,
    "run.threads": 1,
    "run.checkpoint_every": "1 step",
    "run.evaluate_every": "3 steps",
}


def rows(kind: str) -> Pairs:
    """60 rows of a kind."""
    if kind == "pairs":
        columns = {"query": [q for q, _, _ in QUESTIONS], "positive": [d for _, d, _ in QUESTIONS]}
        return Pairs(kind="pairs", table=pl.DataFrame(columns))
    if kind == "classes":
        columns = {"text": [q for q, _, _ in QUESTIONS], "label": [c for _, _, c in QUESTIONS]}
        return Pairs(kind="classes", table=pl.DataFrame(columns))
    other = QUESTIONS[7:] + QUESTIONS[:7]
    graded = [
        (q, p, float(len(set(q.split()) & set(p.split()))))
        for (q, _, _), (p, _, _) in zip(QUESTIONS, other, strict=True)
    ]
    return Pairs(kind="graded", table=pl.DataFrame(graded, schema=["sentence1", "sentence2", "score"], orient="row"))


def recipe(model: str = "static", **more: Any) -> Recipe:
    """A recipe for a few steps; `optim__seed=1` sets `optim.seed`."""
    size = {} if model == "ngram" else {"model.dimension": 8}
    change = {"model.kind": model, **SMALL, **size, **{name.replace("__", "."): v for name, v in more.items()}}
    return patch(Recipe(), change)


def setup(kind: str = "pairs", model: str = "static", **more: Any) -> Setup:
    """Everything prepared for `fit`."""
    return prepare(rows(kind), recipe(model, **more))


def plan(made: Setup, **more: Any) -> Plan:
    """The plan of a setup with a given learning rate."""
    base = plan_for(made, 0.01)
    return replace(base, **more)


def weights(made: Setup) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers."""
    return {k: v.detach().clone() for k, v in made.objective.model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def left_behind(folder: Path) -> list[str]:
    """Temporary files in a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*"))
