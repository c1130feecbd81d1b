"""The meter of gradient noise: sparse and dense alike, over a checkpoint, and a probe that changes nothing."""

from __future__ import annotations

import pytest
import torch
from little import equal, plan, setup, weights

from embedfit.engine.noise import Meter, dot, probe


def sparse(rows: list[int], seed: int) -> torch.Tensor:
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 3), check_invariants=True).coalesce()


def test_products_of_sparse_gradients_are_those_of_dense_ones() -> None:
    one, other, dense = sparse([0, 2, 5], 1), sparse([2, 3, 5], 2), torch.randn(6, 3)
    for a in (one, other, dense):
        for b in (one, other, dense):
            whole = [x.to_dense().double() for x in (a, b)]
            assert dot([a, None], [b, None]) == pytest.approx(float((whole[0] * whole[1]).sum()), rel=1e-5)


def test_two_steps_in_a_row_are_multiplied_also_over_a_checkpoint_and_before_clipping() -> None:
    p, q = torch.nn.Parameter(torch.zeros(6, 3)), torch.nn.Parameter(torch.zeros(4))
    meter, other = Meter([p, q]), Meter([p, q])
    p.grad, q.grad = sparse([0, 2], 1), torch.arange(4.0)
    first = [p.grad.to_dense(), q.grad.clone()]
    assert meter.read(keep=True) == {}
    p.grad.values().mul_(0.1)  # clipping
    q.grad.mul_(0.1)
    other.load({name: value.clone() for name, value in meter.state().items()})
    p.grad, q.grad = sparse([2, 4], 2), torch.ones(4)
    expected = float((first[0] * p.grad.to_dense()).sum() + (first[1] * q.grad).sum())
    found = meter.read(keep=False)
    assert found["noise/product"] == pytest.approx(expected, rel=1e-5)
    assert other.read(keep=False) == found
    assert meter.read(keep=False) == {}
    assert meter.state() == {}


def test_a_probe_sees_independent_batches_and_leaves_the_model_as_it_was() -> None:
    made = setup("pairs", "gru", model__dropout=0.2)
    before, random = weights(made), torch.get_rng_state()
    table = torch.tensor(probe(made.objective, made.material, plan(made), batches=5))
    assert table.shape == (5, 5)
    assert torch.allclose(table, table.T, rtol=1e-6)
    length = table.diagonal().sqrt()
    cosines = table / length[:, None] / length
    assert float(cosines.fill_diagonal_(0.0).max()) < 0.99  # five batches, not one of them twice
    assert float(table.triu(1).sum()) > 0
    assert equal(weights(made), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in made.objective.model.parameters())
