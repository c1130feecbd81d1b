"""Curvature by Lanczos against the whole Hessian, and the places it tells apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from embedfit.errors import EmbedfitError
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


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_coordinates_that_the_loss_does_not_know_are_flat(sign: float) -> None:
    # an embedding table, of which a batch touches half the rows
    curved = sign * torch.linspace(1.0, 3.0, 100, dtype=torch.float64)
    table = torch.zeros(200, dtype=torch.float64, requires_grad=True)
    found = curvature(lambda: (curved * table[:100].square()).sum(), [table])
    ends = sorted([0.0, 6.0 * sign])
    assert [found.lowest, found.sharpness] == pytest.approx(ends, abs=0.06)
    assert found.place == ("valley" if sign > 0 else "saddle")
    if sign > 0:
        assert found.lowest == pytest.approx(0.0, abs=1e-9)
        assert float(found.escape[0][100:].norm()) == pytest.approx(1.0, abs=1e-3)


def test_what_lanczos_does_not_find_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(operator: LinearOperator, *, maxiter: int = 1, **settings: Any) -> Any:
        return eigsh(operator, maxiter=maxiter, **settings)

    monkeypatch.setattr("embedfit.probes.curvature.eigsh", tired)
    x = torch.ones(400, dtype=torch.float64, requires_grad=True)
    curved = torch.linspace(1.0, 2.0, 400, dtype=torch.float64)
    with pytest.raises(EmbedfitError, match="not found") as raised:
        curvature(lambda: (curved * x.square()).sum(), [x], tolerance=1e-12)
    assert raised.value.hint


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
