"""Metrics from ranks and scores, their chance levels and their intervals. Plain numpy, float64."""

from __future__ import annotations

from embedfit.metrics.agreement import accuracy, f1, pearson, spearman
from embedfit.metrics.bootstrap import (
    Interval,
    bootstrap_mean,
    bootstrap_pearson,
    bootstrap_spearman,
    paired_mean,
    paired_spearman,
)
from embedfit.metrics.ranking import (
    NEVER,
    Ranking,
    average_precision,
    chance,
    hit,
    join,
    measure,
    ndcg,
    rank,
    recall,
    reciprocal_rank,
)

__all__ = [
    "NEVER",
    "Interval",
    "Ranking",
    "accuracy",
    "average_precision",
    "bootstrap_mean",
    "bootstrap_pearson",
    "bootstrap_spearman",
    "chance",
    "f1",
    "hit",
    "join",
    "measure",
    "ndcg",
    "paired_mean",
    "paired_spearman",
    "pearson",
    "rank",
    "recall",
    "reciprocal_rank",
    "spearman",
]
