"""Where a loss stands: its steepest and its most downward directions, by Lanczos on products with the Hessian."""

from __future__ import annotations

__all__ = ["Curvature", "curvature"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from embedfit.errors import EmbedfitError

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

    Nothing is changed: parameters, their gradients and random numbers are as before. The loss is called once and the
    graph of its gradient is held for all products, so that this takes about the memory of two backward passes; random
    numbers that it draws (dropout) are part of what is measured, `model.eval()` measures without them.

    Args:
        loss: the loss of a batch, twice differentiable.
        parameters: what it is a function of; two numbers at least.
        tolerance: of the eigenvalues, as a share.

    Returns:
        Both ends of the spectrum, and what kind of place that is.

    Raises:
        EmbedfitError: an end of the spectrum is not found to this tolerance.

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

        highest, lowest, vector = _ends(times, len(flat), tolerance)
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


Product = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


def _ends(times: Product, n: int, tolerance: float) -> tuple[float, float, Float[np.ndarray, " n"]]:
    """Both ends of the spectrum, and the direction of the lower one."""
    if n < 4:  # too small for Lanczos
        whole = np.stack([times(row) for row in np.eye(n)])
        values, vectors = np.linalg.eigh((whole + whole.T) / 2)
        return float(values[-1]), float(values[0]), vectors[:, 0]
    start = np.random.default_rng(0).standard_normal(n)
    if not times(start).any():  # flat in every direction, which Lanczos cannot begin from
        return 0.0, 0.0, start / np.linalg.norm(start)
    far, outer = _farthest(times, start, tolerance)
    # ARPACK begins from H v, where directions that H does not know (rows of a table that the batch does not touch) are
    # exact zeros and stay so; H - far I knows them all, and its farthest end is the other end of H. Its tolerance is a
    # share of the whole width of the spectrum.
    shift, inner = _farthest(lambda v: times(v) - far * v.reshape(-1), start, min(tolerance, FLAT))
    near = far + shift
    return (far, near, inner) if far > near else (near, far, outer)


def _farthest(
    times: Product, start: Float[np.ndarray, " n"], tolerance: float
) -> tuple[float, Float[np.ndarray, " n"]]:
    """The eigenvalue farthest from zero, and its direction."""
    n = len(start)
    operator = LinearOperator((n, n), matvec=times, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=1, which="LM", tol=tolerance, v0=start, ncv=min(n, 20))
    except ArpackNoConvergence as error:
        raise EmbedfitError(
            f"the curvature of {n:,} parameters is not found to a share of {tolerance:g}: {error}",
            hint="measure it in float64, or give a greater tolerance",
        ) from None
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
