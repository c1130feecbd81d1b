"""What a report says in words: headline, sentence, tables of facts. The same for terminal and page."""

from __future__ import annotations

__all__ = [
    "Cell",
    "Fact",
    "Mistakes",
    "audit_findings",
    "command",
    "count",
    "data_card",
    "ended",
    "environment",
    "headline",
    "left_out",
    "left_out_line",
    "loss_line",
    "mistakes",
    "refusal_line",
    "settled",
    "show",
    "trained",
    "verdict",
]

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedfit.doctor import GLOSSARY
from embedfit.run import Run

SHARES = ("data.leakage", "data.classes_at_most_3", "data.truncated_share")
ELSEWHERE = ("data.findings", "data.difficulty", "data.sampled")  # shown in a form of their own, or too deep for a card


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of a card: what it is, what it is called in the files, its value."""

    label: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table: its text and a small note behind it."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """A table of mistakes and how to read it."""

    words: str
    heads: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


def trained(run: Run) -> str:
    """What was trained, on what, and how long: one sentence."""
    facts = run.facts
    model = str(facts.get("chosen.model") or run.recipe.model.kind)
    parts = [f"A '{model}' tower" if model != "auto" else "A tower"]
    inner = []
    if isinstance(facts.get("model.dimension"), int):
        inner.append(f"{facts['model.dimension']} dimensions")
    if isinstance(facts.get("model.parameters"), int):
        inner.append(f"{_short(facts['model.parameters'])} parameters")
    parts += [f"with {' and '.join(inner)},"] if inner else []
    if isinstance(facts.get("data.rows"), int):
        classes = facts.get("data.classes")
        within = f" in {classes:,} classes" if isinstance(classes, int) else ""
        streamed = facts.get("data.streamed")
        rows = f"files of {streamed:,} rows" if isinstance(streamed, int) else f"{facts['data.rows']:,} rows"
        parts.append(f"trained on {rows}{within}")
    if isinstance(facts.get("train.seconds"), int | float):
        parts.append(f"in {_duration(facts['train.seconds'])}")
    return f"{' '.join(parts)}." if len(parts) > 1 or model != "auto" else "Of this run, only the recipe is known."


def headline(run: Run) -> Fact | None:
    """The main metric with its interval; None without one."""
    metric = str(run.facts.get("metric", ""))
    value = run.evaluation.get(metric)
    if not isinstance(value, int | float):
        return None
    low, high = run.evaluation.get(f"{metric}/low"), run.evaluation.get(f"{metric}/high")
    known = isinstance(low, int | float) and isinstance(high, int | float)
    return Fact(label=metric, key=f"{low:.3f} to {high:.3f}" if known else "", value=f"{value:.3f}")


def verdict(run: Run) -> str:
    """One honest sentence on the result; that of the evaluation where it left one."""
    given = run.evaluation.get("verdict")
    if given:
        return str(given)
    metric = str(run.facts.get("metric", ""))
    value, base = run.evaluation.get(metric), run.evaluation.get(f"lexical/{metric}")
    if not isinstance(value, int | float):
        return "This run was not evaluated on held-out rows, so nothing can be said of its quality."
    if not isinstance(base, int | float):
        return "No lexical baseline was measured, so it is open whether training was worth it."
    low, high = run.evaluation.get(f"{metric}/low", value), run.evaluation.get(f"{metric}/high", value)
    other_low = run.evaluation.get(f"lexical/{metric}/low", base)
    other_high = run.evaluation.get(f"lexical/{metric}/high", base)
    if low > other_high:
        return "The model is better than the lexical baseline, beyond both intervals."
    if high < other_low:
        return "The model is worse than the lexical baseline, beyond both intervals."
    return "The model and the lexical baseline cannot be told apart by these held-out rows."


def data_card(run: Run) -> tuple[list[Fact], list[Fact]]:
    """The facts of the data: those with a place in the glossary, then the finer ones."""
    facts = _facts(run.facts, "data.")
    return [f for f in facts if f.key in GLOSSARY], [f for f in facts if f.key not in GLOSSARY]


def settled(run: Run) -> list[Fact]:
    """What "auto" became, and how training went."""
    return [fact for part in ("chosen.", "model.", "negatives.", "train.") for fact in _facts(run.facts, part)]


def environment(run: Run) -> list[Fact]:
    """Versions and machine."""
    return [Fact(label=key, key=key, value=show(key, value)) for key, value in run.environment.items()]


def ended(run: Run) -> str:
    """How training ended: one sentence, empty where it is not known."""
    stopped, best = run.facts.get("train.stopped"), run.facts.get("train.best_step")
    kept = f"the weights of step {best:,} were kept" if isinstance(best, int) else ""
    return "; ".join(part for part in (f"Training ended: {stopped}" if stopped else "", kept) if part) + (
        "." if stopped or kept else ""
    )


def loss_line(run: Run) -> str:
    """Where the loss ended between its floor and chance; empty without a reading."""
    if "loss" not in run.history:
        return ""
    levels = [
        f"{name} {show(name, run.facts[f'loss.{name}'])}" for name in ("floor", "chance") if f"loss.{name}" in run.facts
    ]
    return f"Loss {run.history.last('loss'):.3g}" + (f" ({', '.join(levels)})" if levels else "") + "."


def refusal_line(run: Run) -> str:
    """What the threshold does to texts without an answer, and what it costs; empty where there were none."""
    refused, kept = (run.evaluation.get(f"out_of_scope/{name}") for name in ("refused", "right_kept"))
    if not isinstance(refused, int | float) or not isinstance(kept, int | float):
        return ""
    return (
        f"The threshold refuses {_percent(refused)} of the texts without an answer and keeps {_percent(kept)} of the "
        "right first answers (each half measured with the threshold of the other)."
    )


def left_out_line(run: Run) -> str:
    """How many rows were not taken; empty where it is not known."""
    rows = len(left_out(run)) or run.facts.get("data.left_out")
    if rows is None and "left_out" not in run.samples:
        return ""
    return "No row was left out." if not rows else f"{count(rows, 'row')} {'was' if rows == 1 else 'were'} left out."


def count(number: int, noun: str) -> str:
    """The number with its noun in the right form."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def audit_findings(run: Run) -> list[dict[str, Any]]:
    """What the audit found in the data: severity, sentence, examples."""
    return [
        {
            "severity": str(found.get("severity", "info")),
            "sentence": str(found.get("sentence", found.get("name", ""))),
            "examples": [dict(e) for e in found.get("examples") or () if isinstance(e, Mapping)],
        }
        for found in _rows(run.facts.get("data.findings"))
    ]


def left_out(run: Run) -> list[dict[str, str]]:
    """Rows that were not taken, each with its place and its reason."""
    names = ("file", "line", "column", "reason")
    return [{name: show(name, row.get(name)) for name in names} for row in _rows(run.samples.get("left_out"))]


def mistakes(run: Run) -> Mistakes:
    """The worst held-out mistakes as a table; graded pairs have other columns than queries with answers."""
    rows = _rows(run.samples.get("worst"))
    if run.facts.get("metric") == "spearman":
        return Mistakes(
            words="Pairs whose cosine puts them furthest from the place that their grade gives them.",
            heads=("first sentence", "second sentence", "grade and cosine", "places apart"),
            rows=[
                (_cell(row, "query"), _cell(row, "expected"),
                 Cell(text=f"{show('', row.get('score_expected'))} and {show('', row.get('score_got'))}"),
                 _cell(row, "rank"))
                for row in rows
            ],
        )  # fmt: skip
    return Mistakes(
        words="Held-out queries whose right answer came far behind a wrong one. "
        "Read them: sometimes it is the label that is wrong.",
        heads=("query", "expected", "got", "rank"),
        rows=[
            (_cell(row, "query"), _cell(row, "expected", "score_expected"), _cell(row, "got", "score_got"),
             _cell(row, "rank"))
            for row in rows
        ],
    )  # fmt: skip


def _cell(row: Mapping[str, Any], name: str, note: str = "") -> Cell:
    return Cell(text=show(name, row.get(name)), note=show(note, row.get(note)))


def command(run: Run) -> str:
    """The command that repeats the run, ready for a shell."""
    if not run.recipe.data.files:
        return "# the rows were given in memory: repeat it with embedfit.fit(rows, recipe='recipe.toml')"
    recipe = str(run.folder / "recipe.toml") if run.folder is not None else "recipe.toml"
    return f"embedfit train {shlex.quote(recipe)} --out {shlex.quote('runs/again')}"


def show(key: str, value: Any) -> str:
    """A value as people write it; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(_entry(name, one) for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if key in SHARES:
            return _percent(value)
        return f"{value:.3g}" if abs(value) < 1000 or not math.isfinite(value) else f"{value:,.0f}"
    return str(value)


def _entry(name: str, value: Any) -> str:
    if isinstance(value, str):
        return f"{name} <- {value}"
    return f"{name} {_percent(value)}" if isinstance(value, float) else f"{name} {value}"


def _facts(facts: Mapping[str, Any], prefix: str) -> list[Fact]:
    return [
        Fact(label=_label(key, prefix), key=key, value=show(key, value))
        for key, value in facts.items()
        if key.startswith(prefix) and key not in ELSEWHERE and value not in (None, [])
    ]


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list | tuple) else []


def _label(key: str, prefix: str) -> str:
    """The glossary's words up to the colon, behind which it explains."""
    return GLOSSARY[key].split(":")[0] if key in GLOSSARY else key.removeprefix(prefix).replace("_", " ")


def _percent(value: float) -> str:
    percent = 100 * value
    return "under 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %".replace(".0 %", " %")


def _short(count: int) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
