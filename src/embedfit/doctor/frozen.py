"""Frozen encoders computed once per row: experiments on what stands behind them then cost next to nothing.

Nothing is approximated. A module is remembered only while it is frozen, draws nothing at random, and gives a row the
same output alone as in a batch; the arms that train it compute it anew.
"""

from __future__ import annotations

__all__ = ["Memory"]

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from embedfit.probes.state import same_random_numbers

LEAST = 50_000  # weights, tables that are only looked up in not counted, from which a module is worth remembering
MOST = 256 * 2**20  # bytes of remembered outputs
ROUNDING = 1e-4  # of a row's length, by which its outputs alone and in a batch may differ
TRIED = 256  # remembered rows after which it is asked whether remembering is faster than computing

Key = tuple[Any, ...]


@dataclass
class Memory:
    """Outputs of frozen modules, by module, weights and input row; shared by the arms of an investigation.

    Attributes:
        computed: rows that were computed.
        recalled: rows that were not.
        saved: seconds that computing them would have taken, less those of looking rows up.
        modules: names of the modules that were remembered.
    """

    computed: int = 0
    recalled: int = 0
    saved: float = 0.0
    modules: set[str] = field(default_factory=set)
    _rows: dict[Key, list[Tensor]] = field(default_factory=dict)
    _frames: dict[str, Any] = field(default_factory=dict)
    _unsound: set[str] = field(default_factory=set)
    _bytes: int = 0

    @contextlib.contextmanager
    def into(self, model: nn.Module, way: str = "") -> Iterator[None]:
        """Inside, the frozen modules of a model look their rows up first; then they are as before.

        Args:
            model: of a fresh program, when it is known what is trained.
            way: what else the outputs depend on, such as a number format that is exchanged.
        """
        worn = [_Recalling(self, name, module, way) for name, module in _frozen(model)]
        try:
            for one in worn:
                one.module.__dict__["forward"] = one
            yield
        finally:
            for one in worn:
                one.module.__dict__.pop("forward", None)

    def outputs(self, kind: str, keys: Sequence[Key], compute: Callable[[list[int]], Any]) -> Any:
        """Outputs of rows, of which only the unknown ones are computed; None where they are no rows of tensors.

        Args:
            kind: what all rows have in common.
            keys: of the rows.
            compute: outputs of the rows of these numbers.
        """
        rows = {key: self._rows.get(key) for key in keys}
        missing = [i for key, i in {key: i for i, key in enumerate(keys)}.items() if rows[key] is None]
        if kind in self._unsound:
            return None
        if missing:
            # what draws is computed again by the caller, with the random numbers that it would have had
            with contextlib.nullcontext() if kind in self._frames else same_random_numbers():
                leaves, frame = tree_flatten(compute(missing))
            if not self._sound(kind, leaves, missing, compute):
                self._unsound.add(kind)
                return None
            self._frames[kind] = frame
            for place, i in enumerate(missing):
                rows[keys[i]] = [leaf[place].clone() for leaf in leaves]
                self._keep(keys[i], rows[keys[i]] or [])
        self.computed, self.recalled = self.computed + len(missing), self.recalled + len(keys) - len(missing)
        parts = zip(*[rows[key] or [] for key in keys], strict=True)
        return tree_unflatten([torch.stack(part) for part in parts], self._frames[kind])

    def _sound(self, kind: str, leaves: Sequence[Any], rows: list[int], compute: Callable[[list[int]], Any]) -> bool:
        """Whether outputs are rows without a graph; the first time, whether a row alone gives what it gives here."""
        if not leaves or not all(isinstance(t, Tensor) and t.ndim and len(t) == len(rows) for t in leaves):
            return False
        if any(t.requires_grad for t in leaves) or kind in self._frames:
            return kind in self._frames
        with same_random_numbers(0):
            alone, _ = tree_flatten(compute(rows[:1]))
        near = [float((a - t[:1]).norm()) <= ROUNDING * float(t[:1].norm()) for a, t in zip(alone, leaves, strict=True)]
        return len(rows) > 1 and all(near)

    def _keep(self, key: Key, parts: list[Tensor]) -> None:
        size = sum(p.numel() * p.element_size() for p in parts)
        if self._bytes + size <= MOST:
            self._rows[key] = parts
            self._bytes += size

    def __deepcopy__(self, memo: Any) -> Memory:
        """A program may copy its model, and what is remembered stays one."""
        return self

    @property
    def share(self) -> float:
        """Share of the rows that were recalled."""
        return self.recalled / max(1, self.recalled + self.computed)


class _Recalling:
    """The forward pass of one module, row by row."""

    def __init__(self, memory: Memory, name: str, module: nn.Module, way: str) -> None:
        self.memory, self.name, self.module = memory, name, module
        self.forward = module.forward
        self.weights = [*module.parameters(), *module.buffers()]
        self.identity = _digest((name, way, *map(_sums, self.weights)))
        self.pulse = self._pulse()
        self.computing, self.rows, self.all, self.asked = 0.0, 0, 0.0, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, shape = tree_flatten((args, kwargs))
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        n = len(given[0]) if given and given[0].ndim else 0
        ours = n > 1 and all(t.ndim and len(t) == n and t.numel() and not t.requires_grad for t in given)
        if not ours or self._slow() or self._pulse() != self.pulse:
            return self.forward(*args, **kwargs)

        def compute(index: list[int]) -> Any:
            began = time.perf_counter()
            some = [leaf[index] if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            own, named = tree_unflatten(some, shape)
            out = self.forward(*own, **named)
            self.computing, self.rows = self.computing + time.perf_counter() - began, self.rows + len(index)
            return out

        began, kind = time.perf_counter(), self._kind(leaves)
        before, known = self.computing, self.memory.recalled
        out = self.memory.outputs(kind, _keys(kind, given), compute)
        if out is None:
            return self.forward(*args, **kwargs)
        looked = time.perf_counter() - began - (self.computing - before)
        self.all, self.asked = self.all + looked, self.asked + n
        self.memory.saved += (self.memory.recalled - known) * self.computing / max(1, self.rows) - looked
        self.memory.modules.add(self.name)
        return out

    def _kind(self, leaves: Sequence[Any]) -> str:
        """What the outputs of all rows of a call depend on: weights, modes, number formats, the other arguments."""
        modes = any(m.training for m in self.module.modules())
        rest = [(x.dtype, x.shape[1:]) if isinstance(x, Tensor) else x for x in leaves]
        return _digest((self.identity, modes, torch.is_autocast_enabled("cpu"), rest))

    def _slow(self) -> bool:
        """Whether looking rows up takes more than half of what computing them takes."""
        return self.asked > TRIED and self.rows > 0 and self.all / self.asked > 0.5 * self.computing / self.rows

    def _pulse(self) -> Key:
        """A few weights: what is frozen may still be moved, as the second encoder of MoCo is."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            return tuple((w._version, float(w.reshape(-1)[w.numel() // 2])) for w in self.weights[:32] if w.numel())


def _keys(kind: str, given: Sequence[Tensor]) -> list[Key]:
    """What tells the outputs of rows apart: what all have in common, and the bytes of their inputs."""
    with torch._C.DisableTorchFunction():
        n = len(given[0])
        rows = [t.detach().cpu().reshape(n, -1).contiguous().view(torch.uint8).numpy() for t in given]
        return [(kind, *(part[i].tobytes() for part in rows)) for i in range(n)]


def _frozen(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The largest modules none of whose weights takes a gradient, and that are worth remembering."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{parent}.") or not parent for parent, _ in found):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            continue
        own = list(module.parameters())
        if not own or any(p.requires_grad for p in own) or isinstance(module, nn.ModuleList | nn.ModuleDict):
            continue
        tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
        if sum(p.numel() for p in own if id(p) not in tables) >= LEAST:
            found.append((name, module))
    return found


def _digest(value: Key) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _sums(weight: Tensor) -> tuple[Any, ...]:
    with torch._C.DisableTorchFunction(), torch.no_grad():
        whole = weight.detach().double()
        return tuple(weight.shape), float(whole.sum()), float(whole.square().sum())
