"""One map of each kind, learned from pairs: in closed form, and from there by descent where the objective asks for it.

Axes: n pairs, a dimensions of the source, e of the target.
"""

from __future__ import annotations

__all__ = ["HIDDEN", "Learned", "best_strength", "learn", "low_ranks", "predict"]

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import nn

from embedfit.align.closed import STRENGTHS, Affine, Gram, as_map, procrustes
from embedfit.align.descent import Curve, Descent, descend
from embedfit.losses.vectors import MSE, Euclidean, VectorLoss
from embedfit.towers.vector_map import Kind, VectorMap

HIDDEN = 512  # of an mlp
LEAST_HELD_OUT = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """A map between scaled spaces, and how it came about.

    Attributes:
        map: the map.
        curve: of the descent; none for a closed form.
    """

    map: VectorMap
    curve: Curve | None = None


def learn(
    source: Float[np.ndarray, "n a"],
    target: Float[np.ndarray, "n e"],
    kind: Kind,
    *,
    unit: bool,
    rank: int = 0,
    known: tuple[Gram, float] | None = None,
    descent: tuple[VectorLoss, Descent] | None = None,
) -> Learned:
    """Learn a map of one kind.

    Least squares has a closed form for all kinds but the mlp, and is where every descent starts.

    Args:
        source: scaled rows.
        target: scaled rows.
        kind: of the map.
        unit: whether its embeddings come out with length 1.
        rank: of a low-rank map.
        known: Gram matrix of the source and ridge penalty, where they have been worked out before.
        descent: objective and plan; none or `MSE`: the closed form (for an mlp, the distance).
    """
    if kind == "orthogonal":
        start = procrustes(source, target)
    else:
        gram, strength = known or (Gram(source), best_strength(source, target))
        start = gram.ridge(target, strength, rank)
    closed = kind != "mlp" and (descent is None or isinstance(descent[0], MSE))
    made = as_map(start, kind, rank=rank, hidden=HIDDEN if kind == "mlp" else 0, unit=unit)
    if closed:
        return Learned(map=made.eval())
    loss, plan = descent or (Euclidean(), Descent())
    return _descended(made, source, target, loss, plan)


def _descended(
    made: VectorMap,
    source: Float[np.ndarray, "n a"],
    target: Float[np.ndarray, "n e"],
    loss: VectorLoss,
    plan: Descent,
) -> Learned:
    """Move a map by descent; a tenth of the pairs says when it is best."""
    train, held = _divided(len(source), plan.seed)
    x, y = torch.from_numpy(source), torch.from_numpy(target)
    turn = _Turn(made) if made.shape.kind == "orthogonal" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        if made.expand is not None:
            made.expand.reset_parameters()
    module = made if turn is None else turn
    x_train, y_train, x_held, y_held = x[train], y[train], x[held], y[held]
    curve = descend(
        module,
        lambda rows: module(x_train[rows]),
        y_train,
        loss,
        replace(plan, batch_size=min(plan.batch_size, len(x_train))),
        measure=lambda: float(F.cosine_similarity(module(x_held), y_held).mean()),
    )
    return Learned(map=(made if turn is None else turn.baked()).eval(), curve=curve)


class _Turn(nn.Module):
    """An orthogonal map whose turn stays one while it moves."""

    def __init__(self, made: VectorMap) -> None:
        super().__init__()
        weight = made.linear.weight.detach()
        scale = torch.linalg.matrix_norm(weight, 2)
        self.made = made
        self.scale = nn.Parameter(scale)
        self.bias = nn.Parameter(made.linear.bias.detach().clone())
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.turn = nn.utils.parametrizations.orthogonal(layer)
        self.turn.weight = weight / scale
        for parameter in made.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mapped rows."""
        out = self.turn(x) * self.scale + self.bias
        return F.normalize(out, dim=-1) if self.made.shape.unit else out

    @torch.no_grad()
    def baked(self) -> VectorMap:
        """The map with the turn as its weight."""
        self.made.linear.weight.copy_(torch.as_tensor(self.turn.weight) * self.scale)
        self.made.linear.bias.copy_(self.bias)
        return self.made


def best_strength(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"], seed: int = 0) -> float:
    """The ridge penalty that predicts a held-out fifth of the pairs best."""
    order = np.random.default_rng(seed).permutation(len(source))
    held, train = order[: max(1, len(order) // 5)], order[max(1, len(order) // 5) :]
    gram = Gram(source[train])
    errors = [
        float(np.square(gram.ridge(target[train], s)(source[held]) - target[held]).mean(dtype=np.float64))
        for s in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(errors))]


def low_ranks(source: int, target: int) -> list[int]:
    """Ranks to try: powers of two that take fewer numbers than the whole matrix."""
    most = source * target / (source + target)
    return [rank for rank in (2**i for i in range(2, 12)) if rank < most]


def predict(mapped: VectorMap | Affine, rows: Float[np.ndarray, "n a"], *, unit: bool) -> Float[np.ndarray, "n e"]:
    """Scaled rows of the source, mapped and scaled as the target is compared."""
    out = mapped.map(rows) if isinstance(mapped, VectorMap) else mapped(rows)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12) if unit else out


def _divided(count: int, seed: int) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Nine tenths to learn from, one tenth to choose the step by."""
    held = np.zeros(count, bool)
    held[np.random.default_rng(seed + 1).permutation(count)[: max(min(LEAST_HELD_OUT, count // 2), count // 10)]] = True
    return ~held, held
