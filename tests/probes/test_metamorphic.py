"""Losses as they are written in public code, told apart by what they ask for."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.nn.functional import normalize

from embedfit.probes.metamorphic import Replay, demands

N, E = 32, 24


def cosines(q, d):
    return normalize(q, dim=-1) @ normalize(d, dim=-1).T


def softmax(q, d):
    return F.cross_entropy(cosines(q, d) / 0.05, torch.arange(N))


def by_hand(q, d):
    rivals = torch.stack([d.roll(k + 1, 0) for k in range(4)], 1)
    scores = F.cosine_similarity(q[:, None], torch.cat([d[:, None], rivals], 1), dim=-1)
    return -torch.log(torch.softmax(scores, 1)[:, 0]).mean()


def reversed_(q, d):
    return F.cross_entropy(-cosines(q, d) / 0.05, torch.arange(N))


def neighbours(q, d):
    return F.cross_entropy(cosines(q, d) / 0.05, torch.arange(N).roll(1))


def over_the_batch(q, d):
    return F.cross_entropy(normalize(q, dim=0) @ normalize(d, dim=0).T / 0.5, torch.arange(N))


def positives(q, d):
    return (1 - F.cosine_similarity(q, d)).mean()


def nearly_positives(q, d):
    return positives(q, d) + 0.001 * softmax(q, d)


def hardest(q, d):
    distance = torch.cdist(q, d)
    rival = (distance + 1e6 * torch.eye(N)).min(1).values
    return F.relu(distance.diagonal() - rival + 0.5).mean()


def squashed(q, d):
    near, far = (torch.sigmoid((q - other).pow(2).sum(-1)) for other in (d, d.roll(1, 0)))
    return F.relu(near - far + 1.0).mean()


def together(q, d):
    unit = normalize(q, dim=-1)
    return softmax(q, d) + 50 * (unit - unit.mean(0)).pow(2).sum(-1).mean()


def one_candidate(q, d):
    scores = (normalize(q, dim=1)[:, None] * normalize(d, dim=1)[:, None]).sum(-1)
    return F.cross_entropy(scores, torch.zeros(N, dtype=torch.long))


def asked(loss, *, duplicates: bool = False):
    torch.manual_seed(0)
    x, towers = torch.randn(2, N, E), torch.nn.ModuleList([torch.nn.Linear(E, E) for _ in range(2)])
    if duplicates:
        x[1, 1::2] = x[1, ::2]

    def step():
        q, d = towers[0](x[0]), towers[1](x[1])
        return {"query": q, "document": d, "loss": loss(q, d)}

    return demands(Replay(step))


def test_a_healthy_softmax_wants_its_pairs_and_nothing_odd():
    found = asked(softmax)
    assert found.form == "softmax"
    assert found.ideal < 0.1 < found.collapsed < found.wrong
    assert found.collapsed == pytest.approx(math.log(N), abs=1e-4)
    assert found.scale_free
    assert found.row_free
    assert found.own_pull == 1
    assert found.other_pull == 0
    assert not found.constant


def test_the_loss_of_equal_embeddings_counts_the_candidates_of_a_softmax_made_by_hand():
    found = asked(by_hand)
    assert math.exp(found.collapsed) == pytest.approx(5, abs=1e-4)
    assert found.ideal > 0.5 * found.collapsed  # no temperature: even ideal embeddings leave half of it
    assert found.form == "softmax"


def test_a_reversed_sign_pushes_queries_from_their_documents():
    found = asked(reversed_)
    assert found.own_pull == 0
    assert found.ideal > found.wrong


def test_a_wrong_target_pulls_to_one_other_document():
    found = asked(neighbours)
    assert found.other_pull == 1


def test_normalising_over_the_batch_lets_one_row_change_the_others():
    found = asked(over_the_batch)
    assert found.scale_free
    assert not found.row_free


@pytest.mark.parametrize("loss", [positives, nearly_positives])
def test_without_negatives_collapse_costs_next_to_nothing(loss):
    found = asked(loss)
    assert found.collapsed - found.ideal < 0.01 * (found.wrong - found.ideal)
    assert found.own_only > 0.95
    assert asked(softmax).own_only < 0.95


def test_the_hardest_rival_alone_is_seen():
    found = asked(hardest)
    assert found.form == "hinge"
    assert found.one_rival * found.hardest > 0.9
    assert asked(softmax).one_rival < 0.2


def test_a_margin_behind_a_sigmoid_cannot_be_reached_at_any_length():
    found = asked(squashed)
    assert found.ideal > 0.4 * found.collapsed
    assert asked(hardest).ideal < 0.2 * asked(hardest).collapsed


def test_a_term_that_pulls_everything_together_rewards_collapse():
    found = asked(together)
    assert found.collapsed < found.ideal < found.wrong


def test_one_candidate_is_the_same_whatever_the_embeddings():
    assert asked(one_candidate).constant


def test_equal_documents_that_are_negatives_of_each_other_leave_a_floor():
    found = asked(softmax, duplicates=True)
    assert found.ideal == pytest.approx(math.log(2), abs=0.05)
    assert found.apart < 0.1


def test_embeddings_of_our_choice_give_the_loss_they_would_have_had():
    torch.manual_seed(3)
    x, tower = torch.randn(N, E), torch.nn.Linear(E, E)

    def step():
        anchor, positive, negative = tower(x), tower(x.roll(1, 0)), tower(x.roll(2, 0))
        loss = F.triplet_margin_loss(anchor, positive, negative)
        return {"query": anchor, "document": torch.cat([positive, negative]), "loss": loss}

    replay = Replay(step)
    q, d = torch.randn(N, E), torch.randn(2 * N, E)
    expected = F.triplet_margin_loss(q, d[:N], d[N:])
    torch.testing.assert_close(replay(q, d), expected)
    leaf = q.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(replay(leaf, d), leaf)
    twin = q.clone().requires_grad_(True)
    (true,) = torch.autograd.grad(F.triplet_margin_loss(twin, d[:N], d[N:]), twin)
    torch.testing.assert_close(slope, true)


def test_embeddings_joined_from_features_are_replayed_whole():
    torch.manual_seed(3)
    x, halves = torch.randn(N, E), torch.nn.ModuleList([torch.nn.Linear(E, E // 2) for _ in range(2)])

    def step():
        q, d = (torch.cat([half(y) for half in halves], dim=1) for y in (x, x.roll(1, 0)))
        return {"query": q, "document": d, "loss": softmax(q, d)}

    q, d = torch.randn(2, N, E)
    torch.testing.assert_close(Replay(step)(q, d), softmax(q, d))


def test_a_step_whose_loss_uses_other_tensors_is_refused():
    x = torch.randn(N, E)
    with pytest.raises(ValueError, match="uses its embeddings"):
        Replay(lambda: {"query": torch.as_tensor(x.numpy()), "document": torch.as_tensor(x.numpy()), "loss": x.sum()})


def test_random_numbers_and_functions_of_torch_are_as_before():
    tower, x = torch.nn.Linear(E, E), torch.randn(N, E)
    before, functions = torch.get_rng_state(), (F.cross_entropy, F.normalize)

    def step():
        q = F.dropout(tower(x), 0.5)
        return {"query": q, "document": tower(x), "loss": softmax(q, tower(x.roll(1, 0)))}

    demands(Replay(step))
    assert functions == (F.cross_entropy, F.normalize)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("length", [0.2, 1.0, 5.0])
def test_equal_pairs_are_as_long_as_their_targets_where_a_loss_goes_by_distance(length):
    torch.manual_seed(0)
    weights, targets = torch.randn(N, E, requires_grad=True), normalize(torch.randn(N, E), dim=-1)

    def step():
        query = length * normalize(weights, dim=-1)
        return {"query": query, "document": targets, "loss": F.mse_loss(query, targets)}

    found = demands(Replay(step))
    assert found.ideal == pytest.approx(0.0, abs=1e-6)
    assert found.collapsed == pytest.approx(0.0, abs=1e-6)
    assert found.wrong > 0.5 / E
