from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.nn.functional import normalize

from embedfit.probes.step import coupled_rows, watch_update
from embedfit.probes.trace import Listener, anatomy

OWN = torch.arange(16)


def cosines(q, d):
    return normalize(q, dim=-1) @ normalize(d, dim=-1).T


def away(q, d):
    return (cosines(q, d) / 0.1).masked_fill(torch.arange(256).view(16, 16) % 7 == 3, -1e9)


def batch_cosines(q, d):
    return normalize(q, dim=0) @ normalize(d, dim=0).T


def softmax(scores, target=OWN):
    return F.cross_entropy(scores, target)


def hinges(q, d):
    return F.relu(0.5 - cosines(q, d).diag()[:, None] + cosines(q, d)).mean()


def sigmoid(q, d):
    return F.binary_cross_entropy_with_logits(cosines(q, d) * 10 - 10, torch.eye(16))


def together(q, d):
    both = torch.cat([q, d])
    return cosines(both, both).masked_fill(torch.eye(32, dtype=torch.bool), -1e9)


PAIRED = torch.cat([OWN + 16, OWN])
INFONCE = {"kind": "softmax", "scale": 20.0, "own_target": 1.0}
LOSSES = {
    "infonce": (lambda q, d: softmax(cosines(q, d) / 0.05), INFONCE),
    "distance as a score": (lambda q, d: softmax(torch.cdist(q, d)), {"similarity": "distance", "scale": 1.0}),
    "reversed": (lambda q, d: softmax(-cosines(q, d) / 0.05), {"scale": -20.0}),
    "dot products": (lambda q, d: softmax(q @ d.T), {"similarity": "dot", "scale": 1.0}),
    "other targets": (lambda q, d: softmax(cosines(q, d), OWN.roll(1)), {"own_target": 0.0}),
    "a masked softmax": (lambda q, d: softmax(away(q, d)), {"scale": 10.0, "candidates": 16 - 37 / 16}),
    "probabilities": (lambda q, d: softmax((cosines(q, d) / 0.05).softmax(-1)), {"probabilities": True}),
    "over the batch": (lambda q, d: softmax(batch_cosines(q, d)), {"similarity": "cosine over the batch"}),
    "a margin": (lambda q, d: softmax((cosines(q, d) - 0.3 * torch.eye(16)) * 20), {"margin": 0.3}),
    "both sides under each other": (
        lambda q, d: softmax(together(q, d) / 0.5, PAIRED),
        {"scale": 2.0, "own_target": 1.0},
    ),
    "a hinge": (hinges, {"kind": "hinge", "margin": 0.5}),
    "sigmoid": (sigmoid, {"kind": "sigmoid", "scale": 10.0}),
    "by hand": (lambda q, d: -(cosines(q, d) / 0.1).log_softmax(1).diag().mean(), {"scale": 10.0}),
    "triplet": (lambda q, d: F.triplet_margin_loss(q, d, d.roll(1, 0)), {"kind": "hinge"}),
    "regression": (lambda q, d: F.mse_loss(q, d), {"kind": "regression"}),
}


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(16, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_does_is_seen_from_outside(name, pair):
    loss, expected = LOSSES[name]
    with Listener() as listener:
        value = loss(*pair)
    found = anatomy(listener.calls, *pair)
    for key, wanted in expected.items():
        assert getattr(found, key) == (pytest.approx(wanted, rel=1e-3) if isinstance(wanted, float) else wanted)
    torch.testing.assert_close(value, loss(*pair))  # listening changes nothing


def test_rows_are_coupled_where_a_loss_knows_negatives_and_only_there(pair):
    assert coupled_rows(LOSSES["infonce"][0](*pair), *pair) == 1.0
    assert coupled_rows((1 - torch.cosine_similarity(*pair)).mean(), *pair) == 0.0
    assert coupled_rows(F.mse_loss(pair[0], pair[1].detach()), pair[0], pair[1].detach()) is None


def test_a_plain_update_is_seen_as_it_is_and_a_spoiled_one_as_spoiled(pair):
    def watched(spoil, before=None):
        model = torch.nn.Linear(8, 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.weight.grad = before

        def update(loss):
            if before is None:
                optimizer.zero_grad()
            loss.backward()
            spoil(model)
            optimizer.step()

        x = pair[0].detach()
        return watch_update(model, optimizer, (model(x) ** 2).mean(), update)

    good = watched(lambda model: None)
    assert (good.alignment, good.ratio) == (pytest.approx(1), pytest.approx(1))
    assert (good.lost, good.steps, good.unmoved) == (0, 1, ())
    stale = watched(lambda model: None, before=torch.randn(4, 8, generator=torch.Generator().manual_seed(1)))
    assert stale.alignment < 0.9
    lost = watched(lambda model: model.weight.grad.mul_(0))
    assert lost.lost > 0.8
    assert "weight" in lost.unmoved
