"""A foreign program and what is true of it."""

from __future__ import annotations

__all__ = ["Loop"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A training program that was not made of the worlds' pieces.

    Attributes:
        name: one of ours.
        build: `build(seed=0)`.
        healthy: the same program without its fault.
        components: where the fault sits, as in `Fault`; empty for a healthy program.
        cause: a key of `causes.CODES`; empty for a healthy program.
        source: the public thread, for a real case.
    """

    name: str
    build: Callable[..., Any]
    healthy: Callable[..., Any]
    components: tuple[str, ...] = ()
    cause: str = ""
    source: str = ""
