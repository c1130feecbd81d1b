"""What is written where: results on stdout, talk on stderr. Colour only repeats what the words say."""

from __future__ import annotations

__all__ = ["complain", "console", "print_json", "say", "show"]

import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

WIDTH = 120  # of tables that do not go to a terminal


def console(*, stderr: bool = False) -> Console:
    """A console on one of the two streams; without colour and emphasis under NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    plain = bool(os.environ.get("NO_COLOR"))
    return Console(stderr=stderr, highlight=False, emoji=False, color_system=None if plain else "auto", width=width)


def show(*things: RenderableType) -> None:
    """Print results. On a terminal lines are broken between words, elsewhere never."""
    out = console()
    with out.capture() as text:  # so that a closed pipe is ours to handle, not that of rich
        for thing in things:
            out.print(thing, markup=False, soft_wrap=not out.is_terminal)
    sys.stdout.write(text.get())


def say(text: str, *, style: str = "") -> None:
    """Print talk: progress, what was understood, what to do next."""
    err = console(stderr=True)
    err.print(text, style=style, markup=False, soft_wrap=not err.is_terminal)


def complain(word: str, message: str, *, hint: str | None = None) -> None:
    """Print `word: message`, and `hint: ...` on a line of its own."""
    err = console(stderr=True)
    err.print(Text.assemble((f"{word}: ", "bold red"), message), soft_wrap=True)
    if hint:
        err.print(Text.assemble(("hint: ", "bold cyan"), hint), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value; numbers that are not finite become null."""
    sys.stdout.write(json.dumps(_jsonable(value), ensure_ascii=False, indent=2) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, float):  # those of numpy too, which json would not take
        return float(value) if math.isfinite(value) else None
    return value
