"""Whether a model starts from weights like those that its modules draw for themselves."""

from __future__ import annotations

__all__ = ["odd_share", "redraw"]

from copy import deepcopy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

TIMES = 4.0
"""Root mean squares further apart than that are of different kinds."""
ALIKE = 0.7
"""Mean cosine above which the rows of a matrix are the same row."""


@runtime_checkable
class _Draws(Protocol):
    """A module of torch that can draw its own weights."""

    def reset_parameters(self) -> None:
        """Draw them."""
        ...


@torch.no_grad()
def odd_share(model: nn.Module) -> float:
    """Share of the parameters that are far larger, far smaller or more alike than those their module would draw.

    Random numbers are drawn; parameters stay as they are. Modules that draw no weights of their own are left out.
    """
    odd = total = 0
    for module in model.modules():
        if not isinstance(module, _Draws):
            continue
        own = dict(module.named_parameters(recurse=False))
        twin = deepcopy(module)
        twin.reset_parameters()
        fresh = dict(twin.named_parameters(recurse=False)) if isinstance(twin, nn.Module) else {}
        for name, parameter in own.items():
            total += parameter.numel()
            odd += parameter.numel() * _differ(parameter.float(), fresh[name].float())
    return odd / total if total else 0.0


@torch.no_grad()
def redraw(model: nn.Module) -> None:
    """Let every module that can draw its weights draw them."""
    for module in model.modules():
        if isinstance(module, _Draws):
            module.reset_parameters()


def _differ(one: Tensor, fresh: Tensor) -> bool:
    sizes = [float(x.square().mean().sqrt()) for x in (one, fresh)]
    if sizes[1] > 0 and not 1 / TIMES < sizes[0] / sizes[1] < TIMES:
        return True
    if one.ndim < 2 or len(one) < 4:
        return False
    mean = nn.functional.normalize(one.flatten(1)[:512], dim=-1).mean(0)
    return float(mean.norm()) ** 2 > ALIKE
