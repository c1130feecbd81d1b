from __future__ import annotations

import pytest
import torch
from torch import nn

from embedfit.probes.loading import Loading


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))


def test_a_checkpoint_that_arrived_is_not_lost():
    saved = model().state_dict()
    with Loading() as loading:
        fresh = model()
        fresh.load_state_dict(saved)
    assert loading.into(fresh).lost(fresh) == 0


def test_names_behind_a_wrapper_are_lost_and_can_be_restored():
    saved = {f"module.{name}": value for name, value in model().state_dict().items()}
    with Loading() as loading:
        fresh = model()
        fresh.load_state_dict(saved, strict=False)
    checkpoint = loading.into(fresh)
    assert checkpoint.lost(fresh) == 1
    checkpoint.restore(fresh)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(value, saved[f"module.{name}"])


def test_weights_written_over_after_loading_are_lost():
    saved = model().state_dict()
    with Loading() as loading:
        fresh = nn.ModuleDict({"tower": model()})
        fresh["tower"].load_state_dict(saved)
        nn.init.normal_(fresh["tower"][0].weight)
    checkpoint = loading.into(fresh)
    assert checkpoint.lost(fresh) == pytest.approx(32 / 58)
    checkpoint.restore(fresh)
    assert checkpoint.lost(fresh) == 0


def test_without_a_checkpoint_nothing_can_be_lost():
    original = nn.Module.load_state_dict
    with Loading() as loading:
        fresh = model()
    assert loading.into(fresh).lost(fresh) is None
    assert nn.Module.load_state_dict is original
