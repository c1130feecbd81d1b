"""A doctor in anybody's training loop: one line between backward and step."""

from __future__ import annotations

__all__ = ["Doctor"]

import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.bedside import Bedside
from embedfit.doctor.diagnosis import Diagnosis
from embedfit.doctor.examine import diagnose
from embedfit.doctor.look import loss_facts, optimiser_facts
from embedfit.probes import embedding, score
from embedfit.probes.state import Snapshot, same_random_numbers
from embedfit.run import History, Run

METRIC = "held-out metric"
SHARE = 0.025
"""Of the loop's time that `observe` may take; the rest of 3 % is for what listens at the second step."""
FIRST = 3
"""Steps that are always read."""


class Doctor:
    """Watches a training loop and says what is wrong with it; changes nothing in it.

        doctor = ef.Doctor(model, optimizer)
        for batch in loader:
            query, document = model(batch)
            loss = my_loss(query, document)
            loss.backward()
            doctor.observe(query=query, document=document, loss=loss)
            optimizer.step(); optimizer.zero_grad()
        print(doctor.diagnose())

    What the loss does with the embeddings is found out by listening to one step. Readings are taken as often as they
    cost no more than 3 % of the loop's time.

    Args:
        model: what is trained, wrapped or compiled or not.
        optimizer: that trains it.
        frozen: parameters that are meant to stand still: names, or patterns such as "document_tower.*"; the name of a
            module stands for all of it.
        candidates: documents each query is compared with, where that cannot be seen.
        temperature: of the loss, where it cannot be seen.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        frozen: Iterable[str] = (),
        candidates: int | None = None,
        temperature: float | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.frozen = tuple(frozen)
        self.declared = {"candidates": candidates, "temperature": temperature}
        self.history = History()
        self.step = 0
        self._facts: dict[str, Any] = {}
        self._losses: list[tuple[int, Tensor]] = []
        self._bedside = Bedside(model, optimizer)
        self._spent, self._dear, self._began = 0.0, 0.0, 0.0

    def observe(
        self,
        *,
        query: Float[Tensor, "n e"],
        document: Float[Tensor, "m e"],
        loss: Float[Tensor, ""],
        metric: float | None = None,
    ) -> None:
        """Look at one step, between backward and the optimiser's step.

        Args:
            query: embeddings of the queries.
            document: embeddings of the documents; row i belongs to query i, those beyond the n-th are negatives.
            loss: of the batch.
            metric: a held-out metric, where one was just taken; higher is better.
        """
        entered = time.perf_counter()
        self._began = self._began or entered
        self.step += 1
        self._losses.append((self.step, loss.detach()))
        if metric is not None:
            self.history.add(self.step, {f"dev/{METRIC}": float(metric)})
        calls = self._bedside.collected()
        if calls is not None and not self._facts:
            self._facts = loss_facts(calls, query, document, loss)
            # a loss that was detached for the doctor's eyes has had a gradient if one arrived
            arrived = any(p.grad is not None for p in self.model.parameters())
            self._facts["mode.gradient"] = arrived or loss.requires_grad
        # the next reading must fit into the share too, as dear as the last one was
        if self.step <= FIRST or self._spent + self._dear <= SHARE * (entered - self._began):
            self._read(query.detach(), document.detach())
            self._dear = time.perf_counter() - entered
        if self.step > FIRST:
            self._spent += time.perf_counter() - entered
        if self.step == 1:
            self._bedside.listen()

    @torch.no_grad()
    def _read(self, query: Tensor, document: Tensor) -> None:
        self.history.add(self.step, {
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "query/effective_rank": embedding.rank_share(query),
            "query/mean_direction": embedding.mean_direction(query),
            **self._bedside.readings(),
        })  # fmt: skip
        if query.shape[1] != document.shape[1] or len(query) < 2 or len(document) < len(query):
            return
        own = torch.arange(len(query), device=query.device)
        unit = [nn.functional.normalize(side.float(), dim=-1) for side in (query, document)]
        self.history.add(self.step, {
            **score.outlook(query.float(), document.float(), own),
            "pair_z": score.pair_z(unit[0] @ unit[1][: len(query)].T),
        })  # fmt: skip

    @property
    def record(self) -> Run:
        """What was seen so far, as a run that checks can read."""
        self.history.readings.pop("loss", None)
        for step, loss in self._losses:
            self.history.add(step, {"loss": float(loss)})
        facts = {**optimiser_facts(self.model, self.optimizer, self._meant), **self._facts, **self._bedside.facts()}
        facts |= {f"chosen.{name}": value for name, value in self.declared.items() if value is not None}
        evaluation = {}
        if f"dev/{METRIC}" in self.history:
            facts["metric"], evaluation = METRIC, {METRIC: self.history.last(f"dev/{METRIC}")}
        return Run(facts={k: v for k, v in facts.items() if v is not None}, history=self.history, evaluation=evaluation)

    def diagnose(self, codes: Sequence[str] = ()) -> Diagnosis:
        """What the readings and the facts say; nothing is trained. `codes` restricts the checks."""
        with same_random_numbers():
            return diagnose(self.record, codes)

    def checkup(self) -> Diagnosis:
        """Run the last step's inputs through the model again in other company, then diagnose; takes seconds.

        Parameters, buffers, gradients, modes, the optimiser and random numbers are as before afterwards.
        """
        kept = Snapshot.of(self.model, self.optimizer)
        try:
            self._facts |= self._bedside.again()
        finally:
            kept.restore(self.model)
        return self.diagnose()

    def close(self) -> None:
        """Take the hooks off the model and the optimiser."""
        self._bedside.close()

    def _meant(self, name: str) -> bool:
        return any(fnmatch(name, pattern) or name.startswith(f"{pattern}.") for pattern in self.frozen)
