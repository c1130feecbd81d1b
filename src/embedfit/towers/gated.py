"""A GRU over packed sequences whose backward pass costs what its forward pass lets expect, on a CPU.

torch's own backward pass writes a whole matrix of zeros for every time step, and multiplies weights' gradients out step
by step. Here gates are kept, the recurrence is walked back once, and each weight's gradient is one matrix product.

Axes: n tokens of all texts, time by time as `PackedSequence` has them, i inputs, h hidden units, b texts.
"""

from __future__ import annotations

__all__ = ["gated"]

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def gated(
    inputs: Float[Tensor, "n i"], sizes: Sequence[int], weights: Sequence[Tensor], *, backwards: bool = False
) -> tuple[Float[Tensor, "n h"], Float[Tensor, "b h"]]:
    """States of one direction of one layer, and the state after the last token that was read.

    Args:
        inputs: packed, the longest text first.
        sizes: texts that have a token at each time.
        weights: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` as `torch.nn.GRU` has them.
        backwards: texts are read from their ends.

    References:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078, in the variant of cuDNN: the reset gate comes after the
        product.
    """
    return _Gated.apply(inputs, *weights, (tuple(sizes), backwards))


def _times(sizes: Sequence[int], *, backwards: bool) -> Iterator[slice]:
    """The tokens of each time, in the order in which they are read."""
    stops = torch.tensor(sizes).cumsum(0).tolist()
    times = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
    return iter(times[::-1] if backwards else times)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor, read: tuple[Sequence[int], bool]
    ) -> tuple[Tensor, Tensor]:
        """Walk along the texts and keep the gates."""
        hidden, (sizes, backwards) = w_h.shape[1], read
        gates = torch.addmm(b_i, inputs, w_i.T)  # reset, update and candidate of all times at once
        before, candidate, out = (inputs.new_empty(len(inputs), hidden) for _ in range(3))
        state = inputs.new_zeros(sizes[0], hidden)
        for time in _times(sizes, backwards=backwards):
            own = before[time].copy_(state[: time.stop - time.start])
            recurrent, gate = torch.addmm(b_h, own, w_h.T), gates[time]
            gate[:, : 2 * hidden].add_(recurrent[:, : 2 * hidden]).sigmoid_()
            reset, update, new = gate.split(hidden, 1)
            candidate[time] = recurrent[:, 2 * hidden :]
            new.addcmul_(reset, candidate[time]).tanh_()
            torch.lerp(new, own, update, out=out[time])
            state[: len(own)] = out[time]
        ctx.save_for_backward(inputs, w_i, w_h, gates, before, candidate)
        ctx.sizes, ctx.backwards = sizes, backwards
        return out, state

    @staticmethod
    def backward(ctx: Any, by_out: Tensor, by_state: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back; second derivatives are refused, since what was kept knows nothing of the weights."""
        if torch.is_grad_enabled():
            raise NotImplementedError("no second derivatives of this GRU: take them of tower.cells, a torch.nn.GRU")
        inputs, w_i, w_h, gates, before, candidate = ctx.saved_tensors
        hidden = w_h.shape[1]
        reset, update, new = gates.split(hidden, 1)
        # derivatives of the gates but for the gradient of the state, of all times at once
        by_new = (1 - update) * (1 - new * new)
        by_update = (before - new) * update * (1 - update)
        by_reset = candidate * reset * (1 - reset)
        through = torch.empty_like(gates)  # gradient by the recurrent products
        direct = torch.empty_like(by_new)  # by the candidate's share of the inputs, which no gate resets
        carried = by_state.clone()
        for time in _times(ctx.sizes, backwards=not ctx.backwards):
            here = carried[: time.stop - time.start]
            gradient = by_out[time] + here
            of_reset, of_update, of_new = through[time].split(hidden, 1)
            torch.mul(gradient, by_new[time], out=direct[time])
            torch.mul(direct[time], by_reset[time], out=of_reset)
            torch.mul(gradient, by_update[time], out=of_update)
            torch.mul(direct[time], reset[time], out=of_new)
            torch.addmm(gradient.mul_(update[time]), through[time], w_h, out=here)
        by_w_h, by_b_h = through.T @ before, through.sum(0)
        through[:, 2 * hidden :] = direct  # from here on by the products of the inputs
        by_inputs = through @ w_i if ctx.needs_input_grad[0] else None
        return by_inputs, through.T @ inputs, by_w_h, through.sum(0), by_b_h, None
