"""The catalogue of checks as a table, and the page of one."""

from __future__ import annotations

__all__ = ["catalogue", "page"]

import re
from collections.abc import Sequence

from rich.markdown import Markdown
from rich.table import Table

from embedfit.doctor import Check


def catalogue(checks: Sequence[Check]) -> Table:
    """Code, name and component of each check, and the first sentence of its page."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("code", "check", "component", "what it finds"):
        table.add_column(head, no_wrap=head != "what it finds", style="bold" if head == "code" else "")
    for check in checks:
        body = check.page.split("\n\n")[1]
        table.add_row(check.code, check.name, check.component, " ".join(body.split()))
    return table


def page(check: Check) -> Markdown:
    """The page of a check for a terminal, with headings that are bold rather than centred."""
    return Markdown(re.sub(r"(?m)^#+ (.*)$", r"**\1**\n", check.page))
