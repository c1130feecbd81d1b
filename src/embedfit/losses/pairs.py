"""Losses of embeddings in pairs: they see each query and its own document, and more of them than a cosine.

Axes: q pairs, e dimensions.
"""

from __future__ import annotations

__all__ = ["BYOL", "AnglE", "PairLoss", "SimSiam", "SoftmaxHead"]

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from embedfit.losses.graded import misordered

Embeddings = Float[Tensor, "q e"]
Grades = Float[Tensor, " q"] | None


class PairLoss(nn.Module, ABC):
    """As a `Loss`, of embeddings that are not normalised instead of scores; a pair meets no other query's document."""

    @abstractmethod
    def forward(self, query: Embeddings, document: Embeddings, grade: Grades) -> Float[Tensor, " q"]:
        """Loss of each pair.

        Args:
            query: embeddings of the queries.
            document: embeddings of each query's own document.
            grade: of each pair on the scale 0 to 1, where there is one.
        """

    def at(self, progress: float) -> None:
        """As `Loss.at`."""


def _grades(loss: nn.Module, grade: Grades) -> Float[Tensor, " q"]:
    if grade is None:
        raise ValueError(f"{type(loss).__name__} needs graded pairs")
    return grade


class AnglE(PairLoss):
    """CoSENT on the cosine and on an angle in complex space, where a cosine near 1 or -1 is not flat.

    An embedding's halves are the real and the imaginary part of a complex vector; the angle of a pair is
    |real + imaginary part of <z, w>| / (|z| |w|), whose real part is the cosine itself. Both are ordered as the grades
    are, log(1 + sum over grade_i > grade_j of exp((score_j - score_i) / temperature)) each. (The paper adds a third
    term over other documents of the batch, which graded pairs do not have.)

    Args:
        temperature: divides the differences; > 0.

    Raises:
        ValueError: temperature out of range, no grades, or an odd number of dimensions.

    References:
        Li and Li 2023, https://arxiv.org/abs/2309.12871, eq. 2 and 5 to 8.
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, query: Embeddings, document: Embeddings, grade: Grades) -> Float[Tensor, " q"]:
        """The batch's loss, once for each pair."""
        if query.shape[1] % 2:
            raise ValueError(f"a complex vector needs an even number of dimensions, got {query.shape[1]}")
        q, d = normalize(query, dim=-1), normalize(document, dim=-1)
        (a, b), (c, f) = q.chunk(2, -1), d.chunk(2, -1)
        cosine = (q * d).sum(-1)
        angle = (cosine + (b * c - a * f).sum(-1)).abs()
        wanted = _grades(self, grade)
        both = sum(misordered(score / self.temperature, wanted) for score in (cosine, angle))
        return torch.as_tensor(both).expand(len(query))


class SoftmaxHead(PairLoss):
    """Cross-entropy of classes of grades, from [query, document, |query - document|] through one linear layer.

    The objective of the first Sentence-BERT on inference data. What is trained is the layer's reading of the
    embeddings, not their cosine: loss and accuracy may improve while the cosines are ordered worse and worse.

    Args:
        dimension: e of an embedding.
        classes: grades are rounded to so many equal steps; 2: at most a half, or more.

    Raises:
        ValueError: fewer than two classes, or no grades.

    References:
        Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084, section 3 (classification objective).
    """

    def __init__(self, dimension: int, classes: int = 2) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"there must be at least 2 classes of grades, got {classes}")
        self.head = nn.Linear(3 * dimension, classes)
        _start(self)

    def forward(self, query: Embeddings, document: Embeddings, grade: Grades) -> Float[Tensor, " q"]:
        """Cross-entropy of each pair."""
        steps = self.head.out_features
        wanted = (_grades(self, grade) * (steps - 1)).round().long()
        seen = torch.cat([query, document, (query - document).abs()], -1)
        return cross_entropy(self.head(seen), wanted, reduction="none")


class _Predictor(nn.Module):
    """Two layers with a bottleneck."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        narrow = max(8, dimension // 4)  # of one or two numbers a norm leaves nothing
        # normalised by example: batch norm would let examples and processes see each other
        self.layers = nn.Sequential(
            nn.Linear(dimension, narrow, bias=False), nn.LayerNorm(narrow), nn.ReLU(), nn.Linear(narrow, dimension)
        )

    def forward(self, x: Embeddings) -> Embeddings:
        """What the other view is expected to be."""
        return self.layers(x)


class SimSiam(PairLoss):
    """Two views of a text predict each other, without negatives: mean of -cos(h(query), stop(document)) and back.

    h is a predictor of two layers with a bottleneck; no gradient flows into what is predicted, without which all
    embeddings collapse into one at once. The floor of -1 is reached by collapsed embeddings too: only
    `query/spread` tells them apart (1 for even directions, 0 collapsed). The predictor learns at
    `optim.rates.loss` times the learning rate.

    Args:
        dimension: e of an embedding.
        stop: false lets the gradient flow, to see what happens.

    References:
        Chen and He 2021, https://arxiv.org/abs/2011.10566, eq. 1 to 4 (batch norm replaced by layer norm).
    """

    def __init__(self, dimension: int, *, stop: bool = True) -> None:
        super().__init__()
        self.predictor = _Predictor(dimension)
        self.stop = stop
        _start(self)

    def forward(self, query: Embeddings, document: Embeddings, grade: Grades) -> Float[Tensor, " q"]:
        """Loss of each pair, from -1 to 1."""
        there, back = (document.detach(), query.detach()) if self.stop else (document, query)
        one = cosine_similarity(self.predictor(query), there, dim=-1)
        return -(one + cosine_similarity(self.predictor(document), back, dim=-1)) / 2


class BYOL(PairLoss):
    """A predictor on the query meets the document as a slowly following copy of the tower embeds it: -cosine.

    The engine brings every pair both ways, in steps of their own: over an epoch the loss is symmetric.

    Args:
        dimension: e of an embedding.
        target: copy of the query tower; the engine embeds documents with it. It is part of the loss's state.
        decay: share of its weights that the copy keeps at each step, in [0, 1]; 0 is a copy of now.

    Raises:
        ValueError: decay out of range.

    References:
        Grill et al. 2020, https://arxiv.org/abs/2006.07733, eq. 1 and 2 (up to a factor and a constant).
    """

    def __init__(self, dimension: int, target: nn.Module, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {decay}")
        self.predictor = _Predictor(dimension)
        _start(self.predictor)
        self.target = target.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, tower: nn.Module) -> None:
        """Move the copy a little towards the tower."""
        for weight, its in zip(self.target.parameters(), tower.parameters(), strict=True):
            weight.lerp_(its.to(weight), 1 - self.decay)
        for buffer, other in zip(self.target.buffers(), tower.buffers(), strict=True):
            buffer.copy_(other)

    def forward(self, query: Embeddings, document: Embeddings, grade: Grades) -> Float[Tensor, " q"]:
        """Loss of each pair, from -1 to 1."""
        return -cosine_similarity(self.predictor(query), document.detach(), dim=-1)


def _start(module: nn.Module) -> None:
    """Weights that do not depend on what was drawn before: every process begins with the same."""
    draw = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=draw)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
