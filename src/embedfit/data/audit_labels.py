"""What the labels of a table say: sizes of classes, order of rows, false negatives to expect in a batch."""

from __future__ import annotations

__all__ = ["classes", "distinct_in_batch", "false_negatives", "meets_another", "order"]

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from embedfit.data.audit_finding import DataFinding, Part, share, worst
from embedfit.data.audit_view import Rows, counts, edges

_BLOCKS = 5_000  # batches looked at in the order of the rows
_BATCHES = (64, 256)  # batch sizes that false negatives are worked out for; order is told for the first


def classes(rows: Rows) -> Part:
    """How many classes there are, and how unevenly the rows fall on them."""
    relevant = rows.relevant
    if relevant.is_empty():
        return Part()
    sizes = _sizes(relevant)
    tail, largest = float((sizes <= 3).mean()), int(sizes.max())
    facts = {
        "data.classes": len(sizes),
        "data.classes_at_most_3": tail,
        "data.class_size_median": float(np.median(sizes)),
        "data.class_size_max": largest,
        "data.class_share_max": largest / relevant.height,
    }
    noun, nouns = ("class", "classes") if rows.pairs.kind == "classes" else ("document", "documents")
    findings = []
    if len(sizes) == 1:
        findings.append(
            DataFinding(
                name="one_class",
                severity="issue",
                sentence=f"all {relevant.height:,} rows belong to the same {noun}; there is nothing to tell apart",
            )
        )
    elif facts["data.class_share_max"] > 0.3:
        findings.append(
            DataFinding(
                name="dominant_class",
                severity="watch",
                sentence=f"one of {len(sizes):,} {nouns} holds {share(facts['data.class_share_max'])} of the rows",
            )
        )
    if tail >= 0.1 and len(sizes) > 1:
        findings.append(
            DataFinding(
                name="few_examples",
                severity="watch" if tail >= 0.5 and rows.pairs.kind == "classes" else "info",
                sentence=f"{share(tail)} of {len(sizes):,} {nouns} have at most 3 examples (median "
                f"{facts['data.class_size_median']:g}, largest {largest:,})",
            )
        )
    return Part(facts, tuple(findings))


def order(rows: Rows) -> Part:
    """How much likelier neighbouring rows share their class than random rows do, and what that does to batches.

    The agreement p of neighbouring rows is corrected for chance e as in Cohen's kappa, (p - e) / (1 - e), floor 0: near
    1 for large classes that stand together, lower for small ones, which have few neighbours of their own.
    """
    relevant = rows.relevant
    if relevant.height < 2:
        return Part()
    label = relevant["class"]
    sizes = _sizes(relevant)
    n, batch = len(label), min(_BATCHES[0], len(label))
    agreement = float((label[1:] == label[:-1]).mean())  # type: ignore[arg-type]
    chance = float((sizes * (sizes - 1.0)).sum() / (n * (n - 1.0)))
    kappa = max(0.0, (agreement - chance) / (1 - chance)) if chance < 1 else 0.0
    starts = np.arange(0, n - batch + 1, batch)
    if len(starts) > _BLOCKS:
        starts = np.sort(np.random.default_rng(0).choice(starts, _BLOCKS, replace=False))
    blocks = np.sort(label.gather((starts[:, None] + np.arange(batch)).ravel()).to_numpy().reshape(-1, batch), axis=1)
    inside = float(1 + (blocks[:, 1:] != blocks[:, :-1]).sum(axis=1).mean())
    shuffled = distinct_in_batch(sizes, batch)
    facts = {
        "data.order_autocorrelation": kappa,
        "data.batch_classes_in_order": inside,
        "data.batch_classes_shuffled": shuffled,
    }
    sampled = {"data.batch_classes_in_order": len(starts) * batch} if len(starts) < n // batch else {}
    if inside >= 0.8 * shuffled or n < 20:
        return Part(facts, sampled=sampled)
    finding = DataFinding(
        name="ordered_by_class",
        severity="watch",
        sentence=f"neighbouring rows belong together {share(agreement)} of the time (by chance {share(chance)}): in "
        f"this order a batch of {batch} holds {inside:.1f} different classes or documents, shuffled {shuffled:.1f}. "
        "embedfit shuffles; a loop that does not will oscillate",
    )
    return Part(facts, (finding,), sampled)


def distinct_in_batch(sizes: Int[np.ndarray, " c"], batch: int) -> float:
    """Expected number of different classes among `batch` rows drawn without replacement.

    Args:
        sizes: rows of each class.
        batch: rows drawn, at most all of them.
    """
    values, counts = np.unique(sizes, return_counts=True)
    return float(_met(values, int(sizes.sum()), batch) @ counts)


def meets_another(others: Int[np.ndarray, " r"], n: int, batch: int) -> Float[np.ndarray, " r"]:
    """Chance that a row meets at least one of its `others` in a random batch.

    Args:
        others: how many of the other n - 1 rows count.
        n: rows of the table.
        batch: rows of the batch, the row itself among them.
    """
    return _met(others, n - 1, min(batch, n) - 1)


def _met(marked: Int[np.ndarray, " r"], n: int, drawn: int) -> Float[np.ndarray, " r"]:
    """Chance of at least one of `marked` among `drawn` of n without replacement; exact where few of many are marked."""
    missed = np.zeros(len(marked))
    with np.errstate(divide="ignore"):  # log 0: more are drawn than are left unmarked
        for left in range(n, n - drawn, -1):
            missed += np.log1p(-np.minimum(1.0, marked / left))
    return -np.expm1(missed)


def false_negatives(rows: Rows) -> Part:
    """Share of the queries that meet, as a negative, what is right for them: in random batches, expected.

    Two ways of masking: none, and the one of most libraries, which only spots the very text of the positive. What is
    right for a query is every known positive of the same query text, equal texts after normalisation, and for classes
    every text of the class.
    """
    relevant = rows.relevant
    n = relevant.height
    if n < 2:
        return Part()
    own = relevant["query_exact" if rows.pairs.kind == "classes" else "document_exact"]
    right = _right(relevant, classes=rows.pairs.kind == "classes")
    facts: dict[str, float] = {}
    for name, same in (("unmasked", 1), ("exact_mask", _of_each(counts(own), own))):
        others = np.bincount(np.maximum(0, right - same))  # how many rows have 0, 1, 2, ... others
        different = np.flatnonzero(others)
        for batch in _BATCHES:
            chance = meets_another(different, n, batch)
            facts[f"data.false_negatives_{name}_{batch}"] = float(chance @ (others[different] / n))
    small, large = (facts[f"data.false_negatives_exact_mask_{b}"] for b in _BATCHES)
    if large < 0.01:
        return Part(facts)
    what = "another text of their class" if rows.pairs.kind == "classes" else "another of their positives"
    finding = DataFinding(
        name="false_negatives",
        severity=worst(small, watch=0.05),
        sentence=f"{share(small)} of the queries in a random batch of {_BATCHES[0]}, {share(large)} in one of "
        f"{_BATCHES[1]}, meet {what} as a negative where only equal texts are masked. embedfit masks by identity",
    )
    return Part(facts, (finding,))


def _right(keys: pl.DataFrame, *, classes: bool) -> Int[np.ndarray, " n"]:
    """How many rows, itself included, hold what is right for the query of each row."""
    if classes:
        return _of_each(counts(keys["class"]), keys["class"])
    own = counts(keys["document"])
    query, document = edges(keys)
    return _of_each(np.bincount(query, weights=own[document]).astype(np.int64), keys["query"])  # exact below 2^53


def _sizes(relevant: pl.DataFrame) -> Int[np.ndarray, " c"]:
    """Rows of each class that has any."""
    sizes = counts(relevant["class"])
    return sizes[sizes > 0]


def _of_each(values: Int[np.ndarray, " c"], numbers: pl.Series) -> Int[np.ndarray, " n"]:
    return values[numbers.to_numpy()]
