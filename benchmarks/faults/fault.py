"""What a planted fault is."""

from __future__ import annotations

__all__ = ["LEVELS", "Fault", "Plant", "plant"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.faults.parts import Parts

LEVELS = ("mild", "clear", "severe")

Plant = Callable[[Parts, Any], Parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A way to spoil a program.

    Attributes:
        name: one of ours.
        components: the part of the program that it sits in; a doctor that names one of the others is right, too:
            the same program can be described both ways.
        cause: a key of `causes.CODES`.
        levels: the argument of `plant`, at three severities.
        plant: spoils the pieces.
        needs: traits that a world must have, "|" between alternatives.
    """

    name: str
    components: tuple[str, ...]
    cause: str
    levels: tuple[Any, Any, Any]
    plant: Plant
    needs: tuple[str, ...] = ()

    def fits(self, parts: Parts) -> bool:
        """Whether this world can have the fault."""
        return all(set(need.split("|")) & parts.traits for need in self.needs)


def plant(parts: Parts, faults: Sequence[tuple[Fault, int]]) -> Parts:
    """The pieces with these faults, each at its level 0, 1 or 2."""
    for fault, level in faults:
        parts = fault.plant(parts, fault.levels[level])
    return parts
