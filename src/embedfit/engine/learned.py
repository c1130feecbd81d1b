"""Gradients of a loss's own parameters (temperature, bias, predictor), beside those of embeddings."""

from __future__ import annotations

__all__ = ["gradient_added", "gradients"]

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def _learned(loss: nn.Module) -> list[Tensor]:
    return [p for p in loss.parameters() if p.requires_grad]


@contextlib.contextmanager
def gradient_added(loss: nn.Module, parts: int) -> Iterator[None]:
    """Adds the gradient that the loss's parameters get inside, divided by `parts`, to what they had before."""
    learned = _learned(loss)
    before = [p.grad for p in learned]
    for p in learned:
        p.grad = torch.zeros_like(p)
    yield
    for p, old in zip(learned, before, strict=True):
        assert p.grad is not None
        p.grad = p.grad / parts if old is None else old + p.grad / parts


def gradients(loss: nn.Module) -> list[Tensor]:
    """Those that are there."""
    return [p.grad for p in _learned(loss) if p.grad is not None]
