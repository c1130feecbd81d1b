"""What a trained model answers with: the documents, the texts by which each is found, and when to refuse.

Axes: c candidates, k keys or documents found, n rows mixed from keys, q queries, e dimensions.
"""

from __future__ import annotations

__all__ = ["Answer", "Catalogue", "build", "load", "save"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from embedfit.errors import DataError, RunError
from embedfit.evaluate import lexical as lexicals
from embedfit.evaluate.embedding import Encode, embed_task
from embedfit.evaluate.faq import How, entries, scorer
from embedfit.evaluate.lexical import Lexical
from embedfit.evaluate.tasks import Task
from embedfit.neighbours import top_owners
from embedfit.run import write_atomically, write_json

_CELLS = 1 << 24  # of one block of scores: 128 MiB in float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One document found for a query.

    Attributes:
        document: its text, or the name of a class.
        score: blended cosine over the texts by which it is known; of a search by words too, see `find_fused`.
        rank: from 1.
    """

    document: str
    score: float
    rank: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """Documents to be found.

    Attributes:
        candidates: text of each document, or name of each class.
        owner: candidate of each key, ascending.
        embedding: of the keys, unit rows.
        how: how the scores of several keys become one: see `embedfit.evaluate.faq`.
        threshold: a best answer that scores below is none; None: always answer.
        lexical: the same documents by their words, to search by both; None where nothing was held out to choose a
            weight on.
    """

    candidates: tuple[str, ...]
    owner: Int[np.ndarray, " k"]
    embedding: Float[np.ndarray, "k e"]
    how: How = "blend"
    threshold: float | None = None
    lexical: Lexical | None = None

    def find(self, query: Float[np.ndarray, "q e"], k: int = 10) -> list[list[Answer]]:
        """The k best documents of each query, best first; equal scores in the order of the catalogue."""
        _check_k(k)
        return self._named(*top_owners(query, *self._entries, k))

    def find_fused(self, texts: Sequence[str], query: Float[np.ndarray, "q e"], k: int = 10) -> list[list[Answer]]:
        """The k best documents of each query by words and embeddings together, best first.

        A score is the weighted sum of both, each in deviations above its mean over all documents.

        Args:
            texts: the queries.
            query: their embeddings.
            k: how many.

        Raises:
            DataError: the catalogue has no lexical side, or k is below 1.
        """
        _check_k(k)
        if self.lexical is None:
            raise DataError(
                "there is no weight to add TF-IDF with: it is chosen on held-out rows, and this run had none, or is "
                "older than fused search",
                hint="search without fusion, or train again with held-out rows",
            )
        both = self.lexical.fused(texts, scorer(query, self.embedding, self.owner, self.how))
        step = max(1, _CELLS // self.owner.size)
        found: list[list[Answer]] = []
        for start in range(0, len(texts), step):
            scores = both(np.arange(start, min(start + step, len(texts))))
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            found += self._named(np.take_along_axis(scores, order, axis=1), order)
        return found

    def _named(self, scores: Float[np.ndarray, "q k"], candidates: Int[np.ndarray, "q k"]) -> list[list[Answer]]:
        """Candidates by number, best first, as answers."""
        return [
            [
                Answer(document=self.candidates[c], score=score, rank=place)
                for place, (score, c) in enumerate(zip(*line, strict=True), 1)
            ]
            for line in zip(scores.tolist(), candidates.tolist(), strict=True)
        ]

    @cached_property
    def _entries(self) -> tuple[Float[np.ndarray, "n e"], Int[np.ndarray, " n"]]:
        return entries(self.embedding, self.owner, self.how)


def _check_k(k: int) -> None:
    if k < 1:
        raise DataError(f"k is {k}; expected 1 or more documents", hint="k=10 (-k 10) gives the ten nearest")


def build(
    encode_query: Encode, encode_document: Encode, task: Task, *, how: How, threshold: float | None = None
) -> Catalogue:
    """The catalogue of a retrieval task."""
    _, key = embed_task(encode_query, encode_document, task)
    return Catalogue(candidates=task.candidates, owner=task.owner, embedding=key, how=how, threshold=threshold)


def save(catalogue: Catalogue, folder: Path) -> None:
    """Write a catalogue; its declaration last, so that a half-written folder is not taken for one.

    Raises:
        RunError: the disk is full or not writable.
    """
    with write_atomically(folder / "keys.npy") as part, part.open("wb") as file:
        np.save(file, catalogue.embedding)
    with write_atomically(folder / "owner.npy") as part, part.open("wb") as file:
        np.save(file, catalogue.owner)
    with write_atomically(folder / "candidates.parquet") as part:
        pl.DataFrame({"document": list(catalogue.candidates)}).write_parquet(part)
    if catalogue.lexical is not None:
        lexicals.save(catalogue.lexical, folder)
    write_json(folder / "catalogue.json", {"metric": "cosine", "how": catalogue.how, "threshold": catalogue.threshold})


def load(folder: Path) -> Catalogue:
    """Read a catalogue.

    Raises:
        RunError: there is none, or it is broken.
    """
    try:
        said = json.loads((folder / "catalogue.json").read_text("utf-8"))
        return Catalogue(
            candidates=tuple(pl.read_parquet(folder / "candidates.parquet")["document"].to_list()),
            owner=np.load(folder / "owner.npy"),
            embedding=np.load(folder / "keys.npy"),
            how=said["how"],
            threshold=said["threshold"],
            lexical=lexicals.load(folder),
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise RunError(
            f"no usable catalogue in '{folder}': {error}", hint="train the run again, or give documents"
        ) from None
