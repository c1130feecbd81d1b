"""Evaluation on held-out rows: retrieval, standard questions, grades, thresholds, baselines, comparison, search index.

Heavy libraries (faiss, scikit-learn) are imported by the functions that need them.
"""

from __future__ import annotations

from embedfit.evaluate.binary import evaluate_binary, is_binary
from embedfit.evaluate.compare import Comparison, compare
from embedfit.evaluate.evaluation import Evaluation
from embedfit.evaluate.held_out import evaluate, evaluate_bare, main_metric
from embedfit.evaluate.matchers import compare_scorers

__all__ = [
    "Comparison",
    "Evaluation",
    "compare",
    "compare_scorers",
    "evaluate",
    "evaluate_bare",
    "evaluate_binary",
    "is_binary",
    "main_metric",
]
