"""Users' questions against standard questions or intents, a small text model trained from scratch."""

from __future__ import annotations

__all__ = ["demo", "hwu64"]

import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files

import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.datasets import data_folder
from benchmarks.faults.parts import Data, Parts, Picked

Cut = Callable[[str], list[str]]
WORD = re.compile(r"[a-z]+|[0-9]|[\u4e00-\u9fff]")


def words_of(text: str) -> list[str]:
    """Words, and single Chinese characters."""
    return WORD.findall(text.lower())


def pieces_of(text: str) -> list[str]:
    """Words with their beginnings of four letters, Chinese characters with their pairs."""
    words = words_of(text)
    return [
        piece
        for i, w in enumerate(words)
        for piece in ([w, w[:4] + "-"] if len(w) > 4 else [w, "".join(words[i : i + 2])] if w > "z" else [w])
    ]


def numbers(texts: Sequence[str], words: dict[str, int], length: int, cut: Cut = words_of) -> Tensor:
    """Token ids, 0 pads, 1 is unknown."""
    table = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [words.get(w, 1) for w in cut(text)][:length] or [1]
        table[row, : len(ids)] = torch.tensor(ids)
    return table


def vocabulary(texts: Sequence[str], cut: Cut = words_of) -> dict[str, int]:
    """Pieces by falling frequency, from 2 on."""
    counted = Counter(w for text in texts for w in cut(text))
    return {word: i + 2 for i, (word, _) in enumerate(counted.most_common())}


class BagOfWords(nn.Module):
    """Mean of word embeddings, then two layers."""

    def __init__(self, words: int, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.net = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids > 0).unsqueeze(-1).float()
        return self.net((self.embedding(ids) * mask).sum(1) / mask.sum(1).clamp(min=1))


class Recurrent(nn.Module):
    """A GRU over words, its states averaged."""

    def __init__(self, words: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, width)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids > 0).unsqueeze(-1).float()
        states, _ = self.gru(self.embedding(ids))
        return self.out((states * mask).sum(1) / mask.sum(1).clamp(min=1))


def in_batch(temperature: float):  # type: ignore[no-untyped-def]
    """Softmax over the documents of the batch; the same document twice is no negative."""

    def loss(query: Tensor, document: Tensor, batch: Picked, model: nn.Module) -> Tensor:
        scores = F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T / temperature
        same = batch.document_id[: len(query), None] == batch.document_id[None, :]
        same.fill_diagonal_(False)
        labels = torch.arange(len(query))
        return F.cross_entropy(scores.masked_fill(same, -1e4), labels)

    return loss


def demo() -> Parts:
    """The embedded support desk in English and Chinese: users' wordings against 291 standard questions."""
    folder = files("embedfit.data") / "demo"
    known, standard = (
        pl.read_csv((folder / f"{name}.csv").read_bytes()) for name in ("questions", "standard_questions")
    )
    known = known.with_row_index("row")
    train, exam = known.filter(pl.col("row") % 5 > 0), known.filter(pl.col("row") % 5 == 0)
    answers = standard["standard_question"].to_list()
    place = {text: i for i, text in enumerate(answers)}
    topics = {name: i for i, name in enumerate(train["topic"].unique(maintain_order=True))}
    words = vocabulary([*train["question"], *answers], pieces_of)
    documents = numbers(answers, words, 40, pieces_of)
    data = Data(
        queries=numbers(train["question"].to_list(), words, 40, pieces_of),
        documents=documents,
        pair=torch.tensor([place[x] for x in train["standard_question"]]),
        group=torch.tensor([topics[x] for x in train["topic"]]),
        held_queries=numbers(exam["question"].to_list(), words, 40, pieces_of),
        held_documents=documents,
        held_pair=torch.tensor([place[x] for x in exam["standard_question"]]),
    )
    return Parts(
        world="faq/demo",
        traits=frozenset({"text", "scratch", "shared", "contrastive"}),
        data=data,
        network=lambda: BagOfWords(len(words) + 2),
        query=lambda model, ids: model(ids),
        document=lambda model, ids: model(ids),
        loss=in_batch(0.05),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01),
        schedule=lambda step, steps: min(1.0, (step + 1) / 20) * (1 - step / steps),
        steps=300,
        batch_size=64,
        pack=lambda b: {"question": b.query, "standard_question": b.document, "standard_question_id": b.document_id},
        unpack=lambda b: Picked(b["question"], b["standard_question"], b["standard_question_id"]),
    )


def hwu64() -> Parts:
    """Voice commands against the names of 64 intents, with a GRU; the real data set."""
    train, test = (pl.read_csv(data_folder() / "hwu64" / f"{part}.csv") for part in ("train", "valid"))
    names = sorted(set(train["intent"]))
    place = {name: i for i, name in enumerate(names)}
    readable = [name.replace("_", " ") for name in names]
    words = vocabulary([*train["text"], *readable])
    documents = numbers(readable, words, 16)
    label = torch.tensor([place[x] for x in train["intent"]])
    data = Data(
        queries=numbers(train["text"].to_list(), words, 16),
        documents=documents,
        pair=label,
        group=label,
        held_queries=numbers(test["text"].to_list(), words, 16),
        held_documents=documents,
        held_pair=torch.tensor([place[x] for x in test["intent"]]),
    )
    return Parts(
        world="faq/hwu64",
        traits=frozenset({"text", "scratch", "shared", "contrastive"}),
        data=data,
        network=lambda: Recurrent(len(words) + 2),
        query=lambda model, ids: model(ids),
        document=lambda model, ids: model(ids),
        loss=in_batch(0.1),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=5e-3),
        clip=1.0,
        steps=150,
        batch_size=48,
        pack=lambda b: [b.query, b.document, b.document_id],
    )
