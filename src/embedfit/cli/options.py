"""Options that several commands share."""

from __future__ import annotations

__all__ = ["as_given", "as_json", "model_kind", "reading", "roles", "settings"]

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
TOWERS = ("static", "gru", "lstm", "ngram", "transformer")

as_json = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)


def roles(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Mapping[str, str]:
    """`("query=question",)` -> `{"query": "question"}`."""
    del ctx
    out: dict[str, str] = {}
    for text in given:
        role, equals, name = text.partition("=")
        if not (role.strip() and equals and name):
            raise click.BadParameter(
                f"expected ROLE=NAME, got '{text}'; for example --column query=question", param=option
            )
        out[role.strip()] = name
    return out


def reading(command: F) -> F:
    """How a table is read: `columns`, `kind`, `on_bad_rows`, `encoding`, as `embedfit.read` calls them."""
    for option in (
        click.option("--encoding", default="utf-8", show_default=True, help="Of text files."),
        click.option(
            "--on-bad-rows", type=click.Choice(["error", "skip"]), default="error", show_default=True,
            help="Refuse a table with a broken row, or leave such rows out and list them.",
        ),
        click.option(
            "--kind", type=click.Choice(["auto", "pairs", "classes", "graded", "clicks", "collection"]), default="auto",
            show_default=True, help="What a row is.",
        ),
        click.option(
            "--column", "columns", multiple=True, metavar="ROLE=NAME", callback=roles,
            help="Which column plays a role (query, positive, text, label, ...) where its name does not say it.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def as_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed; those left at their default shall not overrule a recipe."""
    ctx = click.get_current_context()
    return {k: v for k, v in options.items() if ctx.get_parameter_source(k) is not ParameterSource.DEFAULT}


def complete_setting(ctx: click.Context, option: click.Parameter, text: str) -> list[CompletionItem]:
    """Names of settings, for the shell."""
    del ctx, option
    from embedfit.recipe import describe, keys

    return [CompletionItem(f"{key}=", help=describe(key)) for key in keys() if key.startswith(text)]


def complete_model(ctx: click.Context, option: click.Parameter, text: str) -> list[CompletionItem]:
    """Kinds of towers and folders, for the shell."""
    del ctx, option
    kinds = [CompletionItem(kind) for kind in TOWERS if kind.startswith(text)]
    return kinds or [CompletionItem(text, type="dir")]


settings = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", shell_complete=complete_setting,
    help="Any setting of the recipe, for example --set loss.temperature=0.05.",
)  # fmt: skip


def known_tower(ctx: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """Refuse a misspelt tower before anything looks for a pretrained model of that name."""
    del ctx
    near = get_close_matches(given or "", TOWERS, n=1, cutoff=0.7)
    if given and near and given not in TOWERS and not Path(given).exists():
        raise click.BadParameter(f"there is no tower '{given}'; did you mean '{near[0]}'?", param=option)
    return given


model_kind = click.option(
    "--model", metavar="KIND|PATH", shell_complete=complete_model, callback=known_tower,
    help=f"{', '.join(TOWERS)}, or a pretrained encoder: its folder or its name on the Hugging Face hub.",
)  # fmt: skip
