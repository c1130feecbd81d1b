"""What the similarities of a batch say: how far positives stand out, and how many cells the identities took out.

Axes: q queries, k candidate documents of each query.
"""

from __future__ import annotations

__all__ = ["in_batch_recall", "masked_share", "outlook", "pair_z", "similarity_summary"]

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.scores import Doubtful, Scores, marked, units


@torch.no_grad()
def similarity_summary(scores: Scores) -> dict[str, float]:
    """Mean and highest similarity of positives and of certain negatives.

    Returns:
        `positive/mean`, `positive/max`, `negative/mean`, `negative/max`; without a negative in the batch, only the
        first two (a batch without positives gives neither).
    """
    readings = {}
    for name, cells in (("positive", scores.positive), ("negative", scores.candidate & ~scores.positive)):
        values = scores.values[cells]
        if values.numel():
            readings[f"{name}/mean"] = float(values.double().mean())
            readings[f"{name}/max"] = float(values.max())
    return readings


@torch.no_grad()
def in_batch_recall(scores: Scores) -> float:
    """Share of queries whose best positive scores strictly above every negative; a tie is a miss.

    Collapsed embeddings tie everywhere and would look perfect if a tie were a hit.

    Returns:
        Recall@1 over the queries that have a positive; nan without any.
    """
    positive = scores.values.masked_fill(~scores.positive, -torch.inf).amax(-1)
    rival = scores.values.masked_fill(scores.positive | ~scores.candidate, -torch.inf).amax(-1)
    judged = scores.positive.any(-1)
    return float((positive > rival)[judged].double().mean()) if bool(judged.any()) else float("nan")


@torch.no_grad()
def outlook(
    query: Float[Tensor, "q e"],
    document: Float[Tensor, "d e"],
    positive: Int[Tensor, " q"],
    doubtful: Doubtful | None = None,
    block: int = 1024,
) -> dict[str, float]:
    """How far the positives of a batch stand out, block by block of its queries.

    Args:
        query: embeddings of the queries, of any length.
        document: embeddings of the documents.
        positive: position among the documents of each query's own positive.
        doubtful: cells that are no certain negatives.
        block: queries looked at together.

    Returns:
        `positive/mean`, `in_batch/recall@1`, and where there is a certain negative `negative/mean`, `negative/max`.
    """
    unit_q, unit_d = units(query), units(document)
    own = sum_of = count = hits = 0.0
    highest = -float("inf")
    for start in range(0, len(unit_q), block):
        rows = slice(start, start + block)
        scores = marked(unit_q[rows] @ unit_d.T, positive[rows], doubtful, start)
        summary = similarity_summary(scores)
        part = len(scores.values)
        negatives = float((scores.candidate & ~scores.positive).sum())
        own += part * summary["positive/mean"]
        hits += part * in_batch_recall(scores)
        if negatives:
            sum_of, count = sum_of + negatives * summary["negative/mean"], count + negatives
            highest = max(highest, summary["negative/max"])
    found = {"positive/mean": own / len(unit_q), "in_batch/recall@1": hits / len(unit_q)}
    return found | ({"negative/mean": sum_of / count, "negative/max": highest} if count else {})


@torch.no_grad()
def pair_z(similarity: Float[Tensor, "n n"]) -> float:
    """How far the similarity of the pairs stands out from chance, in standard deviations.

    With R the similarities less their row and column means, z = sum_i R_ii / sqrt(sum_ij R_ij^2 / (n - 1)): the root is
    the exact standard deviation over all ways to pair rows with columns, so that anisotropy and hub documents cancel.
    Strongly negative: the similarity is upside down.

    Args:
        similarity: query i against document j; document i belongs to query i.

    Returns:
        z; 0 mean and 1 standard deviation for pairs without relation. 0 where all similarities are alike.

    References:
        Hoeffding 1951, "A combinatorial central limit theorem", theorem 2 (mean and variance).
    """
    n = similarity.shape[0]
    exact = similarity.double()
    residual = exact - exact.mean(0) - exact.mean(1, keepdim=True) + exact.mean()
    spread = residual.square().sum()
    # what rounding leaves of constant similarities is no signal
    if n < 2 or spread <= (1e-7 * n) ** 2 * exact.abs().max() ** 2:
        return 0.0
    return float(residual.diagonal().sum() / (spread / (n - 1)).sqrt())


@torch.no_grad()
def masked_share(scores: Scores) -> float:
    """Share of the cells beside the positives that the identities took out as false or doubtful negatives."""
    others = ~scores.positive
    return float((others & ~scores.candidate).sum() / others.sum().clamp(min=1))
