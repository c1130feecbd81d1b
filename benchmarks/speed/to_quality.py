"""The two contestants of `time_to_quality`, in a process of their own."""

from __future__ import annotations

__all__ = ["ours", "theirs"]

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer import losses
from transformers import TrainerCallback

import embedfit as ef
from benchmarks import datasets
from benchmarks.speed import texts
from benchmarks.speed.child import Clock
from benchmarks.speed.sbert import SCALE, arguments
from embedfit import job, judging
from embedfit.data.demo import demo
from embedfit.engine.fit import fit, prepare
from embedfit.evaluate.held_out import evaluate_bare
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch
from embedfit.towers import TwoTower

BATCH = 64
POINTS = 4  # of their curve
METRIC = "accuracy@1"


def _load(data: str, quick: bool) -> tuple[Pairs, Pairs, Pairs]:
    """Rows to train on, to choose by, to judge on."""
    if data == "demo":
        train, test = (
            ef.read(demo() / f"{name}.csv", kind="classes", text="question", label="standard_question")
            for name in ("questions", "exam")
        )
        dev = None
    else:
        cell = next(cell for cell in datasets.CELLS if cell.name == data)
        train, dev, test = cell.load(0)
    if dev is None:
        divided = job.divide(train, 0.1, seed=0)
        train, dev = divided.train, divided.dev or test
    if quick:
        train, dev, test = (part.take(list(range(min(len(part), 32)))) for part in (train, dev, test))
    return train, dev, test


def _accuracy(model: SentenceTransformer, rows: Pairs, known: Pairs) -> float:
    def encode(texts: Any) -> Any:
        return model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=BATCH)

    return evaluate_bare(encode, encode, rows, known=known, keys="phrasings").values[METRIC]


class Curve(TrainerCallback):
    """Accuracy on the test rows at a few points of a run, while the clock stands still."""

    def __init__(self, model: SentenceTransformer, clock: Clock, test: Pairs, known: Pairs) -> None:
        self.model, self.clock, self.test, self.known = model, clock, test, known
        self.points: list[tuple[float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """After each step."""
        del args, control, rest
        if state.global_step % max(1, state.max_steps // POINTS) == 0 or state.global_step == state.max_steps:
            self.clock.pause()
            self.points.append((self.clock.wall, _accuracy(self.model, self.test, self.known)))
            self.clock.resume()


def theirs(data: str, quick: bool, loss: str, learning_rate: float, epochs: int) -> dict[str, Any]:
    """Their recipe from the loaded rows to the last step."""
    torch.manual_seed(0)
    train, dev, test = _load(data, quick)
    clock = Clock()
    clock.start()
    model = SentenceTransformer(texts.minilm(), device="cpu")
    pairs = loss == "pairs"
    rows = _pairs(train, epochs) if pairs else _labelled(train)
    steps = max(2, (1 if pairs else epochs) * len(rows) // BATCH)
    objective = (
        losses.MultipleNegativesRankingLoss(model, scale=SCALE)
        if pairs
        else losses.BatchHardSoftMarginTripletLoss(model)
    )
    curve = Curve(model, clock, test, train)
    with tempfile.TemporaryDirectory() as folder:
        chosen = arguments(
            folder,
            per_device_train_batch_size=BATCH,
            max_steps=2 if quick else steps,
            learning_rate=learning_rate,
            warmup_steps=0.1,
            batch_sampler=BatchSamplers.NO_DUPLICATES if pairs else BatchSamplers.GROUP_BY_LABEL,
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=chosen, train_dataset=rows, loss=objective, callbacks=[curve]
        )
        trainer.train()
    clock.pause()
    held_out = _accuracy(model, dev, train)
    clock.resume()
    return clock.stop(1, curve=curve.points, dev=held_out, steps=steps)


def _pairs(train: Pairs, epochs: int) -> Dataset:
    """Each text once an epoch, with another text of its class, drawn anew."""
    draw = random.Random(0)
    by_label: dict[str, list[str]] = {}
    for text, label in zip(train.table["text"], train.table["label"], strict=True):
        by_label.setdefault(label, []).append(text)
    pairs = [
        (text, draw.choice([other for other in members if other != text] or [text]))
        for _ in range(epochs)
        for members in by_label.values()
        for text in members
    ]
    return Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]})


def _labelled(train: Pairs) -> Dataset:
    number = {label: i for i, label in enumerate(train.table["label"].unique(maintain_order=True))}
    return Dataset.from_dict(
        {"sentence": train.table["text"].to_list(), "label": [number[label] for label in train.table["label"]]}
    )


def ours(data: str, quick: bool, model: str) -> dict[str, Any]:
    """Our defaults from the loaded rows to the last step."""
    train, dev, test = _load(data, quick)
    # twice as many points of the curve as by default, and the same part of the run without a better one
    change: dict[str, Any] = {"run.evaluate_every": "4%", "optim.patience": 10}
    if model != "auto":
        change |= {"model.kind": texts.minilm(), "run.threads": torch.get_num_threads()}
    if quick:
        change |= {"optim.length": "2 steps", "optim.learning_rate": 1e-4}
    clock, curve = Clock(), []
    clock.start()
    setup = prepare(train, patch(Recipe(), change))
    keys, how = judging.quick_keys(setup.objective.model, train)

    def accuracy(towers: TwoTower, rows: Pairs) -> float:
        return evaluate_bare(*judging.encoders(towers), rows, known=train, keys=keys, how=how).values[METRIC]

    def measure(towers: TwoTower) -> Mapping[str, float]:
        clock.pause()
        curve.append((clock.wall, accuracy(towers, test)))
        clock.resume()
        return {f"dev/{METRIC}": accuracy(towers, dev)}

    with tempfile.TemporaryDirectory() as folder:
        slack = judging.standard_error(METRIC, len(dev))
        fitted = fit(setup, folder=Path(folder), measure=measure, progress=lambda *_: None, slack=slack)
    clock.pause()
    keys, how = judging.keys_of(fitted.model, train)
    final = accuracy(fitted.model, test)
    clock.resume()
    return clock.stop(1, curve=curve, final=final, learning_rate=fitted.facts["chosen.learning_rate"])
