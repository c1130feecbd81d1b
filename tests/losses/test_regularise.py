"""Regularisers against loops in float64, and at the arrangements they are made for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from embedfit.losses.regularise import Covariance, Regulariser, Uniformity, Variance, spectral_norm

ALL = [Uniformity(), Variance(), Covariance()]


def cloud(n: int = 7, e: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, e, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_uniformity_is_the_log_of_the_mean_kernel_over_pairs() -> None:
    x = cloud()
    unit = [row / row.norm() for row in x]
    kernel = [
        math.exp(-2 * float((a - b).square().sum())) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j
    ]
    assert float(Uniformity()(x)) == pytest.approx(math.log(sum(kernel) / len(kernel)))


def test_variance_and_covariance_are_those_of_scaled_unit_embeddings() -> None:
    x = cloud()
    even = torch.stack([row / row.norm() * 2 for row in x])
    covariance = torch.cov(even.T, correction=0)
    short = [max(0.0, 1 - math.sqrt(float(covariance[j, j]) + 1e-4)) for j in range(4)]
    off = sum(float(covariance[i, j]) ** 2 for i in range(4) for j in range(4) if i != j)
    assert float(Variance()(x)) == pytest.approx(sum(short) / 4)
    assert float(Covariance()(x)) == pytest.approx(off / 4)


def test_collapsed_embeddings_cost_most_and_even_ones_next_to_nothing() -> None:
    same, even = torch.ones(50, 8), cloud(4000, 8).float()
    assert float(Uniformity()(same)) == pytest.approx(0, abs=1e-6)
    assert float(Uniformity()(even)) < -2
    assert float(Variance()(same)) == pytest.approx(0.99, abs=1e-6)
    assert float(Variance()(even)) < 0.02
    assert float(Covariance()(even)) < 0.01
    assert float(Covariance()(torch.cat([even[:, :4], even[:, :4]], 1))) > 0.5


@pytest.mark.parametrize("regulariser", ALL, ids=lambda r: type(r).__name__)
def test_gradients_agree_with_finite_differences_and_order_is_of_no_matter(regulariser: Regulariser) -> None:
    x = cloud().requires_grad_()
    assert torch.autograd.gradcheck(regulariser, (x,))
    torch.testing.assert_close(regulariser(x), regulariser(x.flip(0)))


@pytest.mark.parametrize("regulariser", ALL, ids=lambda r: type(r).__name__)
def test_one_embedding_has_a_finite_gradient(regulariser: Regulariser) -> None:
    x = torch.randn(1, 4, requires_grad=True)
    regulariser(x).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 8), (1, 4), (4, 1)])
def test_the_spectral_norm_is_the_largest_singular_value_and_its_gradient_u_v(shape: tuple[int, int]) -> None:
    weight = torch.outer(torch.ones(shape[0]), torch.arange(1.0, shape[1] + 1)) + 0.3 * cloud(*shape).float()
    weight.requires_grad_()
    found = spectral_norm(weight)
    exact = torch.linalg.matrix_norm(weight.detach(), 2)
    torch.testing.assert_close(found.detach(), exact, rtol=1e-3, atol=0)
    (gradient,) = torch.autograd.grad(found, weight)
    assert float(gradient.norm()) == pytest.approx(1, rel=1e-4)


def test_a_sharpness_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="t must be positive"):
        Uniformity(0.0)
