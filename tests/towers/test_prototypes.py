from __future__ import annotations

import pytest
import torch

from embedfit.errors import ModelError
from embedfit.towers import Prototypes

LABELS = ("card_arrival", "lost_card", "top_up")


@pytest.fixture
def tower() -> Prototypes:
    return Prototypes.from_means(LABELS, torch.tensor([[3.0, 4.0], [0.5, 0.0], [0.0, 0.1]]))


def test_each_label_is_its_own_row_of_length_one(tower: Prototypes) -> None:
    out = tower(tower.tokenize(["top_up", "card_arrival", "top_up"]))
    torch.testing.assert_close(out, torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.0, 1.0]]))


def test_gradient_reaches_the_labels_asked_for(tower: Prototypes) -> None:
    tower(tower.tokenize(["lost_card"])).sum().backward()
    assert tower.table.grad is not None
    assert tower.table.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]


def test_a_label_is_one_token(tower: Prototypes) -> None:
    assert tower.token_counts(LABELS) == [1, 1, 1]
    assert len(tower.tokenize([])) == 0


def test_an_unknown_label_is_an_error_that_names_it_and_the_nearest(tower: Prototypes) -> None:
    with pytest.raises(ModelError, match=r"label 'lostcard' among 3\nhint: did you mean 'lost_card'\?"):
        tower.tokenize(["top_up", "lostcard"])
    with pytest.raises(ModelError, match=r"label '饭'.*\nhint: prototypes know only"):
        tower.tokenize(["饭"])


def test_a_label_named_twice_is_an_error() -> None:
    with pytest.raises(ModelError, match="label 'a' is named twice"):
        Prototypes(["a", "b", "a"], torch.zeros(3, 2))


def test_labels_and_rows_must_be_equally_many() -> None:
    with pytest.raises(ModelError, match="got 2 labels and 3 prototypes"):
        Prototypes(["a", "b"], torch.zeros(3, 2))
