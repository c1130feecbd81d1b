"""What the author's program shows when it has been trained: hubs, popularity, and how well it knows its own rows."""

from __future__ import annotations

__all__ = ["aftermath"]

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.doctor.gauge import embedded, reciprocal_ranks
from embedfit.doctor.material import Material
from embedfit.doctor.program import Program
from embedfit.probes import hubs
from embedfit.probes.rows import joined

Facts = dict[str, Any]
MOST = 1024  # documents that queries are ranked against
LEAST = 50  # documents of which anything can be said
REPEATED = 0.7
"""Share of the rows whose documents may differ; above it there is no frequency to speak of."""


def aftermath(program: Program, material: Material, trained: int) -> Facts:
    """Facts of a program after its last step; those that its rows do not allow are left out.

    Args:
        program: that was trained.
        material: its rows.
        trained: rows that it was trained on, the same one twice counted twice; a large encoder in a short arm is not
            asked for many more.
    """
    found: Facts = {}
    if material.pool is None or material.probe is None:
        return found
    with contextlib.suppress(RuntimeError, ValueError, IndexError, KeyError):
        found |= of_documents(program, material, min(MOST, trained // 2))
    with contextlib.suppress(RuntimeError, ValueError, IndexError, KeyError):
        found["overfit.train"] = of_trained_rows(program, material)
    return found


def of_trained_rows(program: Program, material: Material) -> float:
    """The rank metric of the rows held back, on as many rows that were trained on."""
    assert material.pool is not None
    assert material.probe is not None
    order = torch.randperm(material.pool.rows, generator=torch.Generator().manual_seed(2)).tolist()
    seen: dict[Any, int] = {}
    for i, key in zip(order, material.keys(material.pool.take(order)), strict=True):
        seen.setdefault(key, i)  # of rows that repeat one another, one
    rows = material.pool.take(list(seen.values())[: material.probe.rows])
    ranks = reciprocal_ranks(*embedded(program, rows, material.size))
    return float(ranks.mean())


def of_documents(program: Program, material: Material, most: int) -> Facts:
    """Queries held back against the different documents of the rows: hubs among these, and their frequency."""
    assert material.pool is not None
    assert material.probe is not None
    both = joined([material.pool, material.probe])
    _, numbers = material.numbers(both)
    first = {int(n): i for i, n in reversed(list(enumerate(numbers.tolist())))}
    own = numbers[material.pool.rows :]
    # the documents of the queries themselves, and others up to the most
    wanted = list(dict.fromkeys([*own.tolist(), *first]))[:most]
    if len(wanted) < LEAST or len(own.unique()) > len(wanted):
        return {}
    query, _ = embedded(program, material.probe, material.size)
    _, document = embedded(program, both.take([first[n] for n in wanted]), material.size)
    if query.shape[1] != document.shape[1]:
        return {}
    place = {number: i for i, number in enumerate(wanted)}
    right = torch.tensor([place[int(n)] for n in own])
    scores = (normalize(query, dim=-1) @ normalize(document, dim=-1).T).nan_to_num(-1.0).cpu()
    evened = hubs.evened(scores, right)
    found: Facts = {
        "hubs.skewness": hubs.neighbour_skewness(scores, right),
        "hubs.isotropic": hubs.isotropic_skewness(len(query), len(document), query.shape[1]),
        "hubs.before": evened.before, "hubs.after": evened.after, "hubs.z": evened.z, "hubs.documents": len(wanted),
    }  # fmt: skip
    if len(first) < REPEATED * material.pool.rows:
        counts = torch.bincount(numbers[: material.pool.rows], minlength=int(numbers.max()) + 1)
        found |= _of_frequency(scores, right, counts[torch.tensor(wanted)].float())
    return found


def _of_frequency(scores: Tensor, own: Tensor, counts: Tensor) -> Facts:
    given = hubs.with_popularity(scores, own, counts)
    fame, level = counts.argsort().argsort().double(), scores.mean(0).argsort().argsort().double()
    together = torch.corrcoef(torch.stack([fame, level]))[0, 1]
    return {
        "popularity.before": given.before, "popularity.after": given.after, "popularity.z": given.z,
        "popularity.correlation": float(together.nan_to_num()), "popularity.documents": len(counts),
    }  # fmt: skip
