"""`demo`."""

from __future__ import annotations

__all__ = ["demo"]

import click

from embedfit.cli.options import model_kind


@click.command(short_help="Train, evaluate and search on the embedded data set.")
@model_kind
@click.option("--out", default="runs/demo", show_default=True, metavar="DIR", help="Folder of the run.")
def demo(model: str | None, out: str) -> int:
    """Train on the embedded data set, in a minute: a support desk's questions in English and Chinese.

    Trains from scratch, measures on held-out rows and on an exam that shares next to no words with them, chooses
    the threshold below which there is no answer, searches, and writes the report.
    """
    from pathlib import Path

    from embedfit.cli.exhibit import exhibit

    exhibit(Path(out), model)
    return 0
