from __future__ import annotations

import pytest
import torch
from small_towers import TEXTS, Make
from torch import nn

from embedfit.errors import ModelError
from embedfit.towers import build


def test_weights_are_drawn_from_berts_truncated_normal(make: Make) -> None:
    tower = make("transformer")
    weights = [m.weight for m in tower.modules() if isinstance(m, nn.Linear | nn.Embedding)]
    drawn = torch.cat([w.detach().flatten() for w in weights])
    assert drawn.abs().max() <= 0.04
    # A normal distribution of deviation 0.02 that is cut at two deviations keeps 0.88 of its deviation.
    assert float(drawn.std()) == pytest.approx(0.0176, abs=2e-4)


def test_heads_are_64_wide_where_the_dimension_allows(make: Make) -> None:
    assert make("transformer", dimension=128).model.config.num_attention_heads == 2
    assert make("transformer", dimension=36).model.config.num_attention_heads == 1


def test_dropout_reaches_the_config(make: Make) -> None:
    config = make("transformer", dropout=0.25).model.config
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.25


def test_no_room_for_a_word_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"max_tokens 2 leaves no room between \[CLS\] and \[SEP\]"):
        build("transformer", TEXTS, max_tokens=2)
