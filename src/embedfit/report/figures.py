"""The figures of a report: which readings of a run are drawn together, and what is said where there are none."""

from __future__ import annotations

__all__ = [
    "Figure",
    "drawn_figure",
    "finite",
    "geometry_figures",
    "loss_figure",
    "map_figure",
    "metric_figure",
    "readings_figure",
    "readings_of",
    "result_bars",
    "result_figure",
    "similarity_figure",
    "spectrum_figure",
    "training_figures",
]

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup

from embedfit.report.plots import Bar, Curve, Level, Point, curves, histograms, intervals, scatter
from embedfit.run import Run

BESIDE = {"lexical": ("lexical baseline", "baseline"), "fused": ("both together", "other")}
SMOOTH = 25  # readings under the moving median of a noisy curve, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot and its words.

    Attributes:
        title: what is shown.
        svg: the plot; None where the run does not have the numbers.
        words: how to read it, or why there is none.
    """

    title: str
    svg: Markup | None
    words: str = ""


def result_figure(run: Run) -> Figure | None:
    """The main metric beside every baseline that was measured, with intervals; None without an evaluation."""
    metric, bars = str(run.facts.get("metric", "")), result_bars(run)
    if not bars:
        return None
    numbers = "; ".join(f"{bar.label} {bar.value:.3f}" for bar in bars)
    return Figure(title=metric, svg=intervals(bars, description=f"{metric}: {numbers}"), words=_interval_words(bars))


def result_bars(run: Run) -> list[Bar]:
    """The main metric and that of every baseline; none where the model was not evaluated."""
    metric = str(run.facts.get("metric", ""))
    names = [("this model", metric, "model")]
    for key in run.evaluation:
        baseline = key.removesuffix(f"/{metric}")
        # chance is so far away that it would squeeze the rest; what has a slash was measured on other rows
        if metric and baseline not in (key, "chance") and "/" not in baseline:
            label, role = BESIDE.get(baseline, (baseline, "baseline"))
            names.append((label, key, role))
    bars = [bar for label, key, role in names if (bar := _bar(run.evaluation, label, key, role)) is not None]
    return bars if bars and bars[0].role == "model" else []


def training_figures(run: Run) -> list[Figure]:
    """The curves of training: loss, held-out metric, and the small ones."""
    metric = str(run.facts.get("metric", "metric"))
    return [
        loss_figure(run),
        metric_figure(run, metric),
        readings_figure(run, "Cosines in the batch", ("positive/mean", "negative/max", "negative/mean"),
                  "Positives should leave the negatives behind.", ("positives", "hardest", "negatives")),
        readings_figure(run, "Recall@1 in the batch", ("in_batch/recall@1",),
                  "Share of queries whose positive beats every negative of the batch; a tie is a miss.", ("",)),
        readings_figure(run, "Spread of the queries", ("query/effective_rank", "query/mean_direction"),
                  "Directions filled (1: as even as chance), and the norm of the mean direction (1: all alike).",
                  ("directions", "mean")),
        readings_figure(run, "Learning rate", ("learning_rate",), "Warm-up, then decay.", ("",)),
        readings_figure(run, "Gradient norm", ("gradient_norm",), "Before long gradients are shortened.", ("",)),
        readings_figure(run, "Step over weights", ("update_ratio",), "Size of a step: share of the weights.", ("",)),
    ]  # fmt: skip


def geometry_figures(run: Run) -> list[Figure]:
    """Recall against k, similarities, singular values, and answers by coverage where they were measured."""
    covered = _coverage(run)
    return [_recall(run), similarity_figure(run), spectrum_figure(run), *([covered] if covered else [])]


def map_figure(run: Run) -> Figure:
    """The embeddings of some texts in two dimensions."""
    title = "Map of the embeddings"
    points = [
        Point(x=x, y=y, text=str(row.get("text", "")), label=str(row.get("label") or ""))
        for row in _rows(run.samples.get("map"))
        if (x := finite(row.get("x"))) is not None and (y := finite(row.get("y"))) is not None
    ]
    if not points:
        return Figure(title=title, svg=None, words="No map was drawn for this run.")
    groups = len({point.label for point in points})
    words = "Each dot is a text; near means similar, as far as two dimensions can show it. Hover or tap to read."
    return Figure(title=title, svg=scatter(points, description=f"{len(points)} texts in {groups} groups"), words=words)


def loss_figure(run: Run) -> Figure:
    """The loss between its floor and chance."""
    raw = readings_of(run, "loss")
    title, levels = "Loss", []
    for name in ("chance", "floor"):
        value = finite(run.facts.get(f"loss.{name}"))
        if value is not None:
            levels.append(Level(label=f"{name} {value:.2f}", value=value))
    lines = [Curve(label="training", points=_smooth(raw), faint=raw)] if raw else []
    dev = readings_of(run, "dev/loss")
    if dev:
        lines.append(Curve(label="held-out", points=dev, role="other"))
    words = "Chance: all candidates look alike. Floor: no embedding can get lower." if levels else ""
    return drawn_figure(title, words, lines, "no reading of the loss", levels)


def metric_figure(run: Run, metric: str) -> Figure:
    """The held-out metric beside the lexical baseline and chance."""
    points = readings_of(run, f"dev/{metric}")
    # measured as the curve is; the final evaluation may look at more texts
    value = finite(run.facts.get("train.lexical", run.evaluation.get(f"lexical/{metric}")))
    levels = []
    if value is not None:
        levels.append(Level(label=f"lexical {value:.2f}", value=value, role="baseline"))
    lines = [Curve(label="this model", points=points)] if points else []
    words = "On held-out rows." + (" The line is the lexical baseline, which training has to beat." if levels else "")
    chance = finite(run.facts.get("metric.chance"))
    if chance is not None and lines:
        levels.append(Level(label=f"chance {chance:.2f}", value=chance))
        words += " Chance: the order is random."
    return drawn_figure(f"Held-out {metric}", words, lines, "no evaluation during training", levels)


def readings_figure(run: Run, title: str, names: Sequence[str], words: str, labels: Sequence[str]) -> Figure:
    """Readings of a run over its steps, drawn small."""
    roles = ("model", "baseline", "other")
    lines = [
        Curve(label=label, points=_smooth(points) if len(names) > 1 else points, role=role)
        for name, label, role in zip(names, labels, roles, strict=False)
        if (points := readings_of(run, name))
    ]
    return drawn_figure(title, words, lines, f"no reading of {' or '.join(names)}", small=True)


def drawn_figure(
    title: str, words: str, lines: Sequence[Curve], without: str, levels: Sequence[Level] = (), *, small: bool = False
) -> Figure:
    """Curves with levels to compare them with; a sentence (`without`) where no value is finite."""
    if not any(math.isfinite(y) for line in lines for _, y in line.points):
        return Figure(title=title, svg=None, words=f"This run has {without}.")
    described = ", ".join([*(line.label for line in lines if line.label), *(level.label for level in levels)])
    svg = curves(
        lines, levels, description=f"{title} over the steps: {described or title}", x_label="step", small=small
    )
    return Figure(title=title, svg=svg, words=words)


def _recall(run: Run) -> Figure:
    title, table = "Recall against k", _mapping(run.samples.get("recall_curve"))
    ks = _numbers(table.get("k"))
    lines = []
    for name, label, role in (("model", "this model", "model"), ("lexical", "lexical", "baseline")):
        shares = _numbers(table.get(name))
        if ks and len(shares) == len(ks) and min(ks) > 0:
            lines.append(Curve(label=label, points=list(zip(ks, shares, strict=True)), role=role))
    if not lines:
        return Figure(title=title, svg=None, words="This run has no curve of recall.")
    svg = curves(
        lines,
        description="Recall against k",
        x_label="k (documents looked at)",
        log_x=True,
        small=True,
        from_zero=False,
    )
    return Figure(title=title, svg=svg, words="Share of the right documents among the first k.")


def similarity_figure(run: Run) -> Figure:
    """Cosines of held-out pairs, right and wrong ones."""
    title, table = "Cosines of held-out pairs", _mapping(run.samples.get("similarity"))
    groups = [
        (label, values, role)
        for name, label, role in (("negative", "negatives", "baseline"), ("positive", "positives", "model"))
        if (values := _numbers(table.get(name)))
    ]
    if not groups:
        return Figure(title=title, svg=None, words="This run has no sample of similarities.")
    counts = ", ".join(f"{len(values):,} {label}" for label, values, _ in groups)
    svg = histograms(groups, description=f"Histogram of cosines: {counts}", x_label="cosine")
    return Figure(title=title, svg=svg, words=f"{counts}. The less they overlap, the easier to set a threshold.")


def spectrum_figure(run: Run) -> Figure:
    """Singular values of the embeddings, beside those of even directions."""
    title, values = "Singular values", _numbers(run.samples.get("singular_values"))
    if not values:
        return Figure(title=title, svg=None, words="This run has no singular values.")
    even = _numbers(run.samples.get("isotropic_singular_values"))
    lines = [Curve(label="this model", points=[(k + 1.0, v) for k, v in enumerate(values)])]
    if even:
        lines.append(Curve(label="even", points=[(k + 1.0, v) for k, v in enumerate(even)], role="muted"))
    svg = curves(lines, description="Singular values of the centred unit embeddings", x_label="direction", small=True)
    beside = ", beside those of directions drawn evenly" if even else ""
    return Figure(
        title=title, svg=svg, words=f"Of the centred unit embeddings{beside}. A cliff means unused directions."
    )


def _coverage(run: Run) -> Figure | None:
    points = sorted(
        (coverage, precision)
        for row in _rows(run.samples.get("coverage_curve"))
        if (coverage := finite(row.get("coverage"))) is not None
        and (precision := finite(row.get("precision"))) is not None
    )
    if not points:
        return None
    line, words = Curve(label="", points=points), "share of the queries answered"
    svg = curves([line], description="Precision against coverage", x_label=words, small=True, from_zero=False)
    words = "Share of right answers when only the surest are given."
    return Figure(title="Answering only when sure", svg=svg, words=words)


def _bar(evaluation: Mapping[str, Any], label: str, key: str, role: str) -> Bar | None:
    value = finite(evaluation.get(key))
    if value is None:
        return None
    low, high = finite(evaluation.get(f"{key}/low")), finite(evaluation.get(f"{key}/high"))
    return Bar(label=label, value=value, low=low, high=high, role=role)


def _interval_words(bars: Sequence[Bar]) -> str:
    return "Bars are 95 % intervals over the held-out queries." if any(bar.low is not None for bar in bars) else ""


def readings_of(run: Run, name: str) -> list[tuple[float, float]]:
    """(step, value) of a reading; none where there is no such reading."""
    return [(float(step), value) for step, value in run.history[name]] if name in run.history else []


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Moving median, over a tenth of the readings at most; values that are not finite stay as they are."""
    half = min(SMOOTH, len(points) // 10) // 2
    return [
        (x, _middle([v for _, v in points[max(0, k - half) : k + half + 1]]) if math.isfinite(y) else y)
        for k, (x, y) in enumerate(points)
    ]


def _middle(values: Iterable[float]) -> float:
    return median([value for value in values if math.isfinite(value)])


def finite(value: object) -> float | None:
    """A finite number, or None for whatever else a file may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _numbers(values: object) -> list[float]:
    if not isinstance(values, list | tuple):
        return []
    return [number for value in values if (number := finite(value)) is not None]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list | tuple) else []
