"""Where a loss stands: its steepest and its most downward directions, by Lanczos on products with the Hessian."""

from __future__ import annotations

__all__ = ["Curvature", "curvature"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

FLAT = 1e-3
"""Share of the largest curvature below which the other end counts as flat."""
STILL = 1e-3
"""Norm of the gradient, over curvature times the norm of the parameters, below which a point stands still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curvature:
    """The ends of the spectrum of the Hessian at a point.

    Attributes:
        sharpness: the largest eigenvalue, in loss per squared step; gradient descent diverges at rates above
            2 / sharpness.
        lowest: the smallest eigenvalue.
        gradient: norm of the gradient.
        slope: of the loss along `escape`.
        place: "slope" where the gradient is not zero; else "minimum" (curved upwards everywhere), "saddle" (downwards
            along `escape`), "valley" (flat in some direction) or "floor" (flat in all).
        escape: unit direction of the smallest eigenvalue, one tensor per parameter, pointing downhill.
    """

    sharpness: float
    lowest: float
    gradient: float
    slope: float
    place: str
    escape: tuple[Tensor, ...]

    @property
    def highest_rate(self) -> float:
        """The learning rate above which plain gradient descent leaves this place."""
        return 2 / self.sharpness if self.sharpness > 0 else float("inf")


def curvature(loss: Callable[[], Tensor], parameters: Sequence[Tensor], *, tolerance: float = 1e-2) -> Curvature:
    """The curvature of a loss at the parameters as they are; about a hundred times the work of a step.

    Nothing is changed: parameters, their gradients and random numbers are as before. A loss that draws random numbers
    (dropout) is to draw the same ones at each call, or to draw none (`model.eval()`).

    Args:
        loss: the loss of a batch, made anew at each call, twice differentiable.
        parameters: what it is a function of; two numbers at least.
        tolerance: of the eigenvalues, as a share.

    Returns:
        Both ends of the spectrum, and what kind of place that is.

    References:
        Lanczos by ARPACK (`scipy.sparse.linalg.eigsh`); Pearlmutter 1994, Fast exact multiplication by the Hessian;
        Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability,
        https://arxiv.org/abs/2103.00065, for what the sharpness says of the rate.
    """
    with torch.random.fork_rng():
        gradients = torch.autograd.grad(loss(), parameters, create_graph=True, materialize_grads=True)
        flat = torch.cat([g.reshape(-1) for g in gradients])

        def times(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
            direction = torch.as_tensor(vector.reshape(-1), dtype=flat.dtype, device=flat.device)
            product = torch.autograd.grad(flat, parameters, direction, retain_graph=True, materialize_grads=True)
            return torch.cat([p.reshape(-1) for p in product]).double().cpu().numpy()

        highest, _ = _end(times, len(flat), "LA", tolerance)
        lowest, vector = _end(times, len(flat), "SA", tolerance)
    slope = float(vector @ flat.detach().double().cpu().numpy())
    vector = -vector if slope > 0 else vector
    norm, size = float(flat.detach().norm()), float(sum(p.detach().square().sum() for p in parameters) ** 0.5)
    pieces = torch.as_tensor(vector, dtype=flat.dtype, device=flat.device).split([p.numel() for p in parameters])
    return Curvature(
        sharpness=highest,
        lowest=lowest,
        gradient=norm,
        slope=-abs(slope),
        place=_place(highest, lowest, norm, size),
        escape=tuple(piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)),
    )


def _end(
    times: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]], n: int, which: str, tolerance: float
) -> tuple[float, Float[np.ndarray, " n"]]:
    """One end of the spectrum, and its direction."""
    if n < 4:  # too small for Lanczos
        whole = np.stack([times(row) for row in np.eye(n)])
        values, vectors = np.linalg.eigh((whole + whole.T) / 2)
        at = -1 if which == "LA" else 0
        return float(values[at]), vectors[:, at]
    start = np.random.default_rng(0).standard_normal(n)
    if not times(start).any():  # flat in every direction, which Lanczos cannot begin from
        return 0.0, start / np.linalg.norm(start)
    operator = LinearOperator((n, n), matvec=times, dtype=np.float64)
    values, vectors = eigsh(operator, k=1, which=which, tol=tolerance, v0=start, ncv=min(n, 20))
    return float(values[0]), vectors[:, 0]


def _place(highest: float, lowest: float, gradient: float, size: float) -> str:
    widest = max(abs(highest), abs(lowest))
    if gradient > STILL * max(widest * size, 1e-12):
        return "slope"
    if widest <= 1e-9:
        return "floor"
    if lowest < -FLAT * widest:
        return "saddle"
    return "valley" if lowest < FLAT * widest else "minimum"
