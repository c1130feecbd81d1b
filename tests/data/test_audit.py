"""The audit counts what a plain loop counts, survives degenerate tables, and finds what was planted."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.data.audit import Audit, audit
from embedfit.data.audit_difficulty import ANCHORS, expected_recall
from embedfit.data.audit_labels import distinct_in_batch, meets_another
from embedfit.data.audit_view import numbered
from embedfit.data.demo import demo
from embedfit.data.read import read
from embedfit.data.scripts import letters, mixed, scripts, words
from embedfit.errors import BadRow, DataError
from embedfit.pairs import Pairs, normalise


def _classes(rows: list[tuple[str, str]], **more: Any) -> Pairs:
    return Pairs(kind="classes", table=pl.DataFrame(rows, schema=["text", "label"], orient="row"), **more)


def _pairs(rows: list[tuple[str, str]]) -> Pairs:
    return Pairs(kind="pairs", table=pl.DataFrame(rows, schema=["query", "positive"], orient="row"))


def _graded(rows: list[tuple[str, str, float]]) -> Pairs:
    return Pairs(kind="graded", table=pl.DataFrame(rows, schema=["sentence1", "sentence2", "score"], orient="row"))


def _collection(rows: list[tuple[str, str, str, float]], corpus: dict[str, str]) -> Pairs:
    table = pl.DataFrame(rows, schema=["query_id", "query", "document_id", "relevance"], orient="row")
    return Pairs(
        kind="collection",
        table=table,
        corpus=pl.DataFrame({"document_id": list(corpus), "document": list(corpus.values())}),
    )


def _names(found: Audit) -> set[str]:
    return {finding.name for finding in found.findings}


def _finding(found: Audit, name: str) -> Any:
    return next(finding for finding in found.findings if finding.name == name)


def _demo() -> Pairs:
    table = pl.read_csv(demo() / "questions.csv")
    return Pairs(kind="pairs", table=table.select(query="question", positive="standard_question"))


# --- counts --------------------------------------------------------------------------------------------------------

_TEXT = st.sampled_from(["a", "A", "a.", "b", "ｂ", "c c", "c  c", "發票", "1", "", "!?"])


@settings(max_examples=60)
@given(st.lists(st.tuples(_TEXT, st.sampled_from(["x", "y", "z"])), min_size=1, max_size=30))
def test_counts_of_classes_equal_those_of_a_plain_loop(rows: list[tuple[str, str]]) -> None:
    facts = audit(_classes(rows)).facts
    near = [(normalise(text), label) for text, label in rows]
    labels: dict[str, set[str]] = {}
    for text, label in near:
        labels.setdefault(text, set()).add(label)
    sizes = Counter(label for _, label in rows)
    assert facts["data.rows"] == len(rows)
    assert facts["data.texts"] == len({text for text, _ in rows})
    assert facts["data.queries"] == len(labels)
    assert facts["data.duplicate_rows"] == len(rows) - len(set(rows))
    assert facts["data.near_duplicate_rows"] == len(rows) - len(set(near))
    assert facts["data.conflicting_texts"] == sum(len(found) > 1 for found in labels.values())
    assert facts["data.classes"] == len(sizes)
    assert facts["data.classes_at_most_3"] == pytest.approx(sum(n <= 3 for n in sizes.values()) / len(sizes))
    assert facts["data.class_size_max"] == max(sizes.values())
    assert facts["data.class_size_median"] == np.median(list(sizes.values()))
    assert facts["data.texts_without_letters"] == sum(not any(c.isalpha() for c in text) for text, _ in rows)


@settings(max_examples=60)
@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=2, max_size=20))
def test_false_negatives_of_pairs_equal_those_of_a_plain_loop(rows: list[tuple[str, str]]) -> None:
    facts = audit(_pairs(rows)).facts
    n = len(rows)
    known: dict[str, set[str]] = {}
    for query, document in rows:
        known.setdefault(normalise(query), set()).add(normalise(document))
    met = []
    for i, (query, document) in enumerate(rows):
        wrong = sum(
            normalise(other) in known[normalise(query)] and other != document
            for j, (_, other) in enumerate(rows)
            if j != i
        )
        met.append(float(wrong > 0))  # a batch of 64 holds all of these rows
    assert facts["data.false_negatives_exact_mask_64"] == pytest.approx(sum(met) / n)
    assert facts["data.identical_pairs"] == sum(normalise(q) == normalise(d) for q, d in rows)
    assert facts["data.queries_with_several_positives"] == sum(len(found) > 1 for found in known.values())


def test_chance_of_meeting_another_and_distinct_classes_agree_with_drawing() -> None:
    label = np.repeat(np.arange(6), [1, 2, 5, 12, 30, 50])
    rng = np.random.default_rng(0)
    draws = [rng.permutation(len(label))[:16] for _ in range(4000)]
    distinct = [len(set(label[d])) for d in draws]
    assert distinct_in_batch(np.bincount(label), 16) == pytest.approx(np.mean(distinct), abs=0.05)
    met = [(label[d[1:]] == label[d[0]]).any() for d in draws]
    others = np.bincount(label)[label] - 1
    assert meets_another(others, len(label), 16).mean() == pytest.approx(np.mean(met), abs=0.03)


def test_left_out_rows_are_counted_and_named() -> None:
    found = audit(_classes([("a", "x"), ("b", "y")], left_out=(BadRow("f.csv", 3, "text", "empty"),)))
    assert found.facts["data.left_out"] == 1
    assert "f.csv, line 3" in _finding(found, "left_out_rows").examples[0]["where"]


# --- contradictions ------------------------------------------------------------------------------------------------


def test_same_text_under_two_labels_is_named_with_both() -> None:
    found = audit(_classes([("Where is it?", "order"), ("where is it", "delivery"), ("hi", "order")]))
    finding = _finding(found, "conflicting_labels")
    assert finding.severity == "issue"
    assert finding.examples == ({"rows": [0, 1], "text": "Where is it?", "labels": ["order", "delivery"]},)


def test_pair_graded_twice_contradicts_in_either_order_only_when_the_scores_differ() -> None:
    assert audit(_graded([("a", "b", 1.0), ("b", "a", 1.0), ("c", "d", 0.0)])).facts["data.conflicting_texts"] == 0
    found = audit(_graded([("a", "b", 1.0), ("B.", "a", 4.0), ("c", "d", 0.0)]))
    assert found.facts["data.conflicting_texts"] == 1
    assert _finding(found, "conflicting_scores").examples[0]["scores"] == [1.0, 4.0]


def test_several_positives_are_legal_but_a_positive_among_the_negatives_is_not() -> None:
    table = pl.DataFrame(
        {"query": ["q", "q", "r"], "positive": ["a", "b", "c"], "negative_1": ["c", "A", None], "negative_2": "d"}
    )
    found = audit(Pairs(kind="pairs", table=table))
    assert found.facts["data.queries_with_several_positives"] == 1
    assert found.facts["data.conflicting_texts"] == 1
    assert _finding(found, "positive_is_negative").examples[0]["row"] == 1
    assert found.facts["data.texts"] == 7


def test_collection_counts_relevant_rows_and_names_judgements_without_a_document() -> None:
    rows = [("1", "red", "a", 1.0), ("1", "red", "b", 0.0), ("2", "blue", "b", 2.0), ("2", "blue", "gone", 1.0)]
    found = audit(_collection(rows, {"a": "a red one", "b": "a blue one", "c": "unjudged"}))
    assert found.facts["data.documents"] == 3
    assert found.facts["data.classes"] == 2
    assert found.facts["data.missing_documents"] == 1
    assert _finding(found, "missing_documents").examples[0]["document_id"] == "gone"
    assert found.facts["data.difficulty"]["lexical"]["recall@1"] == 1.0


# --- order ---------------------------------------------------------------------------------------------------------


def test_order_is_cohens_kappa_of_neighbouring_rows() -> None:
    label = np.random.default_rng(0).integers(0, 7, 300)
    label[100:200].sort()
    facts = audit(_classes([(f"text {i}", str(c)) for i, c in enumerate(label)])).facts
    agreement = np.mean([a == b for a, b in pairwise(label)])
    pairs_alike = [label[i] == label[j] for i in range(300) for j in range(300) if i != j]
    expected = (agreement - np.mean(pairs_alike)) / (1 - np.mean(pairs_alike))
    assert facts["data.order_autocorrelation"] == pytest.approx(expected, abs=1e-9)
    assert facts["data.batch_classes_in_order"] == pytest.approx(
        np.mean([len(set(label[i : i + 64])) for i in range(0, 256, 64)])
    )


def test_sorted_rows_are_reported_and_shuffled_ones_are_not() -> None:
    rows = [(f"text {i}", f"class {i // 50}") for i in range(1000)]
    found = audit(_classes(rows))
    assert "ordered_by_class" in _names(found)
    assert found.facts["data.batch_classes_in_order"] < 3 < 15 < found.facts["data.batch_classes_shuffled"]
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(1000)]
    again = audit(_classes(shuffled))
    assert "ordered_by_class" not in _names(again)
    assert again.facts["data.order_autocorrelation"] < 0.03


# --- leakage -------------------------------------------------------------------------------------------------------


def test_leakage_counts_held_out_rows_after_normalisation() -> None:
    dev = _classes([("HELLO!", "x"), ("new", "x"), ("newer", "w"), ("bye", "y")])
    facts = audit(_classes([("hello", "x"), ("bye", "y")]), dev=dev).facts
    assert facts["data.leakage"] == 0.5
    assert facts["data.leakage_exact"] == 0.25
    assert facts["data.dev_unseen_classes"] == 0.25


def test_graded_leakage_is_of_pairs_in_either_order_not_of_single_sentences() -> None:
    train = _graded([("a", "b", 1.0), ("c", "d", 2.0)])
    found = audit(train, dev=_graded([("B", "a", 1.0), ("a", "d", 1.0)]))
    assert found.facts["data.leakage"] == 0.5
    assert found.facts["data.leakage_texts"] == 0.5


def test_held_out_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        audit(_classes([("a", "x")]), dev=_pairs([("a", "x")]))


# --- texts ---------------------------------------------------------------------------------------------------------


def test_scripts_are_shares_of_letters_and_mixed_texts_are_told() -> None:
    texts = pl.Series(["abcd", "發票", "Cargo要一万多", "日本語のテスト", "да 12", "?!"])
    shares = scripts(letters(texts))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["Latin"] == pytest.approx(9 / 24)
    assert shares["Han"] == pytest.approx(9 / 24)
    assert shares["Cyrillic"] == pytest.approx(2 / 24)
    assert mixed(letters(texts)).to_list() == [False, False, True, False, False, False]
    assert words(texts).to_list() == [1, 2, 5, 7, 2, 1]


def test_truncation_is_told_from_a_token_counter() -> None:
    rows = [(f"word {'more ' * (i % 10)}", str(i % 3)) for i in range(200)]
    found = audit(_classes(rows), max_tokens=8, token_counts=lambda texts: [len(t.split()) for t in texts])
    assert found.facts["data.truncated_share"] == pytest.approx(0.2)
    assert _finding(found, "truncated_texts").severity == "issue"
    with pytest.raises(DataError, match="got max_tokens without token_counts"):
        audit(_classes(rows), max_tokens=8)
    with pytest.raises(DataError, match="returned 1 counts for 200 texts"):
        audit(_classes(rows), max_tokens=8, token_counts=lambda texts: [1])
    with pytest.raises(DataError, match="max_tokens is 0"):
        audit(_classes(rows), max_tokens=0, token_counts=lambda texts: [1] * len(texts))


def test_the_length_of_a_huge_text_is_said_to_be_the_least_it_can_be() -> None:
    rows = [("one two", "x"), ("word " * 20_000, "y")]
    found = audit(_classes(rows), max_tokens=8, token_counts=lambda texts: [min(9, len(t.split())) for t in texts])
    assert "longest at least 9" in _finding(found, "truncated_texts").sentence
    small = audit(_classes([rows[0], ("word " * 9, "y")]), max_tokens=8, token_counts=lambda ts: [len(t) for t in ts])
    assert "longest 45" in _finding(small, "truncated_texts").sentence


def test_far_longer_texts_and_texts_without_letters_are_shown() -> None:
    found = audit(_classes([("short", "x")] * 20 + [("long " * 500, "y"), ("42 - 17", "y"), ("", "x")]))
    assert _finding(found, "long_outliers").examples[0] == {"row": 20, "characters": 2500} | {
        "text": _finding(found, "long_outliers").examples[0]["text"]
    }
    assert [e["row"] for e in _finding(found, "texts_without_letters").examples] == [21, 22]


# --- difficulty ----------------------------------------------------------------------------------------------------


def test_interpolation_returns_the_corpora_at_their_own_places() -> None:
    for anchor in ANCHORS:
        low, high, inside = expected_recall(anchor.rows, anchor.classes, anchor.tail)
        assert (low, high) == pytest.approx((anchor.recall, anchor.recall))
        assert inside
    low, high, inside = expected_recall(200, 200, 1.0)
    assert not inside
    assert low == pytest.approx(high)


def test_lexical_figures_separate_copied_from_unrelated_phrasings() -> None:
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 12)) for _ in range(60)]
    easy = audit(_classes([(f"{name} {i}", name) for name in names for i in range(4)])).facts["data.difficulty"]
    assert easy["lexical"]["recall@1"] > 0.99
    assert easy["reading"].startswith("easier than corpus A")
    noise = [("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 12)), name) for name in names for _ in range(4)]
    hard = audit(_classes(noise)).facts["data.difficulty"]
    assert hard["lexical"]["recall@1"] < 0.15
    assert hard["lexical"]["recall@10"] < hard["lexical"]["chance@10"] + 0.2
    assert "corpus C" in hard["reading"]


def test_a_query_does_not_find_itself_nor_its_copies() -> None:
    rows = [(f"{text}{end}", label) for text, label in (("abc def", "x"), ("ghi jkl", "y")) for end in ("", ".", "!")]
    lexical = audit(_classes(rows)).facts["data.difficulty"]["lexical"]
    assert lexical["alone"] == 1.0
    assert lexical["recall@10"] == 0.0


def test_demo_is_hard_for_words_and_has_a_long_tail() -> None:
    facts = audit(_demo()).facts
    assert facts["data.classes_at_most_3"] >= 0.5
    assert facts["data.conflicting_texts"] == facts["data.near_duplicate_rows"] == 0
    assert facts["data.difficulty"]["lexical"]["recall@1"] < 0.3
    assert set(facts["data.scripts"]) == {"Latin", "Han"}


def test_graded_difficulty_is_the_rank_correlation_of_tfidf() -> None:
    rows = [
        (f"one two three {i}", " ".join(["one", "two", "three", str(i)][:k]), float(k))
        for i in range(9)
        for k in (1, 2, 3, 4)
    ]
    assert audit(_graded(rows)).facts["data.difficulty"]["lexical"]["spearman"] > 0.9


# --- degenerate tables, printing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 50])
@pytest.mark.parametrize("text", ["a", "", "?!", "你好"])
def test_tiny_and_all_equal_tables_give_findings_not_crashes(count: int, text: str) -> None:
    dtype = {"a": pl.String, "b": pl.String}
    both = pl.DataFrame({"a": [text] * count, "b": ["x"] * count}, schema=dtype)
    tables = (
        Pairs(kind="classes", table=both.rename({"a": "text", "b": "label"})),
        Pairs(kind="pairs", table=both.rename({"a": "query", "b": "positive"})),
        Pairs(kind="graded", table=both.rename({"a": "sentence1", "b": "sentence2"}).with_columns(score=pl.lit(1.0))),
        Pairs(
            kind="collection",
            table=both.select(query_id="a", query="a", document_id="b").with_columns(relevance=pl.lit(1.0)),
            corpus=pl.DataFrame({"document_id": ["x"], "document": [text]}),
        ),
    )
    for pairs in tables:
        found = audit(pairs, dev=pairs)
        assert "few_rows" in _names(found)
        assert "constant_score" in _names(found) or "one_class" in _names(found) or count == 0
        assert json.loads(json.dumps(found.to_dict()))["facts"]["data.rows"] == count
        assert str(found)


def test_missing_cells_count_as_empty_texts() -> None:
    table = pl.DataFrame({"text": ["a", None, "b"], "label": ["x", "y", None]})
    facts = audit(Pairs(kind="classes", table=table)).facts
    assert facts["data.texts_without_letters"] == 1
    assert facts["data.classes"] == 3


def test_card_fits_on_a_screen_and_puts_the_worst_first() -> None:
    found = audit(_demo(), dev=_demo())
    lines = str(found).splitlines()
    assert len(lines) <= 25
    assert "1,456 rows" in lines[0]
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, key=["issue", "watch", "info"].index)
    assert found.findings[0].name == "leakage"
    assert all(len(finding.examples) <= 10 for finding in found.findings)


def test_sampled_facts_say_so() -> None:
    rows = [(f"text number {i}", str(i % 40)) for i in range(25_000)]
    facts = audit(_classes(rows)).facts
    assert facts["data.sampled"] == {
        "data.scripts": 20_000,
        "data.mixed_script_share": 20_000,
        "data.difficulty": 10_000,
    }
    assert set(facts["data.sampled"]) <= set(facts)


@pytest.mark.data
def test_banking77_facts_are_those_of_its_page(real_data: Path) -> None:
    def read(part: str) -> Pairs:
        table = pl.read_csv(real_data / "banking77" / f"{part}.csv").rename({"category": "label"})
        return Pairs(kind="classes", table=table)

    train, test = read("train"), read("test")
    facts = audit(train, dev=test).facts
    known = {normalise(text) for text in train.table["text"]}
    assert (facts["data.rows"], facts["data.classes"]) == (10_003, 77)
    assert facts["data.leakage"] == pytest.approx(np.mean([normalise(text) in known for text in test.table["text"]]))
    assert 0 < facts["data.leakage"] < 0.01
    assert facts["data.order_autocorrelation"] > 0.9
    assert facts["data.difficulty"]["lexical"]["recall@1"] > 0.7


# --- large tables --------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.tuples(_TEXT, st.sampled_from(["x", "X", "y"])), min_size=1, max_size=40), st.integers(1, 40))
def test_repeats_are_the_same_rows_whether_found_among_the_first_rows_or_beyond(
    rows: list[tuple[str, str]], ahead: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("embedfit.data.audit_view._AHEAD", ahead)
        found = audit(_pairs(rows))
    seen: set[tuple[str, str]] = set()
    near: set[tuple[str, str]] = set()
    exact_again, near_again = list[int](), list[int]()
    for i, (query, document) in enumerate(rows):
        normal = (normalise(query), normalise(document))
        if (query, document) in seen:
            exact_again.append(i)
        elif normal in near:
            near_again.append(i)
        seen.add((query, document))
        near.add(normal)
    assert found.facts["data.duplicate_rows"] == len(exact_again)
    assert found.facts["data.near_duplicate_rows"] == len(exact_again) + len(near_again)
    for name, expected in (("duplicate_rows", exact_again), ("near_duplicate_rows", near_again)):
        shown = [e["row"] for f in found.findings if f.name == name for e in f.examples]
        assert shown == expected[:10]


def test_numbers_are_equal_where_values_are_and_point_to_a_place_where_they_stand() -> None:
    values = pl.Series([7, None, 3, 7, 2**63, 3], dtype=pl.UInt64)
    numbers, at = numbered(values)
    assert numbers.to_list() == [1, None, 0, 1, 2, 0]
    assert values.gather(at).to_list() == [3, 7, 2**63]
    assert numbered(values.clear())[0].to_list() == []


def test_card_says_which_figures_are_of_a_sample_and_of_how_many_rows() -> None:
    card = str(audit(_classes([(f"text number {i}", str(i % 40)) for i in range(25_000)])))
    assert "from a sample of 10,000 rows: difficulty" in card
    assert "from a sample of 20,000 rows: scripts, mixed_script_share" in card


def test_bound_and_unused_columns_are_facts_and_stand_on_the_card() -> None:
    rows = [{"question": f"a {i}", "answer": f"b {i % 3}", "topic": "t", "day": i} for i in range(20)]
    found = audit(read(rows))
    assert found.facts["data.columns"] == {"query": "question", "positive": "answer"}
    assert found.facts["data.columns_unused"] == ["topic", "day"]
    assert "columns  query <- 'question', positive <- 'answer'; not used: 'topic', 'day'" in str(found).splitlines()
    by_hand = audit(_classes([("a", "x"), ("b", "y")]))
    assert "data.columns" not in by_hand.facts
    assert "columns" not in str(by_hand)


def test_how_the_source_was_read_is_a_fact(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / f"{name}.csv").write_text("text,label\na,x\nb,y\n")
    assert "2 files" in audit(read(str(tmp_path / "*.csv"))).facts["data.notes"][0]
