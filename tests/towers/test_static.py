from __future__ import annotations

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from small_towers import TEXTS, Make

from embedfit.towers import Static, TwoTower
from embedfit.towers import tokenizer as subwords
from embedfit.towers.static import train_static


def test_untrained_it_ranks_as_tf_idf_does() -> None:
    tower = train_static(TEXTS, dimension=4096, vocabulary=500, layers=0, dropout=0.0, max_tokens=100, seed=0)
    ours = TwoTower(tower).encode(TEXTS)
    vectors = TfidfVectorizer(analyzer=lambda text: tower.tokenizer.encode(text).tokens).fit_transform(TEXTS)
    np.testing.assert_allclose(ours @ ours.T, (vectors @ vectors.T).toarray(), atol=5 / np.sqrt(4096))


def test_blocks_change_nothing_before_training(make: Make) -> None:
    plain, deep = make("static"), make("static", layers=3)
    tokens = plain.tokenize(TEXTS)
    assert torch.equal(plain.eval()(tokens), deep.eval()(tokens))


def test_features_are_dropped_in_training_only(make: Make) -> None:
    tower = make("static", dropout=0.5)
    tokens = tower.tokenize(TEXTS)
    torch.manual_seed(0)
    assert not torch.equal(tower.train()(tokens), tower(tokens))
    assert torch.equal(tower.eval()(tokens), tower(tokens))


def test_unknown_characters_have_a_short_row_of_their_own(make: Make) -> None:
    tower = make("static")
    assert isinstance(tower, Static)
    lengths = tower.table.norm(dim=1)
    unknown = subwords.SPECIAL.index("[UNK]")
    assert 0 < lengths[unknown] < lengths[5:].min() / 5
