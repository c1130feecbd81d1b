"""A diagnosis as one HTML file: verdict, what to do, what each part costs, every check with its number."""

from __future__ import annotations

__all__ = ["render_diagnosis", "write_diagnosis"]

import json
import os
from pathlib import Path

import jinja2
from markupsafe import Markup

from embedfit.doctor import Diagnosis, Finding, Outcome
from embedfit.report.html import MARKS, coded
from embedfit.report.plots import Bar, intervals
from embedfit.run import write_atomically


def write_diagnosis(diagnosis: Diagnosis, path: str | os.PathLike[str]) -> Path:
    """Write the page.

    Returns:
        The path.

    Raises:
        RunError: the file cannot be written.
    """
    place = Path(path)
    with write_atomically(place) as part:
        part.write_text(render_diagnosis(diagnosis), "utf-8")
    return place


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """The page as one text."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["code"] = coded
    groups = [
        ("Findings", diagnosis.troubles),
        ("Excluded by experiment", tuple(f for f in diagnosis.having(Outcome.CLEAR) if f.confirmed is False)),
        ("Fine", tuple(f for f in diagnosis.having(Outcome.CLEAR) if f.confirmed is not False)),
        ("Not known", diagnosis.having(Outcome.NOT_APPLICABLE, Outcome.SKIPPED, Outcome.FAILED)),
    ]
    text = json.dumps(diagnosis.to_dict(), ensure_ascii=False).replace("</", "<\\/")
    return environment.get_template("diagnosis.html.j2").render(
        diagnosis=diagnosis,
        marks=MARKS,
        style=Markup((folder / "style.css").read_text("utf-8")),
        cure=_cure(diagnosis.troubles),
        forest=_forest(diagnosis.findings),
        groups=groups,
        json=Markup(text),
    )


def _cure(troubles: tuple[Finding, ...]) -> str:
    """What to change, ready to be copied."""
    lines = []
    for finding in troubles:
        for cure in finding.prescription[:1]:
            lines += [f"# {finding.code}: {cure.why}", *(f"{k} = {json.dumps(v)}" for k, v in cure.change.items())]
    return "\n".join(lines)


def _forest(findings: tuple[Finding, ...]) -> Markup | None:
    """Effects of the parts that were exchanged, the dearest first."""
    measured = sorted((f for f in findings if f.effect is not None), key=lambda f: f.effect.relative if f.effect else 0)
    bars = [
        Bar(label=f.name, value=f.effect.relative, low=f.effect.low, high=f.effect.high,
            role="model" if f in findings and f.outcome in (Outcome.ISSUE, Outcome.WATCH) else "baseline")
        for f in measured if f.effect is not None
    ]  # fmt: skip
    return intervals(bars, description="Change of the held-out metric by each part") if bars else None
