"""Negatives that come as rows: which columns they are, whether they are kin of their queries, and what that costs."""

from __future__ import annotations

__all__ = ["Negatives", "exchanged", "negatives", "of_negatives"]

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from embedfit.doctor.arms import without_held
from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.material import Material, moved, stepped
from embedfit.doctor.program import Program
from embedfit.probes.kinship import kinship
from embedfit.probes.rows import Column, Table, keys, table
from embedfit.probes.state import same_random_numbers

KIN = 0.05
"""Share of kin among the negatives from which it is worth a run to exchange them."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """Where the negatives of a row stand.

    Attributes:
        positive: columns of the row's own document; without columns of negatives, their further blocks are those.
        columns: of each negative, in the order of those of the positive.
    """

    positive: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def __iter__(self) -> Iterator[str]:
        """All columns that negatives stand in."""
        yield from [name for names in self.columns for name in names] or self.positive


def negatives(program: Program, material: Material) -> Negatives | None:
    """The columns that move the documents beyond the n-th alone; None where negatives are no rows of their own."""
    if material.pool is None:
        return None
    rows = table(material.batches[0], material.size)
    before = stepped(program, rows.batch())["document"]
    n = rows.rows
    if len(before) == n or len(before) % n:
        return None
    turned = [(i + 1) % n for i in range(n)]
    own, rest = [], []
    for name in material.document:
        after = stepped(program, rows.take(turned, only=[name]).batch())["document"]
        if moved(before[:n], after[:n]):
            own.append(name)
        elif moved(before[n:], after[n:]):
            rest.append(name)
    blocks = {len(rows.columns[name]) // n for name in own}
    if not own or len(rest) % len(own) or (not rest and blocks != {len(before) // n}):
        return None
    groups = tuple(tuple(rest[i : i + len(own)]) for i in range(0, len(rest), len(own)))
    single = blocks | {len(rows.columns[name]) // n for name in rest} == {1} and len(groups) == len(before) // n - 1
    if rest and not single:  # several negatives of a row in one column: which is whose cannot be told
        return None
    return Negatives(tuple(own), groups)


def of_negatives(program: Program, material: Material) -> dict[str, Any]:
    """The share of kin among the rows' own negatives; nothing where these are not rows."""
    found = negatives(program, material)
    if found is None:
        return {}
    tables = [table(batch, material.rows_of(batch)) for batch in material.batches]
    tables = [t for t in tables if t.rows == material.size and set(t.columns) == set(material.names)]
    queries = _keys(tables, material.query, 0)
    positives = _keys(tables, found.positive, 0)
    if found.columns:
        others = [_keys(tables, names, 0) for names in found.columns]
    else:
        blocks = len(tables[0].columns[found.positive[0]]) // material.size
        others = [_keys(tables, found.positive, block) for block in range(1, blocks)]
    return {f"negatives.{name}": value for name, value in asdict(kinship(queries, positives, others)).items()}


def exchanged(lab: Lab, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The author's program with each row's negatives given to another row, where they look like kin of their queries.

    Returns:
        "negatives.own", metric of the author's program, and "negatives.others", that with negatives of other rows.
    """
    if not max(facts.get("negatives.known", 0.0), facts.get("negatives.chained", 0.0)) > KIN or lab.left <= 0:
        return {}
    with same_random_numbers(0):
        where = negatives(lab.build(seed=0), lab.material)
    if where is None:
        return {}

    def change(program: Program) -> None:
        program.batches = _Dealt(program.batches, where, lab.material)

    trial = lab.run(replace(CONTROL, name="negatives of other rows", change=change))
    if trial.raised:
        return {}
    return {"negatives.own": lab.run(CONTROL).metric, "negatives.others": trial.metric}


class _Dealt:
    """Batches in which the negatives stand half a batch away from their rows."""

    def __init__(self, batches: Any, where: Negatives, material: Material) -> None:
        self.batches, self.where, self.material = batches, where, material

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        # held rows go first: with other negatives nobody would know them again
        for batch in without_held(self.batches, self.material):
            rows = table(batch, self.material.rows_of(batch))
            given = {name: _turned(rows.columns[name], rows.rows) for name in self.where}
            yield replace(rows, columns={**rows.columns, **given}).batch()


def _turned(column: Column, rows: int) -> Column:
    """Negatives of other rows; a first block of several is that of the positives, and stays."""
    first = rows if len(column) > rows else 0
    order = [*range(first), *(b * rows + (i + rows // 2) % rows for b in range(first // rows, len(column) // rows)
                              for i in range(rows))]  # fmt: skip
    return [column[i] for i in order] if isinstance(column, list) else column[order]


def _keys(tables: list[Table], names: tuple[str, ...], block: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for t in tables:
        part = slice(block * t.rows, (block + 1) * t.rows)
        found += keys([t.columns[name][part] for name in names], t.rows)
    return [tuple(round(x, 8) if isinstance(x, float) else x for x in key) for key in found]
