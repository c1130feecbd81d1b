"""Losses of embeddings in pairs against loops in float64, and what their stop-gradients do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from embedfit.losses import BYOL, AnglE, CoSENT, CosineRegression, Loss, PairLoss, SimSiam, SoftmaxHead
from embedfit.scores import Scores, paired_scores


def pair(seed: int = 0, q: int = 5, e: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    query, document = (torch.randn(q, e, generator=g, dtype=torch.float64) for _ in range(2))
    return query, document, torch.tensor([0.0, 1.0, 0.5, 0.5, 0.2], dtype=torch.float64)[:q]


def test_angle_orders_cosines_and_complex_angles() -> None:
    query, document, grade = pair()
    scores = []
    for x, y in zip(query, document, strict=True):
        z = [complex(float(re), float(im)) for re, im in zip(x[:3], x[3:], strict=True)]
        w = [complex(float(re), float(im)) for re, im in zip(y[:3], y[3:], strict=True)]
        size = math.sqrt(sum(abs(c) ** 2 for c in z) * sum(abs(c) ** 2 for c in w))
        inner = sum(a * b.conjugate() for a, b in zip(z, w, strict=True)) / size
        scores.append(abs(inner.real + inner.imag))
    total = 1.0
    for i in range(5):
        for j in range(5):
            if grade[i] > grade[j]:
                total += math.exp((scores[j] - scores[i]) / 0.1)
    cosine = CoSENT(0.1)(paired_scores(query, document, grade)).double()
    torch.testing.assert_close(AnglE(0.1)(query, document, grade), cosine + math.log(total), rtol=1e-5, atol=1e-6)


def test_the_softmax_head_is_the_cross_entropy_of_rounded_grades() -> None:
    query, document, grade = pair()
    loss = SoftmaxHead(6, classes=3).double()
    expected = []
    for x, y, g in zip(query, document, grade, strict=True):
        logits = loss.head.weight @ torch.cat([x, y, (x - y).abs()]) + loss.head.bias
        expected.append(-float(logits.detach().log_softmax(0)[round(float(g) * 2)]))
    found = loss(query, document, grade)
    torch.testing.assert_close(found.detach(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("stop", [True, False])
def test_without_the_stop_gradient_the_document_is_pulled_as_well(stop: bool) -> None:
    query, document, _ = pair()
    loss = SimSiam(6, stop=stop).double()
    leaf = document.clone().requires_grad_()
    (alone,) = torch.autograd.grad(-torch.cosine_similarity(loss.predictor(leaf), query, dim=-1).sum() / 2, leaf)
    leaf = document.clone().requires_grad_()
    loss(query, leaf, None).sum().backward()
    assert leaf.grad is not None
    assert torch.allclose(leaf.grad, alone) == stop


def test_views_that_predict_each_other_reach_minus_one() -> None:
    query, document, _ = pair()
    loss = SimSiam(6).double()
    loss.predictor = nn.Identity()
    torch.testing.assert_close(loss(query, 3 * query, None), torch.full((5,), -1.0, dtype=torch.float64))
    assert (loss(query, document, None).abs() < 1).all()


def predicted(loss: SimSiam | BYOL, x: Tensor) -> Tensor:
    """The predictor by hand: linear, layer norm, cut at 0, linear."""
    first, norm, _, last = loss.predictor.layers
    inner = first.weight @ x
    inner = (inner - inner.mean()) / (inner.var(correction=0) + norm.eps).sqrt() * norm.weight + norm.bias
    return last.weight @ inner.clamp(min=0) + last.bias


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


@torch.no_grad()
def test_losses_without_negatives_are_minus_the_cosine_of_what_is_predicted() -> None:
    query, document, _ = pair()
    sim, byol = SimSiam(6).double(), BYOL(6, nn.Linear(1, 1)).double()
    there = [cosine(predicted(sim, q), d) for q, d in zip(query, document, strict=True)]
    back = [cosine(predicted(sim, d), q) for q, d in zip(query, document, strict=True)]
    expected = torch.tensor([-(a + b) / 2 for a, b in zip(there, back, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(sim(query, document, None), expected)
    one = [-cosine(predicted(byol, q), d) for q, d in zip(query, document, strict=True)]
    torch.testing.assert_close(byol(query, document, None), torch.tensor(one, dtype=torch.float64))


class OfScores(PairLoss):
    """A graded loss of cosines, asked as one of embeddings."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, query: Tensor, document: Tensor, grade: Tensor | None) -> Tensor:
        q, d = (torch.nn.functional.normalize(x, dim=1) for x in (query, document))
        assert grade is not None
        return self.loss(Scores((q * d).sum(1, keepdim=True), *[torch.ones(len(q), 1, dtype=torch.bool)] * 2,
                                grade[:, None]))  # fmt: skip


PAIRS: list[PairLoss] = [
    AnglE(0.1), SoftmaxHead(6, classes=3), SimSiam(6, stop=False), BYOL(6, nn.Linear(1, 1)),
    OfScores(CoSENT(0.1)), OfScores(CosineRegression()),
]  # fmt: skip


@pytest.mark.parametrize("loss", PAIRS, ids=lambda loss: type(getattr(loss, "loss", loss)).__name__)
def test_gradients_of_pair_losses_agree_with_finite_differences(loss: PairLoss) -> None:
    query, document, grade = pair()
    whole = loss.double()
    # no gradient flows into what BYOL predicts
    leaves = (
        (query.requires_grad_(),) if isinstance(loss, BYOL) else (query.requires_grad_(), document.requires_grad_())
    )
    assert torch.autograd.gradcheck(lambda q, d=document: whole(q, d, grade), leaves)


@pytest.mark.parametrize("loss", PAIRS, ids=lambda loss: type(getattr(loss, "loss", loss)).__name__)
def test_permuting_the_pairs_permutes_their_losses(loss: PairLoss) -> None:
    query, document, grade = pair()
    order, whole = torch.tensor([3, 0, 4, 1, 2]), loss.double()
    permuted = whole(query[order], document[order], grade[order])
    torch.testing.assert_close(permuted, whole(query, document, grade)[order])


def test_the_copy_follows_the_tower_and_gets_no_gradient() -> None:
    online, target = nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False)
    before = target.weight.detach().clone()
    loss = BYOL(6, target, decay=0.9)
    loss.follow(online)
    torch.testing.assert_close(target.weight, 0.9 * before + 0.1 * online.weight.detach())
    x = torch.randn(5, 4)
    loss(online(x), target(x), None).sum().backward()
    assert online.weight.grad is not None
    assert target.weight.grad is None
    assert any(name.startswith("target.") for name in loss.state_dict())


@pytest.mark.parametrize("loss", [AnglE(), SoftmaxHead(6)])
def test_graded_losses_ask_for_grades(loss: PairLoss) -> None:
    query, document, _ = pair()
    with pytest.raises(ValueError, match="needs graded pairs"):
        loss(query.float(), document.float(), None)


@pytest.mark.parametrize("make", [lambda: SimSiam(6), lambda: SoftmaxHead(6)])
def test_every_process_begins_with_the_same_weights(make) -> None:
    one = make()
    torch.manual_seed(99)
    other = make()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        AnglE(0.0)
    with pytest.raises(ValueError, match="at least 2 classes"):
        SoftmaxHead(4, classes=1)
    with pytest.raises(ValueError, match="decay must be in"):
        BYOL(4, nn.Linear(1, 1), decay=1.5)
    with pytest.raises(ValueError, match="even number of dimensions"):
        AnglE()(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2))
