"""Parameters to groups: who decays, who moves at which rate."""

from __future__ import annotations

__all__ = ["Group", "Place", "factor_of", "groups", "tables"]

import re
from collections.abc import Mapping
from typing import Literal, TypedDict

from torch import Tensor, nn

Place = Literal["embeddings", "layers", "head", "loss"]


class Group(TypedDict):
    """Parameters that are treated alike.

    `scale` multiplies the run's learning rate; the schedule writes `lr` at every step. `part` is the module by its
    name, `place` where in it the parameters are: rows that are looked up, stacked layers, or what follows them.
    """

    params: list[Tensor]
    lr: float
    weight_decay: float
    scale: float
    part: str
    place: Place


# how transformer libraries name their stacked layers: encoder.layer.3., h.3., layers.3., blocks.3.
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")

# how our towers name rows that are looked up, and weights of single features
_TABLE = re.compile(r"(?:^|\.)(?:table|tables\.\d+|gain)$")
# a feature's weight is one number, whose gradient is that of a whole row taken together (docs/defaults.md)
GAIN_SCALE = 3.0


def groups(
    modules: Mapping[str, nn.Module],
    *,
    weight_decay: float,
    scales: Mapping[str, float] | None = None,
    layer_decay: float = 1.0,
) -> list[Group]:
    """Groups of several modules, each parameter exactly once (towers may be one and the same).

    Only matrices decay. Biases, norms and scalars (temperature) do not: decay on them changes the function without
    regularising it. Embedding tables do not either: with AdamW, rows that no text touches would shrink to nothing.

    Args:
        modules: the parts of the model by name ("query", "document", "loss").
        weight_decay: for the matrices.
        scales: learning-rate factor by part and by place; 1 where one is not named. 0: held where they are.
        layer_decay: factor of the learning rate from each stacked layer to the one below it; the embeddings below the
            first layer get one factor more. 1: all layers alike.

    Returns:
        Groups in the order of `modules`, deepest first; empty groups left out.

    References:
        Howard and Ruder 2018 (discriminative fine-tuning), https://arxiv.org/abs/1801.06146, section 3.2.
    """
    seen: set[int] = set()
    made: dict[tuple[str, int, str, bool, bool], Group] = {}
    for part, module in modules.items():
        looked_up = tables(module)
        depths = _depths(module)
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            below, place = depths[name], _place(part, name, id(parameter) in looked_up)
            decays = parameter.ndim >= 2 and id(parameter) not in looked_up
            gain = name.rpartition(".")[2] == "gain"
            group = made.setdefault(
                (part, -below, place, decays, gain),
                Group(
                    params=[],
                    lr=0.0,
                    weight_decay=weight_decay if decays else 0.0,
                    scale=layer_decay**below * (GAIN_SCALE if gain else 1.0),
                    part=part,
                    place=place,
                ),
            )
            group["params"].append(parameter)
    for group in made.values():
        group["scale"] *= factor_of(group, scales or {})
    return [made[key] for key in sorted(made, key=lambda key: (list(modules).index(key[0]), key[1:]))]


def factor_of(group: Group, rates: Mapping[str, float]) -> float:
    """How many times its rate a group moves at, by its part and by its place."""
    return rates.get(group["part"], 1.0) * (1.0 if group["place"] == "loss" else rates.get(group["place"], 1.0))


def _place(part: str, name: str, table: bool) -> Place:
    if part.startswith("loss"):
        return "loss"
    if table or "embeddings." in name:
        return "embeddings"
    return "layers" if _LAYER.search(name) else "head"


def tables(module: nn.Module) -> set[int]:
    """Parameters whose rows are looked up."""
    lookups = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    return lookups | {id(p) for name, p in module.named_parameters() if _TABLE.search(name)}


def _depths(module: nn.Module) -> dict[str, int]:
    """How many layers below the top each parameter is; 0 everywhere for a module without stacked layers."""
    layer = {name: _LAYER.search(name) for name, _ in module.named_parameters()}
    top = max((int(match[1]) for match in layer.values() if match), default=-1)
    out = {}
    for name, match in layer.items():
        if match:
            out[name] = top - int(match[1])
        else:
            out[name] = top + 1 if "embeddings." in name else 0
    return out
