"""Evaluation of a model on rows, with the rows of its own run as what it may know."""

from __future__ import annotations

__all__ = ["known_rows", "measured"]

from embedfit import job
from embedfit.api import measure
from embedfit.cli.sources import Opened
from embedfit.cli.terminal import say
from embedfit.errors import DataError
from embedfit.evaluate import Evaluation
from embedfit.pairs import Pairs


def measured(opened: Opened, pairs: Pairs, known: Pairs | None) -> Evaluation:
    """Evaluate."""
    say(f"evaluating on {len(pairs):,} rows", style="dim")
    return measure(opened.run or opened.model, pairs, known=known)


def known_rows(opened: Opened, pairs: Pairs) -> Pairs | None:
    """The rows a run was made from, where they are still there and of the same kind."""
    if opened.run is None or pairs.kind in ("graded", "collection"):
        return None
    data = opened.run.record.recipe.data
    if not data.files:
        say("the rows of this run were given in memory: name them with --known, or only documents of these rows count")
        return None
    try:
        known = job.read_files(opened.run.record.recipe, data.files)
    except DataError as error:
        say(f"its documents are no candidates, the rows of the run cannot be read: {error.message}", style="yellow")
        return None
    if known.kind != pairs.kind:
        return None
    say(f"known    {known.source}: {len(known):,} rows of the run, their documents are candidates too", style="dim")
    return known
