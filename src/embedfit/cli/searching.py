"""One search: what was found, or that nothing was."""

from __future__ import annotations

__all__ = ["Found", "find"]

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from embedfit import judging
from embedfit.cli.sources import Opened
from embedfit.data.texts import read_texts
from embedfit.errors import DataError
from embedfit.evaluate.catalogue import Answer, Catalogue
from embedfit.evaluate.embedding import embed


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nearest documents to a text.

    Attributes:
        query: the text.
        answers: the nearest documents, best first; of a search without answer, those it would have been.
        threshold: a best answer below it is none; None: every answer counts.
    """

    query: str
    answers: list[Answer]
    threshold: float | None

    @property
    def answered(self) -> bool:
        """Whether the best document reaches the threshold."""
        return self.threshold is None or self.answers[0].score >= self.threshold

    def lines(self) -> list[str]:
        """What stdout gets."""
        if not self.answered:
            return ["no answer"]
        return [f"{a.rank:3d}  {a.score:.3f}  {a.document}" for a in self.answers]

    def remark(self) -> str:
        """What stderr gets."""
        best = self.answers[0]
        if not self.answered:
            return f"the nearest, at {best.score:.3f} below the threshold {self.threshold:.3f}: {best.document}"
        if self.threshold is None:
            return "no threshold: the best is always an answer"
        return f"threshold {self.threshold:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `nearest` is there in any case, `answers` only above the threshold."""
        nearest = [asdict(a) for a in self.answers]
        return {
            "query": self.query,
            "answered": self.answered,
            "threshold": self.threshold,
            "answers": nearest if self.answered else [],
            "nearest": nearest,
        }


def find(opened: Opened, text: str, *, k: int, documents: str | None, column: str | None) -> Found:
    """Search.

    Raises:
        DataError: an empty text, or no documents to search in.
        RunError: the run has no documents of its own.
    """
    if not text.strip():
        raise DataError("the text to search for is empty", hint='embedfit search RUN "where is my parcel?"')
    catalogue = catalogue_of(opened, documents, column)
    query = embed(judging.encoders(opened.model)[0], [text], "queries")
    return Found(query=text, answers=catalogue.find(query, k)[0], threshold=catalogue.threshold)


def catalogue_of(opened: Opened, documents: str | None, column: str | None) -> Catalogue:
    """The documents to search in; those of a file have no threshold, for none was chosen on them."""
    if documents is not None:
        texts = list(dict.fromkeys(read_texts(documents, column=column)))
        embedding = embed(judging.encoders(opened.model)[1], texts, "documents")
        return Catalogue(candidates=tuple(texts), owner=np.arange(len(texts)), embedding=embedding)
    if opened.run is None or not (opened.run.folder / "catalogue").is_dir():
        what = "a model" if opened.run is None else "a run on graded pairs"
        raise DataError(f"{what} has no documents of its own", hint="name a file of documents with --documents FILE")
    return opened.run.catalogue
