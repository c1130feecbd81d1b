"""Decisions by a threshold: are two texts the same, and is a query answered at all?

A threshold is chosen on dev rows and reported on test rows. The choice is the exact optimum: every cut between two
neighbouring scores is tried at once, in O(n log n); equal scores are never separated.

Axes: n rows, t possible thresholds.
"""

from __future__ import annotations

__all__ = [
    "Answers",
    "answers",
    "coverage_curve",
    "pair_decision",
    "pair_threshold",
    "precision_threshold",
    "rejection",
    "rejection_threshold",
]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from embedfit.errors import DataError
from embedfit.evaluate.retrieval import Ranked
from embedfit.metrics import accuracy, average_precision, f1, rank

PairObjective = Literal["f1", "accuracy"]
RejectionObjective = Literal["keep", "separate", "balanced", "accuracy"]
KEPT = 0.97
"""Share of the right answers that a threshold chosen by "keep" must not cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """The first candidate for each query, before anything is refused.

    Attributes:
        score: how sure the model is; below the threshold there is no answer.
        predicted: number of the class it names.
        label: number of the right class; -1 for a query that has none (out of scope).
    """

    score: Float[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if not self.score.size:
            raise DataError("there is no query to decide on", hint="give at least one held-out query")
        if np.isnan(self.score).any():
            raise DataError(
                "a score is NaN: no threshold can decide on it",
                hint="look at the embeddings: one of them is not finite",
            )

    def right(self) -> Bool[np.ndarray, " n"]:
        """The answer would be right; never for a query out of scope."""
        return (self.predicted == self.label) & (self.label >= 0)


def answers(ranked: Ranked) -> Answers:
    """The first answer to each query; one whose right answer is not among the candidates is out of scope."""
    return Answers(score=ranked.score, predicted=ranked.answer, label=ranked.expected)


def pair_threshold(
    score: Float[np.ndarray, " n"], same: Bool[np.ndarray, " n"], objective: PairObjective = "f1"
) -> float:
    """The threshold on similarity at which "same" has the best F1 or accuracy; of equal ones the lowest.

    Args:
        score: similarity of each pair.
        same: the pairs that are the same.
        objective: what is maximised.
    """
    threshold, (accepted, right) = _cuts(score, np.ones(score.size, bool), same)
    if objective == "f1":
        value = 2 * right / np.maximum(accepted + same.sum(), 1)
    else:
        value = (right + (~same).sum() - (accepted - right)) / score.size
    return float(threshold[value.argmax()])


def pair_decision(
    score: Float[np.ndarray, " n"], same: Bool[np.ndarray, " n"], threshold: float
) -> Mapping[str, float]:
    """Accuracy, F1, precision, recall at a threshold, and average precision over all of them (ties worst).

    Raises:
        DataError: no pair is the same.
    """
    if not same.any():
        raise DataError(f"none of {same.size} pairs is the same: nothing to find", hint="give pairs of both sorts")
    said = score >= threshold
    right = float((said & same).sum())
    ranking = rank(score[None], np.zeros(int(same.sum()), np.int64), np.flatnonzero(same))
    return {
        "threshold": threshold,
        "accuracy": accuracy(same, said),
        "f1": 2 * right / float(said.sum() + same.sum()),
        "precision": right / max(1.0, float(said.sum())),
        "recall": right / float(same.sum()),
        "average_precision": float(average_precision(ranking)[0]),
    }


def rejection_threshold(dev: Answers, objective: RejectionObjective = "keep") -> float:
    """The score below which a query gets no answer; of equally good ones the lowest, which answers most.

    Args:
        dev: answers to queries in scope and out of scope.
        objective: "keep": the highest threshold at which 97 % of the right answers are still given; it needs no
            out-of-scope queries, and a weak model is not silenced by it. "separate": the highest mean of the share of
            the right answers that are still given and the share of out-of-scope queries refused; a weak model is not
            silenced by that either, for its wrong answers do not count. "balanced": mean of in-scope accuracy (a
            refused query counts as wrong) and the share of out-of-scope queries refused. "accuracy": share of all
            queries treated rightly.

    Raises:
        DataError: "keep", "separate": no right answer. All but "keep": no query in scope, or none out of scope.
    """
    if objective in ("keep", "separate") and not dev.right().any():
        raise DataError("no answer is right: there is nothing to keep", hint="train a better model first")
    if objective == "keep":
        right = np.sort(dev.score[dev.right()])
        # half-way to the next lower score, so that the answer at the limit itself is given
        limit = right[int((1 - KEPT) * right.size)]
        below = dev.score[dev.score < limit]
        return float((limit + below.max()) / 2 if below.size else limit)
    outside = dev.label < 0
    if outside.all() or not outside.any():
        raise DataError(
            f"{int(outside.sum())} of {outside.size} queries are out of scope: no threshold can be learned from that",
            hint="give queries of both sorts, or choose a threshold for a precision (precision_threshold)",
        )
    threshold, (let_in, right) = _cuts(dev.score, outside, dev.right())
    refused = outside.sum() - let_in
    if objective == "accuracy":
        value = right + refused
    else:
        value = right / (right[0] if objective == "separate" else (~outside).sum()) + refused / outside.sum()
    return float(threshold[value.argmax()])


def precision_threshold(dev: Answers, precision: float) -> float:
    """The lowest threshold at which at least this share of the answers given is right; +inf where none reaches it."""
    threshold, (answered, right) = _cuts(dev.score, np.ones(dev.score.size, bool), dev.right())
    enough = (right >= precision * answered) & (answered > 0)
    return float(threshold[enough.argmax()]) if enough.any() else float("inf")


def rejection(test: Answers, threshold: float) -> Mapping[str, float]:
    """What a threshold is worth on other queries than it was chosen on.

    Returns:
        `threshold`; `accuracy` of all queries; `in_scope_accuracy` (refused counts as wrong) and `oos_recall` (share of
        out-of-scope queries refused), each where there are such queries; `macro_f1` and `micro_f1` over the classes;
        `coverage` (share of queries answered) and `precision` (share of answers right; 1 where none is given).
    """
    answered = test.score >= threshold
    right = test.right() & answered
    outside = test.label < 0
    predicted = np.where(answered, test.predicted, -1)
    out = {
        "threshold": threshold,
        "accuracy": accuracy(test.label, predicted),
        "macro_f1": f1(test.label, predicted, "macro", no_class=-1),
        "micro_f1": f1(test.label, predicted, "micro", no_class=-1),
        "coverage": float(answered.mean()),
        "precision": float(right.sum() / answered.sum()) if answered.any() else 1.0,
    }
    if not outside.all():
        out["in_scope_accuracy"] = float(right[~outside].mean())
    if outside.any():
        out["oos_recall"] = float((~answered)[outside].mean())
    return out


def coverage_curve(test: Answers, points: int = 100) -> list[dict[str, float]]:
    """How right the answers are when only the surest are given: threshold, coverage, precision, surest last.

    Args:
        test: answers before refusal.
        points: at most this many, evenly spread over the possible thresholds.
    """
    threshold, (answered, right) = _cuts(test.score, np.ones(test.score.size, bool), test.right())
    some = np.unique(np.linspace(0, threshold.size - 2, min(points, threshold.size - 1)).round().astype(int))
    return [
        {
            "threshold": float(threshold[i]),
            "coverage": float(answered[i] / test.score.size),
            "precision": float(right[i] / answered[i]),
        }
        for i in some
    ]


def _cuts(
    score: Float[np.ndarray, " n"], *flags: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " t"], list[Int[np.ndarray, " t"]]]:
    """Every different decision a threshold can make, from accepting all to accepting none.

    Returns:
        Thresholds, ascending: below all scores, half-way between neighbours, above all. And for each flag the number of
        flagged rows at or above each of them.
    """
    values, group = np.unique(score.astype(np.float64), return_inverse=True)
    # (a + b) / 2 may round to a; then the rows at b must be let in and those at a not
    between = np.where((middle := (values[:-1] + values[1:]) / 2) > values[:-1], middle, values[1:])
    threshold = np.concatenate([[-np.inf], between, [np.inf]])
    counts = [np.bincount(group, weights=flag, minlength=values.size).astype(np.int64) for flag in flags]
    return threshold, [np.append(np.cumsum(count[::-1])[::-1], 0) for count in counts]
