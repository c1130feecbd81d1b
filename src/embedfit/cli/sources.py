"""From what was typed to rows, recipes, folders and models."""

from __future__ import annotations

__all__ = ["Opened", "free_folder", "open_model", "read_rows", "recipe_of", "run_folder"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from embedfit.api import TrainedRun, load, load_run
from embedfit.cli.interrupt import resume_command
from embedfit.cli.terminal import say
from embedfit.data import describe_binding, read
from embedfit.errors import RunError
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, from_toml, parse_change, patch
from embedfit.towers import TwoTower


@dataclass(frozen=True, slots=True)
class Opened:
    """A model, and the run it comes from, if it comes from one."""

    model: TwoTower
    run: TrainedRun | None


def read_rows(data: Sequence[str], **reading: Any) -> Pairs:
    """Read a table and say what was understood."""
    pairs = read(data[0] if len(data) == 1 else list(data), **reading)
    say(f"{pairs.source}: {len(pairs):,} rows of kind {describe_binding(pairs)}", style="dim")
    if pairs.left_out:
        say(f"{len(pairs.left_out):,} rows were left out; the first: {pairs.left_out[0]}", style="yellow")
    return pairs


def recipe_of(
    data: Sequence[str], *, model: str | None = None, dev: str | None = None, changes: Sequence[str] = (), **more: Any
) -> Recipe:
    """The recipe that a command line asks for: read from a file or run folder, or made for data; then changed.

    Args:
        data: what was named: one recipe or run folder, or files of rows.
        model: kind or path.
        dev: a file, or a share or number of rows.
        changes: `key=value` each.
        **more: settings of the section `data`.
    """
    written = recipe_file(data)
    change: dict[str, Any] = {} if written else {"data.files": list(data)}
    change |= {f"data.{name}": value for name, value in more.items()}
    change |= {} if model is None else {"model.kind": model}
    change |= {} if dev is None else held_out(dev)
    return patch(from_toml(written) if written else Recipe(), change | dict(parse_change(text) for text in changes))


def recipe_file(data: Sequence[str]) -> Path | None:
    """The recipe among what was named; None where rows were named."""
    place = Path(data[0])
    if len(data) == 1 and place.suffix == ".toml":
        return place
    return place / "recipe.toml" if len(data) == 1 and (place / "recipe.toml").is_file() else None


def held_out(dev: str) -> Mapping[str, Any]:
    """`--dev 0.2` is a share, `--dev 500` a number of rows, everything else a file."""
    try:
        return {"data.dev": float(dev)}
    except ValueError:
        return {"data.dev_files": [dev]}


def run_folder(data: Sequence[str], recipe: Recipe, out: str | None, *, resume: bool) -> Path:
    """Where a run goes: as asked, or the next free `runs/<data>-<n>`; to go on, the newest unfinished one.

    Raises:
        RunError: there is nothing to resume.
    """
    if out is not None:
        return Path(out)
    named = Path(data[0])
    if resume and (named / "recipe.toml").is_file():
        return named
    base = Path("runs") / name_of(recipe.data.files)
    if not resume:
        return next(place for n in count(1) if not (place := base.with_name(f"{base.name}-{n}")).exists())
    unfinished = [p for p in numbered(base) if (p / "recipe.toml").is_file() and not (p / "evaluation.json").exists()]
    if not unfinished:
        raise RunError(f"there is no unfinished run '{base}-<n>' to resume", hint="name its folder with --out")
    return unfinished[-1]


def numbered(base: Path) -> list[Path]:
    """Folders `base-1`, `base-2`, ..., in the order of their numbers."""
    own = re.compile(re.escape(base.name) + r"-(\d+)")
    found = [(int(m[1]), p) for p in base.parent.glob("*") if (m := own.fullmatch(p.name))]
    return [place for _, place in sorted(found)]


def name_of(files: Sequence[str]) -> str:
    """A short name for data: of the file without its endings, or of its folder where a pattern was given."""
    if not files:
        return "run"
    path = Path(files[0])
    while "*" in path.name:
        path = path.parent
    name = path.name.split(".")[0] or path.resolve().name
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "run"


def free_folder(wanted: Path) -> Path:
    """The folder itself if it is free, else `wanted-2`, `wanted-3`, ..."""
    return next(p for n in count(1) if not (p := wanted if n == 1 else wanted.with_name(f"{wanted.name}-{n}")).exists())


def open_model(where: str) -> Opened:
    """Load a run's model, or any other.

    Raises:
        RunError: the run is not finished.
        ModelError: there is no such model.
    """
    place = Path(where)
    if not (place / "recipe.toml").is_file():
        return Opened(load(where), None)
    if not (place / "evaluation.json").is_file():
        raise RunError(f"the run in '{place}' is not finished", hint=f"go on with `{resume_command(place)}`")
    run = load_run(place)
    return Opened(run.model, run)
