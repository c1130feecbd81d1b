"""Plots as inline SVG, in the browser's own fonts; colours are classes, so that the page decides on light and dark.

A plot is 420 units wide, about the width of a phone: on any screen its text is then about as large as the page's.
"""

from __future__ import annotations

__all__ = ["Axis", "Frame", "Label", "Number", "format_tick", "frame", "path", "spread", "tag", "ticks"]

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

LINE = 14.0  # least distance of two labels, in units
Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: its range in the data and on the page.

    Attributes:
        low: value at `start`.
        high: value at `end`.
        start: position of `low`, in units.
        end: position of `high`, in units.
        log: logarithmic; `low` must then be positive.
    """

    low: Number
    high: Number
    start: Number
    end: Number
    log: bool = False

    def __call__(self, value: Number) -> float:
        """Position of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.start + (at - low) / ((high - low) or 1.0) * (self.end - self.start), 2)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values to mark."""
        return ticks(self.low, self.high, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words beside a line, written where the line ends.

    Attributes:
        text: the words.
        y: where they would like to be, in units.
        role: class that gives the colour.
    """

    text: str
    y: Number
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a plot is drawn.

    Attributes:
        x: horizontal axis.
        y: vertical axis.
        width: of the whole picture, in units.
        height: of the whole picture, in units.
    """

    x: Axis
    y: Axis
    width: Number
    height: Number


def tag(name: str, *content: str | Markup, **attributes: str | Number) -> Markup:
    """An SVG element; texts and attributes are escaped, `class_` and `stroke_width` become class and stroke-width."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    inner = Markup("").join(escape(part) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inner)


def path(points: Iterable[tuple[Number, Number]], frame: Frame, *, role: str, **attributes: str | Number) -> Markup:
    """A line through points; it is broken where a value is not finite."""
    commands, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            commands.append(f"{pen}{frame.x(x):g} {frame.y(y):g}")
            pen = "L"
        else:
            pen = "M"
    return tag("path", d="".join(commands), class_=f"line {role}", **attributes)


def frame(
    content: Sequence[Markup],
    at: Frame,
    *,
    description: str,
    x_label: str,
    x_ticks: Sequence[Number],
    y_ticks: Sequence[Number],
    kind: Literal["plot", "map"] = "plot",
) -> Markup:
    """The whole picture: grid, ticks, what is drawn, the name of the horizontal axis."""
    parts: list[Markup] = []
    for value in y_ticks:
        y = at.y(value)
        parts.append(tag("line", x1=at.x.start, x2=at.x.end, y1=y, y2=y, class_="grid"))
        words = format_tick(value, y_ticks)
        parts.append(tag("text", words, x=at.x.start - 7, y=y + 4, class_="tick", text_anchor="end"))
    for value in x_ticks:
        words = format_tick(value, x_ticks)
        parts.append(tag("text", words, x=at.x(value), y=at.y.start + 17, class_="tick", text_anchor="middle"))
    if x_label:
        middle = (at.x.start + at.x.end) / 2
        parts.append(tag("text", x_label, x=middle, y=at.height - 4, class_="axis", text_anchor="middle"))
    return tag(
        "svg",
        tag("desc", description),
        *parts,
        *content,
        viewBox=f"0 0 {at.width:g} {at.height:g}",
        role="img",
        aria_label=description,
        class_=kind,
    )


def spread(labels: Sequence[Label], low: Number, high: Number) -> list[Label]:
    """The labels moved up and down as little as keeps them a line apart and between `low` and `high`."""
    ordered = sorted(labels, key=lambda label: label.y)
    places: list[float] = []
    for label in ordered:
        places.append(max(label.y, places[-1] + LINE) if places else max(label.y, low))
    for k in range(len(places) - 1, -1, -1):
        ceiling = high if k == len(places) - 1 else places[k + 1] - LINE
        places[k] = min(places[k], ceiling)
    return [Label(text=label.text, y=y, role=label.role) for label, y in zip(ordered, places, strict=True)]


def ticks(low: Number, high: Number, count: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from `low` to `high`, about `count` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [float(low)] if math.isfinite(low) else []
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def format_tick(value: Number, among: Sequence[Number]) -> str:
    """A tick's number with as many decimals as its axis needs."""
    gaps = [abs(b - a) for a, b in itertools.pairwise(among) if b != a]
    step = min(gaps) if gaps else abs(value) or 1.0
    if step < 1e-4:
        digits = max(0, math.floor(math.log10(abs(value) or step)) - math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}e}".replace("e-0", "e-") if value else "0"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals and abs(round(step, decimals) - step) > 1e-9 * step:
        decimals += 1  # steps of 2.5
    return f"{value:,.{decimals}f}".replace("-0.0", "0.0") if value == 0 else f"{value:,.{decimals}f}"
