"""Maps in closed form: ridge, its low-rank part, Procrustes; and canonical correlations.

Axes: n rows, a dimensions of the source, e of the target, r rank, k components. All in float64.
"""

from __future__ import annotations

__all__ = ["STRENGTHS", "Affine", "Gram", "as_map", "canonical", "procrustes"]

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from embedfit.towers.vector_map import Kind, Shape, VectorMap

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties to choose from, in units of the mean eigenvalue of the source's covariance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """x -> x W + b.

    Attributes:
        weight: W.
        bias: b.
    """

    weight: Float[np.ndarray, "a e"]
    bias: Float[np.ndarray, " e"]

    def __call__(self, source: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n e"]:
        """The mapped rows, float32."""
        return source @ self.weight.astype(np.float32) + self.bias.astype(np.float32)


class Gram:
    """The source's covariance and its eigenvectors, worked out once for any number of targets and penalties.

    Args:
        source: rows to learn from.
    """

    def __init__(self, source: Float[np.ndarray, "n a"]) -> None:
        self.mean = source.mean(0, dtype=np.float64)
        self.centred = source.astype(np.float64) - self.mean
        self.values, self.basis = np.linalg.eigh(self.centred.T @ self.centred)

    def cross(self, target: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "a e"]:
        """Products with the centred target, in the basis of the eigenvectors."""
        return self.basis.T @ (self.centred.T @ (target - target.mean(0, dtype=np.float64)))

    def ridge(self, target: Float[np.ndarray, "n e"], strength: float, rank: int = 0) -> Affine:
        """The linear map of least squares with a penalty on its weights.

        Args:
            target: row i belongs to row i of the source.
            strength: penalty, in units of the mean eigenvalue.
            rank: keeps so many directions of the fitted targets, those of greatest variance (reduced-rank regression);
                0: all.

        References:
            Hoerl and Kennard 1970; Izenman 1975, Reduced-rank regression for the multivariate linear model.
        """
        penalty = strength * max(float(self.values.mean()), 1e-30)
        solved = self.cross(target) / (np.maximum(self.values, 0) + penalty)[:, None]
        if rank:
            fitted = np.maximum(self.values, 0)[:, None] ** 0.5 * solved
            kept = np.linalg.eigh(fitted.T @ fitted)[1][:, -rank:]
            solved = solved @ kept @ kept.T
        return self._affine(self.basis @ solved, target)

    def _affine(self, weight: Float[np.ndarray, "a e"], target: Float[np.ndarray, "n e"]) -> Affine:
        return Affine(weight=weight, bias=target.mean(0, dtype=np.float64) - self.mean @ weight)


def procrustes(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"]) -> Affine:
    """The best map that only turns, mirrors, scales and shifts.

    Where the source has more dimensions than the target, it is turned and then cut; the turn is then the one of
    greatest agreement, which is close to the best, not the best.

    References:
        Schonemann 1966, A generalized solution of the orthogonal Procrustes problem.
    """
    mean = source.mean(0, dtype=np.float64)
    centred = source.astype(np.float64) - mean
    middle = target.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred.T @ (target - middle), full_matrices=False)
    turn = left @ right
    scale = float(values.sum() / max(1e-30, np.square(centred @ turn).sum()))
    return Affine(weight=scale * turn, bias=middle - scale * mean @ turn)


def canonical(
    train: tuple[Float[np.ndarray, "n a"], Float[np.ndarray, "n e"]],
    test: tuple[Float[np.ndarray, "m a"], Float[np.ndarray, "m e"]],
    *,
    components: int = 10,
    strength: float = 1e-2,
) -> Float[np.ndarray, " k"]:
    """Canonical correlations measured on rows that they were not fitted on, in the order of the fit.

    Args:
        train: source and target to fit on.
        test: source and target to measure on.
        components: how many, at most.
        strength: ridge of both covariances, in units of their mean eigenvalue.

    References:
        Hotelling 1936; Vinod 1976 (with ridge).
    """
    white = [_whitened(train_side, test_side, strength) for train_side, test_side in zip(train, test, strict=True)]
    (source, source_test), (target, target_test) = white
    left, _, right = np.linalg.svd(source.T @ target, full_matrices=False)
    a, b = source_test @ left[:, :components], target_test @ right[:components].T
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.maximum(np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0), 1e-30)


def as_map(affine: Affine, kind: Kind, *, rank: int = 0, hidden: int = 0, unit: bool = False) -> VectorMap:
    """A closed-form map as a module that can be trained on, applied and saved; an mlp starts as the linear map."""
    size = affine.weight.shape
    made = VectorMap(Shape(kind=kind, source=size[0], target=size[1], rank=rank, hidden=hidden, unit=unit))
    weight = torch.from_numpy(affine.weight.T.copy())
    with torch.no_grad():
        if made.narrow is not None:
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            made.narrow.weight.copy_(values[:rank, None] ** 0.5 * right[:rank])
            weight = left[:, :rank] * values[:rank] ** 0.5
        made.linear.weight.copy_(weight)
        made.linear.bias.copy_(torch.from_numpy(affine.bias))
    return made


def _whitened(
    train: Float[np.ndarray, "n a"], test: Float[np.ndarray, "m a"], strength: float
) -> tuple[Float[np.ndarray, "n a"], Float[np.ndarray, "m a"]]:
    gram = Gram(train)
    scale = 1 / np.sqrt(np.maximum(gram.values, 0) + strength * max(float(gram.values.mean()), 1e-30))
    return gram.centred @ (gram.basis * scale), (test - gram.mean) @ (gram.basis * scale)
