"""`advise`."""

from __future__ import annotations

__all__ = ["advise"]

from typing import TYPE_CHECKING

import click

from embedfit.cli.options import as_json
from embedfit.cli.terminal import print_json, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from embedfit.advising import Advised
    from embedfit.optim.laws import NoiseScale


@click.command(short_help="Learning rates for other batch sizes.")
@click.argument("run", metavar="RUN", type=click.Path())
@click.option("--batch-size", type=click.IntRange(2), metavar="N", help="A batch size to be told of.")
@click.option("--probe", "probed", is_flag=True, help="Also measure at the trained weights; reads the data again.")
@as_json
def advise(run: str, batch_size: int | None, probed: bool, form: str) -> int:
    """Say what learning rate goes with another batch size, and what that batch costs in steps and examples.

    The noise of the gradients was read while the RUN trained. Where it does not tell, nothing is advised, and the exit
    status is 1.
    """
    from pathlib import Path

    from embedfit.advising import advise as ask

    found = ask(Path(run), batch_size=batch_size, probed=probed)
    if form == "json":
        print_json(found.to_dict())
    else:
        for noise in (found.noise, found.probed):
            if noise is not None:
                say(_in_words(noise))
        if found.options:
            show(_table(found))
        else:
            show(f"no advice: {found.refusal}")
        for remark in found.remarks:
            say(f"- {remark}", style="dim")
    return 0 if found.options else 1


def _in_words(noise: NoiseScale) -> str:
    return (
        f"noise scale {noise.value:,.0f} ({noise.low:,.0f} to {noise.high:,.0f}) at batches of {noise.batch_size:,}, "
        f"from {noise.readings} readings: {noise.way}"
    )


def _table(found: Advised) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for head in (
        "batch",
        f"learning rate ({found.optimiser})",
        "interval",
        "steps",
        "examples",
        "weight decay",
        "beta 2",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for option in found.options:
        table.add_row(
            f"{option.batch_size:,}" + (" (tried)" if option.batch_size == found.tried else ""),
            f"{option.learning_rate:.2g}",
            f"{option.low:.2g} to {option.high:.2g}" + (" far" if option.far else ""),
            f"{option.steps - 1:+.0%}",
            f"{option.examples - 1:+.0%}",
            f"{option.weight_decay:.2g}",
            "" if option.second_beta is None else f"{option.second_beta:.3g}",
        )
    return table
