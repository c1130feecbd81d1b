"""AdamW for whole matrices and for tables of which a step touches few rows, as one optimiser."""

from __future__ import annotations

__all__ = ["Optimiser"]

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from embedfit.optim.groups import Group

EPSILON = 1e-8


class Optimiser:
    """AdamW over groups of parameters.

    Parameters whose gradient is sparse (rows of a table) are updated row by row: moments and weights of rows that no
    text of the batch names stay as they are, as in `torch.optim.SparseAdam`. A step then costs the rows it touches, not
    the table: with 40,000 rows and 128 short texts about a tenth. All others take torch's fused AdamW, which is ten
    times as fast on a CPU as its default.

    Args:
        groups: see `embedfit.optim.groups`.
        betas: decay of the first and second moment.

    References:
        Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1; Loshchilov and Hutter 2019,
        https://arxiv.org/abs/1711.05101, algorithm 2.
    """

    def __init__(self, groups: Sequence[Group], *, betas: tuple[float, float]) -> None:
        self.groups = groups
        self.betas = betas
        self.parameters = [p for group in groups for p in group["params"]]
        # torch's optimiser writes into the groups it is given
        copies: list[dict[str, Any]] = [dict(group) for group in groups]
        self.whole = torch.optim.AdamW(copies, lr=0.0, betas=betas, eps=EPSILON, fused=True)
        self.rows: dict[Tensor, dict[str, Tensor]] = {}
        self.moved = 0.0
        self.size = 0.0

    def step(self, rate: float) -> None:
        """Move all parameters that have a gradient, at `rate` times the scale of their group; gradients are dropped."""
        self.moved = self.size = 0.0
        for group, settings in zip(self.groups, self.whole.param_groups, strict=True):
            settings["lr"] = rate * group["scale"]
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._step_rows(parameter, settings["lr"])
                    parameter.grad = None
        self.whole.step()
        self.whole.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _step_rows(self, table: Tensor, rate: float) -> None:
        assert table.grad is not None
        gradient = table.grad.coalesce()
        index, values = gradient.indices()[0], gradient.values()
        state = self.rows.get(table)
        if state is None:
            state = {"step": torch.zeros(()), "first": torch.zeros_like(table), "second": torch.zeros_like(table)}
            self.rows[table] = state
        state["step"] += 1
        b1, b2 = self.betas
        count = state["step"].item()
        first = state["first"][index].lerp_(values, 1 - b1)
        second = state["second"][index].lerp_(values.square(), 1 - b2)
        state["first"][index], state["second"][index] = first, second
        spread = second.div_(1 - b2**count).sqrt_().add_(EPSILON)
        step = first.div_(spread).mul_(rate / (1 - b1**count))
        rows = table[index]
        self.moved += float(step.square().sum())
        self.size += float(rows.square().sum())
        table[index] = rows.sub_(step)

    @torch.no_grad()
    def clip(self, longest: float) -> float:
        """Shorten the whole gradient to `longest`; returns its norm before."""
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
        norm = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, torch.clamp(longest / (norm + 1e-6), max=1.0))
        return norm.item()

    def tensors(self) -> dict[str, Tensor]:
        """The state, flat: "whole/3/exp_avg" is the first moment of the fourth parameter."""
        whole = self.whole.state_dict()["state"]
        out = {f"whole/{i}/{k}": torch.as_tensor(v) for i, values in whole.items() for k, v in values.items()}
        for i, parameter in enumerate(self.parameters):
            out |= {f"rows/{i}/{k}": v for k, v in self.rows.get(parameter, {}).items()}
        return out

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`, for an optimiser over the same parameters."""
        whole: dict[int, dict[str, Tensor]] = {}
        self.rows = {}
        for name, value in tensors.items():
            part, index, key = name.split("/")
            state = whole.setdefault(int(index), {}) if part == "whole" else self._row_state(int(index))
            state[key] = value if key == "step" else value.to(self.parameters[int(index)].device)
        self.whole.load_state_dict({"state": whole, "param_groups": self.whole.state_dict()["param_groups"]})

    def _row_state(self, index: int) -> dict[str, Tensor]:
        return self.rows.setdefault(self.parameters[index], {})
