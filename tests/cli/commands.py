"""A small table, and a way to type commands and to interrupt them."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from embedfit.cli.app import app
from embedfit.cli.progress import Live

THINGS = ("battery", "light", "brake", "wheel", "saddle", "chain", "motor", "lock", "tyre", "pedal")
TROUBLES = {"is broken": "repair", "is lost": "replace", "arrived late": "refund", "is too small": "resize"}
OPENINGS = ("my", "the", "help, my", "hello the", "why is it that my", "sorry but our")
QUICK = ("--model", "static", "--set", "optim.length=3 epochs", "--set", "optim.learning_rate=0.01")


def write_faq(path: Path) -> Path:
    """240 questions for 40 standard questions."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "standard_question"])
        for thing in THINGS:
            for trouble, cure in TROUBLES.items():
                rows.writerows([f"{how} {thing} {trouble}", f"How do I {cure} the {thing}?"] for how in OPENINGS)
    return path


def typed(*words: str | Path, **environment: str) -> Result:
    """What `embedfit WORDS...` writes and how it ends."""
    return CliRunner().invoke(app, [str(word) for word in words], env=dict(environment), prog_name="embedfit")


def stop(*words: object, **more: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after a step of training."""
    real = Live.step

    def until(self: Live, number: int, steps: int, readings: Mapping[str, float]) -> None:
        real(self, number, steps, readings)
        if number == step:
            stop()

    monkeypatch.setattr(Live, "step", until)


def again(said: str) -> list[str]:
    """The words of the command that a message ends with."""
    return shlex.split(said.strip().rpartition(": ")[2])[1:]
