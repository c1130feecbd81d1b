"""A two-tower recommender with sampled softmax: every user's item against the same sampled rivals."""

from __future__ import annotations

__all__ = ["LOOPS"]

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.faults.loops.loop import Loop

USERS, ITEMS, WIDTH = 1500, 600, 32


def interactions() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Users' purchases (twelve each, two held out), drawn by taste and fame."""
    g = torch.Generator().manual_seed(31)
    taste, item = torch.randn(USERS, 6, generator=g), torch.randn(ITEMS, 6, generator=g)
    fame = -0.5 * torch.log1p(torch.arange(ITEMS).float())[torch.randperm(ITEMS, generator=g)]
    logits = 1.2 * taste @ item.T + fame
    bought = torch.multinomial(logits.softmax(1), 14, generator=g)
    users = torch.arange(USERS)
    return users.repeat_interleave(12), bought[:, :12].flatten(), users.repeat_interleave(2), bought[:, 12:].flatten()


class Loader:
    def __init__(self, seed: int, users: Tensor, items: Tensor, batch_size: int = 256, rivals: int = 128) -> None:
        self.g = torch.Generator().manual_seed(seed)
        self.users, self.items, self.batch_size, self.rivals = users, items, batch_size, rivals

    def __len__(self) -> int:
        return len(self.users) // self.batch_size

    def sample(self) -> Tensor:
        return torch.randint(ITEMS, (self.rivals,), generator=self.g)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(len(self.users), generator=self.g)
        for i in range(len(self)):
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield {"user_id": self.users[rows], "item_id": self.items[rows], "sampled": self.sample()}


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user_tower = nn.Sequential(nn.Embedding(USERS, WIDTH), nn.Linear(WIDTH, WIDTH))
        self.item_tower = nn.Sequential(nn.Embedding(ITEMS, WIDTH), nn.Linear(WIDTH, WIDTH))
        for tower in (self.user_tower, self.item_tower):
            nn.init.normal_(tower[0].weight, std=0.3)


class Trainer:
    """train_two_tower.py"""

    steps = 600
    scale = 1.0

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        users, items, self.held_users, self.held_items = interactions()
        self.seen = torch.zeros(USERS, ITEMS, dtype=torch.bool)
        self.seen[users, items] = True
        self.batches = self.loader(seed, users, items)
        self.model = Recommender()
        self.optimizer = self.make_optimizer()

    def loader(self, seed: int, users: Tensor, items: Tensor) -> Loader:
        return Loader(seed, users, items)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=5e-3)

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        users = self.model.user_tower(batch["user_id"])
        items = self.model.item_tower(batch["item_id"])
        sampled = self.model.item_tower(batch["sampled"])
        loss = self.compute_loss(users, items, sampled, batch)
        return {"query": users, "document": torch.cat([items, sampled]), "loss": loss}

    def compute_loss(self, users: Tensor, items: Tensor, sampled: Tensor, batch: dict[str, Tensor]) -> Tensor:
        positive = (users * items).sum(1, keepdim=True)
        negative = users @ sampled.T
        hit = batch["item_id"][:, None] == batch["sampled"][None, :]
        logits = self.scale * torch.cat([positive, negative.masked_fill(hit, -1e9)], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(users), dtype=torch.long))

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def evaluate(self) -> float:
        """Recall among the first ten of all items not bought before."""
        scores = self.model.user_tower(self.held_users) @ self.model.item_tower(torch.arange(ITEMS)).T
        scores = scores.masked_fill(self.seen[self.held_users], float("-inf"))
        own = scores.gather(1, self.held_items[:, None])
        return float(((scores >= own).sum(1) <= 10).float().mean())  # ties count against it


class WrongTarget(Trainer):
    """The positive was moved to the end of the logits; the target still says column zero."""

    def compute_loss(self, users: Tensor, items: Tensor, sampled: Tensor, batch: dict[str, Tensor]) -> Tensor:
        logits = torch.cat([users @ sampled.T, (users * items).sum(1, keepdim=True)], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(users), dtype=torch.long))


class ItemTowerForgotten(Trainer):
    """Only the user tower went to the optimiser."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.user_tower.parameters(), lr=5e-3)


class TinyRate(Trainer):
    """The learning rate of a fine-tuning recipe."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=2e-5)


class ItemsResorted(Loader):
    """The items of a batch come back from a join in another order than its users."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in super().__iter__():
            yield {**batch, "item_id": batch["item_id"].sort().values}


class BrokenJoin(Trainer):
    """See `ItemsResorted`."""

    def loader(self, seed: int, users: Tensor, items: Tensor) -> Loader:
        return ItemsResorted(seed, users, items)


class HeavyDecay(Trainer):
    """Weight decay meant for another optimiser, on the embedding tables."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), lr=5e-3, weight_decay=50.0)


class FewerRivals(Trainer):
    """Half as many rivals: nearly as good."""

    def loader(self, seed: int, users: Tensor, items: Tensor) -> Loader:
        return Loader(seed, users, items, rivals=64)


LOOPS = (
    Loop(name="sampled softmax", build=Trainer, healthy=Trainer),
    Loop(name="sampled softmax, half the rivals", build=FewerRivals, healthy=Trainer),
    Loop(name="sampled softmax, wrong target", build=WrongTarget, healthy=Trainer, components=("loss", "pairing"),
         cause="wrong target"),
    Loop(name="sampled softmax, item tower forgotten", build=ItemTowerForgotten, healthy=Trainer,
         components=("optimiser", "architecture"), cause="frozen parameters"),
    Loop(name="sampled softmax, tiny rate", build=TinyRate, healthy=Trainer, components=("optimiser", "schedule"),
         cause="learning rate too low"),
    Loop(name="sampled softmax, broken join", build=BrokenJoin, healthy=Trainer, components=("pairing",),
         cause="misaligned collate"),
    Loop(name="sampled softmax, heavy decay", build=HeavyDecay, healthy=Trainer,
         components=("regularisation", "optimiser"), cause="weight decay"),
)  # fmt: skip
