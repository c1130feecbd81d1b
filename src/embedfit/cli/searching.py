"""One search: what was found, or that nothing was."""

from __future__ import annotations

__all__ = ["Found", "find"]

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from embedfit import judging
from embedfit.api import TrainedRun
from embedfit.cli.sources import Opened
from embedfit.data.texts import open_texts, read_texts
from embedfit.errors import DataError
from embedfit.evaluate import index as indexes
from embedfit.evaluate.catalogue import Answer, Catalogue
from embedfit.evaluate.embedding import embed
from embedfit.evaluate.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nearest documents to a text.

    Attributes:
        query: the text.
        answers: the nearest documents, best first; of a search without answer, those it would have been.
        threshold: a best answer below it is none; None: every answer counts.
        note: how the scores came about, where that is not plain.
    """

    query: str
    answers: list[Answer]
    threshold: float | None
    note: str = ""

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
        best, after = self.answers[0], f"\n{self.note}" if self.note else ""
        if self.threshold is None:
            return f"no threshold: the best is always an answer{after}"
        if not self.answered:
            said = f"the nearest, at {best.score:.3f} below the threshold {self.threshold:.3f}: {best.document}"
            return f"{said}{after}"
        return f"threshold {self.threshold:.3f}{after}"

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


def find(
    opened: Opened,
    text: str,
    *,
    k: int,
    documents: str | None = None,
    column: str | None = None,
    index: Index | None = None,
    fuse: bool = False,
) -> Found:
    """Search.

    Raises:
        DataError: an empty text, no documents to search in, or nothing to fuse with.
        RunError: the documents of the run cannot be read.
    """
    if not text.strip():
        raise DataError("the text to search for is empty", hint='embedfit search RUN "where is my parcel?"')
    if index is not None:
        if fuse:
            raise DataError("an index holds no words to add to the model's scores", hint="leave out --fuse or --index")
        query = embed(judging.encoders(opened.model)[0], [text], "queries")
        answers = of_index(index, query, k, documents, column)
        return Found(query=text, answers=answers, threshold=None, note=f"index of {index}")
    if documents is not None:
        if fuse:
            raise DataError(
                "--fuse adds words to the model by a weight that holds for the documents of a run, not for those of "
                f"'{documents}'",
                hint="leave out one of --fuse and --documents",
            )
        query = embed(judging.encoders(opened.model)[0], [text], "queries")
        return Found(query=text, answers=of_file(opened, documents, column).find(query, k)[0], threshold=None)
    run = run_of(opened)
    answers, threshold = run.nearest(text, k, fuse=fuse)
    return Found(query=text, answers=answers, threshold=threshold, note=fusion_note(run) if fuse else "")


def run_of(opened: Opened) -> TrainedRun:
    """The run, if it has documents of its own."""
    if opened.run is None or not (opened.run.folder / "catalogue").is_dir():
        what = "a model" if opened.run is None else "a run on graded pairs"
        raise DataError(f"{what} has no documents of its own", hint="name a file of documents with --documents FILE")
    return opened.run


def of_file(opened: Opened, documents: str, column: str | None) -> Catalogue:
    """The documents of a file; they have no threshold, for none was chosen on them."""
    texts = list(dict.fromkeys(read_texts(documents, column=column)))
    embedding = embed(judging.encoders(opened.model)[1], texts, "documents")
    return Catalogue(candidates=tuple(texts), owner=np.arange(len(texts)), embedding=embedding)


def of_index(
    made: Index, query: Float[np.ndarray, "1 e"], k: int, documents: str | None, column: str | None
) -> list[Answer]:
    """What an index finds, by the texts of the file it was built from, or by their names in the index."""
    scores, rows = (found[0].tolist() for found in indexes.search(made, query, k))
    kept = [(score, row) for score, row in zip(scores, rows, strict=True) if row >= 0]
    if documents is None:
        names = {row: made.ids[row] for _, row in kept}
    else:
        texts, wanted = open_texts(documents, column=column), sorted(row for _, row in kept)
        if texts.count != len(made.ids):
            raise DataError(
                f"'{documents}' has {texts.count:,} texts, the index {len(made.ids):,} documents",
                hint="name the file that was encoded",
            )
        names = dict(zip(wanted, texts.at(wanted), strict=True))
    return [Answer(document=names[row], score=score, rank=i) for i, (score, row) in enumerate(kept, 1)]


def fusion_note(run: TrainedRun) -> str:
    """What the scores are made of, and whether the held-out rows speak for it."""
    values, lexical = run.evaluation, run.catalogue.lexical
    assert lexical is not None  # it was just searched with
    metric = str(values["metric"])
    said = f"with TF-IDF, weight of the model {lexical.weight:.3g}"
    if f"fused/{metric}" not in values:
        return said
    return f"{said}; on held-out rows {metric} is {values[f'fused/{metric}']:.3f} so, {values[metric]:.3f} without"
