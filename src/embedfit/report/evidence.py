"""What a diagnosis rests on, drawn: curves between floor and chance, effects of exchanged parts, kept pairs."""

from __future__ import annotations

__all__ = ["course_figures", "forest", "kept_figures", "rivals"]

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from embedfit.doctor import Effect, Finding, Outcome
from embedfit.report.figures import (
    Figure,
    drawn_figure,
    finite,
    loss_figure,
    metric_figure,
    readings_figure,
    readings_of,
    similarity_figure,
    spectrum_figure,
)
from embedfit.report.plots import Curve, Level
from embedfit.report.svg import Axis, Frame, frame, tag
from embedfit.run import Run

WIDTH, ROW, TOP, BOTTOM, EDGE = 420.0, 44.0, 26.0, 26.0, 10.0
SLOWS, BREAKS = -0.10, -0.25
LEAST = -1.05  # a part cannot cost more than everything; wider intervals are cut here


class Rival(NamedTuple):
    """A cause that was considered and is not it."""

    finding: Finding
    why: str


def course_figures(run: Run) -> list[Figure]:
    """Held-out metric and loss with what they are compared with, and the rate; those that there are numbers for."""
    metric, points = str(run.facts.get("metric", "metric")), _pairs(run.facts.get("experiment.course"))
    measured = bool(readings_of(run, f"dev/{metric}")) or not points
    first = metric_figure(run, metric) if measured else _of_experiment(run, points)
    rate = readings_figure(run, "Learning rate", ("learning_rate",), "At each step.", ("",))
    return [figure for figure in (first, loss_figure(run), rate) if figure.svg is not None]


def kept_figures(run: Run) -> list[Figure]:
    """Cosines and singular values, where they were kept."""
    return [figure for figure in (similarity_figure(run), spectrum_figure(run)) if figure.svg is not None]


def rivals(findings: Iterable[Finding]) -> list[Rival]:
    """Causes that were suspected or tried, and the experiment that excluded each."""
    found = []
    for f in findings:
        if f.outcome is Outcome.CLEAR and (f.effect is not None or f.confirmed is False):
            whole = "the program as a whole keeps up with the reference"
            effect = "" if f.effect is None else f"its exchange changes the metric by {in_words(f.effect)}"
            found.append(Rival(f, effect or whole))
    return found


def in_words(effect: Effect) -> str:
    """An effect with its interval, in percent."""
    return f"{effect.relative:+.0%} ({effect.low:+.0%} to {effect.high:+.0%})"


def forest(findings: Sequence[Finding]) -> Markup | None:
    """Effects of the parts that were exchanged below each other, the dearest first, over the bands of 10 and 25 %."""
    pairs = [(f, f.effect) for f in findings if f.effect is not None]
    rows = sorted(pairs, key=lambda pair: pair[1].relative)
    if not rows:
        return None
    lowest = min([-0.35, *(max(LEAST, effect.low) - 0.03 for _, effect in rows)])
    highest = max([0.15, *(min(1.0, effect.high) + 0.03 for _, effect in rows)])
    height = TOP + ROW * len(rows) + BOTTOM
    at = Frame(
        x=Axis(low=lowest, high=highest, start=EDGE, end=WIDTH - EDGE),
        y=Axis(low=0, high=1, start=height - BOTTOM, end=TOP),
        width=WIDTH,
        height=height,
    )
    drawn = [*_bands(at), *(mark for k, (f, e) in enumerate(rows) for mark in _row(at, TOP + ROW * k, f, e))]
    told = "; ".join(f"{f.name} {in_words(e)}" for f, e in rows)
    return frame(drawn, at, description=f"Effect of each part: {told}", x_label="", x_ticks=[], y_ticks=[])


def _bands(at: Frame) -> list[Markup]:
    """The region that breaks, the one that slows, and the lines between them, named above and marked below."""
    top, bottom = at.y.end, at.y.start
    drawn = []
    for role, low, high in (("breaks", at.x.low, BREAKS), ("slows", BREAKS, SLOWS)):
        x = at.x(low)
        drawn.append(tag("rect", x=x, y=top, width=at.x(high) - x, height=bottom - top, class_=f"band {role}"))
        middle = (x + at.x(high)) / 2
        drawn.append(tag("text", role, x=middle, y=top - 8, class_="tick", text_anchor="middle"))
    drawn.append(tag("text", "fine", x=at.x(0.0), y=top - 8, class_="tick", text_anchor="middle"))
    for value in (-1.0, -0.75, -0.5, BREAKS, SLOWS, 0.0, 0.25, 0.5, 1.0):
        if at.x.low <= value <= at.x.high:
            x = at.x(value)
            drawn.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="level reference" if value == 0 else "grid"))
            words = "0" if value == 0 else f"{value:+.0%}".replace("-", "\N{MINUS SIGN}")
            drawn.append(tag("text", words, x=x, y=bottom + 17, class_="tick", text_anchor="middle"))
    return drawn


def _row(at: Frame, top: float, finding: Finding, effect: Effect) -> list[Markup]:
    """One part: its name and number, and below them the interval."""
    role = {Outcome.ISSUE: "bad", Outcome.WATCH: "warn"}.get(finding.outcome, "good")
    y = top + 31
    low, high = max(effect.low, at.x.low), min(effect.high, at.x.high)
    middle = min(max(effect.relative, at.x.low), at.x.high)
    return [
        tag("text", f"{finding.code} {finding.name}", x=at.x.start + 2, y=top + 16, class_="name place"),
        tag("text", in_words(effect), x=at.x.end - 2, y=top + 16, class_=f"label place {role}", text_anchor="end"),
        tag("line", x1=at.x(low), x2=at.x(high), y1=y, y2=y, class_=f"whisker {role}"),
        tag("circle", cx=at.x(middle), cy=y, r=5, class_=f"dot {role}"),
    ]


def _of_experiment(run: Run, points: Sequence[tuple[float, float]]) -> Figure:
    """The program's metric in its control run, beside the reference and chance."""
    levels = []
    for name, label, role in (("reference", "reference", "baseline"), ("chance", "chance", "reference")):
        value = finite(run.facts.get(f"experiment.{name}"))
        if value is not None and (name != "chance" or not run.facts.get("experiment.own_metric")):
            levels.append(Level(label=f"{label} {value:.2f}", value=value, role=role))
    words = "The program as it is, on rows held back; beside it what the trusted reference reached in as many steps."
    return drawn_figure("Held-out metric", words, [Curve(label="this program", points=points)], "no metric", levels)


def _pairs(value: Any) -> list[tuple[float, float]]:
    rows = [row for row in value if isinstance(row, list | tuple) and len(row) == 2] if value else []
    pairs = [(finite(x), finite(y)) for x, y in rows]
    return [(x, y) for x, y in pairs if x is not None and y is not None]
