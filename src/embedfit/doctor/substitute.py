"""Exchanges inside of a stranger's forward pass: no dropout, no half precision, training mode. All of it is undone."""

from __future__ import annotations

__all__ = ["Substitutes"]

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "dropout_")
HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitutes:
    """What is exchanged.

    Attributes:
        dropout: nothing is dropped.
        half: nothing is computed or stored in 16 bits.
        modes: all modules train while they train.
        graph: nothing is detached in a step.
    """

    dropout: bool = False
    half: bool = False
    modes: bool = False
    graph: bool = False

    @contextlib.contextmanager
    def around_step(self) -> Iterator[None]:
        """Around a forward pass alone: gradients flow where the author cuts them."""
        if not self.graph:
            yield
            return
        with (
            patch.object(torch.no_grad, "__enter__", lambda self: None),
            patch.object(torch.no_grad, "__exit__", lambda self, *error: None),
            _Attached(),
        ):
            yield

    @contextlib.contextmanager
    def into(self, model: nn.Module) -> Iterator[None]:
        """Inside, the exchanges hold."""
        with contextlib.ExitStack() as stack:
            if self.half:
                model.float()
                stack.enter_context(patch.object(torch.autocast, "__enter__", lambda self: self))
                stack.enter_context(patch.object(torch.autocast, "__exit__", lambda self, *error: None))
            if self.dropout:
                stack.enter_context(_without_dropout(model))
            if self.modes:
                nn.Module.train(model, True)
                model.__dict__["train"] = lambda mode=True: model
                stack.callback(model.__dict__.pop, "train", None)
            if self.dropout or self.half:
                stack.enter_context(_Exchange(self.dropout, self.half))
            yield

    @contextlib.contextmanager
    def lifted(self, model: nn.Module) -> Iterator[None]:
        """Inside of `into`, the modes can be changed again."""
        kept = model.__dict__.pop("train", None)
        try:
            with torch._C.DisableTorchFunction():
                yield
        finally:
            if kept is not None:
                nn.Module.train(model, True)
                model.__dict__["train"] = kept


class _Exchange(TorchFunctionMode):
    def __init__(self, dropout: bool, half: bool) -> None:
        super().__init__()
        self.dropout, self.half = dropout, half

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if self.dropout and name in DROPOUTS:
            return args[0] if args else given["input"]
        if self.half and name in ("half", "bfloat16"):
            return args[0]
        if self.half and name in ("to", "type") and any(a in HALVES for a in [*args[1:], *given.values()]
                                                         if isinstance(a, torch.dtype)):  # fmt: skip
            return args[0]
        return func(*args, **given)


class _Attached(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") == "detach":
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Rates of dropout that modules hand to their kernels (recurrent layers, attention) are zero inside."""
    kept = []
    for module in model.modules():
        for name in ("p", "dropout"):
            value = module.__dict__.get(name)
            if isinstance(value, float) and value > 0:
                kept.append((module, name, value))
                setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)
