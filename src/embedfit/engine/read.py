"""The few readings taken of a training step."""

from __future__ import annotations

__all__ = ["read_step"]

import torch

from embedfit.engine.step import Step
from embedfit.probes import embedding, gradient, score


def read_step(step: Step, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """Readings of one step, after the optimiser moved."""
    readings = {
        "update_ratio": gradient.adam_update_ratio(optimiser),
        "query/effective_rank": embedding.rank_share(step.query),
        "query/mean_direction": embedding.mean_direction(step.query),
    }
    if step.batch.target is None:
        summary = score.similarity_summary(step.scores)
        readings |= {k: summary[k] for k in ("positive/mean", "negative/mean", "negative/max") if k in summary}
        readings["in_batch/recall@1"] = score.in_batch_recall(step.scores)
    return readings
