"""Rows that repeat each other, and texts that the table says two things about."""

from __future__ import annotations

__all__ = ["contradictions", "repeats"]

from typing import Any

import numpy as np
import polars as pl

from embedfit.data.audit_finding import EXAMPLES, DataFinding, Part, excerpt, share, worst
from embedfit.data.audit_view import Rows, edges, repeated
from embedfit.pairs import COLUMNS

_NUMBERS = {"query": pl.UInt32, "document": pl.UInt32}


def _shown(rows: Rows, at: pl.Series, *columns: str) -> tuple[dict[str, Any], ...]:
    picked = rows.pairs.table.select(columns)[at.head(EXAMPLES)]
    return tuple(
        {"row": int(r)} | {c: excerpt(v) if isinstance(v, str) else v for c, v in row.items()}
        for r, row in zip(at.head(EXAMPLES), picked.iter_rows(named=True), strict=True)
    )


def repeats(rows: Rows) -> Part:
    """Rows that repeat an earlier one, exactly or after normalisation, and queries equal to their own document."""
    kind, table = rows.pairs.kind, rows.pairs.table
    columns = [c for c in (*COLUMNS[kind], *rows.pairs.negatives) if c in table.columns]
    beside: list[str] = []  # columns that tell rows apart without being texts
    if kind == "clicks":
        beside = [c for c in ("session_id", "timestamp", "position", "query_id", "document_id") if c in table.columns]
        if not {"session_id", "timestamp"} & set(beside):  # what was shown twice is no repeated row
            return _own_document(rows, ["query", "document"])
    exact = table.select(*columns, *beside).hash_rows()
    told = rows.keys.with_columns(table["score"] if kind == "graded" else table.select(beside))
    brought = [f"{c}_exact" for c in rows.pairs.negatives]
    names = [c for c in ("query", "document", "class", "score", "relevant", *brought, *beside) if c in told.columns]
    near = told.select(names).hash_rows()
    n, n_near = len(rows) - exact.n_unique(), len(rows) - near.n_unique()
    facts: dict[str, Any] = {"data.duplicate_rows": n, "data.near_duplicate_rows": n_near}
    findings = []
    texts = ("query", "positive", "document", "text", "label", "sentence1", "sentence2", "document_id")
    shown = [c for c in columns if c in texts]
    if n:
        findings.append(
            DataFinding(
                name="duplicate_rows",
                severity="watch" if n >= 0.05 * len(rows) else "info",
                sentence=f"{n:,} rows ({share(n / len(rows))}) repeat an earlier row exactly",
                examples=_shown(rows, repeated(exact, EXAMPLES), *shown),
            )
        )
    if n_near > n:
        findings.append(
            DataFinding(
                name="near_duplicate_rows",
                severity="watch" if n_near - n >= 0.05 * len(rows) else "info",
                sentence=f"{n_near - n:,} more rows repeat an earlier one but for case, width, spacing or outer "
                "punctuation",
                examples=_shown(rows, _repeated_near(exact, near), *shown),
            )
        )
    own = _own_document(rows, shown)
    return Part({**facts, **own.facts}, (*findings, *own.findings))


def _repeated_near(exact: pl.Series, near: pl.Series) -> pl.Series:
    """The first rows that equal an earlier one after normalisation, but none as it stands."""
    spread = (
        pl.DataFrame({"exact": exact, "near": near}).group_by("near").agg(low=pl.min("exact"), high=pl.max("exact"))
    )
    several = spread.filter(pl.col("low") != pl.col("high"))["near"]
    at = near.is_in(several.implode()).arg_true()
    first = at.filter(exact.gather(at).is_first_distinct())
    return first.filter(~near.gather(first).is_first_distinct()).head(EXAMPLES)


def _own_document(rows: Rows, shown: list[str]) -> Part:
    """Rows whose query is its own document. For graded pairs, equal sentences are legitimate: counted only."""
    if rows.document is None:
        return Part()
    same = (rows.keys["query"] == rows.keys["document"]).fill_null(False) & rows.keys["relevant"]
    count = int(same.sum())
    facts = {"data.identical_pairs": count}
    if not count or rows.pairs.kind == "graded":
        return Part(facts)
    part = count / len(rows)
    finding = DataFinding(
        name="identical_pairs",
        severity=worst(part, watch=0.1, issue=0.5),
        sentence=f"in {count:,} rows ({share(part)}) the query is its own document; they teach nothing and flatter the "
        "loss",
        examples=_shown(rows, same.arg_true(), *shown),
    )
    return Part(facts, (finding,))


def contradictions(rows: Rows) -> Part:
    """Texts that the table says two things about."""
    kind = rows.pairs.kind
    if kind == "classes":
        return _two_labels(rows)
    if kind == "graded":
        return _two_scores(rows)
    if kind == "collection":
        return _two_judgements(rows)
    if kind == "clicks":  # who clicks once and not the next time does not contradict himself
        return Part()
    return _both_signs(rows)


def _conflicts(keys: pl.DataFrame, by: list[str], value: str) -> pl.DataFrame:
    told = keys.with_row_index("row").filter(keys.select(*by, value).hash_rows().is_first_distinct())
    return told.group_by(by).agg(pl.len(), pl.col("row").sort()).filter(pl.col("len") > 1).sort(pl.col("row").list[0])


def _two_labels(rows: Rows) -> Part:
    found = _conflicts(rows.keys, ["query"], "class")
    texts = rows.keys["query"].n_unique()
    if not found.height:
        return Part({"data.conflicting_texts": 0})
    table, part = rows.pairs.table, found.height / texts
    shown = tuple(
        {"rows": at, "text": excerpt(table["text"][at[0]]), "labels": [excerpt(table["label"][r]) for r in at]}
        for at in found["row"].head(EXAMPLES).list.head(EXAMPLES).to_list()
    )
    return Part(
        {"data.conflicting_texts": found.height},
        (
            DataFinding(
                name="conflicting_labels",
                severity=worst(part, watch=0.0, issue=0.01),
                sentence=f"{found.height:,} texts ({share(part)}) stand under two labels or more; whatever a model "
                "answers, one of them is wrong",
                examples=shown,
            ),
        ),
    )


def _two_scores(rows: Rows) -> Part:
    score = rows.pairs.table["score"]
    keys = rows.keys.select(
        first=pl.min_horizontal("query", "document"), second=pl.max_horizontal("query", "document"), score=score
    )
    found = _conflicts(keys, ["first", "second"], "score")
    facts: dict[str, Any] = {"data.conflicting_texts": found.height, "data.score_distinct": score.n_unique()}
    findings = []
    if found.height:
        at = found["row"].list.head(EXAMPLES).head(EXAMPLES).to_list()
        table, part = rows.pairs.table, found.height / keys.select(pl.struct("first", "second").n_unique()).item()
        findings.append(
            DataFinding(
                name="conflicting_scores",
                severity=worst(part, watch=0.0, issue=0.05),
                sentence=f"{found.height:,} pairs ({share(part)}) have two scores or more, in this or the other order "
                "of the sentences",
                examples=tuple(
                    {
                        "rows": r,
                        "sentence1": excerpt(table["sentence1"][r[0]]),
                        "sentence2": excerpt(table["sentence2"][r[0]]),
                        "scores": [score[i] for i in r],
                    }
                    for r in at
                ),
            )
        )
    if score.n_unique() < 2 and len(score):
        findings.append(
            DataFinding(
                name="constant_score",
                severity="issue",
                sentence=f"all {len(score):,} scores are {score[0]:g}; there is no order to learn",
            )
        )
    return Part(facts, tuple(findings))


def _two_judgements(rows: Rows) -> Part:
    keys = rows.keys.select("query", "document", relevance=rows.pairs.table["relevance"]).drop_nulls("document")
    found = _conflicts(keys, ["query", "document"], "relevance")
    missing = rows.keys["document"].is_null().arg_true()
    findings = []
    if found.height:
        findings.append(
            DataFinding(
                name="conflicting_judgements",
                severity="watch",
                sentence=f"{found.height:,} query-document pairs were judged twice and differently",
            )
        )
    if len(missing):
        findings.append(
            DataFinding(
                name="missing_documents",
                severity="issue",
                sentence=f"{len(missing):,} judgements ({share(len(missing) / len(rows))}) name a document that the "
                "corpus does not hold",
                examples=_shown(rows, missing, "query_id", "document_id"),
            )
        )
    return Part({"data.conflicting_texts": found.height, "data.missing_documents": len(missing)}, tuple(findings))


def _both_signs(rows: Rows) -> Part:
    keys = rows.keys
    asked, answers = edges(keys)
    several = int((np.bincount(asked) > 1).sum())
    known = pl.DataFrame({"query": asked, "document": answers, "known": True}, schema_overrides=_NUMBERS)
    hit = pl.repeat(False, len(rows), dtype=pl.Boolean, eager=True)
    for column in rows.pairs.negatives:
        brought = keys.select("query", document=column)
        joined = brought.join(known, on=["query", "document"], how="left", maintain_order="left")
        hit = hit | joined["known"].fill_null(False)
    wrong = keys["query"].filter(hit).n_unique()
    facts: dict[str, Any] = {"data.conflicting_texts": wrong, "data.queries_with_several_positives": several}
    findings = []
    if wrong:
        findings.append(
            DataFinding(
                name="positive_is_negative",
                severity="issue",
                sentence=f"{wrong:,} queries bring as a negative what is one of their positives",
                examples=_shown(rows, hit.arg_true(), "query", "positive", *rows.pairs.negatives),
            )
        )
    if several:
        findings.append(
            DataFinding(
                name="several_positives",
                severity="info",
                sentence=f"{several:,} queries ({share(several / keys['query'].n_unique())}) have more than one "
                "positive; all of them count as right and none as a negative",
            )
        )
    return Part(facts, tuple(findings))
