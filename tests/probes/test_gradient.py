from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from embedfit.probes.gradient import adam_update_ratio, gradient_norms, update_ratio


def test_gradient_norms_are_taken_by_the_first_part_of_the_name():
    gradients = {
        "query.weight": torch.tensor([3.0, 4.0]),
        "query.bias": torch.tensor([12.0]),
        "document.weight": torch.tensor([[1.0]]),
        "frozen.weight": None,
    }
    assert gradient_norms(gradients) == pytest.approx({"query": 13.0, "document": 1.0, "frozen": 0.0})


def test_a_nan_in_a_gradient_shows():
    assert math.isnan(gradient_norms({"query.weight": torch.tensor([1.0, float("nan")])})["query"])


def test_sparse_gradients_count_repeated_rows_once_added():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    assert gradient_norms({"table.weight": table.weight.grad})["table"] == pytest.approx(math.sqrt(4 + 4 + 1 + 1))


def test_update_ratio_is_the_step_over_the_weights():
    before = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    after = {"a": torch.tensor([3.0, 0.3]), "b": torch.tensor([4.4])}
    assert update_ratio(before, after) == pytest.approx(0.5 / 5)
    assert update_ratio(before, before) == 0.0
    zero = {"a": torch.zeros(2)}
    assert update_ratio(zero, zero) == 0.0
    assert update_ratio(zero, {"a": torch.ones(2)}) == math.inf


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_ratio_from_adams_state_is_the_ratio_of_the_weights(kind, weight_decay):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    unused = nn.Parameter(torch.ones(2))
    optimizer = kind([*model.parameters(), unused], lr=1e-3, weight_decay=weight_decay)
    for _ in range(4):
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        before["unused"] = unused.detach().clone()
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()
        after = {**dict(model.named_parameters()), "unused": unused}
        assert adam_update_ratio(optimizer) == pytest.approx(update_ratio(before, after), rel=5e-3)


def test_adams_state_before_the_first_step_says_no_movement():
    assert adam_update_ratio(torch.optim.AdamW([nn.Parameter(torch.ones(2))])) == 0.0


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1),
        torch.optim.Adam([nn.Parameter(torch.ones(2))], amsgrad=True),
    ],
)
def test_an_optimiser_whose_step_is_unknown_is_refused(optimizer):
    with pytest.raises(TypeError, match="use update_ratio"):
        adam_update_ratio(optimizer)


def test_reading_the_optimiser_changes_nothing():
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    before, state = weight.detach().clone(), copy.deepcopy(optimizer.state_dict())
    adam_update_ratio(optimizer)
    assert torch.equal(weight, before)
    assert all(torch.equal(state["state"][0][k], v) for k, v in optimizer.state_dict()["state"][0].items())
