"""The GRU of ours against torch's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from embedfit.towers.gated import gated

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def packed(lengths: list[int], inputs: int, seed: int, dtype: torch.dtype) -> PackedSequence:
    words = torch.randn(len(lengths), max(lengths), inputs, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return pack_padded_sequence(words, torch.tensor(lengths), batch_first=True, enforce_sorted=False)


def differentiated(states: Tensor, last: Tensor, inputs: Tensor, cells: nn.GRU, names: list[str]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    weigh = [torch.randn(x.shape, generator=draw, dtype=x.dtype) for x in (states, last)]
    value = (states * weigh[0]).sum() + (last * weigh[1]).sum()
    return list(torch.autograd.grad(value, [inputs, *(dict(cells.named_parameters())[name] for name in names)]))


@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 9), backwards=st.booleans())
@settings(max_examples=30)
def test_states_and_gradients_are_those_of_torch(lengths: list[int], seed: int, backwards: bool) -> None:
    torch.manual_seed(seed)
    cells = nn.GRU(5, 4, batch_first=True, bidirectional=True).double()
    source = packed(lengths, 5, seed, torch.float64)
    sizes, end = source.batch_sizes.tolist(), "_reverse" if backwards else ""
    mine, theirs = (source.data.clone().requires_grad_() for _ in range(2))
    names = [name + end for name in NAMES]
    states, last = gated(mine, sizes, [dict(cells.named_parameters())[n] for n in names], backwards=backwards)
    whole, final = cells(PackedSequence(theirs, source.batch_sizes))
    part = slice(4, 8) if backwards else slice(0, 4)
    other, end_state = whole.data[:, part], final[int(backwards)]
    torch.testing.assert_close(states, other)
    torch.testing.assert_close(last, end_state)
    found = differentiated(states, last, mine, cells, names)
    wanted = differentiated(other, end_state, theirs, cells, names)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("trained", [True, False])
def test_inputs_that_are_not_trained_get_no_gradient(trained: bool) -> None:
    cells = nn.GRU(3, 2)
    source = packed([2, 1], 3, 0, torch.float32)
    data = source.data.clone().requires_grad_(trained)
    states, _ = gated(data, source.batch_sizes.tolist(), [getattr(cells, name) for name in NAMES])
    states.sum().backward()
    assert (data.grad is not None) == trained
    assert cells.weight_hh_l0.grad is not None
