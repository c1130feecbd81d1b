"""Coordinates of an embedding that are one of their own, each at length 1, and the gradients that come back from them.

Axes: n embeddings, e dimensions.
"""

from __future__ import annotations

__all__ = ["before_units", "over", "views_of"]

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST = 1e-12  # of `torch.nn.functional.normalize`, which shorter vectors are divided by
ROWS = 1_024  # embeddings whose lengths are differentiated at a time


def views_of(dimension: int, parts: int, nested: Sequence[int]) -> list[slice]:
    """Coordinates that are an embedding of their own."""
    if parts == 1:
        return [*(slice(0, size) for size in nested), slice(0, dimension)]
    size = dimension // parts
    return [slice(start, start + size) for start in range(0, dimension, size)]


def before_units(embedding: Float[Tensor, "n e"], gradient: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """Gradient by embeddings from that by their unit vectors, in its place: large batches have no room for a second.

    That is (g - u (u g)) / |x|, what automatic differentiation of `scores.units` takes fifteen passes for.
    """
    for start in range(0, len(embedding), ROWS):
        part = slice(start, start + ROWS)
        x = embedding[part].float()
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        reach = length.clamp(min=SHORTEST)
        unit = x / reach
        along = torch.linalg.vecdot(unit, gradient[part])[:, None].masked_fill_(length < SHORTEST, 0.0)
        gradient[part].addcmul_(unit, along, value=-1).div_(reach)
    return gradient


def over(views: list[slice], gradients: list[Tensor], dimension: int) -> Tensor:
    """Gradient of the mean over views of an embedding."""
    if len(views) == 1:
        return gradients[0]
    whole = gradients[0].new_zeros(len(gradients[0]), dimension)
    for view, gradient in zip(views, gradients, strict=True):
        whole[:, view] += gradient / len(views)
    return whole
