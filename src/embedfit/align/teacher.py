"""Is a teacher worth learning from? Its vectors against the words of the texts, against labels, and against itself.

Axes: n texts, e dimensions.
"""

from __future__ import annotations

__all__ = ["check_teacher", "less_often_right"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from embedfit.align.spaces import ruler_for
from embedfit.data.audit_finding import DataFinding
from embedfit.metrics import paired_mean
from embedfit.pairs import normalise

SAMPLE = 2_000
PAIRED, SHUFFLES = 500, 60  # texts compared two by two, and how often their vectors are shuffled
SURE = 4.0  # standard errors
STEADY = 0.99  # cosine of texts that are equal after normalisation


def check_teacher(
    texts: Sequence[str],
    vectors: Float[np.ndarray, "n e"],
    *,
    labels: Int[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> list[DataFinding]:
    """What speaks against a teacher; nothing is a good sign, not a proof.

    Args:
        texts: what it embedded.
        vectors: finite rows of any length.
        labels: class of each text, -1 where it has none.
        seed: of the sample and the shuffles.

    Returns:
        `unreliable_teacher` where its vectors have nothing to do with the words of their texts, or where TF-IDF finds
        texts of the same label better; `noisy_teacher` where the same text gets different vectors.
    """
    rows = np.random.default_rng(seed).permutation(len(texts))[:SAMPLE]
    vectors = ruler_for(vectors, "cosine")(vectors)
    some, unit = [texts[i] for i in rows], vectors[rows]
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(some)
    found = [_words(words, unit, seed), _noise(texts, vectors)]
    if labels is not None:
        known = np.flatnonzero(labels[rows] >= 0)
        found.append(_labels(words[known], unit[known], labels[rows][known]))
    return [finding for finding in found if finding is not None]


def _words(words: csr_matrix, unit: Float[np.ndarray, "n e"], seed: int) -> DataFinding | None:
    """Texts that share words must be nearer to each other than chance would have it (Mantel 1967)."""
    lexical, own = (words[:PAIRED] @ words[:PAIRED].T).toarray(), unit[:PAIRED] @ unit[:PAIRED].T
    apart = ~np.eye(len(own), dtype=bool)
    lexical = np.where(apart, lexical - lexical[apart].mean(), 0)
    scale = max(float(lexical[apart].std() * own[apart].std()) * apart.sum(), 1e-30)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(own)) for _ in range(SHUFFLES)]
    shuffled = np.array([(lexical * own[np.ix_(order, order)]).sum() for order in orders]) / scale
    value = float((lexical * own).sum() / scale)
    z = (value - float(shuffled.mean())) / max(float(shuffled.std()), 1e-12)
    if z > SURE:
        return None
    said = (
        f"the teacher's vectors have nothing to do with the words of their texts: similarity in words and similarity "
        f"of vectors correlate by {value:.3f} over the pairs of {len(own):,} texts (z = {z:.1f}; shuffled, "
        f"{shuffled.mean():.3f}). Do row and text belong together?"
    )
    return DataFinding(name="unreliable_teacher", severity="issue", sentence=said)


def _labels(words: csr_matrix, unit: Float[np.ndarray, "n e"], labels: Int[np.ndarray, " n"]) -> DataFinding | None:
    """Its nearest other text must have the same label as often as that of TF-IDF."""
    own, lexical = ((labels[_nearest(x)] == labels).astype(np.float64) for x in (unit, words))
    return less_often_right(own, lexical, "finds a text of the same label", "texts")


def less_often_right(
    own: Float[np.ndarray, " n"], lexical: Float[np.ndarray, " n"], does: str, asked: str
) -> DataFinding | None:
    """What is said of a teacher that answers fewer questions than TF-IDF does.

    Args:
        own: 1 where the teacher's first is right, else 0.
        lexical: the same of TF-IDF.
        does: what a right answer is, as what the teacher does first.
        asked: what was asked, in the plural.
    """
    difference = paired_mean(own, lexical, draws=2_000)
    if difference.high >= 0:
        return None
    said = (
        f"the teacher {does} first for {own.mean():.3f} of {len(own):,} {asked}, TF-IDF for "
        f"{lexical.mean():.3f} (difference {difference.low:.3f}..{difference.high:.3f}): students learn such errors"
    )
    return DataFinding(name="unreliable_teacher", severity="issue", sentence=said)


def _noise(texts: Sequence[str], vectors: Float[np.ndarray, "n e"]) -> DataFinding | None:
    """The same text, up to case and spaces, should get about the same vector."""
    first: dict[str, int] = {}
    twins = np.array([(first.setdefault(normalise(t), i), i) for i, t in enumerate(texts)]).reshape(-1, 2)
    twins = twins[twins[:, 0] != twins[:, 1]]
    if not len(twins):
        return None
    cosine = np.einsum("ne,ne->n", vectors[twins[:, 0]], vectors[twins[:, 1]])
    if float(np.median(cosine)) >= STEADY:
        return None
    said = f"{len(twins):,} texts repeat another one, and the teacher gives the two a cosine of {np.median(cosine):.3f}"
    shown = zip(twins[:10, 1], cosine[:10], strict=True)
    examples = tuple({"text": texts[j], "cosine": round(float(c), 3)} for j, c in shown)
    return DataFinding(name="noisy_teacher", severity="watch", sentence=said, examples=examples)


def _nearest(rows: Shaped[np.ndarray, "n e"] | csr_matrix) -> Int[np.ndarray, " n"]:
    """The nearest other row of each, by cosine."""
    found = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(rows)
    return found.kneighbors(return_distance=False)[:, 0]
