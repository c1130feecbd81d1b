"""Evaluation of a model on rows, with the rows of its run as what it may know; two models on the same rows."""

from __future__ import annotations

__all__ = ["Asked", "Contest", "asked", "compared", "measured"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embedfit.api import measure
from embedfit.cli.sources import Opened, read_rows
from embedfit.cli.terminal import say
from embedfit.errors import DataError
from embedfit.evaluate import Comparison, Evaluation, compare, is_binary
from embedfit.gathering import gather, training_rows
from embedfit.pairs import Pairs
from embedfit.team import ALONE, Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What models are measured on.

    Attributes:
        rows: the rows.
        known: rows whose documents are candidates too.
        dev: pairs to choose a threshold on.
    """

    rows: Pairs
    known: Pairs | None = None
    dev: Pairs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two models on the same rows.

    Attributes:
        names: as they were typed.
        evaluations: of both; only the first has baselines.
        comparison: of both.
    """

    names: tuple[str, str]
    evaluations: tuple[Evaluation, Evaluation]
    comparison: Comparison

    def verdict(self) -> str:
        """One sentence."""
        return self.comparison.verdict(*self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        first, second = (e.record() for e in self.evaluations)
        del first["verdict"], second["verdict"]  # each of them alone; here the two are compared
        return {
            "first": {"model": self.names[0], **first},
            "second": {"model": self.names[1], **second},
            **self.comparison.to_dict(),
            "verdict": self.verdict(),
        }


def asked(data: str, models: Sequence[Opened], *, known: str | None, dev: str | None, **reading: Any) -> Asked:
    """Read the rows, and those they need beside: as typed, or those of the first of the models that has any.

    Args:
        data: file of the rows.
        models: that will be measured.
        known: file of known rows.
        dev: file of pairs to choose a threshold on.
        **reading: how they are read.
    """
    rows = read_rows([data], **reading)
    return Asked(
        rows=rows,
        known=read_rows([known], **reading) if known else known_rows(models, rows),
        dev=read_rows([dev], **reading) if dev else held_out_pairs(models, rows),
    )


def measured(name: str, opened: Opened, rows: Asked, team: Team = ALONE, *, details: bool = True) -> Evaluation:
    """Evaluate, with baselines and evidence or without; the other processes of the team help to embed."""
    say(f"evaluating {name} on {len(rows.rows):,} rows", style="dim")
    return measure(opened.run or opened.model, rows.rows, known=rows.known, dev=rows.dev, details=details, team=team)


def compared(first: tuple[str, Opened], second: tuple[str, Opened], rows: Asked, team: Team = ALONE) -> Contest:
    """Evaluate two models, each given by its name and itself, on the same rows with the same known rows."""
    one, other = measured(*first, rows, team), measured(*second, rows, team, details=False)
    return Contest(names=(first[0], second[0]), evaluations=(one, other), comparison=compare(one, other))


def known_rows(models: Sequence[Opened], pairs: Pairs) -> Pairs | None:
    """The rows a run was made from, where they are still there and of the same kind."""
    runs = [opened.run for opened in models if opened.run is not None]
    if not runs or pairs.kind in ("graded", "collection"):
        return None
    recipe = next((run.record.recipe for run in runs if run.record.recipe.data.files), None)
    if recipe is None:
        say("the rows of this run were given in memory: name them with --known, or only documents of these rows count")
        return None
    try:
        known, _ = training_rows(recipe)
    except DataError as error:
        say(f"its documents are no candidates, the rows of the run cannot be read: {error.message}", style="yellow")
        return None
    if known.kind != pairs.kind:
        return None
    say(f"known    {known.source}: {len(known):,} rows of the run, their documents are candidates too", style="dim")
    return known


def held_out_pairs(models: Sequence[Opened], pairs: Pairs) -> Pairs | None:
    """The held-out rows of a run, where a threshold can be chosen on them for these rows."""
    if not is_binary(pairs):
        return None
    for recipe in (opened.run.record.recipe for opened in models if opened.run is not None):
        if not recipe.data.files:
            continue
        try:
            dev = gather(recipe).dev
        except DataError as error:
            say(f"no threshold, the held-out rows of the run cannot be read: {error.message}", style="yellow")
            continue
        if dev is not None and is_binary(dev):
            say(f"threshold chosen on the {len(dev):,} held-out rows of the run", style="dim")
            return dev
    return None
