"""Training as a run sees it: the learning rate settled, checkpoints and history on disk, and on again after a stop."""

from __future__ import annotations

__all__ = ["Fitted", "Setup", "check_resumable", "fit", "plan_for", "prepare"]

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from embedfit.engine import checkpoint
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.device import interruptible, threaded
from embedfit.engine.journal import Journal
from embedfit.engine.loop import Observer, Readings, Slack, train
from embedfit.engine.plan import Material, Plan
from embedfit.engine.planning import plan_for
from embedfit.engine.rate import learning_rate_test
from embedfit.engine.read import read_step
from embedfit.engine.setup import Setup, prepare
from embedfit.errors import NonFiniteLossError, RunError
from embedfit.team import Team
from embedfit.towers import TwoTower

Progress = Callable[[int, int, Readings], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model and what is known of its training.

    Attributes:
        model: the towers with the best weights, in evaluation mode.
        facts: "model.*", "loss.*", "chosen.*", "train.*".
    """

    model: TwoTower
    facts: Mapping[str, Any]


def fit(
    setup: Setup,
    *,
    folder: Path,
    measure: Callable[[TwoTower], Readings],
    progress: Progress,
    slack: Slack | None = None,
    resume: bool = False,
    held_out: str = "",
) -> Fitted:
    """Train.

    Args:
        setup: from `prepare`.
        folder: of the run; checkpoints and history go there.
        measure: held-out readings of a model; the first decides, higher is better. Those of the first process count,
            the others are called to help.
        progress: told (step, steps, readings) after every step; may answer with words why going on is of no use, and
            then training ends after the next evaluation.
        slack: standard error of the first reading at a value; where the end of the schedule is to be trusted, later
            weights are kept that are not worse than the best by more.
        resume: go on from the folder's checkpoint, if there is one.
        held_out: fingerprint of the rows that `measure` looks at: the best step so far was chosen on them.

    Returns:
        The model with the best held-out metric.

    Raises:
        NonFiniteLossError: a loss was NaN or infinite; the last checkpoint is sound.
        RunError: the folder cannot be written, or its checkpoint belongs to other data or settings.
    """
    team = setup.objective.team
    path = folder / "checkpoints" / "last.safetensors"
    setup, start = _begun(setup, folder, held_out) if resume and team.tell(path.is_file()) else (setup, None)
    book = _Book(folder, setup, start, held_out=held_out)
    with threaded(setup.facts["chosen.threads"]):
        plan, facts = (plan_for(setup, start.values["rate"]), start.values["facts"]) if start else _rated(setup)
    book.settled = {"rate": plan.learning_rate, "facts": facts}

    answers = [""]

    def record(step: int, readings: Readings) -> None:
        if book.add(step, readings):
            answers[0] = progress(step, plan.steps, readings) or ""

    with threaded(setup.facts["chosen.threads"]), interruptible() as asked_to_stop:
        observer = Observer(
            read=read_step,
            measure=lambda: team.tell(dict(measure(setup.objective.model))),
            record=record,
            keep=book.keep,
            keep_now=_clock(setup.chosen.checkpoint_every, team),
            due=lambda number: number % max(1, plan.steps // READINGS) == 0,
            stop=lambda: team.any(asked_to_stop()),
            hopeless=lambda: team.tell(answers[0]),
            slack=slack if setup.chosen.trust_end else None,
        )
        try:
            best, ended = train(setup.objective, setup.material, setup.groups, plan, observer, start)
        except NonFiniteLossError as error:
            raise _with_texts(error, setup.material) from None
        finally:
            book.flush()
    settled = {
        "chosen.learning_rate": plan.learning_rate,
        "chosen.schedule": plan.schedule,
        "chosen.momentum": plan.momentum,
        "train.shuffled": True,
        "train.best_step": best.step,
        "train.returns": book.last.values["guard"]["trips"] if book.last else [],
        "train.seconds": round(book.seconds(), 2),
        "train.stopped": ended,
    }
    brought = setup.material.negatives.facts()
    return Fitted(model=setup.objective.model, facts={**setup.facts, **facts, **brought, **settled})


class _Book:
    """What is written down of a run: its history and its checkpoints, by the first process.

    Args:
        folder: of the run.
        setup: of the run.
        start: what it goes on from.
        held_out: fingerprint of the held-out rows.
    """

    def __init__(self, folder: Path, setup: Setup, start: Checkpoint | None, *, held_out: str) -> None:
        self.path = folder / "checkpoints" / "last.safetensors"
        self.last = start
        self.began, self.spent = time.perf_counter(), start.values["seconds"] if start else 0.0
        self.identity = {
            "fingerprint": fingerprint(setup),
            "held_out": held_out,
            "machine": {name: setup.facts[name] for name in MACHINE},
        }
        self.settled: Mapping[str, Any] = {}
        until = int(start.values["step"]) if start else 0
        leads = setup.objective.team.leads
        self.journal = Journal(folder / "history.jsonl", keep_until=until) if leads else None

    def seconds(self) -> float:
        """Spent on the run, before interruptions too."""
        return self.spent + time.perf_counter() - self.began

    def add(self, step: int, readings: Readings) -> bool:
        """Write readings down; whether this process does."""
        if self.journal is not None:
            self.journal.add(step, readings)
        return self.journal is not None

    def keep(self, state: Checkpoint) -> None:
        """Store a checkpoint."""
        self.last = state
        if self.journal is None:
            return
        self.journal.flush()
        values = {**state.values, **self.identity, **self.settled, "seconds": self.seconds()}
        checkpoint.save(self.path, replace(state, values=values))

    def flush(self) -> None:
        """Bring the history to the disk."""
        if self.journal is not None:
            self.journal.flush()


def check_resumable(setup: Setup, folder: Path, held_out: str = "") -> None:
    """Make sure that the checkpoint in a run folder, if there is one, is one of this run.

    Raises:
        RunError: it belongs to other rows, settings or towers, or is broken.
    """
    path = folder / "checkpoints" / "last.safetensors"
    if not path.is_file():
        return
    values = checkpoint.values_of(path)
    if values["fingerprint"] != fingerprint(setup):
        raise RunError(
            f"the checkpoint in '{folder}' belongs to other data or other settings",
            hint="go on with the data and settings of that run, or train into another folder with --out",
        )
    if values["held_out"] != held_out:
        raise RunError(
            f"the checkpoint in '{folder}' belongs to other held-out rows: its best step was chosen on them",
            hint="go on with the held-out rows of that run, or train into another folder with --out",
        )


def _begun(setup: Setup, folder: Path, held_out: str) -> tuple[Setup, Checkpoint]:
    """The checkpoint to go on from, and the setup with the threads and the precision that the run began with.

    Sums over threads and numbers of another precision round differently: a resumed run adds up as it began.
    """
    team = setup.objective.team
    if team.leads:
        check_resumable(setup, folder, held_out)
    start = checkpoint.shared(folder / "checkpoints" / "last.safetensors", team)
    machine = start.values["machine"]
    objective = replace(setup.objective, precision=getattr(torch, machine["chosen.precision"]))
    return replace(setup, objective=objective, facts={**setup.facts, **machine}), start


MACHINE = ("chosen.threads", "chosen.precision")


def _clock(every: int | None, team: Team) -> Callable[[int], bool]:
    """When a checkpoint is due: every so many steps, or each minute (what a checkpoint holds does not depend on it)."""
    last = time.monotonic()

    def due(step: int) -> bool:
        nonlocal last
        now = time.monotonic()
        if not (step % every == 0 if every else team.any(now - last >= CHECKPOINT_SECONDS)):
            return False
        last = now
        return True

    return due


CHECKPOINT_SECONDS = 60.0
READINGS = 60  # times in a run that the probes read a step


def fingerprint(setup: Setup) -> str:
    """Of the rows, settings and shapes a checkpoint belongs to."""
    data = setup.material.data
    sha = hashlib.sha256()
    for texts in (data.query_texts, data.document_texts):
        sha.update(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    for tensor in (data.query, data.positive, data.negatives, data.group, data.weight, data.target):
        sha.update(b"none" if tensor is None else tensor.numpy().tobytes())
    if setup.material.stream is not None:
        sha.update(repr(setup.material.stream.shards.sizes).encode())
    # the rows themselves are looked at; of shards, no row that was trained on would have been skipped
    settings = setup.recipe.model_dump(mode="json", exclude={"run": True, "data": {"on_bad_rows"}})
    shapes = {name: list(value.shape) for name, value in setup.objective.model.state_dict().items()}
    sha.update(json.dumps([settings, shapes], sort_keys=True).encode())
    return sha.hexdigest()[:32]


def _rated(setup: Setup) -> tuple[Plan, dict[str, Any]]:
    """The plan with its learning rate, and the facts of the test."""
    wanted = setup.recipe.optim.learning_rate
    if wanted != "auto":
        return plan_for(setup, wanted), {}
    anchor = setup.chosen.anchor
    plan = plan_for(setup, anchor)
    trial = max(10, min(TRIAL_STEPS, setup.chosen.steps // 20))
    test = learning_rate_test(setup.objective, setup.material, setup.groups, plan, anchor=anchor, trial=trial)
    losses = {f"{rate:.2g}": loss for rate, loss in test.losses.items()}
    return replace(plan, learning_rate=test.chosen), {
        "rate_test.losses": losses,
        "rate_test.start": test.start,
        "rate_test.steps": test.steps,
    }


TRIAL_STEPS = 60  # of the learning-rate test: long enough for the schedule, short enough to be repeated


def _with_texts(error: NonFiniteLossError, material: Material) -> NonFiniteLossError:
    """The same error with the first texts of the batch, or their places, which is what a user can look at."""
    if material.stream is not None:
        where = "; ".join(material.stream.shards.named(row) for row in error.rows[:3])
        return NonFiniteLossError(f"{error.message}: {where}", rows=error.rows, hint=error.hint)
    data = material.data
    texts = [data.query_texts[int(data.query[row])][:80] for row in error.rows[:3]]
    return NonFiniteLossError(f"{error.message}; texts: {texts}", rows=error.rows, hint=error.hint)
