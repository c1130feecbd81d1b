"""Faults of the model: its architecture and the weights it starts from."""

from __future__ import annotations

__all__ = ["FAULTS"]

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import Parts

Embed = Callable[[Any, Tensor], Tensor]


def _after(parts: Parts, change: Callable[[Any, Tensor], Tensor], *, documents: bool = True) -> Parts:
    """The embeddings of both sides, changed."""

    def query(model: Any, x: Tensor, before: Embed = parts.query) -> Tensor:
        return change(model, before(model, x))

    def document(model: Any, x: Tensor, before: Embed = parts.document) -> Tensor:
        return change(model, before(model, x))

    trained = documents and "teacher" not in parts.traits
    return replace(parts, query=query, document=document if trained else parts.document)


def _width(parts: Parts) -> int:
    """Width of the embeddings."""
    state = torch.get_rng_state()
    with torch.no_grad():
        width = parts.query(parts.network(), parts.read(parts.data.queries[:2])).shape[1]
    torch.set_rng_state(state)
    return int(width)


def _extended(parts: Parts, **modules: Callable[[], nn.Module]) -> Parts:
    """The model with more modules."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        for name, make in modules.items():
            model.add_module(name, make())
        return model

    return replace(parts, network=network)


def bottleneck(parts: Parts, rank: int) -> Parts:
    """A narrow linear layer behind the towers."""
    width = _width(parts)
    parts = _extended(
        parts, squeeze=lambda: nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False))
    )
    return _after(parts, lambda model, x: model.squeeze(x))


def squashed(parts: Parts, kind: str) -> Parts:
    """An activation at the output, where directions of both signs are needed."""
    change = {
        "relu": lambda model, x: torch.relu(x),
        "sigmoid": lambda model, x: torch.sigmoid(x),
        "softmax": lambda model, x: torch.softmax(x, -1),
    }[kind]
    return _after(parts, change)


def saturated(parts: Parts, gain: float) -> Parts:
    """A tanh at the output that sees numbers far too large."""
    return _after(parts, lambda model, x: torch.tanh(x * gain))


def padding_counts(parts: Parts, length: int) -> Parts:
    """Pooling without the mask: padding is averaged in as if it were words, and learned with them."""

    def read(x: Tensor, before=parts.read) -> Tensor:  # type: ignore[no-untyped-def]
        x = before(x)
        filler = torch.full((len(x), length), 1, dtype=x.dtype)
        x = torch.cat([x, filler], 1)
        return x.masked_fill(x == 0, 1)

    return replace(parts, read=read)


def constant_part(parts: Parts, size: float) -> Parts:
    """A large bias behind the towers that never moves: all embeddings point the same way."""
    width = _width(parts)

    class Offset(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("offset", torch.ones(width) * size)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.offset

    parts = _extended(parts, shift=Offset)
    return _after(parts, lambda model, x: model.shift(x))


def cut_graph(parts: Parts, what: str) -> Parts:
    """A detach where the gradient should pass: behind one tower, or behind both and a new head."""
    if what == "head":
        width = _width(parts)
        parts = _extended(parts, head=lambda: nn.Linear(width, width))
        return _after(parts, lambda model, x: model.head(x.detach()))
    both = what == "mostly"

    def query(model: Any, x: Tensor, before: Embed = parts.query) -> Tensor:
        out = before(model, x)
        return 0.999 * out.detach() + 0.001 * out if both else out.detach()

    return replace(parts, query=query)


def _rescaled(parts: Parts, change: Callable[[str, Tensor], Tensor]) -> Parts:
    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(change(name, parameter))
        return model

    return replace(parts, network=network)


def large_weights(parts: Parts, factor: float) -> Parts:
    """Initial weights far too large."""
    return _rescaled(parts, lambda name, w: w * factor)


def small_weights(parts: Parts, factor: float) -> Parts:
    """Initial weights so small that nothing passes."""
    return _rescaled(parts, lambda name, w: w * factor)


def equal_rows(parts: Parts, share: float) -> Parts:
    """All embedding rows, or all units of a layer, start out alike, so that nothing tells them apart."""

    def change(name: str, w: Tensor) -> Tensor:
        return w * (1 - share) + share * w.mean(0, keepdim=True) if w.dim() > 1 else w

    return _rescaled(parts, change)


def not_loaded(parts: Parts, share: float) -> Parts:
    """The checkpoint's names did not match, and the loader said nothing: (a share of) the weights are random."""

    def network(before: Callable[[], nn.Module] = parts.network) -> nn.Module:
        model = before()
        with torch.no_grad():
            for name, w in model.named_parameters():
                hit = "embeddings" in name or (share > 0.5 and "layer" in name)
                if hit and w.dim() > 1:
                    fresh = torch.randn_like(w) * 0.02
                    w.copy_(fresh if share >= 0.5 else torch.where(torch.rand(len(w), 1) < 2 * share, fresh, w))
        return model

    return replace(parts, network=network)


def dead_units(parts: Parts, bias: float) -> Parts:
    """Biases so low that the rectified units never fire."""
    return _rescaled(parts, lambda name, w: w - bias if name.endswith("0.bias") else w)


FAULTS = (
    Fault(name="bottleneck", components=("architecture",), cause="bottleneck", levels=(4, 2, 1), plant=bottleneck),
    Fault(name="squashed output", components=("architecture",), cause="squashed output",
          levels=("relu", "sigmoid", "softmax"), plant=squashed),
    Fault(name="saturated output", components=("architecture", "initialisation"), cause="saturation",
          levels=(30.0, 300.0, 3000.0), plant=saturated),
    Fault(name="padding counts", components=("architecture", "tokenizer"), cause="padding", levels=(32, 128, 384),
          plant=padding_counts, needs=("text", "scratch")),
    Fault(name="constant part", components=("architecture", "initialisation"), cause="one direction",
          levels=(3.0, 10.0, 100.0), plant=constant_part),
    Fault(name="cut graph", components=("architecture", "optimiser"), cause="graph cut",
          levels=("query", "mostly", "head"), plant=cut_graph, needs=("scratch",)),
    Fault(name="large weights", components=("initialisation",), cause="bad initial weights",
          levels=(5.0, 20.0, 100.0), plant=large_weights, needs=("scratch",)),
    Fault(name="small weights", components=("initialisation",), cause="bad initial weights",
          levels=(0.03, 0.003, 1e-4), plant=small_weights, needs=("scratch",)),
    Fault(name="equal rows", components=("initialisation",), cause="bad initial weights", levels=(0.9, 0.99, 1.0),
          plant=equal_rows, needs=("scratch",)),
    Fault(name="weights not loaded", components=("initialisation",), cause="weights not loaded",
          levels=(0.25, 0.5, 1.0), plant=not_loaded, needs=("pretrained", "text")),
    Fault(name="dead units", components=("initialisation", "architecture"), cause="dead units",
          levels=(1.0, 5.0, 50.0), plant=dead_units, needs=("scratch",)),
)  # fmt: skip
