"""What a log of clicks tells, and what it hides: clicks, lists, positions, and where negatives can be had."""

from __future__ import annotations

__all__ = ["log_of_clicks"]

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from embedfit.data.audit_finding import EXAMPLES, DataFinding, Part, excerpt, share, worst
from embedfit.data.audit_view import Rows, counts, packed, unpacked
from embedfit.data.clicks import check, list_numbers, passed_over
from embedfit.errors import DataError

_PLACES = 10  # positions whose rate of clicks is told
_STEEP = 3.0  # times as many clicks at the top as at the last position told


def log_of_clicks(rows: Rows) -> Part:
    """Rate of clicks, queries and lists without one, clicks by position, candidate negatives; none for other kinds."""
    if rows.pairs.kind != "clicks":
        return Part()
    lists = list_numbers(rows.pairs, rows.keys["query"])
    parts = [_rates(rows), _candidates(rows, lists), _positions(rows, lists), _identifiers(rows)]
    if lists is not None:
        parts.append(_lists(rows, lists))
    return Part(
        {name: value for part in parts for name, value in part.facts.items()},
        tuple(finding for part in parts for finding in part.findings),
    )


def _rates(rows: Rows) -> Part:
    keys = rows.keys
    hit = int(keys["relevant"].sum())
    asked = counts(keys["query"])
    answered = np.bincount(keys["query"].filter(keys["relevant"]).to_numpy(), minlength=len(asked))
    without = 1 - np.count_nonzero(answered) / np.count_nonzero(asked)
    facts = {"data.clicks": hit, "data.click_rate": hit / len(rows), "data.queries_without_click": float(without)}
    try:
        (told,) = check(rows.pairs)
    except DataError as error:
        return Part(facts, (DataFinding(name="no_clicks", severity="issue", sentence=error.message),))
    findings = [DataFinding(name="negatives_of_clicks", severity="info", sentence=told)]
    if without:
        silent = np.flatnonzero((asked > 0) & (answered == 0))
        findings.append(
            DataFinding(
                name="queries_without_click",
                severity=worst(without, watch=0.5),
                sentence=f"{len(silent):,} of {np.count_nonzero(asked):,} queries ({share(without)}) have no click: "
                "nothing is learnt from them, and they examine nobody",
                examples=_most_asked(rows, silent, asked),
            )
        )
    return Part(facts, tuple(findings))


def _most_asked(rows: Rows, silent: Int[np.ndarray, " s"], asked: Int[np.ndarray, " c"]) -> tuple[dict[str, Any], ...]:
    """The queries that were shown most rows, of some."""
    worst_of = silent[np.argsort(-asked[silent], kind="stable")[:EXAMPLES]]
    at = [int((rows.keys["query"] == int(number)).arg_max() or 0) for number in worst_of]
    return tuple(
        {"row": row, "query": excerpt(rows.queries[row]), "rows": int(asked[number])}
        for row, number in zip(at, worst_of, strict=True)
    )


def _candidates(rows: Rows, lists: pl.Series | None) -> Part:
    """Which pairs of query and document were shown, clicked, passed over."""
    keys = rows.keys
    every = packed(keys)
    shown, clicked = every.unique(), every.filter(keys["relevant"]).unique()
    over = every.filter(passed_over(rows.pairs, lists)).unique()
    over = over.filter(~over.is_in(clicked.implode()))
    _, documents = unpacked(shown)
    _, wanted = unpacked(clicked)
    of_shown, of_clicked = np.bincount(documents), np.bincount(wanted, minlength=int(documents.max()) + 1)
    both = int(((of_clicked > 0) & (of_clicked < of_shown)).sum())
    ever = int((of_clicked > 0).sum())
    facts = {
        "data.pairs_shown": len(shown),
        "data.pairs_clicked": len(clicked),
        "data.pairs_passed_over": len(over),
        "data.documents_clicked": ever,
        "data.documents_clicked_for_some": both,
    }
    finding = DataFinding(
        name="candidate_negatives",
        severity="info",
        sentence=f"{len(shown):,} pairs of query and document were shown, {len(clicked):,} of them clicked at least "
        f"once; {len(over):,} were passed over and never clicked. {both:,} of {ever:,} documents that were clicked "
        "at all were shown for another query and not clicked there",
    )
    return Part(facts, (finding,))


def _positions(rows: Rows, lists: pl.Series | None) -> Part:
    if "position" not in rows.pairs.table.columns:
        return Part()
    told = pl.DataFrame({"position": rows.pairs.table["position"], "clicked": rows.keys["relevant"]})
    table = told.group_by("position").agg(pl.len(), rate=pl.col("clicked").mean()).sort("position").head(_PLACES)
    rates = {f"{place:g}": rate for place, _, rate in table.rows()}
    facts: dict[str, Any] = {"data.click_rate_by_position": rates}
    findings = []
    first, last = table["rate"][0], table["rate"][-1]
    if table.height > 1 and first >= _STEEP * last:
        findings.append(
            DataFinding(
                name="clicks_fall_with_position",
                severity="info",
                sentence=f"the rate of clicks falls from {share(first)} at position {table['position'][0]:g} to "
                f"{share(last)} at {table['position'][-1]:g}: people look at the top, or the best stood there already; "
                "the log alone cannot tell which. What stands below the last click is not taken for a negative",
            )
        )
    if lists is not None:
        places = pl.DataFrame([lists, told["position"]]).hash_rows()
        twice = len(rows) - places.n_unique()
        facts["data.repeated_positions"] = twice
        if twice:
            findings.append(
                DataFinding(
                    name="repeated_positions",
                    severity=worst(twice / len(rows), watch=0.05),
                    sentence=f"{twice:,} rows ({share(twice / len(rows))}) stand at a position of their list that "
                    "another row has: was the same search done twice in one session?",
                )
            )
    return Part(facts, tuple(findings))


def _lists(rows: Rows, lists: pl.Series) -> Part:
    lengths = counts(lists)
    clicks = np.bincount(lists.filter(rows.keys["relevant"]).to_numpy(), minlength=len(lengths))
    told = pl.DataFrame({"query": lists, "document": rows.keys["document"]})
    every = packed(told)
    clicked = every.filter(rows.keys["relevant"]).unique()
    others = every.filter(~rows.keys["relevant"])
    both = others.filter(others.is_in(clicked.implode())).n_unique()
    facts = {
        "data.lists": len(lengths),
        "data.list_length_median": float(np.median(lengths)),
        "data.list_length_p95": float(np.quantile(lengths, 0.95)),
        "data.list_length_max": int(lengths.max()),
        "data.lists_without_click": float((clicks == 0).mean()),
        "data.clicks_per_list": float(clicks.mean()),
        "data.conflicting_texts": both,
    }
    if not both:
        return Part(facts)
    finding = DataFinding(
        name="clicked_and_not",
        severity="info",
        sentence=f"{both:,} documents stand in one list both as clicked and as not clicked; they count as clicked",
    )
    return Part(facts, (finding,))


def _identifiers(rows: Rows) -> Part:
    """Ids that stand for several texts."""
    facts: dict[str, Any] = {}
    findings = []
    for side in ("query", "document"):
        if f"{side}_id" not in rows.pairs.table.columns:
            continue
        both = pl.DataFrame({"id": rows.pairs.table[f"{side}_id"].hash(), "text": rows.keys[side]})
        texts = both.group_by("id").agg(low=pl.col("text").min(), high=pl.col("text").max())
        several = texts.filter(pl.col("low") != pl.col("high")).height
        facts[f"data.{side}_ids"] = texts.height
        facts[f"data.{side}_ids_of_several_texts"] = several
        if several:
            findings.append(
                DataFinding(
                    name=f"{side}_ids_of_several_texts",
                    severity="watch",
                    sentence=f"{several:,} of {texts.height:,} {side} ids stand for more than one text; embedfit knows "
                    f"a {side} by its text",
                )
            )
    return Part(facts, tuple(findings))
