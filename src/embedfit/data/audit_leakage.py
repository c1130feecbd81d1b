"""What training rows and held-out rows have in common."""

from __future__ import annotations

__all__ = ["leakage"]

from typing import Any

import polars as pl

from embedfit.data.audit_finding import EXAMPLES, DataFinding, Part, excerpt, share, worst
from embedfit.data.audit_view import Rows
from embedfit.errors import DataError


def leakage(train: Rows, dev: Rows) -> Part:
    """Held-out rows whose query is also in the training rows; for graded pairs, whose pair is, in either order.

    Raises:
        DataError: the two tables are of different kinds.
    """
    if train.pairs.kind != dev.pairs.kind:
        raise DataError(
            f"training data of kind '{train.pairs.kind}' cannot be compared with held-out data of kind "
            f"'{dev.pairs.kind}'",
            hint="read both in the same way",
        )
    if not len(dev):
        return Part({"data.leakage": 0.0})
    graded = train.pairs.kind == "graded"
    normal = _in_either_order(train, dev) if graded else _known(train, dev, "query")
    exact = _known(train, dev, "query_exact")
    facts: dict[str, Any] = {"data.dev_rows": len(dev), "data.leakage": _share(normal)}
    facts["data.leakage_texts" if graded else "data.leakage_exact"] = _share(exact)
    findings = []
    if facts["data.leakage"] > 0:
        what = "pairs" if graded else "queries"
        findings.append(
            DataFinding(
                name="leakage",
                severity=worst(facts["data.leakage"], watch=0.0, issue=0.01),
                sentence=f"{int(normal.sum()):,} of {len(dev):,} held-out rows ({share(facts['data.leakage'])}) have "
                f"{what} that are also in the training rows; the score on them is memory, not understanding",
                examples=tuple(
                    {"row": r, dev.query: excerpt(dev.queries[r])} for r in normal.arg_true().head(EXAMPLES)
                ),
            )
        )
    unseen = _unseen_classes(train, dev)
    return Part({**facts, **unseen.facts}, (*findings, *unseen.findings))


def _known(train: Rows, dev: Rows, column: str) -> pl.Series:
    """Which held-out rows have a text that is among the training rows' texts, both by the same column of keys."""

    def hashes(rows: Rows, numbers: pl.Series) -> pl.Series:
        return (rows.exact if column.endswith("_exact") else rows.normal).gather(numbers)

    return hashes(dev, dev.keys[column]).is_in(hashes(train, train.keys[column].unique()).implode())


def _share(mask: pl.Series) -> float:
    return float(mask.mean() or 0.0)  # type: ignore[arg-type]


def _in_either_order(train: Rows, dev: Rows) -> pl.Series:
    def key(rows: Rows) -> pl.Series:
        sides = pl.DataFrame({c: rows.normal.gather(rows.keys[c]) for c in ("query", "document")})
        return sides.select(
            a=pl.min_horizontal("query", "document"), b=pl.max_horizontal("query", "document")
        ).hash_rows()

    return key(dev).is_in(key(train).unique().implode())


def _unseen_classes(train: Rows, dev: Rows) -> Part:
    if train.pairs.kind != "classes":
        return Part()
    known, asked = (rows.pairs.table["label"].cast(pl.String).fill_null("") for rows in (train, dev))
    seen = asked.is_in(known.unique().implode())
    part = 1 - _share(seen)
    if not part:
        return Part({"data.dev_unseen_classes": 0.0})
    labels = asked.filter(~seen).unique().sort()
    finding = DataFinding(
        name="unseen_classes",
        severity=worst(part, watch=0.0, issue=0.2),
        sentence=f"{share(part)} of the held-out rows belong to {len(labels):,} classes without a training row",
        examples=tuple({"label": excerpt(label)} for label in labels.head(EXAMPLES)),
    )
    return Part({"data.dev_unseen_classes": part}, (finding,))
