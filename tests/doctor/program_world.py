"""A small two-tower program in the plain style of tutorials, with one thing wrong with it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

N, WIDE, SIZE = 768, 24, 32


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(N + 128, 8, generator=g)
    a, b = torch.randn(8, WIDE, generator=g), torch.randn(8, WIDE, generator=g)
    noise = [0.1 * torch.randn(N + 128, WIDE, generator=g) for _ in range(2)]
    return torch.tanh(z @ a / 3) + noise[0], torch.tanh(z @ b / 3) + noise[1]


QUERIES, DOCUMENTS = _data()


class Towers(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(WIDE, 48), nn.ReLU(), nn.Dropout(dropout), nn.Linear(48, 16))
        self.document = nn.Sequential(nn.Linear(WIDE, 48), nn.ReLU(), nn.Dropout(dropout), nn.Linear(48, 16))


class Batches:
    def __init__(self, fault: str, seed: int) -> None:
        self.fault, self.generator = fault, torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Any]:
        pair = torch.arange(N)
        if self.fault == "unrelated":
            pair = torch.randperm(N, generator=torch.Generator().manual_seed(5))
        for rows in torch.randperm(N, generator=self.generator).view(-1, SIZE):
            documents = DOCUMENTS[pair[rows]]
            yield QUERIES[rows], documents.roll(1, 0) if self.fault == "rolled" else documents


class Program:
    def __init__(self, fault: str = "", seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.fault = fault
        self.model = Towers(0.95 if fault == "dropout" else 0.0)
        trained = self.model.query if fault == "forgotten" else self.model
        rate = {"slow": 1e-6}.get(fault, 3e-3)
        self.optimizer = torch.optim.AdamW(trained.parameters(), lr=rate)
        self.batches, self.steps = Batches(fault, seed), 60

    def train_step(self, batch: Any) -> Mapping[str, torch.Tensor]:
        self.model.train()
        query, document = self.model.query(batch[0]), self.model.document(batch[1])
        scores = normalize(query, dim=-1) @ normalize(document, dim=-1).T / (3.0 if self.fault == "warm" else 0.05)
        scores = -scores if self.fault == "reversed" else scores
        loss = cross_entropy(scores, torch.arange(len(query)))
        if self.fault == "positives":
            loss = (1 - torch.cosine_similarity(query, document)).mean()
        return {"query": query, "document": document, "loss": loss}

    def update(self, loss: torch.Tensor) -> None:
        if self.fault != "stale":
            self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def evaluate(self) -> float:
        self.model.eval()
        query, document = self.model.query(QUERIES[N:]), self.model.document(DOCUMENTS[N:])
        scores = normalize(query, dim=-1) @ normalize(document, dim=-1).T
        ranks = (scores >= scores.diagonal()[:, None]).sum(1)
        return float((1 / ranks).mean())


def builder(fault: str = "") -> Any:
    return lambda seed=0: Program(fault, seed)
