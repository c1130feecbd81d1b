"""One self-contained HTML file per run: opens without a network, in light and dark, on paper and on a phone."""

from __future__ import annotations

__all__ = ["MARKS", "coded", "render", "write"]

import os
import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from embedfit.doctor import Diagnosis
from embedfit.recipe import to_toml
from embedfit.report import figures, words
from embedfit.run import Run, write_atomically

MARKS = {
    "issue": "\N{MULTIPLICATION SIGN}", "ill": "\N{MULTIPLICATION SIGN}", "failed": "\N{MULTIPLICATION SIGN}",
    "watch": "!", "cannot-tell": "?", "clear": "\N{CHECK MARK}", "healthy": "\N{CHECK MARK}", "info": "i",
}  # fmt: skip


def write(run: Run, diagnosis: Diagnosis | None, path: str | os.PathLike[str]) -> Path:
    """Write the report of a run.

    Parts the run does not have leave a sentence that says so.

    Args:
        run: the run.
        diagnosis: what the doctor says of it, where it was asked.
        path: of the file.

    Returns:
        The path.

    Raises:
        RunError: the file cannot be written.
    """
    place = Path(path)
    text = render(run, diagnosis)
    with write_atomically(place) as part:
        part.write_text(text, "utf-8")
    return place


def render(run: Run, diagnosis: Diagnosis | None = None) -> str:
    """The report of a run as one HTML text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["code"] = coded
    headline = words.headline(run)
    troubles = diagnosis.troubles if diagnosis else ()
    return environment.get_template("page.html.j2").render(
        title=f"{headline.label} {headline.value} - embedfit" if headline else "embedfit report",
        marks=MARKS,
        trained=words.trained(run),
        headline=headline,
        verdict=words.verdict(run),
        result=figures.result_figure(run),
        data_card=words.data_card(run),
        findings=words.audit_findings(run),
        left_out=words.left_out(run),
        left_out_line=words.left_out_line(run),
        count=words.count,
        ended=words.ended(run),
        training=figures.training_figures(run),
        geometry=figures.geometry_figures(run),
        refusal_line=words.refusal_line(run),
        map=figures.map_figure(run),
        mistakes=words.mistakes(run),
        diagnosis=diagnosis,
        troubles=troubles,
        others=[f for f in diagnosis.findings if f not in troubles] if diagnosis else [],
        command=words.command(run),
        recipe=to_toml(run.recipe),
        settled=words.settled(run),
        environment=words.environment(run),
    )


def coded(text: str) -> Markup:
    """Escaped text in which `words between backticks` are code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
