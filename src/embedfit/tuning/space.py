"""What a search may choose between, by kind of rows."""

from __future__ import annotations

__all__ = ["OBJECTIVES", "Around", "around", "choose", "kind_of", "settings_of"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedfit.engine.fit import prepare
from embedfit.judging import Rows
from embedfit.recipe import Recipe

if TYPE_CHECKING:
    import optuna

Settings = Mapping[str, Any]

OBJECTIVES: Mapping[str, Mapping[str, Settings]] = {
    "classes": {
        "prototypes": {"loss.kind": "prototypes"},
        "prototypes, margin 0.1": {"loss.kind": "prototypes", "loss.margin": 0.1},
        "prototypes, angular margin 0.2": {
            "loss.kind": "prototypes", "loss.margin": 0.2, "loss.margin_kind": "angular",
        },
        "prototypes, focal": {"loss.kind": "focal", "loss.against": "prototypes"},
        "infonce": {"loss.kind": "infonce"},
        "circle": {"loss.kind": "circle"},
    },
    "graded": {
        "cosine": {"loss.kind": "cosine"}, "cosent": {"loss.kind": "cosent"}, "angle": {"loss.kind": "angle"},
    },
    "pairs": {
        "infonce": {"loss.kind": "infonce"},
        "infonce, margin 0.1": {"loss.kind": "infonce", "loss.margin": 0.1},
        "infonce, learned temperature": {"loss.kind": "infonce", "loss.learned": True},
        "dcl": {"loss.kind": "dcl"},
        "hinge": {"loss.kind": "hinge"},
        "hinge, semi-hard": {"loss.kind": "hinge", "loss.negatives": "semi_hard"},
        "homotopy": {"loss.kind": "homotopy"},
        "circle": {"loss.kind": "circle"},
        "sigmoid": {"loss.kind": "sigmoid"},
    },
}  # fmt: skip
NEGATIVES: Mapping[str, Settings] = {
    "in_batch": {"negatives.kind": "in_batch"},
    "random": {"negatives.kind": "random", "negatives.each": 1},
    "mixed": {"negatives.kind": "mixed"},
    "queue": {"negatives.kind": "queue"},
    "mined": {"negatives.kind": "mined", "negatives.each": 1},
}
IN_BATCH = ("infonce", "circle")  # of classes: those that compare with other texts, so that negatives matter
SCHEDULES = ("cosine", "linear", "wsd", "constant", "step", "one_cycle")
BATCHES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times what "auto" takes
RATES = (0.1, 30.0)  # times the usual rate of the towers


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Around what the search moves.

    Attributes:
        kind: of the objectives.
        batch_size: that "auto" takes.
        rate: usual learning rate.
        streamed: whether the whole is read in parts, where negatives are those of the batch.
    """

    kind: str
    batch_size: int
    rate: float
    streamed: bool = False


def kind_of(rows: Rows) -> str:
    """Which objectives there are for such rows."""
    return rows.train.kind if rows.train.kind in OBJECTIVES else "pairs"


def around(rows: Rows, recipe: Recipe, *, streamed: bool = False) -> Around:
    """What "auto" takes for such rows."""
    chosen = prepare(rows.train, recipe).chosen
    wanted = recipe.optim.learning_rate
    rate = chosen.anchor if wanted == "auto" else wanted
    return Around(kind=kind_of(rows), batch_size=chosen.batch_size, rate=rate, streamed=streamed)


def choose(trial: optuna.Trial, base: Around) -> dict[str, Any]:
    """What a trial is to be, by name."""
    choices: dict[str, Any] = {"objective": trial.suggest_categorical("objective", list(OBJECTIVES[base.kind]))}
    if not base.streamed and (base.kind == "pairs" or choices["objective"] in IN_BATCH):
        choices["negatives"] = trial.suggest_categorical("negatives", list(NEGATIVES))
    choices["schedule"] = trial.suggest_categorical("schedule", SCHEDULES)
    choices["batch"] = trial.suggest_categorical("batch", BATCHES)
    choices["rate"] = trial.suggest_float("rate", *RATES, log=True)
    return choices


def settings_of(choices: Mapping[str, Any], base: Around) -> dict[str, Any]:
    """The same as settings of a recipe."""
    return {
        **OBJECTIVES[base.kind][choices["objective"]],
        **(NEGATIVES[choices["negatives"]] if "negatives" in choices else {}),
        "optim.schedule": choices["schedule"],
        "optim.batch_size": max(2, round(base.batch_size * choices["batch"])),
        "optim.learning_rate": float(f"{base.rate * choices['rate']:.3g}"),
    }
