"""The page of a search: what was tried, what mattered, and how well the part foretold the whole."""

from __future__ import annotations

__all__ = ["write"]

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from embedfit.report.plots import Bar, Curve, curves, intervals
from embedfit.run import write_atomically

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>embedfit search</title>
<meta name="viewport" content="width=device-width"><style>{{ style }}</style></head>
<body><main>
<h1>Search</h1>
<p>{{ found.metric }} on held-out rows; {{ found.rows[0] }} of {{ found.rows[1] }} rows in the search.
{% if found.rank_correlation is not none %}The order on the part and the order on all rows agree with a rank correlation
of {{ "%.2f" | format(found.rank_correlation) }}.{% endif %}</p>
{% if agreement %}<h2>The part and the whole</h2>{{ agreement }}{% endif %}
{% if mattered %}<h2>What mattered on the part</h2>{{ mattered }}{% endif %}
<h2>What was tried</h2>
<table><thead><tr><th>trial</th><th>choices</th><th>part</th><th>all rows</th><th>seconds</th><th></th></tr></thead>
<tbody>
{% for t in found.trials %}<tr><td>{{ t.number }}</td>
<td>{% for k, v in t.choices.items() %}
{{ k }} {{ v if v is string else "%.2g" | format(v) }}{{ "; " if not loop.last }}{% endfor %}</td>
<td>{{ "" if t.small is none else "%.4f" | format(t.small) }}</td>
<td>{{ "" if t.full is none else "%.4f" | format(t.full) }}</td>
<td>{{ "%.1f" | format(t.seconds) }}</td><td>{{ "" if t.state == "whole" else t.state }}</td></tr>
{% endfor %}</tbody></table>
</main></body></html>
"""


def write(found: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the page of a search as one HTML file that needs no network.

    Args:
        found: `embedfit.tuning.Tuned.to_dict()`.
        path: of the file.

    Raises:
        RunError: the file cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    style = (Path(__file__).parent / "style.css").read_text("utf-8")
    text = environment.from_string(PAGE).render(
        found=found, style=Markup(style), agreement=_agreement(found), mattered=_mattered(found)
    )
    place = Path(path)
    with write_atomically(place) as part:
        part.write_text(text, "utf-8")
    return place


def _agreement(found: Mapping[str, Any]) -> Markup | None:
    both = sorted((t["small"], t["full"]) for t in found["trials"] if t["full"] is not None)
    if len(both) < 2:
        return None
    words = f"{found['metric']} on all rows over {found['metric']} on the part, one point per recipe that was carried"
    return curves([Curve(label="all rows", points=both)], description=words, x_label="on the part")


def _mattered(found: Mapping[str, Any]) -> Markup | None:
    bars = [Bar(label=name, value=value) for name, value in found["importance"].items()]
    return intervals(bars, description="share of the variance by choice") if bars else None
