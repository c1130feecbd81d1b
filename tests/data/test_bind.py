from __future__ import annotations

from itertools import combinations

import pytest

from embedfit.data.bind import ALIASES, bind, key
from embedfit.errors import DataError


def bound(
    *columns: str, kind: str = "auto", numeric: bool = False, **roles: str | list[str]
) -> tuple[str, dict[str, str]]:
    chosen, binding = bind(columns, kind=kind, roles=roles, numeric=lambda _: numeric, name="faq.csv")
    return chosen, dict(binding)


@pytest.mark.parametrize(
    ("columns", "kind", "expected"),
    [
        (
            ("thread", "standard_question", "user_query"),
            "pairs",
            {"query": "user_query", "positive": "standard_question"},
        ),
        (("Anchor", "Positive", "Hard Negative"), "pairs", {"negative_1": "Hard Negative"}),
        (("query", "pos", "neg", "weight"), "pairs", {"positive": "pos", "negative_1": "neg", "weight": "weight"}),
        (("text", "category"), "classes", {"text": "text", "label": "category"}),
        (("utterance", "Intent", "label-text"), "classes", {"label": "Intent", "label_text": "label-text"}),
        (("text", "label", "standard_question"), "classes", {"label_text": "standard_question"}),
        (("sentence1", "sentence2", "score"), "graded", {"score": "score"}),
        (("Sentence_A", "sentence b", "Similarity"), "graded", {"sentence1": "Sentence_A", "score": "Similarity"}),
        (("question1", "question2", "is_duplicate"), "graded", {"sentence2": "question2"}),
    ],
)
def test_usual_names_bind_whatever_their_case_and_order(columns, kind, expected):
    for order in (columns, columns[::-1]):
        chosen, binding = bound(*order)
        assert chosen == kind
        assert binding.items() >= expected.items()


def test_label_is_a_grade_only_where_it_is_a_number():
    columns = ("sentence1", "sentence2", "label")
    assert bound(*columns, numeric=True)[0] == "graded"
    with pytest.raises(DataError, match=r"do not say what they are"):
        bound(*columns, numeric=False)


def test_negatives_are_numbered_in_their_own_order():
    _, binding = bound("negative_10", "negative_2", "query", "positive", "negative")
    assert [binding[f"negative_{i}"] for i in (1, 2, 3)] == ["negative", "negative_2", "negative_10"]
    _, binding = bound("a", "b", "query", "positive", negative=["b", "a"])
    assert [binding["negative_1"], binding["negative_2"]] == ["b", "a"]


def test_a_named_column_is_taken_and_the_rest_found_by_name():
    assert bound("a", "answer", query="a") == ("pairs", {"query": "a", "positive": "answer"})
    assert bound("Ask Me", "answer", query="ask_me")[1]["query"] == "Ask Me"


def test_naming_one_of_two_fitting_columns_leaves_the_other_unused():
    _, binding = bind(
        ["question", "utterance", "answer"], kind="auto", roles={"query": "utterance"}, numeric=bool, name="f"
    )
    assert dict(binding)["query"] == "utterance"
    assert binding.unused == ("question",)


@pytest.mark.parametrize(
    ("columns", "options", "message", "hint"),
    [
        (
            ("question", "utterance", "answer"),
            {},
            "2 columns of faq.csv fit the role 'query': 'question', 'utterance'",
            r"query='question' \(--column query='question'\)",
        ),
        (
            ("question", "answer", "category"),
            {},
            r"2 ways: pairs \(query <- 'question', positive <- 'answer'\) or",
            r"kind='pairs' \(--kind pairs\) or kind='classes'",
        ),
        (
            ("a", "b"),
            {},
            r"do not say what they are: 'a', 'b'; expected pairs: query \+ positive",
            "--column query='a'",
        ),
        (("text",), {}, "one column, 'text'; expected at least two", "separated by something else"),
        (("a", "b"), {"kind": "pairs"}, r"no column for 'query', 'positive' \(kind 'pairs'\)", "query='a'"),
        (
            ("question", "answer"),
            {"query": "qestion"},
            "no column 'qestion' for the role 'query'",
            "did you mean query='question'",
        ),
        (("question", "answer"), {"query": "zzzz"}, "no column 'zzzz'", "name one of them"),
        (("question", "answer"), {"qurey": "question"}, "no role 'qurey'; the roles are", "did you mean 'query'"),
        (
            ("question", "answer"),
            {"text": "question", "positive": "answer"},
            "do not belong to one kind",
            "classes: text",
        ),
        (
            ("question", "answer"),
            {"kind": "graded", "text": "question"},
            "data of kind 'graded' has the roles",
            "pairs",
        ),
        (
            ("question", "answer"),
            {"query": "answer", "positive": "answer"},
            "cannot play two roles at once: query and positive",
            "positive='NAME'",
        ),
        (
            ("question", "answer"),
            {"query": ["question", "answer"]},
            "takes one column, got 'question', 'answer'",
            "query",
        ),
        (("question", "answer"), {"kind": "collection"}, "cannot be read from one table", "BEIR"),
        (("query", "document", "score"), {}, "'score' seems to judge them", r"kind='pairs' \(--kind pairs\)"),
        (("query", "document", "relevance"), {}, "'relevance' seems to judge them", "sentence1='query'"),
        (("query", "item_id", "position", "click"), {}, "looks like a click log .* lacks 'document'", "corpus="),
    ],
)
def test_what_does_not_bind_says_why_and_what_to_write(columns, options, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        bound(*columns, **options)
    assert caught.value.hint is not None
    with pytest.raises(DataError, match=hint):
        raise DataError(caught.value.hint)


def test_judged_rows_may_be_taken_as_positives_on_demand():
    assert bound("query", "document", "score", kind="pairs")[0] == "pairs"


def test_no_name_means_two_roles_of_one_kind():
    for roles in (
        ("query", "positive", "weight"),
        ("text", "label", "label_text", "weight"),
        ("sentence1", "sentence2", "score"),
    ):
        for a, b in combinations(roles, 2):
            assert not {key(n) for n in ALIASES[a]} & {key(n) for n in ALIASES[b]}
