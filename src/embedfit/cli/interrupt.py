"""Ctrl-C: one line that says what is kept, and the command to go on with."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "Interrupted", "kept", "resume_command"]

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 (no error: the user's wish)
    """The user pressed Ctrl-C; the message says what is kept."""


@contextlib.contextmanager
def kept(folder: Path, again: str) -> Iterator[None]:
    """Say what is left in a run folder when the body is interrupted; a folder left empty is taken away.

    Args:
        folder: of the run.
        again: the command that goes on.

    Raises:
        Interrupted: instead of KeyboardInterrupt.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(left(folder, again)) from None
    finally:
        for place in made:
            with contextlib.suppress(OSError):  # not empty, or never made
                place.rmdir()


def left(folder: Path, again: str) -> str:
    """What an interrupted run has on disk, and how to go on."""
    if (folder / "evaluation.json").is_file():
        return f"the trained model is kept in {folder}"
    if not (folder / "recipe.toml").is_file():
        return "nothing was written"
    checkpoint = folder / "checkpoints" / "last.safetensors"
    if checkpoint.is_file():
        return f"the checkpoint of step {step_of(checkpoint):,} is kept; go on with: {again}"
    return f"there was no checkpoint yet, one is written each minute; begin again with: {again}"


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint was written at, from its header alone."""
    from safetensors import safe_open

    with safe_open(checkpoint, framework="np") as file:
        return int(json.loads(file.metadata()["embedfit"])["step"])


def resume_command(folder: Path) -> str:
    """The command that goes on with a run: its folder holds all settings."""
    return f"embedfit train {shlex.quote(str(folder))} --resume"
