"""Pair classification: are two texts the same, yes or no? The threshold is chosen on other rows than those reported on.

Average precision needs no threshold and is the main metric. Accuracy, F1, precision and recall are those of the
threshold on cosine at which F1 is best on the dev rows.

Axes: n pairs.
"""

from __future__ import annotations

__all__ = ["evaluate_binary", "is_binary"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from embedfit.errors import DataError
from embedfit.evaluate.baselines import graded_baseline
from embedfit.evaluate.classify import pair_decision, pair_threshold
from embedfit.evaluate.embedding import Encode
from embedfit.evaluate.evaluation import Evaluation, flat
from embedfit.evaluate.graded import Compared, compared, graded_evidence
from embedfit.evaluate.verdict import Finding, verdict
from embedfit.metrics import (
    Interval,
    Ranking,
    average_precision_of,
    bootstrap_mean,
    bootstrap_statistic,
    chance,
    f1_of,
    paired_statistics,
)
from embedfit.pairs import Pairs


def is_binary(pairs: Pairs) -> bool:
    """Whether graded rows say no more than the same (1) or not (0), and hold both."""
    return pairs.kind == "graded" and set(pairs.table["score"].unique().to_list()) == {0, 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judge:
    """One way to score pairs (cosine, or words), with a threshold where dev rows chose one."""

    score: Float[np.ndarray, " n"]
    threshold: float | None

    def said(self) -> Bool[np.ndarray, " n"]:
        """What the threshold decides."""
        assert self.threshold is not None
        return self.score >= self.threshold

    def intervals(self, same: Bool[np.ndarray, " n"], seed: int) -> dict[str, Interval]:
        """Average precision, and accuracy and F1 where there is a threshold."""
        precision = average_precision_of(self.score, same)
        out = {"average_precision": bootstrap_statistic(precision, same.size, seed=seed)}
        if self.threshold is None:
            return out
        said = self.said()
        out["accuracy"] = bootstrap_mean((said == same).astype(np.float64), seed=seed)
        return out | {"f1": bootstrap_statistic(f1_of(same, said), same.size, seed=seed)}

    def at_threshold(self, same: Bool[np.ndarray, " n"]) -> dict[str, float]:
        """The threshold with precision and recall; nothing where there is none."""
        if self.threshold is None:
            return {}
        decision = pair_decision(self.score, same, self.threshold)
        return {name: decision[name] for name in ("threshold", "precision", "recall")}


def evaluate_binary(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    *,
    dev: Pairs | None = None,
    known: Pairs | None = None,
    details: bool = True,
    seed: int = 0,
) -> Evaluation:
    """How well cosine tells pairs that are the same from others, beside TF-IDF.

    Args:
        encode_query: texts to unit rows, float32 [n, e].
        encode_document: the same, for second sentences.
        pairs: graded rows with scores 0 and 1.
        dev: other such rows, to choose the threshold on; None: average precision only, which needs none.
        known: other graded rows; the lexical baseline counts their words too.
        details: the baseline and evidence beside.
        seed: of the bootstrap and of the samples.

    Raises:
        DataError: scores other than 0 and 1, or only one of them.
        ModelError: an encoder gave something other than finite unit rows.
    """
    for rows, what in ((pairs, "the rows"), (dev, "the rows to choose the threshold on")):
        if rows is not None and not is_binary(rows):
            raise DataError(
                f"{what} are no pairs with score 0 (not the same) and 1 (the same), some of each",
                hint="sentence1, sentence2, score",
            )
    test = compared(encode_query, encode_document, pairs)
    other = None if dev is None else compared(encode_query, encode_document, dev)
    same = test.grade > 0
    model = _judge(test.similarity, other, None if other is None else other.similarity)
    intervals = model.intervals(same, seed)
    values = flat(intervals) | model.at_threshold(same)
    values |= {"chance/average_precision": _chance(same), "queries": float(same.size), "same": float(same.sum())}
    finding: dict[str, Any] = {}
    if details:
        words = _words(test, other, known)
        lexical = words.intervals(same, seed)
        beside = flat(lexical) | words.at_threshold(same)
        values |= {f"lexical/{name}": value for name, value in beside.items()}
        of_model, of_words = (average_precision_of(judge.score, same) for judge in (model, words))
        gain = paired_statistics(of_model, of_words, same.size, seed=seed)
        finding = {"lexical": lexical["average_precision"], "gain": gain}
    found = Finding(
        metric="average_precision",
        kind="graded",
        value=intervals["average_precision"],
        chance=values["chance/average_precision"],
        queries=same.size,
        **finding,
    )
    per_query = {"similarity": test.similarity, "grade": test.grade}
    if model.threshold is not None:
        per_query |= {"said": model.said(), "accuracy": (model.said() == same).astype(np.float64)}
    return Evaluation(
        metric="average_precision",
        values=values,
        samples=graded_evidence(test, seed) if details else {},
        verdict=f"{verdict(found)} {_decided(values, test, other)}",
        queries=test.queries(),
        per_query=per_query,
    )


def _judge(score: Float[np.ndarray, " n"], dev: Compared | None, on_dev: Float[np.ndarray, " _"] | None) -> _Judge:
    if dev is None or on_dev is None:
        return _Judge(score=score, threshold=None)
    # where it is best to accept every pair, the lowest cosine there is says so, too
    return _Judge(score=score, threshold=max(-1.0, pair_threshold(on_dev, dev.grade > 0)))


def _words(test: Compared, dev: Compared | None, known: Pairs | None) -> _Judge:
    """TF-IDF over all sentences at hand, so that the two cosines mean the same on both sides."""
    rest = [] if known is None else [*known.table["sentence1"].to_list(), *known.table["sentence2"].to_list()]
    beside = (dev.first, dev.second) if dev is not None else ([], [])
    score = graded_baseline(test.first + beside[0], test.second + beside[1], rest)
    return _judge(score[: len(test.first)], dev, score[len(test.first) :])


def _chance(same: Bool[np.ndarray, " n"]) -> float:
    """Average precision of a random order."""
    found = int(same.sum())
    some = np.arange(1, found + 1)
    ranking = Ranking(rank=some, query=some * 0, gain=np.ones(found), queries=1, candidates=same.size)
    return chance(ranking, "map")


def _decided(values: dict[str, float], test: Compared, dev: Compared | None) -> str:
    """What the threshold is worth, or how to get one."""
    if dev is None:
        return "No threshold was chosen: that needs other rows (--dev FILE)."
    beside = [f" (TF-IDF {values[f'lexical/{n}']:.3f})" if f"lexical/{n}" in values else "" for n in ("accuracy", "f1")]
    said = (
        f"At the threshold {values['threshold']:.3f}, chosen on {len(dev.first):,} other pairs, accuracy is "
        f"{values['accuracy']:.3f}{beside[0]} and F1 {values['f1']:.3f}{beside[1]}."
    )
    twice = len(set(test.queries()) & set(dev.queries()))
    return f"{said} {twice:,} of the pairs are among those, which flatters both." if twice else said
