"""The trusted recipe that experiments put a program's parts into: symmetric InfoNCE, AdamW, towers of its own."""

from __future__ import annotations

__all__ = ["ReferenceOptimiser", "ReferenceProgram", "reference_loss"]

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from embedfit.probes.rows import Column, Table, table

TEMPERATURE = 0.05
WARMUP = 0.1
NEVER = -1e4
EQUAL = 1e-6
"""Cosines of equal documents are nearer to one than that, whatever rounding does."""


def reference_loss(
    query: Float[Tensor, "n e"],
    document: Float[Tensor, "m e"],
    same: tuple[Int[Tensor, " n"], Int[Tensor, " n"]] | None = None,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE over cosines in fp32; equal queries and equal documents are nobody's negatives.

    Of documents beyond the n-th only embeddings are known: one in the place of a query's own is equal to it.

    Args:
        query: n embeddings.
        document: m embeddings, those beyond the n-th are negatives.
        same: numbers of the queries and of the first n documents, the same for the same inputs.
        temperature: divides the cosines.

    References:
        van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; both ways, Radford et al. 2021,
        https://arxiv.org/abs/2103.00020.
    """
    n = len(query)
    units = normalize(document.float(), dim=-1)
    logits = normalize(query.float(), dim=-1) @ units.T / temperature
    if same is not None:
        alike = (same[0][:, None] == same[0]) | (same[1][:, None] == same[1])
        alike.fill_diagonal_(False)
        others = units[:n].detach() @ units[n:].detach().T > 1 - EQUAL
        logits = logits.masked_fill(torch.cat([alike.to(logits.device), others], 1), NEVER)
    own = torch.arange(n, device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits[:, :n].T, own)) / 2


class ReferenceOptimiser:
    """AdamW with warm-up, cosine decay to zero and shortened gradients; sparse tables get SparseAdam.

    Args:
        parameters: what to train.
        rate: highest learning rate.
        steps: length of the schedule.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, steps: int, sparse: Sequence[int] = ()) -> None:
        given = list(parameters)
        tables = [p for p in given if id(p) in sparse]
        whole = [p for p in given if id(p) not in sparse]
        self.parts: list[torch.optim.Optimizer] = []
        if whole:
            self.parts.append(torch.optim.AdamW(whole, lr=rate, weight_decay=0.01))
        if tables:
            self.parts.append(torch.optim.SparseAdam(tables, lr=rate))
        self.whole, self.rate, self.steps, self.done = whole, rate, steps, 0

    def update(self, loss: Tensor) -> None:
        """zero_grad, backward, clip, step, schedule."""
        self.done += 1
        warm = max(1.0, WARMUP * self.steps)
        late = min(1.0, max(0.0, (self.done - warm) / max(1.0, self.steps - warm)))
        rate = self.rate * min(self.done / warm, (1 + math.cos(math.pi * late)) / 2)
        for part in self.parts:
            part.param_groups[0]["lr"] = rate
            part.zero_grad(set_to_none=True)
        loss.backward()
        if self.whole:
            torch.nn.utils.clip_grad_norm_(self.whole, 1.0)
        for part in self.parts:
            part.step()


class _Reader(nn.Module):
    """One column to a vector, whatever it holds."""

    def __init__(self, column: Column, width: int) -> None:
        super().__init__()
        self.words = 20_011  # prime: hashes spread evenly
        self.kind = _kind(column)
        if self.kind == "numbers":
            flat = _flat(column)
            self.centre, self.spread = flat.mean(0), flat.std(0).clamp(min=1e-6)
            self.net: nn.Module = nn.Sequential(
                nn.Linear(flat.shape[1], 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
            )
        else:
            self.filler = _filler(column)
            self.net = nn.EmbeddingBag(self.words, width, mode="sum")
            nn.init.normal_(self.net.weight, std=width**-0.5)

    def forward(self, column: Column) -> Tensor:
        """Vectors of the rows."""
        if self.kind == "numbers":
            return self.net((_flat(column) - self.centre) / self.spread)
        entries = [_features(entry, self.filler, self.words) for entry in column]
        offsets = torch.tensor([0, *[len(e) for e in entries[:-1]]]).cumsum(0)
        return normalize(self.net(torch.tensor([i for e in entries for i in e] or [0]), offsets), dim=-1)


class _Tower(nn.Module):
    def __init__(self, columns: Mapping[str, Column], width: int) -> None:
        super().__init__()
        self.names = list(columns)
        self.readers = nn.ModuleList([_Reader(column, width) for column in columns.values()])
        self.out = nn.Linear(width * len(self.names), width)

    def forward(self, columns: Mapping[str, Column], rows: int) -> Tensor:
        """Embeddings of the rows."""
        parts = [reader(columns[name][:rows]) for name, reader in zip(self.names, self.readers, strict=True)]
        return self.out(torch.cat(parts, dim=-1))


class ReferenceProgram:
    """The reference with towers of its own on a program's inputs: says whether there is anything to learn in them.

    Args:
        rows: the rows to train on.
        query: columns of the queries.
        document: columns of the documents.
        size: rows in a batch.
        seed: of the initial weights.
    """

    def __init__(self, rows: Table, query: Sequence[str], document: Sequence[str], size: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.ModuleDict(
            {
                side: _Tower({n: rows.columns[n] for n in names}, 64)
                for side, names in (("query", query), ("document", document))
            }
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.batches: Sequence[Any] = ()
        self.steps, self.size, self.names = 0, size, {*query, *document}

    def train_step(self, batch: Any) -> Mapping[str, Tensor]:
        """Embeddings of the rows; the loss is left to the caller's choice of reference."""
        columns, rows = self._taken_apart(batch)
        query, document = (self.model[side](columns, rows) for side in ("query", "document"))
        return {"query": query, "document": document, "loss": reference_loss(query, document)}

    def _taken_apart(self, batch: Any) -> tuple[Mapping[str, Column], int]:
        """Columns of a batch, which may be shorter than the others."""
        for rows in range(self.size, 0, -1):
            columns = table(batch, rows).columns
            if self.names <= set(columns):
                return columns, rows
        raise ValueError("a batch of another make")


def _kind(column: Column) -> str:
    if isinstance(column, list):
        first = column[0]
        return "numbers" if isinstance(first, Tensor) and first.is_floating_point() else "words"
    floating = column.is_floating_point() if isinstance(column, Tensor) else column.dtype.kind == "f"
    return "numbers" if floating else "words"


def _flat(column: Column) -> Tensor:
    tensor = torch.stack(column) if isinstance(column, list) else torch.as_tensor(column)
    return tensor.reshape(len(tensor), -1).float()


def _filler(column: Column) -> int | None:
    """The number that rows of numbers are filled up with: what most of them end with."""
    if isinstance(column, Tensor) and column.ndim == 2 and column.shape[1] > 1:
        return int(column[:, -1].mode().values)
    return None


def _features(entry: Any, filler: int | None, words: int) -> list[int]:
    """Numbers of what an entry consists of: its ids, or the words and letter trigrams of a text."""
    if isinstance(entry, str):
        text = f" {entry.lower()} "
        pieces = [*text.split(), *(text[i : i + 3] for i in range(len(text) - 2))]
        return [zlib.crc32(piece.encode()) % words for piece in pieces]
    ids = torch.as_tensor(entry).reshape(-1).tolist()
    return [int(i) % words for i in ids if i != filler] or [0]
