"""The lexical side of a catalogue: the texts by which documents are found, and how much they count beside the model.

Axes: k keys, q queries.
"""

from __future__ import annotations

__all__ = ["Lexical", "build", "load", "save"]

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from embedfit.evaluate.baselines import Words, lexical_scorer, words_of
from embedfit.evaluate.classify import answers
from embedfit.evaluate.embedding import Encode, embed, embed_task
from embedfit.evaluate.faq import How, Scorer, scorer
from embedfit.evaluate.fusion import fuse
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.scope import best_scores, refusal
from embedfit.evaluate.tasks import Task
from embedfit.run import write_atomically, write_json


@dataclass(frozen=True, kw_only=True, eq=False)
class Lexical:
    """What a search by words needs, and how much the words count beside the model.

    Attributes:
        keys: texts by which documents are found.
        owner: document of each key, by its number in the catalogue, ascending.
        weight: of the model, in [0, 1]; the words have the rest. Chosen on held-out queries.
        threshold: a best answer of both together that scores below is none; None: always answer.
    """

    keys: tuple[str, ...]
    owner: Int[np.ndarray, " k"]
    weight: float
    threshold: float | None = None

    def fused(self, texts: Sequence[str], dense: Scorer) -> Scorer:
        """Scores of both together.

        Args:
            texts: the queries.
            dense: their scores by embeddings, over the same documents.
        """
        return fuse(self._words(texts), dense, self.weight)

    @cached_property
    def _words(self) -> Words:
        return words_of(self.keys, self.owner)


def build(
    encode_query: Encode,
    encode_document: Encode,
    tasks: tuple[Task, Task],
    *,
    how: How,
    weight: float,
    outside: Sequence[str] = (),
) -> Lexical:
    """The lexical side for the catalogue of a task, with a threshold of its own.

    Args:
        encode_query: texts to unit rows.
        encode_document: the same for documents.
        tasks: the held-out queries as the model finds them, and as words do: see `embedfit.evaluate.tasks.worded`.
        how: how several keys of a document become one score.
        weight: of the model.
        outside: queries that none of the documents answers: see `embedfit.evaluate.scope.refusal`.
    """
    task, by_words = tasks
    query, key = embed_task(encode_query, encode_document, task)
    both = fuse(lexical_scorer(by_words), scorer(query, key, task.owner, how), weight)
    made = Lexical(keys=by_words.keys, owner=by_words.owner, weight=weight)
    best = np.empty(0)
    if outside:
        other = embed(encode_query, outside, "queries out of scope")
        best = best_scores(made.fused(outside, scorer(other, key, task.owner, how)), len(outside))
    found = refusal(answers(rank_task(task, both)), best)
    return made if found is None else replace(made, threshold=found.threshold)


def save(lexical: Lexical, folder: Path) -> None:
    """Write it; its declaration last, so that a half-written side is not taken for one.

    Raises:
        RunError: the disk is full or not writable.
    """
    with write_atomically(folder / "words.parquet") as part:
        pl.DataFrame({"owner": lexical.owner, "text": list(lexical.keys)}).write_parquet(part)
    write_json(folder / "words.json", {"weight": lexical.weight, "threshold": lexical.threshold})


def load(folder: Path) -> Lexical | None:
    """Read it; None where there is none.

    Raises:
        OSError, ValueError, KeyError, PolarsError: it is broken.
    """
    if not (folder / "words.json").is_file():
        return None
    said = json.loads((folder / "words.json").read_text("utf-8"))
    table = pl.read_parquet(folder / "words.parquet")
    return Lexical(
        keys=tuple(table["text"].to_list()),
        owner=table["owner"].to_numpy(),
        weight=float(said["weight"]),
        threshold=said["threshold"],
    )
