"""Metrics from ranks and scores, their chance levels and their intervals. Plain numpy, float64."""

from __future__ import annotations

from embedfit.metrics.agreement import accuracy, f1, pearson, spearman
from embedfit.metrics.bootstrap import (
    Interval,
    bootstrap_mean,
    bootstrap_pearson,
    bootstrap_spearman,
    bootstrap_statistic,
    paired_mean,
    paired_spearman,
    paired_statistics,
)
from embedfit.metrics.decisions import average_precision_of, f1_of
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
    "average_precision_of",
    "bootstrap_mean",
    "bootstrap_pearson",
    "bootstrap_spearman",
    "bootstrap_statistic",
    "chance",
    "f1",
    "f1_of",
    "hit",
    "join",
    "measure",
    "ndcg",
    "paired_mean",
    "paired_spearman",
    "paired_statistics",
    "pearson",
    "rank",
    "recall",
    "reciprocal_rank",
    "spearman",
]
