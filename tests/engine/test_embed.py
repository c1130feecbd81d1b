"""A batch in micro-batches: the gradient of the undivided batch, whatever the memory."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from little import plan, setup

from embedfit.engine.embed import deal, seeded
from embedfit.engine.fit import Setup
from embedfit.engine.step import Objective, train_step
from embedfit.team import Team


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60), size=st.integers(1, 9), ranks=st.integers(1, 5))
def test_every_text_is_dealt_to_one_process_and_one_micro_batch(lengths: list[int], size: int, ranks: int) -> None:
    tokens = torch.tensor(lengths)
    deals = [deal(tokens, size, Team(rank=rank, size=ranks)) for rank in range(ranks)]
    order = deals[0].order
    assert sorted(order.tolist()) == list(range(len(lengths)))
    whole: dict[int, list[int]] = {}
    for rank, one in enumerate(deals):
        assert torch.equal(one.order, order)
        own = order.split(list(one.counts))[rank]
        assert own.tolist() == sorted(own.tolist())
        for place, rows in zip(one.places, one.micro, strict=True):
            whole[place] = own[rows].tolist()
    alone = deal(tokens, size)
    assert alone.order.tolist() == list(range(len(lengths)))
    assert whole == {place: rows.tolist() for place, rows in zip(alone.places, alone.micro, strict=True)}


def test_processes_get_about_equally_many_tokens() -> None:
    lengths = torch.randint(1, 60, (640,), generator=torch.Generator().manual_seed(0))
    loads = []
    for rank in range(4):
        one = deal(lengths, 32, Team(rank=rank, size=4))
        loads.append(int(lengths[one.order.split(list(one.counts))[rank]].sum()))
    assert max(loads) < 1.1 * min(loads)


def stepped(made: Setup, memory: float, micro: int) -> tuple[float, dict[str, torch.Tensor]]:
    model = copy.deepcopy(made.objective.model).train()
    for tower in (model.query, model.document):
        tower.micro = micro
    objective = Objective(model=model, loss=made.objective.loss, known=made.objective.known, memory=memory)
    step = train_step(objective, made.material.batch_of(0, plan(made)), number=3, seed=1)
    return step.loss, {
        name: p.grad.to_dense() if p.grad.is_sparse else p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize(("kind", "model"), [("pairs", "gru"), ("classes", "ngram"), ("pairs", "transformer")])
@pytest.mark.parametrize("memory", [0.0, 2e5])
def test_embedding_again_gives_the_same_bits_as_keeping_all_graphs(kind: str, model: str, memory: float) -> None:
    made = setup(kind, model, optim__batch_size=40, model__dropout=0.3)
    loss, gradient = stepped(made, math.inf, 6)
    again, found = stepped(made, memory, 6)
    assert again == loss
    assert found.keys() == gradient.keys()
    assert all(torch.equal(found[name], gradient[name]) for name in gradient)


@pytest.mark.parametrize("model", ["gru", "static", "transformer"])
def test_micro_batches_have_the_gradient_of_the_undivided_batch(model: str) -> None:
    made = setup("pairs", model, optim__batch_size=40, model__dropout=0.0)
    loss, gradient = stepped(made, math.inf, 1000)
    again, found = stepped(made, 0.0, 7)
    assert again == pytest.approx(loss, rel=1e-6)
    for name, whole in gradient.items():
        assert float((found[name] - whole).norm()) <= 1e-5 * float(whole.norm()) + 1e-9, name


def test_random_numbers_follow_from_seed_step_and_place_alone() -> None:
    def drawn(*where: int) -> float:
        with seeded(*where):
            return float(torch.rand(()))

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    values = {drawn(s, n, p) for s in range(4) for n in range(4) for p in range(4)}
    assert len(values) == 64
    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
