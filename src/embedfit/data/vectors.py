"""The same items in two spaces: vectors are checked, and matched by id where there is one.

Axes: n rows, e dimensions.
"""

from __future__ import annotations

__all__ = ["Matched", "Vectors", "match"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from embedfit.errors import BadRow, DataError

OnBadRows = Literal["error", "skip"]
SHOWN = 5  # rows an error names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """Rows of one space.

    Attributes:
        values: one row per item.
        ids: name of each row; none where rows are known by their position alone.
        source: where they come from, as the user named it.
    """

    values: Shaped[np.ndarray, "n e"]
    ids: tuple[str, ...] | None
    source: str

    def __len__(self) -> int:
        return len(self.values)

    def name(self, row: int) -> str:
        """How a row is called in messages."""
        return f"row {row}" if self.ids is None else f"id '{self.ids[row]}'"

    def select(self, rows: Int[np.ndarray, " m"]) -> Vectors:
        """Some rows, in that order."""
        ids = None if self.ids is None else tuple(self.ids[i] for i in rows)
        return replace(self, values=self.values[rows], ids=ids)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """The same items in two spaces.

    Attributes:
        source: float32 rows of the first space.
        target: float32 rows of the second space; row i is the item of row i of the source.
        names: name of each item: its id, or its row in the files.
        rows: position of each item in the source file, before anything was left out.
        source_rows: rows of the source file.
        left_out: rows without a partner or not fit to be used, and why.
    """

    source: Float[np.ndarray, "n e"]
    target: Float[np.ndarray, "n f"]
    names: tuple[str, ...]
    rows: Int[np.ndarray, " n"]
    source_rows: int
    left_out: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.source)


def match(source: Vectors, target: Vectors, *, on_bad_rows: OnBadRows = "error") -> Matched:
    """Put the rows of the same item side by side: by id where both have ids, else by position.

    An item that only one side knows is left out and named. A row that is not finite, or an id that occurs again, is an
    error, or with "skip" is left out and named, too.

    Raises:
        DataError: one side has ids and the other none, different numbers of rows, bad rows, or nothing in common.
    """
    if (source.ids is None) != (target.ids is None):
        with_ids, without = (source, target) if target.ids is None else (target, source)
        raise DataError(
            f"{with_ids.source} has ids and {without.source} has none, so their rows cannot be matched",
            hint="save both with ids, or both without and in the same order",
        )
    if source.ids is None and len(source) != len(target):
        raise DataError(
            f"{source.source} has {len(source):,} rows, {target.source} {len(target):,}, and there are no ids",
            hint="save both with an `id` (npz, Parquet), or the same items in the same order",
        )
    fit = [_sound(side) for side in (source, target)]
    bad = [row for _, rows in fit for row in rows]
    if bad and on_bad_rows == "error":
        more = f", and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} rows cannot be used: {'; '.join(map(str, bad[:SHOWN]))}{more}",
            hint="mend them, or leave them out and have them listed: on_bad_rows='skip' (--on-bad-rows skip)",
        )
    rows, partner, alone = _paired(source, target, fit[0][0], fit[1][0])
    if not rows.size:
        raise DataError(f"{source.source} and {target.source} have no usable item in common", hint=_why(source, target))
    return Matched(
        source=_float32(source.values[rows]),
        target=_float32(target.values[partner]),
        names=tuple(source.name(int(i)) for i in rows),
        rows=rows,
        source_rows=len(source),
        left_out=(*bad, *alone),
    )


def _sound(vectors: Vectors) -> tuple[Bool[np.ndarray, " n"], list[BadRow]]:
    """Which rows can be used; and of the others, why not: not finite, or an id that occurred before."""
    with np.errstate(over="ignore"):  # a number that float32 cannot hold becomes an infinite one
        blocks = [_float32(vectors.values[i : i + BLOCK]) for i in range(0, len(vectors), BLOCK)]
        finite = np.concatenate([np.isfinite(block).all(1) for block in blocks] or [np.ones(0, bool)])
    bad = [BadRow(vectors.source, 0, "", f"{vectors.name(i)} is not finite") for i in np.flatnonzero(~finite).tolist()]
    fit = finite
    if vectors.ids is not None:
        first: dict[str, int] = {}
        again = [i for i, name in enumerate(vectors.ids) if first.setdefault(name, i) != i]
        bad += [
            BadRow(vectors.source, 0, "", f"{vectors.name(i)} of row {i} is already that of row {first[name]}")
            for i in again
            for name in [vectors.ids[i]]
        ]
        fit = finite.copy()
        fit[again] = False
    return fit, bad


BLOCK = 65_536  # rows looked at together


def _float32(values: Shaped[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    return np.ascontiguousarray(values, np.float32)


def _paired(
    source: Vectors, target: Vectors, fit_source: Bool[np.ndarray, " n"], fit_target: Bool[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], list[BadRow]]:
    if source.ids is None or target.ids is None:
        rows = np.flatnonzero(fit_source & fit_target)
        return rows, rows, []
    place = {target.ids[i]: i for i in np.flatnonzero(fit_target).tolist()}
    pairs = [(i, place[source.ids[i]]) for i in np.flatnonzero(fit_source).tolist() if source.ids[i] in place]
    rows, partner = np.array(pairs, np.int64).reshape(-1, 2).T
    alone = _without(source, fit_source, target) + _without(target, fit_target, source)
    return rows, partner, alone


def _without(side: Vectors, fit: Bool[np.ndarray, " n"], other: Vectors) -> list[BadRow]:
    """Usable rows whose id the other side does not have at all; one that is there but bad has been named."""
    ids: Sequence[str] = side.ids or ()
    others = set(other.ids or ())
    missing = [i for i in np.flatnonzero(fit).tolist() if ids[i] not in others]
    return [BadRow(side.source, 0, "", f"{side.name(i)} is missing in {other.source}") for i in missing]


def _why(source: Vectors, target: Vectors) -> str:
    if source.ids and target.ids:
        return f"the first ids are '{source.ids[0]}' and '{target.ids[0]}': are they of the same kind?"
    return "look at the rows that were left out"
