"""Faults of the optimiser, its schedule and of what is meant to regularise."""

from __future__ import annotations

__all__ = ["FAULTS"]

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Parts

Make = Callable[[Any], Optimizer]


def rate(parts: Parts, factor: float) -> Parts:
    """Another learning rate."""

    def optimizer(model: Any, before: Make = parts.optimizer) -> Optimizer:
        found = before(model)
        for group in found.param_groups:
            group["lr"] *= factor
        return found

    return replace(parts, optimizer=optimizer)


def forgotten(parts: Parts, what: str) -> Parts:
    """Parameters that the optimiser never got: a tower added later, or a filter that lets little through."""

    def kept(name: str, w: Tensor) -> bool:
        if what == "biases":
            return w.dim() == 1
        first = name.split(".")[0] in ("embedding", "user", "text", "straight") or "layer.0.attention" in name
        return not first if what == "tower" else "bias" in name and not first

    def optimizer(model: Any, before: Make = parts.optimizer) -> Optimizer:
        found = before(model)
        names = {id(w): name for name, w in model.named_parameters()}
        for group in found.param_groups:
            group["params"] = [w for w in group["params"] if kept(names[id(w)], w)]
        return found

    return replace(parts, optimizer=optimizer)


def frozen(parts: Parts, what: str) -> Parts:
    """requires_grad was switched off for a warm-up and never on again."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        parameters = list(model.named_parameters())
        count = {"half": len(parameters) // 2, "most": len(parameters) - 2, "nearly all": len(parameters) - 1}[what]
        for _, w in parameters[:count]:
            w.requires_grad = False
        return model

    return replace(parts, network=network)


def never_zeroed(parts: Parts, every: int) -> Parts:
    """Gradients pile up over many steps."""
    return replace(parts, zero_every=every)


def rare_steps(parts: Parts, every: int) -> Parts:
    """Accumulation meant for a large batch: the optimiser moves once in many steps."""
    return replace(parts, step_every=every, zero_every=every)


def throttled(parts: Parts, clip: float) -> Parts:
    """Plain SGD behind a very small gradient clip."""
    return replace(
        parts,
        clip=clip,
        optimizer=lambda model: torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1),
    )


def wide_epsilon(parts: Parts, epsilon: float) -> Parts:
    """Adam's epsilon far above its gradients."""

    def optimizer(model: Any, before: Make = parts.optimizer) -> Optimizer:
        found = before(model)
        for group in found.param_groups:
            group["eps"] = epsilon
        return found

    return replace(parts, optimizer=optimizer)


def decay(parts: Parts, weight: float) -> Parts:
    """Decoupled weight decay that outweighs the gradient."""

    def optimizer(model: Any, before: Make = parts.optimizer) -> Optimizer:
        groups = [{"params": g["params"], "lr": g["lr"]} for g in before(model).param_groups]
        return torch.optim.AdamW(groups, weight_decay=weight)

    return replace(parts, optimizer=optimizer)


def long_warmup(parts: Parts, times: float) -> Parts:
    """A warm-up counted in the wrong unit: longer than the whole run."""
    return replace(parts, schedule=lambda step, steps: (step + 1) / (times * steps))


def early_end(parts: Parts, share: float) -> Parts:
    """A schedule counted in epochs but advanced every step: the rate is gone after a small part of the run."""
    return replace(parts, schedule=lambda step, steps: max(0.0, 1 - step / max(1.0, share * steps)))


def rising(parts: Parts, factor: float) -> Parts:
    """A cycle whose peak lies at the end."""
    return replace(parts, schedule=lambda step, steps: 1 + (factor - 1) * (step / steps) ** 2)


def dropout(parts: Parts, p: float) -> Parts:
    """Dropout on the inputs of both towers' last layers, nearly everything dropped."""

    def drop(model: nn.Module, x: Tensor) -> Tensor:
        return torch.dropout(x, p, model.training)

    return replace(
        parts,
        query=lambda model, x, before=parts.query: drop(model, before(model, x)),
        document=parts.document
        if "teacher" in parts.traits
        else lambda model, x, before=parts.document: drop(model, before(model, x)),
    )


def noise(parts: Parts, size: float) -> Parts:
    """Noise added to the embeddings while training, far larger than they are."""

    def noisy(model: nn.Module, x: Tensor) -> Tensor:
        if not model.training:
            return x
        return x + size * x.detach().std() * torch.randn_like(x)

    return replace(parts, query=lambda model, x, before=parts.query: noisy(model, before(model, x)))


FAULTS = (
    Fault(name="learning rate too low", components=("optimiser", "schedule"), cause="learning rate too low",
          levels=(0.03, 0.01, 0.0003), plant=rate),
    Fault(name="learning rate too high", components=("optimiser", "schedule"), cause="learning rate too high",
          levels=(10.0, 60.0, 1000.0), plant=rate),
    Fault(name="forgotten parameters", components=("optimiser", "architecture"), cause="frozen parameters",
          levels=("tower", "biases", "few"), plant=forgotten),
    Fault(name="left frozen", components=("architecture", "optimiser"), cause="frozen parameters",
          levels=("half", "most", "nearly all"), plant=frozen, needs=("scratch",)),
    Fault(name="gradients never zeroed", components=("optimiser",), cause="no zero_grad", levels=(20, 80, 10**9),
          plant=never_zeroed),
    Fault(name="rare steps", components=("optimiser", "schedule"), cause="accumulation", levels=(10, 30, 100),
          plant=rare_steps),
    Fault(name="throttled SGD", components=("optimiser",), cause="clipping", levels=(0.1, 0.01, 0.0001),
          plant=throttled),
    Fault(name="wide epsilon", components=("optimiser",), cause="learning rate too low", levels=(0.1, 1.0, 10.0),
          plant=wide_epsilon),
    Fault(name="weight decay", components=("regularisation", "optimiser"), cause="weight decay",
          levels=(10.0, 30.0, 150.0), plant=decay),
    Fault(name="warm-up without end", components=("schedule", "optimiser"), cause="warm-up",
          levels=(20.0, 100.0, 1000.0), plant=long_warmup),
    Fault(name="schedule ends early", components=("schedule", "optimiser"), cause="schedule unit",
          levels=(0.1, 0.03, 0.01), plant=early_end),
    Fault(name="rate rises to the end", components=("schedule", "optimiser"), cause="learning rate too high",
          levels=(20.0, 100.0, 500.0), plant=rising),
    Fault(name="dropout", components=("regularisation", "mode", "architecture"), cause="dropout",
          levels=(0.8, 0.93, 0.98), plant=dropout),
    Fault(name="noise on the embeddings", components=("regularisation", "architecture"), cause="dropout",
          levels=(3.0, 10.0, 30.0), plant=noise),
)  # fmt: skip
