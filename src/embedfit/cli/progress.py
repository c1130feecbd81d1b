"""Live progress of a training run on stderr: steps, time left, loss between floor and chance, held-out metric."""

from __future__ import annotations

__all__ = ["Live"]

import math
import time
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.live import Live as Display
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.text import Text

from embedfit.cli.terminal import console
from embedfit.engine.fit import Setup
from embedfit.engine.levels import too_wide

PATIENCE = 30.0  # seconds after which a log gets a line though nothing was measured


class Live:
    """Shows a run while it trains. On a terminal three moving lines; elsewhere one line per evaluation.

    Told what happens as `embedfit.job.Watcher` says.
    """

    def __init__(self) -> None:
        self.spinner = Spinner("line")
        self.phase = "preparing"
        self.metric = self.bounds = self.lexical = self.held_out = ""
        self.loss = float("nan")
        self.began, self.said, self.first = 0.0, 0.0, 0
        self.console = console(stderr=True)
        self.bar = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn(),
            TextColumn("left"), console=self.console,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=None)
        self.display = Display(console=self.console, get_renderable=self.view, transient=True, refresh_per_second=4)

    def __enter__(self) -> Live:
        if self.console.is_terminal:
            self.display.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.display.stop()

    def begin(self, setup: Setup, metric: str, lexical: float | None) -> None:
        """Say what "auto" became."""
        facts, chosen = setup.facts, setup.chosen
        self.metric = metric
        self.bounds = f"floor {facts['loss.floor']:.3g}, chance {facts['loss.chance']:.3g}"
        self.lexical = "" if lexical is None else f" (TF-IDF {lexical:.3f})"
        kind = facts["chosen.model"]
        of_loss = f", temperature {chosen.temperature:.3g}" if "chosen.temperature" in facts else ""
        of_loss += f", {chosen.candidates:,} candidates a query" if "loss.candidates" in facts else ""
        self.say(
            f"model    {kind}, {facts['model.parameters']:,} parameters, {facts['model.dimension']} dimensions\n"
            f"loss     {chosen.loss}{of_loss}\n"
            f"length   {chosen.steps:,} steps of {chosen.batch_size} at most, {chosen.steps_per_epoch:,} in an epoch"
        )
        if warning := too_wide(facts):
            self.say(f"note     {warning}")
        self.phase = "finding a learning rate" if setup.recipe.optim.learning_rate == "auto" else "starting"
        if not self.console.is_terminal:
            self.say(self.phase)

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """Take in the readings of a step."""
        if self.phase:
            self.phase = ""
            self.began = self.said = time.perf_counter()
            self.first = step - 1
            self.bar.reset(self.task, total=steps, completed=self.first)
        if "loss" in readings:
            fresh = readings["loss"]
            # a single batch's loss jumps; the eye wants the trend
            self.loss = fresh if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * fresh
        self.bar.update(self.task, completed=step)
        fresh_metric = readings.get(f"dev/{self.metric}")
        if fresh_metric is not None:
            self.held_out = f"held-out {self.metric} {fresh_metric:.3f}{self.lexical}"
        if "guard" in readings:
            self.say(
                f"step {step}: embeddings collapsed; back to the weights of step {readings['guard/back_to']:.0f}, on "
                f"with batches of {readings['guard/batch_size']:.0f} at {readings['guard/rate']:.2g} times the rate"
            )
        now = time.perf_counter()
        if not self.console.is_terminal and (fresh_metric is not None or now - self.said > PATIENCE):
            self.said = now
            told = [f"step {step} of {steps}", self.left(step, steps), self.loss_line(), self.held_out]
            self.say(", ".join(part for part in told if part))

    def say(self, text: str) -> None:
        """Print a sentence above the moving lines."""
        self.console.print(text, markup=False, style="dim", soft_wrap=not self.console.is_terminal)
        if text == "evaluating":
            self.phase = text

    def view(self) -> RenderableType:
        """The moving lines."""
        if self.phase:
            self.spinner.update(text=self.phase)
            return self.spinner
        return Group(self.bar, Text(self.loss_line()), Text(self.held_out))

    def loss_line(self) -> str:
        """Where the loss stands."""
        if math.isnan(self.loss):
            return f"no loss yet ({self.bounds})"
        return f"loss {self.loss:.3f} ({self.bounds})"

    def left(self, step: int, steps: int) -> str:
        """The time left, from the pace so far; empty before there is one."""
        done = step - self.first
        seconds = (time.perf_counter() - self.began) / max(1, done) * (steps - step)
        return f"about {seconds:.0f} s left" if done > 1 else ""
