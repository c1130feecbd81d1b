"""Tables of which a step touches few rows: moments and weights of the others stay as they are."""

from __future__ import annotations

__all__ = ["Rows"]

from torch import Tensor, zeros, zeros_like

from embedfit.optim.kinds import ADAGRAD_EPSILON, EPSILON, RMSPROP_DECAY, Kind


class Rows:
    """The row-wise form of an optimiser, as `torch.optim.SparseAdam` is that of Adam.

    A step costs the rows that the texts of the batch name, not the table: with 40,000 rows and 128 short texts about a
    tenth. Nothing decays a table: rows that no text touches would shrink to nothing.

    Args:
        kind: see `kinds`; Muon's tables go by Adam's rule.
        betas: decay of the first and second moment, where the rule has moments.
        momentum: of SGD.
    """

    def __init__(self, kind: Kind, *, betas: tuple[float, float], momentum: float) -> None:
        self.kind = kind
        self.betas = betas
        self.momentum = momentum
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def step(self, table: Tensor, rate: float) -> tuple[float, float]:
        """Move the rows of the table's sparse gradient; returns the squared norms of step and rows before it."""
        assert table.grad is not None
        gradient = table.grad.coalesce()
        index, values = gradient.indices()[0], gradient.values()
        state = self.state.setdefault(table, {})
        rules = {"sgd": self._sgd, "adagrad": self._adagrad, "rmsprop": self._rmsprop}
        step = rules.get(self.kind, self._adam)(state, table, index, values).mul_(rate)
        rows = table[index]
        moved, size = float(step.square().sum()), float(rows.square().sum())
        table[index] = rows.sub_(step)
        return moved, size

    def _adam(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> Tensor:
        first, second = _moment(state, "first", table), _moment(state, "second", table)
        state.setdefault("step", zeros(())).add_(1)
        b1, b2 = self.betas
        count = state["step"].item()
        mean, square = first[index].lerp_(values, 1 - b1), second[index].lerp_(values.square(), 1 - b2)
        first[index], second[index] = mean, square
        return mean.div_(1 - b1**count).div_(square.div_(1 - b2**count).sqrt_().add_(EPSILON))

    def _sgd(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> Tensor:
        if not self.momentum:
            return values
        first = _moment(state, "first", table)
        mean = first[index].mul_(self.momentum).add_(values)
        first[index] = mean
        return mean

    def _adagrad(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> Tensor:
        second = _moment(state, "second", table)
        square = second[index].addcmul_(values, values)
        second[index] = square
        return values / square.sqrt_().add_(ADAGRAD_EPSILON)

    def _rmsprop(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> Tensor:
        second = _moment(state, "second", table)
        square = second[index].mul_(RMSPROP_DECAY).addcmul_(values, values, value=1 - RMSPROP_DECAY)
        second[index] = square
        return values / square.sqrt_().add_(EPSILON)


def _moment(state: dict[str, Tensor], name: str, table: Tensor) -> Tensor:
    if name not in state:
        state[name] = zeros_like(table)
    return state[name]
