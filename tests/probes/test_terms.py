from __future__ import annotations

import torch

from embedfit.probes.terms import Terms


def heard(metric):
    with Terms() as terms:
        value = float(metric(torch.tensor([1, 3, 7, 2, 40])))
    return terms.kind(value)


def test_means_of_reciprocal_ranks_and_of_hits_are_told_apart():
    assert heard(lambda ranks: (1 / ranks).mean()) == "reciprocal rank"
    assert heard(lambda ranks: (ranks <= 10).float().mean()) == "share"


def test_a_metric_that_is_another_mean_has_no_kind():
    assert heard(lambda ranks: ranks.float().log().mean()) == ""
    assert heard(lambda ranks: (1 / ranks).mean() * 100) == ""
    assert heard(lambda ranks: (1 / ranks).sum() / 5) == ""
