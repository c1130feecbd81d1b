"""Users and items by id, with a popularity tail, as recommenders have them. The logs are made, not recorded."""

from __future__ import annotations

__all__ = ["feed", "shop"]

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.faults.parts import Data, Parts, Picked, recall_at_10


def log(*, items: int, rows: int, held: int, history: int, tail: float, sharpness: float, seed: int) -> Data:
    """Users with a taste pick items by taste and popularity; the last pick is to be foretold from those before it.

    Args:
        items: in the shop.
        rows: training sequences.
        held: held-out sequences.
        history: picks before the one to foretell.
        tail: exponent of the popularity, 1 is Zipf's law.
        sharpness: how much taste counts against popularity.
        seed: of the world.
    """
    g = torch.Generator().manual_seed(seed)
    kinds = 24
    centre = torch.randn(kinds, 12, generator=g)
    kind = torch.randint(kinds, (items,), generator=g)
    place = centre[kind] + 0.5 * torch.randn(items, 12, generator=g)
    fame = -tail * torch.log(torch.arange(1, items + 1).float())[torch.randperm(items, generator=g)]
    users = rows + held
    taste = centre[torch.randint(kinds, (users,), generator=g)] + 0.5 * torch.randn(users, 12, generator=g)
    logits = sharpness * taste @ place.T / 12**0.5 + fame
    drawn = torch.multinomial(logits.softmax(-1), history + 1, generator=g) + 1  # 0 pads
    seen, wanted = drawn[:, :history], drawn[:, history] - 1
    length = torch.randint(2, history + 1, (users, 1), generator=g)
    seen = seen.masked_fill(torch.arange(history) >= length, 0)
    documents = torch.stack([torch.arange(items) + 1, kind + 1], 1)
    return Data(
        queries=seen[:rows],
        documents=documents,
        pair=wanted[:rows],
        group=kind[wanted[:rows]],
        held_queries=seen[rows:],
        held_documents=documents,
        held_pair=wanted[rows:],
    )


class TwoTowers(nn.Module):
    """History to user vector; item id and category to item vector."""

    def __init__(self, items: int, width: int = 48) -> None:
        super().__init__()
        self.user = nn.ModuleDict(
            {
                "history": nn.Embedding(items + 1, width, padding_idx=0),
                "net": nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)),
            }
        )
        self.item = nn.ModuleDict(
            {
                "id": nn.Embedding(items + 1, width, padding_idx=0),
                "kind": nn.Embedding(64, width),
                "net": nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)),
            }
        )

    def embed_user(self, history: Tensor) -> Tensor:
        mask = (history > 0).unsqueeze(-1).float()
        mean: Tensor = (self.user["history"](history) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.user["net"](mean)

    def embed_item(self, item: Tensor) -> Tensor:
        return self.item["net"](torch.cat([self.item["id"](item[:, 0]), self.item["kind"](item[:, 1])], -1))


def frequency(data: Data) -> Tensor:
    """Share of training rows that each item has, as a batch meets it."""
    return (torch.bincount(data.pair, minlength=len(data.documents)) + 1.0) / len(data.pair)


def sampled_softmax(
    share: Tensor, *, temperature: float, correction: float = 1.0
) -> Callable[[Tensor, Tensor, Picked, Any], Tensor]:
    """In-batch softmax that corrects for how often an item is drawn as a negative; hits are no negatives."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        scores = F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T / temperature
        scores = scores - correction * share[batch.document_id].log()
        hit = batch.document_id[: len(query), None] == batch.document_id[None, :]
        hit = hit & ~torch.eye(len(query), len(document), dtype=torch.bool)
        return F.cross_entropy(scores.masked_fill(hit, -1e4), torch.arange(len(query)))

    return loss


def _parts(name: str, data: Data, **more: Any) -> Parts:
    return Parts(
        world=name,
        traits=frozenset({"ids", "scratch", "two towers", "contrastive", "tail"}),
        data=data,
        network=lambda: TwoTowers(len(data.documents)),
        query=lambda model, x: model.embed_user(x),
        document=lambda model, x: model.embed_item(x),
        metric=recall_at_10,
        **more,
    )


def shop() -> Parts:
    """800 items, a moderate tail."""
    data = log(items=800, rows=12000, held=800, history=8, tail=0.6, sharpness=2.5, seed=11)
    return _parts(
        "towers/shop",
        data,
        loss=sampled_softmax(frequency(data), temperature=0.1),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=3e-3),
        steps=350,
        batch_size=128,
        pack=lambda b: {"history": b.query, "item": b.document, "item_id": b.document_id},
        unpack=lambda b: Picked(b["history"], b["item"], b["item_id"]),
    )


def feed() -> Parts:
    """1,500 items, a heavy tail."""
    data = log(items=1500, rows=20000, held=1000, history=12, tail=1.0, sharpness=4.0, seed=12)
    return _parts(
        "towers/feed",
        data,
        loss=sampled_softmax(frequency(data), temperature=0.07),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4),
        schedule=lambda step, steps: 1 - 0.9 * step / steps,
        clip=5.0,
        steps=300,
        batch_size=192,
    )
