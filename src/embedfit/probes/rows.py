"""The rows of a batch, whatever it is made of: tensors, lists of texts, mappings of either, or a list of examples.

A column is what a batch says of each of its rows; a column of k n entries holds k blocks of n (positives, then their
negatives), and entry i of every block belongs to row i.
"""

from __future__ import annotations

__all__ = ["Column", "Table", "distinct", "joined", "keys", "table"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

Column = Tensor | np.ndarray | list[Any]


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a column stands in a batch."""

    path: str


@dataclass(frozen=True, slots=True)
class _Examples:
    """A list of n examples, each of which is like `one`, with slots for what differs between examples."""

    one: Any
    kind: type


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A batch as columns.

    Attributes:
        rows: how many.
        columns: by their path in the batch, such as "0" or "query.input_ids".
        frame: the batch with a slot in place of each column.
        frames: those of the batches that were joined; they differ where a batch brings more than rows, such as
            negatives that were drawn for all of it.
    """

    rows: int
    columns: Mapping[str, Column]
    frame: Any
    frames: Sequence[Any] = ()

    def take(self, index: Sequence[int], only: Sequence[str] | None = None) -> Table:
        """The rows of these numbers, in this order; with `only`, the other columns stay as they are."""
        wanted = self.columns if only is None else only
        taken = {path: _take(c, index, self.rows) if path in wanted else c for path, c in self.columns.items()}
        return replace(self, rows=len(index) if only is None else self.rows, columns=taken)

    def batch(self, number: int = 0) -> Any:
        """The batch, made of the columns as they are now, in the frame of that number, round and round."""
        frame = self.frames[number % len(self.frames)] if self.frames else self.frame
        return _filled(frame, self.columns, self.rows)


def table(batch: Any, rows: int) -> Table:
    """A batch as columns.

    Args:
        batch: whatever a training loop iterates over.
        rows: its queries.

    Returns:
        The table; without a column where nothing in the batch has one entry per row.
    """
    columns: dict[str, Column] = {}
    return Table(rows=rows, frame=_framed(batch, rows, "", columns), columns=columns)


def joined(tables: Sequence[Table]) -> Table:
    """The rows of several batches under each other; tensors of different width are filled up at the end.

    Raises:
        ValueError: the batches are not alike.
    """
    first = tables[0]
    if any(set(t.columns) != set(first.columns) for t in tables):
        raise ValueError("the batches do not have the same columns")
    columns = {}
    for path in first.columns:
        blocks = len(first.columns[path]) // first.rows
        parts = [
            [_take(t.columns[path], range(b * t.rows, (b + 1) * t.rows), None) for t in tables] for b in range(blocks)
        ]
        if any(len(t.columns[path]) != blocks * t.rows for t in tables):
            raise ValueError(f"the batches do not have as many entries per row in '{path}'")
        columns[path] = _stacked([part for block in parts for part in block])
    frames = tuple(t.frame for t in tables if t.rows == first.rows)
    return Table(rows=sum(t.rows for t in tables), columns=columns, frame=first.frame, frames=frames)


def distinct(columns: Sequence[Column], rows: int) -> Int[Tensor, " rows"]:
    """A number for each row, the same for rows that are equal in these columns."""
    seen: dict[Any, int] = {}
    return torch.tensor([seen.setdefault(key, len(seen)) for key in keys(columns, rows)], dtype=torch.long)


def keys(columns: Sequence[Column], rows: int) -> list[tuple[Any, ...]]:
    """What tells rows apart: equal for rows that are equal in these columns, filled up to different widths or not."""
    with torch._C.DisableTorchFunction():
        return list(zip(*[_keys(column[:rows]) for column in columns], strict=True)) if columns else [()] * rows


def _framed(value: Any, rows: int, path: str, columns: dict[str, Column]) -> Any:
    below = f"{path}." if path else ""
    if isinstance(value, Tensor | np.ndarray):
        if value.ndim and len(value) and len(value) % rows == 0:
            columns[path] = value
            return _Slot(path)
        return value
    if isinstance(value, Mapping):
        return _like(value, {k: _framed(v, rows, f"{below}{k}", columns) for k, v in value.items()})
    if not isinstance(value, list | tuple):
        return value
    if len(value) == rows and not any(_has_rows(part, rows) for part in value):
        return _examples(value, path, columns)
    if value and isinstance(value[0], str | int | float) and len(value) % rows == 0:
        columns[path] = list(value)
        return _Slot(path)
    return _like(value, [_framed(v, rows, f"{below}{i}", columns) for i, v in enumerate(value)])


def _has_rows(value: Any, rows: int) -> bool:
    return (isinstance(value, list) or (isinstance(value, Tensor | np.ndarray) and value.ndim > 0)) and len(
        value
    ) == rows > 3


def _examples(value: Sequence[Any], path: str, columns: dict[str, Column]) -> Any:
    """A list of n examples: their fields become columns where they are tuples or mappings of the same fields."""
    first, below = value[0], f"{path}." if path else ""
    if isinstance(first, Mapping) and all(isinstance(v, Mapping) and set(v) == set(first) for v in value):
        fields: list[Any] = list(first)
        frame = _like(first, {k: _Slot(f"{below}{k}") for k in fields})
    elif isinstance(first, list | tuple) and all(len(v) == len(first) for v in value):
        fields = list(range(len(first)))
        frame = _like(first, [_Slot(f"{below}{k}") for k in fields])
    else:
        columns[path] = list(value)
        return _Slot(path)
    columns.update({f"{below}{k}": [v[k] for v in value] for k in fields})
    return _Examples(frame, type(value))


def _filled(frame: Any, columns: Mapping[str, Column], rows: int) -> Any:
    match frame:
        case _Slot(path):
            return columns[path]
        case _Examples(one, kind):
            return kind([_filled(one, {p: [c[i]] for p, c in columns.items()}, -1) for i in range(rows)])
        case Mapping():
            return _like(frame, {k: _one(_filled(v, columns, rows), rows) for k, v in frame.items()})
        case list() | tuple():
            return _like(frame, [_one(_filled(v, columns, rows), rows) for v in frame])
    return frame


def _one(value: Any, rows: int) -> Any:
    """Inside of an example a column has one entry, which is meant itself."""
    return value[0] if rows == -1 and isinstance(value, list) else value


def _like(value: Any, parts: Any) -> Any:
    """A container of the same kind with other parts."""
    if isinstance(value, tuple) and type(value) is not tuple:
        return type(value)(*parts)  # a named tuple
    return type(value)(parts)


def _take(column: Column, index: Sequence[int], rows: int | None) -> Column:
    chosen = list(index)
    if rows is not None and len(column) != rows:
        chosen = [block * rows + i for block in range(len(column) // rows) for i in chosen]
    return [column[i] for i in chosen] if isinstance(column, list) else column[chosen]


def _stacked(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if isinstance(first, list):
        return [entry for part in parts for entry in part]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if any(t.shape[1:] != first.shape[1:] for t in tensors):
        if any(t.ndim != 2 for t in tensors):
            raise ValueError("tensors of more than two axes that differ in shape")
        width = max(t.shape[1] for t in tensors)
        # what the author fills short rows up with is what most of them end with
        fill = torch.cat([t[:, -1] for t in tensors]).mode().values.item()
        tensors = [torch.nn.functional.pad(t, (0, width - t.shape[1]), value=fill) for t in tensors]
    return torch.cat(tensors)


def _keys(column: Column) -> list[Any]:
    """Rows of numbers by their product with fixed random numbers, which zeros at their end do not change."""
    if isinstance(column, list):
        if column and isinstance(column[0], Tensor) and all(isinstance(c, Tensor) for c in column):
            return [_keys(entry.reshape(1, -1))[0] for entry in column]
        return [entry if isinstance(entry, str | int | float) else repr(entry) for entry in column]
    flat = torch.as_tensor(column).detach().cpu().reshape(len(column), -1).double()
    # drawn one after the other, so that wider rows begin with the same ones; ten digits whatever the order of the sum
    weights = torch.from_numpy(np.random.default_rng(0).random(flat.shape[1]))
    return [float(f"{value:.10g}") for value in (flat @ weights).tolist()]
