"""How hard a table is: what words alone find, measured, and what three published corpora let expect, interpolated."""

from __future__ import annotations

__all__ = ["ANCHORS", "Anchor", "difficulty", "expected_recall", "lexical_recall"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

from embedfit.data.audit_finding import DataFinding, Part
from embedfit.data.audit_view import Rows, counts

_QUERIES = 2_000  # rows that are looked up
_STORE = 10_000  # texts that are searched: half of them rows and half documents, where there are documents
_CHARACTERS = 800_000  # of the store's texts together: longer ones are cut
_BLOCK = 250  # queries at a time: bounds the dense similarities


@dataclass(frozen=True, slots=True)
class Anchor:
    """A corpus of standard questions whose recall was published.

    Attributes:
        name: as the author calls it.
        rows: training rows.
        classes: standard questions.
        tail: share of the classes with at most 3 rows.
        recall: recall@10 that training reached.
    """

    name: str
    rows: int
    classes: int
    tail: float
    recall: float

    @property
    def above_chance(self) -> float:
        """Recall with chance taken out: 10 of 396 are easier to hit than 10 of 1,035."""
        chance = 10 / self.classes
        return (self.recall - chance) / (1 - chance)


# One author's three corpora under one set of hyper-parameters: anecdotal, and size, classes and tail move together.
ANCHORS = (
    Anchor("A", 54_844, 396, 0.08, 0.91),
    Anchor("B", 56_014, 983, 0.13, 0.76),
    Anchor("C", 10_005, 1_035, 0.76, 0.61),
)


def expected_recall(rows: int, classes: int, tail: float) -> tuple[float, float, bool]:
    """Range of recall@10 between the three corpora, by rows per class (log) and by tail, chance taken out and put back.

    Args:
        rows: training rows.
        classes: different classes or documents.
        tail: share of the classes with at most 3 rows.

    Returns:
        Lower and upper of the two interpolations, and whether the table lies between the corpora in both; outside of
        them the nearest one is taken as it is.
    """
    size = [np.log(a.rows / a.classes) for a in reversed(ANCHORS)]
    tails = [a.tail for a in ANCHORS]
    own, chance = np.log(rows / classes), min(1.0, 10 / classes)
    both = (
        np.interp(own, size, [a.above_chance for a in reversed(ANCHORS)]),
        np.interp(tail, tails, [a.above_chance for a in ANCHORS]),
    )
    inside = bool(size[0] <= own <= size[-1] and tails[0] <= tail <= tails[-1])
    return float(chance + (1 - chance) * min(both)), float(chance + (1 - chance) * max(both)), inside


def difficulty(rows: Rows) -> Part:
    """How hard the table is: lexical figures measured on a sample, expectation interpolated, and a sentence of both."""
    if rows.pairs.kind == "graded":
        return _graded(rows)
    relevant = rows.keys.with_row_index("row").filter("relevant")
    sizes = counts(relevant["class"])
    sizes = sizes[sizes > 0]
    count = len(sizes)
    if relevant.height < 2 or count < 2:
        return Part()
    low, high, inside = expected_recall(relevant.height, count, float((sizes <= 3).mean()))
    measured, store = _measure(rows, relevant)
    reading = _reading(measured["recall@10"], measured["chance@10"])
    facts = {
        "data.difficulty": {
            "lexical": measured,
            "interpolated": {"recall@10_low": low, "recall@10_high": high, "inside": inside, "corpora": len(ANCHORS)},
            "reading": reading,
        }
    }
    beyond = "" if inside else " (it lies outside of them)"
    on = f", on a sample of {store:,} rows (all of them make it easier)" if store < relevant.height else ""
    finding = DataFinding(
        name="difficulty",
        severity="info",
        sentence=f"measured{on}: TF-IDF alone finds the right one of {measured['candidates']:,} in "
        f"{measured['recall@1']:.2f} of the cases, among the first 10 in {measured['recall@10']:.2f} (chance "
        f"{measured['chance@10']:.2f}): {reading}. Interpolated from three anecdotal corpora{beyond}: training reaches "
        f"recall@10 of {low:.2f} to {high:.2f}",
    )
    sampled = {"data.difficulty": store} if store < relevant.height else {}
    return Part(facts, (finding,), sampled)


def _reading(recall: float, chance: float) -> str:
    """Where a lexical recall@10 stands among the corpora, chance taken out on both sides."""
    if chance >= 1:
        return "ten answers are all there are, so recall@10 tells nothing"
    above = (recall - chance) / (1 - chance)
    a, b, c = ANCHORS
    if above >= a.above_chance:
        return f"easier than corpus A, where training reached {a.recall:.2f}"
    if above >= b.above_chance:
        return f"no harder than corpus B, where training reached {b.recall:.2f} (corpus A: {a.recall:.2f})"
    if above >= c.above_chance:
        return f"no harder than corpus C, where training reached {c.recall:.2f} (corpus B: {b.recall:.2f})"
    return f"words alone stay below what training reached on corpus C ({c.recall:.2f}); paraphrase decides"


def _measure(rows: Rows, relevant: pl.DataFrame) -> tuple[dict[str, Any], int]:
    """Leave-one-out search: each row's query among the other rows' queries and the documents of the sample."""
    room = _STORE if rows.document is None else _STORE // 2
    chosen = relevant if relevant.height <= room else relevant.sample(room, seed=0)
    texts, owner = rows.queries.gather(chosen["row"]), chosen["class"]
    identity = np.unique(chosen["query"].to_numpy(), return_inverse=True)[1]
    if rows.document is not None:
        first = chosen.unique("class", keep="first", maintain_order=True)
        texts = pl.concat([texts, rows.document.gather(first["row"])])
        owner = pl.concat([owner, first["class"]])
        identity = np.concatenate([identity, -1 - np.arange(first.height)])  # a document hides from nobody
    names, codes = np.unique(owner.to_numpy(), return_inverse=True)
    asked = np.sort(np.random.default_rng(0).permutation(chosen.height)[:_QUERIES])
    known = chosen.select("query", "class").unique()
    truth = chosen[asked].select(pl.int_range(pl.len()).alias("asked"), "query").join(known, on="query")
    right = np.zeros((len(asked), len(names)), dtype=bool)
    right[truth["asked"].to_numpy(), np.searchsorted(names, truth["class"].to_numpy())] = True
    found = lexical_recall(
        _vectors(texts),
        owner=codes,
        identity=identity,
        asked=asked,
        right=right,
    )
    return found, chosen.height


def _vectors(texts: pl.Series) -> csr_matrix:
    """TF-IDF of letter n-grams within words, unit rows: needs no word list and works for Chinese too."""
    room = max(20, _CHARACTERS // max(1, len(texts)))
    shortened = texts.fill_null("").str.slice(0, room).to_list()
    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), sublinear_tf=True, dtype=np.float32)
    return vectoriser.fit_transform([text if text.strip() else "?" for text in shortened]).tocsr()


def lexical_recall(
    store: csr_matrix,
    *,
    owner: Int[np.ndarray, " s"],
    identity: Int[np.ndarray, " s"],
    asked: Int[np.ndarray, " q"],
    right: Bool[np.ndarray, "q c"],
) -> dict[str, Any]:
    """Share of queries that find a right class at rank 1 and among the first 10 by their nearest stored text.

    A query does not see itself nor texts equal to it. Ties are broken at random, in expectation.

    Args:
        store: unit vectors of s texts.
        owner: class of each text, 0 to c - 1, every class at least once.
        identity: equal for equal texts.
        asked: which of the texts are looked up.
        right: classes that are right for each query.

    Returns:
        recall@1, recall@10, chance@10, queries, candidates (classes), and `alone`: share of the queries whose classes
        have no other text in the store.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    first, ten, alone = [], [], []
    for begin in range(0, len(asked), _BLOCK):
        rows = asked[begin : begin + _BLOCK]
        scores = (store[rows] @ store.T).toarray()
        scores[identity[rows][:, None] == identity[None]] = -1
        best = np.maximum.reduceat(scores[:, order], starts, axis=1)
        wanted = right[begin : begin + _BLOCK]
        target = np.where(wanted, best, -np.inf).max(axis=1, keepdims=True)
        better = ((best > target) & ~wanted).sum(axis=1)
        ties = ((best == target) & ~wanted).sum(axis=1)
        seen = target[:, 0] >= 0
        first.append(np.clip((1 - better) / (ties + 1), 0, 1) * seen)
        ten.append(np.clip((10 - better) / (ties + 1), 0, 1) * seen)
        alone.append(~seen)
    return {
        "recall@1": float(np.concatenate(first).mean()),
        "recall@10": float(np.concatenate(ten).mean()),
        "chance@10": float(np.minimum(1.0, 10 * right.sum(axis=1) / right.shape[1]).mean()),
        "queries": len(asked),
        "candidates": right.shape[1],
        "alone": float(np.concatenate(alone).mean()),
    }


def _graded(rows: Rows) -> Part:
    """Rank correlation of the grade with the TF-IDF cosine of the two sentences."""
    score = rows.pairs.table["score"].cast(pl.Float64)
    usable = (score.is_not_null() & score.is_finite()).fill_null(False).arg_true()
    chosen = usable if len(usable) <= _QUERIES else usable.sample(_QUERIES, seed=0)
    values = score.gather(chosen).to_numpy()
    if rows.document is None or len(chosen) < 3 or np.ptp(values) == 0:
        return Part()
    vectors = _vectors(pl.concat([rows.queries.gather(chosen), rows.document.gather(chosen)]))
    n = len(chosen)
    cosine = np.asarray(vectors[:n].multiply(vectors[n:]).sum(axis=1)).ravel()
    if np.ptp(cosine) == 0:
        return Part()
    found = float(spearmanr(cosine, values).statistic)
    finding = DataFinding(
        name="difficulty",
        severity="info",
        sentence=f"measured: the TF-IDF cosine of the two sentences alone correlates with the score at {found:.2f} "
        f"(spearman, {n:,} rows); a model has to beat that",
    )
    facts = {"data.difficulty": {"lexical": {"spearman": found, "rows": n}}}
    return Part(facts, (finding,), {"data.difficulty": n} if n < len(rows) else {})
