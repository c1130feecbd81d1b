"""One way in: held-out rows and two encoders in, metrics with intervals, baselines, evidence and a verdict out.

Knows no tower: an encoder is a function from texts to unit rows.

Axes: q queries, n pairs.
"""

from __future__ import annotations

__all__ = ["evaluate", "evaluate_bare", "main_metric"]

import time
from dataclasses import replace
from typing import Any

import numpy as np

from embedfit.evaluate import samples
from embedfit.evaluate.baselines import lexical_scorer, svm_scorer
from embedfit.evaluate.classify import answers, coverage_curve
from embedfit.evaluate.embedding import Encode, embed_task
from embedfit.evaluate.evaluation import Evaluation, flat
from embedfit.evaluate.faq import How, Scorer, scorer
from embedfit.evaluate.fusion import cross_fitted
from embedfit.evaluate.graded import evaluate_graded
from embedfit.evaluate.retrieval import Ranked, rank_task
from embedfit.evaluate.tasks import Keys, Task, task_of, worded
from embedfit.evaluate.verdict import Finding, verdict
from embedfit.metrics import Ranking, bootstrap_mean, chance, measure, paired_mean
from embedfit.pairs import Kind, Pairs

_CUTS = (1, 5, 10, 50, 100)


def main_metric(kind: Kind) -> str:
    """The one metric that decides, by kind of rows."""
    return {"classes": "accuracy@1", "graded": "spearman"}.get(kind, "recall@10")


def evaluate(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    *,
    known: Pairs | None = None,
    keys: Keys | None = None,
    how: How = "blend",
    seed: int = 0,
) -> Evaluation:
    """Measure a model on held-out rows, beside the lexical baselines, and keep evidence.

    Args:
        encode_query: texts to unit rows, float32 [n, e].
        encode_document: the same, for documents, label texts and second sentences.
        pairs: the held-out rows.
        known: the rows the model was trained on; their documents and phrasings are candidates.
        keys: how candidates are found: see `embedfit.evaluate.tasks.task_of`.
        how: how several phrasings of a candidate become one score: see `embedfit.evaluate.faq`.
        seed: of the bootstrap and of the samples.

    Raises:
        DataError: the rows cannot be evaluated.
        ModelError: an encoder gave something other than finite unit rows.
    """
    return _measured((encode_query, encode_document), pairs, known, keys, how, seed, details=True)


def evaluate_bare(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    *,
    known: Pairs | None = None,
    keys: Keys | None = None,
    how: How = "blend",
    seed: int = 0,
) -> Evaluation:
    """The model's own metrics only, without baselines and samples: for the evaluations during training.

    Arguments and errors are those of `evaluate`.
    """
    return _measured((encode_query, encode_document), pairs, known, keys, how, seed, details=False)


def _measured(
    encoders: tuple[Encode, Encode],
    pairs: Pairs,
    known: Pairs | None,
    keys: Keys | None,
    how: How,
    seed: int,
    *,
    details: bool,
) -> Evaluation:
    start = time.perf_counter()
    if pairs.kind == "graded":
        out = evaluate_graded(*encoders, pairs, known=known, details=details, seed=seed)
    else:
        task = task_of(pairs, known, keys)
        out = _retrieval(*encoders, pairs, (task, worded(task, pairs, known, keys)), how, details, seed)
    return replace(out, values={**out.values, "seconds": time.perf_counter() - start})


def _retrieval(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    tasks: tuple[Task, Task],
    how: How,
    details: bool,
    seed: int,
) -> Evaluation:
    main = main_metric(pairs.kind)
    task, by_words = tasks
    query, key = embed_task(encode_query, encode_document, task)
    dense = scorer(query, key, task.owner, how)
    ranked = rank_task(task, dense)
    names = metric_names(main, len(task.candidates))
    per_query = {name: measure(ranked.ranking, name) for name in names}
    intervals = {name: bootstrap_mean(values, seed=seed) for name, values in per_query.items()}
    values = flat(intervals) | {
        f"chance/{main}": chance(ranked.ranking, main),
        "queries": float(len(task.queries)),
        "candidates": float(len(task.candidates)),
        "queries_without_relevant": float(task.unjudged),
        "queries_without_candidate": float((ranked.expected < 0).sum()),
        "leaked_queries": float(task.leaked),
    }
    finding: dict[str, Any] = {}
    evidence: dict[str, Any] = {}
    if details:
        words = lexical_scorer(by_words)
        lexical = rank_task(task, words).ranking
        svm = svm_scorer(by_words, seed=seed) if pairs.kind == "classes" else None
        baselines, finding = _baselines(task, main, (dense, words, svm), lexical, per_query[main], seed)
        values |= baselines | flat({f"lexical/{n}": bootstrap_mean(measure(lexical, n), seed=seed) for n in names})
        evidence = _evidence(task, ranked, lexical, query, key, pairs, seed)
    said = verdict(
        Finding(
            metric=main,
            kind=pairs.kind,
            value=intervals[main],
            chance=values[f"chance/{main}"],
            queries=len(task.queries),
            candidates=len(task.candidates),
            leaked=task.leaked,
            unanswerable=int((ranked.expected < 0).sum()),
            unjudged=task.unjudged,
            **finding,
        )
    )
    return Evaluation(
        metric=main, values=values, samples=evidence, verdict=said, queries=task.queries, per_query=per_query
    )


def metric_names(main: str, candidates: int) -> list[str]:
    """The main metric first; recall only where there is something beyond the cut to confuse it with."""
    cuts = [f"recall@{k}" for k in _CUTS if k < candidates]
    return list(dict.fromkeys([main, *cuts, "mrr@10", "ndcg@10"]))


def _baselines(
    task: Task, main: str, scorers: tuple[Scorer, Scorer, Scorer | None], lexical: Ranking, model: np.ndarray, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat values and the verdict's input: lexical, fused, and for classes the SVM, all on the same queries."""
    dense, words, svm = scorers
    by_words = measure(lexical, main)
    mixed, weight = cross_fitted(task, words, dense, main, seed=seed)
    intervals = {"lexical": bootstrap_mean(by_words, seed=seed), "fused": bootstrap_mean(mixed, seed=seed)}
    finding: dict[str, Any] = dict(intervals) | {
        "gain": paired_mean(model, by_words, seed=seed),
        "fused_gain": paired_mean(mixed, model, seed=seed),
    }
    if svm is not None:
        by_svm = measure(rank_task(task, svm).ranking, main)
        intervals["svm"] = finding["svm"] = bootstrap_mean(by_svm, seed=seed)
        finding["svm_gain"] = paired_mean(model, by_svm, seed=seed)
    values = flat({f"{name}/{main}": interval for name, interval in intervals.items()})
    return values | {"fused/weight": weight}, finding


def _evidence(
    task: Task,
    ranked: Ranked,
    lexical: Ranking,
    query: np.ndarray,
    key: np.ndarray,
    pairs: Pairs,
    seed: int,
) -> dict[str, Any]:
    if pairs.kind == "classes":
        expected = dict(zip(task.query.tolist(), task.relevant.tolist(), strict=True))
        labels = [task.candidates[c] if (c := expected[i]) >= 0 else "" for i in range(len(task.queries))]
        labels += [task.candidates[c] for c in task.owner]
    else:
        labels = ["query"] * len(task.queries) + ["query" if side else "document" for side in task.phrased]
    return {
        "worst": samples.worst(task, ranked),
        "similarity": samples.similarities(task, query, key, seed=seed),
        "recall_curve": samples.curve(ranked.ranking, lexical),
        "coverage_curve": coverage_curve(answers(ranked)),
        **samples.projection(np.concatenate([query, key]), [*task.queries, *task.keys], labels, seed=seed),
    }
