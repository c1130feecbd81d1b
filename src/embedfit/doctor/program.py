"""What experiments need of a stranger's training code: a way to build it afresh, and to take one step of it."""

from __future__ import annotations

__all__ = ["Build", "Evaluates", "Program", "Updates"]

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer


@runtime_checkable
class Program(Protocol):
    """A training program as its author wrote it, built but not yet run.

    Two methods more are optional, see `Updates` and `Evaluates`.

    Attributes:
        model: every module that is trained, also the loss where it has parameters.
        optimizer: as the author made it.
        batches: what the author's loop iterates over; iterated again, it gives the next epoch.
        steps: optimiser steps that the author plans.
    """

    model: nn.Module
    optimizer: Optimizer
    batches: Iterable[Any]
    steps: int

    def train_step(self, batch: Any) -> Mapping[str, Tensor]:
        """The author's forward pass and loss: no backward, no step.

        Args:
            batch: as `batches` gave it.

        Returns:
            `query` [n, e], `document` [m, e] with m >= n, and `loss` []: row i of the queries belongs to row i of the
            documents; documents beyond the n-th are negatives.
        """
        ...


@runtime_checkable
class Updates(Protocol):
    """A program with an update of its own; without it: zero_grad, backward, step."""

    def update(self, loss: Tensor) -> None:
        """The author's own zero_grad, backward, clip, step, schedule."""
        ...


@runtime_checkable
class Evaluates(Protocol):
    """A program with a held-out metric of its own; without it the doctor holds batches back."""

    def evaluate(self) -> float:
        """Held-out metric, higher is better; may be called at any step and changes nothing."""
        ...


@runtime_checkable
class Build(Protocol):
    """How a program is built."""

    def __call__(self, seed: int = 0) -> Program:
        """A fresh program: everything random in it, the initial weights too, comes from `seed` alone."""
        ...
