"""What the towers of a program show before they are trained: where embeddings lie, and what they depend on."""

from __future__ import annotations

__all__ = ["DEPENDENCE", "untrained"]

import contextlib
import math
from typing import Any

from torch import Tensor

from embedfit.doctor.gauge import embedded
from embedfit.doctor.material import Material, stepped
from embedfit.doctor.program import Program
from embedfit.probes.company import agreement
from embedfit.probes.embedding import alike_share, mean_direction, rank_share

Facts = dict[str, Any]
DEPENDENCE = {"alone": "batch_dependence", "place": "place_dependence", "padding": "padding_dependence"}
"""Names of the facts that forward passes in other company give."""


def untrained(program: Program, material: Material) -> Facts:
    """Facts of the towers as they are; those that a program's shapes do not allow are left out."""
    facts: Facts = {}
    for ask in (of_geometry, of_company, of_constant):
        with contextlib.suppress(RuntimeError, ValueError, IndexError, KeyError):
            facts |= ask(program, material)
    if facts.get("start.query_alike", 1.0) == 1.0:
        facts.pop("constant.level", None)  # nobody knows what the queries are made of
    return facts


def of_geometry(program: Program, material: Material) -> Facts:
    """Where the embeddings of both sides lie, and how many inputs they tell apart."""
    if material.probe is None:
        return {}
    query, document = embedded(program, material.probe, material.size)
    facts: Facts = {}
    facts["start.levels"] = len(query.unique())
    for side, cloud in (("query", query), ("document", document)):
        facts[f"start.{side}_rank"] = rank_share(cloud)
        facts[f"start.{side}_direction"] = mean_direction(cloud)
        facts[f"start.{side}_lowest"] = float(cloud.min())
    numbers = material.numbers(material.probe)
    facts |= {f"start.{side}_alike": alike_share(cloud, number) for (side, cloud), number in zip(
        (("query", query), ("document", document)), numbers, strict=True)}  # fmt: skip
    return facts


def of_constant(program: Program, material: Material) -> Facts:
    """The loss of a batch in which every row has the inputs of the first: the level that a collapsed model has."""
    if material.pool is None:
        return {}
    rows = material.pool.take(list(range(min(material.size, material.pool.rows))))
    same = rows.take([0] * rows.rows, only=[*material.query, *material.document])
    level = float(stepped(program, same.batch())["loss"])
    return {"constant.level": level} if math.isfinite(level) else {}


def of_company(program: Program, material: Material) -> Facts:
    """Whether an embedding depends on what else is in its batch, on its place there, and on padding."""
    if material.probe is None or material.probe.rows < 3:
        return {}
    rows = material.probe.take(list(range(min(material.size, material.probe.rows))))

    def embed(batch: Any) -> list[Tensor]:
        out = stepped(program, batch)
        n = len(out["query"])
        return [out["query"].detach().float(), out["document"][:n].detach().float()]

    found = agreement(embed, rows)
    return {f"mode.{name}": found[key] for key, name in DEPENDENCE.items() if key in found}
