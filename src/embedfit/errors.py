"""The one family of exceptions: what was got, what was expected, what to do."""

from __future__ import annotations

__all__ = [
    "BadRow",
    "DataError",
    "EmbedfitError",
    "ModelError",
    "NonFiniteLossError",
    "RecipeError",
    "RunError",
]

from dataclasses import dataclass


class EmbedfitError(Exception):
    """Anything embedfit refuses to do.

    Args:
        message: what was got and what was expected, in the user's words and with the numbers.
        hint: what to do next, one sentence.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class DataError(EmbedfitError):
    """The data cannot be read, bound or used; names file, line and column where they are known."""


class RecipeError(EmbedfitError):
    """A setting that does not exist or cannot have this value."""


class ModelError(EmbedfitError):
    """A model that cannot be built, loaded or saved."""


class RunError(EmbedfitError):
    """A run folder that is missing, half-written or belongs to something else."""


class NonFiniteLossError(EmbedfitError):
    """The loss was NaN or infinite; raised before the optimiser steps, so that the weights are still sound.

    Args:
        message: step, loss, and what was in the batch.
        rows: positions of the examples whose own loss is not finite (all of the batch where it cannot be told).
        hint: what to do next.
    """

    def __init__(self, message: str, *, rows: list[int], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rows = rows


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a file that was left out, and why.

    Attributes:
        file: path as the user gave it.
        line: physical line, counted from 1 (the header is line 1); 0 where the format has no lines.
        column: name of the column at fault; empty when the whole row is.
        reason: one clause.
    """

    file: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}, column '{self.column}': {self.reason}" if self.column else f"{where}: {self.reason}"
