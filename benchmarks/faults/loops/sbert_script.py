"""Fine-tuning in the manner of sentence-transformers scripts: examples, a smart collate, a loss module, a warm-up."""

from __future__ import annotations

__all__ = ["LOOPS"]

import csv
import random
import re
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from benchmarks.faults.loops.loop import Loop


class InputExample:
    def __init__(self, texts: list[str], label: int) -> None:
        self.texts, self.label = texts, label


def read_examples() -> tuple[list[InputExample], list[InputExample], list[str]]:
    text = (files("embedfit.data") / "demo" / "questions.csv").read_text("utf-8")
    rows = [r for r in csv.DictReader(text.splitlines()) if r["language"] == "en"]
    topics = sorted({r["topic"] for r in rows})
    train, dev = [], []
    for i, r in enumerate(rows):
        example = InputExample(texts=[r["question"], r["standard_question"]], label=topics.index(r["topic"]))
        (dev if i % 5 == 0 else train).append(example)
    return train, dev, sorted({r["standard_question"] for r in rows})


class Tokenizer:
    def __init__(self, texts: list[str], max_length: int = 32) -> None:
        self.max_length = max_length
        pieces = sorted({p for t in texts for p in self.pieces(t)})
        self.vocab = {p: i + 2 for i, p in enumerate(pieces)}

    @staticmethod
    def pieces(text: str) -> list[str]:
        words = re.findall(r"[a-z]+", text.lower())
        return [p for w in words for p in ([w, w[:4] + "##"] if len(w) > 4 else [w])]

    def __call__(self, texts: list[str]) -> dict[str, Tensor]:
        rows = [[self.vocab.get(p, 1) for p in self.pieces(t)][: self.max_length] or [1] for t in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class Embeddings(nn.Module):
    def __init__(self, vocab: int, width: int = 96) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, width, padding_idx=0)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**features, "token_embeddings": self.norm(self.word_embeddings(features["input_ids"]))}


class Pooling(nn.Module):
    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        mask = features["attention_mask"].unsqueeze(-1).float()
        summed = (features["token_embeddings"] * mask).sum(1)
        return {**features, "sentence_embedding": summed / mask.sum(1).clamp(min=1e-9)}


class Dense(nn.Module):
    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**features, "sentence_embedding": self.linear(features["sentence_embedding"])}


class MultipleNegativesRankingLoss(nn.Module):
    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = scale
        self.cross_entropy = nn.CrossEntropyLoss()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        scores = torch.mm(normalize(a), normalize(b).transpose(0, 1)) * self.scale
        return self.cross_entropy(scores, torch.arange(len(scores)))


class Script:
    """train.py"""

    epochs, batch_size, lr, warmup = 10, 32, 2e-3, 30

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        random.seed(seed)
        torch.manual_seed(seed)
        self.train_examples, self.dev_examples, self.corpus = read_examples()
        self.tokenizer = Tokenizer([t for e in self.train_examples for t in e.texts])
        self.model = self.make_model()
        self.loss = self.make_loss()
        self.batches = self.make_loader()
        self.steps = len(self.batches) * self.epochs
        self.optimizer = self.make_optimizer()
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: min((s + 1) / self.warmup, max(0.0, 1 - s / self.steps))
        )

    def make_model(self) -> nn.Sequential:
        return nn.Sequential(Embeddings(len(self.tokenizer.vocab) + 2), Pooling(), Dense())

    def make_loss(self) -> nn.Module:
        return MultipleNegativesRankingLoss()

    def make_loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.train_examples, batch_size=self.batch_size, shuffle=True, drop_last=True,
            collate_fn=self.smart_batching_collate, generator=torch.Generator().manual_seed(self.seed),
        )  # fmt: skip

    def make_optimizer(self) -> torch.optim.Optimizer:
        no_decay = ["bias", "norm.weight"]
        named = list(self.model.named_parameters())
        return torch.optim.AdamW(
            [
                {"params": [p for n, p in named if not any(x in n for x in no_decay)], "weight_decay": 0.01},
                {"params": [p for n, p in named if any(x in n for x in no_decay)], "weight_decay": 0.0},
            ],
            lr=self.lr,
        )

    def smart_batching_collate(self, batch: list[InputExample]) -> tuple[list[dict[str, Tensor]], Tensor]:
        features = [self.tokenizer([e.texts[column] for e in batch]) for column in range(2)]
        return features, torch.tensor([e.label for e in batch])

    def train_step(self, batch: tuple[list[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
        features, _ = batch
        self.model.train()
        a, b = [self.model(f)["sentence_embedding"] for f in features]
        return {"query": a, "document": b, "loss": self.loss(a, b)}

    def update(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()

    def encode(self, texts: list[str]) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return normalize(self.model(self.tokenizer(texts))["sentence_embedding"])

    def evaluate(self) -> float:
        was = self.model.training
        scores = self.encode([e.texts[0] for e in self.dev_examples]) @ self.encode(self.corpus).T
        right = scores[range(len(scores)), [self.corpus.index(e.texts[1]) for e in self.dev_examples]]
        self.model.train(was)
        return float((1 / (scores >= right[:, None]).sum(1).clamp(min=1).float()).mean())


class Unshuffled(Script):
    """The examples are in the order of the file, wordings of a question together; the loader does not shuffle."""

    def make_loader(self) -> DataLoader[Any]:
        self.train_examples.sort(key=lambda e: (e.label, e.texts[1]))
        return DataLoader(
            self.train_examples, batch_size=self.batch_size, drop_last=True, collate_fn=self.smart_batching_collate
        )


class OptimizerMadeTooEarly(Script):
    """The dense layer and the embeddings were replaced after the optimiser had been made."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        found = super().make_optimizer()
        self.model = self.make_model()
        return found


class ScaleForgotten(Script):
    """Cosines go into the softmax as they are: the loss stays near its chance level, the ranking is as good."""

    def make_loss(self) -> nn.Module:
        return MultipleNegativesRankingLoss(scale=1.0)


class WarmupInExamples(Script):
    """warmup_steps got the number of examples of all epochs."""

    warmup = 30000


class CollateShuffled(Script):
    """Each column of the batch is sorted by length for less padding."""

    def smart_batching_collate(self, batch: list[InputExample]) -> tuple[list[dict[str, Tensor]], Tensor]:
        columns = [sorted((e.texts[c] for e in batch), key=len) for c in range(2)]
        return [self.tokenizer(c) for c in columns], torch.tensor([e.label for e in batch])


class LargerScale(Script):
    """A scale of 40 instead of 20: as good."""

    def make_loss(self) -> nn.Module:
        return MultipleNegativesRankingLoss(scale=40.0)


LOOPS = (
    Loop(name="sentence-transformers script", build=Script, healthy=Script),
    Loop(name="sentence-transformers script, scale 40", build=LargerScale, healthy=Script),
    Loop(name="sentence-transformers script, unshuffled", build=Unshuffled, healthy=Script,
         components=("order", "negatives"), cause="class-ordered batches"),
    Loop(name="sentence-transformers script, optimiser made too early", build=OptimizerMadeTooEarly, healthy=Script,
         components=("optimiser", "architecture"), cause="frozen parameters"),
    Loop(name="sentence-transformers script, scale 1", build=ScaleForgotten, healthy=Script),
    Loop(name="sentence-transformers script, warm-up in examples", build=WarmupInExamples, healthy=Script,
         components=("schedule", "optimiser"), cause="warm-up"),
    Loop(name="sentence-transformers script, columns sorted apart", build=CollateShuffled, healthy=Script,
         components=("pairing",), cause="misaligned collate"),
)  # fmt: skip
