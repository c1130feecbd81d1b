"""Parameters to AdamW groups: who decays, who moves at which rate."""

from __future__ import annotations

__all__ = ["Group", "groups"]

from collections.abc import Mapping
from typing import TypedDict

from torch import Tensor, nn


class Group(TypedDict):
    """One AdamW group.

    `scale` multiplies the run's learning rate; the schedule writes `lr` at every step.
    """

    params: list[Tensor]
    lr: float
    weight_decay: float
    scale: float
    name: str


def groups(
    modules: Mapping[str, nn.Module], *, weight_decay: float, scales: Mapping[str, float] | None = None
) -> list[Group]:
    """AdamW groups of several modules, each parameter exactly once (towers may be one and the same).

    Only matrices decay. Biases, norms and scalars (temperature) do not: decay on them changes the function without
    regularising it. Embedding tables do not either: with AdamW, rows that no text touches would shrink to nothing.

    Args:
        modules: the parts of the model by name ("query", "document", "loss").
        weight_decay: for the matrices.
        scales: learning-rate factor by part; 1 where a part is not named.

    Returns:
        Groups in the order of `modules`, decaying before not decaying; empty groups left out.
    """
    seen: set[int] = set()
    out: list[Group] = []
    for part, module in modules.items():
        tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
        split: dict[bool, list[Tensor]] = {True: [], False: []}
        for parameter in module.parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                split[parameter.ndim >= 2 and id(parameter) not in tables].append(parameter)
        scale = (scales or {}).get(part, 1.0)
        for decays, params in split.items():
            if params:
                name = f"{part}/{'matrices' if decays else 'rest'}"
                out.append(Group(params=params, lr=0.0, weight_decay=weight_decay * decays, scale=scale, name=name))
    return out
