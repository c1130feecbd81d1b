"""What the inputs of a program are like: in which unit, in which vocabulary, how many of them differ."""

from __future__ import annotations

__all__ = ["of_inputs", "standardised"]

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from embedfit.doctor.material import Material, stepped
from embedfit.doctor.program import Program
from embedfit.probes.rows import Column, Table, distinct
from embedfit.probes.vocabulary import Coherence, coherence, is_trained

Facts = dict[str, Any]
LEAST_WORDS = 500  # entries of a table that is a vocabulary
READ = 1500  # rows whose words are looked at


def of_inputs(program: Program, material: Material) -> Facts:
    """Facts of the rows of a program and of the tables that they are looked up in."""
    if material.pool is None:
        return {}
    query, document = material.numbers(material.pool)
    pairs = distinct([torch.stack([query, document], 1)], material.pool.rows)
    found: Facts = {"rows.pairs": len(pairs.unique())}
    loud = [_loudest(material.pool.columns[name]) for name in _names(material)]
    if any(share is not None for share in loud):
        found["inputs.loudest"] = max(share for share in loud if share is not None)
    with contextlib.suppress(RuntimeError, ValueError, IndexError, KeyError):
        words = _vocabulary(program, material)
        if words is not None:
            found |= {"vocabulary.z": words.table, "vocabulary.data_z": words.data, "vocabulary.things": words.things}
    return found


def standardised(rows: Table, names: Iterable[str], like: Table) -> Table:
    """Rows with zero mean and unit spread in every coordinate of these columns of numbers.

    Args:
        rows: to change.
        names: of columns; those that are no tables of numbers stay.
        like: rows whose means and spreads count.
    """
    columns = dict(rows.columns)
    for name in names:
        if _loudest(like.columns[name]) is not None:
            source, column = torch.as_tensor(like.columns[name]), torch.as_tensor(columns[name])
            columns[name] = (column - source.mean(0)) / source.std(0).clamp(min=1e-6)
    return replace(rows, columns=columns)


def _names(material: Material) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*material.query, *material.document]))


def _loudest(column: Column) -> float | None:
    """Share of the squared length of the rows that the largest coordinate has; None for what is no table of numbers."""
    if isinstance(column, list) or column.ndim != 2 or column.shape[1] < 4:
        return None
    values = torch.as_tensor(column)
    if not values.is_floating_point():
        return None
    energy = values.double().square().mean(0)
    return float(energy.max() / energy.sum().clamp(min=1e-30))


def _vocabulary(program: Program, material: Material) -> Coherence | None:
    """The words of the rows, and of all rows about one document, by the trained table that they are looked up in."""
    assert material.pool is not None
    tables = [
        m
        for m in program.model.modules()
        if isinstance(m, nn.Embedding) and m.num_embeddings >= LEAST_WORDS and is_trained(m.weight)
    ]
    if not tables:
        return None
    met = {id(m): _Words() for m in tables}
    _, documents = material.numbers(material.pool)
    things: list[int] = []

    def hear(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].ndim == 2 and len(args[0]) % len(things) == 0:
            met[id(module)].add(args[0].tolist(), things)

    hooks = [m.register_forward_pre_hook(hear) for m in tables]
    try:
        for start in range(0, min(READ, material.pool.rows) - material.size + 1, material.size):
            index = list(range(start, start + material.size))
            things[:] = documents[index].tolist()
            stepped(program, material.pool.take(index).batch())
    finally:
        for hook in hooks:
            hook.remove()
    found = [met[id(m)].by(m.weight) for m in tables]
    known = [c for c in found if c is not None]
    return min(known, key=lambda c: c.table) if known else None


class _Words:
    """Ids that a table was asked for: of each text once, and of all texts about a document."""

    def __init__(self) -> None:
        self.texts: set[tuple[int, ...]] = set()
        self.about: dict[int, set[int]] = {}

    def add(self, ids: list[list[int]], things: list[int]) -> None:
        """Rows of ids, block after block, in the order of the things that they are about."""
        for place, row in enumerate(ids):
            self.texts.add(tuple(row))
            self.about.setdefault(things[place % len(things)], set()).update(row)

    def by(self, weight: Tensor) -> Coherence | None:
        """Whether they belong to this table."""
        texts, things = ([torch.tensor(sorted(set(w))) for w in given] for given in (sorted(self.texts),
                                                                                    self.about.values()))  # fmt: skip
        return coherence(texts, things, weight)
