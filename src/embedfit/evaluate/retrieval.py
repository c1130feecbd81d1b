"""Rank every candidate for every query, exactly, in blocks of bounded memory.

Source of the worst-case rule for ties: `embedfit.metrics`. No tolerance is involved: candidates with equal embeddings
are scored by the same product and tie exactly; any other two scores are ordered as they come out.

Axes: q queries, b queries of a block, c candidates, k keys, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Ranked", "blocks", "rank_task"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embedfit.evaluate.faq import Scorer
from embedfit.evaluate.tasks import Task
from embedfit.metrics import Ranking, join, rank

_CELLS = 1 << 24  # of one block of scores: 64 MiB in float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """What came out for each query.

    Attributes:
        ranking: the ranks of the relevant candidates.
        answer: the candidate at the top; where a wrong one ties with a right one, the wrong one.
        score: its score.
        expected: the best-placed relevant candidate; -1 where none is among the candidates.
        expected_score: its score; -inf where there is none.
    """

    ranking: Ranking
    answer: Int[np.ndarray, " q"]
    score: Float[np.ndarray, " q"]
    expected: Int[np.ndarray, " q"]
    expected_score: Float[np.ndarray, " q"]


def rank_task(task: Task, score: Scorer, rows: Int[np.ndarray, " b"] | None = None) -> Ranked:
    """Rank all candidates of a task for its queries, or for some of them.

    Args:
        task: queries, candidates and what is relevant.
        score: a scorer over the candidates of the task.
        rows: numbers of the queries to ask; None for all.
    """
    return _join([_rank_block(task, score, block) for block in blocks(task, rows)])


def blocks(task: Task, rows: Int[np.ndarray, " b"] | None = None) -> Iterator[Int[np.ndarray, " _"]]:
    """The queries (None: all) in blocks whose scores fit into bounded memory."""
    rows = np.arange(len(task.queries)) if rows is None else rows
    size = max(1, _CELLS // len(task.keys))
    return (rows[start : start + size] for start in range(0, rows.size, size))


def _rank_block(task: Task, score: Scorer, rows: Int[np.ndarray, " b"]) -> Ranked:
    scores = score(rows)
    line = np.arange(rows.size)
    itself = task.itself[rows]
    scores[line[itself >= 0], itself[itself >= 0]] = -np.inf
    first, last = np.searchsorted(task.query, rows), np.searchsorted(task.query, rows, "right")
    taken = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    query, relevant = np.repeat(line, last - first), task.relevant[taken]
    ranking = rank(scores, query, relevant, task.gain[taken])
    there = relevant >= 0
    own = np.full(rows.size, -np.inf, scores.dtype)
    np.maximum.at(own, query[there], scores[query[there], relevant[there]])
    expected = np.full(rows.size, -1, np.int64)
    best = there & (np.where(there, scores[query, relevant], -np.inf) == own[query])
    expected[query[best]] = relevant[best]
    scores[query[there], relevant[there]] = -np.inf
    wrong = scores.argmax(1)
    wrong_score = scores[line, wrong]
    right = own > wrong_score
    return Ranked(
        ranking=ranking,
        answer=np.where(right, expected, wrong),
        score=np.where(right, own, wrong_score).astype(np.float64),
        expected=expected,
        expected_score=own.astype(np.float64),
    )


def _join(parts: list[Ranked]) -> Ranked:
    return Ranked(
        ranking=join([p.ranking for p in parts]),
        answer=np.concatenate([p.answer for p in parts]),
        score=np.concatenate([p.score for p in parts]),
        expected=np.concatenate([p.expected for p in parts]),
        expected_score=np.concatenate([p.expected_score for p in parts]),
    )
