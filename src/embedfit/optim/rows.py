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

    def step(self, table: Tensor, rate: float, *, watched: bool = False) -> tuple[float, float]:
        """Move the rows of the table's sparse gradient.

        Args:
            table: with its gradient.
            rate: learning rate.
            watched: work out the squared norms of the step and of the rows before it; else they come back as 0.
        """
        assert table.grad is not None
        gradient = table.grad.coalesce()
        index, values = gradient.indices()[0], gradient.values()
        state = self.state.setdefault(table, {})
        rules = {"sgd": self._sgd, "adagrad": self._adagrad, "rmsprop": self._rmsprop}
        step, factor = rules.get(self.kind, self._adam)(state, table, index, values)
        rows = table.index_select(0, index)
        moved = float(step.square().sum()) * (rate * factor) ** 2 if watched else 0.0
        size = float(rows.square().sum()) if watched else 0.0
        table.index_copy_(0, index, rows.sub_(step, alpha=rate * factor))
        return moved, size

    # Each rule returns the step and a factor that is still to be multiplied in. Rows are gathered and put back by
    # index_select and index_copy_, twice as fast on a CPU as brackets are.

    def _adam(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> tuple[Tensor, float]:
        first, second = _moment(state, "first", table), _moment(state, "second", table)
        state.setdefault("step", zeros(())).add_(1)
        b1, b2 = self.betas
        count = state["step"].item()
        mean = first.index_select(0, index).lerp_(values, 1 - b1)
        square = second.index_select(0, index).mul_(b2).addcmul_(values, values, value=1 - b2)
        first.index_copy_(0, index, mean)
        second.index_copy_(0, index, square)
        bias = (1 - b2**count) ** 0.5
        return mean.div_(square.sqrt_().add_(EPSILON * bias)), bias / (1 - b1**count)

    def _sgd(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> tuple[Tensor, float]:
        if not self.momentum:
            return values, 1.0
        first = _moment(state, "first", table)
        mean = first.index_select(0, index).mul_(self.momentum).add_(values)
        first.index_copy_(0, index, mean)
        return mean, 1.0

    def _adagrad(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> tuple[Tensor, float]:
        second = _moment(state, "second", table)
        square = second.index_select(0, index).addcmul_(values, values)
        second.index_copy_(0, index, square)
        return values / square.sqrt_().add_(ADAGRAD_EPSILON), 1.0

    def _rmsprop(self, state: dict[str, Tensor], table: Tensor, index: Tensor, values: Tensor) -> tuple[Tensor, float]:
        second = _moment(state, "second", table)
        square = second.index_select(0, index).mul_(RMSPROP_DECAY).addcmul_(values, values, value=1 - RMSPROP_DECAY)
        second.index_copy_(0, index, square)
        return values / square.sqrt_().add_(EPSILON), 1.0


def _moment(state: dict[str, Tensor], name: str, table: Tensor) -> Tensor:
    if name not in state:
        state[name] = zeros_like(table)
    return state[name]
