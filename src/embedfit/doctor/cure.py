"""A program with its prescriptions filled: built afresh as its author wrote it, less the parts that were convicted."""

from __future__ import annotations

__all__ = ["CHANGES", "prescribed"]

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.arms import PARTS, Arm, epoch, renew, step_loss, substitutes, updater
from embedfit.doctor.material import Material, gather
from embedfit.doctor.program import Build, Evaluates, Program
from embedfit.errors import EmbedfitError
from embedfit.probes.loading import Loading
from embedfit.probes.rows import joined
from embedfit.probes.state import same_random_numbers

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "loss": {"loss.kind": "infonce", "loss.temperature": 0.05},
    "optimiser": {"optim.kind": "adamw", "optim.schedule": "cosine", "optim.learning_rate": 3e-3},
    "trainable": {"model.parameters": "all"},
    "order": {"data.shuffle": True},
    "regularisation": {"model.dropout": 0.0},
    "precision": {"run.precision": "fp32"},
    "mode": {"model.mode": "train"},
    "graph": {"model.detach": False},
    "weights": {"model.weights": "renewed"},
    "negatives": {"loss.kind": "infonce", "loss.temperature": 0.05},
}
"""What the exchange of each part amounts to, as settings."""


def prescribed(build: Build, change: Mapping[str, Any]) -> Build:
    """The program with settings of prescriptions in place of its author's.

    Args:
        build: makes the author's program.
        change: settings of `CHANGES`, as findings prescribe them. A learning rate alone is held at every step of the
            author's optimiser, a temperature alone is that of InfoNCE over cosines.

    Returns:
        `build(seed=0)` gives the changed program; its metric, steps and model are the author's.

    Raises:
        EmbedfitError: a setting that no exchange stands for.
    """
    arm, rate = _arm(change)
    with same_random_numbers(0):
        material = _whole(gather(build(seed=0)))

    def make(seed: int = 0) -> Program:
        with same_random_numbers(seed), Loading() as loading:
            program = build(seed=seed)
        if "weights" not in arm.author:
            checkpoint = loading.into(program.model)
            renew(program.model, checkpoint if checkpoint.lost(program.model) else None)
        for group in program.optimizer.param_groups if rate is not None else ():
            group["lr"] = rate
        kind = _Measured if isinstance(program, Evaluates) else _Changed
        changed = kind(program, arm, material, seed)
        if rate is not None:
            program.optimizer.register_step_pre_hook(_holding(rate))
        return changed

    return make


class _Changed:
    """A program in which an arm's exchanges hold for good."""

    def __init__(self, program: Program, arm: Arm, material: Material, seed: int) -> None:
        self._program, self._arm, self._material = program, arm, material
        self._substitutes = substitutes(arm)
        self._generator = torch.Generator().manual_seed(seed)
        self._update = updater(program, arm, program.steps)
        self.model: nn.Module = program.model
        self.optimizer: Optimizer = program.optimizer
        self.steps: int = program.steps
        self.batches: Iterable[Any] = self

    def __iter__(self) -> Iterator[Any]:
        yield from epoch(self._program, self._arm, self._material, self._generator)

    def train_step(self, batch: Any) -> Mapping[str, Tensor]:
        """The author's forward pass, with what is exchanged in it."""
        with self._substitutes.into(self.model):
            out, loss = step_loss(self._program, self._arm, self._material, batch, self._substitutes)
        return {**out, "loss": loss}

    def update(self, loss: Tensor) -> None:
        """The author's update, or that of the reference."""
        self._update(loss)


class _Measured(_Changed):
    def evaluate(self) -> float:
        """The author's metric."""
        assert isinstance(self._program, Evaluates)
        return float(self._program.evaluate())


def _whole(material: Material) -> Material:
    """Nothing is held back from a cured program."""
    rows = [part for part in (material.pool, material.probe) if part is not None]
    return dataclasses.replace(material, pool=joined(rows) if rows else None, probe=None, held=frozenset())


def _arm(change: Mapping[str, Any]) -> tuple[Arm, float | None]:
    """The exchanges that settings stand for, and a rate that the author's optimiser is held at."""
    known = {key for settings in CHANGES.values() for key in settings}
    unknown = sorted(set(change) - known)
    if unknown:
        raise EmbedfitError(
            f"no exchange stands for '{unknown[0]}'", hint=f"settings that can be changed: {', '.join(sorted(known))}"
        )
    parts = {part for part, settings in CHANGES.items() if next(iter(settings)) in change and part in PARTS}
    if "loss.temperature" in change:
        parts.add("loss")
    rate = change.get("optim.learning_rate")
    arm = Arm(
        author=frozenset(PARTS) - parts, name="prescribed", temperature=change.get("loss.temperature", 0.05),
        rate=rate if "optimiser" in parts else None,
    )  # fmt: skip
    return arm, None if "optimiser" in parts else rate


def _holding(rate: float) -> Any:
    def hold(optimizer: Optimizer, *args: object) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate

    return hold
