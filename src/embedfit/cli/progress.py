"""Live progress of a training run on stderr: steps, time left, loss between floor and chance, held-out metric."""

from __future__ import annotations

__all__ = ["Live"]

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Live:
    """Shows a run while it trains. On a terminal one moving line; elsewhere one line per evaluation.

    Args:
        metric: name of the main held-out metric.
        floor: how low the loss can get.
        chance: the loss when all candidates look alike.
        lexical: the lexical baseline's metric.
    """

    def __init__(self, metric: str, *, floor: float, chance: float, lexical: float | None) -> None:
        self.metric = metric
        self.bounds = f"floor {floor:.3g}, chance {chance:.3g}"
        self.lexical = "" if lexical is None else f" (lexical {lexical:.3f})"
        self.console = Console(file=sys.stderr, highlight=False)
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None)
        self.loss = float("nan")
        self.held_out = ""
        self.began = time.perf_counter()

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def __call__(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """Take in the readings of a step."""
        if "loss" in readings:
            fresh = readings["loss"]
            # a single batch's loss jumps; the eye wants the trend
            self.loss = fresh if self.loss != self.loss else 0.9 * self.loss + 0.1 * fresh
        key = f"dev/{self.metric}"
        if key in readings:
            self.held_out = f"; held-out {self.metric} {readings[key]:.3f}{self.lexical}"
            if not self.console.is_terminal:
                self.console.print(f"step {step} of {steps}, {self._left(step, steps)}{self._line()}", soft_wrap=True)
        self.bar.update(self.task, completed=step, total=steps, description=self._line())

    def _line(self) -> str:
        return f"loss {self.loss:.3f} ({self.bounds}){self.held_out}"

    def _left(self, step: int, steps: int) -> str:
        seconds = (time.perf_counter() - self.began) / max(1, step) * (steps - step)
        return f"about {seconds:.0f} s left, "
