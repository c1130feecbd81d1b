"""One optimiser for whole matrices and for tables of which a step touches few rows."""

from __future__ import annotations

__all__ = ["Optimiser"]

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from embedfit.optim.groups import Group, factor_of
from embedfit.optim.kinds import Kind, whole
from embedfit.optim.rows import Rows

COUNTERS = ("k", "weight_sum", "lr_max")  # what schedule-free keeps in its groups instead of its state


class Optimiser:
    """An optimiser over groups of parameters.

    Parameters whose gradient is sparse (rows of a table) are updated row by row, see `Rows`; all others take torch's
    own optimisers, fused where torch has that: AdamW is then ten times as fast on a CPU as by default.

    Args:
        groups: see `embedfit.optim.groups`.
        betas: decay of the first and second moment.
        kind: see `kinds.whole`.
        momentum: of SGD and Muon.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        betas: tuple[float, float],
        kind: Kind = "adamw",
        momentum: float = 0.9,
    ) -> None:
        self.groups = groups
        self.kind = kind
        self.parameters = [p for group in groups for p in group["params"]]
        self.number = {p: i for i, p in enumerate(self.parameters)}
        # torch's optimisers write into the groups they are given
        self.whole = whole(kind, [dict(group) for group in groups], betas=betas, momentum=momentum)
        self.settings = self._settings()
        self.first_beta = betas[0]
        self.rows = Rows(kind, betas=betas, momentum=momentum)
        self.scales = [group["scale"] for group in groups]
        self.moved = self.size = 0.0
        self._kept: list[Tensor] | None = None

    def adapt(self, rates: Mapping[str, float]) -> None:
        """From now on groups move at so many times their rate, by part or place; 0 holds them where they are."""
        self.scales = [group["scale"] * factor_of(group, rates) for group in self.groups]

    def step(self, rate: float, *, watched: bool = False) -> None:
        """Move all parameters that have a gradient, at `rate` times the scale of their group; gradients are dropped.

        Args:
            rate: learning rate.
            watched: work out `moved` and `size`, the squared norms of the step and of what it moved.
        """
        self.moved = self.size = 0.0
        for group, settings, scale in zip(self.groups, self.settings, self.scales, strict=True):
            settings["lr"] = rate * scale
            for parameter in group["params"]:
                self._step_rows(parameter, settings["lr"], watched=watched)
        moving = [p for p in self.parameters if p.grad is not None]
        before = [p.detach().clone() for p in moving] if watched else []
        for one in self.whole if moving else ():
            one.step()
            one.zero_grad(set_to_none=True)
        if before:
            with torch.no_grad():
                steps = [p - old for p, old in zip(moving, before, strict=True)]
            self.moved += float(torch.nn.utils.get_total_norm(steps)) ** 2
            self.size += float(torch.nn.utils.get_total_norm(before)) ** 2

    @torch.no_grad()
    def _step_rows(self, parameter: Tensor, rate: float, *, watched: bool) -> None:
        if parameter.grad is None or not parameter.grad.is_sparse:
            return
        if self.kind == "schedule_free":  # whose average moves every row at every step
            parameter.grad = parameter.grad.to_dense()
            return
        moved, size = self.rows.step(parameter, rate, watched=watched)
        self.moved, self.size = self.moved + moved, self.size + size
        parameter.grad = None

    @torch.no_grad()
    def clip(self, longest: float) -> float:
        """Shorten the whole gradient to `longest`; returns its norm before. What is held still has no part in it."""
        gradients = []
        for group, scale in zip(self.groups, self.scales, strict=True):
            for parameter in group["params"]:
                if scale == 0:
                    parameter.grad = None
                if parameter.grad is not None:
                    if parameter.grad.is_sparse:
                        parameter.grad = parameter.grad.coalesce()
                    gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
        if not gradients:
            return 0.0
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if not longest / (norm + 1e-6) >= 1:
            torch._foreach_mul_(gradients, longest / (norm + 1e-6))
        return norm

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights with those to be measured; call twice to get back, bit for bit.

        Only schedule-free has two sets: gradients are taken at y = (1 - b1) z + b1 x, and x is what is used.
        """
        if self.kind != "schedule_free":
            return
        moved = [p for p in self.parameters if "z" in self.whole[0].state[p]]
        if self._kept is not None:
            for parameter, value in zip(moved, self._kept, strict=True):
                parameter.copy_(value)
            self._kept = None
            return
        self._kept = [p.detach().clone() for p in moved]
        for parameter in moved:
            parameter.lerp_(self.whole[0].state[parameter]["z"], 1 - 1 / self.first_beta)

    def tensors(self) -> dict[str, Tensor]:
        """The state, flat: "whole/3/exp_avg" is the first moment of the fourth parameter."""
        out: dict[str, Tensor] = {}
        for i, parameter in enumerate(self.parameters):
            for one in self.whole:
                values = one.state.get(parameter, {})
                out |= {f"whole/{i}/{k}": torch.as_tensor(v) for k, v in values.items() if v is not None}
            out |= {f"rows/{i}/{k}": v for k, v in self.rows.state.get(parameter, {}).items()}
        for i, settings in enumerate(self.settings):
            counters = {k: settings[k] for k in COUNTERS if k in settings}
            out |= {f"group/{i}/{k}": torch.tensor(v, dtype=torch.float64) for k, v in counters.items()}
        return out

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`, for an optimiser over the same parameters."""
        self.rows.state = {}
        states: dict[str, dict[int, dict[str, Tensor]]] = {"whole": {}, "rows": {}, "group": {}}
        for name, value in tensors.items():
            part, index, key = name.split("/")
            states[part].setdefault(int(index), {})[key] = value
        for one in self.whole:
            # torch numbers the parameters of each optimiser in the order of its groups
            numbers = [self.number[p] for group in one.param_groups for p in group["params"]]
            state = {i: states["whole"][n] for i, n in enumerate(numbers) if n in states["whole"]}
            one.load_state_dict({"state": state, "param_groups": one.state_dict()["param_groups"]})
        for i, rows in states["rows"].items():
            device = self.parameters[i].device
            self.rows.state[self.parameters[i]] = {k: v if k == "step" else v.to(device) for k, v in rows.items()}
        self.settings = self._settings()  # torch makes new groups when it loads
        for i, counters in states["group"].items():
            self.settings[i] |= {k: int(v) if k == "k" else float(v) for k, v in counters.items()}

    def _settings(self) -> list[dict[str, Any]]:
        """What torch's optimisers hold of each group; rates are written there."""
        of = {id(part["params"][0]): part for one in self.whole for part in one.param_groups}
        return [of[id(group["params"][0])] for group in self.groups]
