"""What logs alone can say: curves of CSV files, of TensorBoard and of a Trainer's state."""

from __future__ import annotations

__all__ = ["is_log", "read_log"]

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from embedfit.errors import DataError
from embedfit.run import History, Run

NAMES: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss", "train_loss", "train/loss", "training_loss", "trainloss"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "lr-adamw", "lr-adam", "lr-sgd"),
    "gradient_norm": ("gradient_norm", "grad_norm", "train/grad_norm", "gradnorm"),
    "dev/loss": ("eval_loss", "val_loss", "dev/loss", "eval/loss", "valid_loss", "dev_loss", "test_loss"),
}
METRICS = ("ndcg", "mrr", "recall", "map@", "accuracy", "spearman", "hit")
STEPS = ("step", "global_step", "iteration", "steps", "epoch")


def read_log(path: str | os.PathLike[str]) -> Run:
    """A log as a run that checks can read; what it does not hold, they say.

    Args:
        path: a CSV file with a column of steps, a Trainer's `trainer_state.json`, or TensorBoard's events.

    Returns:
        The readings that were recognised by name: loss, learning rate, gradient norm, held-out loss and metric.

    Raises:
        DataError: nothing of the kind, or no loss in it.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(f"no log at '{place}'", hint="a CSV file, trainer_state.json, or a TensorBoard folder")
    if place.suffix == ".json":
        rows = _trainer_state(place)
    elif place.suffix in (".csv", ".tsv"):
        rows = _table(place)
    else:
        rows = _tensorboard(place)
    history, metric = _history(rows)
    if "loss" not in history:
        raise DataError(
            f"'{place}' holds no loss that I recognise", hint=f"name the column one of: {', '.join(NAMES['loss'])}"
        )
    facts: dict[str, Any] = {"source": "log"}
    evaluation = {}
    if metric is not None:
        facts["metric"], evaluation = metric, {metric: history.last(f"dev/{metric}")}
    return Run(facts=facts, history=history, evaluation=evaluation)


def is_log(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a log rather than a run folder or a recipe."""
    place = Path(path)
    if place.suffix in (".csv", ".tsv") or place.name == "trainer_state.json" or "tfevents" in place.name:
        return True
    return place.is_dir() and not (place / "recipe.toml").is_file() and any(place.glob("*tfevents*"))


def _history(rows: Iterable[tuple[int, str, float]]) -> tuple[History, str | None]:
    """Readings under our names; of the held-out metrics the first that was met."""
    known = {theirs: ours for ours, names in NAMES.items() for theirs in names}
    history, metric = History(), None
    for step, name, value in rows:
        plain = name.strip().lower()
        if plain in known:
            history.add(step, {known[plain]: value})
        elif any(word in plain for word in METRICS) and metric in (None, name):
            metric = name
            history.add(step, {f"dev/{name}": value})
    return history, metric


def _table(path: Path) -> list[tuple[int, str, float]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    if not table:
        raise DataError(f"'{path}' holds no rows", hint="a header and one row per reading")
    counter = next((name for name in table[0] if name.strip().lower() in STEPS), None)
    found = []
    for number, row in enumerate(table, 1):
        step = int(_number(row[counter]) or number) if counter else number
        found += [(step, name, v) for name, text in row.items() if name != counter and (v := _number(text)) is not None]
    return found


def _trainer_state(path: Path) -> list[tuple[int, str, float]]:
    try:
        entries = json.loads(path.read_text("utf-8"))["log_history"]
        return [(int(e["step"]), k, float(v)) for e in entries for k, v in e.items()
                if k not in ("step", "epoch") and isinstance(v, int | float)]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is no state of a Trainer: {error}", hint="trainer_state.json of a checkpoint"
        ) from None


def _tensorboard(path: Path) -> list[tuple[int, str, float]]:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise DataError(f"'{path}' needs TensorBoard to be read", hint="pip install tensorboard") from None
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    return sorted((e.step, tag, float(e.value)) for tag in events.Tags()["scalars"] for e in events.Scalars(tag))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if not math.isinf(value) else math.nan
