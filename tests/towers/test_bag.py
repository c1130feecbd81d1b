from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from embedfit.towers.bag import Residual, embed, idf, mean_rows, unit_rows
from embedfit.types import Tokens

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=6)


@settings(max_examples=60)
@given(rows=ROWS)
def test_mean_rows_equals_the_mean_taken_by_hand(rows: list[list[int]]) -> None:
    table = torch.randn(10, 4)
    exact = table.double().numpy()
    expected = np.stack([exact[row].mean(0) if row else np.zeros(4) for row in rows])
    np.testing.assert_allclose(mean_rows(table, Tokens.of(rows)).numpy(), expected, atol=1e-6)


@settings(max_examples=60)
@given(rows=ROWS, dropout=st.floats(0.05, 0.95))
def test_dropout_averages_what_is_left_and_never_takes_all(rows: list[list[int]], dropout: float) -> None:
    # One direction per feature: which features were left can be read off the result.
    out = mean_rows(torch.eye(10), Tokens.of(rows), dropout=dropout)
    for row, mean in zip(rows, out, strict=True):
        assert set(mean.nonzero()[:, 0].tolist()) <= set(row)
        assert float(mean.sum()) == pytest.approx(1.0 if row else 0.0, abs=1e-5)


def test_dropout_leaves_out_the_share_asked_for() -> None:
    torch.manual_seed(0)
    out = mean_rows(torch.eye(1000), Tokens.of([list(range(1000))]), dropout=0.3)
    assert int((out == 0).sum()) == pytest.approx(300, abs=45)  # three standard deviations


def test_a_row_gets_its_share_of_the_gradient() -> None:
    table = torch.zeros(3, 2, requires_grad=True)
    mean_rows(table, Tokens.of([[0, 0, 1], [2]])).sum().backward()
    assert table.grad is not None
    torch.testing.assert_close(table.grad.to_dense()[:, 0], torch.tensor([2 / 3, 1 / 3, 1.0]))


def test_idf_equals_scikit_learn() -> None:
    texts = ["a b b", "a c", "", "a"]
    theirs = TfidfVectorizer(token_pattern=r"\w").fit(texts)
    rows = [[theirs.vocabulary_[word] for word in text.split()] for text in texts]
    np.testing.assert_allclose(idf(Tokens.of(rows), 3).numpy(), theirs.idf_, rtol=1e-6)


def test_a_feature_in_no_text_is_as_rare_as_can_be() -> None:
    assert float(idf(Tokens.of([[0], [0]]), 2)[1]) == pytest.approx(1 + np.log(3))


def test_rows_have_the_length_asked_for_and_depend_on_the_seed_alone() -> None:
    scale = torch.tensor([1.0, 0.0, 3.0])
    first, again, other = (unit_rows(scale, 50, seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first.norm(dim=1), scale)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_residual_block_is_the_identity_until_it_is_trained() -> None:
    x = torch.randn(5, 8)
    assert torch.equal(Residual(8, 16)(x), x)


def test_an_empty_text_passes_no_gradient_to_the_head() -> None:
    block = Residual(4, 4)
    table = torch.randn(3, 4, requires_grad=True)
    out = embed(table, block, Tokens.of([[], [0, 2]]))
    torch.nn.functional.normalize(out, dim=1)[:, 0].sum().backward()
    gradients = [parameter.grad for parameter in (table, *block.parameters())]
    assert all(g is not None and g.to_dense().abs().max() < 100 for g in gradients)


def test_the_value_for_an_empty_text_is_still_that_of_the_head() -> None:
    head = torch.nn.Linear(4, 4)
    assert torch.equal(embed(torch.randn(3, 4), head, Tokens.of([[]]))[0], head.bias)
