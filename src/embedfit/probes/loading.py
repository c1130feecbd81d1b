"""Whether the weights of a checkpoint arrived in a model, and are still there: `load_state_dict` is listened to."""

from __future__ import annotations

__all__ = ["Checkpoint", "Loading"]

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a model was given when it was built.

    Attributes:
        given: (prefix of the module's names in the model, tensors by the checkpoint's own names), in order.
    """

    given: tuple[tuple[str, Mapping[str, Tensor]], ...]

    @torch.no_grad()
    def lost(self, model: nn.Module) -> float | None:
        """Share of the entries of the checkpoint that are not in the model now; None without a checkpoint."""
        own = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
        offered, found = 0, 0.0
        for prefix, tensors in self.given:
            for name, tensor in tensors.items():
                offered += tensor.numel()
                here = own.get(prefix + name)
                if here is not None and here.shape == tensor.shape:
                    found += float((here == tensor.to(here)).sum())
        return 1 - found / offered if offered else None

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put its tensors where their names, less what wrappers put before them, and their shapes fit."""
        own = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
        for prefix, tensors in self.given:
            for name, tensor in tensors.items():
                parts = name.split(".")
                shorter = (prefix + ".".join(parts[k:]) for k in range(len(parts)))
                fitting = next((n for n in shorter if n in own and own[n].shape == tensor.shape), None)
                if fitting is not None:
                    own[fitting].copy_(tensor)


class Loading:
    """Listens to checkpoints being loaded while it is entered; nothing is changed."""

    def __init__(self) -> None:
        self._calls: list[tuple[nn.Module, Mapping[str, Tensor]]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Loading:
        """Begin to listen."""
        load = nn.Module.load_state_dict

        def heard(module: nn.Module, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            tensors = {k: v for k, v in state.items() if isinstance(v, Tensor) and v.is_floating_point()}
            self._calls.append((module, tensors))
            return load(module, state, *args, **kwargs)

        self._stack.enter_context(patch.object(nn.Module, "load_state_dict", heard))
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._stack.close()

    def into(self, model: nn.Module) -> Checkpoint:
        """What was loaded into this model or its parts."""
        names = {id(module): f"{name}." if name else "" for name, module in model.named_modules()}
        return Checkpoint(tuple((names[id(m)], tensors) for m, tensors in self._calls if id(m) in names))
