"""Regularisers and nested dimensions in a whole step: the gradient is that of the sum, the loss stays its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from little import plan, setup
from torch import Tensor

from embedfit.engine.contrast import contrast
from embedfit.engine.penalty import Penalties
from embedfit.engine.setup import Setup
from embedfit.engine.step import train_step
from embedfit.errors import RecipeError
from embedfit.losses.regularise import Uniformity, spectral_norm


def gradient(made: Setup) -> tuple[float, list[Tensor]]:
    """Loss of a batch, and the gradient of every parameter."""
    weights = list(made.objective.model.parameters())
    for p in weights:
        p.grad = None
    loss = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0).loss
    return loss, [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in weights]


def test_a_regulariser_adds_the_gradient_of_its_weighted_mean_over_both_sides() -> None:
    made = setup("pairs", model__dropout=0.0)
    plain = replace(made, objective=replace(made.objective, penalties=Penalties()))
    asked = replace(made, objective=replace(made.objective, penalties=Penalties([(0.3, Uniformity())])))
    (loss, without), (same, with_it) = gradient(plain), gradient(asked)
    assert loss == same
    batch, model = made.material.batch_of(0, plan(made)), made.objective.model
    uniformity = (Uniformity()(model.query(batch.query)) + Uniformity()(model.document(batch.document))) / 2
    expected = torch.autograd.grad(uniformity, list(model.parameters()), allow_unused=True)
    for before, after, own in zip(without, with_it, expected, strict=True):
        wanted = 0.3 * (torch.zeros_like(before) if own is None else own.to_dense())
        torch.testing.assert_close(after - before, wanted, atol=1e-6, rtol=1e-3)


def test_the_spectral_penalty_shrinks_matrices_and_no_tables() -> None:
    made = setup("pairs", "gru", model__dropout=0.0)
    plain, asked = (replace(made, objective=replace(made.objective, penalties=Penalties((), w))) for w in (0.0, 0.1))
    (_, without), (_, with_it) = gradient(plain), gradient(asked)
    changed = {}
    for (name, p), before, after in zip(made.objective.model.named_parameters(), without, with_it, strict=True):
        changed[name] = not torch.equal(before, after)
        if changed[name]:
            along = ((after - before) * p).sum()
            torch.testing.assert_close(along, 0.1 * spectral_norm(p).detach() ** 2, rtol=1e-3, atol=1e-6)
    assert any(changed.values())
    assert not any(yes for name, yes in changed.items() if "embed" in name or "bias" in name)


def test_nested_dimensions_are_the_mean_of_the_losses_of_prefixes() -> None:
    made = setup("pairs", loss__nested=[2, 5])
    step = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    losses = [
        contrast(step.query[:, :size], step.document[:, :size], made.objective.loss, step.pairing) for size in (2, 5, 8)
    ]
    assert step.loss == pytest.approx(sum(found.value for found in losses) / 3, rel=1e-5)
    whole = contrast(step.query, step.document, made.objective.loss, step.pairing, nested=(2, 5))
    wanted = torch.zeros_like(whole.query)
    for found in losses:
        wanted[:, : found.query.shape[1]] += found.query / 3
    torch.testing.assert_close(whole.query, wanted)


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [("static", {"loss__nested": [8]}, "it has 8 dimensions"), ("ngram", {"loss__nested": [8]}, "end to end")],
)
def test_an_embedding_is_cut_only_where_it_can_be(model: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        setup("pairs", model, **settings)
    assert caught.value.hint


def test_a_recipe_asks_for_regularisers_by_weight() -> None:
    asked = setup("pairs", loss__uniformity=0.1, loss__covariance=0.2, loss__spectral=0.3).objective.penalties
    assert [(weight, type(r).__name__) for weight, r in asked.embeddings] == [(0.1, "Uniformity"), (0.2, "Covariance")]
    assert asked.spectral == 0.3
