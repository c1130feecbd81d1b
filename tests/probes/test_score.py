from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedfit.probes.score import in_batch_recall, masked_share, pair_z, similarity_summary
from embedfit.scores import Scores

HAND = Scores(
    values=torch.tensor([[0.9, 0.1, 0.95], [0.2, 0.3, 0.3], [0.4, -0.5, 0.6]]),
    positive=torch.eye(3, dtype=torch.bool),
    candidate=torch.tensor([[True, True, False], [True, True, True], [True, True, True]]),
)


def test_summary_leaves_out_positives_and_doubtful_cells_of_the_negatives():
    assert similarity_summary(HAND) == pytest.approx(
        {
            "positive/mean": (0.9 + 0.3 + 0.6) / 3,
            "positive/max": 0.9,
            "negative/mean": (0.1 + 0.2 + 0.3 + 0.4 - 0.5) / 5,
            "negative/max": 0.4,
        }
    )


def test_summary_of_a_batch_without_negatives_says_nothing_of_them():
    yes = torch.ones(2, 1, dtype=torch.bool)
    assert set(similarity_summary(Scores(torch.rand(2, 1), yes, yes))) == {"positive/mean", "positive/max"}


def test_a_tie_with_a_negative_is_a_miss():
    assert in_batch_recall(HAND) == pytest.approx(2 / 3)
    collapsed = Scores(torch.ones(4, 4), torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    assert in_batch_recall(collapsed) == 0.0


def test_queries_without_a_positive_are_not_judged():
    positive = HAND.positive.clone()
    positive[1] = False
    assert in_batch_recall(Scores(HAND.values, positive, HAND.candidate)) == 1.0
    assert math.isnan(in_batch_recall(Scores(HAND.values, positive & False, HAND.candidate)))


def test_masked_share_counts_cells_beside_the_positives():
    assert masked_share(HAND) == pytest.approx(1 / 6)


@given(st.integers(2, 5), st.integers(0, 99))
def test_pair_z_has_the_exact_deviation_over_all_permutations(n, seed):
    similarity = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    traces = [sum(float(similarity[i, p[i]]) for i in range(n)) for p in itertools.permutations(range(n))]
    mean = sum(traces) / len(traces)
    deviation = math.sqrt(sum((t - mean) ** 2 for t in traces) / len(traces))
    own = sum(float(similarity[i, i]) for i in range(n))
    assert pair_z(similarity) == pytest.approx((own - mean) / deviation, rel=1e-6)


def test_pair_z_sees_through_anisotropy_and_knows_the_sign():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(200, 16, generator=generator) + 3
    related = query + 2 * torch.randn(200, 16, generator=generator)
    unrelated = torch.randn(200, 16, generator=generator) + 3
    assert pair_z(query @ related.T) > 20
    assert pair_z(-(query @ related.T)) < -20
    assert abs(pair_z(query @ unrelated.T)) < 4


def test_pair_z_of_equal_similarities_is_no_signal():
    assert pair_z(torch.full((9, 9), 0.7)) == 0.0
    assert pair_z(torch.ones(1, 1)) == 0.0
