"""Moving average of weights."""

from __future__ import annotations

__all__ = ["Average"]

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a module's parameters, with the bias of the first steps taken out.

    average_t = decay_t * average_(t-1) + (1 - decay_t) * weights_t with decay_t = min(decay, t / (t + 9)): early on the
    mean of what there is, later a window of 1 / (1 - decay) steps.

    Args:
        module: whose parameters are averaged; buffers are not.
        decay: in [0, 1); 0 keeps the newest weights.

    References:
        Polyak and Juditsky 1992; Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.values = [p.detach().clone() for p in self.parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Take the current weights in."""
        self.steps += 1
        if self.decay:
            decay = min(self.decay, self.steps / (self.steps + 9))
            torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's weights with the average; call twice to get back, bit for bit."""
        for parameter, value in zip(self.parameters, self.values, strict=False):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        return {"steps": torch.tensor(self.steps), **{str(i): v for i, v in enumerate(self.values)}}

    def load(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.steps = int(state["steps"])
        for i, value in enumerate(self.values):
            value.copy_(state[str(i)])
