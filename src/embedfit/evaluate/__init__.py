"""Evaluation on held-out rows: retrieval, standard questions, grades, thresholds, baselines, comparison, search index.

Heavy libraries (faiss, scikit-learn) are imported by the functions that need them.
"""

from __future__ import annotations

from embedfit.evaluate.compare import compare
from embedfit.evaluate.held_out import Evaluation, evaluate, evaluate_bare, main_metric

__all__ = ["Evaluation", "compare", "evaluate", "evaluate_bare", "main_metric"]
