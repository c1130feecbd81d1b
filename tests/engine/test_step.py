"""One step against the same step written out by hand in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import polars as pl
import pytest
import torch
from little import plan, recipe, rows, setup
from torch import Tensor

from embedfit.engine import step as step_module
from embedfit.engine.fit import Setup, prepare
from embedfit.engine.pairing import Pairing
from embedfit.engine.step import loss_of, train_step
from embedfit.errors import NonFiniteLossError
from embedfit.pairs import Pairs, normalise
from embedfit.types import Batch

Naive = Callable[[Setup, Batch, Tensor, Tensor], Tensor]


def cross_entropy(own: float | Tensor, rivals: list[Tensor], temperature: float) -> Tensor:
    """-log of the positive's share among itself and its rivals."""
    return torch.log1p(sum(torch.exp((r - own) / temperature) for r in rivals))


def two_ways(made: Setup, batch: Batch, query: Tensor, document: Tensor) -> Tensor:
    """In-batch softmax both ways; pairs that the rows know to belong together are no negatives."""
    data, t = made.material.data, made.chosen.temperature
    text = [normalise(data.query_texts[i]) for i in data.query[batch.rows].tolist()]
    known = {
        (normalise(data.query_texts[q]), normalise(data.document_texts[d]))
        for q, d in zip(data.query.tolist(), data.positive.tolist(), strict=True)
    }
    text_of = {int(i): normalise(t) for i, t in zip(data.document_id, data.document_texts, strict=True)}
    answer = [text_of[int(i)] for i in batch.document_id]
    cosine = query @ document.T
    own = batch.positive.tolist()

    def rival(q: int, d: int) -> bool:
        return (text[q], answer[d]) not in known and text[q] != answer[d]

    there = [
        cross_entropy(cosine[q, own[q]], [cosine[q, d] for d in range(len(answer)) if rival(q, d)], t)
        for q in range(len(text))
    ]
    back = []
    for q in range(len(text)):
        owners = [p for p in range(len(text)) if own[p] == own[q]]
        rivals = [cosine[p, own[q]] for p in range(len(text)) if p not in owners and rival(p, own[q])]
        shares = [cross_entropy(cosine[p, own[q]], rivals, t) for p in owners]
        back.append(sum(shares) / len(owners) / len(owners))
    weight = batch.weight.double()
    return (weight * (torch.stack(there) + torch.stack(back)) / 2).sum() / weight.sum()


def classes(made: Setup, batch: Batch, query: Tensor, document: Tensor) -> Tensor:
    """Softmax over all classes, for each part of the vector."""
    parts, losses = made.objective.model.query.parts, []
    for q, d in zip(query.chunk(parts, -1), document.chunk(parts, -1), strict=True):
        logits = unit(q) @ unit(d).T / made.chosen.temperature
        losses.append(torch.nn.functional.cross_entropy(logits, batch.positive))
    return sum(losses) / parts


def squares(made: Setup, batch: Batch, query: Tensor, document: Tensor) -> Tensor:
    """Squared error of the cosine (the line is at its start: slope 1, offset 0)."""
    parts = made.objective.model.query.parts
    assert batch.target is not None
    return (
        sum(
            ((unit(q) * unit(d)).sum(-1) - batch.target.double()).square().mean()
            for q, d in zip(query.chunk(parts, -1), document.chunk(parts, -1), strict=True)
        )
        / parts
    )


def orders(made: Setup, batch: Batch, query: Tensor, document: Tensor) -> Tensor:
    """CoSENT: every pair of pairs in the wrong order costs."""
    assert batch.target is not None
    cosine, grade = (query * document).sum(-1), batch.target.tolist()
    wrong = [
        torch.exp((cosine[j] - cosine[i]) / made.chosen.temperature)
        for i in range(len(grade))
        for j in range(len(grade))
        if grade[i] > grade[j]
    ]
    return torch.log1p(sum(wrong))


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def with_negatives() -> Pairs:
    """Rows of which some queries have two answers, with negatives brought along and weights."""
    table = rows("pairs").table.head(24)
    shifted = pl.concat([table["positive"].tail(5), table["positive"].head(19)])
    queries = table["query"].to_list()
    queries[7] = queries[0].upper()  # the same question as the first, with another answer
    weight = [0.5 + i % 3 for i in range(24)]
    table = table.with_columns(query=pl.Series(queries), negative_1=shifted, weight=pl.Series(weight))
    return Pairs(kind="pairs", table=table)


CASES: list[tuple[str, str, dict[str, str], Naive]] = [
    ("pairs", "static", {}, two_ways),
    ("negatives", "static", {}, two_ways),
    ("pairs", "gru", {"model__shared": False}, two_ways),
    ("classes", "static", {}, classes),
    ("classes", "ngram", {}, classes),
    ("graded", "static", {"loss__kind": "cosine", "loss__temperature": "auto"}, squares),
    ("graded", "ngram", {"loss__kind": "cosine", "loss__temperature": "auto"}, squares),
    ("graded", "gru", {"loss__kind": "cosent"}, orders),
]


@pytest.mark.parametrize(("kind", "model", "more", "naive"), CASES)
def test_loss_and_gradient_are_those_of_the_definition(kind: str, model: str, more: dict, naive: Naive) -> None:
    size = {} if model == "ngram" else {"model__dropout": 0.0}
    usual = {"loss__label_smoothing": 0.0, "loss__temperature": 0.2, "optim__batch_size": 12}
    wanted = recipe(model, **{**usual, **size, **more})
    made = prepare(with_negatives() if kind == "negatives" else rows(kind), wanted)
    batch = made.material.batch_of(0, plan(made))
    twin = copy.deepcopy(made.objective.model).double().eval()
    query, document = twin.query(batch.query), twin.document(batch.document)
    if naive in (two_ways, orders):
        query, document = unit(query), unit(document)
    expected = naive(made, batch, query, document)
    expected.backward()

    made.objective.model.eval()  # no dropout
    step = train_step(made.objective, batch, number=0)
    assert step.loss == pytest.approx(expected.item(), rel=1e-5)
    named = dict(made.objective.model.named_parameters())
    assert any(p.grad is not None for p in named.values())
    for name, parameter in twin.named_parameters():
        if parameter.grad is None:
            assert named[name].grad is None, name
            continue
        one, other = (g.to_dense() if g.is_sparse else g for g in (named[name].grad, parameter.grad))
        assert float((one - other).norm()) <= 1e-4 * float(other.norm()) + 1e-7, name


def test_a_loss_without_gradient_is_that_of_the_step_and_leaves_the_mode() -> None:
    made = setup("pairs", "gru", model__dropout=0.5)
    batch = made.material.batch_of(0, plan(made))
    made.objective.model.train()
    quiet = loss_of(made.objective, batch)
    assert made.objective.model.training
    assert all(p.grad is None for p in made.objective.model.parameters())
    made.objective.model.eval()
    assert quiet == train_step(made.objective, batch, number=0).loss


def test_a_loss_that_is_not_finite_is_refused_before_the_gradient_and_names_its_rows() -> None:
    made = setup("pairs", "static")
    batch = made.material.batch_of(0, plan(made))
    with torch.no_grad():
        next(made.objective.model.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match="the loss of step 7 is nan") as caught:
        train_step(made.objective, batch, number=7)
    assert set(caught.value.rows) == set(batch.rows.tolist())
    assert "optim.learning_rate" in str(caught.value.hint)
    assert all(p.grad is None for p in made.objective.model.parameters())


def test_of_a_step_in_a_ring_some_queries_and_their_positives_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "SEEN", 4)
    made = setup("pairs", "static")
    batch = made.material.batch_of(0, plan(made))
    query, document = torch.randn(len(batch), 3), torch.randn(len(batch.document), 3)
    counts = {"queries": [len(batch)], "documents": [len(batch.document)]}
    whole = Pairing(positive=batch.positive, weight=batch.weight, **counts)
    part, pairing, q, d = step_module.seen(batch, whole, query, document, known=None)
    which = [batch.rows.tolist().index(row) for row in part.rows.tolist()]
    assert 1 < len(part) == len(set(which)) <= 4
    assert len(d) == len(set(batch.positive[which].tolist()))
    assert torch.equal(q, query[which])
    assert torch.equal(d[pairing.positive], document[batch.positive[which]])
    assert (pairing.queries, pairing.documents) == ([len(q)], [len(d)])
    assert [x.tolist() for x in part.document.ids.split(part.document.lengths.tolist())] == [
        x.tolist()
        for i, x in enumerate(batch.document.ids.split(batch.document.lengths.tolist()))
        if i in batch.positive[which].tolist()
    ]
