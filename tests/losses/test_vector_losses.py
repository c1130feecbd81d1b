"""Vector objectives against naive float64 loops, by their gradients, and in what they claim of outliers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.errors import RecipeError
from embedfit.losses.vectors import (
    MAE,
    MSE,
    OBJECTIVES,
    Contrastive,
    Cosine,
    Distribution,
    Euclidean,
    Huber,
    Margin,
    Ranking,
    Similarity,
    VectorLoss,
    Weighted,
    jasper,
    objective,
)

Rows = list[list[float]]
Naive = Callable[[Rows, Rows], list[float]]


def cos(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def by_row(one: Callable[[list[float], list[float]], float]) -> Naive:
    return lambda p, t: [one(a, b) for a, b in zip(p, t, strict=True)]


def by_coordinate(one: Callable[[float], float]) -> Naive:
    return by_row(lambda a, b: sum(one(x - y) for x, y in zip(a, b, strict=True)) / len(a))


def naive_margin(p: Rows, t: Rows, *, hardest: bool) -> list[float]:
    out = []
    for i, a in enumerate(p):
        found = [max(0.0, 0.2 - cos(a, t[i]) + cos(a, b)) for j, b in enumerate(t) if j != i]
        out.append((max(found) if hardest else sum(found) / len(found)) if found else 0.0)
    return out


def naive_contrastive(p: Rows, t: Rows) -> list[float]:
    return [-math.log(math.exp(20 * cos(a, t[i])) / sum(math.exp(20 * cos(a, b)) for b in t)) for i, a in enumerate(p)]


def naive_similarity(p: Rows, t: Rows) -> list[float]:
    n = len(p)
    return [sum((cos(p[i], p[j]) - cos(t[i], t[j])) ** 2 for j in range(n) if j != i) / (n - 1) for i in range(n)]


def naive_distribution(p: Rows, t: Rows) -> list[float]:
    out = []
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        student = [math.exp(20 * cos(p[i], p[j])) for j in others]
        teacher = [math.exp(20 * cos(t[i], t[j])) for j in others]
        s, w = sum(student), sum(teacher)
        out.append(0.05**2 * sum(b / w * math.log((b / w) / (a / s)) for a, b in zip(student, teacher, strict=True)))
    return out


def naive_ranking(p: Rows, t: Rows) -> list[float]:
    out = []
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        found = [
            max(0.0, 0.015 - cos(p[i], p[j]) + cos(p[i], p[k]))
            for j in others
            for k in others
            if cos(t[i], t[j]) > cos(t[i], t[k])
        ]
        out.append(sum(found) / max(1, len(found)))
    return out


def naive_sum(*parts: tuple[float, Naive]) -> Naive:
    return lambda p, t: [sum(column) for column in zip(*([w * x for x in f(p, t)] for w, f in parts), strict=True)]


naive_cosine = by_row(lambda a, b: 1 - cos(a, b))
naive_euclidean = by_row(math.dist)

CASES: list[tuple[VectorLoss, Naive]] = [
    (MSE(), by_coordinate(lambda d: d * d)),
    (MAE(), by_coordinate(abs)),
    (Huber(0.3), by_coordinate(lambda d: d * d / 2 if abs(d) <= 0.3 else 0.3 * (abs(d) - 0.15))),
    (Euclidean(), naive_euclidean),
    (Cosine(), naive_cosine),
    (Margin(), lambda p, t: naive_margin(p, t, hardest=False)),
    (Margin(hardest=True), lambda p, t: naive_margin(p, t, hardest=True)),
    (Contrastive(), naive_contrastive),
    (Similarity(), naive_similarity),
    (Distribution(), naive_distribution),
    (Ranking(), naive_ranking),
    (Weighted((2.0, Cosine()), (0.5, Euclidean())), naive_sum((2.0, naive_cosine), (0.5, naive_euclidean))),
    (jasper(), naive_sum((10.0, naive_cosine), (200.0, naive_similarity), (20.0, naive_ranking))),
]
RELATIONAL = [Similarity(), Distribution(), Ranking()]
FREE_OF_LENGTH = [Cosine(), Margin(), Contrastive(), *RELATIONAL, jasper()]


def rows(n: int, e: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, e, generator=g, dtype=torch.float64), torch.randn(n, e, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("loss", "naive"), CASES, ids=lambda x: type(x).__name__)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 7), e=st.integers(2, 6))
@settings(max_examples=15)
def test_each_objective_equals_a_naive_float64_loop(loss: VectorLoss, naive: Naive, seed: int, n: int, e: int) -> None:
    p, t = rows(n, e, seed)
    torch.testing.assert_close(loss(p, t), torch.tensor(naive(p.tolist(), t.tolist()), dtype=torch.float64))


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=lambda x: type(x).__name__)
def test_gradients_agree_with_finite_differences(loss: VectorLoss) -> None:
    p, t = rows(4, 5, seed=11)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (p.requires_grad_(),))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_named_objective_is_lowest_at_the_target(name: str) -> None:
    loss = objective(name)
    _, t = rows(6, 8, seed=3)
    for scale in (0.1, 0.5):
        g = torch.Generator().manual_seed(1)
        assert loss(t, t).mean() < loss(t + scale * torch.randn(6, 8, generator=g, dtype=torch.float64), t).mean()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rows_that_reach_or_lack_a_direction_have_a_finite_loss_and_gradient(name: str) -> None:
    t = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    for p in (t.clone(), torch.zeros(4, 5)):
        loss = objective(name)(p.requires_grad_(), t)
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert p.grad is not None
        assert torch.isfinite(p.grad).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_row_alone_in_its_batch_has_a_finite_loss(name: str) -> None:
    assert torch.isfinite(objective(name)(torch.ones(1, 3), torch.tensor([[1.0, 2.0, 3.0]]))).all()


@pytest.mark.parametrize("loss", FREE_OF_LENGTH, ids=lambda x: type(x).__name__)
def test_objectives_of_direction_do_not_see_lengths(loss: VectorLoss) -> None:
    p, t = rows(5, 4, seed=2)
    torch.testing.assert_close(loss(3 * p, 0.2 * t), loss(p, t))


@pytest.mark.parametrize("loss", RELATIONAL, ids=lambda x: type(x).__name__)
def test_relational_objectives_take_a_target_of_another_dimension_and_ignore_rotations(loss: VectorLoss) -> None:
    p, t = rows(6, 5, seed=4)
    turned = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    wide = torch.cat([t, torch.zeros(6, 3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(loss(p @ turned, wide), loss(p, t))


def test_euclidean_and_cosine_are_tied_by_the_law_of_cosines() -> None:
    p, t = rows(9, 6, seed=5)
    a, b = p.norm(dim=1), t.norm(dim=1)
    torch.testing.assert_close(Euclidean()(p, t) ** 2, (a - b) ** 2 + 2 * a * b * Cosine()(p, t))
    p, t = p / a[:, None], t / b[:, None]
    torch.testing.assert_close(Euclidean()(p, t) ** 2, 2 * Cosine()(p, t))


@pytest.mark.parametrize("loss", [Margin(), Margin(hardest=True), Contrastive()], ids=lambda x: type(x).__name__)
def test_a_row_with_the_same_target_is_no_negative(loss: VectorLoss) -> None:
    p, t = rows(4, 6, seed=6)
    twice = loss(torch.cat([p, p[:1]]), torch.cat([t, t[:1]]))
    if isinstance(loss, Margin) and not loss.hardest:  # the mean is over as many other targets
        torch.testing.assert_close(twice[0], loss(p, t)[0])
    else:
        torch.testing.assert_close(twice[[0, -1]], loss(p, t)[0].expand(2))


@pytest.mark.parametrize(
    ("name", "robust"),
    [("mse", False), ("mae", True), ("huber", True), ("euclidean", True), ("cosine+euclidean", True)],
)
def test_robust_objectives_find_the_middle_in_spite_of_far_outliers(name: str, robust: bool) -> None:
    """The best constant prediction for targets of which one in ten lies far away."""
    g = torch.Generator().manual_seed(0)
    centre = torch.tensor([1.0, -1.0, 0.5, 2.0])
    target = centre + 0.1 * torch.randn(200, 4, generator=g)
    target[::10] += 30
    guess = target.mean(0).clone().requires_grad_()
    loss, optimiser = objective(name), torch.optim.Adam([guess], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        loss(guess.expand(200, 4), target).mean().backward()
        optimiser.step()
    off = float((guess.detach() - centre).norm())
    assert (off < 0.3) == robust, off


def test_no_row_pulls_harder_than_another_under_the_euclidean_distance() -> None:
    p, t = rows(8, 5, seed=7)
    t[0] *= 1e4
    p.requires_grad_()
    Euclidean()(p, t).sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.norm(dim=1), 1.0)


@pytest.mark.parametrize(("name", "hint"), [("euclid", "euclidean"), ("xyzzy", "one of mse"), ("cosine+", "cosine")])
def test_an_unknown_objective_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(RecipeError, match="no vector objective") as error:
        objective(name)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Huber(0.0),
        lambda: Margin(-1.0),
        lambda: Distribution(0.0),
        lambda: Weighted(),
        lambda: Weighted((0.0, MSE())),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], VectorLoss]) -> None:
    with pytest.raises(ValueError, match=r"positive|at least one"):
        make()
