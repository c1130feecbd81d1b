"""Curvature by Lanczos against the whole Hessian, and the places it tells apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from embedfit.probes.curvature import curvature


def quadratic(eigenvalues: list[float], at: torch.Tensor, bottom: torch.Tensor | None = None):
    """A bowl, a saddle or a trough, turned so that no axis is a direction of it."""
    n = len(eigenvalues)
    turn = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    hessian = turn @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ turn.T
    centre = torch.zeros(n, dtype=torch.float64) if bottom is None else bottom
    x = at.clone().requires_grad_()
    return (lambda: 0.5 * (x - centre) @ hessian @ (x - centre)), x, turn


@pytest.mark.parametrize(
    ("eigenvalues", "place"),
    [
        ([5.0, 3.0, 2.0, 1.0, 0.5, 0.2], "minimum"),
        ([5.0, 3.0, 2.0, 1.0, 0.5, -0.7], "saddle"),
        ([5.0, 3.0, 2.0, 1.0, 0.5, 0.0], "valley"),
        ([0.0] * 6, "floor"),
        ([2.0, 1.0], "minimum"),
    ],
)
def test_a_place_is_told_by_both_ends_of_its_spectrum(eigenvalues: list[float], place: str) -> None:
    loss, x, turn = quadratic(eigenvalues, torch.zeros(len(eigenvalues), dtype=torch.float64))
    found = curvature(loss, [x], tolerance=1e-6)
    assert found.place == place
    assert found.sharpness == pytest.approx(max(eigenvalues), abs=1e-5)
    assert found.lowest == pytest.approx(min(eigenvalues), abs=1e-5)
    if place == "saddle":
        assert abs(float(found.escape[0] @ turn[:, -1])) == pytest.approx(1.0, abs=1e-3)


def test_away_from_where_it_stands_still_a_loss_slopes_and_the_escape_points_down() -> None:
    start = torch.ones(6, dtype=torch.float64)
    loss, x, _ = quadratic([5.0, 3.0, 2.0, 1.0, 0.5, -0.7], start)
    found = curvature(loss, [x], tolerance=1e-6)
    assert found.place == "slope"
    before = float(loss().detach())
    with torch.no_grad():
        x += 0.5 * found.escape[0]
    assert float(loss().detach()) < before


def test_the_curvature_of_towers_is_that_of_the_whole_hessian_and_nothing_is_changed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(12, 5, dtype=torch.float64)
    y = x + 0.1 * torch.randn(12, 5, dtype=torch.float64)

    def loss() -> torch.Tensor:
        query, document = normalize(model(x), dim=-1), normalize(model(y), dim=-1)
        return cross_entropy(query @ document.T / 0.1, torch.arange(12))

    parameters = list(model.parameters())
    loss().backward()
    kept = [(p.detach().clone(), p.grad.clone()) for p in parameters]  # type: ignore[union-attr]
    state = torch.get_rng_state()
    found = curvature(loss, parameters, tolerance=1e-6)
    assert all(torch.equal(p, a) and torch.equal(p.grad, b) for p, (a, b) in zip(parameters, kept, strict=True))  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)

    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(), parameters, create_graph=True)])
    rows = [torch.cat([r.reshape(-1) for r in torch.autograd.grad(g, parameters, retain_graph=True)]) for g in gradient]
    values = torch.linalg.eigvalsh(torch.stack(rows))
    assert found.sharpness == pytest.approx(float(values[-1]), rel=1e-4)
    assert found.lowest == pytest.approx(float(values[0]), rel=1e-3)
    assert [tuple(e.shape) for e in found.escape] == [tuple(p.shape) for p in parameters]


def test_gradient_descent_is_stable_below_the_highest_rate_and_leaves_above_it() -> None:
    for times, stays in ((0.9, True), (1.1, False)):
        loss, x, _ = quadratic([4.0, 1.0, 0.5, 0.2, 0.1, 0.1], torch.ones(6, dtype=torch.float64))
        rate = times * curvature(loss, [x], tolerance=1e-6).highest_rate
        before = float(loss().detach())
        for _ in range(60):
            [gradient] = torch.autograd.grad(loss(), [x])
            with torch.no_grad():
                x -= rate * gradient
        assert (float(loss().detach()) < before) is stays
