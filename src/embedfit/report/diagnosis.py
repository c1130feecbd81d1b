"""A diagnosis as one HTML file: verdict, what to do, what each part costs, what it is not, curves, pairs, checks."""

from __future__ import annotations

__all__ = ["render_diagnosis", "write_diagnosis"]

import json
import os
from pathlib import Path

import jinja2
from markupsafe import Markup

from embedfit.doctor import Diagnosis, Finding, Outcome
from embedfit.doctor.alarms import alarms_of
from embedfit.report import words
from embedfit.report.evidence import course_figures, forest, in_words, kept_figures, rivals
from embedfit.report.html import MARKS, coded
from embedfit.run import Run, write_atomically


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"code": coded, "effect": in_words, "three": "{:.3g}".format}
    run, excluded = diagnosis.evidence or Run(), rivals(diagnosis.findings)
    elsewhere = {rival.finding.code for rival in excluded}
    known = ((f.code, alarms_of(f.code)) for f in diagnosis.findings)
    text = json.dumps(diagnosis.to_dict(), ensure_ascii=False).replace("<", "\\u003c")
    return environment.get_template("diagnosis.html.j2").render(
        diagnosis=diagnosis,
        troubles=diagnosis.troubles,
        marks=MARKS,
        trained=words.trained(run) if run.facts.get("data.rows") else "",
        cure=_cure(diagnosis.troubles),
        forest=forest(diagnosis.findings),
        rivals=excluded,
        course=course_figures(run),
        kept=kept_figures(run),
        mistakes=words.mistakes(run),
        fine=[f for f in diagnosis.having(Outcome.CLEAR) if f.code not in elsewhere],
        unknown=diagnosis.having(Outcome.FAILED, Outcome.SKIPPED, Outcome.IGNORED, Outcome.NOT_APPLICABLE),
        alarms={code: str(alarms) for code, alarms in known if alarms is not None},
        cost=_cost(diagnosis),
        command=words.command(run) if run.folder is not None else "",
        count=words.count,
        json=Markup(text),
    )


def _cure(troubles: tuple[Finding, ...]) -> str:
    """What to change, ready to be copied."""
    lines = []
    for finding in troubles:
        for cure in finding.prescription[:1]:
            lines += [f"# {finding.code}: {cure.why}", *(f"{k} = {json.dumps(v)}" for k, v in cure.change.items())]
    return "\n".join(lines)


def _cost(diagnosis: Diagnosis) -> str:
    """Seconds and steps in a sentence."""
    steps = diagnosis.cost.steps
    taken = f"{steps:,} training steps of experiments" if steps else "nothing was trained"
    return f"{diagnosis.cost.seconds:.2g} s, {taken}."
