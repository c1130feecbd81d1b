"""What a program trains on: its batches as rows, which columns feed which side, rows held back as a probe."""

from __future__ import annotations

__all__ = ["Material", "evaluating", "gather", "moved", "sides", "stepped"]

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from embedfit.doctor.program import Evaluates, Program
from embedfit.doctor.substitute import Substitutes
from embedfit.probes.loading import Checkpoint
from embedfit.probes.rows import Table, distinct, joined, keys, table
from embedfit.probes.state import same_random_numbers

MOST_BATCHES, MOST_ROWS = 400, 8192
MOST_NUMBERS = 2**18
"""Narrow rows, such as pairs of ids, are taken up to so many numbers: a table of ids needs all that is said of each,
and from half of the rows it learns far less than half as much."""
PROBE_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The rows of a program.

    Attributes:
        batches: some of them as they came.
        size: rows of the first batch.
        pool: their rows under each other, those of the probe taken out; None where they cannot be taken apart.
        probe: rows held back.
        query: columns that the query embeddings depend on.
        document: columns that the document embeddings depend on.
        held: keys of the rows of the probe, where the author's own batches have to be freed of them.
        why: what kept the batches from being taken apart.
        checkpoint: weights that the program loaded while it was built and that are not in its model; None: all are.
    """

    batches: Sequence[Any]
    size: int
    pool: Table | None = None
    probe: Table | None = None
    query: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    held: frozenset[Any] = frozenset()
    why: str = ""
    checkpoint: Checkpoint | None = None

    def rows_of(self, batch: Any) -> int:
        """Rows of a batch, which may be shorter than the first."""
        found = table(batch, self.size)
        if found.columns:
            return self.size
        for rows in range(self.size - 1, 0, -1):
            if len(table(batch, rows).columns) == len(self.names):
                return rows
        return self.size

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(self.pool.columns) if self.pool is not None else ()

    def keys(self, rows: Table) -> list[tuple[Any, ...]]:
        """What tells rows apart: all that either side depends on."""
        names = dict.fromkeys([*self.query, *self.document])
        return keys([_own(rows, name) for name in names], rows.rows)

    def numbers(self, rows: Table) -> tuple[Tensor, Tensor]:
        """A number for the query and one for the document of each row, the same for the same inputs."""
        sides = (self.query, self.document)
        query, document = (distinct([_own(rows, name) for name in side], rows.rows) for side in sides)
        return query, document

    def dealt(self) -> Table | None:
        """The pool with the documents dealt to other queries; None where documents have no columns of their own."""
        own = set(self.document) - set(self.query)
        if self.pool is None or not own:
            return None
        order = torch.randperm(self.pool.rows, generator=torch.Generator().manual_seed(0)).tolist()
        other = self.pool.take(order)
        return replace(self.pool, columns={**self.pool.columns, **{n: other.columns[n] for n in own}})


def gather(program: Program) -> Material:
    """Look at the batches of a program; some of its rows are held back as a probe.

    Args:
        program: built and not yet run; its batches are iterated once.
    """
    batches = list(itertools.islice(iter(program.batches), MOST_BATCHES))
    size = len(stepped(program, batches[0])["query"])
    try:
        rows = max(MOST_ROWS, MOST_NUMBERS // max(1, _width(table(batches[0], size))))
        kept = max(2, min(len(batches), rows // max(1, size)))
        tables = [table(batch, _rows(program, batch, size, i)) for i, batch in enumerate(batches[:kept])]
        whole = joined(tables)
        if not whole.columns:
            return Material(batches=batches, size=size, why="no part of a batch has one entry per row")
        query, document = sides(program, tables[0])
    except (ValueError, TypeError, IndexError, RuntimeError, KeyError, AttributeError) as error:
        return Material(batches=batches, size=size, why=f"{type(error).__name__}: {error}")
    query = query or tuple(whole.columns)
    document = document or tuple(whole.columns)
    pool, probe = _held_back(whole, query, document)
    found = Material(batches=batches, size=size, pool=pool, probe=probe, query=query, document=document)
    return found if isinstance(program, Evaluates) else replace(found, held=frozenset(found.keys(probe)))


def stepped(program: Program, batch: Any, *, gradient: bool = False, training: bool = False) -> Mapping[str, Tensor]:
    """The program's forward pass on a batch, with random numbers of its own.

    Args:
        program: as it is now.
        batch: one of its batches.
        gradient: keep the graph.
        training: leave the modes as they are; otherwise all modules evaluate.
    """
    if training:
        with same_random_numbers(0), torch.set_grad_enabled(gradient):
            return program.train_step(batch)
    with same_random_numbers(0), torch.set_grad_enabled(gradient), evaluating(program.model):
        return program.train_step(batch)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, all modules evaluate and nothing is dropped, whatever mode a program chooses; then all is as before."""
    modes = [module.training for module in model.modules()]
    with Substitutes(dropout=True).into(model):
        try:
            nn.Module.eval(model)
            model.__dict__["train"] = lambda mode=True: model
            yield
        finally:
            model.__dict__.pop("train", None)
            for module, mode in zip(model.modules(), modes, strict=True):
                module.training = mode


def sides(program: Program, rows: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that the query embeddings depend on, and those of the documents: found by moving one at a time."""
    before = stepped(program, rows.batch())
    turned = [(i + 1) % rows.rows for i in range(rows.rows)]
    found: dict[str, list[str]] = {"query": [], "document": []}
    for name in rows.columns:
        after = stepped(program, rows.take(turned, only=[name]).batch())
        for side, columns in found.items():
            if moved(before[side], after[side]):
                columns.append(name)
    return tuple(found["query"]), tuple(found["document"])


def _rows(program: Program, batch: Any, size: int, position: int) -> int:
    """Rows of a batch: as many as of the first where its columns allow it; otherwise the program is asked."""
    if position == 0:
        return size
    found = table(batch, size)
    return size if found.columns and size in map(len, found.columns.values()) else len(stepped(program, batch)["query"])


def _width(rows: Table) -> int:
    """Numbers, or letters, that one row consists of."""
    entries = [column[0] for column in rows.columns.values()]
    return sum(len(e) if isinstance(e, str | list | tuple) else int(torch.as_tensor(e).numel()) for e in entries)


def _own(rows: Table, name: str) -> Any:
    """The first block of a column: the rows' own entries."""
    return rows.columns[name][: rows.rows]


def moved(before: Tensor, after: Tensor) -> bool:
    """Whether embeddings are no longer the same."""
    if before.shape != after.shape:
        return True
    size = before.detach().float().norm(dim=-1).mean()
    shift = (before.detach().float() - after.detach().float()).norm(dim=-1)
    return bool(shift.mean() > 1e-3 * size)


def _held_back(whole: Table, query: Sequence[str], document: Sequence[str]) -> tuple[Table, Table]:
    """Rows for training and rows for the probe; a query or a document is never on both sides where that is possible."""
    generator = torch.Generator().manual_seed(0)
    names = distinct([_own(whole, n) for n in dict.fromkeys([*query, *document])], whole.rows)
    order = torch.randperm(int(names.max()) + 1, generator=generator)
    wanted = min(PROBE_ROWS, max(8, int(len(order) * 0.15)))
    held = torch.isin(names, order[:wanted])
    first = {int(n): i for i, n in reversed(list(enumerate(names.tolist())))}  # one row of each
    probe = [i for n, i in sorted(first.items()) if held[i]]
    return whole.take((~held).nonzero().flatten().tolist()), whole.take(probe)
