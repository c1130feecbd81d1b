"""`Dense`: a linear layer with an activation, as sentence-transformers saves it; and residual blocks written as two."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "Dense", "as_residual", "of_residual"]

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.towers.bag import Residual

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.SiLU": nn.SiLU,
    "torch.nn.modules.activation.Sigmoid": nn.Sigmoid,
}


class Dense(nn.Module):
    """A linear layer, then an activation.

    Args:
        linear: the layer.
        activation: its name in `ACTIVATIONS`.
    """

    def __init__(self, linear: nn.Linear, activation: str) -> None:
        super().__init__()
        self.linear = linear
        self.activation = activation
        self.function = ACTIVATIONS[activation]()

    def forward(self, x: Float[Tensor, "n a"]) -> Float[Tensor, "n b"]:
        """The activated layer."""
        return self.function(self.linear(x))


def of_residual(block: Residual) -> tuple[Dense, Dense]:
    """The same function as two dense layers, since x = relu(x) - relu(-x).

    sentence-transformers knows residual layers only from version 6 on, plain dense ones in every version.
    """
    hidden, dimension = block.expand.weight.shape
    identity = torch.eye(dimension)
    first, second = nn.Linear(dimension, 2 * dimension + hidden), nn.Linear(2 * dimension + hidden, dimension)
    with torch.no_grad():
        first.weight.copy_(torch.cat([identity, -identity, block.expand.weight.cpu()]))
        first.bias.copy_(torch.cat([torch.zeros(2 * dimension), block.expand.bias.cpu()]))
        second.weight.copy_(torch.cat([identity, -identity, block.contract.weight.cpu()], dim=1))
        second.bias.copy_(block.contract.bias)
    return Dense(first, "torch.nn.modules.activation.ReLU"), Dense(second, "torch.nn.modules.linear.Identity")


def as_residual(first: Dense, second: Dense) -> Residual:
    """The residual block that `of_residual` wrote, bit for bit."""
    dimension = first.linear.in_features
    block = Residual(dimension, first.linear.out_features - 2 * dimension)
    with torch.no_grad():
        block.expand.weight.copy_(first.linear.weight[2 * dimension :])
        block.expand.bias.copy_(first.linear.bias[2 * dimension :])
        block.contract.weight.copy_(second.linear.weight[:, 2 * dimension :])
        block.contract.bias.copy_(second.linear.bias)
    return block
