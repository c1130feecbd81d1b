"""Lexical baselines: what word and character overlap alone reaches. A model that does not beat them has learned little.

Axes: q queries, k keys, c candidates, n texts.
"""

from __future__ import annotations

__all__ = ["Words", "graded_baseline", "lexical_scorer", "svm_scorer", "tfidf", "words_of"]

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from embedfit.evaluate.faq import Scorer, scorer
from embedfit.evaluate.tasks import Task

if TYPE_CHECKING:
    from scipy import sparse

Words = Callable[[Sequence[str]], Scorer]
"""Texts of queries to their scores by words."""

# scripts written without spaces: Thai to Burmese, Khmer, kana, Han
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

CHARACTERS = 30_000
"""Of each text that are read, about ten pages: a whole file in one cell costs no more than that."""


def tfidf(texts: Sequence[str]) -> Callable[[Sequence[str]], sparse.csr_matrix]:
    """TF-IDF of words and character n-grams with sublinear term frequency, weighted as in `texts`.

    Spaced scripts: words and word pairs beside character 2-4-grams within words, both of unit length. Unspaced scripts
    (more than a fifth of the letters): character 1-3-grams across the whole text. Texts are read up to `CHARACTERS`.

    Returns:
        A function from texts to unit rows; a text without a known feature is a row of zeros.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = [text[:CHARACTERS] for text in texts]
    everything = " ".join(texts)
    letters = len(re.findall(r"\w", everything))
    parts: list[TfidfVectorizer] = []
    if letters and len(_UNSPACED.findall(everything)) > 0.2 * letters:
        parts.append(TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True))
    else:
        if letters:
            words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
            parts.append(words)
        if everything.strip():
            parts.append(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True))
    for part in parts:
        part.fit(texts)

    def transform(some: Sequence[str]) -> sparse.csr_matrix:
        if not parts:
            return sparse.csr_matrix((len(some), 1))
        read = [text[:CHARACTERS] for text in some]
        return normalize(sparse.hstack([part.transform(read) for part in parts]).tocsr())

    return transform


def lexical_scorer(task: Task) -> Scorer:
    """Cosine of TF-IDF rows; a candidate with several keys is the mean of their rows (its class centroid)."""
    return words_of(task.keys, task.owner)(task.queries)


def words_of(keys: Sequence[str], owner: Int[np.ndarray, " k"]) -> Words:
    """The same for queries that are not known yet.

    Args:
        keys: texts by which candidates are found.
        owner: candidate of each, ascending from 0 without gaps.
    """
    rows = tfidf(keys)
    key = rows(keys)
    return lambda queries: scorer(rows(queries), key, owner, "centroid")


def svm_scorer(task: Task, *, seed: int = 0) -> Scorer | None:
    """Decision values of a linear one-against-rest SVM on TF-IDF rows; None where it cannot be trained.

    It needs at least two classes, and more than one key for some class.
    """
    from sklearn.svm import LinearSVC

    if len(task.candidates) < 2 or len(task.candidates) == len(task.keys):
        return None
    rows = tfidf(task.keys)
    model = LinearSVC(random_state=seed).fit(rows(task.keys), task.owner)
    query = rows(task.queries)

    def score(some: np.ndarray) -> np.ndarray:
        values = model.decision_function(query[some])
        return np.stack([-values, values], axis=1) if values.ndim == 1 else values

    return score


def graded_baseline(first: Sequence[str], second: Sequence[str], known: Sequence[str] = ()) -> Float[np.ndarray, " n"]:
    """TF-IDF cosine of each pair of sentences, with the document frequencies of all sentences at hand."""
    rows = tfidf([*first, *second, *known])
    return np.asarray(rows(first).multiply(rows(second)).sum(axis=1), np.float64).ravel()
