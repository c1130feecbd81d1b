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
from embedfit.evaluate.scope import ENOUGH
from embedfit.recipe import Recipe
from embedfit.run import Run
from embedfit.team import ALONE, Team


def train_in(folder: Path, recipe: Recipe, team: Team = ALONE, *, resume: bool, form: str) -> None:
    """Train in a folder and print the result; of several processes, the first one speaks."""
    if not team.leads:
        job.train(job.gather(recipe), recipe, folder, resume=resume)
        return
    with kept(folder, resume_command(folder)):
        job.open_folder(folder, resume=resume)  # before reading, which may take long
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
    train, dev = rows.train, rows.dev
    say(f"{train.source}: {describe_binding(train)}", style="dim")
    if dev is not None and dev.source != train.source:
        say(f"held out {dev.source}: {len(dev):,} rows beside {len(train):,} to train on", style="dim")
        if describe_binding(dev) != describe_binding(train):
            say(f"held out {describe_binding(dev)}", style="dim")
    if rows.out_of_scope:
        use = (
            "the threshold is chosen with them"
            if len(rows.out_of_scope) >= ENOUGH
            else f"too few to choose the threshold with, which takes {ENOUGH}"
        )
        say(f"{len(rows.out_of_scope):,} texts without an answer: {use}", style="dim")
    if train.left_out:
        say(f"{len(train.left_out):,} rows were left out; the first: {train.left_out[0]}", style="yellow")
