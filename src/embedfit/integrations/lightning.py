"""The doctor as a callback of Lightning."""

from __future__ import annotations

__all__ = ["LightningDoctor"]

from collections.abc import Callable, Iterable
from typing import Any

import lightning
from torch import Tensor

from embedfit.doctor import Diagnosis
from embedfit.doctor.attend import Doctor
from embedfit.integrations.listening import Ear


class LightningDoctor(lightning.Callback):
    """Watches a Lightning trainer and prints the diagnosis at the end.

        trainer = lightning.Trainer(callbacks=[ef.integrations.LightningDoctor(towers=("query", "document"))])

    Args:
        towers: names of the submodules that make queries and documents; the same twice where one makes both.
        metric: name of the logged held-out metric.
        frozen: parameters that are meant to stand still, see `Doctor`.
        say: is told the diagnosis; by default it is printed.
    """

    def __init__(
        self,
        towers: tuple[str, str],
        *,
        metric: str | None = None,
        frozen: Iterable[str] = (),
        say: Callable[[str], Any] = print,
    ) -> None:
        self.towers, self.metric, self.frozen, self.say = towers, metric, tuple(frozen), say
        self.doctor: Doctor | None = None
        self.diagnosis: Diagnosis | None = None
        self._ear: Ear | None = None
        self._loss: Tensor | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to the module and its first optimiser."""
        query, document = (pl_module.get_submodule(name) for name in self.towers)
        self.doctor = Doctor(pl_module, trainer.optimizers[0], frozen=self.frozen)
        self._ear = Ear(pl_module, (query, document))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Remember the loss."""
        self._loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Look at the step, between backward and the optimiser."""
        pair = self._ear.pair() if self._ear is not None else None
        if self.doctor is None or pair is None or self._loss is None:
            return
        value = trainer.callback_metrics.get(self.metric) if self.metric else None
        self.doctor.observe(query=pair[0], document=pair[1], loss=self._loss,
                            metric=None if value is None else float(value))  # fmt: skip

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Say what was found, and let go."""
        if self.doctor is None or self._ear is None:
            return
        self.diagnosis = self.doctor.diagnose()
        self.doctor.close()
        self._ear.close()
        self.say(str(self.diagnosis))
