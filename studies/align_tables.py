"""The tables of `studies.align_losses`, drawn from its rows."""

from __future__ import annotations

__all__ = ["TABLES", "at_best", "ceilings", "distinct", "spread", "steps_to_ceiling"]

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from studies.common import interval, table

Rows = Sequence[Mapping[str, Any]]
EVERY = 5  # steps between two readings of a curve
CLOSE = 0.99  # share of the ceiling that counts as reached


def distinct(rows: Rows, name: str) -> list[Any]:
    """Values of a column, in the order they come."""
    return list(dict.fromkeys(row[name] for row in rows))


def at_best(rows: Rows, by: str = "cosine") -> list[Mapping[str, Any]]:
    """The rows of all seeds at the rate that is best for the first."""
    best = max((row for row in rows if row["seed"] == 0), key=lambda row: row[by])["rate"]
    return [row for row in rows if row["rate"] == best]


def spread(values: Sequence[float | None]) -> str:
    """Mean and half of its 95 % interval; "never" where a seed never got there."""
    numbers = [value for value in values if value is not None]
    return interval(numbers) if len(numbers) == len(values) else "never"


def steps(values: Sequence[int | None]) -> str:
    """Mean of the steps, with their range."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return "never"
    said = f"{mean(numbers):.0f}"
    return said if min(numbers) == max(numbers) else f"{said} ({min(numbers)}..{max(numbers)})"


def losses(rows: Rows) -> str:
    """Objectives by outliers: cosine, relative L2, recall@1 at the best rate; steps and length without outliers."""
    shares = distinct(rows, "outliers")
    lines = []
    for name in distinct(rows, "objective"):
        own = [row for row in rows if row["objective"] == name]
        cells = [at_best([row for row in own if row["outliers"] == share]) for share in shares]
        clean = cells[0]
        lines.append([
            name,
            "/".join(f"{cell[0]['rate']:g}" for cell in cells),
            *(
                " / ".join(spread([row[key] for row in cell]) for key in ("cosine", "relative_l2", "recall@1"))
                for cell in cells
            ),
            spread([row["norm_ratio"] for row in clean]),
            steps([row["steps"] for row in clean]),
        ])  # fmt: skip
    outliers = [f"{100 * share:g} % outliers: cos / rel. L2 / R@1" for share in shares]
    return table(["objective", "rate", *outliers, "norm ratio, clean", "steps to cos .9, clean"], lines)


def weights(rows: Rows) -> str:
    """The distance beside the cosine, by its weight."""
    lines = []
    for weight in distinct(rows, "weight"):
        own = at_best([row for row in rows if row["weight"] == weight])
        shown = [spread([row[key] for row in own]) for key in ("cosine", "relative_l2")]
        lines.append([f"{weight:g}", f"{own[0]['rate']:g}", *shown, steps([row["steps"] for row in own])])
    return table(["weight of the distance beside the cosine", "rate", "cos", "rel. L2", "steps to cos .9"], lines)


def starts(rows: Rows) -> str:
    """Free rows that begin between random and their targets."""
    lines = []
    for share in distinct(rows, "share"):
        own = [row for row in rows if row["share"] == share]
        ends = [spread([row[key] for row in own]) for key in ("start", "end")]
        lines.append([f"{share:g}", *ends, *(steps([row[key] for row in own]) for key in ("to .9", "to .99"))])
    return table(
        ["share of the target in the start", "cos at the start", "cos after", "steps to cos .9", "to .99"], lines
    )


def ceilings(rows: Rows, size: int) -> dict[int, float]:
    """The highest cosine of a network of so many dimensions at any rate, by seed."""
    own = [row for row in rows if row["of"] == "network" and row["dimension"] == size]
    return {seed: max(max(row["curve"]) for row in own if row["seed"] == seed) for seed in distinct(own, "seed")}


def steps_to_ceiling(rows: Rows, size: int) -> dict[int, int]:
    """Steps to 99 % of the ceiling at the rate that gets there first, by seed."""
    out = {}
    for seed, top in ceilings(rows, size).items():
        curves = [
            row["curve"] for row in rows
            if row["of"] == "network" and row["dimension"] == size and row["seed"] == seed
        ]  # fmt: skip
        places = [next((i for i, v in enumerate(curve) if v >= CLOSE * top), None) for curve in curves]
        out[seed] = EVERY * min(place for place in places if place is not None)
    return out


def dimensions(rows: Rows) -> str:
    """Steps by the number of dimensions of the target."""
    lines = []
    for size in distinct(rows, "dimension"):
        free = [row["to .99"] for row in rows if row["of"] == "free rows" and row["dimension"] == size]
        tops, taken = ceilings(rows, size), steps_to_ceiling(rows, size)
        lines.append([f"{size:,}", steps(free), interval(list(tops.values())), steps(list(taken.values()))])
    heads = ["dimensions", "steps to cos .99, free rows", "ceiling of the network (cos)", "steps to 99 % of it"]
    return table(heads, lines)


def schedules(rows: Rows) -> str:
    """What falls after the warmup, at every rate."""
    rates = distinct(rows, "rate")
    lines = [
        [
            kind,
            *(spread([r["cosine"] for r in rows if r["schedule"] == kind and r["rate"] == rate]) for rate in rates),
        ]
        for kind in distinct(rows, "schedule")
    ]
    return table(["schedule", *(f"cos at rate {rate:g}" for rate in rates)], lines)


TABLES: Mapping[str, Callable[[Rows], str]] = {
    "losses": losses,
    "weights": weights,
    "starts": starts,
    "dimensions": dimensions,
    "schedules": schedules,
}
"""Tables by name, in the order of the page."""
