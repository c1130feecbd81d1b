"""What `read` found out about a source: which column plays which role, which play none."""

from __future__ import annotations

__all__ = ["Binding", "columns_line", "describe_binding", "facts_of_binding"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embedfit.pairs import Pairs


@dataclass(frozen=True, slots=True, eq=False)
class Binding(Mapping[str, str]):
    """Canonical column -> column of the source, with what was left aside.

    Attributes:
        columns: the mapping itself.
        unused: columns of the source that play no role.
        notes: what a reader of the data should know, one sentence each.
    """

    columns: Mapping[str, str]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, role: str) -> str:
        return self.columns[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def with_notes(self, *notes: str) -> Binding:
        """The same binding with more to say."""
        return Binding(self.columns, self.unused, (*self.notes, *notes))


def describe_binding(pairs: Pairs) -> str:
    """Say which column plays which role, which play none, and how the source was read; one fact per line."""
    told = facts_of_binding(pairs)
    return "\n".join((f"{pairs.kind}: {columns_line(told)}", *(f"note: {note}" for note in told.get("data.notes", ()))))


def facts_of_binding(pairs: Pairs) -> dict[str, Any]:
    """The same as facts: `data.columns` (role to column), `data.columns_unused`, `data.notes`; none where unknown."""
    facts: dict[str, Any] = {"data.columns": dict(pairs.binding)} if pairs.binding else {}
    if isinstance(pairs.binding, Binding):
        facts |= {"data.columns_unused": list(pairs.binding.unused), "data.notes": list(pairs.binding.notes)}
    return facts


def columns_line(facts: Mapping[str, Any]) -> str:
    """Which column became what, and which are not used, from the facts above."""
    bound = ", ".join(f"{role} <- '{column}'" for role, column in facts.get("data.columns", {}).items())
    unused = ", ".join(f"'{column}'" for column in facts.get("data.columns_unused", ()))
    return (bound or "columns already have their canonical names") + (f"; not used: {unused}" if unused else "")
