"""Judges rows: what is fit goes on under canonical names, what is not is named with its place and a reason."""

from __future__ import annotations

__all__ = ["Settled", "gather", "settle"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from embedfit.data.bind import is_list_role
from embedfit.data.binding import Binding
from embedfit.data.tables import Part
from embedfit.errors import BadRow, DataError

OnBadRows = Literal["error", "skip"]
NUMBERS = frozenset({"score", "weight", "relevance", "clicked", "position"})
_TIMES = "timestamp"  # kept as it is: text, whole number or a type of time
_MAY_BE_EMPTY = frozenset({"label_text", "document", "title"})
_LONG = 1_000_000
_VISIBLE = r"[^\s\p{Cc}\p{Cf}]"
_SHOWN = 4  # how many lines an error names before it counts the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One part after judgement.

    Attributes:
        frame: the fit rows under canonical names.
        sources: canonical column -> column of the source (a list of negatives gives several canonical columns).
        bad: `row` (of the part), `column`, `reason` of the others.
        notes: cells that are fit and strange.
    """

    frame: pl.DataFrame
    sources: dict[str, str]
    bad: pl.DataFrame
    notes: tuple[str, ...]


def settle(part: Part, binding: Binding) -> Settled:
    """Rename, unfold lists, turn numbers into floats, and take out the rows that are not fit.

    Raises:
        DataError: a whole column is of a type that is no text (or no number).
    """
    frame = part.frame.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        *(_typed(part, role, column).alias(role) for role, column in binding.items()),
    )
    frame, sources = _unfolded(frame, dict(binding))
    judged = frame.with_columns(
        **{f"bad:{role}": _is_bad(role, text=frame.schema[role] == pl.String) for role in sources},
        **{role: _number(role) for role in sources if role in NUMBERS and frame.schema[role] == pl.String},
        **{
            role: pl.when(pl.col(role).str.contains(_VISIBLE)).then(role)
            for role in sources
            if role in _absent_as_null(sources)
        },
    )
    marks = [f"bad:{role}" for role in sources]
    any_bad = judged.select(bad=pl.any_horizontal(marks))["bad"]
    fit = judged.filter(~any_bad).select(list(sources))
    if "clicked" in sources:
        fit = fit.with_columns(pl.col("clicked") > 0)
    bad = _reasons(frame.filter(any_bad), judged.filter(any_bad), sources)
    return Settled(frame=fit, sources=sources, bad=bad, notes=_long_cells(part, frame, sources))


def gather(
    parts: Sequence[Part], binding: Binding, on_bad_rows: OnBadRows, name: str
) -> tuple[pl.DataFrame, Binding, tuple[BadRow, ...]]:
    """Settle every part and put the fit rows together.

    Raises:
        DataError: there is no row, a row is not fit and `on_bad_rows` is "error", or no row is fit.
    """
    settled = [settle(part, binding) for part in parts]
    count = sum(s.bad.height + len(p.broken) for p, s in zip(parts, settled, strict=True))
    fit = sum(s.frame.height for s in settled)
    if not count and not fit:
        raise DataError(
            f"{name} has a header but no rows" if parts and parts[0].has_lines else f"{name} has no rows",
            hint="was the file written to its end? Every line after the header is one example",
        )
    if count and on_bad_rows == "error":
        raise _first_bad(parts, settled, count)
    if not fit:
        raise DataError(
            f"no row of {name} is fit: {_named(parts[0], settled[0], 1)[0]}, and {count - 1} more",
            hint="look at that row first: is it the right column, and is the file cut into cells rightly?",
        )
    left_out = tuple(bad for p, s in zip(parts, settled, strict=True) for bad in _named(p, s, count))
    sources = {role: column for s in settled for role, column in s.sources.items()}
    notes = tuple(note for s in settled for note in s.notes)
    table = pl.concat([s.frame for s in settled], how="diagonal")
    return table, Binding(sources, binding.unused, (*binding.notes, *notes)), left_out


def _first_bad(parts: Sequence[Part], settled: Sequence[Settled], count: int) -> DataError:
    part, one = next((p, s) for p, s in zip(parts, settled, strict=True) if s.bad.height or p.broken)
    shown = _named(part, one, _SHOWN)
    lines = list(dict.fromkeys(str(b.line) for b in shown[1:] if b.line))
    where = f" (line{'s' if count > 2 else ''} {', '.join(lines)}{', ...' if count > _SHOWN else ''})" if lines else ""
    more = f"; {count - 1:,} more bad row{'s' if count > 2 else ''}{where}" if count > 1 else ""
    return DataError(
        f"{shown[0]}{more}",
        hint="mend the data, or leave bad rows out and have them listed: on_bad_rows='skip' (--on-bad-rows skip)",
    )


def _named(part: Part, settled: Settled, most: int) -> list[BadRow]:
    """The first bad rows of a part in the order of their lines."""
    first = settled.bad.head(most)
    positions = part.position(first["row"].to_list()) if first.height else []
    judged = [
        (at, part.bad_row(at, column, reason))
        for at, column, reason in zip(positions, first["column"], first["reason"], strict=True)
    ]
    broken = [(b.line, b) for b in part.broken[:most]]
    return [bad for _, bad in sorted(judged + broken, key=lambda pair: pair[0])][:most]


def _typed(part: Part, role: str, column: str) -> pl.Expr:
    """The column as text, as lists of text, or as a number, whatever type the source gave it."""
    dtype = part.frame.schema[column]
    raw = pl.col(column)
    if role in NUMBERS and (dtype.is_numeric() or dtype == pl.Boolean):
        return raw.cast(pl.Float64)
    if isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        if is_list_role(role) and not (isinstance(inner, pl.DataType) and inner.is_nested()):
            return raw.cast(pl.List(pl.String))
    elif role == _TIMES and (dtype.is_temporal() or dtype.is_integer()):
        return raw
    elif not dtype.is_nested() and dtype not in (pl.Binary, pl.Object):
        return raw.fill_nan(None).cast(pl.String) if dtype.is_float() else raw.cast(pl.String)
    raise DataError(
        f"{part.file}: the column '{column}' holds {dtype}; the role '{role}' needs "
        + ("numbers" if role in NUMBERS else "text"),
        hint=f"turn it into {'numbers' if role in NUMBERS else 'text'}, or name another column for '{role}'",
    )


def _unfolded(frame: pl.DataFrame, sources: dict[str, str]) -> tuple[pl.DataFrame, dict[str, str]]:
    """Several positives become several rows, several negatives several columns."""
    if "positive" in sources and isinstance(frame.schema["positive"], pl.List):
        several = pl.when(pl.col("positive").list.len() > 0).then("positive")  # an empty list becomes one null
        frame = frame.with_columns(positive=several).explode("positive")
    plain = {role: column for role, column in sources.items() if not role.startswith("negative_")}
    negatives: list[tuple[pl.Expr, str]] = []
    for role, column in sources.items():
        if role in plain:
            continue
        if isinstance(frame.schema[role], pl.List):
            width = int(frame[role].list.len().max() or 0)  # type: ignore[arg-type]
            negatives += [(pl.col(role).list.get(i, null_on_oob=True), column) for i in range(width)]
        else:
            negatives.append((pl.col(role), column))
    named = {f"negative_{i}": pair for i, pair in enumerate(negatives, start=1)}
    frame = frame.select("row", *plain, **{role: expression for role, (expression, _) in named.items()})
    return frame, plain | {role: column for role, (_, column) in named.items()}


def _absent_as_null(sources: dict[str, str]) -> set[str]:
    return {role for role in sources if role == "label_text" or role.startswith("negative_")}


def _is_bad(role: str, *, text: bool) -> pl.Expr:
    value = pl.col(role)
    if role == _TIMES:
        return pl.lit(value=False)
    if role in NUMBERS:
        number = _number(role) if text else value  # to write ten million numbers out takes seconds
        unfit = ~number.is_finite()
        if role == "weight":
            unfit = unfit | (number < 0)
        if role == "clicked":
            unfit = (number != 0) & (number != 1)
        return (number.is_null() | unfit).fill_null(True)
    broken = value.str.contains("\0", literal=True)
    if role in _MAY_BE_EMPTY or role.startswith("negative_"):
        return broken.fill_null(False)
    return (broken | ~value.str.contains(_VISIBLE)).fill_null(True)


def _number(role: str) -> pl.Expr:
    said = pl.col(role).cast(pl.String).str.strip_chars().str.to_lowercase()
    said = pl.when(said == "true").then(pl.lit("1")).when(said == "false").then(pl.lit("0")).otherwise(said)
    return said.cast(pl.Float64, strict=False)


def _reasons(raw: pl.DataFrame, judged: pl.DataFrame, sources: dict[str, str]) -> pl.DataFrame:
    """One reason per bad row: that of its first column at fault."""
    found = [
        raw.select("row", order=pl.int_range(pl.len()), column=pl.lit(column), reason=_reason(role)).filter(
            judged[f"bad:{role}"]
        )
        for role, column in sources.items()
    ]
    return pl.concat(found).unique("order", keep="first", maintain_order=True).sort("order").drop("order")


def _reason(role: str) -> pl.Expr:
    text = pl.col(role).cast(pl.String)
    shown = pl.when(text.str.len_chars() > 40).then(text.str.head(40) + "...").otherwise(text)
    if role in NUMBERS:
        otherwise = (
            pl.when(_number(role).is_null()).then(pl.format("not a number: '{}'", shown))
            .when(pl.lit(role == "clicked")).then(pl.format("neither 0 nor 1: '{}'", shown))
            .when(_number(role).is_finite()).then(pl.format("negative: {}", shown))
            .otherwise(pl.format("not a finite number: '{}'", shown))
        )  # fmt: skip
        return (
            pl.when(text.is_null())
            .then(pl.lit("no value"))
            .when(text.str.strip_chars() == "")
            .then(pl.lit("empty"))
            .otherwise(otherwise)
        )
    return (
        pl.when(text.is_null()).then(pl.lit("no value"))
        .when(text.str.contains("\0", literal=True)).then(pl.lit("a NUL byte inside the text"))
        .otherwise(pl.lit("empty"))
    )  # fmt: skip


def _long_cells(part: Part, frame: pl.DataFrame, sources: dict[str, str]) -> tuple[str, ...]:
    texts = [role for role in sources if frame.schema[role] == pl.String]
    longest = frame.select(pl.col(texts).str.len_bytes().max()).row(0) if texts else ()
    notes = []
    for role, length in zip(texts, longest, strict=True):
        if (length or 0) > _LONG:
            rows = frame.filter(pl.col(role).str.len_bytes() > _LONG)["row"].to_list()
            first = part.bad_row(part.position(rows[:1])[0], sources[role], f"{length:,} bytes of text in one cell")
            notes.append(f"{first}; {len(rows)} such cells over 1 MB: is the file cut into rows rightly?")
    return tuple(notes)
