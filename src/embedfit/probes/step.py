"""What one training step does to the weights: which of them it reaches, with which gradient, how far it moves them.

The step is a stranger's own; it is watched through hooks of the optimiser, and compared with a gradient worked out
afresh on the same batch.
"""

from __future__ import annotations

__all__ = ["Movement", "coupled_rows", "watch_update"]

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One update.

    Attributes:
        steps: times the optimiser stepped.
        alignment: cosine of the gradient the optimiser saw with the fresh one; NaN where it saw none.
        ratio: its norm over that of the fresh one.
        lost: share of the fresh gradient's entries that had become exactly zero.
        norm: of the fresh gradient.
        moved: norm of the step over the norm of the weights.
        unmoved: names of trainable parameters that no gradient reached or that did not move.
        rate: learning rate of the first group during the step.
        finite: whether the fresh gradient was.
    """

    steps: int
    alignment: float
    ratio: float
    lost: float
    norm: float
    moved: float
    unmoved: tuple[str, ...]
    rate: float
    finite: bool


def watch_update(
    model: nn.Module, optimizer: Optimizer, loss: Float[Tensor, ""], update: Callable[[Tensor], None]
) -> Movement:
    """Let the author's update run and say what it did.

    Args:
        model: of the parameters.
        optimizer: the author's.
        loss: with its graph.
        update: the author's zero_grad, backward and step.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    fresh = {id(p): _dense(g) for p, g in zip(parameters, gradients, strict=True)}
    before = {id(p): p.detach().clone() for p in parameters}
    seen: list[tuple[dict[int, Tensor | None], float]] = []

    def remember(optimiser: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        given = {id(p): _dense(p.grad) for group in optimiser.param_groups for p in group["params"]}
        seen.append((given, float(optimiser.param_groups[0]["lr"])))

    handle = optimizer.register_step_pre_hook(remember)
    try:
        update(loss)
    finally:
        handle.remove()
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    compared = [(fresh[i], seen[0][0].get(i)) for i in fresh if seen and i in known]
    alignment, ratio, lost = _compared([(f, g) for f, g in compared if f is not None])
    moved = sum(float((p.detach() - before[id(p)]).float().square().sum()) for p in parameters) ** 0.5
    size = sum(float(p.float().square().sum()) for p in before.values()) ** 0.5
    still = tuple(n for n, p in named if torch.equal(p.detach(), before[id(p)]) or _empty(fresh[id(p)]))
    norm = sum(float(f.double().square().sum()) for f in fresh.values() if f is not None) ** 0.5
    return Movement(
        steps=len(seen), alignment=alignment, ratio=ratio, lost=lost, norm=norm, moved=moved / max(size, 1e-12),
        unmoved=still, rate=seen[0][1] if seen else float("nan"), finite=norm == norm and norm != float("inf"),
    )  # fmt: skip


def coupled_rows(loss: Float[Tensor, ""], query: Float[Tensor, "n e"], document: Float[Tensor, "m e"]) -> float | None:
    """Documents of other rows that the gradient of a query depends on: 0 for a loss that knows positives only.

    The derivative of the gradient at some documents by the embeddings of the queries: where a loss is a sum of one term
    per pair, it is zero for the queries of the other pairs.

    Args:
        loss: with its graph, which is kept.
        query: in the graph of the loss.
        document: ditto.

    Returns:
        Share of the other rows that are coupled, 0 to 1; None where it cannot be worked out.
    """
    if not (query.requires_grad and document.requires_grad):
        return None
    try:
        (slope,) = torch.autograd.grad(loss, document, create_graph=True, allow_unused=True)
        if slope is None or not slope.requires_grad:
            return None
        noise = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0)).to(slope)
        chosen = torch.arange(len(document)) < max(1, len(query) // 2)
        (bend,) = torch.autograd.grad((slope * noise)[chosen].sum(), query, retain_graph=True, allow_unused=True)
    except RuntimeError:  # an operation without a second derivative
        return None
    if bend is None:
        return 0.0
    others = bend[~chosen[: len(query)]]
    return float((others.abs().amax(-1) > 0).float().mean()) if len(others) else None


def _dense(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    return (gradient.to_dense() if gradient.is_sparse else gradient).detach().clone()


def _empty(gradient: Tensor | None) -> bool:
    return gradient is None or not bool(gradient.any())


def _compared(pairs: list[tuple[Tensor, Tensor | None]]) -> tuple[float, float, float]:
    if not pairs:
        return float("nan"), float("nan"), float("nan")
    fresh = torch.cat([f.flatten().double() for f, _ in pairs])
    given = torch.cat([(torch.zeros_like(f) if g is None else g).flatten().double() for f, g in pairs])
    norms = float(fresh.norm()), float(given.norm())
    alignment = float(fresh @ given) / max(norms[0] * norms[1], 1e-300)
    live = fresh != 0
    lost = float((given[live] == 0).double().mean()) if bool(live.any()) else 0.0
    return alignment, norms[1] / max(norms[0], 1e-300), lost
