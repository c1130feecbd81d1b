"""Queries that no document answers: which threshold refuses them, and what it costs.

Axes: n queries with an answer, m queries without one.
"""

from __future__ import annotations

__all__ = ["ENOUGH", "Refusal", "best_scores", "out_of_scope", "refusal", "refusal_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from embedfit.errors import DataError
from embedfit.evaluate.baselines import lexical_scorer
from embedfit.evaluate.classify import Answers, RejectionObjective, answers, rejection, rejection_threshold
from embedfit.evaluate.embedding import Encode, embed, embed_task
from embedfit.evaluate.faq import How, Scorer, scorer
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.tasks import Keys, Task, task_of
from embedfit.pairs import Pairs


def out_of_scope(
    encode_query: Encode,
    encode_document: Encode,
    dev: Pairs,
    test: Pairs,
    *,
    known: Pairs,
    keys: Keys | None = None,
    how: How = "blend",
    objective: RejectionObjective = "keep",
) -> Mapping[str, float]:
    """How well a model tells the queries it can answer from those it cannot.

    Args:
        encode_query: texts to unit rows.
        encode_document: the same for documents.
        dev: rows of kind classes, in and out of scope, to choose the threshold on. A row is out of scope when its label
            is no label of `known`.
        test: other such rows, to report on.
        known: the classes and their phrasings.
        keys: how classes are found: see `embedfit.evaluate.tasks.task_of`.
        how: how the phrasings of a class become one score.
        objective: what the threshold is chosen for: see `rejection_threshold`.

    Returns:
        The values of `embedfit.evaluate.classify.rejection` on the test rows, and the same as `lexical/...`.

    Raises:
        DataError: rows of another kind, or nothing to choose a threshold by: see `rejection_threshold`.
    """
    if {dev.kind, test.kind, known.kind} != {"classes"}:
        raise DataError(
            f"expected rows of kind 'classes', got {dev.kind}, {test.kind} and {known.kind}",
            hint="read them with kind='classes'",
        )
    tasks = task_of(dev, known, keys), task_of(test, known, keys)

    def measured(on_dev: Scorer, on_test: Scorer) -> Mapping[str, float]:
        chosen = rejection_threshold(answers(rank_task(tasks[0], on_dev)), objective)
        return rejection(answers(rank_task(tasks[1], on_test)), chosen)

    def dense(task: Task) -> Scorer:
        return scorer(*embed_task(encode_query, encode_document, task), task.owner, how)

    worded = task_of(dev, known, "phrasings"), task_of(test, known, "phrasings")
    words = measured(lexical_scorer(worded[0]), lexical_scorer(worded[1]))
    return {**measured(dense(tasks[0]), dense(tasks[1])), **{f"lexical/{name}": value for name, value in words.items()}}


ENOUGH = 20
"""Out-of-scope queries that a threshold is chosen with; fewer say little of what will come."""
DEAREST = 0.9
"""Share of the right answers that refusing must leave, however many out-of-scope queries it would refuse."""
_BLOCK = 256  # queries whose scores are held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """When a query gets no answer, and what comes of that.

    Attributes:
        threshold: a best answer that scores below is none.
        refused: share of the out-of-scope queries that are refused; None where there were none.
        kept: share of the right answers that are still given; None as above.
    """

    threshold: float
    refused: float | None = None
    kept: float | None = None


def refusal(given: Answers, outside: Float[np.ndarray, " m"], *, seed: int = 0) -> Refusal | None:
    """Choose a threshold on held-out queries, and measure it on queries it was not chosen on.

    With `ENOUGH` out-of-scope queries the threshold is the one that best tells them from the queries answered rightly
    ("separate" of `rejection_threshold`) and costs a tenth of these at most, else the one that keeps 97 % of the right
    answers ("keep"). Both shares are cross-fitted: each half of the queries is measured with the threshold of the
    other half.

    Args:
        given: answers to the held-out queries.
        outside: best score of each out-of-scope query.
        seed: of the halves.

    Returns:
        None where no answer is right: then no threshold can be chosen.
    """
    right = np.flatnonzero(given.right())
    if not right.size:
        return None
    objective: RejectionObjective = "separate" if outside.size >= ENOUGH else "keep"
    threshold = _chosen(given, outside, objective)
    if not outside.size:
        return Refusal(threshold=threshold)
    of_given, of_outside = np.full(given.score.size, threshold), np.full(outside.size, threshold)
    if right.size > 1 and outside.size > 1:  # else there are no halves
        rng = np.random.default_rng(seed)
        side, outer_side = np.arange(given.score.size) % 2, rng.permutation(outside.size) % 2
        side[right] = rng.permutation(right.size) % 2
        for half in (0, 1):
            limit = _chosen(_some(given, side != half), outside[outer_side != half], objective)
            of_given[side == half], of_outside[outer_side == half] = limit, limit
    return Refusal(
        threshold=threshold,
        refused=float((outside < of_outside).mean()),
        kept=float((given.score >= of_given)[right].mean()),
    )


def refusal_of(
    encode_query: Encode, encode_document: Encode, task: Task, outside: Sequence[str], *, how: How
) -> Refusal | None:
    """The same for a model.

    Args:
        encode_query: texts to unit rows.
        encode_document: the same for documents.
        task: the held-out queries and what they look among.
        outside: queries that none of the documents answers.
        how: how several keys of a document become one score.
    """
    query, key = embed_task(encode_query, encode_document, task)
    given = answers(rank_task(task, scorer(query, key, task.owner, how)))
    other = embed(encode_query, outside, "queries out of scope") if outside else query[:0]
    return refusal(given, best_scores(scorer(other, key, task.owner, how), len(outside)))


def best_scores(score: Scorer, queries: int) -> Float[np.ndarray, " m"]:
    """Score of the best candidate of each query."""
    blocks = (np.arange(first, min(first + _BLOCK, queries)) for first in range(0, queries, _BLOCK))
    return np.concatenate([np.empty(0), *(score(rows).max(axis=1) for rows in blocks)])


def _some(given: Answers, rows: Bool[np.ndarray, " n"]) -> Answers:
    return Answers(score=given.score[rows], predicted=given.predicted[rows], label=given.label[rows])


def _chosen(given: Answers, outside: Float[np.ndarray, " m"], objective: RejectionObjective) -> float:
    if objective == "keep":  # those out of scope have no say in it
        return rejection_threshold(given, objective)
    none = np.full(outside.size, -1)
    both = Answers(
        score=np.concatenate([given.score, outside]),
        predicted=np.concatenate([given.predicted, none]),
        label=np.concatenate([given.label, none]),
    )
    right = np.sort(given.score[given.right()])
    dearest = right[int((1 - DEAREST) * right.size)]  # a score at the threshold is answered
    return min(rejection_threshold(both, objective), float(dearest))
