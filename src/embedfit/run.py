"""`Run`: all that is known of one training run, as a folder. Engine and doctor share nothing else.

runs/first/
  recipe.toml         every setting, as the user gave it
  facts.json          of the data and of what "auto" became: counts, shares, chosen values
  history.jsonl       one line per reading: {"step": 40, "loss": 1.93, ...}
  evaluation.json     held-out metrics of the best model, with intervals and the lexical baseline
  findings.json       what the doctor was certain of while the run trained, and at which step
  samples.json        a few rows kept as evidence (worst pairs, rows left out)
  environment.json    versions, threads, machine
  checkpoints/        resumable state
  model/              the trained model
  report.html
"""

from __future__ import annotations

__all__ = ["History", "Run", "load", "sweep", "write_atomically", "write_json"]

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedfit.errors import RunError
from embedfit.recipe import Recipe, from_toml


@dataclass(slots=True)
class History:
    """Readings by name: `history["loss"]` is a list of (step, value)."""

    readings: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append one value under each name."""
        for name, value in values.items():
            self.readings.setdefault(name, []).append((step, float(value)))

    def __getitem__(self, name: str) -> list[tuple[int, float]]:
        return self.readings[name]

    def __contains__(self, name: str) -> bool:
        return name in self.readings

    def __iter__(self) -> Iterator[str]:
        return iter(self.readings)

    def last(self, name: str) -> float:
        """The newest value of a reading.

        Raises:
            KeyError: there is no such reading.
        """
        return self.readings[name][-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run. Plain data: a check, a report or a test can make one by hand.

    Attributes:
        recipe: the settings as given.
        facts: numbers and names about the data and what "auto" became, flat with dotted keys ("data.rows").
        history: readings over the steps.
        evaluation: held-out metrics, flat ("recall@10", "recall@10/low", "lexical/recall@10").
        samples: rows kept as evidence, by name.
        environment: versions and machine.
        folder: where it lies on disk; None for a run that was never written.
    """

    recipe: Recipe = field(default_factory=Recipe)
    facts: Mapping[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def load(folder: str | os.PathLike[str]) -> Run:
    """Read a run folder.

    Raises:
        RunError: there is none, or a file of it is missing or broken.
    """
    place = Path(folder)
    if not place.is_dir():
        siblings = sorted(p.name for p in place.parent.iterdir() if p.is_dir()) if place.parent.is_dir() else []
        hint = f"in '{place.parent}' there are: {', '.join(siblings[:8])}" if siblings else None
        raise RunError(f"no run folder at '{place}'", hint=hint)
    if not (place / "recipe.toml").is_file():
        raise RunError(
            f"'{place}' is no run folder: it has no recipe.toml", hint="`embedfit train DATA --out DIR` makes one"
        )
    return Run(
        recipe=from_toml(place / "recipe.toml"),
        facts=_read(place / "facts.json"),
        history=read_history(place / "history.jsonl"),
        evaluation=_read(place / "evaluation.json"),
        samples=_read(place / "samples.json"),
        environment=_read(place / "environment.json"),
        folder=place,
    )


def read_history(path: Path) -> History:
    """The history file; a last line cut short by a crash is not counted.

    Raises:
        RunError: a line other than the last is broken.
    """
    history = History()
    if not path.is_file():
        return history
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}", hint="check that it may be read") from None
    for number, line in enumerate(lines, 1):
        try:
            reading = json.loads(line)
            step = int(reading.pop("step"))
            values = {name: math.nan if value is None else float(value) for name, value in reading.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            if number == len(lines):
                break
            raise RunError(
                f"{path}, line {number}: broken", hint="delete the line, or train again with --resume"
            ) from None
        history.add(step, values)
    return history


def write_json(path: Path, value: object) -> None:
    """Write JSON so that the file is either the old or the new one, never half of it. NaN becomes null."""
    with write_atomically(path) as part:
        part.write_text(json.dumps(_finite(value), ensure_ascii=False, indent=1) + "\n", "utf-8")


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed, on failure removed.

    Raises:
        RunError: the disk is full or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RunError(
            f"cannot write '{path}': {error.strerror or error}", hint="choose another folder with --out"
        ) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write '{path}': {error.strerror or error}", hint="nothing was lost: free space, then --resume"
        ) from error
    finally:
        part.unlink(missing_ok=True)


FILES = (
    "recipe.toml", "facts.json", "history.jsonl", "evaluation.json", "samples.json", "environment.json",
    "findings.json", "report.html", "model", "last.safetensors", "keys.npy", "owner.npy", "candidates.parquet",
    "catalogue.json", "words.parquet", "words.json",
)  # fmt: skip
# the second kind is safetensors', which renames its own file onto the one that it was given
_TEMPORARY = re.compile(rf"\.({'|'.join(map(re.escape, FILES))})\.\w{{8}}|\.tmp\w{{6}}")


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a run folder."""
    for place in (folder, folder / "checkpoints", folder / "catalogue"):
        for path in temporary(place):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def temporary(place: Path) -> list[Path]:
    """Half-written files and folders, under the names that they had until they were whole."""
    return [path for path in place.glob(".*") if _TEMPORARY.fullmatch(path.name)]


def _read(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}", hint="check that it may be read") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise RunError(f"'{path}' is broken: {error}", hint="train again into another folder") from None
    if not isinstance(value, dict):
        raise RunError(f"'{path}' is broken: expected a JSON object", hint="train again into another folder")
    return value


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
