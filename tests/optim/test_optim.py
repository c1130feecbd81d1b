"""Groups, schedules and weight averages."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embedfit.optim import Average, Schedule, factor, groups

SCHEDULES = get_args(Schedule)


def test_each_parameter_is_in_exactly_one_group_and_only_matrices_decay() -> None:
    tower = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.LayerNorm(3))
    made = groups({"query": tower, "document": tower}, weight_decay=0.1, scales={"query": 0.5})
    ids = [id(p) for g in made for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in tower.parameters())
    decaying = [p for g in made if g["weight_decay"] for p in g["params"]]
    assert [p.shape for p in decaying] == [tower[1].weight.shape]
    assert {g["scale"] for g in made} == {0.5}


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    made = groups({"query": layer}, weight_decay=0.0)
    assert [p is layer.weight for g in made for p in g["params"]] == [True]


@given(total=st.integers(1, 500), share=st.floats(0, 1), kind=st.sampled_from(["cosine", "linear", "constant"]))
def test_the_schedule_rises_then_falls_and_stays_in_0_1(total: int, share: float, kind: str) -> None:
    warmup = int(total * share)
    values = [factor(s, total=total, warmup=warmup, kind=kind) for s in range(total)]
    assert all(0 <= v <= 1 for v in values)
    assert values[0] > 0 or total == 1
    rise, fall = values[:warmup], values[warmup:]
    assert rise == sorted(rise)
    assert fall == sorted(fall, reverse=True)


@given(
    total=st.integers(1, 500), share=st.floats(0, 1), kind=st.sampled_from(get_args(Schedule)), cuts=st.integers(0, 9)
)
def test_every_schedule_stays_in_0_1_and_moves_at_the_first_step(
    total: int, share: float, kind: Schedule, cuts: int
) -> None:
    values = [factor(s, total=total, warmup=int(total * share), kind=kind, cuts=cuts) for s in range(total)]
    assert all(0 <= v <= 1 for v in values)
    assert values[0] > 0 or total == 1


def test_schedules_turn_where_they_say() -> None:
    def at(kind: Schedule, *steps: int) -> list[float]:
        return [factor(s, total=1010, warmup=10, kind=kind) for s in steps]

    assert at("step", 10, 342, 344, 676, 677, 1009) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert at("cyclic", 10, 135, 260, 385) == pytest.approx([1, 0.1, 1, 0.1])
    assert at("wsd", 10, 809, 910, 1009) == pytest.approx([1, 1, 0.5, 0.005])
    assert at("one_cycle", 0, 303, 1009) == pytest.approx([0.04, 1, 0], abs=1e-4)


def test_the_average_equals_a_naive_recursion_and_swapping_twice_changes_nothing() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average, expected = Average(layer, 0.9), layer.weight.item()
    for step in range(1, 40):
        with torch.no_grad():
            layer.weight.fill_(step * 0.1)
        average.update()
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * step * 0.1
    before = layer.weight.clone()
    average.swap()
    assert layer.weight.item() == pytest.approx(expected, rel=1e-5)
    average.swap()
    assert torch.equal(layer.weight, before)


def test_an_average_survives_its_checkpoint() -> None:
    layer = nn.Linear(2, 2)
    one, two = Average(layer, 0.5), Average(layer, 0.5)
    one.update()
    two.load(one.state())
    assert two.steps == one.steps
    assert all(torch.equal(a, b) for a, b in zip(one.values, two.values, strict=True))


def test_each_layer_below_the_top_learns_more_slowly() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.ModuleDict({"words": nn.Embedding(4, 2)})
            self.layer = nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(3)])
            self.head = nn.Linear(2, 2, bias=False)

    encoder = Encoder()
    made = groups({"query": encoder}, weight_decay=0.1, layer_decay=0.5)
    scale = {id(p): g["scale"] for g in made for p in g["params"]}
    assert [scale[id(layer.weight)] for layer in encoder.layer] == [0.25, 0.5, 1.0]
    assert scale[id(encoder.embeddings["words"].weight)] == 0.125
    assert scale[id(encoder.head.weight)] == 1.0
