from __future__ import annotations

import pytest
import torch
from torch import nn

from embedfit.towers.dropout import Dropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_many_entries_are_left_out_and_the_others_scaled_alike(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 333, dtype=dtype, requires_grad=True)
    out = Dropout(p)(x)
    out.sum().backward()
    count = x.numel()
    share = float((out == 0).sum()) / count
    assert abs(share - p) < 4 * (p * (1 - p) / count) ** 0.5
    kept = out[out != 0].detach().unique()
    assert len(kept) == 1
    assert float(kept) == pytest.approx(1 / (1 - p), rel=3e-4 if dtype == torch.float32 else 5e-3)
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())  # what is left out passes no gradient


def test_entries_are_left_out_independently_of_their_neighbours() -> None:
    torch.manual_seed(1)
    left_out = (Dropout(0.3)(torch.ones(400_000)) == 0).float()
    for shift in (1, 2, 3, 4, 8):  # four entries share a random number
        together = (left_out[:-shift] * left_out[shift:]).mean()
        assert float(together) == pytest.approx(0.09, abs=0.003)
    by_place = left_out.view(-1, 4).mean(0)
    assert float((by_place - 0.3).abs().max()) < 0.006


def test_the_seed_decides_and_evaluation_leaves_everything() -> None:
    x, module = torch.randn(7, 5), Dropout(0.4)
    torch.manual_seed(3)
    first = module(x)
    torch.manual_seed(3)
    assert torch.equal(module(x), first)
    assert not torch.equal(module(x), first)
    assert module.eval()(x) is x


def test_nothing_and_everything() -> None:
    x = torch.randn(11)
    assert Dropout(0.0)(x) is x
    assert not Dropout(1.0)(x).any()
    assert Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)


def test_every_dropout_of_a_model_is_replaced_and_nothing_else() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.1), nn.AlphaDropout(0.5)))
    model.eval()
    names = list(model.state_dict())
    replace_dropout(model)
    kinds = [type(m).__name__ for m in model.modules()]
    assert kinds == ["Sequential", "Linear", "Dropout", "Sequential", "Dropout", "AlphaDropout"]
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.2, 0.1]
    assert list(model.state_dict()) == names
    assert not any(m.training for m in model.modules())
    assert repr(model[1]) == "Dropout(p=0.2)"
