"""The symmetric contrastive loss as it is computed elsewhere, and its four bare matrix products.

Every contender takes embeddings q and k of equal number and a scale (1 / temperature). It returns the mean loss of the
two directions over the cosines times the scale, and its gradients by q and by k, the normalisation included.

Axes: n pairs, e dimensions.
"""

from __future__ import annotations

__all__ = ["CONTENDERS", "bare_products", "cached_mnrl", "dense", "linear_cross_entropy", "metric_learning", "ours"]

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Result = tuple[Tensor, Tensor, Tensor]
Contender = Callable[[Tensor, Tensor, float], Result]

BLOCK = 512
MINI_BATCH = 512  # of sentence-transformers' cached loss; its default of 32 takes four times as long


def _differentiated(q: Tensor, k: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Result:
    q, k = q.detach().requires_grad_(), k.detach().requires_grad_()
    loss = loss_of(q, k)
    loss.backward()
    assert q.grad is not None
    assert k.grad is not None
    return loss.detach(), q.grad, k.grad


def ours(q: Tensor, k: Tensor, scale: float) -> Result:
    """embedfit's engine: the one place that names it. Without `embedfit.engine.contrast` there is no row of losses."""
    from embedfit.engine.contrast import contrast
    from embedfit.engine.pairing import Pairing
    from embedfit.losses import InfoNCE, Symmetric

    n = len(q)
    pairing = Pairing(positive=torch.arange(n), weight=torch.ones(n), queries=[n], documents=[n])
    found = contrast(q, k, Symmetric(InfoNCE(1 / scale)), pairing)
    return torch.tensor(found.value), found.query, found.document


def dense(q: Tensor, k: Tensor, scale: float) -> Result:
    """torch's cross-entropy over the whole matrix, once by rows and once by columns, as CLIP prints it."""

    def loss_of(q: Tensor, k: Tensor) -> Tensor:
        logits = scale * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).T
        target = torch.arange(len(q))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    return _differentiated(q, k, loss_of)


def linear_cross_entropy(q: Tensor, k: Tensor, scale: float) -> Result:
    """Two calls of torch's chunked loss, one for each direction.

    Without its options it is a plain product and cross-entropy over the whole matrix.
    """
    options = torch.nn.LinearCrossEntropyOptions()

    def loss_of(q: Tensor, k: Tensor) -> Tensor:
        q, k, target = F.normalize(q, dim=-1), F.normalize(k, dim=-1), torch.arange(len(q))
        there = F.linear_cross_entropy(scale * q, k, target, options=options)
        back = F.linear_cross_entropy(scale * k, q, target, options=options)
        return (there + back) / 2

    return _differentiated(q, k, loss_of)


def metric_learning(q: Tensor, k: Tensor, scale: float) -> Result:
    """pytorch-metric-learning's NTXentLoss, one call for each direction."""
    from pytorch_metric_learning.losses import NTXentLoss

    loss = NTXentLoss(temperature=1 / scale)
    label, other = torch.arange(len(q)), torch.arange(len(q))  # the same tensor twice would mean the same embeddings

    def loss_of(q: Tensor, k: Tensor) -> Tensor:
        there = loss(q, label, ref_emb=k, ref_labels=other)
        return (there + loss(k, label, ref_emb=q, ref_labels=other)) / 2

    return _differentiated(q, k, loss_of)


def cached_mnrl(q: Tensor, k: Tensor, scale: float) -> Result:
    """The score part of sentence-transformers' CachedMultipleNegativesRankingLoss, which has no use for its model."""
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    loss = CachedMultipleNegativesRankingLoss(
        torch.nn.Sequential(torch.nn.Identity()),
        scale=scale,
        mini_batch_size=MINI_BATCH,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    q, k = q.detach().requires_grad_(), k.detach().requires_grad_()
    value = loss.calculate_loss([[q], [k]], with_backward=True)
    assert q.grad is not None
    assert k.grad is not None
    return value, q.grad, k.grad


def bare_products(q: Tensor, k: Tensor, scale: float) -> Result:
    """The four matrix products that both directions take without holding the matrix, and nothing else: the floor.

    Scores for the log-sum-exps, scores again for the gradient, and one product for each side. What it returns is no
    loss and no gradient.
    """
    dq, dk = torch.empty_like(q), torch.zeros_like(k)
    scores = torch.empty(BLOCK, len(k))
    for first in range(0, len(q), BLOCK):
        block = q[first : first + BLOCK]
        out = scores[: len(block)]
        torch.mm(block, k.T, out=out)
        torch.mm(block, k.T, out=out)
        torch.mm(out, k, out=dq[first : first + BLOCK])
        dk.addmm_(out.T, block)
    return torch.tensor(scale), dq, dk


CONTENDERS: Mapping[str, Contender] = {
    "ours": ours,
    "dense": dense,
    "linear_cross_entropy": linear_cross_entropy,
    "metric_learning": metric_learning,
    "cached_mnrl": cached_mnrl,
    "bare_products": bare_products,
}
