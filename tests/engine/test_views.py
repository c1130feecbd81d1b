"""Two views of a text, and losses of pairs through a whole step."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from little import plan, rows, setup

from embedfit.data.examples import Examples, examples
from embedfit.engine.step import train_step
from embedfit.engine.views import both_ways, twice
from embedfit.errors import RecipeError
from embedfit.losses import BYOL


@pytest.mark.parametrize("kind", ["pairs", "classes", "graded"])
def test_every_distinct_text_is_its_own_positive(kind: str) -> None:
    data = examples(rows(kind))
    made = twice(data)
    texts = set(data.query_texts) | (set() if data.catalogue else set(data.document_texts))
    assert set(made.query_texts) == texts
    assert len(made.query_texts) == len(texts)
    assert torch.equal(made.query, made.positive)
    assert torch.equal(made.query_id, made.document_id)
    assert made.target is None


def test_byol_sees_every_pair_both_ways() -> None:
    data = examples(rows("pairs"))

    def met(of: Examples) -> Counter[tuple[str, str]]:
        return Counter(
            (of.query_texts[q], of.document_texts[d])
            for q, d in zip(of.query.tolist(), of.positive.tolist(), strict=True)
        )

    made = setup("pairs", loss__kind="byol").material.data
    assert met(made) == met(data) + Counter({(d, q): count for (q, d), count in met(data).items()})
    identities = dict(zip(data.document_texts, data.document_id.tolist(), strict=True))
    assert all(identities[text] == made.query_id[i] for i, text in enumerate(made.query_texts) if text in identities)


def test_partners_of_a_class_are_exchanged_as_they_are() -> None:
    data = examples(rows("classes"), prototypes=False)
    assert both_ways(data) is data


def test_the_two_views_of_a_step_differ_by_dropout_alone() -> None:
    made = setup("graded", loss__kind="infonce", loss__views="dropout", model__dropout=0.3)
    step = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    own = step.document[step.pairing.positive]
    assert not torch.equal(step.query, own)
    made.objective.model.eval()
    still = train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    assert torch.equal(still.query, still.document[still.pairing.positive])


def test_a_tower_without_dropout_has_no_two_views() -> None:
    with pytest.raises(RecipeError, match="it has no dropout") as caught:
        setup("pairs", loss__views="dropout", model__dropout=0.0)
    assert "model.dropout" in caught.value.hint


def test_byol_embeds_documents_with_the_copy_and_moves_it_after_the_tower() -> None:
    made = setup("pairs", loss__kind="byol", loss__decay=0.5)
    loss, tower = made.objective.loss, made.objective.model.query
    assert isinstance(loss, BYOL)
    before = {name: value.clone() for name, value in loss.target.state_dict().items()}
    optimiser = plan(made).mover(made.groups)
    train_step(made.objective, made.material.batch_of(0, plan(made)), number=0)
    assert all(torch.equal(value, before[name]) for name, value in loss.target.state_dict().items())
    optimiser.step(0.01)
    weights = {name: value.detach().clone() for name, value in tower.named_parameters()}
    train_step(made.objective, made.material.batch_of(1, plan(made)), number=1)
    for name, value in loss.target.named_parameters():
        torch.testing.assert_close(value, (before[name] + weights[name]) / 2)
    assert id(next(loss.target.parameters())) not in {id(p) for group in made.groups for p in group["params"]}


@pytest.mark.parametrize("kind", ["angle", "softmax_head"])
def test_losses_of_graded_pairs_learn(kind: str) -> None:
    made = setup("graded", loss__kind=kind)
    batch, optimiser = made.material.batch_of(0, plan(made)), plan(made).mover(made.groups)
    first = train_step(made.objective, batch, number=0).loss
    for _ in range(8):
        optimiser.step(0.003)
        last = train_step(made.objective, batch, number=0).loss
    assert made.facts["loss.floor"] <= last < first


def test_pairs_meet_no_prototypes() -> None:
    with pytest.raises(RecipeError, match="compared with prototypes"):
        setup("classes", loss__kind="simsiam", loss__against="prototypes")
