"""One way in: held-out rows and two encoders in, metrics with intervals, baselines, evidence and a verdict out.

Knows no tower: an encoder is a function from texts to unit rows.

Axes: q queries, n pairs.
"""

from __future__ import annotations

__all__ = ["Evaluation", "evaluate", "evaluate_bare", "main_metric"]

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from embedfit.evaluate import samples
from embedfit.evaluate.baselines import graded_baseline, lexical_scorer, svm_scorer
from embedfit.evaluate.classify import answers, coverage_curve
from embedfit.evaluate.embedding import Encode, embed, embed_task
from embedfit.evaluate.faq import How, Scorer, scorer
from embedfit.evaluate.fusion import cross_fitted, cross_fitted_graded
from embedfit.evaluate.graded import correlations, paired_cosine
from embedfit.evaluate.retrieval import Ranked, rank_task
from embedfit.evaluate.tasks import Keys, Task, task_of, without_label_texts
from embedfit.evaluate.verdict import Finding, verdict
from embedfit.metrics import (
    Interval,
    Ranking,
    bootstrap_mean,
    bootstrap_spearman,
    chance,
    measure,
    paired_mean,
    paired_spearman,
)
from embedfit.pairs import Kind, Pairs

_CUTS = (1, 5, 10, 50, 100)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What held-out rows say of a model.

    Attributes:
        metric: name of the main metric.
        values: flat: `recall@10`, `recall@10/low`, `recall@10/high`, `lexical/recall@10`, `svm/accuracy@1`,
            `fused/recall@10`, `chance/recall@10`, `queries`, `candidates`, `seconds`, ...
        samples: evidence, by name: `worst`, `similarity`, `recall_curve`, `coverage_curve`, `singular_values`, `map`.
        verdict: how good, against what, and what to do.
        queries: what was asked, to compare with another model on the same (graded: both sentences).
        per_query: the metrics of each query (graded: `similarity` and `grade` of each pair).
    """

    metric: str
    values: Mapping[str, float]
    samples: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""
    queries: tuple[str, ...] = ()
    per_query: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Of the main metric; higher is better."""
        return self.values[self.metric]

    def record(self) -> dict[str, Any]:
        """What `evaluation.json` holds: the values and the verdict."""
        return {"metric": self.metric, **self.values, "verdict": self.verdict}


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
        out = _graded(*encoders, pairs, known, details, seed)
    else:
        task = task_of(pairs, known, keys)
        # words see every known phrasing, also of classes that the model knows by a prototype
        worded = task
        if pairs.kind == "classes" and known is not None:
            bare = (without_label_texts(pairs), without_label_texts(known)) if keys == "prototypes" else (pairs, known)
            worded = task_of(*bare, "phrasings")
        out = _retrieval(*encoders, pairs, (task, worded), how, details, seed)
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
    task, worded = tasks
    query, key = embed_task(encode_query, encode_document, task)
    dense = scorer(query, key, task.owner, how)
    ranked = rank_task(task, dense)
    names = metric_names(main, len(task.candidates))
    per_query = {name: measure(ranked.ranking, name) for name in names}
    intervals = {name: bootstrap_mean(values, seed=seed) for name, values in per_query.items()}
    values = _flat(intervals) | {
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
        words = lexical_scorer(worded)
        lexical = rank_task(task, words).ranking
        svm = svm_scorer(worded, seed=seed) if pairs.kind == "classes" else None
        baselines, finding = _baselines(task, main, (dense, words, svm), lexical, per_query[main], seed)
        values |= baselines | _flat({f"lexical/{n}": bootstrap_mean(measure(lexical, n), seed=seed) for n in names})
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
    finding: dict[str, Any] = dict(intervals) | {"gain": paired_mean(model, by_words, seed=seed)}
    if svm is not None:
        by_svm = measure(rank_task(task, svm).ranking, main)
        intervals["svm"] = finding["svm"] = bootstrap_mean(by_svm, seed=seed)
        finding["svm_gain"] = paired_mean(model, by_svm, seed=seed)
    values = _flat({f"{name}/{main}": interval for name, interval in intervals.items()})
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


def _graded(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    known: Pairs | None,
    details: bool,
    seed: int,
) -> Evaluation:
    first, second = pairs.table["sentence1"].to_list(), pairs.table["sentence2"].to_list()
    grade = pairs.table["score"].to_numpy().astype(np.float64)
    a, b = embed(encode_query, first, "first sentences"), embed(encode_document, second, "second sentences")
    similarity = paired_cosine(a, b)
    intervals = correlations(similarity, grade, seed=seed)
    values = _flat(intervals) | {"chance/spearman": 0.0, "queries": float(len(pairs))}
    finding: dict[str, Any] = {}
    evidence: dict[str, Any] = {}
    if details:
        rest = [] if known is None else [*known.table["sentence1"].to_list(), *known.table["sentence2"].to_list()]
        words = graded_baseline(first, second, rest)
        mixed, weight = cross_fitted_graded(words, similarity, grade, seed=seed)
        lexical = correlations(words, grade, seed=seed)
        finding = {
            "lexical": lexical["spearman"],
            "gain": paired_spearman(similarity, words, grade, seed=seed),
            "fused": bootstrap_spearman(mixed, grade, seed=seed),
        }
        values |= _flat({f"lexical/{name}": interval for name, interval in lexical.items()})
        values |= _flat({"fused/spearman": finding["fused"]}) | {"fused/weight": weight}
        evidence = _graded_evidence(first, second, np.concatenate([a, b]), similarity, grade, seed)
    said = verdict(
        Finding(
            metric="spearman", kind="graded", value=intervals["spearman"], chance=0.0, queries=len(pairs), **finding
        )
    )
    return Evaluation(
        metric="spearman",
        values=values,
        samples=evidence,
        verdict=said,
        queries=tuple(f"{x}\n{y}" for x, y in zip(first, second, strict=True)),
        per_query={"similarity": similarity, "grade": grade},
    )


def _graded_evidence(
    first: list[str], second: list[str], both: np.ndarray, similarity: np.ndarray, grade: np.ndarray, seed: int
) -> dict[str, Any]:
    high = grade > (grade.min() + grade.max()) / 2
    return {
        "worst": samples.graded_worst(first, second, similarity, grade),
        "similarity": {"positive": similarity[high].tolist(), "negative": similarity[~high].tolist()},
        **samples.projection(both, first + second, ["sentence"] * len(both), seed=seed),
    }


def _flat(intervals: Mapping[str, Interval]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, interval in intervals.items():
        out |= {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}
    return out
