"""Hooks on the modules that really run: which embeddings a step made, and what its loss was."""

from __future__ import annotations

__all__ = ["Ear"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook


class Ear:
    """Collects the embeddings that a model gives while it trains, and the loss of the module around it.

    A model that is called once per column gives its queries first and its documents after them.

    Args:
        model: that makes the embeddings.
        towers: modules of it that make queries and documents, where it is not the model as a whole.
    """

    def __init__(self, model: nn.Module, towers: tuple[nn.Module, nn.Module] | None = None) -> None:
        self.model, self.towers = model, towers
        self.columns: list[Tensor] = []
        self.loss: Tensor | None = None
        heard = dict.fromkeys(towers) if towers is not None else [model]
        self._handles = [module.register_forward_hook(self._column) for module in heard]
        self._handles.append(register_module_forward_hook(self._around))

    def pair(self) -> tuple[Tensor, Tensor] | None:
        """Queries and documents of the last step; None where they could not be told."""
        columns, self.columns = self.columns, []
        if len(columns) < 2 or any(len(c) != len(columns[0]) for c in columns):
            return None
        return columns[0], torch.cat(columns[1:])

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _column(self, module: nn.Module, args: Any, output: Any) -> None:
        embedding = output.get("sentence_embedding") if isinstance(output, Mapping) else output
        if torch.is_grad_enabled() and module.training and isinstance(embedding, Tensor) and embedding.ndim == 2:
            self.columns.append(embedding)

    def _around(self, module: nn.Module, args: Any, output: Any) -> None:
        """A module that is not the model and gives one number with a gradient is the loss."""
        if isinstance(output, Tensor) and output.ndim == 0 and output.requires_grad:
            self.loss = output.detach()
        elif isinstance(output, Mapping) and isinstance(output.get("loss"), Tensor) and output["loss"].requires_grad:
            self.loss = output["loss"].detach()
