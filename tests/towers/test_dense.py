from __future__ import annotations

import torch

from embedfit.towers.bag import Residual
from embedfit.towers.dense import as_residual, of_residual


def trained_block() -> Residual:
    block = Residual(6, 10)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return block


def test_two_dense_layers_compute_a_residual_block() -> None:
    block = trained_block()
    first, second = of_residual(block)
    x = torch.randn(20, 6)
    torch.testing.assert_close(second(first(x)), block(x), atol=1e-5, rtol=1e-5)


def test_the_block_comes_back_bit_for_bit() -> None:
    block = trained_block()
    again = as_residual(*of_residual(block))
    for name, tensor in block.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
