"""The few readings taken of a training step."""

from __future__ import annotations

__all__ = ["read_step"]

from embedfit.engine.step import Step
from embedfit.optim import Optimiser
from embedfit.probes import embedding, score


def read_step(step: Step, optimiser: Optimiser) -> dict[str, float]:
    """Readings of one step, after the optimiser moved."""
    readings = {
        "update_ratio": _update_ratio(optimiser),
        "query/effective_rank": embedding.rank_share(step.query),
        "query/mean_direction": embedding.mean_direction(step.query),
        "query/spread": embedding.collapse_gauge(step.query),
    }
    if step.batch.target is None:
        readings |= score.outlook(step.query, step.document, step.pairing.positive, step.pairing.doubtful)
    return readings


def _update_ratio(optimiser: Optimiser) -> float:
    """Norm of the last update over the norm of what it moved; of tables, the rows that the step touched."""
    return (optimiser.moved / optimiser.size) ** 0.5 if optimiser.size else 0.0
