"""Identity masks: what is positive, what is no candidate."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from embedfit.scores import Known, cosine, paired_scores, score
from embedfit.types import Batch, Tokens


def batch(query_id: list[int], document_id: list[int], positive: list[int], **groups: list[int]) -> Batch:
    def tokens(n: int) -> Tokens:
        return Tokens.of([[1]] * n)

    q, d = len(query_id), len(document_id)
    return Batch(
        query=tokens(q),
        document=tokens(d),
        positive=torch.tensor(positive),
        query_id=torch.tensor(query_id),
        document_id=torch.tensor(document_id),
        query_group=torch.tensor(groups.get("query_group", [-1] * q)),
        document_group=torch.tensor(groups.get("document_group", [-1] * d)),
        weight=torch.ones(q),
        target=None,
        rows=torch.arange(q),
    )


def masks(b: Batch, known: Known | None = None) -> tuple[list[list[int]], list[list[int]]]:
    s = score(torch.randn(len(b), 4), torch.randn(len(b.document), 4), b, known)
    return s.positive.int().tolist(), s.candidate.int().tolist()


def test_each_query_has_its_own_positive_and_all_others_are_negatives() -> None:
    positive, candidate = masks(batch([0, 1], [10, 11], [0, 1]))
    assert positive == [[1, 0], [0, 1]]
    assert candidate == [[1, 1], [1, 1]]


def test_a_copy_of_the_own_positive_is_no_negative() -> None:
    positive, candidate = masks(batch([0, 1], [10, 11, 10], [0, 1]))
    assert positive == [[1, 0, 0], [0, 1, 0]]
    assert candidate == [[1, 1, 0], [1, 1, 1]]


def test_a_document_of_the_same_class_is_no_negative() -> None:
    _, candidate = masks(batch([0, 1], [10, 11], [0, 1], query_group=[5, 5], document_group=[5, 5]))
    assert candidate == [[1, 0], [0, 1]]


def test_the_query_itself_among_the_documents_is_no_negative() -> None:
    _, candidate = masks(batch([0, 1], [10, 0], [0, 0]))
    assert candidate == [[1, 0], [1, 1]]


def test_a_known_positive_of_the_query_is_no_negative() -> None:
    known = Known(torch.tensor([0, 1, 0]), torch.tensor([10, 11, 11]))
    _, candidate = masks(batch([0, 1], [10, 11], [0, 1]), known)
    assert candidate == [[1, 0], [1, 1]]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20),
    queries=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    documents=st.lists(st.integers(0, 9), min_size=1, max_size=5),
)
def test_known_answers_as_a_set_of_pairs_would(
    pairs: list[tuple[int, int]], queries: list[int], documents: list[int]
) -> None:
    known = Known(
        torch.tensor([p[0] for p in pairs], dtype=torch.long), torch.tensor([p[1] for p in pairs], dtype=torch.long)
    )
    answer = known(torch.tensor(queries), torch.tensor(documents)).tolist()
    assert answer == [[(q, d) in set(pairs) for d in documents] for q in queries]


def test_similarities_are_fp32_even_under_autocast() -> None:
    query, document = torch.randn(3, 8), torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cosine(query, document)
        paired = paired_scores(query, document[:3], torch.zeros(3)).values[:, 0]
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, cosine(query, document), rtol=0, atol=0)
    torch.testing.assert_close(paired, cosine(query, document[:3]).diagonal())
