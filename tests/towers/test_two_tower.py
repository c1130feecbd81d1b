from __future__ import annotations

import numpy as np
import pytest
import torch
from small_towers import AWKWARD, TEXTS, Make

from embedfit.errors import ModelError
from embedfit.towers import TwoTower


def test_embeddings_have_length_one_and_type_float32(make: Make) -> None:
    out = TwoTower(make("gru")).encode(TEXTS)
    assert out.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)


def test_rows_keep_the_order_of_the_texts_whatever_the_batch_size(make: Make) -> None:
    model = TwoTower(make("transformer"))
    texts = [*TEXTS, *AWKWARD]
    whole = model.encode(texts)
    np.testing.assert_allclose(model.encode(texts, batch_size=3), whole, atol=1e-5)
    np.testing.assert_allclose(model.encode(texts[::-1]), whole[::-1], atol=1e-5)


def test_equal_texts_are_embedded_once(make: Make) -> None:
    model = TwoTower(make("static"))
    seen: list[tuple[int, int]] = []
    out = model.encode(["a card", "b", "a card", "a card"], batch_size=1, progress=lambda *x: seen.append(x))
    assert seen == [(1, 2), (2, 2)]
    assert np.array_equal(out[0], out[2])


def test_no_text_gives_no_row(make: Make) -> None:
    assert TwoTower(make("static")).encode([]).shape == (0, 32)


def test_modes_are_restored_module_by_module(make: Make) -> None:
    model = TwoTower(make("gru")).train()
    model.query.dropout.eval()
    model.encode(TEXTS)
    assert model.query.training
    assert not model.query.dropout.training


def test_dropout_is_off_and_no_gradient_is_kept(make: Make) -> None:
    model = TwoTower(make("static", dropout=0.5)).train()
    assert np.array_equal(model.encode(TEXTS), model.encode(TEXTS))


def test_modes_are_restored_after_an_error(make: Make) -> None:
    model = TwoTower(make("static")).train()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.encode(TEXTS, progress=stop)
    assert model.query.training
    assert torch.is_grad_enabled()


def test_roles_choose_the_tower(make: Make) -> None:
    model = TwoTower(make("static", seed=1), make("static", seed=2))
    assert not model.shared
    assert not np.array_equal(model.encode(TEXTS, role="query"), model.encode(TEXTS, role="document"))
    one = TwoTower(make("static", seed=1))
    assert one.shared
    assert np.array_equal(one.encode(TEXTS, role="query"), one.encode(TEXTS, role="document"))


def test_towers_of_different_dimension_are_an_error(make: Make) -> None:
    with pytest.raises(ModelError, match=r"query tower embeds into 32 dimensions, the document tower into 16"):
        TwoTower(make("static"), make("static", dimension=16))
