"""One embedding space mapped onto another: the documents are a teacher's vectors of the same things."""

from __future__ import annotations

__all__ = ["banking77", "digits", "made"]

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.datasets import data_folder
from benchmarks.faults.parts import Data, Parts, Picked


def _scaled(x: Tensor, like: Tensor) -> Tensor:
    return (x - like.mean(0)) / like.std(0).clamp(min=1e-6)


def _divided(source: Tensor, teacher: Tensor, group: Tensor, held: int, seed: int) -> Data:
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))
    out, kept = order[:held], order[held:]
    teacher = F.normalize(teacher - teacher[kept].mean(0), dim=-1)
    source = _scaled(source, source[kept])
    return Data(
        queries=source[kept],
        documents=teacher[kept],
        pair=torch.arange(len(kept)),
        group=group[kept],
        held_queries=source[out],
        held_documents=teacher[out],
        held_pair=torch.arange(held),
    )


class Mapper(nn.Module):
    """A hidden layer and a way around it."""

    def __init__(self, source: int, target: int, width: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.straight = nn.Linear(source, target)
        self.bent = nn.Sequential(nn.Linear(source, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, target))

    def forward(self, x: Tensor) -> Tensor:
        return self.straight(x) + self.bent(x)


def to_teacher(query: Tensor, document: Tensor, batch: Picked, model: Any) -> Tensor:
    """One minus the cosine to the teacher's vector."""
    return (1 - F.cosine_similarity(query, document[: len(query)], dim=-1)).mean()


def squared(query: Tensor, document: Tensor, batch: Picked, model: Any) -> Tensor:
    """Squared distance to the teacher's vector."""
    return F.mse_loss(query, document[: len(query)])


def _parts(name: str, data: Data, **more: Any) -> Parts:
    source, target = data.queries.shape[1], data.documents.shape[1]
    return Parts(
        world=name,
        traits=frozenset({"vectors", "scratch", "teacher"}),
        data=data,
        network=lambda: Mapper(source, target),
        query=lambda model, x: model(x),
        document=lambda model, x: x,
        **more,
    )


def made() -> Data:
    """Two made spaces of the same 2,000 things, where the real ones are absent."""
    g = torch.Generator().manual_seed(5)
    hidden = torch.randn(40, 20, generator=g)[torch.arange(2000) % 40] + torch.randn(2000, 20, generator=g)
    first = torch.tanh(hidden @ torch.randn(20, 96, generator=g) / 5) + 0.1 * torch.randn(2000, 96, generator=g)
    second = torch.tanh(hidden @ torch.randn(20, 64, generator=g) / 5)
    return _divided(first, second, torch.arange(2000) % 40, 400, 0)


def digits() -> Parts:
    """Pixels of handwritten digits onto their profile correlations."""
    try:
        table = np.load(data_folder() / "embeddings" / "handwritten.npz")
    except SystemExit:
        data = made()
    else:
        data = _divided(
            *(torch.tensor(table[k]) for k in ("pix240", "fac216")),
            torch.tensor(table["label"].astype(np.int64)),
            400,
            0,
        )
    return _parts(
        "vectors/digits",
        data,
        loss=to_teacher,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
        steps=300,
        batch_size=64,
    )


def banking77() -> Parts:
    """MiniLM's vectors of bank customers' questions onto those of another text model."""
    table = np.load(data_folder() / "embeddings" / "banking77_minilm384_potion128.npz")
    source, teacher = (torch.tensor(table[k].astype(np.float32)) for k in ("minilm", "potion"))
    group = torch.arange(len(source)) // 130  # the file is in order of intents
    data = _divided(source, teacher, group, 1000, 1)
    return _parts(
        "vectors/banking77",
        data,
        loss=squared,
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        schedule=lambda step, steps: min(1.0, (step + 1) / 15) * (1 - step / steps),
        clip=1.0,
        steps=250,
        batch_size=96,
        pack=lambda b: {"source": b.query, "target": b.document, "row": b.document_id},
        unpack=lambda b: Picked(b["source"], b["target"], b["row"]),
    )
