"""Queries that no class answers: the threshold is chosen on dev rows, reported on test rows, beside the lexical one."""

from __future__ import annotations

__all__ = ["out_of_scope"]

from collections.abc import Mapping

from embedfit.errors import DataError
from embedfit.evaluate.baselines import lexical_scorer
from embedfit.evaluate.classify import RejectionObjective, answers, rejection, rejection_threshold
from embedfit.evaluate.embedding import Encode, embed_task
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
