"""A log of clicks is read, judged, divided and turned into examples as a plain loop would do it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.data import describe_binding, leakage, read, split
from embedfit.data.audit import audit
from embedfit.data.clicks import as_collections, as_pairs
from embedfit.data.examples import examples
from embedfit.errors import DataError
from embedfit.pairs import Pairs, normalise

_ROW = st.tuples(
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from(["red shoe", "Red shoe!", "blue hat"]),
    st.sampled_from(["a", "b", "B.", "c", "d", "e", "f", "g"]),
    st.integers(1, 5),
    st.integers(0, 1),
)
_NAMES = ("session_id", "query", "document", "position", "clicked")


def _log(rows: list[tuple[Any, ...]], names: tuple[str, ...] = _NAMES) -> Pairs:
    return Pairs(kind="clicks", table=pl.DataFrame(rows, schema=list(names), orient="row"))


def _reference(rows: list[tuple[str, str, str, int, int]], *, positions: bool, lists: bool) -> dict[str, Counter[str]]:
    """How often each document was passed over for each query, by a loop over pairs of rows."""
    positive = {(normalise(q), normalise(d)) for _, q, d, _, c in rows if c}
    over: dict[str, Counter[str]] = {query: Counter() for query, _ in positive}
    for session, query, document, position, hit in rows:
        here = [r for r in rows if r[4] and (not lists or (r[0], normalise(r[1])) == (session, normalise(query)))]
        seen = any(position < r[3] for r in here) if positions else bool(here) if lists else True
        if not hit and seen and normalise(query) in over and (normalise(query), normalise(document)) not in positive:
            over[normalise(query)][normalise(document)] += 1
    return over


@settings(max_examples=50)
@given(st.lists(_ROW, min_size=1, max_size=25), st.sampled_from(["positions", "lists", "neither"]))
def test_pairs_of_a_log_equal_those_of_a_plain_loop(rows: list[tuple[str, str, str, int, int]], known: str) -> None:
    if not any(row[4] for row in rows):
        return
    columns = {"positions": _NAMES, "lists": ("session_id", "query", "document", "clicked"), "neither": _NAMES[1:]}
    log = _log(rows)
    table = as_pairs(Pairs(kind="clicks", table=log.table.select(columns[known])), negatives=4)
    clicks = Counter((normalise(q), normalise(d)) for _, q, d, _, c in rows if c)
    assert {(normalise(q), normalise(p)): w for q, p, w in table.select("query", "positive", "weight").rows()} == clicks
    over = _reference(rows, positions=known == "positions", lists=known != "neither")
    for row in table.rows(named=True):
        brought = [normalise(v) for c, v in row.items() if c.startswith("negative_") and v is not None]
        times = over[normalise(row["query"])]
        assert brought == sorted(times, key=lambda d: (-times[d], d))[:4]


@settings(max_examples=20)
@given(st.lists(_ROW, min_size=1, max_size=25, unique=True), st.randoms(use_true_random=False))
def test_negatives_do_not_depend_on_the_order_of_the_rows(rows: list[tuple[Any, ...]], random: Any) -> None:
    if not any(row[4] for row in rows):
        return
    shuffled = random.sample(rows, len(rows))

    def brought(log: Pairs) -> set[tuple[Any, ...]]:
        table = as_pairs(log, negatives=2)
        return {tuple(v if v is None or isinstance(v, float) else normalise(v) for v in row) for row in table.rows()}

    assert brought(_log(rows)) == brought(_log(shuffled))


def test_only_what_stands_above_the_last_click_is_passed_over() -> None:
    rows = [("s", "q", d, i, int(d in "bd")) for i, d in enumerate("abcdef", 1)]
    assert as_pairs(_log(rows), negatives=9).rows() == [("q", "b", 1.0, "a", "c"), ("q", "d", 1.0, "a", "c")]


def test_examples_bring_weights_and_negatives_and_no_known_positive_among_them() -> None:
    rows = [("s", "q", "a", 1, 0), ("s", "q", "b", 2, 1), ("t", "q", "a", 1, 1), ("t", "q", "c", 2, 0)]
    rows += [("u", "q", "b", 2, 1), ("v", "r", "b", 1, 0), ("v", "r", "c", 2, 1)]
    made = examples(_log(rows))
    told = {
        (made.query_texts[q], made.document_texts[p]): (float(w), [made.document_texts[n] for n in ns if n >= 0])
        for q, p, w, ns in zip(made.query, made.positive, made.weight, made.negatives, strict=True)
    }
    assert told == {("q", "b"): (2.0, []), ("q", "a"): (1.0, []), ("r", "c"): (1.0, ["b"])}


# --- reading -------------------------------------------------------------------------------------------------------


def test_columns_of_a_log_are_bound_by_their_usual_names_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("session,Query,sku,item_title,rank,is_click\n1,red,77,red shoe,1,0\n1,red,78,blue shoe,2,1\n")
    log = read(path)
    assert log.kind == "clicks"
    assert dict(log.binding) == {
        **{"query": "Query", "document": "item_title", "clicked": "is_click", "document_id": "sku"},
        **{"session_id": "session", "position": "rank"},
    }
    assert "skip-above" in describe_binding(log)
    assert log.table["clicked"].to_list() == [False, True]
    assert log.table["position"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"query": ["a"], "document": ["x"], "label": [1]}, {"clicked": "label"}),
        ({"query": ["a"], "item": [5], "title": ["x"], "click": [True]}, {"document": "title", "document_id": "item"}),
        ({"query": ["a"], "text": ["x"], "title": ["y"], "clicked": ["1"]}, {"document": "text"}),
        ({"search_term": ["a"], "doc": ["x"], "clicked": [1.0], "pos": [3]}, {"position": "pos"}),
    ],
)  # fmt: skip
def test_what_a_column_means_may_depend_on_what_it_holds(columns: dict[str, Any], expected: dict[str, str]) -> None:
    log = read(columns)
    assert log.kind == "clicks"
    assert expected.items() <= dict(log.binding).items()
    assert len(log) == 1


def test_a_label_that_is_a_word_is_no_click() -> None:
    with pytest.raises(DataError, match="2 ways"):
        read({"question": ["a"], "answer": ["x"], "label": ["pay"]})


@pytest.mark.parametrize(
    ("rows", "said", "hint"),
    [
        ("s,a,x,1,3\n", "line 2, column 'clicked': neither 0 nor 1: '3'", "on_bad_rows"),
        ("s,a,x,1,yes\n", "line 2, column 'clicked': not a number: 'yes'", "on_bad_rows"),
        ("s,a,x,1,1\ns,a,y,,0\n", "line 3, column 'position': empty", "on_bad_rows"),
        (",a,x,1,1\n", "line 2, column 'session_id': empty", "on_bad_rows"),
        ("s,a,x,1,0\ns,a,y,2,0\n", "none of the 2 rows of .* is clicked", "right column"),
    ],
)
def test_a_log_that_cannot_be_used_says_where_and_why(tmp_path: Path, rows: str, said: str, hint: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text("session_id,query,document,position,clicked\n" + rows)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert hint in str(caught.value.hint)


def test_a_log_where_all_is_clicked_is_taken_and_told() -> None:
    assert "every row is clicked" in describe_binding(read({"query": ["a", "b"], "doc": ["x", "y"], "clicked": [1, 1]}))


def test_documents_may_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    log, documents = tmp_path / "log.csv", tmp_path / "documents.csv"
    log.write_text("query,document_id,clicked\nred,1,1\nred,2,0\nblue,9,1\n")
    documents.write_text("id,title,text\n1,Shoe,a red shoe\n2,Hat,Hat of felt\n")
    with pytest.raises(DataError, match="lacks 'document'") as caught:
        read(log)
    assert "corpus='documents.csv'" in str(caught.value.hint)
    with pytest.raises(DataError, match=r"9 without a text in .*documents.csv \(1 rows\)|'9' without a text"):
        read(log, corpus=documents)
    taken = read(log, corpus=documents, on_bad_rows="skip")
    assert taken.table["document"].to_list() == ["Shoe a red shoe", "Hat of felt"]
    assert [bad.column for bad in taken.left_out] == ["document_id"]
    with pytest.raises(DataError, match=r"neither .* nor .* has a column 'no'"):
        read(log, corpus=documents, position="no", on_bad_rows="skip")


def test_rows_made_by_hand_with_grades_are_refused_where_clicks_are_counted() -> None:
    log = _log([("s", "q", "a", 1, 2), ("s", "r", "b", 1, 0)])
    with pytest.raises(DataError, match="the column 'clicked' is 2 in row 1"):
        examples(log)


# --- dividing, asking ----------------------------------------------------------------------------------------------


def test_a_query_stays_on_one_side_and_only_queries_with_a_click_are_held_out() -> None:
    rows = [(f"s{i}", f"query {i // 2}", f"d{i % 7}", 1, int(i % 4 < 2)) for i in range(400)]
    train, dev = split(_log(rows), dev=0.2)
    assert leakage(train, dev) == 0.0
    asked = set(dev.table["query"])
    assert asked == set(dev.table.filter(pl.col("clicked") == 1)["query"])
    assert len(train) + len(dev) == 400
    assert 60 <= len(dev) <= 80


def test_a_log_of_one_query_with_a_click_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="at least 2 with a click"):
        split(_log([("s", "q", "a", 1, 1), ("s", "r", "a", 1, 0), ("t", "t", "b", 1, 0)]))


def test_as_collections_clicked_is_relevant_and_all_that_was_shown_is_a_candidate() -> None:
    dev = _log([("s", "Q", "a", 1, 0), ("s", "q.", "A", 2, 1), ("s", "q", "b", 3, 0)])
    known = _log([("t", "r", "c", 1, 1), ("t", "r", "B", 2, 0)])
    asked, trained = as_collections(dev, known)
    assert asked.corpus is not None
    assert asked.corpus["document"].to_list() == ["a", "b", "c"]
    assert asked.table.rows() == [("q", "Q", "a", 1.0), ("q", "Q", "b", 0.0)]
    assert trained is not None
    assert set(trained.table["document_id"]) == {"b", "c"}


# --- audit ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(_ROW, min_size=1, max_size=30))
def test_audit_of_a_log_equals_counts_of_a_plain_loop(rows: list[tuple[str, str, str, int, int]]) -> None:
    found = audit(_log(rows))
    facts = found.facts
    near = [(s, normalise(q), normalise(d), p, c) for s, q, d, p, c in rows]
    clicked = {(q, d) for _, q, d, _, c in near if c}
    lists = Counter((s, q) for s, q, *_ in near)
    queries = {q for _, q, *_ in near}
    assert facts["data.clicks"] == sum(c for *_, c in near)
    assert facts["data.queries_without_click"] == pytest.approx(1 - len({q for q, _ in clicked}) / len(queries))
    assert facts["data.duplicate_rows"] == len(rows) - len(set(rows))
    assert facts["data.near_duplicate_rows"] == len(near) - len(set(near))
    if not clicked:
        assert "no_clicks" in {finding.name for finding in found.findings}
    over = _reference(rows, positions=True, lists=True)
    assert facts["data.pairs_passed_over"] == sum(map(len, over.values()))
    assert facts["data.pairs_shown"] == len({(q, d) for _, q, d, *_ in near})
    assert facts["data.pairs_clicked"] == len(clicked)
    shown = {(q, d) for _, q, d, *_ in near}
    some = {d for _, d in clicked if any(d == e and (q, e) not in clicked for q, e in shown)}
    assert facts["data.documents_clicked_for_some"] == len(some)
    assert facts["data.lists"] == len(lists)
    assert facts["data.list_length_max"] == max(lists.values())
    empty = [key for key in lists if not any((s, q) == key and c for s, q, _, _, c in near)]
    assert facts["data.lists_without_click"] == pytest.approx(len(empty) / len(lists))
    assert facts["data.repeated_positions"] == len(near) - len({(s, q, p) for s, q, _, p, _ in near})
    assert facts["data.conflicting_texts"] == len({r[:3] for r in near if r[4]} & {r[:3] for r in near if not r[4]})
    rates = {p: [c for *_, at, c in near if at == p] for p in sorted({p for *_, p, _ in near})}
    expected = {str(p): sum(v) / len(v) for p, v in rates.items()}
    assert facts["data.click_rate_by_position"] == pytest.approx(expected)


def test_ids_that_stand_for_two_texts_and_silent_queries_are_named() -> None:
    names = ("query", "document_id", "document", "clicked")
    rows = [("q", "1", "a", 1), ("q", "1", "b", 0), ("r", "2", "a", 0), ("r", "2", "a", 0)]
    found = audit(_log(rows, names))
    told = {finding.name: finding for finding in found.findings}
    assert found.facts["data.document_ids_of_several_texts"] == 1
    assert told["document_ids_of_several_texts"].severity == "watch"
    assert told["queries_without_click"].examples == ({"row": 2, "query": "r", "rows": 2},)
    assert "data.duplicate_rows" not in found.facts  # the same result shown twice is no repeated row
    assert "clicks   1 (25 % of the rows), 50 % of the queries without one" in str(found)
