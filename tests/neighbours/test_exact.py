from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit.neighbours import exact, top_k, top_owners


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def sorted_products(query: np.ndarray, document: np.ndarray, k: int) -> np.ndarray:
    """Rows by float64 product, rounded to float32 as the results are; equal ones in the order of the rows."""
    exact = (query[:, None].astype(np.float64) * document).sum(axis=2).astype(np.float32)
    return np.argsort(-exact, axis=1, kind="stable")[:, :k]


@st.composite
def crowds(draw):
    """Few directions, so that many documents are equal, or differ by less than float32 products can tell."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    e = draw(st.integers(1, 40))
    directions = rng.normal(size=(draw(st.integers(1, 30)), e))
    document = directions[rng.integers(len(directions), size=draw(st.integers(1, 120)))]
    document = (document + draw(st.sampled_from([0, 1e-7, 1e-6])) * rng.normal(size=document.shape)).astype(np.float32)
    query = rng.normal(size=(draw(st.integers(0, 9)), e)).astype(np.float32)
    query[::3] = 0
    return query, document, draw(st.integers(1, 130))


@settings(max_examples=100)
@given(crowds())
def test_the_best_are_found_whatever_float32_products_would_say(case):
    query, document, k = case
    scores, rows = top_k(query, document, k)
    assert rows.tolist() == sorted_products(query, document, k).tolist()
    exact = np.take_along_axis(query.astype(np.float64) @ document.T.astype(np.float64), rows, axis=1)
    assert scores == pytest.approx(exact, rel=1e-6, abs=1e-9)


def test_equal_documents_score_equally_to_the_last_bit_and_stand_in_the_order_of_their_rows(rng):
    document = unit(rng.normal(size=(2_000, 33)))
    twins = [1, 3, 40, 999, 1_000, 1_777, 1_998, 1_999]
    document[twins] = document[0]
    scores, rows = top_k(unit(document[:1] + 0.01 * rng.normal(size=(50, 33))), document, 5)
    assert (rows == [0, *twins[:4]]).all()
    assert (scores == scores[:, :1]).all()


def test_a_collapsed_model_finds_the_first_rows(rng):
    same = unit(np.ones((500, 64)))
    assert (top_k(same[:9], same, 10)[1] == np.arange(10)).all()


def test_blocks_and_pieces_of_bounded_memory_mean_nothing(rng, monkeypatch):
    query, document = unit(rng.normal(size=(70, 24))), unit(rng.normal(size=(300, 24)))
    whole = top_k(query, document, 20)
    for name, value in (("_LEAST", 1), ("_MOST", 16), ("_CELLS", 200)):
        monkeypatch.setattr(exact, name, value)
    for part, expected in zip(top_k(query, document, 20), whole, strict=True):
        assert part.tolist() == expected.tolist()


def test_more_than_there_are_gives_all_and_nothing_gives_nothing(rng):
    query, document = unit(rng.normal(size=(2, 4))), unit(rng.normal(size=(3, 4)))
    assert top_k(query, document, 10)[1].shape == (2, 3)
    assert top_k(query[:0], document, 2)[0].shape == (0, 2)
    assert top_k(query, document[:0], 2)[1].shape == (2, 0)


def test_several_threads_find_the_same_and_leave_those_of_torch_and_faiss_as_they_were(rng, monkeypatch):
    query, document = unit(rng.normal(size=(70, 24))), unit(rng.normal(size=(300, 24)))
    whole = top_k(query, document, 20)
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    monkeypatch.setattr(exact, "_LEAST", 1)
    with monkeypatch.context() as patched:
        patched.setattr(faiss, "omp_get_max_threads", lambda: 3)
        several = top_k(query, document, 20)
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before
    for part, expected in zip(several, whole, strict=True):
        assert part.tolist() == expected.tolist()


@settings(max_examples=60)
@given(crowds(), st.lists(st.integers(1, 30), min_size=120, max_size=120))
def test_owners_are_found_by_the_best_of_their_rows(case, sizes):
    query, row, k = case
    owner = np.repeat(np.arange(len(sizes)), sizes)[: len(row)]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    exact = (query[:, None].astype(np.float64) * row).sum(axis=2).astype(np.float32)
    best = np.maximum.reduceat(exact, starts, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")[:, :k]
    scores, owners = top_owners(query, row, owner, k)
    assert owners.tolist() == order.tolist()
    assert scores.tolist() == np.take_along_axis(best, order, axis=1).tolist()
