"""What `read` found out about a source: which column plays which role, which play none."""

from __future__ import annotations

__all__ = ["Binding", "describe_binding"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
    bound = ", ".join(f"{role} <- '{column}'" for role, column in pairs.binding.items())
    first = f"{pairs.kind}: {bound}" if bound else f"{pairs.kind}: columns already have their canonical names"
    if not isinstance(pairs.binding, Binding):
        return first
    if pairs.binding.unused:
        first += "; not used: " + ", ".join(f"'{c}'" for c in pairs.binding.unused)
    return "\n".join((first, *(f"note: {note}" for note in pairs.binding.notes)))
