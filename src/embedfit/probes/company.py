"""Forward passes that must agree: the same row alone, in a batch, at another place of it, and with less padding.

Axes: n rows of a batch, e coordinates.
"""

from __future__ import annotations

__all__ = ["agreement", "trimmed"]

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.probes.rows import Column, Table

Embed = Callable[[Any], Sequence[Tensor]]
FEW = 4  # rows that are embedded in other company
HOLES = 0.3
"""Share of the entries before the end of a row that may look like padding: unknown words do, empty pixels are more."""


@torch.no_grad()
def agreement(embed: Embed, rows: Table) -> dict[str, float]:
    """How far embeddings of the same rows are apart, 1 - cosine at worst, in four ways to embed them.

    Args:
        embed: a batch to embeddings [n, e], of one side or more; row i belongs to row i of the batch. It must drop and
            draw nothing at random.
        rows: a batch of at least three rows, of various lengths where they have lengths.

    Returns:
        `alone`: the shortest rows by themselves against the same rows among all; `place`: all rows in another order;
        `padding`: the shortest rows without the padding that longer ones brought, left out where nothing is padded.
        What cannot be run in such a way is left out, too.
    """
    whole = embed(rows.batch())
    short = sorted(range(rows.rows), key=_lengths(rows).tolist().__getitem__)[:FEW]
    turned = [(i + rows.rows // 2) % rows.rows for i in range(rows.rows)]
    few = rows.take(short)
    given = {"alone": (few, short), "place": (rows.take(turned), turned), "padding": (trimmed(few, like=rows), None)}
    found: dict[str, float] = {}
    for name, (batch, index) in given.items():
        if batch is None:
            continue
        try:
            changed = embed(batch.batch())
            before = [side[index] for side in whole] if index is not None else embed(few.batch())
        except (
            RuntimeError,
            TypeError,
            ValueError,
            IndexError,
            KeyError,
        ):  # a stranger's model may want its own shapes
            continue
        apart = [_apart(a, b) for a, b in zip(before, changed, strict=True) if a.shape == b.shape]
        if apart:
            found[name] = max(apart)
    return found


def trimmed(rows: Table, like: Table) -> Table | None:
    """Rows without the padding that none of them needs; None where none can be told from contents.

    Padding is a value that fills the ends of most rows to various lengths, and hardly occurs before them.

    Args:
        rows: whose tensors of ids and masks are cut.
        like: more rows of the same columns, by which padding is known.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    for path, column in like.columns.items():
        if _is_ids(column):
            groups.setdefault((path.rpartition(".")[0], column.shape[1]), []).append(path)  # type: ignore[union-attr]
    columns = dict(rows.columns)
    for (_, width), paths in groups.items():
        fills = {path: _fill(like.columns[path]) for path in paths}
        ends = [
            int(_ends(rows.columns[path], fill).max()) for path, fill in fills.items() if fill is not None
        ]  # fmt: skip
        if ends and 0 < max(ends) < width:
            columns |= {path: rows.columns[path][:, : max(ends)] for path in paths}  # type: ignore[call-overload]
    return replace(rows, columns=columns) if any(columns[p] is not rows.columns[p] for p in columns) else None


def _is_ids(column: Column) -> bool:
    """Whether a column is a table of ids, or a mask."""
    if isinstance(column, list) or column.ndim != 2 or column.shape[1] < 3:
        return False
    values = torch.as_tensor(column)
    return not values.is_complex() and (not values.is_floating_point() or bool(((values == 0) | (values == 1)).all()))


def _fill(column: Column) -> int | None:
    """The value that fills rows up at their end, if there is one."""
    values = torch.as_tensor(column)
    filled = values[values[:, -1] == values[:, -2], -1]  # a text cut short ends with its last token, and not twice
    if not len(filled):
        return None
    fill = int(filled.long().mode().values)
    ends = _ends(values, fill)
    inside = torch.arange(values.shape[1]) < ends[:, None]
    holes = (values.cpu() == fill)[inside].double().mean() if bool(inside.any()) else torch.tensor(1.0)
    various = len(ends.unique()) > 1 and float((ends < values.shape[1]).double().mean()) > 0.1
    return fill if various and float(holes) <= HOLES else None


def _ends(column: Column | Tensor, fill: int) -> Int[Tensor, " n"]:
    """Length of each row without what fills it up."""
    real = torch.as_tensor(column).cpu() != fill
    places = torch.arange(1, real.shape[1] + 1)
    return torch.where(real, places, 0).amax(1)


def _lengths(rows: Table) -> Float[Tensor, " n"]:
    """Length of each row, summed over the columns that have one."""
    total = torch.zeros(rows.rows)
    for column in rows.columns.values():
        own = column[: rows.rows]
        if isinstance(own, list):
            total += torch.tensor([float(len(x)) if isinstance(x, str | list | tuple) else 0.0 for x in own])
        elif isinstance(own, Tensor | np.ndarray) and _is_ids(column):
            fill = _fill(column)
            total += 0.0 if fill is None else _ends(own, fill).float()
    return total


def _apart(one: Float[Tensor, "n e"], other: Float[Tensor, "n e"]) -> float:
    if one.ndim != 2 or not len(one):
        return 0.0
    return max(0.0, float((1 - torch.cosine_similarity(one.double(), other.double(), dim=-1)).max()))
