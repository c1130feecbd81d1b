"""history.jsonl: one line per step, appended; a resumed run cuts it back to its checkpoint first."""

from __future__ import annotations

__all__ = ["Journal"]

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from embedfit.errors import RunError
from embedfit.run import write_atomically


class Journal:
    """Appends readings to a file.

    Args:
        path: of the file; made if it is not there.
        keep_until: lines of later steps are dropped (a resumed run makes them again).

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.path = path
        self.lines: list[str] = []
        kept = [line for line in _lines(path) if _step(line) <= keep_until] if keep_until else []
        with write_atomically(path) as part:
            part.write_text("".join(kept), "utf-8")

    def add(self, step: int, readings: Mapping[str, float]) -> None:
        """Remember readings; they reach the disk with the next `flush`, or by themselves every 100 lines."""
        finite = {name: value if math.isfinite(value) else None for name, value in readings.items()}
        self.lines.append(json.dumps({"step": step, **finite}) + "\n")
        if len(self.lines) >= 100:
            self.flush()

    def flush(self) -> None:
        """Write what is remembered and wait until it is on the disk.

        Raises:
            RunError: the disk is full or not writable.
        """
        if not self.lines:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(self.lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            hint = "nothing was lost: free space, then --resume"
            raise RunError(f"cannot write '{self.path}': {error.strerror}", hint=hint) from error
        self.lines.clear()


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", errors="replace").splitlines(keepends=True) if path.is_file() else []


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # cut short by a crash
