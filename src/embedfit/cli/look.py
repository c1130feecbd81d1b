"""Looking at a run: `report`, `explain`; and `completion`."""

from __future__ import annotations

__all__ = ["completion", "explain", "report"]

import click
from click.shell_completion import CompletionItem, get_completion_class

from embedfit.cli.options import as_json
from embedfit.cli.terminal import console, print_json, say, show


def complete_code(ctx: click.Context, option: click.Parameter, text: str) -> list[CompletionItem]:
    """Codes of checks, for the shell."""
    del ctx, option
    from embedfit.doctor import CHECKS

    return [CompletionItem(c.code, help=c.name) for c in CHECKS if c.code.startswith(text.upper())]


@click.command(short_help="Write the report of a run as one HTML file.")
@click.argument("run", metavar="RUN", type=click.Path())
@click.option("-o", "--out", metavar="FILE", help="Where to write; by default report.html in the run folder.")
def report(run: str, out: str | None) -> int:
    """Write the report of a run as one HTML file that needs no network."""
    from pathlib import Path

    from embedfit.doctor import diagnose as examine
    from embedfit.report import write
    from embedfit.run import load

    record = load(run)
    show(str(write(record, examine(record), Path(run) / "report.html" if out is None else out)))
    return 0


@click.command(short_help="Print the page of a check, or list them all.")
@click.argument("code", required=False, shell_complete=complete_code)
@as_json
def explain(code: str | None, form: str) -> int:
    """Print the page of a check: what it measures, why it hurts, what to do. Without CODE, list all checks.

    CODE may also be the name of a finding of `embedfit align`, such as no_mapping.
    """
    from embedfit.align.vocabulary import VOCABULARY
    from embedfit.cli.pages import catalogue, page
    from embedfit.doctor import select

    if code is not None and code in VOCABULARY:
        text = VOCABULARY[code].page(code)
        if form == "json":
            print_json([{"code": code, "name": code, "component": "align", "page": text}])
        else:
            show(text)
        return 0
    found = select([code] if code else [])
    if form == "json":
        print_json([{"code": c.code, "name": c.name, "component": c.component, "page": c.page} for c in found])
    elif code and len(found) == 1:
        show(page(found[0]) if console().is_terminal else found[0].page)
    else:
        show(catalogue(found))
        say("one page: embedfit explain CODE", style="dim")
        say(f"findings of embedfit align: {', '.join(VOCABULARY)}", style="dim")
    return 0


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script that lets a shell complete commands, options, settings and codes.

    \b
    bash: embedfit completion bash >> ~/.bashrc
    zsh:  embedfit completion zsh  >> ~/.zshrc
    fish: embedfit completion fish > ~/.config/fish/completions/embedfit.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click knows the three shells of the choice above
    click.echo(kind(ctx.find_root().command, {}, "embedfit", "_EMBEDFIT_COMPLETE").source())
    return 0
