"""sentence-transformers 6.2 as a contestant: its own Trainer, collator and losses, without evaluation and saving.

embedfit is imported only where a model takes its first weights from a tower of ours: it would count as their memory.
"""

from __future__ import annotations

__all__ = ["WithClock", "arguments", "gru", "minilm", "static", "train"]

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses, modules
from sentence_transformers.sentence_transformer.modules.tokenizer import TransformersTokenizerWrapper
from torch import nn
from transformers import PreTrainedTokenizerFast, TrainerCallback

from benchmarks.speed import texts
from benchmarks.speed.child import Clock

SCALE = 20.0


class SubWords(TransformersTokenizerWrapper):
    """Its wrapper of a fast tokeniser, which in 6.2 does not take the words that its WordEmbeddings passes on."""

    def tokenize(self, sentence: str, **rest: Any) -> list[int]:
        """Ids of a text."""
        del rest
        return self.tokenizer(sentence, add_special_tokens=False)["input_ids"]


class WithClock(TrainerCallback):
    """Starts the clock after the steps that warm up, and stops it after the last one, before the Trainer tidies up.

    Args:
        warm_up: steps that do not count.
        batch_size: examples in a step.
        facts: told beside the reading.
    """

    def __init__(self, warm_up: int, batch_size: int, facts: dict[str, Any]) -> None:
        self.clock = Clock()
        self.warm_up = warm_up
        self.batch_size = batch_size
        self.facts = facts
        self.reading: dict[str, Any] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """After each step."""
        del args, control, rest
        if state.global_step == self.warm_up:
            self.clock.start()
        if state.global_step == state.max_steps:
            self.reading = self.clock.stop((state.max_steps - self.warm_up) * self.batch_size, **self.facts)


def arguments(folder: str, **given: Any) -> SentenceTransformerTrainingArguments:
    """Settings that train and do nothing else."""
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        use_cpu=True,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **given,
    )


def minilm(sentences: Sequence[str]) -> SentenceTransformer:
    """The packaged MiniLM."""
    del sentences
    return SentenceTransformer(texts.minilm(), device="cpu")


def static(sentences: Sequence[str]) -> SentenceTransformer:
    """Its StaticEmbedding, with the sub-words and the first rows of our tower."""
    from embedfit.towers import Static, build

    tower = build("static", list(sentences))
    assert isinstance(tower, Static)
    module = modules.StaticEmbedding(tower.tokenizer, embedding_weights=tower.table.detach())
    return SentenceTransformer(modules=[module], device="cpu")


def gru(sentences: Sequence[str]) -> SentenceTransformer:
    """The nearest to our GRU: WordEmbeddings, the LSTM module with a GRU of our sizes inside, mean pooling, Dense.

    It has no GRU of its own; with its LSTM the cells alone would cost a third more.
    """
    from embedfit.towers import Recurrent, build
    from embedfit.towers import tokenizer as subwords

    tower = build("gru", list(sentences))
    assert isinstance(tower, Recurrent)
    names = {"pad_token": subwords.SPECIAL[0], "unk_token": subwords.SPECIAL[1]}
    wrapped = SubWords(PreTrainedTokenizerFast(tokenizer_object=tower.tokenizer, **names))
    words = modules.WordEmbeddings(wrapped, tower.embedding.weight.detach(), True, tower.max_tokens)
    shape = tower.shape
    cells = modules.LSTM(shape.dimension, shape.hidden, bidirectional=shape.both_ways)
    cells.encoder = tower.cells
    width = cells.get_embedding_dimension()
    pooling = modules.Pooling(width, "mean")
    dense = modules.Dense(width, shape.dimension, activation_function=nn.Identity())
    dense.linear = tower.project
    return SentenceTransformer(modules=[words, cells, pooling, dense], device="cpu")


def contrastive(model: SentenceTransformer) -> nn.Module:
    """Its in-batch loss in both directions, which is ours."""
    return losses.MultipleNegativesRankingLoss(
        model, scale=SCALE, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    )


MODELS: dict[str, Callable[[Sequence[str]], SentenceTransformer]] = {"minilm": minilm, "static": static, "gru": gru}


def train(model: str, batch_size: int, steps: int, warm_up: int, bf16: bool = False) -> dict[str, Any]:
    """Examples per second of its Trainer."""
    torch.manual_seed(0)
    pairs, source = texts.intent_pairs((warm_up + steps) * batch_size)
    if len(pairs) < batch_size:
        raise ValueError(f"{source} has {len(pairs)} pairs, a batch takes {batch_size}")
    encoder = MODELS[model]([text for column in zip(*pairs, strict=True) for text in column])
    facts = {"data": source, "parameters": sum(p.numel() for p in encoder.parameters())}
    watch = WithClock(warm_up, batch_size, facts)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=encoder,
            args=arguments(
                folder,
                per_device_train_batch_size=batch_size,
                max_steps=warm_up + steps,
                learning_rate=2e-5,
                bf16=bf16,
                dataloader_drop_last=True,
            ),
            train_dataset=Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]}),
            loss=contrastive(encoder),
            callbacks=[watch],
        )
        trainer.train()
    return watch.reading
