"""Dropout that costs a processor a quarter: four decisions are read off one random number of 64 bits.

Torch draws a random number of its own for every entry, some 10 ns each: a tenth of a training step of a small encoder
in bf16. Sixteen bits decide as well; the share left out is then a multiple of 2^-16, and what stays is scaled by
exactly that share, so that the mean is kept.
"""

from __future__ import annotations

__all__ = ["Dropout", "replace_dropout"]

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Module):
    """`torch.nn.Dropout` with other random numbers, drawn from torch's own generator.

    Args:
        p: share of the entries that become zero while training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Some entries zero, the others scaled so that the mean stays; the input itself in evaluation mode."""
        left_out = round(self.p * _STEPS)
        if not self.training or left_out == 0:
            return x
        if x.device.type != "cpu" or left_out == _STEPS:
            return F.dropout(x, self.p, training=True)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        drawn = words.view(torch.int16)[: x.numel()].view(x.shape)
        scale = _STEPS / (_STEPS - left_out)
        return x * (drawn >= left_out - _STEPS // 2).to(x.dtype).mul_(scale)

    def extra_repr(self) -> str:
        """As torch prints its own."""
        return f"p={self.p}"


def replace_dropout(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` of a model; it has no weights, so that none change."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout and not child.inplace:
                parent.register_module(name, Dropout(child.p).train(child.training))
