"""Before training: `audit` and `init`."""

from __future__ import annotations

__all__ = ["audit", "init"]

from pathlib import Path
from typing import Any

import click

from embedfit.cli.options import as_json, reading
from embedfit.cli.terminal import print_json, say, show
from embedfit.errors import RecipeError


@click.command(short_help="Facts and findings about data, before training.")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--dev", metavar="FILE", help="Held-out rows, to see how many of them are known from training.")
@reading
@as_json
def audit(data: tuple[str, ...], dev: str | None, form: str, **how: Any) -> int:
    """Look at data before training on it: facts, and findings with examples.

    DATA is a CSV, TSV, JSONL or Parquet file, a folder, a glob, or a data set of the Hugging Face hub.
    The exit status is 1 where a finding is an issue, which will spoil training or its evaluation.
    """
    from embedfit.cli.sources import read_rows
    from embedfit.data.audit import audit as examine

    pairs = read_rows(data, **how)
    seen = examine(pairs, dev=read_rows([dev], **how) if dev else None)
    if form == "json":
        print_json(seen.to_dict())
    else:
        show(str(seen))
    return int(any(finding.severity == "issue" for finding in seen.findings))


@click.command(short_help="Write a commented recipe for data.")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--out", default="recipe.toml", show_default=True, help="Where to write; `-` is stdout.")
@reading
def init(data: tuple[str, ...], out: str, **how: Any) -> int:
    """Write a recipe for data: every setting with its meaning, and what "auto" would choose."""
    from embedfit.cli.drafts import draft

    if out != "-" and Path(out).exists():
        raise RecipeError(f"'{out}' exists; it is left as it is", hint="name another file with -o, or delete it")
    text = draft(data, **how)
    if out == "-":
        click.echo(text, nl=False)
        return 0
    from embedfit.run import write_atomically

    with write_atomically(Path(out)) as part:
        part.write_text(text, "utf-8")
    show(out)
    say(f"next: embedfit train {out}", style="dim")
    return 0
