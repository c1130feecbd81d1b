"""`train`."""

from __future__ import annotations

__all__ = ["train"]

from typing import Any

import click

from embedfit.cli.options import as_given, as_json, model_kind, reading, settings


@click.command(short_help="Train a model and evaluate it.")
@click.argument("data", nargs=-1, required=True, metavar="DATA|RECIPE")
@model_kind
@click.option("--dev", metavar="FILE|SHARE", help="Held-out rows: a file, a share below 1 (default 0.1), or a number.")
@click.option(
    "--out-of-scope",
    multiple=True,
    metavar="FILE",
    help="Texts that have no answer, to choose the threshold of `search` with.",
)
@click.option("--out", metavar="DIR", help="Folder of the run; by default the next free runs/<data>-<n>.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run from its last checkpoint.")
@settings
@reading
@as_json
def train(data: tuple[str, ...], out: str | None, resume: bool, form: str, **wanted: Any) -> int:
    """Train a model on DATA or as a RECIPE says, and evaluate it on held-out rows.

    DATA is one or more files (CSV, TSV, JSONL, Parquet), a folder, a glob, or a data set of the Hugging Face hub.
    RECIPE is a file that `embedfit init` wrote, or the folder of another run.

    \b
    embedfit train faq.csv
    embedfit train faq.csv --model sentence-transformers/all-MiniLM-L6-v2 --set optim.length="2 epochs"
    embedfit train runs/faq-1 --resume
    torchrun --nproc-per-node 4 -m embedfit train faq.csv --out runs/shared
    """
    from embedfit.cli.sources import recipe_of, run_folder
    from embedfit.cli.training import train_in
    from embedfit.team import joined

    recipe = recipe_of(data, **as_given(wanted))
    with joined() as team:
        folder = team.tell(run_folder(data, recipe, out, resume=resume) if team.leads else None)
        train_in(folder, recipe, team, resume=resume, form=form)
    return 0
