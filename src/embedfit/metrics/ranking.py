"""Rank metrics: recall, hits, reciprocal rank, nDCG, average precision, and what a random ranking gets.

Ties never help: within a group of equal scores the relevant documents are taken to come last, and among them the least
relevant first. A model that gives every document the same score therefore gets the worst ranks there are, not a hit.

Axes: q queries, d candidate documents, r relevant (query, document) pairs.
"""

from __future__ import annotations

__all__ = [
    "NEVER",
    "Ranking",
    "average_precision",
    "chance",
    "hit",
    "join",
    "measure",
    "ndcg",
    "rank",
    "recall",
    "reciprocal_rank",
]

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from embedfit.errors import DataError

NEVER = np.iinfo(np.int64).max  # the rank of a relevant document that is not among the candidates
_CELLS = 1 << 24  # of one temporary matrix: 128 MiB in float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """Where the relevant documents of each query came, all that rank metrics need to know.

    Attributes:
        rank: rank of each relevant document, from 1, ascending within a query; `NEVER` where it is no candidate.
        query: the query it belongs to, ascending.
        gain: graded relevance, > 0.
        queries: how many queries; each has at least one relevant document.
        candidates: how many documents were ranked.
    """

    rank: Int[np.ndarray, " r"]
    query: Int[np.ndarray, " r"]
    gain: Float[np.ndarray, " r"]
    queries: int
    candidates: int

    def __post_init__(self) -> None:
        without = self.queries - np.unique(self.query).size
        if without:
            raise DataError(
                f"{without} of {self.queries} queries have no relevant document",
                hint="leave them out and say how many they are: no rank metric is defined for them",
            )

    def counts(self) -> Int[np.ndarray, " q"]:
        """How many relevant documents each query has."""
        return np.bincount(self.query, minlength=self.queries)

    def first(self) -> Int[np.ndarray, " q"]:
        """Rank of the best-placed relevant document of each query."""
        return self.rank[np.searchsorted(self.query, np.arange(self.queries))]


def rank(
    scores: Float[np.ndarray, "q d"],
    query: Int[np.ndarray, " r"],
    document: Int[np.ndarray, " r"],
    gain: Float[np.ndarray, " r"] | None = None,
) -> Ranking:
    """Rank the relevant documents of each query among all candidates; ties worst.

    The rank is counted, not sorted: one pass over the row of each relevant document, so it is exact at any depth.

    Args:
        scores: every query against every candidate; -inf takes a cell out.
        query: row of each relevant pair.
        document: column of each relevant pair; -1 where the document is not among the candidates.
        gain: graded relevance, > 0; without it all are 1.

    Raises:
        DataError: a score is NaN, or a query has no relevant document.
    """
    if np.isnan(scores).any():
        raise DataError("the scores hold NaN: they cannot be ranked", hint="look for the first non-finite embedding")
    gain = np.ones(query.size) if gain is None else gain.astype(np.float64)
    own = np.where(document >= 0, scores[query, document], -np.inf).astype(scores.dtype)
    order = np.lexsort((gain, -own, document < 0, query))
    query, document, gain, own = query[order], document[order], gain[order], own[order]
    position = np.arange(query.size) - np.searchsorted(query, query) + 1
    relevant_above = _last_of_group(query, own, document < 0) - np.searchsorted(query, query) + 1
    all_above = np.empty(query.size, np.int64)
    step = max(1, _CELLS // max(1, scores.shape[1]))
    for start in range(0, query.size, step):
        rows = slice(start, start + step)
        all_above[rows] = np.count_nonzero(scores[query[rows]] >= own[rows, None], axis=1)
    ranks = np.where(document >= 0, all_above - relevant_above + position, NEVER)
    return Ranking(rank=ranks, query=query, gain=gain, queries=scores.shape[0], candidates=scores.shape[1])


def _last_of_group(*keys: Shaped[np.ndarray, " r"]) -> Int[np.ndarray, " r"]:
    """Index of the last member of each run of equal keys."""
    if not keys[0].size:
        return np.zeros(0, np.int64)
    change = np.zeros(keys[0].size - 1, bool)
    for key in keys:
        change |= key[1:] != key[:-1]
    last = np.append(np.flatnonzero(change), keys[0].size - 1)
    return np.repeat(last, np.diff(last, prepend=-1))


def join(parts: Sequence[Ranking]) -> Ranking:
    """The rankings of several blocks of queries against the same candidates, one after the other."""
    before = np.cumsum([0] + [p.queries for p in parts[:-1]])
    return Ranking(
        rank=np.concatenate([p.rank for p in parts]),
        query=np.concatenate([p.query + b for p, b in zip(parts, before, strict=True)]),
        gain=np.concatenate([p.gain for p in parts]),
        queries=sum(p.queries for p in parts),
        candidates=parts[0].candidates,
    )


def hit(ranking: Ranking, k: int) -> Float[np.ndarray, " q"]:
    """1 where at least one relevant document is among the first k (accuracy@k when one is relevant)."""
    return (ranking.first() <= k).astype(np.float64)


def recall(ranking: Ranking, k: int) -> Float[np.ndarray, " q"]:
    """Share of the relevant documents of each query that are among its first k."""
    return _per_query(ranking, ranking.rank <= k) / ranking.counts()


def reciprocal_rank(ranking: Ranking, k: int | None = None) -> Float[np.ndarray, " q"]:
    """1 / rank of the first relevant document; 0 beyond rank k."""
    first = ranking.first()
    return np.where(first <= (NEVER - 1 if k is None else k), 1 / first, 0.0)


def ndcg(ranking: Ranking, k: int) -> Float[np.ndarray, " q"]:
    """Normalised discounted cumulative gain of the first k: sum of gain / log2(rank + 1), over its best possible value.

    Source: Jarvelin and Kekalainen 2002, with linear gains as trec_eval and BEIR have them.
    """
    return _dcg(ranking, ranking.rank, k) / _dcg(ranking, _ideal(ranking), k)


def average_precision(ranking: Ranking) -> Float[np.ndarray, " q"]:
    """Mean over the relevant documents of the precision at their rank; a document never found counts 0."""
    position = np.arange(ranking.query.size) - np.searchsorted(ranking.query, ranking.query) + 1
    return _per_query(ranking, np.where(ranking.rank < NEVER, position / ranking.rank, 0.0)) / ranking.counts()


def _dcg(ranking: Ranking, ranks: Int[np.ndarray, " r"], k: int) -> Float[np.ndarray, " q"]:
    return _per_query(ranking, np.where(ranks <= k, ranking.gain / np.log2(ranks + 1.0), 0.0))


def _ideal(ranking: Ranking) -> Int[np.ndarray, " r"]:
    """The rank each relevant document would have in the best order: the most relevant first."""
    order = np.lexsort((-ranking.gain, ranking.query))
    ranks = np.empty(order.size, np.int64)
    ranks[order] = np.arange(order.size) - np.searchsorted(ranking.query, ranking.query) + 1
    return ranks


def _per_query(ranking: Ranking, values: Shaped[np.ndarray, " r"]) -> Float[np.ndarray, " q"]:
    return np.bincount(ranking.query, weights=values.astype(np.float64), minlength=ranking.queries)


def measure(ranking: Ranking, metric: str) -> Float[np.ndarray, " q"]:
    """A metric by its usual name, one value per query: recall@k, accuracy@k (a hit), mrr, mrr@k, ndcg@k, map.

    Raises:
        DataError: there is no such metric.
    """
    name, k = _parse(metric)
    if name == "map":
        return average_precision(ranking)
    if name == "mrr":
        return reciprocal_rank(ranking, k)
    assert k is not None
    return {"recall": recall, "accuracy": hit, "ndcg": ndcg}[name](ranking, k)


def _parse(metric: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(recall|accuracy|ndcg|mrr)@([1-9][0-9]*)|(mrr|map)", metric)
    if match is None:
        raise DataError(f"there is no metric '{metric}'", hint="one of recall@k, accuracy@k, ndcg@k, mrr@k, mrr, map")
    return match[1] or match[3], int(match[2]) if match[2] else None


def chance(ranking: Ranking, metric: str) -> float:
    """Exact mean of a metric over all orders of the candidates, equally likely: what a random ranking gets.

    Raises:
        DataError: there is no such metric.
    """
    name, k = _parse(metric)
    n = ranking.candidates
    k = n if k is None else min(k, n)
    found = _per_query(ranking, ranking.rank < NEVER).astype(np.int64)  # relevant and a candidate
    share = found / ranking.counts()
    if name == "recall":
        return float(np.mean(share * k / n))
    if name == "ndcg":
        gain = _per_query(ranking, np.where(ranking.rank < NEVER, ranking.gain, 0.0))
        discount = np.sum(1 / np.log2(np.arange(1, k + 1) + 1.0))
        return float(np.mean(gain / n * discount / _dcg(ranking, _ideal(ranking), k)))
    relevant, back = np.unique(found, return_inverse=True)
    one = {"accuracy": _chance_hit, "mrr": _chance_reciprocal, "map": _chance_average_precision}[name]
    each = np.array([one(n, int(r), k) if r else 0.0 for r in relevant])[back]
    return float(np.mean(each * share if name == "map" else each))


def _first_at(n: int, r: int, k: int) -> Float[np.ndarray, " k"]:
    """Probability that the first of r relevant among n stands at rank 1, ..., k of a random order."""
    place = np.arange(k)
    none_before = np.concatenate([[1.0], np.cumprod(np.maximum(n - r - place, 0) / (n - place))[:-1]])
    return none_before * r / (n - place)


def _chance_hit(n: int, r: int, k: int) -> float:
    return float(min(1.0, _first_at(n, r, k).sum()))


def _chance_reciprocal(n: int, r: int, k: int) -> float:
    return float(np.sum(_first_at(n, r, k) / np.arange(1, k + 1)))


def _chance_average_precision(n: int, r: int, k: int) -> float:
    """Expectation of average precision (Bestgen 2015, Exact expected average precision of the random baseline)."""
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    return harmonic / n + ((r - 1) / (n - 1) * (n - harmonic) / n if n > 1 else 0.0)
