"""Who is told what a job is doing, and what the doctor says of it while it trains."""

from __future__ import annotations

__all__ = ["FINDINGS", "Silent", "Watch", "Watcher"]

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from embedfit.doctor import Finding
from embedfit.doctor.vigil import Vigil
from embedfit.engine.fit import Setup
from embedfit.errors import NonFiniteLossError
from embedfit.run import Run, read_history, write_json

FINDINGS = "findings.json"
LOOKS = 12  # in a run in which nothing is measured


@runtime_checkable
class Watcher(Protocol):
    """Who is told what a job is doing."""

    def begin(self, setup: Setup, metric: str, lexical: float | None) -> None:
        """Training is about to start."""

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """After each step."""

    def say(self, text: str) -> None:
        """A sentence for the user."""


class Silent:
    """A watcher that says nothing."""

    def begin(self, setup: Setup, metric: str, lexical: float | None) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Watch:
    """Tells a watcher and a run folder what the doctor is certain of, while the run trains.

    Used as a context: a loss that is no finite number leaves through it, and is written down on the way.

    Args:
        folder: of the run.
        watcher: is told.
        record: recipe and facts of the run.
        resume: go on with the history and the findings of the folder, if it has a checkpoint to go on from.
    """

    def __init__(self, folder: Path, watcher: Watcher, record: Run, *, resume: bool) -> None:
        self.folder, self.watcher, self.stops = folder, watcher, record.recipe.run.give_up
        self.goes_on = resume and (folder / "checkpoints" / "last.safetensors").is_file()
        self.earlier = folder / "history.jsonl" if self.goes_on else None
        self.found: list[dict[str, Any]] = _read(folder / FINDINGS) if self.goes_on else []
        self.vigil = Vigil(record, tuple(f["code"] for f in self.found))

    def __enter__(self) -> Watch:
        """Say what is certain before the first step; of the rows, the audit has spoken."""
        if not self.goes_on:
            (self.folder / FINDINGS).unlink(missing_ok=True)  # of a run that is begun anew
        self._tell(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NonFiniteLossError):
            if self.earlier is not None:  # in the first step after an interruption
                self._recall()
            step = self.vigil.record.history.readings.get("loss", [(0, 0.0)])[-1][0] + 1
            self.vigil.take(step, {"loss": math.nan})
            self._tell(step)

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> str:
        """After each step; the answer is why going on is of no use, if it is."""
        if self.earlier is not None:
            self._recall(step)
        self.vigil.take(step, readings)
        self.watcher.step(step, steps, readings)
        measured = any(name.startswith("dev/") for name in readings)
        if step == 0 or not (measured or step % max(1, steps // LOOKS) == 0):
            return ""
        self._tell(step)
        lost = self.vigil.hopeless() if self.stops else None
        return "" if lost is None else f"{lost.symptom} ({lost.code} {lost.name})"

    def _recall(self, step: int | None = None) -> None:
        """The readings before the interruption; where training goes on with a step, those before that."""
        path, self.earlier = self.earlier, None
        assert path is not None
        for name, curve in read_history(path).readings.items():
            self.vigil.record.history.readings[name] = [(s, v) for s, v in curve if step is None or s < step]

    def _tell(self, step: int) -> None:
        fresh = self.vigil.look()
        for finding in fresh:
            if step or not finding.code.startswith("DAT"):
                self.watcher.say(_line(step, finding))
            self.found.append({"step": step, **finding.to_dict()})
        if fresh:
            write_json(self.folder / FINDINGS, {"findings": self.found})


def _line(step: int, finding: Finding) -> str:
    cure = f"; {finding.prescription[0].why}" if finding.prescription else ""
    return f"doctor   step {step}: {finding.symptom}{cure} (embedfit explain {finding.code})"


def _read(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text("utf-8"))["findings"]) if path.is_file() else []
