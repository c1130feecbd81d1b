"""The optimiser against torch's own and against naive loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from embedfit.optim import Optimiser
from embedfit.optim.groups import Group

BETAS = (0.9, 0.99)


def group(*params: torch.Tensor, decay: float = 0.0, scale: float = 1.0) -> Group:
    return Group(params=list(params), lr=0.0, weight_decay=decay, scale=scale, part="query", place="head")


def sparse(shape: tuple[int, int], rows: list[int], seed: int) -> torch.Tensor:
    """A sparse gradient; rows may be named twice."""
    values = torch.randn(len(rows), shape[1], generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, shape, check_invariants=True)


def twins(*shape: int) -> tuple[nn.Parameter, nn.Parameter]:
    value = torch.randn(*shape, generator=torch.Generator().manual_seed(7))
    return nn.Parameter(value.clone()), nn.Parameter(value.clone())


def test_whole_matrices_move_exactly_as_with_adamw() -> None:
    (matrix, copy), (bias, bias_copy) = twins(5, 3), twins(4)
    ours = Optimiser([group(matrix, decay=0.1), group(bias, scale=0.5)], betas=BETAS)
    params = [{"params": [copy], "weight_decay": 0.1}, {"params": [bias_copy], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(params, betas=BETAS, eps=1e-8, fused=True)
    for step in range(20):
        g = torch.Generator().manual_seed(step)
        for one, other in ((matrix, copy), (bias, bias_copy)):
            one.grad = torch.randn(one.shape, generator=g)
            other.grad = one.grad.clone()
        rate = 0.01 * (1 + step % 3)
        theirs.param_groups[0]["lr"], theirs.param_groups[1]["lr"] = rate, rate * 0.5
        theirs.step()
        ours.step(rate)
    assert torch.equal(matrix, copy)
    assert torch.equal(bias, bias_copy)
    assert matrix.grad is None


@settings(max_examples=20)
@given(touched=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5), min_size=1, max_size=8))
def test_rows_move_as_in_a_naive_float64_adam_and_in_sparse_adam(touched: list[list[int]]) -> None:
    table, copy = twins(6, 3)
    naive = table.detach().double().clone()
    first, second = torch.zeros_like(naive), torch.zeros_like(naive)
    ours = Optimiser([group(table)], betas=BETAS)
    theirs = torch.optim.SparseAdam([copy], lr=0.02, betas=BETAS, eps=1e-8)
    for count, rows in enumerate(touched, 1):
        table.grad, copy.grad = sparse((6, 3), rows, count), sparse((6, 3), rows, count)
        dense = table.grad.to_dense().double()
        for row in set(rows):
            first[row] = BETAS[0] * first[row] + (1 - BETAS[0]) * dense[row]
            second[row] = BETAS[1] * second[row] + (1 - BETAS[1]) * dense[row] ** 2
            spread = (second[row] / (1 - BETAS[1] ** count)).sqrt() + 1e-8
            naive[row] -= 0.02 * first[row] / (1 - BETAS[0] ** count) / spread
        ours.step(0.02)
        theirs.step()
    torch.testing.assert_close(table.detach().double(), naive, atol=1e-6, rtol=0)
    torch.testing.assert_close(table, copy, atol=1e-6, rtol=0)


def test_rows_that_no_text_names_stay_bit_for_bit_and_what_moved_is_counted() -> None:
    table, before = twins(8, 4)
    ours = Optimiser([group(table, scale=2.0)], betas=BETAS)
    for step in range(5):
        table.grad = sparse((8, 4), [1, 6, 1], step)
        last = table.detach().clone()
        ours.step(0.1, watched=True)
    moved = (table != before).any(1).nonzero().flatten().tolist()
    assert moved == [1, 6]
    assert ours.moved == pytest.approx(float((table.detach() - last).square().sum()), rel=1e-5)
    assert ours.size == pytest.approx(float(last[[1, 6]].square().sum()), rel=1e-5)


@pytest.mark.parametrize("longest", [0.5, 1e6])
def test_clipping_is_that_of_torch_on_dense_copies(longest: float) -> None:
    (table, table_copy), (matrix, matrix_copy) = twins(6, 3), twins(4, 4)
    unused = nn.Parameter(torch.zeros(3))
    ours = Optimiser([group(table, matrix, unused)], betas=BETAS)
    table.grad, matrix.grad = sparse((6, 3), [2, 2, 5], 1), torch.randn(4, 4)
    table_copy.grad, matrix_copy.grad = table.grad.to_dense(), matrix.grad.clone()
    norm = ours.clip(longest)
    expected = torch.nn.utils.clip_grad_norm_([table_copy, matrix_copy], longest)
    assert norm == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(table.grad.to_dense(), table_copy.grad)
    torch.testing.assert_close(matrix.grad, matrix_copy.grad)


def test_an_optimiser_goes_on_from_its_tensors_bit_for_bit() -> None:
    (table, table_copy), (matrix, matrix_copy) = twins(6, 3), twins(4, 4)
    one = Optimiser([group(table), group(matrix, decay=0.1)], betas=BETAS)
    other = Optimiser([group(table_copy), group(matrix_copy, decay=0.1)], betas=BETAS)

    def move(optimiser: Optimiser, step: int) -> None:
        rows, whole = optimiser.parameters
        rows.grad, whole.grad = sparse((6, 3), [step % 6, 3], step), torch.full((4, 4), 0.1 * step)
        optimiser.step(0.05)

    for step in range(4):
        move(one, step)
    with torch.no_grad():
        table_copy.copy_(table)
        matrix_copy.copy_(matrix)
    other.load({name: tensor.clone() for name, tensor in one.tensors().items()})
    for step in range(4, 8):
        move(one, step)
        move(other, step)
    assert torch.equal(table, table_copy)
    assert torch.equal(matrix, matrix_copy)
    assert all(torch.equal(one.tensors()[name], tensor) for name, tensor in other.tensors().items())
