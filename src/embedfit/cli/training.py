"""One training run as the command line shows it."""

from __future__ import annotations

__all__ = ["train_in"]

from pathlib import Path

from embedfit import job
from embedfit.cli.interrupt import kept, resume_command
from embedfit.cli.progress import Live
from embedfit.cli.results import result, show_run
from embedfit.cli.terminal import print_json, say
from embedfit.data import describe_binding
from embedfit.recipe import Recipe
from embedfit.run import Run


def train_in(folder: Path, recipe: Recipe, *, resume: bool, form: str) -> None:
    """Train in a folder and print the result."""
    with kept(folder, resume_command(folder)):
        rows = job.gather(recipe)
        tell_rows(rows)
        run = watched(rows, recipe, folder, resume=resume)
    if form == "json":
        print_json(result(run))
    else:
        show_run(run)


def watched(rows: job.Rows, recipe: Recipe, folder: Path, *, resume: bool) -> Run:
    """Train with live progress."""
    say(f"run      {folder}", style="dim")
    with Live() as live:
        run, _ = job.train(rows, recipe, folder, resume=resume, watcher=live)
    return run


def tell_rows(rows: job.Rows) -> None:
    """What was read and bound, and how it is divided."""
    train = rows.train
    say(f"{train.source}: {describe_binding(train)}", style="dim")
    held_out = "" if rows.dev is None else f", {len(rows.dev):,} held out"
    outside = f", {len(rows.out_of_scope):,} texts without an answer" if rows.out_of_scope else ""
    say(f"rows     {len(train):,} to train on{held_out}{outside}", style="dim")
    if train.left_out:
        say(f"{len(train.left_out):,} rows were left out; the first: {train.left_out[0]}", style="yellow")
