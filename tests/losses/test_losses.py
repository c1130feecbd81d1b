"""Every loss against a naive float64 loop, and the properties all losses share."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.losses import CoSENT, CosineRegression, InfoNCE, Loss, Symmetric
from embedfit.scores import Scores

SOFTMAX = [
    InfoNCE(0.05),
    InfoNCE(0.1, margin=0.3),
    InfoNCE(0.07, label_smoothing=0.1),
    InfoNCE(0.07, margin=0.2, label_smoothing=0.3),
]
LOSSES: list[Loss] = [*SOFTMAX, *(Symmetric(loss) for loss in SOFTMAX)]


def random_scores(q: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Scores:
    """Cosines in [-1, 1], one to three positives in a row, a tenth of the other cells doubtful."""
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(q, d, generator=g, dtype=torch.float64) * 2 - 1
    positive = torch.zeros(q, d, dtype=torch.bool)
    positive[torch.arange(q), torch.randperm(d, generator=g)[:q] if d >= q else torch.randint(d, (q,), generator=g)] = (
        True
    )
    positive |= torch.rand(q, d, generator=g) < 0.05
    candidate = positive | (torch.rand(q, d, generator=g) < 0.9)
    return Scores(values.to(dtype), positive, candidate)


def naive_infonce(loss: InfoNCE, scores: Scores) -> list[float]:
    """Straight from the definition, cell by cell."""
    out = []
    for row, (values, positive, candidate) in enumerate(
        zip(scores.values, scores.positive, scores.candidate, strict=True)
    ):
        del row
        logit = [
            (float(v) - (loss.margin if p else 0)) / loss.temperature for v, p in zip(values, positive, strict=True)
        ]
        negatives = [math.exp(x) for x, p, c in zip(logit, positive, candidate, strict=True) if c and not p]
        own = [x for x, p in zip(logit, positive, strict=True) if p]
        if not own:
            out.append(0.0)
            continue
        hard = sum(-math.log(math.exp(x) / (math.exp(x) + sum(negatives))) for x in own) / len(own)
        part = [x for x, p, c in zip(logit, positive, candidate, strict=True) if p or c]
        total = math.log(sum(math.exp(x) for x in part))
        soft = sum(total - x for x in part) / len(part)
        out.append((1 - loss.label_smoothing) * hard + loss.label_smoothing * soft)
    return out


@pytest.mark.parametrize("loss", SOFTMAX, ids=str)
@pytest.mark.parametrize(("q", "d"), [(1, 2), (4, 4), (5, 9), (7, 3)])
def test_infonce_equals_a_naive_float64_loop(loss: InfoNCE, q: int, d: int) -> None:
    scores = random_scores(q, d, seed=q * d, dtype=torch.float64)
    torch.testing.assert_close(loss(scores), torch.tensor(naive_infonce(loss, scores), dtype=torch.float64))


@pytest.mark.parametrize("loss", SOFTMAX, ids=str)
def test_symmetric_is_the_mean_of_both_directions(loss: InfoNCE) -> None:
    scores = random_scores(6, 6, seed=3, dtype=torch.float64)
    one = Scores(scores.values, torch.eye(6, dtype=torch.bool), scores.candidate | torch.eye(6, dtype=torch.bool))
    there = torch.tensor(naive_infonce(loss, one), dtype=torch.float64)
    back = torch.tensor(naive_infonce(loss, one.T), dtype=torch.float64)
    torch.testing.assert_close(Symmetric(loss)(one), (there + back) / 2)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@given(seed=st.integers(0, 10_000), q=st.integers(1, 8), d=st.integers(2, 9))
@settings(max_examples=25)
def test_permuting_the_queries_permutes_the_losses(loss: Loss, seed: int, q: int, d: int) -> None:
    scores = random_scores(q, d, seed, torch.float64)
    p = torch.randperm(q, generator=torch.Generator().manual_seed(seed))
    permuted = Scores(scores.values[p], scores.positive[p], scores.candidate[p])
    torch.testing.assert_close(loss(permuted), loss(scores)[p])


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_cells_that_are_no_candidates_have_no_influence_and_no_gradient(loss: Loss) -> None:
    scores = random_scores(6, 8, seed=1)
    values = scores.values.clone().requires_grad_()
    loss(Scores(values, scores.positive, scores.candidate)).sum().backward()
    assert values.grad is not None
    assert values.grad[~scores.candidate].abs().max() == 0
    changed = torch.where(scores.candidate, scores.values, torch.tensor(0.9))
    torch.testing.assert_close(loss(Scores(changed, scores.positive, scores.candidate)), loss(scores), rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    scores = random_scores(3, 5, seed=5, dtype=torch.float64)
    values = scores.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: loss(Scores(v, scores.positive, scores.candidate)), (values,))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_query_without_negatives_or_positives_is_finite_with_a_finite_gradient(loss: Loss) -> None:
    values = torch.tensor([[0.3, 0.2], [0.1, 0.4], [0.5, 0.6]], requires_grad=True)
    positive = torch.tensor([[True, False], [False, False], [True, True]])
    candidate = torch.tensor([[True, False], [True, True], [True, True]])
    out = loss(Scores(values, positive, candidate))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_near_convergence_the_gradient_keeps_its_relative_precision() -> None:
    """At a loss of about 4e-5 a plain fp32 softmax loses two digits; ours must keep 1e-5 against float64."""
    n = 64
    values = torch.full((n, n), 0.2, dtype=torch.float64) + 0.01 * torch.rand(n, n, dtype=torch.float64)
    values.fill_diagonal_(0.92)
    eye, all_ = torch.eye(n, dtype=torch.bool), torch.ones(n, n, dtype=torch.bool)

    def gradient(dtype: torch.dtype) -> tuple[float, torch.Tensor]:
        leaf = values.to(dtype).clone().requires_grad_()
        loss = InfoNCE(0.05)(Scores(leaf, eye, all_)).mean()
        loss.backward()
        assert leaf.grad is not None
        return loss.item(), leaf.grad.double()

    exact_loss, exact = gradient(torch.float64)
    rough_loss, rough = gradient(torch.float32)
    assert 1e-5 < exact_loss < 1e-4
    # the cosines themselves are rounded to fp32 first (relative 6e-8, times 1 / temperature)
    assert abs(rough_loss - exact_loss) / exact_loss < 1e-5
    assert float((rough - exact).norm() / exact.norm()) < 1e-5


def graded(values: list[float], grades: list[float]) -> Scores:
    v = torch.tensor(values, dtype=torch.float64)[:, None]
    yes = torch.ones_like(v, dtype=torch.bool)
    return Scores(v, yes, yes, torch.tensor(grades, dtype=torch.float64)[:, None])


@given(
    rows=st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.0, 1.0, 2.5, 5.0])), min_size=1, max_size=8),
    temperature=st.sampled_from([0.05, 0.5]),
)
@settings(max_examples=60)
def test_cosent_equals_a_naive_loop(rows: list[tuple[float, float]], temperature: float) -> None:
    values, grades = [r[0] for r in rows], [r[1] for r in rows]
    total = 1.0
    for vi, gi in rows:
        for vj, gj in rows:
            if gi > gj:
                total += math.exp((vj - vi) / temperature)
    expected = torch.full((len(rows),), math.log(total), dtype=torch.float64)
    torch.testing.assert_close(CoSENT(temperature)(graded(values, grades)), expected)


def test_cosent_of_equal_grades_is_zero_with_zero_gradient() -> None:
    scores = graded([0.1, 0.9, -0.4], [2.0, 2.0, 2.0])
    leaf = scores.values.clone().requires_grad_()
    out = CoSENT()(Scores(leaf, scores.positive, scores.candidate, scores.target))
    out.sum().backward()
    assert out.abs().max() == 0
    assert leaf.grad is not None
    assert leaf.grad.abs().max() == 0


def test_cosine_regression_is_the_squared_error() -> None:
    out = CosineRegression()(graded([0.1, 0.9], [0.0, 1.0]))
    torch.testing.assert_close(out, torch.tensor([0.01, 0.01], dtype=torch.float64))


@pytest.mark.parametrize("loss", [CoSENT(), CosineRegression()])
def test_graded_losses_refuse_scores_that_are_not_paired(loss: Loss) -> None:
    with pytest.raises(ValueError, match="paired scores"):
        loss(random_scores(3, 3, seed=0))


@pytest.mark.parametrize(
    "arguments",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"margin": 2.0}, {"margin": -0.1}, {"label_smoothing": 1.0}],
)
def test_infonce_refuses_settings_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        InfoNCE(**arguments)
