"""Faults of precision, of modes, of the teacher and of the evaluation."""

from __future__ import annotations

__all__ = ["FAULTS"]

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Data, Parts, Picked, Script
from benchmarks.faults.plant.model import _after, _extended, _width


def underflow(parts: Parts, size: float) -> Parts:
    """Gradients pass through half precision without a loss scale, and most of them become zero."""

    def mend(model: nn.Module, step: int) -> None:
        for w in model.parameters():
            if w.grad is not None:
                w.grad = (w.grad * size).half().float() / size

    return replace(parts, mend=mend)


def coarse_weights(parts: Parts, bits: int) -> Parts:
    """Weights kept in a short format without a master copy: small updates round away."""
    scale = 2.0**bits

    def mend(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for w in model.parameters():
                if w.requires_grad:
                    w.copy_((w * scale).round() / scale)

    return replace(parts, mend=mend)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float) -> Tensor:
        return (F.normalize(x, dim=-1) / step).round() * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def coarse_embeddings(parts: Parts, step: float) -> Parts:
    """Embeddings kept in very few levels, for memory's sake."""
    return _after(parts, lambda model, x: _Rounded.apply(x, step))


def trained_as_served(parts: Parts, p: float) -> Parts:
    """The evaluation leaves the model in training mode: dropout works while candidates are embedded."""

    def drop(model: nn.Module, x: Tensor) -> Tensor:
        return torch.dropout(x, p, train=not torch.is_grad_enabled() or model.training)

    return replace(
        parts,
        evaluating=lambda model: model.train(),
        query=lambda model, x, before=parts.query: drop(model, before(model, x)),
    )


def stuck_statistics(parts: Parts, momentum: float) -> Parts:
    """Batch norm whose running statistics hardly ever move, so that the model served is not the model trained."""
    width = _width(parts)

    def norm() -> nn.Module:
        found = nn.BatchNorm1d(width, momentum=momentum)
        found.running_mean.fill_(3.0)  # type: ignore[union-attr]
        return found

    return _after(_extended(parts, norm=norm), lambda model, x: model.norm(x))


def _teacher(parts: Parts, change: Callable[[Data, torch.Generator], Tensor]) -> Parts:
    g = torch.Generator().manual_seed(77)
    return replace(parts, data=replace(parts.data, documents=change(parts.data, g)))


def noisy_teacher(parts: Parts, size: float) -> Parts:
    """The teacher's training vectors are mostly noise."""

    def change(data: Data, g: torch.Generator) -> Tensor:
        spread = data.documents.std()
        return F.normalize(data.documents + size * spread * torch.randn(data.documents.shape, generator=g), dim=-1)

    return _teacher(parts, change)


def two_teachers(parts: Parts, share: float) -> Parts:
    """Part of the teacher's vectors were made by another version of it, whose space is turned."""

    def change(data: Data, g: torch.Generator) -> Tensor:
        width = data.documents.shape[1]
        turn = torch.linalg.qr(torch.randn(width, width, generator=g)).Q
        other = torch.rand(len(data.documents), 1, generator=g) < share
        return torch.where(other, data.documents @ turn, data.documents)

    return _teacher(parts, change)


def poor_teacher(parts: Parts, kept: int) -> Parts:
    """A teacher that knows only a few directions."""

    def change(data: Data, g: torch.Generator) -> Tensor:
        centre = data.documents.mean(0)
        _, _, v = torch.linalg.svd(data.documents - centre, full_matrices=False)
        return F.normalize((data.documents - centre) @ v[:kept].T @ v[:kept] + centre, dim=-1)

    return _teacher(parts, change)


def huge_targets(parts: Parts, size: float) -> Parts:
    """Squared distance to vectors that nobody scaled: the student never gets there."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        return F.mse_loss(query, document * size + size)

    return replace(parts, loss=loss)


def stale_index(parts: Parts, moved: float) -> Parts:
    """The candidates were embedded by the weights of the beginning."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        model.__dict__["first"] = copy.deepcopy(model)
        return model

    def index(script: Script, documents: Tensor) -> Tensor:
        old = script.model.__dict__["first"].eval()
        fresh = script.embed(documents)
        stale = torch.cat([parts.document(old, parts.read(x)) for x in documents.split(256)])
        keep = int(len(fresh) * (1 - moved))
        return torch.cat([fresh[:keep], stale[keep:]])

    return replace(parts, network=network, index=index)


def shifted_truth(parts: Parts, share: float) -> Parts:
    """The list of right answers of the held-out rows is out of step with the questions."""
    right = parts.data.held_pair.clone()
    moved = int(len(right) * share)
    right[:moved] = right[:moved].roll(1)
    return replace(parts, data=replace(parts.data, held_pair=right))


def wrong_scorer(parts: Parts, how: str) -> Parts:
    """The evaluation ranks by something else than training does."""

    def similarity(query: Tensor, document: Tensor) -> Tensor:
        if how == "few coordinates":
            return F.normalize(query, dim=-1)[:, :3] @ F.normalize(document, dim=-1)[:, :3].T
        if how == "distance":
            return torch.cdist(F.normalize(query, dim=-1), F.normalize(document, dim=-1))
        return F.normalize(query, dim=-1) @ F.normalize(document.flip(1), dim=-1).T

    return replace(parts, similarity=similarity)


FAULTS = (
    Fault(name="half-precision underflow", components=("precision",), cause="precision",
          levels=(1e-5, 1e-6, 1e-8), plant=underflow),
    Fault(name="coarse weights", components=("precision",), cause="precision", levels=(6, 5, 3), plant=coarse_weights),
    Fault(name="coarse embeddings", components=("precision", "architecture"), cause="precision",
          levels=(0.2, 0.35, 0.5), plant=coarse_embeddings),
    Fault(name="evaluated in training mode", components=("mode", "evaluation"), cause="mode", levels=(0.5, 0.8, 0.95),
          plant=trained_as_served),
    Fault(name="stuck batch norm", components=("mode", "architecture"), cause="mode", levels=(1e-3, 1e-4, 0.0),
          plant=stuck_statistics, needs=("scratch",)),
    Fault(name="noisy teacher", components=("teacher", "data"), cause="unreliable teacher", levels=(3.0, 6.0, 12.0),
          plant=noisy_teacher, needs=("teacher",)),
    Fault(name="two teachers", components=("teacher", "data"), cause="unreliable teacher", levels=(0.5, 0.75, 1.0),
          plant=two_teachers, needs=("teacher",)),
    Fault(name="poor teacher", components=("teacher", "data"), cause="unreliable teacher", levels=(6, 3, 1),
          plant=poor_teacher, needs=("teacher",)),
    Fault(name="huge targets", components=("teacher", "loss", "data"), cause="unreachable teacher",
          levels=(10.0, 100.0, 1000.0), plant=huge_targets, needs=("teacher",)),
    Fault(name="stale index", components=("evaluation",), cause="stale index", levels=(0.3, 0.6, 1.0),
          plant=stale_index, needs=("contrastive",)),
    Fault(name="held-out answers shifted", components=("evaluation", "pairing"), cause="broken metric",
          levels=(0.4, 0.7, 1.0), plant=shifted_truth),
    Fault(name="other scorer in the evaluation", components=("evaluation",), cause="other scorer",
          levels=("few coordinates", "flipped", "distance"), plant=wrong_scorer),
)  # fmt: skip
