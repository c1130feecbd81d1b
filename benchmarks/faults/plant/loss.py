"""Faults of the loss, as they are written in public code."""

from __future__ import annotations

__all__ = ["FAULTS"]

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Parts, Picked

Loss = Callable[[Tensor, Tensor, Picked, Any], Tensor]


def _cosines(query: Tensor, document: Tensor) -> Tensor:
    return F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T


def _softmax_of(parts: Parts, logits: Callable[[Tensor, Tensor], Tensor]) -> Parts:
    """The author's masked softmax over other logits."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        same = batch.document_id[: len(query), None] == batch.document_id[None, :]
        same = same & ~torch.eye(len(query), len(document), dtype=torch.bool)
        return F.cross_entropy(logits(query, document).masked_fill(same, -1e4), torch.arange(len(query)))

    return replace(parts, loss=loss)


def hot(parts: Parts, temperature: float) -> Parts:
    """A temperature at which even a perfect model cannot tell its rivals apart."""
    return _softmax_of(parts, lambda q, d: _cosines(q, d) / temperature)


def cold(parts: Parts, temperature: float) -> Parts:
    """A temperature at which one rival decides."""
    return _softmax_of(parts, lambda q, d: _cosines(q, d) / temperature)


def raw_dot(parts: Parts, scale: float) -> Parts:
    """The embeddings are not normalised where the scale supposes that they are."""
    return _softmax_of(parts, lambda q, d: scale * q @ d.T)


def wrong_axis(parts: Parts, how: str) -> Parts:
    """Normalised over the batch instead of over the coordinates."""

    def unit(x: Tensor) -> Tensor:
        if how == "columns":
            return F.normalize(x, dim=0)
        return x / x.norm() if how == "whole" else x / x.norm() / len(x) ** 0.5

    return _softmax_of(parts, lambda q, d: unit(q) @ unit(d).T / (0.5 if how == "columns" else 0.05))


def reversed_sign(parts: Parts, how: str) -> Parts:
    """A distance used as a similarity."""
    if "teacher" in parts.traits:
        size = {"partly": 0.6, "cosine": 1.0, "distance": 1.0}[how]

        def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
            cosine = F.cosine_similarity(query, document, dim=-1)
            sign = torch.where(torch.arange(len(query)) < size * len(query), 1.0, -1.0)
            return (1 + sign * cosine).mean()

        return replace(parts, loss=loss)
    if how == "distance":
        return _softmax_of(parts, lambda q, d: torch.cdist(F.normalize(q, dim=-1), F.normalize(d, dim=-1)) / 0.1)
    if how == "cosine":
        return _softmax_of(parts, lambda q, d: -_cosines(q, d) / 0.05)
    return _softmax_of(parts, lambda q, d: (1 - _cosines(q, d)).abs() / 0.2)


def wrong_target(parts: Parts, share: float) -> Parts:
    """Targets computed for a layout that the batch does not have: row i is told to find its neighbour's document."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        target = torch.arange(len(query))
        moved = int(share * len(query))
        target[:moved] = (target[:moved] + 1) % len(query)
        return F.cross_entropy(_cosines(query, document) / 0.05, target)

    return replace(parts, loss=loss)


def positive_only(parts: Parts, weight: float) -> Parts:
    """Only pairs pulled together, hardly anything pushed apart."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: Any, whole: Loss = parts.loss) -> Tensor:
        pull = (1 - F.cosine_similarity(query, document[: len(query)], dim=-1)).mean()
        return pull + weight * whole(query, document, batch, model) if weight else pull

    return replace(parts, loss=loss)


def unreachable_margin(parts: Parts, margin: float) -> Parts:
    """A triplet loss whose margin is wider than squashed distances can ever be."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        other = document[: len(query)].roll(1, 0)
        near = torch.sigmoid((query - document[: len(query)]).pow(2).sum(-1))
        far = torch.sigmoid((query - other).pow(2).sum(-1))
        return F.relu(near - far + margin).mean()

    return replace(parts, loss=loss)


def hardest_only(parts: Parts, margin: float) -> Parts:
    """Batch-hard triplets on raw distances: everything falls onto one point, and the loss stays at its margin."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        distance = (query[:, None] - document[None, : len(query)]).pow(2).sum(-1)
        positive = distance.diagonal()
        same = batch.document_id[: len(query), None] == batch.document_id[None, : len(query)]
        hardest = distance.masked_fill(same, 1e9).amin(1)
        return F.relu(positive - hardest + margin).mean()

    return replace(parts, loss=loss)


def learned_scale(parts: Parts, start: float) -> Parts:
    """A learned scale that starts far too low and is pulled down by weight decay like any other weight."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        model.register_parameter("log_scale", nn.Parameter(torch.tensor(start)))
        return model

    def loss(query: Tensor, document: Tensor, batch: Picked, model: Any) -> Tensor:
        return F.cross_entropy(model.log_scale.exp() * _cosines(query, document), torch.arange(len(query)))

    return replace(parts, loss=loss, network=network)


def fighting_term(parts: Parts, weight: float) -> Parts:
    """A second term, meant to keep the embeddings tidy, that outweighs the first: it pulls all of them together."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: Any, whole: Loss = parts.loss) -> Tensor:
        unit = F.normalize(query, dim=-1)
        spread = (unit - unit.mean(0)).pow(2).sum(-1).mean()
        return whole(query, document, batch, model) + weight * spread

    return replace(parts, loss=loss)


def no_correction(parts: Parts, factor: float) -> Parts:
    """In-batch negatives are drawn by popularity; the correction for it is added instead of taken off."""
    from benchmarks.faults.worlds.towers import frequency, sampled_softmax

    return replace(parts, loss=sampled_softmax(frequency(parts.data), temperature=0.1, correction=-factor))


FAULTS = (
    Fault(name="temperature too high", components=("loss",), cause="temperature too high", levels=(1.0, 3.0, 30.0),
          plant=hot, needs=("contrastive",)),
    Fault(name="temperature too low", components=("loss",), cause="temperature too low",
          levels=(0.005, 0.001, 0.0001), plant=cold, needs=("contrastive",)),
    Fault(name="not normalised", components=("loss",), cause="normalisation", levels=(20.0, 200.0, 2000.0),
          plant=raw_dot, needs=("contrastive",)),
    Fault(name="normalised over the wrong axis", components=("loss",), cause="normalisation",
          levels=("columns", "whole", "batch"), plant=wrong_axis, needs=("contrastive",)),
    Fault(name="reversed sign", components=("loss",), cause="reversed sign", levels=("partly", "cosine", "distance"),
          plant=reversed_sign),
    Fault(name="wrong target", components=("loss", "pairing"), cause="wrong target", levels=(0.5, 0.75, 1.0),
          plant=wrong_target, needs=("contrastive",)),
    Fault(name="no negatives", components=("loss", "negatives"), cause="no negatives", levels=(0.01, 0.001, 0.0),
          plant=positive_only, needs=("contrastive",)),
    Fault(name="unreachable margin", components=("loss",), cause="unreachable margin", levels=(0.6, 1.0, 5.0),
          plant=unreachable_margin, needs=("contrastive",)),
    Fault(name="hardest negatives only", components=("loss", "negatives"), cause="hardest negatives",
          levels=(0.2, 1.0, 5.0), plant=hardest_only, needs=("contrastive",)),
    Fault(name="learned scale", components=("loss", "initialisation"), cause="learned scale",
          levels=(0.0, -2.0, -5.0), plant=learned_scale, needs=("contrastive",)),
    Fault(name="fighting term", components=("loss", "regularisation"), cause="fighting terms",
          levels=(10.0, 100.0, 1000.0), plant=fighting_term),
    Fault(name="popularity correction reversed", components=("loss", "negatives"), cause="popularity",
          levels=(0.5, 1.0, 2.0), plant=no_correction, needs=("tail",)),
)  # fmt: skip
