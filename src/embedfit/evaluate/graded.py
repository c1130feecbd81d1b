"""Graded pairs: how well cosine follows the grade.

Axes: n pairs, m = 2 n sentences, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Compared", "compared", "correlations", "evaluate_graded", "graded_evidence", "paired_cosine"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from embedfit.evaluate import samples
from embedfit.evaluate.baselines import graded_baseline
from embedfit.evaluate.embedding import Encode, embed
from embedfit.evaluate.evaluation import Evaluation, flat
from embedfit.evaluate.fusion import cross_fitted_graded
from embedfit.evaluate.verdict import Finding, verdict
from embedfit.metrics import Interval, bootstrap_pearson, bootstrap_spearman, paired_spearman
from embedfit.pairs import Pairs


def paired_cosine(first: Float[np.ndarray, "n e"], second: Float[np.ndarray, "n e"]) -> Float[np.ndarray, " n"]:
    """Cosine of row i with row i, unit rows given, summed in float64."""
    return np.einsum("ne,ne->n", first, second, dtype=np.float64)


def correlations(
    similarity: Float[np.ndarray, " n"], grade: Float[np.ndarray, " n"], *, seed: int = 0
) -> dict[str, Interval]:
    """Spearman (order only, the main metric) and Pearson (straight line) of similarity with the grade."""
    return {
        "spearman": bootstrap_spearman(similarity, grade, seed=seed),
        "pearson": bootstrap_pearson(similarity, grade, seed=seed),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """Pairs of sentences as a model sees them.

    Attributes:
        first: the first sentences.
        second: the second ones.
        vectors: embeddings of the first, then of the second.
        similarity: cosine of each pair.
        grade: what is true of each.
    """

    first: list[str]
    second: list[str]
    vectors: Float[np.ndarray, "m e"]
    similarity: Float[np.ndarray, " n"]
    grade: Float[np.ndarray, " n"]

    def queries(self) -> tuple[str, ...]:
        """The pairs, to know them again."""
        return tuple(f"{a}\n{b}" for a, b in zip(self.first, self.second, strict=True))


def compared(encode_query: Encode, encode_document: Encode, pairs: Pairs) -> Compared:
    """Embed both sides of graded pairs.

    Raises:
        ModelError: an encoder gave something other than finite unit rows.
    """
    first, second = pairs.table["sentence1"].to_list(), pairs.table["sentence2"].to_list()
    a, b = embed(encode_query, first, "first sentences"), embed(encode_document, second, "second sentences")
    grade = pairs.table["score"].to_numpy().astype(np.float64)
    return Compared(
        first=first, second=second, vectors=np.concatenate([a, b]), similarity=paired_cosine(a, b), grade=grade
    )


def evaluate_graded(
    encode_query: Encode,
    encode_document: Encode,
    pairs: Pairs,
    *,
    known: Pairs | None = None,
    details: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Rank correlation of cosine and grade.

    Args:
        encode_query: texts to unit rows.
        encode_document: the same for second sentences.
        pairs: graded rows.
        known: other graded rows; the lexical baseline counts their words too.
        details: the baseline and evidence beside.
        seed: of the bootstrap and of the samples.
    """
    seen = compared(encode_query, encode_document, pairs)
    similarity, grade = seen.similarity, seen.grade
    intervals = correlations(similarity, grade, seed=seed)
    values = flat(intervals) | {"chance/spearman": 0.0, "queries": float(len(pairs))}
    finding: dict[str, Any] = {}
    if details:
        rest = [] if known is None else [*known.table["sentence1"].to_list(), *known.table["sentence2"].to_list()]
        words = graded_baseline(seen.first, seen.second, rest)
        mixed, weight = cross_fitted_graded(words, similarity, grade, seed=seed)
        lexical = correlations(words, grade, seed=seed)
        finding = {
            "lexical": lexical["spearman"],
            "gain": paired_spearman(similarity, words, grade, seed=seed),
            "fused": bootstrap_spearman(mixed, grade, seed=seed),
        }
        values |= flat({f"lexical/{name}": interval for name, interval in lexical.items()})
        values |= flat({"fused/spearman": finding["fused"]}) | {"fused/weight": weight}
    said = Finding(
        metric="spearman", kind="graded", value=intervals["spearman"], chance=0.0, queries=len(pairs), **finding
    )
    return Evaluation(
        metric="spearman",
        values=values,
        samples=graded_evidence(seen, seed) if details else {},
        verdict=verdict(said),
        queries=seen.queries(),
        per_query={"similarity": similarity, "grade": grade},
    )


def graded_evidence(seen: Compared, seed: int) -> dict[str, Any]:
    """The worst mistakes, cosines of high and low grades, and a map."""
    high = seen.grade > (seen.grade.min() + seen.grade.max()) / 2
    return {
        "worst": samples.graded_worst(seen.first, seen.second, seen.similarity, seen.grade),
        "similarity": {"positive": seen.similarity[high].tolist(), "negative": seen.similarity[~high].tolist()},
        **samples.projection(seen.vectors, seen.first + seen.second, ["sentence"] * len(seen.vectors), seed=seed),
    }
