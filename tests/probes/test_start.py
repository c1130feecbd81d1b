from __future__ import annotations

import pytest
import torch
from torch import nn

from embedfit.probes.start import odd_share, redraw


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 16))


@torch.no_grad()
def spoiled(change) -> nn.Module:
    found = model()
    for parameter in found[0].parameters():
        parameter.copy_(change(parameter))
    return found


def test_weights_as_drawn_are_not_odd():
    assert odd_share(model()) == 0


@pytest.mark.parametrize(
    "change",
    [lambda w: 20 * w, lambda w: w / 100, lambda w: w * 0.01 + w.mean(0, keepdim=True) if w.ndim > 1 else w - 5.0],
    ids=["large", "small", "alike"],
)
def test_weights_too_large_too_small_or_alike_are_odd(change):
    found = spoiled(change)
    before = [p.clone() for p in found.parameters()]
    assert odd_share(found) > 0.4
    assert all(torch.equal(p, q) for p, q in zip(found.parameters(), before, strict=True))
    redraw(found)
    assert odd_share(found) == 0
