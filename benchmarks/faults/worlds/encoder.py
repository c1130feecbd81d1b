"""A pretrained MiniLM fine-tuned on short texts for a few steps."""

from __future__ import annotations

__all__ = ["banking77", "demo"]

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.datasets import data_folder
from benchmarks.faults.parts import Data, Parts, Picked
from benchmarks.faults.worlds.faq import in_batch
from benchmarks.quality import minilm


def numbers(texts: Sequence[str], length: int) -> Tensor:
    """Token ids of MiniLM, 0 pads."""
    from transformers import AutoTokenizer

    table = AutoTokenizer.from_pretrained(minilm())(
        list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    ids: Tensor = table["input_ids"]
    return ids


@cache
def _pretrained() -> tuple[Any, dict[str, Tensor]]:
    from transformers import AutoConfig, AutoModel

    found = AutoModel.from_pretrained(minilm())
    return AutoConfig.from_pretrained(minilm()), found.state_dict()


class Encoder(nn.Module):
    """MiniLM's first layer on its frozen word embeddings, mean pooling: what fits into a few seconds of a processor."""

    def __init__(self, *, layers: int = 1, loaded: bool = True) -> None:
        from transformers import BertModel

        super().__init__()
        config, weights = _pretrained()
        config = type(config).from_dict({**config.to_dict(), "num_hidden_layers": layers, "hidden_dropout_prob": 0.0})
        config.attention_probs_dropout_prob = 0.0
        self.bert = BertModel(config, add_pooling_layer=False)
        if loaded:
            self.bert.load_state_dict({k: v for k, v in weights.items() if k in self.bert.state_dict()})
        for parameter in self.bert.embeddings.parameters():
            parameter.requires_grad = False

    def forward(self, input_ids: Tensor) -> Tensor:
        attention_mask = (input_ids > 0).long()
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return F.normalize(pooled, dim=-1)


class Heads(nn.Module):
    """What is trained on the vectors of a frozen encoder: one projection per side."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, width))
        self.intent = nn.Sequential(nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, width))

    def forward(self, text: Tensor, intent: Tensor) -> tuple[Tensor, Tensor]:
        return self.text(text), self.intent(intent)


@cache
def vectors(texts: tuple[str, ...]) -> Tensor:
    """Vectors of the whole MiniLM."""
    from sentence_transformers import SentenceTransformer

    found: Tensor = SentenceTransformer(minilm(), device="cpu").encode(list(texts), convert_to_tensor=True)
    return found.clone()


def demo() -> Parts:
    """English half of the embedded support desk: wordings against standard questions."""
    folder = files("embedfit.data") / "demo"
    known, standard = (
        pl.read_csv((folder / f"{name}.csv").read_bytes()).filter(pl.col("language") == "en")
        for name in ("questions", "standard_questions")
    )
    known = known.with_row_index("row")
    train, exam = known.filter(pl.col("row") % 5 > 0), known.filter(pl.col("row") % 5 == 0)
    answers = standard["standard_question"].to_list()
    place = {text: i for i, text in enumerate(answers)}
    topics = {name: i for i, name in enumerate(train["topic"].unique(maintain_order=True))}
    documents = numbers(answers, 16)
    data = Data(
        queries=numbers(train["question"].to_list(), 16),
        documents=documents,
        pair=torch.tensor([place[x] for x in train["standard_question"]]),
        group=torch.tensor([topics[x] for x in train["topic"]]),
        held_queries=numbers(exam["question"].to_list(), 16),
        held_documents=documents,
        held_pair=torch.tensor([place[x] for x in exam["standard_question"]]),
    )
    return Parts(
        world="encoder/demo",
        traits=frozenset({"text", "pretrained", "shared", "contrastive"}),
        data=data,
        network=Encoder,
        query=lambda model, ids: model(ids[:, : int((ids > 0).sum(1).max())]),
        document=lambda model, ids: model(ids[:, : int((ids > 0).sum(1).max())]),
        loss=in_batch(0.05),
        optimizer=lambda model: torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4),
        schedule=lambda step, steps: min(1.0, (step + 1) / 6) * (1 - step / steps),
        steps=50,
        batch_size=16,
        pack=lambda b: {"query": b.query, "positive": b.document, "label": b.document_id},
        unpack=lambda b: Picked(b["query"], b["positive"], b["label"]),
    )


def banking77() -> Parts:
    """Bank customers' questions against the names of 77 intents: heads on the vectors of a frozen MiniLM."""
    frames = [pl.read_csv(data_folder() / "banking77" / f"{part}.csv") for part in ("train", "test")]
    table = np.load(data_folder() / "embeddings" / "banking77_minilm384_potion128.npz")
    found, is_test = torch.tensor(table["minilm"].astype(np.float32)), torch.tensor(table["is_test"])
    names = sorted(set(frames[0]["category"]))
    place = {name: i for i, name in enumerate(names)}
    documents = vectors(tuple(name.replace("_", " ") for name in names))
    label, held = (torch.tensor([place[x] for x in frame["category"]]) for frame in frames)
    data = Data(
        queries=found[~is_test],
        documents=documents,
        pair=label,
        group=label,
        held_queries=found[is_test][::4],
        held_documents=documents,
        held_pair=held[::4],
    )
    return Parts(
        world="encoder/banking77",
        traits=frozenset({"vectors", "two towers", "pretrained", "contrastive"}),
        data=data,
        network=Heads,
        query=lambda model, x: model.text(x),
        document=lambda model, x: model.intent(x),
        loss=in_batch(0.1),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        clip=1.0,
        steps=200,
        batch_size=64,
    )
