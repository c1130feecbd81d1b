from __future__ import annotations

import pytest
import torch
from benchmarks.speed.contenders import CONTENDERS, bare_products
from benchmarks.speed.losses import precise

N, E, SCALE = 24, 16, 10.0


@pytest.fixture
def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    q, k = (torch.randn(N, E, generator=draw) for _ in range(2))
    return q, k + q


def reference(q: torch.Tensor, k: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By the definition, one pair at a time, in float64."""
    q, k = q.double().requires_grad_(), k.double().requires_grad_()
    cosine = torch.nn.functional.cosine_similarity
    rows = [scale * cosine(q[i][None], k) for i in range(len(q))]
    columns = [scale * cosine(k[i][None], q) for i in range(len(q))]
    loss = sum(line.logsumexp(0) - line[i] for lines in (rows, columns) for i, line in enumerate(lines)) / (2 * len(q))
    loss.backward()
    return loss.detach(), q.grad, k.grad


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "bare_products"])
def test_every_contender_computes_the_same_loss_and_gradient(
    name: str, embeddings: tuple[torch.Tensor, torch.Tensor]
) -> None:
    if name == "metric_learning":
        pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is absent (extra bench)")
    for found, expected in zip(CONTENDERS[name](*embeddings, SCALE), reference(*embeddings, SCALE), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_the_floor_does_all_four_products(embeddings: tuple[torch.Tensor, torch.Tensor]) -> None:
    q, k = embeddings
    _, dq, dk = bare_products(q, k, SCALE)
    torch.testing.assert_close(dq, q @ k.T @ k)
    torch.testing.assert_close(dk, k @ q.T @ q)


def test_the_precise_gradient_is_that_of_the_definition(
    embeddings: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.speed.losses.SCALE", SCALE)
    loss, gradient = precise(*embeddings)
    expected = reference(*embeddings, SCALE)
    assert loss == pytest.approx(expected[0].item())
    torch.testing.assert_close(gradient, expected[1])
