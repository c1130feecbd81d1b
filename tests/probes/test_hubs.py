"""Hubs and popularity, planted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import skew
from torch.nn.functional import normalize

from embedfit.probes.hubs import (
    evened,
    isotropic_skewness,
    neighbour_skewness,
    reciprocal_rank,
    with_popularity,
)

G = torch.Generator().manual_seed(0)
OWN = torch.arange(200) % 150


def cloud(rows: int, width: int = 32) -> torch.Tensor:
    return normalize(torch.randn(rows, width, generator=G), dim=-1)


def pairs(hub: float = 0.0) -> torch.Tensor:
    document = cloud(150)
    query = normalize(document[OWN] + 0.22 * torch.randn(200, 32, generator=G) + hub * document[:1], dim=-1)
    return query @ document.T


def test_ranks_are_those_of_a_sorted_list() -> None:
    scores = pairs()
    ranks = [1 + sorted(row, reverse=True).index(row[o]) for row, o in zip(scores.tolist(), OWN.tolist(), strict=True)]
    torch.testing.assert_close(reciprocal_rank(scores, OWN), 1 / torch.tensor(ranks, dtype=torch.float32))


def test_the_skewness_is_that_of_a_count_by_hand_and_own_documents_do_not_count() -> None:
    scores = pairs(hub=0.5)
    count = np.zeros(150)
    for row, own in zip(scores.numpy(), OWN.tolist(), strict=True):
        for j in [j for j in np.argsort(-row) if j != own][:10]:
            count[j] += 1
    assert neighbour_skewness(scores, OWN) == pytest.approx(float(skew(count)))
    popular = scores.clone()
    popular[:, 0] = 2.0  # everybody's nearest: a hub, unless it is everybody's own
    assert neighbour_skewness(popular, torch.zeros(200, dtype=torch.long)) < 0.5 * neighbour_skewness(popular, OWN)


def test_even_directions_have_a_skewness_of_their_own() -> None:
    drawn = [neighbour_skewness(cloud(256) @ cloud(256).T, torch.arange(256)) for _ in range(20)]
    assert isotropic_skewness(256, 256, 32) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 4)


def test_hubs_are_evened_out_and_without_hubs_nothing_is_won() -> None:
    scores, crowded = pairs(), pairs()
    crowded[:, :8] += 0.35  # some documents are near to everybody
    assert neighbour_skewness(crowded, OWN) > 2 * neighbour_skewness(scores, OWN)
    with_hubs, without = evened(crowded, OWN), evened(scores, OWN)
    assert with_hubs.after > 1.1 * with_hubs.before
    assert with_hubs.z > 4
    assert abs(without.after / without.before - 1) < 0.05


@pytest.mark.parametrize(("sign", "gains"), [(-1.0, True), (0.0, True), (1.0, False)])
def test_what_scores_lack_of_popularity_is_won_back(sign: float, gains: bool) -> None:
    g = torch.Generator().manual_seed(1)
    fame = (1 + torch.arange(300)).float().pow(-1.0)
    own = torch.multinomial(fame, 400, replacement=True, generator=g)
    taste = torch.randn(400, 300, generator=g).scatter_add(1, own[:, None], torch.full((400, 1), 2.0))
    scores = 2 * taste + sign * fame.log()  # what a softmax over all documents learns, or lacks, or has twice reversed
    found = with_popularity(scores, own, 1000 * fame)
    assert (found.after > 1.15 * found.before and found.z > 3) is gains
    if not gains:
        assert abs(found.z) < 3


def test_a_weight_that_is_only_luck_wins_nothing() -> None:
    g = torch.Generator().manual_seed(2)
    zs = []
    for _ in range(40):
        scores = torch.randn(100, 60, generator=g)
        own = torch.randint(60, (100,), generator=g)
        zs.append(with_popularity(scores, own, torch.rand(60, generator=g) * 100).z)
    assert abs(float(np.mean(zs))) < 0.6
    assert max(zs) < 4
