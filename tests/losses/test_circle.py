"""The gradient of the circle loss, whose weights are held."""

from __future__ import annotations

import math

import torch
from naive_losses import random_scores

from embedfit.losses import Circle
from embedfit.scores import Scores


def test_the_gradient_of_circle_takes_its_weights_for_constants() -> None:
    """With S the ratio inside log(1 + S): of a positive -S / (1 + S) a / t, of negatives their share of it times a."""
    scores, t, m = random_scores(4, 6, seed=2, several=False), 0.1, 0.25
    values = scores.values.clone().requires_grad_()
    Circle(t, m)(Scores(values, scores.positive, scores.candidate)).sum().backward()
    expected = torch.zeros_like(scores.values)
    for row in range(4):
        (own,) = scores.positive[row].nonzero()[:, 0].tolist()
        others = (scores.candidate[row] & ~scores.positive[row]).nonzero()[:, 0].tolist()
        p, ns = float(scores.values[row, own]), {j: float(scores.values[row, j]) for j in others}
        pull = max(0.0, 1 + m - p)
        push = {j: max(0.0, n + m) for j, n in ns.items()}
        terms = {j: math.exp((push[j] * (n - m) - pull * (p - 1 + m)) / t) for j, n in ns.items()}
        total = sum(terms.values())
        expected[row, own] = -total / (1 + total) * pull / t
        for j in others:
            expected[row, j] = terms[j] / (1 + total) * push[j] / t
    assert values.grad is not None
    torch.testing.assert_close(values.grad, expected, rtol=1e-6, atol=1e-9)
