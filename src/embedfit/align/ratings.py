"""A teacher that gives scores and no vectors, such as a cross-encoder: what it said, and whether it can be trusted.

Axes: n scored pairs, c candidates of one query, m queries of a part.
"""

from __future__ import annotations

__all__ = ["Ratings", "Sheet", "check_ratings", "lexical", "ordered", "sheet_of"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer

from embedfit.align.teacher import less_often_right
from embedfit.data.audit_finding import DataFinding
from embedfit.errors import DataError
from embedfit.metrics import spearman

LEAST = 20  # queries with candidates to order
SURE = 4.0  # standard errors
WEAK = 0.1  # rank correlation that enough queries would have shown
NOISE = 0.1  # share of the variance within a query above which repeated pairs contradict each other
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ratings:
    """Scores of a teacher; only differences within a query count, so that their unit is free.

    Attributes:
        queries: of each scored pair.
        documents: of each scored pair; a query has several.
        scores: the higher, the better it fits. A ranking counts as minus the rank.
        relevant: whether the document is known to answer the query; none: not known of any.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    scores: Float[np.ndarray, " n"]
    relevant: Bool[np.ndarray, " n"] | None = None


def check_ratings(ratings: Ratings) -> list[DataFinding]:
    """What speaks against a teacher that gives scores; nothing is a good sign, not a proof.

    Args:
        ratings: what it said.

    Returns:
        `unreliable_teacher` where TF-IDF finds relevant documents first more often, or where scores have nothing to do
        with the words; `noisy_teacher` where the same pair got different scores.
    """
    sheet = sheet_of(ratings)
    every = np.arange(len(sheet.query))
    found = [_relevance(sheet, every), _words(sheet, every), _noise(ratings, sheet)]
    return [finding for finding in found if finding is not None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """Ratings by query.

    Attributes:
        texts: distinct texts of queries and documents.
        query: text of each query that has something to order.
        candidates: texts of its documents, each once.
        score: of each, the mean of what it was given.
        relevant: of each; empty where it is not known.
        spread: standard deviation of scores within a query.
    """

    texts: list[str]
    query: list[int]
    candidates: list[Int[np.ndarray, " _"]]
    score: list[Float[np.ndarray, " _"]]
    relevant: list[Bool[np.ndarray, " _"]]
    spread: float


def sheet_of(ratings: Ratings) -> Sheet:
    """Ratings by query, without queries that have nothing to order.

    Raises:
        DataError: columns of different lengths, scores that are not finite, or too few queries.
    """
    scores = np.asarray(ratings.scores, np.float64)
    counts = (len(ratings.queries), len(ratings.documents), len(scores))
    if len(set(counts)) > 1 or not np.isfinite(scores).all():
        said = "{:,} queries, {:,} documents and {:,} scores".format(*counts)
        raise DataError(f"{said}, {np.count_nonzero(~np.isfinite(scores)):,} of them not finite",
                        hint="one score, a finite number, for each pair of query and document")  # fmt: skip
    number: dict[str, int] = {}
    by_query: dict[int, dict[int, list[int]]] = {}
    for i, (query, document) in enumerate(zip(ratings.queries, ratings.documents, strict=True)):
        own = by_query.setdefault(number.setdefault(query, len(number)), {})
        own.setdefault(number.setdefault(document, len(number)), []).append(i)
    kept = {q: own for q, own in by_query.items() if np.ptp([scores[rows].mean() for rows in own.values()]) > 0}
    if len(kept) < LEAST:
        raise DataError(
            f"{len(kept):,} of {len(by_query):,} queries have two documents of different scores",
            hint=f"bring {LEAST} such queries at least (better thousands), each with several candidates",
        )
    mean = [np.array([scores[rows].mean() for rows in own.values()]) for own in kept.values()]
    known = [] if ratings.relevant is None else [
        np.array([bool(np.any(ratings.relevant[rows])) for rows in own.values()]) for own in kept.values()
    ]  # fmt: skip
    within = np.concatenate([score - score.mean() for score in mean])
    return Sheet(
        texts=list(number),
        query=list(kept),
        candidates=[np.array(list(own)) for own in kept.values()],
        score=mean,
        relevant=known,
        spread=float(within.std()),
    )


def ordered(one: Float[np.ndarray, " c"], other: Float[np.ndarray, " c"]) -> float:
    """Spearman's correlation; 0 where one side orders nothing."""
    return spearman(one.astype(np.float64), other.astype(np.float64)) if np.ptp(one) > 0 else 0.0


def _similarities(sheet: Sheet, queries: Int[np.ndarray, " m"]) -> list[Float[np.ndarray, " _"]]:
    """Cosine by TF-IDF of each candidate with its query."""
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(sheet.texts)
    return [np.asarray((words[sheet.candidates[i]] @ words[sheet.query[i]].T).todense()).ravel() for i in queries]


def lexical(sheet: Sheet, queries: Int[np.ndarray, " m"]) -> list[float]:
    """Rank correlation of TF-IDF with the teacher's scores, for each query."""
    found = _similarities(sheet, queries)
    return [ordered(words, sheet.score[i]) for words, i in zip(found, queries, strict=True)]


def _relevance(sheet: Sheet, queries: Int[np.ndarray, " m"]) -> DataFinding | None:
    """Its first candidate must be relevant as often as that of TF-IDF."""
    if not sheet.relevant:
        return None
    words = _similarities(sheet, queries)
    asked = [i for i in queries if sheet.relevant[i].any() and not sheet.relevant[i].all()]
    if not asked:
        return None
    own, lexical = (
        np.array([float(sheet.relevant[i][np.argmax(side[i])]) for i in asked]) for side in (sheet.score, words)
    )
    return less_often_right(own, lexical, "puts a relevant document", "queries")


def _words(sheet: Sheet, queries: Int[np.ndarray, " m"]) -> DataFinding | None:
    """Scores must depend on the words that query and candidate share, in whatever direction.

    Rank correlations of unrelated orders of c candidates have mean 0 and variance 1 / (c - 1).
    """
    agreed = np.array(lexical(sheet, queries))
    chance = float(np.sqrt(np.sum([1 / (len(sheet.score[i]) - 1) for i in queries]))) / len(agreed)
    if abs(agreed.mean()) > SURE * chance:
        return None
    said = (
        f"the teacher's scores have nothing to do with the words of query and document: rank correlation with TF-IDF "
        f"{agreed.mean():.3f} over {len(agreed):,} queries (one standard error: {chance:.3f}). Do they belong together?"
    )
    return DataFinding(name="unreliable_teacher", severity="issue" if SURE * chance < WEAK else "watch", sentence=said)


def _noise(ratings: Ratings, sheet: Sheet) -> DataFinding | None:
    """The same pair should get about the same score."""
    table: dict[tuple[str, str], list[float]] = {}
    for query, document, score in zip(ratings.queries, ratings.documents, ratings.scores, strict=True):
        table.setdefault((query, document), []).append(float(score))
    repeated = {pair: scores for pair, scores in table.items() if len(scores) > 1}
    if not repeated:
        return None
    noise = float(np.mean([np.var(scores, ddof=1) for scores in repeated.values()])) / sheet.spread**2
    if noise <= NOISE:
        return None
    said = (
        f"{len(repeated):,} pairs are scored several times, and the scores of a pair vary by {noise:.0%} of what all "
        "scores of a query vary by"
    )
    worst = sorted(repeated.items(), key=lambda item: -np.ptp(item[1]))[:SHOWN]
    examples = tuple({"query": pair[0], "document": pair[1], "scores": scores} for pair, scores in worst)
    return DataFinding(name="noisy_teacher", severity="watch", sentence=said, examples=examples)
