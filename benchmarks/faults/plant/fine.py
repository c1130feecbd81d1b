"""Programs that look odd and are fine: what a doctor must not cry about."""

from __future__ import annotations

__all__ = ["FINE", "Fine"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.faults.parts import Data, Parts, Picked
from benchmarks.faults.plant import loss as losses
from benchmarks.faults.plant import optim as optims
from benchmarks.faults.plant import rows

Loss = Callable[[Tensor, Tensor, Picked, Any], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fine:
    """A change that does no harm.

    Attributes:
        name: one of ours.
        plant: makes it.
        needs: traits that a world must have.
        honest: the data are harder for everybody: the metric is lower, and nothing can be done about it in the program.
    """

    name: str
    plant: Callable[[Parts], Parts]
    needs: tuple[str, ...] = ()
    honest: bool = False

    def fits(self, parts: Parts) -> bool:
        """Whether this world can have the change."""
        return all(set(need.split("|")) & parts.traits for need in self.needs)


def _triplets(parts: Parts) -> Parts:
    """Batch-hard triplets on the sphere, with a small margin: works, and the loss stays near its margin for long."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        cosine = F.normalize(query, dim=-1) @ F.normalize(document[: len(query)], dim=-1).T
        same = batch.document_id[: len(query), None] == batch.document_id[None, : len(query)]
        hardest = cosine.masked_fill(same, -2).topk(4, dim=1).values.mean(1)
        return F.softplus((hardest - cosine.diagonal()) * 15).mean()

    return replace(parts, loss=loss)


def _double_softmax(parts: Parts) -> Parts:
    """A softmax before the cross-entropy's own: odd, its loss cannot reach zero, and often it ranks as well."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        scores = F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T / 0.05
        same = batch.document_id[: len(query), None] == batch.document_id[None, :]
        same.fill_diagonal_(False)
        return F.cross_entropy(scores.masked_fill(same, -1e4).softmax(-1), torch.arange(len(query)))

    return replace(parts, loss=loss)


def _smoothed(parts: Parts) -> Parts:
    """Label smoothing: a loss that cannot come near zero."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        scores = F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T / 0.1
        return F.cross_entropy(scores, torch.arange(len(query)), label_smoothing=0.2)

    return replace(parts, loss=loss)


def _summed(parts: Parts) -> Parts:
    """The loss is a sum over the batch, far above the logarithm of the candidates; Adam does not mind."""
    return replace(parts, loss=lambda q, d, b, m, whole=parts.loss: whole(q, d, b, m) * len(q), clip=None)


def _sgd(parts: Parts) -> Parts:
    """SGD with momentum and a rate that suits it."""
    return replace(
        parts,
        clip=None,
        optimizer=lambda model: torch.optim.SGD(
            [w for w in model.parameters() if w.requires_grad],
            lr=5.0 if "teacher" not in parts.traits else 1.0,
            momentum=0.9,
        ),
    )


def _hard_rows(share: float) -> Callable[[Parts], Parts]:
    """Held-out and training questions alike lose part of their content: hard, but honest."""

    def change(parts: Parts) -> Parts:
        def thinner(x: Tensor) -> Tensor:
            g = torch.Generator().manual_seed(3)
            lost = torch.rand(x.shape, generator=g) < share
            return (
                x.masked_fill(lost, 0)
                if x.dtype == torch.float
                else x.masked_fill(lost & (x > 0), 1 if parts.traits & {"text"} else 0)
            )

        data = parts.data
        return replace(
            parts,
            data=replace(data, queries=thinner(data.queries), held_queries=thinner(data.held_queries)),
        )

    return change


def _unsorted_topics(parts: Parts) -> Parts:
    """Half of the batches come from one topic each, on purpose: harder negatives."""

    def order(data: Data, size: int, g: torch.Generator, before=parts.order) -> Tensor:  # type: ignore[no-untyped-def]
        mixed = before(data, size, g)
        noise = torch.rand(len(data.group), generator=g)
        tight = torch.argsort(data.group.float() + 4 * noise)
        tight = tight[: len(tight) // size * size].view(-1, size)
        both = torch.cat([mixed, tight[torch.randperm(len(tight), generator=g)[: len(tight) // 2]]])
        return both[torch.randperm(len(both), generator=g)]

    return replace(parts, order=order)


def _accumulated(parts: Parts) -> Parts:
    """Two batches per step, and zero_grad where it belongs."""
    return replace(parts, zero_every=2, step_every=2, steps=parts.steps * 2)


def _offset(parts: Parts) -> Parts:
    """A learned scale, started where it should be and free of decay."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        model.register_parameter("logit_scale", nn.Parameter(torch.tensor(2.66)))
        return model

    def optimizer(model: Any, before: Callable[[Any], Optimizer] = parts.optimizer) -> Optimizer:
        found = before(model)
        for group in found.param_groups:
            group["params"] = [w for w in group["params"] if w is not model.logit_scale]
        found.add_param_group({"params": [model.logit_scale], "weight_decay": 0.0, "lr": 1e-3})
        return found

    def loss(query: Tensor, document: Tensor, batch: Picked, model: Any) -> Tensor:
        scores = model.logit_scale.exp() * F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T
        same = batch.document_id[: len(query), None] == batch.document_id[None, :]
        same.fill_diagonal_(False)
        return F.cross_entropy(scores.masked_fill(same, -1e4), torch.arange(len(query)))

    return replace(parts, network=network, optimizer=optimizer, loss=loss)


def _bf16(parts: Parts) -> Parts:
    """Towers under autocast to bfloat16, the loss in fp32."""

    def inside(embed: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
        def cast(model: Any, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = embed(model, x)
            return out.float()

        return cast

    return replace(parts, query=inside(parts.query), document=inside(parts.document))


FINE: dict[str, Fine] = {
    fine.name: fine
    for fine in (
        Fine(name="rate halved", plant=lambda p: optims.rate(p, 0.5)),
        Fine(name="rate doubled", plant=lambda p: optims.rate(p, 2.0)),
        Fine(name="rate times three", plant=lambda p: optims.rate(p, 3.0)),
        Fine(name="temperature .03", plant=lambda p: losses.hot(p, 0.03), needs=("contrastive", "text|vectors")),
        Fine(name="temperature .2", plant=lambda p: losses.hot(p, 0.2), needs=("contrastive", "text|vectors")),
        Fine(name="little decay", plant=lambda p: optims.decay(p, 0.1)),
        Fine(name="dropout .1", plant=lambda p: optims.dropout(p, 0.1)),
        Fine(name="clipped at .5", plant=lambda p: replace(p, clip=0.5)),
        Fine(name="clipped at .05 under Adam", plant=lambda p: replace(p, clip=0.05)),
        Fine(name="hard triplets that work", plant=_triplets, needs=("contrastive", "text|vectors")),
        Fine(name="softmax twice", plant=_double_softmax, needs=("contrastive", "text|vectors")),
        Fine(name="label smoothing", plant=_smoothed, needs=("contrastive", "text|vectors")),
        Fine(name="summed loss", plant=_summed),
        Fine(name="SGD that suits", plant=_sgd, needs=("scratch",)),
        Fine(name="hard but honest", plant=_hard_rows(0.4), honest=True),
        Fine(name="very hard but honest", plant=_hard_rows(0.7), honest=True),
        Fine(name="some tight batches", plant=_unsorted_topics),
        Fine(name="accumulated properly", plant=_accumulated),
        Fine(name="learned scale started right", plant=_offset, needs=("contrastive", "text|vectors")),
        Fine(name="bfloat16 towers", plant=_bf16),
        Fine(name="a few wrong labels", plant=lambda p: rows.wrong_labels(p, 0.05), honest=True),
        Fine(name="small batches", plant=lambda p: replace(p, batch_size=max(8, p.batch_size // 2))),
        Fine(name="nothing changed", plant=lambda p: p),
    )
}  # fmt: skip
