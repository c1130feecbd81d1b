from __future__ import annotations

import pytest
from worlds import classes, collection, graded, pairs

from embedfit.errors import DataError
from embedfit.evaluate.tasks import task_of


def relevant(task) -> dict[str, set[str | None]]:
    out: dict[str, set[str | None]] = {}
    for q, c in zip(task.query, task.relevant, strict=True):
        out.setdefault(task.queries[q], set()).add(task.candidates[c] if c >= 0 else None)
    return out


def test_candidates_are_all_documents_known_and_held_out_and_explicit_negatives():
    task = task_of(pairs(("q", "a"), negative_1=["n"]), pairs(("p", "b"), ("r", "A ")))
    assert task.candidates == ("a", "n", "b")
    assert relevant(task) == {"q": {"a"}}


def test_a_query_asked_in_two_spellings_is_asked_once_with_all_its_documents():
    task = task_of(pairs(("What?", "a"), ("what", "b")), pairs(("WHAT", "c"), ("else", "d")))
    assert relevant(task) == {"What?": {"a", "b", "c"}}
    assert task.leaked == 1


def test_a_query_is_no_answer_to_itself_unless_it_is():
    task = task_of(pairs(("a", "b"), ("b", "a"), ("c", "c")))
    assert [task.candidates[i] if i >= 0 else None for i in task.itself] == ["a", "b", None]


def test_phrasings_are_further_keys_of_their_document_on_the_side_of_the_queries():
    task = task_of(pairs(("q", "a")), pairs(("p1", "a"), ("p2", "a"), ("p3", "b")), keys="phrasings")
    found = [(task.candidates[o], k, bool(s)) for o, k, s in zip(task.owner, task.keys, task.phrased, strict=True)]
    assert found == [("a", "a", False), ("a", "p1", True), ("a", "p2", True), ("b", "b", False), ("b", "p3", True)]


def test_classes_without_titles_are_their_known_texts_as_documents():
    task = task_of(classes(("x", "one"), ("y", "new")), classes(("a", "two"), ("b", "one"), ("c", "two")))
    assert task.candidates == ("one", "two")
    assert task.keys == ("b", "a", "c")
    assert not task.phrased.any()
    assert relevant(task) == {"x": {"one"}, "y": {None}}


def test_classes_with_titles_are_found_by_title_and_by_phrasing():
    known = classes(("a", "1"), ("b", "1"), label_text=["One?", "One?"])
    task = task_of(classes(("x", "2"), label_text=["Two?"]), known)
    assert task.candidates == ("1", "2")
    assert list(zip(task.keys, task.phrased.tolist(), strict=True)) == [
        ("One?", False),
        ("a", True),
        ("b", True),
        ("Two?", False),
    ]


def test_class_prototypes_are_the_labels():
    known = classes(("a", "two"), ("b", "one"))
    task = task_of(classes(("x", "one"), ("y", "new")), known, keys="documents")
    assert task.keys == task.candidates == ("one", "two")
    assert relevant(task) == {"x": {"one"}, "y": {None}}


def test_prototypes_come_first_among_the_keys_of_their_class():
    known = classes(("a", "two"), ("b", "one"), ("c", "one"), label_text=["Two?", "One?", "One?"])
    task = task_of(classes(("x", "one")), known, keys="prototypes")
    assert task.candidates == ("one", "two")
    assert task.keys == ("one", "b", "c", "two", "a")
    assert task.phrased.tolist() == [False, True, True, False, True]


def test_every_row_of_a_class_is_asked_even_twice():
    assert task_of(classes(("x", "a"), ("x", "a")), classes(("y", "a"))).queries == ("x", "x")


def test_a_judged_document_outside_the_corpus_counts_as_relevant_once():
    judged = [("1", "q", "d1", 2.0), ("1", "q", "lost", 1.0), ("1", "q", "lost2", 1.0), ("1", "q", "d2", 0.0)]
    task = task_of(collection(judged, {"d1": "x", "d2": "y"}), collection(judged[1:2], {"d1": "x"}))
    assert task.relevant.tolist() == [0, -1, -1]
    assert task.gain.tolist() == [2, 1, 1]


def test_queries_with_nothing_relevant_are_counted():
    task = task_of(collection([("1", "q", "d1", 1.0), ("2", "r", "d1", 0.0)], {"d1": "x"}))
    assert task.queries == ("q",)
    assert task.unjudged == 1


def test_nothing_relevant_at_all_is_an_error():
    with pytest.raises(DataError, match="none of 1"):
        task_of(collection([("1", "q", "d1", 0.0)], {"d1": "x"}))


@pytest.mark.parametrize(
    ("held_out", "known", "keys", "says"),
    [
        (pairs(("q", "a")), classes(("a", "b")), None, "kind"),
        (pairs(("q", "a")), None, "phrasings", "known rows"),
        (graded(("a", "b", 1.0)), None, None, "no retrieval"),
    ],
)
def test_rows_that_do_not_fit_are_an_error(held_out, known, keys, says):
    with pytest.raises(DataError, match=says):
        task_of(held_out, known, keys)
