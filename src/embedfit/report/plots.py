"""The kinds of plot a report has: curves, intervals, histograms, a map. Numbers in, SVG out."""

from __future__ import annotations

__all__ = ["Bar", "Curve", "Level", "Point", "curves", "histograms", "intervals", "scatter"]

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from embedfit.report.svg import Axis, Frame, Label, Number, frame, path, spread, tag, ticks

WIDTH, HEIGHT = 420.0, 236.0
SMALL_WIDTH, SMALL_HEIGHT = 300.0, 196.0  # three in a row
LEFT, TOP, BOTTOM = 46.0, 12.0, 40.0
LETTER = 7.1  # width of a letter of a label, roughly
MOST = 240  # points of a curve; more cannot be seen
GROUPS = 8  # colours of a map


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line and the words at its end.

    Attributes:
        label: the words; empty for none.
        points: (x, y), in the order of x.
        role: model, baseline, other or muted.
        faint: unsmoothed points behind the line.
    """

    label: str
    points: Sequence[tuple[Number, Number]]
    role: str = "model"
    faint: Sequence[tuple[Number, Number]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A horizontal line to compare with: chance, floor, a baseline."""

    label: str
    value: Number
    role: str = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An estimate with its interval, where it has one."""

    label: str
    value: Number
    low: Number | None = None
    high: Number | None = None
    role: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A text on a map."""

    x: Number
    y: Number
    text: str
    label: str


def curves(
    lines: Sequence[Curve],
    levels: Sequence[Level] = (),
    *,
    description: str,
    x_label: str,
    small: bool = False,
    log_x: bool = False,
    from_zero: bool = True,
) -> Markup:
    """Lines over a common axis, each named where it ends.

    Args:
        lines: at least one, with at least one finite point between them.
        levels: horizontal lines.
        description: for those who cannot see it.
        x_label: name of the horizontal axis.
        small: three in a row instead of two.
        log_x: logarithmic horizontal axis, marked where the first line has points.
        from_zero: the vertical axis begins at 0 unless a value is negative.
    """
    seen = [(x, y) for line in lines for x, y in (*line.points, *line.faint) if math.isfinite(y)]
    low = min([*(y for _, y in seen), *(level.value for level in levels)])
    high = max([*(y for _, y in seen), *(level.value for level in levels)])
    low = min(low, 0.0) if from_zero else low
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    bottom = low if low == 0 else low - pad
    width, height = (SMALL_WIDTH, SMALL_HEIGHT) if small else (WIDTH, HEIGHT)
    words = [*(line.label for line in lines), *(level.label for level in levels)]
    right = 14 + LETTER * max((len(text) for text in words), default=0)
    x_low, x_high = min(x for x, _ in seen), max(x for x, _ in seen)
    at = Frame(
        x=Axis(low=x_low, high=x_high, start=LEFT, end=width - right, log=log_x),
        y=Axis(low=bottom, high=high + pad, start=height - BOTTOM, end=TOP),
        width=width,
        height=height,
    )
    drawn, labels = [], []
    for level in levels:
        y = at.y(level.value)
        drawn.append(tag("line", x1=at.x.start, x2=at.x.end, y1=y, y2=y, class_=f"level {level.role}"))
        labels.append(Label(text=level.label, y=y, role=level.role))
    for line in lines:
        if line.faint:
            drawn.append(path(_thin(line.faint), at, role=f"{line.role} faint"))
        drawn.append(path(_thin(line.points), at, role=line.role))
        if len(line.points) <= 30:
            drawn += [
                tag("circle", cx=at.x(x), cy=at.y(y), r=2.6, class_=f"dot {line.role}")
                for x, y in line.points
                if math.isfinite(y)
            ]
        last = next((y for _, y in reversed(line.points) if math.isfinite(y)), None)
        if line.label and last is not None:
            labels.append(Label(text=line.label, y=at.y(last), role=line.role))
    for label in spread(labels, at.y.end, at.y.start):
        drawn.append(tag("text", label.text, x=at.x.end + 8, y=label.y + 4, class_=f"label {label.role}"))
    x_ticks = _apart([x for x, _ in lines[0].points], at.x) if log_x else at.x.ticks(4 if small else 5)
    return frame(drawn, at, description=description, x_label=x_label, x_ticks=x_ticks, y_ticks=at.y.ticks(5))


def intervals(bars: Sequence[Bar], *, description: str) -> Markup:
    """Estimates below each other on one axis, each with its interval and its number."""
    row, top, left, right = 30.0, 8.0, 118.0, 52.0
    ends = [v for bar in bars for v in (bar.value, bar.low, bar.high) if v is not None]
    margin = (max(ends) - min(ends)) * 0.12 or 0.05
    low, high = max(min(0.0, min(ends)), min(ends) - margin), min(max(1.0, max(ends)), max(ends) + margin)
    height = top + row * len(bars) + 26
    at = Frame(
        x=Axis(low=low, high=high, start=left, end=WIDTH - right),
        y=Axis(low=0, high=1, start=height - 26, end=top),
        width=WIDTH,
        height=height,
    )
    marks = ticks(low, high, 4)
    drawn = [tag("line", x1=at.x(v), x2=at.x(v), y1=top, y2=height - 26, class_="grid") for v in marks]
    for k, bar in enumerate(bars):
        y = top + row * (k + 0.5)
        drawn.append(tag("text", bar.label, x=left - 10, y=y + 4, class_="name", text_anchor="end"))
        if bar.low is not None and bar.high is not None:
            ends_at = {"x1": at.x(bar.low), "x2": at.x(bar.high), "y1": y, "y2": y}
            drawn.append(tag("line", class_=f"whisker {bar.role}", **ends_at))
        drawn.append(tag("circle", cx=at.x(bar.value), cy=y, r=5, class_=f"dot {bar.role}"))
        drawn.append(tag("text", f"{bar.value:.3f}", x=WIDTH - right + 8, y=y + 4, class_=f"label {bar.role}"))
    return frame(drawn, at, description=description, x_label="", x_ticks=marks, y_ticks=[])


def histograms(groups: Sequence[tuple[str, Sequence[Number], str]], *, description: str, x_label: str) -> Markup:
    """Distributions over each other, each filled, outlined and named at its peak.

    Args:
        groups: name, values and role of each; at least one finite value between them.
        description: for those who cannot see it.
        x_label: name of the horizontal axis.
    """
    finite = [(name, [v for v in values if math.isfinite(v)], role) for name, values, role in groups]
    every = [v for _, values, _ in finite for v in values]
    low, high = min(every), max(every)
    room = (high - low) * 0.02 or 0.05
    low, high, bins = low - room, high + room, 48
    width = (high - low) / bins
    shares = []
    for name, values, role in finite:
        counts = Counter(min(bins - 1, int((v - low) / width)) for v in values)
        shares.append((name, [counts[k] / max(1, len(values)) for k in range(bins)], role))
    peak = max(max(bars) for _, bars, _ in shares)
    at = Frame(
        x=Axis(low=low, high=high, start=14, end=SMALL_WIDTH - 14),
        y=Axis(low=0, high=peak * 1.25, start=SMALL_HEIGHT - BOTTOM, end=TOP),
        width=SMALL_WIDTH,
        height=SMALL_HEIGHT,
    )
    drawn = [tag("line", x1=14, x2=SMALL_WIDTH - 14, y1=at.y(0), y2=at.y(0), class_="grid")]
    spots: list[tuple[float, float]] = []
    for name, bars, role in shares:
        corners = [(low, 0.0)]
        for k, share in enumerate(bars):
            corners += [(low + k * width, share), (low + (k + 1) * width, share)]
        drawn.append(path([*corners, (high, 0.0)], at, role=f"{role} filled"))
        top = max(range(bins), key=lambda k: bars[k])
        x, y = min(max(at.x(low + (top + 0.5) * width), 50), SMALL_WIDTH - 50), at.y(bars[top]) - 7
        while any(abs(x - a) < 90 and abs(y - b) < 14 for a, b in spots):
            y -= 14
        spots.append((x, y))
        drawn.append(tag("text", name, x=x, y=y, class_=f"label {role}", text_anchor="middle"))
    return frame(drawn, at, description=description, x_label=x_label, x_ticks=at.x.ticks(5), y_ticks=[])


def scatter(points: Sequence[Point], *, description: str) -> Markup:
    """Texts as dots, each with its text to hover over; the largest groups are coloured and named in their middle."""
    width, height, edge = WIDTH, 330.0, 16.0
    xs, ys = [p.x for p in points], [p.y for p in points]
    scale = max(max(xs) - min(xs), (max(ys) - min(ys)) * (width - 2 * edge) / (height - 2 * edge)) or 1.0
    x_mid, y_mid = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    unit = (width - 2 * edge) / scale  # one scale for both axes: distances are what a map is about
    sizes = Counter(p.label for p in points if p.label)
    colour = {label: f"group-{k + 1}" for k, (label, _) in enumerate(sizes.most_common(GROUPS)) if len(sizes) > 1}
    drawn: list[Markup] = []
    places: dict[str, list[tuple[float, float]]] = {}
    for p in points:
        x, y = width / 2 + (p.x - x_mid) * unit, height / 2 - (p.y - y_mid) * unit
        places.setdefault(p.label, []).append((x, y))
        words = f"{p.text} [{p.label}]" if p.label else p.text
        role = f"spot {colour.get(p.label, 'rest')}"
        spot = tag("circle", tag("title", words), cx=round(x, 1), cy=round(y, 1), r=3, class_=role, data_group=p.label)
        drawn.append(spot)
    taken: list[tuple[float, float, float]] = []
    for label in colour:
        x, y = (sum(values) / len(values) for values in zip(*places[label], strict=True))
        half = 3.2 * sum(2 if ord(c) > 0x2E80 else 1 for c in label[:28])
        x = min(max(x, half + 2), width - half - 2)
        free = [
            y + shift
            for shift in (0, 16, -16, 32, -32)
            if all(abs(x - a) > half + h or abs(y + shift - b) > 14 for a, b, h in taken)
        ]
        if free:
            taken.append((x, free[0], half))
            words = label if len(label) <= 28 else f"{label[:27]}…"
            key = tag("tspan", "● ", class_=f"key {colour[label]}")
            at_place = {"x": round(x, 1), "y": round(free[0], 1), "class_": "place", "text_anchor": "middle"}
            drawn.append(tag("text", key, words, **at_place))
    at = Frame(
        x=Axis(low=0, high=1, start=0, end=width),
        y=Axis(low=0, high=1, start=height, end=0),
        width=width,
        height=height,
    )
    return frame(drawn, at, description=description, x_label="", x_ticks=[], y_ticks=[], kind="map")


def _apart(values: Sequence[Number], axis: Axis) -> list[Number]:
    """The values that can be written below an axis without touching the one before."""
    kept: list[Number] = []
    for value in values:
        if not kept or axis(value) - axis(kept[-1]) >= LETTER * (len(str(value)) + len(str(kept[-1]))) / 2 + 2:
            kept.append(value)
    return kept


def _thin(points: Sequence[tuple[Number, Number]]) -> list[tuple[Number, Number]]:
    """At most `MOST` points, each the mean of its neighbourhood; gaps stay gaps."""
    if len(points) <= MOST:
        return list(points)
    cuts = [round(k * len(points) / MOST) for k in range(MOST + 1)]
    parts = [points[a:b] for a, b in pairwise(cuts)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
