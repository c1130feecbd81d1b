"""Whether the author's program finds more on its pairs than on pairs dealt anew: asked where the reference fails."""

from __future__ import annotations

__all__ = ["RISEN", "dealt_out", "risen"]

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.material import Material
from embedfit.doctor.program import Program
from embedfit.probes.rows import table

RELATED = 3.0
"""Times chance, from which the reference itself has shown that pairs are related."""
RISEN = 0.02
"""A held-out metric that gained less, or less than half of what it was, may have gained nothing."""


def dealt_out(lab: Lab, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The author's metric after training on pairs dealt anew, where only that can tell whether pairs are related.

    A metric of the author's that rises is no proof alone: documents that are asked for often are found without any
    relation. The same program on the same rows, in which each query has got the document of another, shows how far
    that goes.

    Args:
        lab: with the author's program trained.
        facts: of the reference and its rival towers.

    Returns:
        "dealt.metric"; nothing where the reference finds the pairs, or the author's metric has not risen.
    """
    found = max(facts["experiment.probe"], facts.get("experiment.towers", 0.0))
    if not found <= RELATED * facts["experiment.chance"] or not lab.gauge.has_metric or not risen(facts):
        return {}
    material = lab.material
    if material.pool is None or not set(material.document) - set(material.query) or lab.left <= 0:
        return {}

    def change(program: Program) -> None:
        program.batches = _Dealt(program.batches, material)

    trial = lab.run(replace(CONTROL, name="pairs dealt anew", change=change))
    return {} if math.isnan(trial.metric) else {"dealt.metric": trial.metric}


class _Dealt:
    """Batches in which every query has got the document of another one, in each epoch of a different one.

    Pairs that stay the same would be learned by heart, and what that spoils would look like a relation.
    """

    def __init__(self, batches: Any, material: Material) -> None:
        self.batches, self.material = batches, material
        self.own = [name for name in material.document if name not in material.query]
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            rows = table(batch, self.material.rows_of(batch))
            order = torch.randperm(rows.rows, generator=self.generator).tolist()
            yield rows.take(order, only=self.own).batch()


def risen(facts: Mapping[str, Any]) -> bool:
    """Whether the author's program found clearly more after training than before."""
    start, end = facts["experiment.start"], facts["experiment.author"]
    return bool(end - start > max(RISEN, abs(start) / 2))
