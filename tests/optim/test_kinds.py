"""Every optimiser: rows against naive float64 rules, whole tensors against torch, and on again from its state."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from test_optimiser import BETAS, group, sparse, twins

from embedfit.optim import Kind, Optimiser

KINDS = get_args(Kind)
ROWWISE = [kind for kind in KINDS if kind != "schedule_free"]


def move(optimiser: Optimiser, step: int) -> None:
    """One step in which rows, a matrix and a vector get gradients that depend on the step alone."""
    generator = torch.Generator().manual_seed(step)
    for parameter in optimiser.parameters:
        if parameter.shape == (6, 3):
            parameter.grad = sparse((6, 3), [step % 6, 3], step)
        else:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step(0.05, watched=True)


def naive(kind: str, gradients: list[torch.Tensor], start: torch.Tensor) -> torch.Tensor:
    """One number moved by a rule, in float64."""
    weight, first, second = start.double().clone(), 0.0, 0.0
    for count, g in enumerate((g.double() for g in gradients), 1):
        if kind == "sgd":
            first = 0.9 * first + g
            weight = weight - 0.05 * first
        elif kind == "adagrad":
            second = second + g * g
            weight = weight - 0.05 * g / (second**0.5 + 1e-10)
        elif kind == "rmsprop":
            second = 0.99 * second + 0.01 * g * g
            weight = weight - 0.05 * g / (second**0.5 + 1e-8)
        else:
            first, second = BETAS[0] * first + (1 - BETAS[0]) * g, BETAS[1] * second + (1 - BETAS[1]) * g * g
            spread = (second / (1 - BETAS[1] ** count)) ** 0.5 + 1e-8
            weight = weight - 0.05 * first / (1 - BETAS[0] ** count) / spread
    return weight


@pytest.mark.parametrize("kind", ROWWISE)
def test_a_row_that_is_touched_at_every_step_moves_as_a_naive_rule_says(kind: Kind) -> None:
    table, start = twins(6, 3)
    optimiser = Optimiser([group(table)], betas=BETAS, kind=kind, momentum=0.9)
    gradients = []
    for step in range(6):
        table.grad = sparse((6, 3), [2], step)
        gradients.append(table.grad.to_dense()[2])
        optimiser.step(0.05)
    torch.testing.assert_close(table[2].double(), naive(kind, gradients, start[2]), atol=1e-6, rtol=0)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(table[others], start[others])


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "adagrad", "rmsprop"])
def test_rows_and_whole_tensors_obey_the_same_rule(kind: Kind) -> None:
    rows, whole = twins(4, 3)
    one, other = (Optimiser([group(p)], betas=BETAS, kind=kind, momentum=0.9) for p in (rows, whole))
    for step in range(5):
        rows.grad = sparse((4, 3), [0, 1, 2, 3], step)
        whole.grad = rows.grad.to_dense()
        one.step(0.02)
        other.step(0.02)
    torch.testing.assert_close(rows, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimiser_goes_on_from_its_tensors_bit_for_bit(kind: Kind) -> None:
    pairs = [twins(6, 3), twins(4, 4), twins(5)]
    one = Optimiser([group(p, decay=0.1 * (p.ndim > 1 and p.shape != (6, 3))) for p, _ in pairs],
                    betas=BETAS, kind=kind, momentum=0.9)  # fmt: skip
    for step in range(4):
        move(one, step)
    with torch.no_grad():
        for p, copy in pairs:
            copy.copy_(p)
    other = Optimiser([group(c, decay=0.1 * (c.ndim > 1 and c.shape != (6, 3))) for _, c in pairs],
                      betas=BETAS, kind=kind, momentum=0.9)  # fmt: skip
    other.load({name: tensor.clone() for name, tensor in one.tensors().items()})
    for step in range(4, 8):
        move(one, step)
        move(other, step)
    assert all(torch.equal(p, copy) for p, copy in pairs)
    assert one.moved > 0
    one.swap()
    one.swap()
    assert all(torch.equal(p, copy) for p, copy in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_at_rate_0_is_held_bit_for_bit_and_has_no_part_in_the_norm(kind: Kind) -> None:
    (held, before), (free, _) = twins(4, 4), twins(4, 4)
    first, second = group(held), group(free)
    first["place"] = "layers"
    optimiser = Optimiser([first, second], betas=BETAS, kind=kind)
    optimiser.adapt({"layers": 0.0})
    held.grad, free.grad = torch.ones(4, 4), torch.ones(4, 4)
    assert optimiser.clip(100.0) == pytest.approx(4.0)
    optimiser.step(0.1)
    assert torch.equal(held, before)
    assert not torch.equal(free, before)


def test_schedule_free_measures_the_mean_of_its_iterates() -> None:
    weight, _ = twins(3, 3)
    optimiser = Optimiser([group(weight)], betas=BETAS, kind="schedule_free")
    iterates = []
    for step in range(5):
        move(optimiser, step)
        iterates.append(optimiser.whole[0].state[weight]["z"].clone())
    optimiser.swap()
    torch.testing.assert_close(weight.detach(), torch.stack(iterates).mean(0), atol=1e-5, rtol=0)


def test_muon_takes_hidden_matrices_and_leaves_the_rest_to_adamw() -> None:
    (matrix, _), (bias, _), (table, _) = twins(4, 4), twins(4), twins(6, 3)
    embeddings = group(table)
    embeddings["place"] = "embeddings"
    optimiser = Optimiser([group(matrix), group(bias), embeddings], betas=BETAS, kind="muon", momentum=0.95)
    owned = {type(one).__name__: [p for g in one.param_groups for p in g["params"]] for one in optimiser.whole}
    assert [p is matrix for p in owned["Muon"]] == [True]
    assert {id(p) for p in owned["AdamW"]} == {id(bias), id(table)}
