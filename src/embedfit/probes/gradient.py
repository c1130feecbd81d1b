"""How strong the gradients are and how far a step moves the weights.

The tensors of a model are given by name ("query.embedding.weight"); the part before the first dot names their group.
"""

from __future__ import annotations

__all__ = ["adam_update_ratio", "gradient_norms", "update_ratio"]

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def gradient_norms(gradients: Mapping[str, Tensor | None]) -> dict[str, float]:
    """Norm of the gradient of each group of parameters.

    Args:
        gradients: gradient by parameter name; None where backward has not reached the parameter.

    Returns:
        Norm by group; 0.0 where no gradient came. A NaN or infinity in a gradient shows in its group's norm.
    """
    squares: dict[str, float] = {}
    for name, gradient in gradients.items():
        group = name.split(".", 1)[0]
        square = 0.0 if gradient is None else _square(gradient)
        squares[group] = squares.get(group, 0.0) + square
    return {group: square**0.5 for group, square in squares.items()}


@torch.no_grad()
def update_ratio(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Norm of a step over the norm of the weights it started from: about 1e-3 in a healthy run, 0 for frozen weights.

    Args:
        before: weights before the step, by name (copies: an optimiser writes in place).
        after: the same weights after it.

    Returns:
        The ratio; infinite when weights that were all zero moved.

    Raises:
        KeyError: a weight is missing after the step.
    """
    moved = sum(_square(after[name].detach() - weight) for name, weight in before.items()) ** 0.5
    size = sum(_square(weight) for weight in before.values()) ** 0.5
    if size == 0.0:
        return float("inf") if moved > 0.0 else 0.0
    return moved / size


@torch.no_grad()
def adam_update_ratio(optimizer: torch.optim.Optimizer) -> float:
    """The update ratio of Adam's or AdamW's last step, from the optimiser's state alone: no copy of the weights.

    A tensor's step is lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), for AdamW plus lr * weight_decay * weight,
    with the moments as they are after the step. The norm of the weights is that after the step, which differs from the
    one before by the ratio itself. Call it between `step()` and any change of the learning rate.

    Args:
        optimizer: `torch.optim.Adam` or `AdamW`, after a step.

    Returns:
        The ratio over all parameters; 0.0 before the first step.

    Raises:
        TypeError: another optimiser, or one with amsgrad or maximize.
    """
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        raise TypeError(f"expected torch.optim.Adam or AdamW, got {type(optimizer).__name__}; use update_ratio")
    moved, size = 0.0, 0.0
    for group in optimizer.param_groups:
        if group["amsgrad"] or group["maximize"]:
            raise TypeError("adam_update_ratio does not know amsgrad and maximize; use update_ratio")
        decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
        for weight in group["params"]:
            size += _square(weight)
            state = optimizer.state.get(weight)
            if not state:
                continue
            moved += _square(_adam_step(weight, state, group, decoupled))
    return 0.0 if moved == 0.0 else moved**0.5 / size**0.5 if size > 0.0 else float("inf")


def _adam_step(weight: Tensor, state: Mapping[str, Tensor], group: Mapping, decoupled: bool) -> Tensor:
    first, second = group["betas"]
    lr, steps = float(group["lr"]), float(state["step"])
    scale = (state["exp_avg_sq"] / (1 - second**steps)).sqrt() + group["eps"]
    step = lr / (1 - first**steps) * state["exp_avg"] / scale
    if decoupled and group["weight_decay"]:
        shrunk = lr * group["weight_decay"]
        # the weight at hand is w' = w (1 - shrunk) - step, and the step as a whole is w' - w
        step = step + shrunk * (weight.detach() + step) / (1 - shrunk)
    return step


def _square(tensor: Tensor) -> float:
    values = tensor.detach().coalesce().values() if tensor.is_sparse else tensor.detach()
    return float(torch.linalg.vector_norm(values, dtype=torch.float32)) ** 2
