"""What a stranger's metric is a mean of: per-query terms, heard on the way out of it."""

from __future__ import annotations

__all__ = ["Terms"]

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class Terms(TorchFunctionMode):
    """Listens for means over a vector while a metric is worked out."""

    def __init__(self) -> None:
        super().__init__()
        self._means: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what was asked, and remember what a mean was taken of."""
        if getattr(func, "__name__", "") == "mean" and args and isinstance(args[0], Tensor) and args[0].ndim == 1:
            self._means.append(args[0].detach().double().cpu().clone())
        return func(*args, **(kwargs or {}))

    def kind(self, value: float) -> str:
        """Of the metric with this value: "reciprocal rank", "share", or "" where its terms were not heard."""
        for terms in reversed(self._means):
            if not len(terms) or abs(float(terms.mean()) - value) > 1e-4 * max(1e-3, abs(value)):
                continue
            if bool(((terms == 0) | (terms == 1)).all()):
                return "share"
            ranks = terms.reciprocal()
            if bool(((ranks - ranks.round()).abs() < 1e-3 * ranks).all()) and bool((terms <= 1).all()):
                return "reciprocal rank"
        return ""
