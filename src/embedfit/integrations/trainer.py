"""The doctor as a callback of the transformers Trainer and of sentence-transformers, which builds on it."""

from __future__ import annotations

__all__ = ["DoctorCallback"]

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from embedfit.doctor import Diagnosis, Outcome
from embedfit.doctor.attend import Doctor
from embedfit.integrations.listening import Ear


class DoctorCallback(TrainerCallback):
    """Watches a Trainer; prints each fault once, as soon as it is certain, and the diagnosis at the end.

        trainer.add_callback(ef.integrations.DoctorCallback())
        trainer.train()

    Nothing of the training is changed. Embeddings are taken where the model makes them: a sentence-transformers model
    is called once for the queries and once for each column of documents.

    Args:
        frozen: parameters that are meant to stand still, see `Doctor`.
        metric: name of the held-out metric among those of the evaluation; by default the first whose name speaks of
            one (recall, ndcg, mrr, map, accuracy, spearman).
        towers: names of the modules of the model that make queries and documents, where the model as a whole does not.
        every: steps between two looks at what is certain.
        say: is told the findings; by default they are printed.
    """

    METRICS = ("ndcg", "mrr", "recall", "map", "accuracy", "spearman")

    def __init__(
        self,
        *,
        frozen: Iterable[str] = (),
        metric: str | None = None,
        towers: tuple[str, str] | None = None,
        every: int = 50,
        say: Any = print,
    ) -> None:
        self.frozen, self.metric, self.towers, self.every, self.say = tuple(frozen), metric, towers, every, say
        self.doctor: Doctor | None = None
        self.diagnosis: Diagnosis | None = None
        self._ear: Ear | None = None
        self._told: set[str] = set()
        self._value: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Attach to the model and the optimiser."""
        model: nn.Module = given["model"]
        towers = tuple(model.get_submodule(name) for name in self.towers) if self.towers else None
        self.doctor = Doctor(model, _bare(given["optimizer"]), frozen=self.frozen)
        self._ear = Ear(model, towers)  # type: ignore[arg-type]

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look at the step, between backward and the optimiser."""
        if self.doctor is None or self._ear is None:
            return
        pair, loss = self._ear.pair(), self._ear.loss
        if pair is not None and loss is not None:
            self.doctor.observe(query=pair[0], document=pair[1], loss=loss, metric=self._value)
            self._value = None
            if self.doctor.step % self.every == 0:
                self._tell(self.doctor.diagnose())

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Take the held-out metric down."""
        metrics: Mapping[str, Any] = given.get("metrics") or {}
        name = self.metric or next((n for word in self.METRICS for n in metrics if word in n.lower()), None)
        if name is not None and name in metrics:
            self._value = float(metrics[name])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Say what was found, and let go."""
        if self.doctor is None or self._ear is None:
            return
        self.diagnosis = self.doctor.diagnose()
        self.doctor.close()
        self._ear.close()
        self.say(str(self.diagnosis))

    def _tell(self, diagnosis: Diagnosis) -> None:
        for finding in diagnosis.having(Outcome.ISSUE):
            if finding.code not in self._told:
                self._told.add(finding.code)
                self.say(f"doctor: {finding.code} {finding.name}: {finding.symptom}")


def _bare(optimizer: Any) -> Any:
    """The optimiser itself: accelerate wraps it, and hooks belong on what really steps."""
    return _bare(optimizer.optimizer) if type(optimizer).__name__ == "AcceleratedOptimizer" else optimizer
