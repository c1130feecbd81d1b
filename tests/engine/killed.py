"""Training in a process of its own that dies at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from little import recipe, rows

INTERRUPTED = 130


class Killer:
    """A watcher that ends its own process after a step."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.at = step
        self.number = number

    def begin(self, setup: object, metric: str, lexical: float | None) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """Send the signal."""
        if step == self.at and "loss" in readings:
            os.kill(os.getpid(), self.number)

    def say(self, text: str) -> None:
        """Nothing."""


def die(*words: object, **more: object) -> None:
    """No `finally` runs, no buffer is written."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but its n-th call kills the process."""
    calls = 0

    def function(*words: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            die()
        return real(*words, **more)

    return function


def half_written(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function that writes a checkpoint, but at the n-th call the process dies when half of the file is there."""
    calls = 0

    def function(tensors: Any, path: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        real(tensors, path, **more)
        if calls == call:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    return function


def fate(moment: str) -> Killer | None:
    """Arrange for the process to die at a moment such as "step 4"; returns a watcher where it takes one."""
    from embedfit import job, judging
    from embedfit.engine import checkpoint

    what, _, number = moment.partition(" ")
    if what == "step":
        return Killer(int(number), signal.SIGKILL)
    if what == "ctrl-c":
        return Killer(int(number), signal.SIGINT)
    if what == "checkpoint":
        checkpoint.save_file = half_written(int(number), checkpoint.save_file)
    elif what == "evaluation":
        judging.evaluate_bare = dying_at(int(number), judging.evaluate_bare)
    elif what == "judging":
        job.judge = die
    elif what == "model":
        job.catalogues.save = die
    elif what == "samples":
        job.runs.write_json = dying_at(2, job.runs.write_json)
    elif what == "report":
        job.report.write = die
    return None


def child(kind: str, model: str, folder: Path, more: dict[str, Any], moment: str) -> None:
    """Train, or go on, until the end or until the moment."""
    import embedfit as ef

    watcher = fate(moment)
    try:
        ef.fit(rows(kind), recipe=recipe(model, **more), out=folder, resume=True, watcher=watcher)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def train(kind: str, model: str, folder: Path, more: dict[str, Any], moment: str = "never") -> int:
    """The same in a process of its own; returns how it ended: 0, 130 after Ctrl-C, -9 after a kill."""
    process = SERVER.Process(target=child, args=(kind, model, folder, more, moment))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


# forks from a clean process that has imported everything once
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["embedfit.api", "little"])
