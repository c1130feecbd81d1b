"""Logs of clicks: what was shown, what was clicked, and what was looked at and passed over.

A document that is not clicked was either not wanted or not seen. One that stands above a click of the same list was
seen: T. Joachims et al., Accurately Interpreting Clickthrough Data as Implicit Feedback, SIGIR 2005 ("click > skip
above").
"""

from __future__ import annotations

__all__ = ["as_collections", "as_pairs", "check", "clicked", "how_told", "list_numbers", "passed_over"]

import numpy as np
import polars as pl

from embedfit.data.audit_view import numbered, rows
from embedfit.data.identity import normalised
from embedfit.errors import DataError
from embedfit.pairs import Pairs

NEGATIVES = 1
"""Documents, at most, that a query brings as negatives.

Each costs the document tower as much as a positive does, and towers from scratch lost recall@10 by them on a simulated
log: n-gram .835 with none and .795 with four, static .795 with none and .786 with one.
"""


def clicked(pairs: Pairs) -> pl.Series:
    """Which rows were clicked.

    Raises:
        DataError: a value is neither 0 nor 1.
    """
    column = pairs.table["clicked"]
    if column.dtype == pl.Boolean:
        return column.fill_null(value=False)
    values = column.cast(pl.Float64, strict=False)
    wrong = ~((values == 0) | (values == 1)).fill_null(value=False)
    if wrong.any():
        at = int(wrong.arg_max() or 0)
        raise DataError(
            f"{pairs.source}: the column 'clicked' is {column[at]!r} in row {at + 1}; expected 0 or 1",
            hint="a number of clicks or a grade is no click: write clicked = number > 0",
        )
    return values == 1


def check(pairs: Pairs) -> tuple[str, ...]:
    """What a reader of the log should know before using it.

    Raises:
        DataError: nothing was clicked, or a value is neither 0 nor 1.
    """
    hit = int(clicked(pairs).sum())
    if not hit:
        raise DataError(
            f"none of the {len(pairs):,} rows of {pairs.source} is clicked; there is nothing to learn from",
            hint="is 'clicked' bound to the right column, and does the log hold the clicks?",
        )
    if hit == len(pairs):
        return (
            "every row is clicked, so that nothing is known of what was shown and not clicked: "
            "the negatives are the documents of other queries",
        )
    return (how_told(pairs),)


def how_told(pairs: Pairs) -> str:
    """What counts as a negative in this log, in words."""
    columns = pairs.table.columns
    if "session_id" not in columns and "timestamp" not in columns:
        return (
            "without session_id or timestamp nobody knows which rows were one list: every document shown for a query "
            "and never clicked for it counts as a candidate negative"
        )
    lists = f"a list is one {'session_id' if 'session_id' in columns else 'timestamp'} and one query"
    if "position" not in columns:
        return (
            f"{lists}; without position nobody knows what was seen: in a list with a click, every document that is not "
            "clicked counts as a candidate negative"
        )
    return f"{lists}; documents above its last click that are not clicked count as negatives (skip-above)"


def list_numbers(pairs: Pairs, query: pl.Series) -> pl.Series | None:
    """Which list each row belongs to, as a number; None where the log does not say.

    Args:
        pairs: the log.
        query: number of each row's query.
    """
    name = next((c for c in ("session_id", "timestamp") if c in pairs.table.columns), None)
    if name is None:
        return None
    return numbered(pl.DataFrame([pairs.table[name], query.alias("query")]).hash_rows())[0].alias("list")


def passed_over(pairs: Pairs, lists: pl.Series | None) -> pl.Series:
    """Rows whose document can be taken to have been seen and not wanted.

    With lists and positions: not clicked, and above the last click of the list. With lists alone: not clicked, in a
    list with a click. With neither: not clicked.

    Args:
        pairs: the log.
        lists: from `list_numbers`.
    """
    hit = clicked(pairs)
    if lists is None:
        return ~hit
    number = lists.to_numpy()
    last = np.full(int(number.max()) + 1 if len(number) else 0, -np.inf)
    if "position" not in pairs.table.columns:
        last[number[hit.to_numpy()]] = np.inf
        return ~hit & pl.Series(last[number] > 0, dtype=pl.Boolean)
    position = pairs.table["position"].cast(pl.Float64).to_numpy()
    np.maximum.at(last, number[hit.to_numpy()], position[hit.to_numpy()])
    return ~hit & pl.Series(position < last[number], dtype=pl.Boolean)


def as_pairs(pairs: Pairs, *, negatives: int = NEGATIVES) -> pl.DataFrame:
    """The log as pairs: one row for each query and document that was clicked for it.

    Texts that `normalise` makes equal are one; the first spelling stands for all. The negatives of a query are the
    documents that were passed over most often and never clicked for it; equally often: in the order of their texts, so
    that the order of the rows means nothing.

    Args:
        pairs: the log.
        negatives: most of them per query.

    Returns:
        `query`, `positive`, `weight` (number of clicks), `negative_1`, ... (null where a query has fewer), in the order
        of the first clicks.

    Raises:
        DataError: nothing was clicked.
    """
    check(pairs)
    keys = rows(pairs).keys
    told = keys.select("query", "document").with_columns(
        clicked=clicked(pairs),
        over=passed_over(pairs, list_numbers(pairs, keys["query"])),
        row=pl.int_range(pl.len(), dtype=pl.UInt32),
    )
    both = ["query", "document"]
    positive = told.filter("clicked").group_by(both).agg(weight=pl.len().cast(pl.Float64), row=pl.col("row").min())
    positive = positive.sort("row")
    doubtful = told.filter("over").join(positive, on="query", how="semi").join(positive, on=both, how="anti")
    counted = doubtful.group_by(both).agg(times=pl.len(), row=pl.col("row").min())
    texts = pairs.table["document"]
    ranked = (
        counted.with_columns(text=texts.gather(counted["row"]))
        .with_columns(by=normalised(texts.gather(counted["row"])))
        .sort("query", "times", "by", descending=[False, True, False])
        .with_columns(place=pl.int_range(pl.len()).over("query"))
    )
    table = positive.select(
        "query",
        text=pairs.table["query"].gather(positive["row"]),
        positive=texts.gather(positive["row"]),
        weight="weight",
    )
    for place in range(min(negatives, ranked["place"].n_unique())):
        own = ranked.filter(pl.col("place") == place).select("query", pl.col("text").alias(f"negative_{place + 1}"))
        table = table.join(own, on="query", how="left", maintain_order="left")
    return table.drop("query").rename({"text": "query"})


def as_collections(log: Pairs, known: Pairs | None) -> tuple[Pairs, Pairs | None]:
    """Logs as collections over one corpus, that of all documents shown in either of them: what evaluation asks.

    What was clicked for a query is relevant (1) to it. Queries and documents are known by their texts after
    `normalise`.
    """
    shown = [part.table["document"] for part in (log, known) if part is not None]
    corpus = _distinct(pl.concat(shown), "document")
    return _as_collection(log, corpus), None if known is None else _as_collection(known, corpus)


def _as_collection(log: Pairs, corpus: pl.DataFrame) -> Pairs:
    told = pl.DataFrame(
        {
            "query_id": normalised(log.table["query"]),
            "query": log.table["query"],
            "document_id": normalised(log.table["document"]),
            "relevance": clicked(log).cast(pl.Float64),
        }
    )
    # one spelling for each query: the first
    table = told.group_by("query_id", "document_id", maintain_order=True).agg(pl.col("relevance").max())
    spelling = told.select("query_id", "query").unique("query_id", keep="first", maintain_order=True)
    table = table.join(spelling, on="query_id", how="left", maintain_order="left")
    return Pairs(
        kind="collection",
        table=table.select("query_id", "query", "document_id", "relevance"),
        corpus=corpus,
        source=log.source,
    )


def _distinct(texts: pl.Series, name: str) -> pl.DataFrame:
    exact = texts.alias(name).to_frame().unique(maintain_order=True)
    named = exact.with_columns(normalised(exact[name]).alias(f"{name}_id"))
    return named.unique(f"{name}_id", keep="first", maintain_order=True).select(f"{name}_id", name)
