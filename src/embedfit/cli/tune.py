"""`tune`."""

from __future__ import annotations

__all__ = ["tune"]

from typing import TYPE_CHECKING, Any

import click

from embedfit.cli.options import as_given, as_json, model_kind, reading, settings
from embedfit.cli.terminal import print_json, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from embedfit.tuning import Tuned


@click.command(short_help="Search settings on a part of the data.")
@click.argument("data", nargs=-1, required=True, metavar="DATA|RECIPE")
@model_kind
@click.option("--dev", metavar="FILE|SHARE", help="Held-out rows: a file, a share below 1 (default 0.1), or a number.")
@click.option("--out", metavar="DIR", help="Folder of the search; called again with it, the search goes on.")
@click.option("--trials", type=click.IntRange(1), default=30, show_default=True, help="Recipes to try.")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.2, show_default=True, help="Of the training rows."
)
@click.option(
    "--carry", type=click.IntRange(1), default=5, show_default=True, help="Recipes to train again on all rows."
)
@settings
@reading
@as_json
def tune(
    data: tuple[str, ...], out: str | None, trials: int, share: float, carry: int, form: str, **wanted: Any
) -> int:
    """Search on a part of the training rows for objective, negatives, schedule, batch size and learning rate, train the
    best again on all rows, and say how well the part foretold the whole. The recipe of the best is best.toml.

    \b
    embedfit tune faq.csv --out runs/search --trials 40
    embedfit train runs/search/best.toml
    """
    from pathlib import Path

    from embedfit.cli.sources import recipe_of
    from embedfit.job import gather
    from embedfit.report.search import write
    from embedfit.tuning import tune as search

    recipe = recipe_of(data, **as_given(wanted))
    folder = Path(out or "runs/tune")
    say(f"search   {folder}", style="dim")
    found = search(gather(recipe), recipe, folder, trials=trials, share=share, carried=carry, say=say)
    page = write(found.to_dict(), folder / "tune.html")
    if form == "json":
        print_json(found.to_dict())
    else:
        show(_table(found), "", *_words(found))
        say(f"report   {page}")
        say(f"train    embedfit train {folder / 'best.toml'}")
    return 0


def _table(found: Tuned) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    heads = ("trial", "objective", "negatives", "schedule", "batch", "rate", f"{found.rows[0]:,} rows", "all rows")
    for head in heads:
        table.add_column(head, no_wrap=True)
    for trial in [t for t in found.trials if t.small is not None][:12]:
        table.add_row(
            str(trial.number),
            str(trial.choices.get("objective", "")),
            str(trial.choices.get("negatives", "in_batch")),
            str(trial.choices.get("schedule", "")),
            str(trial.settings.get("optim.batch_size", "")),
            f"{trial.settings.get('optim.learning_rate', 0.0):.2g}",
            f"{trial.small:.4f}",
            "" if trial.full is None else f"{trial.full:.4f}",
        )
    return table


def _words(found: Tuned) -> list[str]:
    few, all_ = found.rows
    out = [f"{found.metric} on held-out rows; {few:,} of {all_:,} rows in the search."]
    if found.rank_correlation is not None:
        carried = sum(t.full is not None for t in found.trials)
        out.append(
            f"The order on the part and on all rows agree with a rank correlation of {found.rank_correlation:.2f} "
            f"over the {carried} that were carried."
        )
    if found.importance:
        shares = ", ".join(f"{name} {value:.0%}" for name, value in found.importance.items())
        out.append(f"What mattered on the part: {shares}.")
    return out
